"""Everything a network needs of a finite-element discretization, in one object, without Firedrake."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from ..errors import FingerprintError, InputError
from .discretization_file import read, write
from .forms.residual import Residual
from .hierarchy import Hierarchy
from .mesh import Mesh
from .observation import Observation
from .space import Space
from .sparse import SparseMatrix

Pair = tuple[str, str]
Part = TypeVar("Part", bound=nn.Module)


class Discretization(nn.Module):
    """Named spaces on their meshes, the matrices between them, and a fingerprint of it all.

    ``disc["V"]`` is the space exported under that name; ``disc.transfer("coarse", "V")`` the interpolation matrix between two.
    Two discretizations with one fingerprint number their dofs alike, so a field of the one is a field of the other.
    """

    def __init__(
        self,
        spaces: Mapping[str, Space],
        transfers: Mapping[Pair, SparseMatrix] | None = None,
        derivatives: Mapping[Pair, SparseMatrix] | None = None,
        products: Mapping[Pair, SparseMatrix] | None = None,
        observations: Mapping[str, Observation] | None = None,
    ):
        super().__init__()
        self.spaces = nn.ModuleDict(spaces)
        self.transfers = _by_arrow(transfers)
        self.derivatives = _by_arrow(derivatives)
        self.products = _by_arrow(products)
        self.observations = nn.ModuleDict(observations or {})
        #: Compiled forms by name.
        self.forms = nn.ModuleDict()
        #: The Firedrake spaces by name on the exporting side; empty where it was loaded from a file.
        self.sources: dict[str, Any] = {}
        self.fingerprint = _fingerprint(spaces.values())

    def __getitem__(self, name: str) -> Space:
        return _get(self.spaces, name, Space, "space", "spaces={" + repr(name) + ": ...}")

    def transfer(self, source: str, target: str) -> SparseMatrix:
        """Interpolation matrix from one space into another, shape ``(target dofs, source dofs)``."""
        return self._matrix("transfer", source, target)

    def derivative(self, source: str, target: str) -> SparseMatrix:
        """The gradient, curl or divergence from one space into another, shape ``(target dofs, source dofs)``."""
        return self._matrix("derivative", source, target)

    def product(self, source: str, target: str) -> SparseMatrix:
        """The L2 products ``∫ φ_i ψ_j`` of the basis of ``target`` with that of ``source``, ``(target dofs, source dofs)``.

        From vectors into scalars, ``∫ φ_i ∇·ψ_j``.
        """
        return self._matrix("product", source, target)

    def observation(self, name: str) -> Observation:
        """The evaluation of a space's fields at the points that were exported under this name."""
        return _get(self.observations, name, Observation, "observation", "observations={" + repr(name) + ": (space, points)}")

    def form(self, name: str) -> Residual:
        """The compiled form that was exported under this name."""
        return _get(self.forms, name, Residual, "form", "forms={" + repr(name) + ": F}")

    def hierarchy(self, *names: str) -> Hierarchy:
        """The multigrid hierarchy of these spaces, from fine to coarse, with their exported transfers as prolongations."""
        pairs = zip(names[1:], names, strict=False)
        return Hierarchy([self[name] for name in names], [self.transfer(coarse, fine) for coarse, fine in pairs])

    def hierarchy_below(self, name: str) -> Hierarchy:
        """The hierarchy from this space down: the largest coarser space with a transfer to it, and so on."""
        self[name]
        coarser, names = self._coarser(), [name]
        while names[-1] in coarser:
            names.append(coarser[names[-1]])
        return self.hierarchy(*names)

    def _matrix(self, kind: str, source: str, target: str) -> SparseMatrix:
        return _get(getattr(self, kind + "s"), f"{source}->{target}", SparseMatrix, kind, f"{kind}s=[({source!r}, {target!r})]")

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
        write(self, path)

    def _spaces(self) -> Iterable[Space]:
        return [self[name] for name in self.spaces]

    def __repr__(self) -> str:
        lines = [f"Discretization, fingerprint {self.fingerprint[:12]}"]
        for mesh in self.meshes:
            on_mesh = [repr(space).replace("\n", "\n    ") for space in self._spaces() if space.mesh is mesh]
            lines.append("\n    ".join([f"  {mesh}", *on_mesh]))
        parts = {
            kind: ", ".join(getattr(self, kind)) for kind in ("transfers", "derivatives", "products", "observations", "forms")
        }
        lines.extend(f"  {kind}: {names}" for kind, names in parts.items() if names)
        lines.extend("  " + repr(chain).replace("\n", "\n  ") for chain in self._chains())
        return "\n".join(lines)

    def _chains(self) -> list[Hierarchy]:
        """The hierarchies that the transfers make up, each from a space that is in none of the others."""
        coarser = self._coarser()
        return [self.hierarchy_below(finest) for finest in sorted(set(coarser) - {source for source, _ in self._upward()})]

    def _upward(self) -> list[Pair]:
        """Transfers from a space into one of the same kind with more dofs."""
        pairs = [(source, target) for source, target in (key.split("->") for key in self.transfers)]
        return [(a, b) for a, b in pairs if self[a].num_dofs < self[b].num_dofs and _kind(self[a]) == _kind(self[b])]

    def _coarser(self) -> dict[str, str]:
        """For each space, the largest of the coarser ones that lead into it."""
        into: dict[str, list[str]] = {}
        for source, target in self._upward():
            into.setdefault(target, []).append(source)
        return {target: max(sources, key=lambda name: self[name].num_dofs) for target, sources in into.items()}


