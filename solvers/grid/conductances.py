"""The operator −div(a grad u) on the nodes of a box grid, as a network of conductances between neighbouring nodes.

A conductance is a · (area of the face between two nodes) / (their distance); the boundary's faces are half as large. Without further
ado the boundary is impermeable (Neumann). Coarse networks follow by the laws of series and parallel connection.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor

from ...errors import InputError

#: One tensor an axis, ``(batch, 1, nodes)`` with one node fewer along that axis.
Conductances = tuple[Tensor, ...]
Mean = Literal["harmonic", "arithmetic"]


def conductances(a: Tensor, lengths: Sequence[float], mean: Mean) -> Conductances:
    """Conductances of a coefficient given at the nodes, ``(batch, 1, x[, y[, z]])``; between two nodes their mean counts."""
    cells = [n - 1 for n in a.shape[2:]]
    spacings = [L / n for L, n in zip(lengths, cells, strict=True)]
    network = []
    for axis, h in enumerate(spacings):
        left, right = a.narrow(axis + 2, 0, cells[axis]), a.narrow(axis + 2, 1, cells[axis])
        w = 2 * left * right / (left + right) if mean == "harmonic" else (left + right) / 2
        w = w * (prod(spacings) / h**2)
        for other in range(len(cells)):
            if other != axis:
                w = w * _on_axis(dual_cells(cells[other], w), other, len(cells))
        network.append(w)
    return tuple(network)


def dual_cells(cells: int, like: Tensor) -> Tensor:
    """Sizes of the nodes' control cells along one axis in units of the spacing: ½, 1, ..., 1, ½."""
    size = torch.ones(cells + 1, dtype=like.dtype, device=like.device)
    size[0] = size[-1] = 0.5
    return size


def control_volumes(nodes: Sequence[int], lengths: Sequence[float], like: Tensor) -> Tensor:
    """Volumes of the nodes' control cells, ``(x[, y[, z]])``."""
    volume = torch.ones(tuple(nodes), dtype=like.dtype, device=like.device)
    for axis, (n, L) in enumerate(zip(nodes, lengths, strict=True)):
        volume = volume * (L / (n - 1) * dual_cells(n - 1, like)).reshape([-1 if i == axis else 1 for i in range(len(nodes))])
    return volume


def interior(nodes: Sequence[int], dirichlet: Sequence[str], like: Tensor) -> Tensor:
    """One at free nodes, zero on the named sides ``"x0", "x1", "y0", ...``, the first and last nodes along each axis."""
    free = torch.ones(tuple(nodes), dtype=like.dtype, device=like.device)
    names = [f"{axis}{end}" for axis in "xyz"[: len(nodes)] for end in (0, 1)]
    for side in dirichlet:
        if side not in names:
            raise InputError(
                f"The box has no side {side!r}; its sides are {', '.join(names)}, the first and last nodes along each axis."
            )
        axis, end = divmod(names.index(side), 2)
        free.select(axis, -end).zero_()
    return free


def apply(network: Conductances, u: Tensor) -> Tensor:
    """The net flux out of each node, −Σ w (u_neighbour − u); symmetric, with constants in its kernel."""
    out = torch.zeros_like(u)
    for axis, w in enumerate(network):
        n = w.shape[axis + 2]
        flux = w * u.diff(dim=axis + 2)
        out.narrow(axis + 2, 0, n).sub_(flux)
        out.narrow(axis + 2, 1, n).add_(flux)
    return out


def diagonal(network: Conductances) -> Tensor:
    """The sum of the conductances at each node."""
    shape = list(network[0].shape)
    shape[2] += 1
    out = network[0].new_zeros(shape)
    for axis, w in enumerate(network):
        n = w.shape[axis + 2]
        out.narrow(axis + 2, 0, n).add_(w)
        out.narrow(axis + 2, 1, n).add_(w)
    return out


def coarsened(network: Conductances) -> Conductances:
    """The network of every second node: pairs along an axis in series, lines across it in parallel with a hat function's weights."""
    coarse = []
    for axis, w in enumerate(network):
        w = _series(w, axis + 2)
        for other in range(len(network)):
            if other != axis:
                w = restrict_axis(w, other + 2)
        coarse.append(w)
    return tuple(coarse)


def _series(w: Tensor, axis: int) -> Tensor:
    pairs = w.shape[axis] // 2
    first, second = w.narrow(axis, 0, 2 * pairs).unflatten(axis, (pairs, 2)).unbind(axis + 1)
    joined = first * second / (first + second).clamp_min(torch.finfo(w.dtype).tiny)
    # An odd cell at the end stays as it is.
    return torch.cat([joined, w.narrow(axis, 2 * pairs, w.shape[axis] - 2 * pairs)], axis)


def restrict_axis(r: Tensor, axis: int) -> Tensor:
    """Transpose of :func:`prolong_axis`: the coarse nodes, with half of each node between two of them."""
    n = r.shape[axis] - 1
    pairs = n // 2
    coarse = _every_second(r, axis, 0, pairs + 1)
    between = _every_second(r, axis, 1, pairs) / 2
    coarse.narrow(axis, 0, pairs).add_(between)
    coarse.narrow(axis, 1, pairs).add_(between)
    if n % 2:
        coarse = torch.cat([coarse, r.narrow(axis, n, 1)], axis)
    return coarse


def prolong_axis(u: Tensor, axis: int, nodes: int) -> Tensor:
    """Linear interpolation to the nodes between; if the fine cells are odd in number, the last coarse cell is a fine one."""
    pairs = (nodes - 1) // 2
    shape = list(u.shape)
    shape[axis] = nodes
    fine = u.new_empty(shape)
    _every_second(fine, axis, 0, pairs + 1, copy=False).copy_(u.narrow(axis, 0, pairs + 1))
    between = (u.narrow(axis, 0, pairs) + u.narrow(axis, 1, pairs)) / 2
    _every_second(fine, axis, 1, pairs, copy=False).copy_(between)
    if (nodes - 1) % 2:
        fine.narrow(axis, nodes - 1, 1).copy_(u.narrow(axis, pairs + 1, 1))
    return fine


def _every_second(u: Tensor, axis: int, start: int, count: int, copy: bool = True) -> Tensor:
    index = [slice(None)] * u.dim()
    index[axis] = slice(start, start + 2 * count - 1, 2)
    return u[tuple(index)].clone() if copy else u[tuple(index)]


def _on_axis(v: Tensor, axis: int, dim: int) -> Tensor:
    """A vector along one spatial axis of ``(batch, 1, x[, y[, z]])``."""
    return v.reshape([1, 1] + [-1 if i == axis else 1 for i in range(dim)])
