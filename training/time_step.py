"""The loss of a flow's time steps on finite elements without data: what a step leaves of the semi-discrete equations."""

from collections.abc import Iterable

from torch import Tensor, nn

from ..errors import InputError
from ..fem import Residual, SaddleSolver, Smoothing, Space
from ..fem.space import root
from .metrics import Metric
from .metrics.metric import Fields
from .objectives.trajectory import PREVIOUS


class TimeStepResidual(Metric):
    """``‖r‖ / ‖u‖`` of a step from v to the prediction u under the semi-discrete Navier-Stokes equations, for each sample:

        r = u − v − τ/6 (a(v) + 4 a(m) + a(u)),   m = (u + v)/2 + τ/8 (a(v) − a(u)),

    the method Lobatto IIIA of order four (Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.5), Simpson's rule on
    the Hermite interpolant. The acceleration a(u) is that of the weak form: ∫ a·w = −∫ ((u·∇)u·w + ν ∇u : ∇w) for all w without weak
    divergence that vanish on the tags. For u and v that are so, too, r represents the residual of the step on those w. To first order it is
    the error of the step, up to a factor that is one for waves that the interval resolves.

    ‖r‖ is the norm in L2 or, with a length ℓ, the dual norm of ∫ w·w + ℓ² ∫ ∇w : ∇w, (r, (1 − ℓ²Δ)⁻¹ r)^½. Errors much shorter than ℓ,
    which differ from step to step, then weigh less beside those of the long waves, a wrong speed of the vortices, which add up.

    The velocity before the step is ``previous_<field>``, as :class:`Rollout` and :class:`Pool` give it.

    Args:
        solver: of accelerations, without smoothing, with the tags of the boundary values; these are constant in time.
        transport: compiled form of (u·∇)u − ν Δu in ``u`` and ``viscosity``.
        interval: τ.
        viscosity: ν.
        space: the velocity's.
        field: its name.
        length: ℓ.
        tags: boundary parts with prescribed velocities, where w vanishes.
    """

    def __init__(
        self,
        solver: SaddleSolver,
        transport: Residual,
        interval: float,
        viscosity: float,
        space: Space,
        field: str = "u",
        length: float = 0.0,
        tags: Iterable[str] = (),
    ):
        super().__init__()
        if interval <= 0:
            raise InputError(f"A time step has a positive interval, not {interval}.")
        self.solver, self.transport, self.space, self.field = solver, transport, space, field
        self.interval, self.viscosity = interval, viscosity
        self.smooth = Smoothing(space, length, tuple(tags)) if length else nn.Identity()

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        name = PREVIOUS + self.field
        if self.field not in prediction or name not in truth:
            raise InputError(
                f"The residual of a step needs {self.field!r} of the prediction and {name!r}; it was given "
                f"{', '.join(map(repr, prediction))} and {', '.join(map(repr, truth))}. Train with the objective rollout or pool, which "
                "keep the state before."
            )
        u = prediction[self.field]
        r = self.defect(truth[name], u)
        return root(self.space.inner(r, self.smooth(r))) / self.space.norm(u.detach())

    def defect(self, before: Tensor, after: Tensor) -> Tensor:
        """r, velocities ``(batch, dofs)`` all."""
        tau = self.interval
        first, last = self._acceleration(before), self._acceleration(after)
        middle = self._acceleration((before + after) / 2 + tau / 8 * (first - last))
        return after - before - tau / 6 * (first + 4 * middle + last)

    def _acceleration(self, u: Tensor) -> Tensor:
        return self.solver(-self.transport(u=u, viscosity=self.viscosity))[0]