def load(path: str | os.PathLike, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Discretization:
    """Read a discretization that :meth:`Discretization.save` wrote. Firedrake is not needed.

    Raises:
        FileError: the file is missing, truncated, or something else.

    Example:
        >>> import firedrake as fd
        >>> from thalweg import fem
        >>> disc = fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(4, 4), "CG", 1)})
        >>> disc.save("square.h5")
        >>> load("square.h5").fingerprint == disc.fingerprint
        True
    """
    arguments, forms, fingerprint = read(path, dtype)
    disc = Discretization(**arguments)
    disc.require_fingerprint(fingerprint, str(path))
    disc.forms.update(forms)
    return disc.to(device)


def _kind(space: Space) -> tuple[str, tuple[int, ...]]:
    return space.element.family, space.element.value_shape


def _by_arrow(matrices: Mapping[Pair, SparseMatrix] | None) -> nn.ModuleDict:
    return nn.ModuleDict({f"{source}->{target}": matrix for (source, target), matrix in (matrices or {}).items()})


def _get(parts: nn.Module, name: str, kind: type[Part], noun: str, argument: str) -> Part:
    assert isinstance(parts, nn.ModuleDict)
    if name not in parts:
        raise InputError(
            f"The {noun} {name!r} is not in this discretization, which has {', '.join(map(repr, parts)) or 'none'}. "
            f"Correct the name, or pass {argument} to fem.export."
        )
    part = parts[name]
    assert isinstance(part, kind)
    return part


def _fingerprint(spaces: Iterable[Space]) -> str:
    """Hash of what gives dof numbers their meaning: elements, cell-to-node maps, and the mesh they are on."""
    digest = hashlib.sha256()
    for space in sorted(spaces, key=lambda s: s.name):
        digest.update(f"{space.name}: {space.element}".encode())
        points, span = space.mesh.points, _span(space.mesh.points)
        digest.update(f"{span:.6e}".encode())
        arrays = (space.cell_nodes.cpu().numpy(), space.mesh.cells, _quantized(points, span))
        digest.update(b"".join(np.ascontiguousarray(array, dtype=np.int64).tobytes() for array in arrays))
    return digest.hexdigest()


def _span(points: np.ndarray) -> float:
    return float(np.ptp(points, axis=0).max(initial=0)) or 1.0


def _quantized(points: np.ndarray, span: float) -> np.ndarray:
    """Coordinates to a millionth of the mesh, so that a last-bit difference of two compilers does not separate equal meshes.

    The offset keeps the simple fractions of regular meshes away from the edges of the intervals.
    """
    return np.floor(points / span * 2**20 + 0.381966)
