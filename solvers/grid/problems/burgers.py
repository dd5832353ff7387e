"""Burgers' equation on a periodic interval: from random waves to what has become of them."""

from collections.abc import Callable, Mapping, Sequence
from math import pi

from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ...quantities import require_positive
from ..burgers import BurgersEquation
from ..problem import GridProblem, every_nth, take_every_nth
from ..random_fields import GaussianField


class PeriodicBurgers(GridProblem):
    """∂u/∂t + u ∂u/∂x = ν ∂²u/∂x² on a periodic interval, from u(0) to u(T).

    Input ``u0``, output ``u``, both ``(batch, 1, x)`` at every ``every``-th of the solver's points.

    Good values: the defaults with ``partial(PeriodicField, alpha=2, tau=5, sigma=25)``, the data that were published with Li et al.
    (ICLR 2021, arXiv 2010.08895). The paper's text has ``length=1``, where ν = 0.1 leaves 2 % of the longest wave.

    Args:
        initial: makes the field of u(0) from the grid's shape, on the unit interval, which is then stretched to ``length``.
        viscosity: ν.
        length: of the interval.
        points: of the solver.
        every: distance of the stored points, in points.
        final_time: T.
        dt: the longest time step; below two cells a step.

    Raises:
        InputError: ``every`` is no divisor of ``points``.
    """

    inputs = ("u0",)
    outputs = ("u",)

    def __init__(
        self,
        initial: Callable[..., GaussianField],
        viscosity: float = 0.1,
        length: float = 2 * pi,
        points: int = 1024,
        every: int = 8,
        final_time: float = 1.0,
        dt: float = 4e-3,
    ):
        require_positive(viscosity=viscosity)
        if every < 1 or points % every:
            raise InputError(f"Every {every}-th of {points} points is not a periodic grid; choose a divisor.")
        self.every, self.final_time, self.dt = every, final_time, dt
        self.viscosity, self.length, self.points = viscosity, length, points
        self.grid = every_nth(Grid((points,), (length,), (True,)), every)
        self._initial = initial((points,))

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        return {"u0": self._initial.sample(seed, samples, dtype=self.dtype, device=self.device)}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        equation = BurgersEquation(self.points, self.length, viscosity=self.viscosity, dtype=self.dtype, device=self.device)
        u = equation.solve(inputs["u0"], self.final_time, 1, dt=self.dt)[:, 1]
        return {"u": take_every_nth(u, self.every, dim=1)}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"u0": take_every_nth(inputs["u0"], self.every, dim=1)}
