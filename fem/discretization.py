"""Everything a network needs of a finite-element discretization, in one object and one HDF5 file, without Firedrake."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping

import h5py
import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import FingerprintError, InputError
from ..storage import atomic, reading_hdf5
from .mesh import Mesh
from .space import Element, Space
from .sparse import SparseMatrix

SCHEMA_VERSION = 1
KIND = "discretization"


class Discretization(nn.Module):
    """Named spaces on their meshes, the transfers between them, and a fingerprint of it all.

    ``disc["V"]`` is the space exported under that name; ``disc.transfer("coarse", "V")`` the interpolation matrix between two.
    Two discretizations with one fingerprint number their dofs alike, so a field of the one is a field of the other.
    """

    def __init__(self, spaces: Mapping[str, Space], transfers: Mapping[tuple[str, str], SparseMatrix] | None = None):
        super().__init__()
        self.spaces = nn.ModuleDict(spaces)
        self.transfers = nn.ModuleDict({f"{source}->{target}": P for (source, target), P in (transfers or {}).items()})
        self.fingerprint = _fingerprint(spaces.values())

    def __getitem__(self, name: str) -> Space:
        if name not in self.spaces:
            raise InputError(f"There is no space {name!r}; this discretization has {', '.join(map(repr, self.spaces))}.")
        space = self.spaces[name]
        assert isinstance(space, Space)
        return space

    def transfer(self, source: str, target: str) -> SparseMatrix:
        """Interpolation matrix from one space into another, shape ``(target dofs, source dofs)``."""
        key = f"{source}->{target}"
        if key not in self.transfers:
            raise InputError(f"The transfer {key} was not exported; there are {', '.join(self.transfers) or 'none'}. "
                             f"Pass transfers=[({source!r}, {target!r})] to fem.export.")
        matrix = self.transfers[key]
        assert isinstance(matrix, SparseMatrix)
        return matrix

    @property
    def meshes(self) -> tuple[Mesh, ...]:
        """The meshes of the spaces, each once."""
        return tuple({id(space.mesh): space.mesh for space in self._spaces()}.values())

    def require_fingerprint(self, fingerprint: str, owner: str) -> None:
        """Refuse data or weights that were made for another discretization.

        Raises:
            FingerprintError: the fingerprints differ.
        """
        if fingerprint != self.fingerprint:
            raise FingerprintError(
                f"{owner} belongs to another discretization: its fingerprint is {fingerprint[:12]}, this one's is {self.fingerprint[:12]}. "
                "The mesh, the elements or the dof numbering differ, so its numbers would mean other functions. "
                "Generate the data (and train) again on this mesh, or go back to the discretization file it was made with."
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one HDF5 file, atomically, matrices in float64 if they are held so."""
        with atomic(path) as partial, h5py.File(partial, "w") as file:
            file.attrs.update(kind=KIND, schema_version=SCHEMA_VERSION, fingerprint=self.fingerprint)
            names = {id(mesh): f"mesh_{i}" for i, mesh in enumerate(self.meshes)}
            for mesh in self.meshes:
                write_mesh(file.create_group(f"meshes/{names[id(mesh)]}"), mesh)
            for space in self._spaces():
                group = file.create_group(f"spaces/{space.name}", track_order=True)
                group.attrs["mesh"] = names[id(space.mesh)]
                _write_space(group, space)
            for key, matrix in self.transfers.items():
                _write_matrix(file.create_group(f"transfers/{key}"), matrix)

    def _spaces(self) -> Iterable[Space]:
        return [self[name] for name in self.spaces]

    def extra_repr(self) -> str:
        return f"fingerprint {self.fingerprint[:12]}"


def load(path: str | os.PathLike, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Discretization:
    """Read a discretization that :meth:`Discretization.save` wrote. Firedrake is not needed.

    Raises:
        FileError: the file is missing, truncated, or something else.
    """
    with reading_hdf5(path, KIND) as file:
        meshes = {name: read_mesh_group(group) for name, group in file["meshes"].items()}
        spaces = {name: _read_space(name, group, meshes[group.attrs["mesh"]], dtype) for name, group in file["spaces"].items()}
        transfers = {tuple(key.split("->")): _read_matrix(group, dtype) for key, group in file.get("transfers", {}).items()}
        disc = Discretization(spaces, transfers)
        disc.require_fingerprint(file.attrs["fingerprint"], str(path))
    return disc.to(device)


def write_mesh(group: h5py.Group, mesh: Mesh) -> None:
    """Write ``points``, ``cells/<type>`` and ``tags/<name>`` below a group."""
    group.attrs.update(degree=mesh.degree, vertices=np.array(mesh.vertices))
    group["points"] = mesh.points
    group.create_group("cells")[mesh.cell_type] = mesh.cells
    tags = group.create_group("tags", track_order=True)
    for tag, facets in mesh.facets.items():
        tags[tag] = facets
        tags[tag].attrs["marker"] = mesh.markers[tag]


def read_mesh_group(group: h5py.Group) -> Mesh:
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


def _write_space(group: h5py.Group, space: Space) -> None:
    element = space.element
    group.attrs.update(
        family=element.family,
        degree=element.degree,
        cell=element.cell,
        mapping=element.mapping,
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


def _read_space(name: str, group: h5py.Group, mesh: Mesh, dtype: torch.dtype) -> Space:
    attrs = group.attrs
    element = Element(
        family=attrs["family"],
        degree=int(attrs["degree"]),
        cell=attrs["cell"],
        value_shape=tuple(json.loads(attrs["value_shape"])),
        block_shape=tuple(json.loads(attrs["block_shape"])),
        mapping=attrs["mapping"],
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


def _write_matrix(group: h5py.Group, matrix: SparseMatrix) -> None:
    A = matrix.to_scipy()
    group.attrs["shape"] = A.shape
    for name in ("indptr", "indices", "data"):
        group.create_dataset(name, data=getattr(A, name), compression="gzip", shuffle=True)


def _read_matrix(group: h5py.Group, dtype: torch.dtype) -> SparseMatrix:
    parts = tuple(group[name][()] for name in ("data", "indices", "indptr"))
    return SparseMatrix(scipy.sparse.csr_matrix(parts, shape=tuple(group.attrs["shape"])), dtype)


def _fingerprint(spaces: Iterable[Space]) -> str:
    """Hash of what gives dof numbers their meaning: elements, cell-to-node maps and node coordinates."""
    digest = hashlib.sha256()
    for space in sorted(spaces, key=lambda s: s.name):
        digest.update(f"{space.name}: {space.element}".encode())
        for array in (space.cell_nodes, space.points):
            digest.update(_bytes(array))
    return digest.hexdigest()


def _bytes(array: Tensor) -> bytes:
    numbers = array.cpu().numpy()
    # Coordinates are compared to 1e-9, so that a last-bit difference of two compilers does not separate equal meshes.
    if numbers.dtype.kind == "f":
        numbers = np.round(numbers.astype(np.float64), 9) + 0.0
    return np.ascontiguousarray(numbers).tobytes()
