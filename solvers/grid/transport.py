"""Transport of a scalar on a staggered grid, ∂c/∂t + div(uc) = κΔc, by limited fluxes that keep its mass and its bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import DivergedError, InputError
from .faces import Velocity, convective_rate
from .sides import FreeSlip, Periodic, Side, at_cells_of_side, names_of_sides
from .staggered import StaggeredFlow


@dataclass(frozen=True)
class ClosedBox:
    """Walls on all sides and nothing inside: where a velocity that is given, and not computed, carries a scalar."""

    cells: Sequence[int]
    spacings: Sequence[float]
    solid: None = None

    @property
    def sides(self) -> list[tuple[Side, Side]]:
        return [(FreeSlip(), FreeSlip())] * len(self.cells)


class Transport:
    """MUSCL fluxes with van Leer's limiter (J. Comput. Phys. 32, 1979), in two Euler stages a step (Heun, strong-stability-preserving).

    Second order where the scalar is smooth. Nothing passes an obstacle at rest or a wall; through an outflow the scalar leaves, through an
    inflow it enters with the value of ``inflow``. Mass then changes by that only. No new maximum or minimum appears while
    2 dt Σ_i |u_i|/h_i + 2 κ dt Σ_i 1/h_i² ≤ 1 in each cell: each stage is then a convex combination of neighbours, since u is solenoidal.
    At a face of a moving obstacle the scalar is that of the fluid beside it, so bounds are kept, but the stairs may take up some mass.

    Args:
        flow: its grid, sides and obstacles; or a box without a flow of its own.
        diffusivity: κ ≥ 0, length²/time.
        inflow: the scalar that enters through a side, by its name: numbers, or tensors as a wall's velocity. Zero where nothing is said.

    Raises:
        InputError: a negative diffusivity, an unknown side.
    """

    def __init__(
        self, flow: StaggeredFlow | ClosedBox, *, diffusivity: float = 0.0, inflow: Mapping[str, float | Tensor] | None = None
    ):
        inflow = inflow or {}
        names = names_of_sides(len(flow.cells))
        if diffusivity < 0:
            raise InputError(f"The diffusivity must not be negative; got {diffusivity}.")
        if unknown := set(inflow) - set(names):
            raise InputError(f"A box has the sides {', '.join(names)}, not {', '.join(sorted(unknown))}.")
        self._flow, self.diffusivity = flow, diffusivity
        #: What enters through the sides across each axis; None for zero.
        self._entering: list[list[Tensor | None]] = [[None, None] for _ in flow.cells]
        #: One between two cells of fluid, zero at faces of obstacles; None without obstacles.
        self._between = None
        if isinstance(flow, StaggeredFlow):
            like = flow.faces.open[0]
            for name, value in inflow.items():
                axis, end = divmod(names.index(name), 2)
                self._entering[axis][end] = at_cells_of_side(value, axis, flow.cells, like)
            self._between = None if flow.solid is None else [1 - s.to(like) for s in flow.faces.solid or ()]
        elif inflow:
            raise InputError(f"Nothing enters a closed box, but there is an inflow through {', '.join(inflow)}.")

    def __call__(self, c: Tensor, velocity: Velocity, dt: float) -> Tensor:
        """The scalar ``(batch, 1, x, y[, z])`` after a step with a solenoidal velocity that does not change."""
        first = torch.add(c, self.rate(c, velocity), alpha=dt)
        return (c + torch.add(first, self.rate(first, velocity), alpha=dt)) / 2

    def rate(self, c: Tensor, velocity: Velocity) -> Tensor:
        """−div(uc − κ∇c) at the centres."""
        total = torch.zeros_like(c)
        for i, u in enumerate(velocity):
            total = total - self._flux(c, u, i).diff(dim=i - len(velocity)) / self._flow.spacings[i]
        return total

    def check_step(self, velocity: Velocity, dt: float) -> None:
        """Raises DivergedError if the scalar may leave its bounds in a step of ``dt``."""
        rate = 2 * convective_rate(velocity, self._flow.spacings) + 2 * self.diffusivity * sum(
            1 / h**2 for h in self._flow.spacings
        )
        if not dt * rate <= 1 + 1e-9:  # true for NaN, too
            raise DivergedError(
                f"Steps of {dt:.3g} are too long for the transport, which keeps its bounds up to {1 / rate:.3g}. Use a smaller dt."
            )

    def _flux(self, c: Tensor, u: Tensor, i: int) -> Tensor:
        """uc − κ ∂c/∂x_i at the faces across axis i, zero gradients at walls and obstacles."""
        axis, n = i - len(self._flow.cells), self._flow.cells[i]
        periodic = isinstance(self._flow.sides[i][0], Periodic)
        first, last = c.narrow(axis, 0, 1), c.narrow(axis, n - 1, 1)
        beyond = torch.cat([last, c, first] if periodic else [first, c, last], axis)
        steps = beyond.diff(dim=axis)
        if self._between is not None:
            steps = steps * self._between[i]
        a, b = steps.narrow(axis, 0, n), steps.narrow(axis, 1, n)
        half = _van_leer(a, b) / 2
        low, high = c - half, c + half  # at the first and the last face of each cell
        if periodic:
            left, right = torch.cat([high.narrow(axis, n - 1, 1), high], axis), torch.cat([low, low.narrow(axis, 0, 1)], axis)
        else:
            entering = [torch.zeros_like(first) if value is None else value.expand_as(first) for value in self._entering[i]]
            left, right = torch.cat([entering[0], high], axis), torch.cat([low, entering[1]], axis)
        if self._between is not None:
            left, right = self._beside_obstacles(c, left, right, axis, i, periodic)
        flux = torch.where(u > 0, left, right) * u
        return flux - self.diffusivity / self._flow.spacings[i] * steps if self.diffusivity else flux

    def _beside_obstacles(
        self, c: Tensor, left: Tensor, right: Tensor, axis: int, i: int, periodic: bool
    ) -> tuple[Tensor, Tensor]:
        """At an obstacle's faces the scalar of the fluid beside them, whichever way they move."""
        fluid = (~self._flow.solid).expand_as(c) if self._flow.solid is not None else torch.ones_like(c, dtype=torch.bool)
        n = c.shape[axis]
        ends = (n - 1, 0) if periodic else (0, n - 1)

        def padded(w: Tensor) -> Tensor:
            return torch.cat([w.narrow(axis, ends[0], 1), w, w.narrow(axis, ends[1], 1)], axis)

        inside, value = padded(fluid), padded(c)
        before, after = inside.narrow(axis, 0, n + 1), inside.narrow(axis, 1, n + 1)
        nearest = torch.where(before, value.narrow(axis, 0, n + 1), value.narrow(axis, 1, n + 1))
        mixed = before != after
        return torch.where(mixed, nearest, left), torch.where(mixed, nearest, right)


def _van_leer(a: Tensor, b: Tensor) -> Tensor:
    """The harmonic mean of two slopes of one sign, else zero."""
    product = a * b
    same = product > 0
    return torch.where(same, 2 * product / torch.where(same, a + b, 1.0), 0.0)
