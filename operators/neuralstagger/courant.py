"""How far the flow goes within one step of a coarse solver, which bounds the time factor."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import InputError
from .decomposition import Decomposition


@dataclass(frozen=True)
class Courant:
    """The condition |u| s_t Δt ≤ limit · s_x h along every axis (the CFL condition of a coarse step on the coarse grid).

    A network that looks r points of its sub-grid far can follow the flow up to ``limit`` = r; the default 1 is that of a solver with
    nearest neighbours. A coarser space factor admits a larger time factor.

    Args:
        dt: Δt between frames of the re-assembled trajectory.
        spacings: h along each axis of the full grid.
        speed: largest velocity to be expected.
        limit: largest Courant number to accept.
    """

    dt: float
    spacings: Sequence[float]
    speed: float
    limit: float = 1.0

    def __post_init__(self):
        if min(self.dt, self.speed, self.limit, *self.spacings) <= 0:
            raise InputError(f"Time step, spacings, speed and limit must be positive; got {self}.")

    def number(self, decomposition: Decomposition) -> float:
        """The Courant number of one step of a coarse solver.

        Raises:
            InputError: there are not as many spacings as axes.
        """
        if len(self.spacings) != decomposition.dim:
            raise InputError(f"There are {len(self.spacings)} spacings for the {decomposition.dim} axes of {decomposition}.")
        coarse = min(s * h for s, h in zip(decomposition.space, self.spacings, strict=True))
        return self.speed * decomposition.time * self.dt / coarse

    def require(self, decomposition: Decomposition) -> None:
        """
        Raises:
            InputError: the coarse step is too long.
        """
        number = self.number(decomposition)
        if number > self.limit * (1 + 1e-9):
            raise InputError(
                f"A time factor of {decomposition.time} violates the CFL condition: within {decomposition.time * self.dt:.3g} the "
                f"flow crosses {number:.3g} cells of a sub-grid with the factors {decomposition.space}, but {self.limit:g} is the limit. "
                "Take a smaller time factor or dt, larger space factors, or raise the limit if the networks look that far."
            )
