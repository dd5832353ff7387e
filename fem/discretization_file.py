"""The file of a discretization: one HDF5 file, written whole or not at all, read without Firedrake."""

import json
import os
from typing import Any

import h5py
import numpy as np
import scipy.sparse
import torch

from ..storage import atomic, reading_hdf5
from .discretization import Discretization
from .mesh import Mesh
from .space import Element, Space
from .sparse import SparseMatrix

#: An h5py.Group; h5py's annotations do not tell datasets from groups.
Group = Any

SCHEMA_VERSION = 1
KIND = "discretization"


def write(disc: Discretization, path: str | os.PathLike) -> None:
    """Write a discretization; the file takes its place when it is complete."""
    with atomic(path) as partial, h5py.File(partial, "w", track_order=True) as file:
        file.attrs.update(kind=KIND, schema_version=SCHEMA_VERSION, fingerprint=disc.fingerprint)
        names = {id(mesh): f"mesh_{i}" for i, mesh in enumerate(disc.meshes)}
        for mesh in disc.meshes:
            write_mesh(file.create_group(f"meshes/{names[id(mesh)]}"), mesh)
        for name in disc.spaces:
            group = file.create_group(f"spaces/{name}", track_order=True)
            group.attrs["mesh"] = names[id(disc[name].mesh)]
            _write_space(group, disc[name])
        transfers = file.create_group("transfers", track_order=True)
        for key in disc.transfers:
            _write_matrix(transfers.create_group(key), disc.transfer(*key.split("->")))


def load(path: str | os.PathLike, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Discretization:
    """Read a discretization that :meth:`Discretization.save` wrote. Firedrake is not needed.

    Raises:
        FileError: the file is missing, truncated, or something else.
    """
    file: Group
    with reading_hdf5(path, KIND) as file:
        meshes = {name: read_mesh_group(group) for name, group in file["meshes"].items()}
        spaces = {name: _read_space(name, group, meshes[group.attrs["mesh"]], dtype) for name, group in file["spaces"].items()}
        transfers = {tuple(key.split("->")): _read_matrix(group, dtype) for key, group in file.get("transfers", {}).items()}
        disc = Discretization(spaces, transfers)
        disc.require_fingerprint(file.attrs["fingerprint"], str(path))
    return disc.to(device)


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
    element = space.element
    group.attrs.update(
        family=element.family,
        degree=element.degree,
        cell=element.cell,
        mapping=element.mapping,
        is_nodal=element.is_nodal,
        value_shape=json.dumps(element.value_shape),
        block_shape=json.dumps(element.block_shape),
        num_dofs=space.num_dofs,
    )
    group["points"] = space.points.cpu().numpy()
    group["cell_nodes"] = space.cell_nodes.cpu().numpy()
    boundary = group.create_group("boundary", track_order=True)
    for tag in space.tags:
        boundary[tag] = space.boundary_nodes(tag).cpu().numpy()
    for name in space.matrices:
        _write_matrix(group.create_group(f"matrices/{name}"), space._matrix(name))


def _read_space(name: str, group: Group, mesh: Mesh, dtype: torch.dtype) -> Space:
    attrs = group.attrs
    element = Element(
        family=attrs["family"],
        degree=int(attrs["degree"]),
        cell=attrs["cell"],
        value_shape=tuple(json.loads(attrs["value_shape"])),
        block_shape=tuple(json.loads(attrs["block_shape"])),
        mapping=attrs["mapping"],
        is_nodal=bool(attrs["is_nodal"]),
    )
    return Space(
        name,
        mesh,
        element,
        points=torch.from_numpy(group["points"][()]),
        cell_nodes=torch.from_numpy(group["cell_nodes"][()]),
        boundary={tag: torch.from_numpy(nodes[()]) for tag, nodes in group["boundary"].items()},
        matrices={key: _read_matrix(matrix, dtype) for key, matrix in group["matrices"].items()},
    )


def _write_matrix(group: Group, matrix: SparseMatrix) -> None:
    A = matrix.to_scipy()
    group.attrs["shape"] = A.shape
    for name in ("indptr", "indices", "data"):
        group.create_dataset(name, data=getattr(A, name), compression="gzip", shuffle=True)


def _read_matrix(group: Group, dtype: torch.dtype) -> SparseMatrix:
    parts = tuple(group[name][()] for name in ("data", "indices", "indptr"))
    return SparseMatrix(scipy.sparse.csr_matrix(parts, shape=tuple(group.attrs["shape"])), dtype)
