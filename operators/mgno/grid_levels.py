"""The levels of a uniform grid: boxes of multilinear elements, halved along each axis."""

from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse
import torch

from ...errors import InputError
from ...fem.uniform_grid import Grid
from .architecture import Architecture
from .box_interpolation import interpolation
from .elements import AXES, box_elements
from .levels import Levels

#: In spacings, how far a grid may miss the boundary of its domain.
ROUNDING = 1e-6


def grid_levels(
    grid: Grid,
    dirichlet: Iterable[str],
    architecture: Architecture,
    dtype: torch.dtype = torch.float32,
    domain: Sequence[float] = (),
) -> Levels:
    """The levels of a uniform grid of vertices: every second point, and the last one of an axis with an odd number of cells.

    Axes whose spacing is twice the shortest or more wait until it is not: where cells are long, neighbours across them are coupled
    weakly, and point smoothers leave the error along them as it is (Trottenberg, Oosterlee and Schüller, Multigrid, 2001, section 5.1).

    Args:
        dirichlet: sides of the box where values are fixed, of ``"x0", "x1", "y0", ...``; natural conditions hold on the others.
        domain: the sides' lengths where the grid ends before the boundary; an axis then gets one more point, on it.

    Raises:
        InputError: values at the centres of cells, or a side that is unknown or periodic.
    """
    if grid.location != "vertex":
        raise InputError("MgNO's spaces have their values at vertices; this grid has them at centres. Use location='vertex'.")
    sides = list(dirichlet)
    known = [f"{axis}{end}" for axis, wraps in zip(AXES, grid.periodic, strict=False) if not wraps for end in (0, 1)]
    if unknown := [side for side in sides if side not in known]:
        raise InputError(
            f"Values cannot be fixed on {unknown[0]!r}; the grid's sides are {', '.join(known) or 'none: it is periodic'}."
        )
    axes = [np.linspace(0, L, n + wraps) for L, n, wraps in zip(grid.lengths, grid.shape, grid.periodic, strict=True)]
    lengths = tuple(domain) or grid.lengths
    axes = [np.append(x, L) if extra else x for x, L, extra in zip(axes, lengths, extended(grid, domain), strict=True)]
    all_axes, maps, parents = [axes], [], []
    most = architecture.coarsest_cells(grid.dim)
    if len(most) != grid.dim:
        raise InputError(f"The cells of the coarsest level are one number or {grid.dim}, one for each axis; got {most}.")
    while len(all_axes) < (architecture.max_levels or np.inf) and any(len(x) - 1 > n for x, n in zip(axes, most, strict=True)):
        coarser = _coarser(axes, most)
        along = [interpolation(x, c, w) for x, c, w in zip(axes, coarser, grid.periodic, strict=True)]
        P = along[0]
        for one in along[1:]:
            P = scipy.sparse.kron(P, one)
        maps.append(scipy.sparse.csr_matrix(P))
        parents.append(_box_parents(axes, coarser))
        axes = coarser
        all_axes.append(axes)
    elements = [box_elements(axes, grid.periodic, architecture.all_stencils(grid.dim)) for axes in all_axes]
    free = [_free(axes, grid.periodic, sides) for axes in all_axes]
    box = np.array([np.zeros(grid.dim), lengths])
    return Levels(elements, maps, free, architecture, box, grid.periodic, parents, dtype)


def extended(grid: Grid, domain: Sequence[float]) -> list[bool]:
    """Which axes end before the boundary of the domain.

    Raises:
        InputError: the grid does not fit the domain.
    """
    beyond = [length - end for length, end in zip(domain or grid.lengths, grid.lengths, strict=True)]
    allowed = [(1 + ROUNDING) * (0 if wraps else h) for h, wraps in zip(grid.spacings, grid.periodic, strict=True)]
    rounding = [ROUNDING * h for h in grid.spacings]
    if any(not -small <= gap <= most + small for gap, most, small in zip(beyond, allowed, rounding, strict=True)):
        raise InputError(
            f"A domain of {tuple(domain)} must reach up to one spacing beyond the grid, which ends at {grid.lengths}."
        )
    return [gap > small for gap, small in zip(beyond, rounding, strict=True)]


def _coarser(axes: Sequence[np.ndarray], most: Sequence[int]) -> list[np.ndarray]:
    """Every second point and the last along axes of short spacings; an axis with few cells stays as it is."""
    many = [len(x) - 1 > n for x, n in zip(axes, most, strict=True)]
    shortest = min(_spacing(x) for x, more in zip(axes, many, strict=True) if more)
    halved = [more and _spacing(x) < (2 - ROUNDING) * shortest for x, more in zip(axes, many, strict=True)]
    return [np.append(x[:-1:2], x[-1]) if short else x for x, short in zip(axes, halved, strict=True)]


def _spacing(x: np.ndarray) -> float:
    return float(x[1] - x[0])


def _free(axes: Sequence[np.ndarray], periodic: Sequence[bool], sides: Sequence[str]) -> np.ndarray:
    """Which nodes of a box are not on one of the sides."""
    free = np.ones([len(x) - wraps for x, wraps in zip(axes, periodic, strict=True)], dtype=bool)
    for side in sides:
        index = [slice(None)] * len(axes)
        index[AXES.index(side[0])] = slice(-1, None) if side[1] == "1" else slice(0, 1)
        free[tuple(index)] = False
    return free.ravel()


def _box_parents(fine: Sequence[np.ndarray], coarse: Sequence[np.ndarray]) -> np.ndarray:
    """The coarse cell that each fine cell of a box lies in."""
    along = [np.searchsorted(c, (x[1:] + x[:-1]) / 2) - 1 for x, c in zip(fine, coarse, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), [len(c) - 1 for c in coarse]).ravel()
