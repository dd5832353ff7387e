"""The rate of momentum on a staggered grid: central fluxes through the sides of each face's control volume."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .faces import Velocity
from .ghosts import with_ghosts_across, with_ghosts_along
from .sides import Periodic, Side, Wall, at_cells_of_side, at_faces_of_side, tangential_velocity


class MomentumFluxes:
    """νΔu − div(u ⊗ u) at every face, as differences of fluxes: what leaves one control volume enters the next.

    Fluxes along a component's own axis are taken at the centres of the cells, those across at their edges (corners in two dimensions),
    where u_i u_j is shared by both components. At an obstacle's surface, half a cell from the faces beside it, the shear is taken over that
    half, as at a wall.
    """

    def __init__(
        self,
        cells: Sequence[int],
        spacings: Sequence[float],
        sides: Sequence[tuple[Side, Side]],
        viscosity: float | Tensor,
        solid: Velocity | None,
        like: Tensor,
    ):
        self.spacings, self.sides, self.viscosity = spacings, sides, viscosity
        dim = len(cells)
        self._walls: dict[tuple[int, int], tuple[Tensor | None, Tensor | None]] = {}
        self._shear: dict[tuple[int, int], Tensor] = {}
        for i in range(dim):
            for j in range(dim):
                if i != j:
                    low, high = (_wall_velocity(side, i, j, cells, sides, like) for side in sides[j])
                    self._walls[i, j] = low, high
                    if solid is not None:
                        periodic = isinstance(sides[j][0], Periodic)
                        beside = solid[i].to(like)
                        n = beside.shape[j + 2]
                        ends = (n - 1, 0) if periodic else (0, n - 1)
                        padded = torch.cat([beside.narrow(j + 2, ends[0], 1), beside, beside.narrow(j + 2, ends[1], 1)], j + 2)
                        self._shear[i, j] = 1 + padded.diff(dim=j + 2).abs()

    def __call__(self, velocity: Velocity, *, convection: bool = True, walls_at_rest: bool = False) -> list[Tensor]:
        """The rate of each component; at faces that do not move freely what is needed to hold them, with the other sign.

        Without ``convection`` and with ``walls_at_rest`` it is the linear, self-adjoint part.
        """
        dim, nu = len(velocity), self.viscosity
        rates: list[Tensor] = []
        for i, (u, h) in enumerate(zip(velocity, self.spacings, strict=True)):
            axis = i - dim
            u = with_ghosts_across(u, axis, *self.sides[i])
            flux = nu / h * u.diff(dim=axis)
            if convection:
                twice = _sums(u, axis)
                flux = torch.addcmul(flux, twice, twice, value=-1 / 4)
            rates.append(flux.diff(dim=axis) / h)
        for i in range(dim):
            for j in range(i + 1, dim):
                ui, uj = self._beyond(velocity[i], i, j, walls_at_rest), self._beyond(velocity[j], j, i, walls_at_rest)
                twice = (_sums(ui, j - dim), _sums(uj, i - dim)) if convection else None
                for a, b, w in ((i, j, ui), (j, i, uj)):
                    h, axis = self.spacings[b], b - dim
                    flux = nu / h * w.diff(dim=axis)
                    if self._shear:
                        flux = flux * self._shear[a, b]
                    if twice is not None:
                        flux = torch.addcmul(flux, *twice, value=-1 / 4)
                    rates[a] = torch.add(rates[a], flux.diff(dim=axis), alpha=1 / h)
        return rates

    def _beyond(self, w: Tensor, i: int, j: int, walls_at_rest: bool) -> Tensor:
        walls = (None, None) if walls_at_rest else self._walls[i, j]
        return with_ghosts_along(w, j - len(self.spacings), *self.sides[j], walls)


def _sums(w: Tensor, axis: int) -> Tensor:
    """Twice the means of neighbours along an axis."""
    n = w.shape[axis] - 1
    return w.narrow(axis, 0, n) + w.narrow(axis, 1, n)


def _wall_velocity(
    side: Side, component: int, axis: int, cells: Sequence[int], sides: Sequence[tuple[Side, Side]], like: Tensor
) -> Tensor | None:
    """At the faces across ``component`` along a side across ``axis``; None for rest."""
    if not isinstance(side, Wall):
        return None
    value = tangential_velocity(side, component, axis, len(cells))
    if not isinstance(value, Tensor) and value == 0:
        return None
    periodic = isinstance(sides[component][0], Periodic)
    return at_faces_of_side(at_cells_of_side(value, axis, cells, like), component, periodic)
