"""Uniform grids of boxes as finite-element spaces: the multilinear functions of grid points, or the constants of grid cells."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import FingerprintError, InputError
from ..hdf5 import SCHEMA_VERSION, read_text, reading_hdf5, write_texts, writing_hdf5
from .space import root

KIND = "grids"

Location = Literal["vertex", "centre"]


@dataclass(frozen=True)
class Grid:
    """The functions on a box that are fixed by their values at the points of a uniform grid; fields are ``(..., channel, x, y[, z])``.

    At ``"vertex"`` a field is continuous and linear along each axis (Q1) between ``shape`` points, those on the sides included; along a
    periodic axis the last point is left out, for it is the first. At ``"centre"`` it is constant in each of ``shape`` cells.

    Args:
        shape: points along each axis, at least 2 each.
        lengths: sides of the box; 1 each by default.
        periodic: which axes are periodic; one value for all, or one each.
        location: where the values are.

    Raises:
        InputError: the arguments do not fit each other.

    Example:
        >>> grid = Grid((33, 33))
        >>> x, y = grid.coordinates(torch.float64)
        >>> grid.norm(x[None]) ** 2  # ∫ x² over the unit square, without error
        tensor(0.3333, dtype=torch.float64)
    """

    shape: tuple[int, ...]
    lengths: tuple[float, ...] = ()
    periodic: tuple[bool, ...] = (False,)
    location: Location = "vertex"

    def __post_init__(self):
        dim = len(self.shape)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "lengths", tuple(float(L) for L in self.lengths) or (1.0,) * dim)
        periodic = (self.periodic,) if isinstance(self.periodic, bool) else tuple(self.periodic)
        object.__setattr__(self, "periodic", periodic * dim if len(periodic) == 1 else periodic)
        if not 1 <= dim <= 3 or min(self.shape) < 2 or len(self.lengths) != dim or min(self.lengths) <= 0:
            raise InputError(
                f"A grid has one to three axes with 2 points or more and a positive length each; got shape {self.shape} and "
                f"lengths {self.lengths}."
            )
        if len(self.periodic) != dim:
            raise InputError(f"A grid of {dim} axes needs one value of periodic, or {dim}; got {self.periodic}.")
        if self.location not in ("vertex", "centre"):
            raise InputError(f'A grid\'s values are at "vertex" or "centre", not {self.location!r}.')

    @property
    def dim(self) -> int:
        return len(self.shape)

    @property
    def spacings(self) -> tuple[float, ...]:
        """Distance of neighbouring points along each axis."""
        axes = zip(self.lengths, self.shape, self.periodic, strict=True)
        return tuple(L / (n - 1 if self.location == "vertex" and not wraps else n) for L, n, wraps in axes)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that gives the values their meaning."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def axes(self, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """Coordinates of the points along each axis."""
        first = 0.5 if self.location == "centre" else 0.0
        return tuple(
            (torch.arange(n, dtype=torch.float64, device=device) + first).mul(h).to(dtype)
            for n, h in zip(self.shape, self.spacings, strict=True)
        )

    def coordinates(self, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
        """Coordinates of all points, ``(dim, x, y[, z])``."""
        return torch.stack(torch.meshgrid(*self.axes(dtype, device), indexing="ij"))

    def integral(self, u: Tensor) -> Tensor:
        """∫ u over the box, ``(..., channel, x, y[, z]) -> (..., channel)``."""
        self.check(u)
        for axis in range(-self.dim, 0):
            u = self._mass(u, axis)
        return u.sum(self._space_axes)

    def inner(self, u: Tensor, v: Tensor, norm: str = "L2") -> Tensor:
        """The inner product of "L2" or "H1", ``(..., channel, x, y[, z]) -> (...)``, summed over channels.

        Exact for the multilinear functions of a grid of vertices. At centres, gradients are the differences across the faces inside,
        those next to a side of the box for the half cell up to it, too.

        Raises:
            InputError: there is no such norm.
        """
        if norm not in ("L2", "H1"):
            raise InputError(f"Unknown norm {norm!r} of a grid; choose L2 or H1.")
        self.check(u)
        self.check(v)
        total = self._product(u, v, range(-self.dim, 0))
        if norm == "H1":
            for axis, h in zip(range(-self.dim, 0), self.spacings, strict=True):
                du, dv = (self._difference(w, axis) / h for w in (u, v))
                dv = self._to_the_sides(dv, axis)
                total = total + h * self._product(du, dv, [other for other in range(-self.dim, 0) if other != axis])
        return total

    def norm(self, u: Tensor, norm: str = "L2") -> Tensor:
        """The norm of each field of a batch, ``(..., channel, x, y[, z]) -> (...)``; its gradient at zero is zero."""
        return root(self.inner(u, u, norm))

    def check(self, u: Tensor) -> None:
        """Refuse fields of another shape.

        Raises:
            InputError: the last axes are not those of the grid, or the axis of channels is missing.
        """
        if u.ndim < self.dim + 1 or tuple(u.shape[-self.dim :]) != self.shape:
            raise InputError(
                f"A field on this grid has shape (..., channel, {', '.join(map(str, self.shape))}), not {tuple(u.shape)}."
            )

    def refined(self, factor: int) -> "Grid":
        """The grid of the same box with ``factor`` times as many intervals along each axis."""
        ends = [self.location == "vertex" and not wraps for wraps in self.periodic]
        shape = tuple((n - end) * factor + end for n, end in zip(self.shape, ends, strict=True))
        return Grid(shape, self.lengths, self.periodic, self.location)

    @property
    def _space_axes(self) -> tuple[int, ...]:
        return tuple(range(-self.dim, 0))

    def _product(self, u: Tensor, v: Tensor, axes: Sequence[int]) -> Tensor:
        for axis in axes:
            v = self._mass(v, axis)
        return (u * v).sum((-self.dim - 1, *self._space_axes))

    def _mass(self, u: Tensor, axis: int) -> Tensor:
        """The mass matrix of one axis: h times (1, 4, 1)/6 between vertices, with half of it at an end; h at centres."""
        h = self.spacings[axis]
        if self.location == "centre":
            return h * u
        if self.periodic[axis]:
            return h / 6 * (4 * u + u.roll(1, axis) + u.roll(-1, axis))
        n = u.shape[axis]
        left, right = u.narrow(axis, 0, n - 1), u.narrow(axis, 1, n - 1)
        ends = (0, 0) * (-axis - 1)
        pad = torch.nn.functional.pad
        return h / 6 * (pad(2 * left + right, (*ends, 0, 1)) + pad(left + 2 * right, (*ends, 1, 0)))

    def _to_the_sides(self, du: Tensor, axis: int) -> Tensor:
        if self.location == "vertex" or self.periodic[axis]:
            return du
        share = torch.ones(du.shape[axis], dtype=du.dtype, device=du.device)
        share[0] += 0.5
        share[-1] += 0.5
        return du * share.view(-1, *(1,) * (-axis - 1))

    def _difference(self, u: Tensor, axis: int) -> Tensor:
        if self.periodic[axis]:
            return u.roll(-1, axis) - u
        return u.diff(dim=axis)


class Grids:
    """Named grids, as data sets on grids have them: ``grids["centres"]``. They play the part of a discretization's spaces."""

    def __init__(self, grids: Mapping[str, Grid]):
        self.grids = dict(grids)
        names = "".join(f"{name}:{grid.fingerprint}" for name, grid in sorted(self.grids.items()))
        self.fingerprint = hashlib.sha256(names.encode()).hexdigest()

    def __getitem__(self, name: str) -> Grid:
        if name not in self.grids:
            raise InputError(f"There is no grid {name!r}; there are {', '.join(map(repr, self.grids))}.")
        return self.grids[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.grids)

    def require_fingerprint(self, fingerprint: str, owner: str) -> None:
        """Refuse data that were made on other grids.

        Raises:
            FingerprintError: the fingerprints differ.
        """
        if fingerprint != self.fingerprint:
            raise FingerprintError(
                f"{owner} belongs to other grids (fingerprint {fingerprint[:12]}, not {self.fingerprint[:12]}). Generate the data again on "
                "these, or go back to the configuration it was made with."
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write the grids to one HDF5 file, which :func:`load_grids` reads.

        Raises:
            FileError: the disk is full, or the folder cannot be written.
        """
        with writing_hdf5(path) as file:
            described = {name: asdict(grid) for name, grid in self.grids.items()}
            write_texts(file, kind=KIND, fingerprint=self.fingerprint, grids=json.dumps(described))
            file.attrs["schema_version"] = SCHEMA_VERSION

    def to(self, device: torch.device | str) -> "Grids":
        """These grids: they hold no tensors, so they are on every device."""
        return self

    def __repr__(self) -> str:
        return f"Grids, fingerprint {self.fingerprint[:12]}\n" + "\n".join(
            f"  {name}: {grid}" for name, grid in self.grids.items()
        )


def load_grids(path: str | os.PathLike) -> Grids:
    """Read grids that :meth:`Grids.save` wrote.

    Raises:
        FileError: the file is missing, truncated, or something else.
    """
    with reading_hdf5(path, KIND) as file:
        return Grids({name: Grid(**grid) for name, grid in json.loads(read_text(file, "grids")).items()})
