"""Everything a network needs of a finite-element discretization, in one object and one HDF5 file, without Firedrake."""

import hashlib
import os
from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor, nn

from ..errors import FingerprintError, InputError
from .hierarchy import Hierarchy
from .mesh import Mesh
from .space import Space
from .sparse import SparseMatrix


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
            raise InputError(
                f"The transfer {key} was not exported; there are {', '.join(self.transfers) or 'none'}. "
                f"Pass transfers=[({source!r}, {target!r})] to fem.export."
            )
        matrix = self.transfers[key]
        assert isinstance(matrix, SparseMatrix)
        return matrix

    def hierarchy(self, *names: str) -> Hierarchy:
        """The named spaces, fine to coarse, with the exported transfers between neighbours."""
        pairs = zip(names[1:], names, strict=False)
        return Hierarchy([self[name] for name in names], [self.transfer(coarse, fine) for coarse, fine in pairs])

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
                f"{owner} belongs to another discretization: its fingerprint is {fingerprint[:12]}, "
                f"this one's is {self.fingerprint[:12]}. "
                "The mesh, the elements or the dof numbering differ, so its numbers would mean other functions. "
                "Generate the data (and train) again on this mesh, or go back to the discretization file it was made with."
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one HDF5 file, atomically, matrices in float64 if they are held so.

        Raises:
            FileError: the disk is full, or the folder cannot be written.
        """
        from .discretization_file import write

        write(self, path)

    def _spaces(self) -> Iterable[Space]:
        return [self[name] for name in self.spaces]

    def extra_repr(self) -> str:
        return f"fingerprint {self.fingerprint[:12]}"


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
