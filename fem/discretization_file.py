"""The file of a discretization: one HDF5 file, written whole or not at all, read without Firedrake."""

import json
import os
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import torch

from ..hdf5 import SCHEMA_VERSION, read_text, reading_hdf5, write_texts, writing_hdf5
from .forms.form_file import read_form, write_form
from .forms.residual import Residual
from .mesh import Mesh
from .mixed import MixedSpace
from .observation import Observation
from .space import Element, Space
from .sparse import SparseMatrix

if TYPE_CHECKING:
    from .discretization import Discretization

#: An h5py.Group; h5py's annotations do not tell datasets from groups.
Group = Any

KIND = "discretization"

#: The matrices between two spaces, as the arguments of :class:`Discretization` are called.
BETWEEN = ("transfers", "derivatives", "products")


def write(disc: "Discretization", path: str | os.PathLike) -> None:
    """Write a discretization; the file takes its place when it is complete."""
    with writing_hdf5(path, track_order=True) as file:
        write_texts(file, kind=KIND, fingerprint=disc.fingerprint)
        file.attrs["schema_version"] = SCHEMA_VERSION
        names = {id(mesh): f"mesh_{i}" for i, mesh in enumerate(disc.meshes)}
        meshes = file.create_group("meshes")
        for mesh in disc.meshes:
            write_mesh(meshes.create_group(names[id(mesh)]), mesh)
        spaces = file.create_group("spaces", track_order=True)
        for name in disc.spaces:
            group = spaces.create_group(name, track_order=True)
            write_texts(group, mesh=names[id(disc[name].mesh)])
            _write_space(group, disc[name])
        for kind in BETWEEN:
            matrices = file.create_group(kind, track_order=True)
            for key, matrix in getattr(disc, kind).items():
                _write_matrix(matrices.create_group(key), matrix)
        observations = file.create_group("observations", track_order=True)
        for name in disc.observations:
            observation, group = disc.observation(name), observations.create_group(name)
            write_texts(group, space=observation.space)
            group["points"] = observation.points.cpu().numpy()
            _write_matrix(group, observation.matrix)
        forms = file.create_group("forms", track_order=True)
        for name in disc.forms:
            write_form(forms.create_group(name), disc.form(name))


def read(path: str | os.PathLike, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, Residual], str]:
    """The arguments of :class:`Discretization`, its compiled forms and its fingerprint.

    Raises:
        FileError: the file is missing, truncated, or something else.
    """
    file: Group
    with reading_hdf5(path, KIND) as file:
        meshes = {name: read_mesh_group(group) for name, group in file["meshes"].items()}
        spaces = {
            name: _read_space(name, group, meshes[read_text(group, "mesh")], dtype) for name, group in file["spaces"].items()
        }
        arguments = {
            "spaces": spaces,
            "observations": {name: _read_observation(group, dtype) for name, group in file["observations"].items()},
        }
        for kind in BETWEEN:
            arguments[kind] = {tuple(key.split("->")): _read_matrix(group, dtype) for key, group in file[kind].items()}
        forms = {name: read_form(group, dtype) for name, group in file.get("forms", {}).items()}
        return arguments, forms, read_text(file, "fingerprint")


def write_mesh(group: Group, mesh: Mesh) -> None:
    """Write ``points``, ``cells/<type>`` and ``tags/<name>`` below a group."""
    group.attrs.update(degree=mesh.degree, vertices=np.array(mesh.vertices))
    group["points"] = mesh.points
    group.create_group("cells")[mesh.cell_type] = mesh.cells
    tags = group.create_group("tags", track_order=True)
    for tag, facets in mesh.facets.items():
        tags[tag] = facets
        tags[tag].attrs["marker"] = mesh.markers[tag]


def read_mesh_group(group: Group) -> Mesh:
    """The mesh that :func:`write_mesh` wrote below a group."""
    ((cell_type, cells),) = group["cells"].items()
    tags = group["tags"]
    return Mesh(
        points=group["points"][()],
        cells=cells[()],
        cell_type=cell_type,
        degree=int(group.attrs["degree"]),
        facets={tag: facets[()] for tag, facets in tags.items()},
        markers={tag: int(facets.attrs["marker"]) for tag, facets in tags.items()},
        vertices=tuple(int(v) for v in group.attrs["vertices"]),
    )


def _write_space(group: Group, space: Space) -> None:
    if isinstance(space, MixedSpace):
        subspaces = group.create_group("subspaces", track_order=True)
        for i, subspace in enumerate(space.subspaces):
            write_texts(subspaces.create_group(str(i), track_order=True), name=subspace.name)
            _write_space(subspaces[str(i)], subspace)
        return
    write_texts(group, **{key: json.dumps(value) for key, value in asdict(space.element).items()})
    group.attrs["num_dofs"] = space.num_dofs
    group["points"] = space.points.cpu().numpy()
    group["cell_nodes"] = space.cell_nodes.cpu().numpy()
    boundary = group.create_group("boundary", track_order=True)
    for tag in space.tags:
        boundary[tag] = space.boundary_nodes(tag).cpu().numpy()
    matrices = group.create_group("matrices", track_order=True)
    for name in space.matrices:
        _write_matrix(matrices.create_group(name), space.matrix(name))
    if space.dual is not None:
        group["dual_points"] = space.dual_points.cpu().numpy()
        _write_matrix(group.create_group("dual"), space.dual)
    if space.reference_basis is not None:
        group["reference_basis"] = space.reference_basis


def _read_space(name: str, group: Group, mesh: Mesh, dtype: torch.dtype) -> Space:
    if "subspaces" in group:
        return MixedSpace(name, [_read_space(read_text(sub, "name"), sub, mesh, dtype) for sub in group["subspaces"].values()])
    attributes = {field.name: json.loads(read_text(group, field.name)) for field in fields(Element)}
    shapes = {key: tuple(attributes[key]) for key in ("value_shape", "block_shape")}
    return Space(
        name,
        mesh,
        Element(**{**attributes, **shapes}),
        points=torch.from_numpy(group["points"][()]),
        cell_nodes=torch.from_numpy(group["cell_nodes"][()]),
        boundary={tag: torch.from_numpy(nodes[()]) for tag, nodes in group["boundary"].items()},
        matrices={key: _read_matrix(matrix, dtype) for key, matrix in group["matrices"].items()},
        dual_points=torch.from_numpy(group["dual_points"][()]) if "dual" in group else None,
        dual=_read_matrix(group["dual"], dtype) if "dual" in group else None,
        reference_basis=group["reference_basis"][()] if "reference_basis" in group else None,
    )


def _read_observation(group: Group, dtype: torch.dtype) -> Observation:
    return Observation(read_text(group, "space"), torch.from_numpy(group["points"][()]), _read_matrix(group, dtype))


def _write_matrix(group: Group, matrix: SparseMatrix) -> None:
    A = matrix.to_scipy()
    group.attrs["shape"] = A.shape
    for name in ("indptr", "indices", "data"):
        group.create_dataset(name, data=getattr(A, name), compression="gzip", shuffle=True)


def _read_matrix(group: Group, dtype: torch.dtype) -> SparseMatrix:
    parts = tuple(group[name][()] for name in ("data", "indices", "indptr"))
    return SparseMatrix(scipy.sparse.csr_matrix(parts, shape=tuple(group.attrs["shape"])), dtype)
