"""Potentials of solenoidal velocities on staggered grids, and the discrete curl.

The stream function lives at the vertices of the cells, a vector potential along their edges. Along a periodic axis the last vertex is the
first and is left out of potentials, not of velocities, whose last face repeats the first (see :class:`StaggeredFlow`).
"""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

from ...errors import InputError

#: One tensor a component, ``(..., x, y[, z])`` each.
Components = tuple[Tensor, ...]


def velocity_of(potential: Components, spacings: Sequence[float], periodic: Sequence[bool]) -> Components:
    """The curl of a potential at the faces; its discrete divergence is zero to rounding, whatever the potential is.

    In two dimensions of one stream function: u = (∂_y ψ, −∂_x ψ), with ψ at the ``(nx + 1, ny + 1)`` vertices. In three of the
    components A_x at ``(nx, ny + 1, nz + 1)`` edges along x, and so on: u_x = ∂_y A_z − ∂_z A_y. Periodic axes have one vertex fewer.
    """
    dim = len(spacings)
    if dim == 2:
        psi = _closed(_closed(potential[0], 0, 2, periodic), 1, 2, periodic)
        return psi.diff(dim=-1) / spacings[1], -psi.diff(dim=-2) / spacings[0]
    A = [_closed(_closed(a, (axis + 1) % 3, 3, periodic), (axis + 2) % 3, 3, periodic) for axis, a in enumerate(potential)]
    faces = []
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        faces.append(A[c].diff(dim=b - 3) / spacings[b] - A[b].diff(dim=c - 3) / spacings[c])
    return tuple(faces)


def curl(velocity: Components, spacings: Sequence[float], periodic: Sequence[bool]) -> Components:
    """Vorticity at the vertices (2D, one component) or edges (3D) inside the box; along periodic axes at all of them.

    The curl of a pressure gradient is zero to rounding.
    """
    parts = []
    for b, c in _planes(len(spacings)):
        parts.append(
            _inside(_across(velocity[c], b, len(spacings), periodic), c, len(spacings), periodic) / spacings[b]
            - _inside(_across(velocity[b], c, len(spacings), periodic), b, len(spacings), periodic) / spacings[c]
        )
    return tuple(parts)


def surrounded(moves: Components, periodic: Sequence[bool]) -> Components:
    """For each vertex or edge of :func:`curl` 1 if all four faces around it are 1, else 0."""
    dim = len(periodic)
    parts = []
    for b, c in _planes(dim):
        pairs = []
        for axis, other in ((b, c), (c, b)):
            m = _inside(moves[other], other, dim, periodic)
            m = _before(m, axis, dim) if periodic[axis] else m
            n = m.shape[axis - dim] - 1
            pairs.append(m.narrow(axis - dim, 0, n) * m.narrow(axis - dim, 1, n))
        parts.append(pairs[0] * pairs[1])
    return tuple(parts)


def potential_of(
    velocity: Components, spacings: Sequence[float], periodic: Sequence[bool], tolerance: float | None = None
) -> Components:
    """A potential whose :func:`velocity_of` is a given solenoidal velocity, by which solvers' frames become those of a potential.

    In a periodic box it has no divergence (Coulomb's gauge); otherwise, in two dimensions, the stream function is zero at the
    first vertex. Computed in double precision.

    Args:
        tolerance: the largest share of the velocity that may have no potential: that of the solver that left a divergence; rounding by
            default.

    Raises:
        InputError: a mean velocity along a periodic axis, which no potential has; three dimensions with walls.
    """
    dim, dtype = len(spacings), velocity[0].dtype
    exact = [w.double() for w in velocity]
    if all(periodic):
        cells = [w.narrow(axis - dim, 0, w.shape[axis - dim] - 1) for axis, w in enumerate(exact)]
        smooth = [_inverse_laplacian(w, spacings) for w in cells]
        potential = curl(tuple(_closed(w, axis, dim, periodic) for axis, w in enumerate(smooth)), spacings, periodic)
    elif dim == 2:
        u, v = exact
        first = _cumulated(u.narrow(-2, 0, 1) * spacings[1], -1)
        psi = first - _cumulated(v * spacings[0], -2)
        for axis in (0, 1):
            if periodic[axis]:
                psi = psi.narrow(axis - 2, 0, psi.shape[axis - 2] - 1)
        potential = (psi,)
    else:
        raise InputError(
            "Vector potentials of given velocities are known in periodic boxes only; start from a potential instead."
        )
    with torch.no_grad():
        scale = max(float(w.abs().max()) for w in exact)
        error = max(float((a - b).abs().max()) for a, b in zip(velocity_of(potential, spacings, periodic), exact, strict=True))
    if error > (tolerance or 1e3 * torch.finfo(dtype).eps) * scale + 1e-300:
        raise InputError(
            f"The velocity has no potential: {error / scale:.1g} of it is left over. Project it first, and subtract its mean along "
            "periodic axes."
        )
    return tuple(a.to(dtype) for a in potential)


def at_faces(cells: Components, periodic: Sequence[bool]) -> Components:
    """Components of a vector at the centres of cells to its normal components at the faces, by the mean of both sides."""
    dim = len(periodic)
    pairs = [_beside(w, axis, dim, periodic) for axis, w in enumerate(cells)]
    return tuple((before + after) / 2 for before, after in pairs)


def _beside(w: Tensor, axis: int, dim: int, periodic: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Values of the cells before and after each face across an axis; outside a wall those inside."""
    n = w.shape[axis - dim]
    first, last = w.narrow(axis - dim, 0, 1), w.narrow(axis - dim, n - 1, 1)
    before, after = (last, first) if periodic[axis] else (first, last)
    return torch.cat([before, w], axis - dim), torch.cat([w, after], axis - dim)


def _planes(dim: int) -> list[tuple[int, int]]:
    return [(0, 1)] if dim == 2 else [(1, 2), (2, 0), (0, 1)]


def _closed(w: Tensor, axis: int, dim: int, periodic: Sequence[bool]) -> Tensor:
    """With the last vertex along a periodic axis, which is the first."""
    return torch.cat([w, w.narrow(axis - dim, 0, 1)], axis - dim) if periodic[axis] else w


def _before(w: Tensor, axis: int, dim: int) -> Tensor:
    return torch.cat([w.narrow(axis - dim, w.shape[axis - dim] - 1, 1), w], axis - dim)


def _across(w: Tensor, axis: int, dim: int, periodic: Sequence[bool]) -> Tensor:
    """Differences of values at centres along an axis, at the vertices inside, or at all of a periodic axis."""
    return (_before(w, axis, dim) if periodic[axis] else w).diff(dim=axis - dim)


def _inside(w: Tensor, axis: int, dim: int, periodic: Sequence[bool]) -> Tensor:
    """Of values at the vertices along an axis those inside, or all different ones of a periodic axis."""
    n = w.shape[axis - dim] - 1
    return w.narrow(axis - dim, 0, n) if periodic[axis] else w.narrow(axis - dim, 1, n - 1)


def _cumulated(w: Tensor, axis: int) -> Tensor:
    return torch.cat([torch.zeros_like(w.narrow(axis, 0, 1)), w.cumsum(axis)], axis)


def _inverse_laplacian(w: Tensor, spacings: Sequence[float]) -> Tensor:
    """(−Δ)⁺ of second differences in a periodic box."""
    dim = len(spacings)
    axes = tuple(range(-dim, 0))
    total = torch.zeros((), dtype=w.dtype, device=w.device)
    for axis, h in zip(axes, spacings, strict=True):
        n = w.shape[axis]
        k = torch.arange(n // 2 + 1 if axis == -1 else n, dtype=w.dtype, device=w.device)
        total = total + ((2 - 2 * torch.cos(2 * pi * k / n)) / h**2).reshape(-1, *[1] * (-axis - 1))
    flat = total < 1e-12 * total.max()
    inverse = torch.where(flat, 0.0, 1 / total.masked_fill(flat, 1.0))
    return torch.fft.irfftn(torch.fft.rfftn(w, dim=axes) * inverse, s=w.shape[-dim:], dim=axes)
