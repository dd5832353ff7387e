"""Time steps of a flow that are predicted by the discretization itself and corrected by a network: what is cheap is not learned."""

from collections import ChainMap
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Residual, SaddleSolver, Smoothing, Space
from ..fem.full_precision import full_precision
from .decoders import BOUNDARY_VALUES, DIVERGENCE, Decoder, IncrementDecoder
from .encoders import Fields
from .operator import Operator

#: Pairs of frames from which scales are taken, and those that are predicted at once.
_PAIRS, _AT_ONCE = 256, 32


class FlowPrediction(nn.Module):
    """Classical Runge-Kutta steps of the semi-discrete Navier-Stokes equations, their accelerations smoothed over a length ℓ.

    The weak form gives the acceleration a of a velocity u by a saddle-point problem with a constant matrix,
    (1 − ℓ²Δ) a + ∇p = −(u·∇)u + ν Δu, ∇·a = 0. With ℓ > 0 these are the Navier-Stokes-Voigt equations (Oskolkov, 1973): steady flows are
    the same, waves of length ≫ ℓ are hardly slower, and those that would blow up are slow enough. With velocities up to U, a step τ is
    stable for ℓ ≥ τ U / 5.66, where τ U k / (1 + ℓ²k²) is at most √8, the limit of the method on the imaginary axis. What ℓ costs in
    accuracy is left to be learned.

    Args:
        solver: of accelerations and pressures, with the length ℓ.
        transport: compiled form of (u·∇)u − ν Δu in ``u`` and ``viscosity``.
        interval: that is predicted.
        viscosity: ν.
        steps: in the interval, each with τ = interval / steps.

    Raises:
        InputError: the number of steps is not positive.
    """

    def __init__(self, solver: SaddleSolver, transport: Residual, interval: float, viscosity: float, steps: int = 1):
        super().__init__()
        if steps < 1:
            raise InputError(f"A prediction takes one step or more, not steps={steps}.")
        self.solver, self.transport = solver, transport
        self.interval, self.viscosity, self.steps = interval, viscosity, steps

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        """``u_predicted`` an interval later; ``u_t``, the acceleration at ``u``, and ``u_tt``, its mean change over the interval; the
        smoothed equations' pressure at ``u``, ``p_smoothed``."""
        u, tau = fields["u"], self.interval / self.steps
        begin, p = self._acceleration(u)
        last = begin
        for step in range(self.steps):
            first = self._acceleration(u)[0] if step else begin
            second, _ = self._acceleration(u + tau / 2 * first)
            third, _ = self._acceleration(u + tau / 2 * second)
            last, _ = self._acceleration(u + tau * third)
            u = u + tau / 6 * (first + 2 * (second + third) + last)
        return {"u_t": begin, "u_tt": (last - begin) / self.interval, "u_predicted": u, "p_smoothed": p}

    def _acceleration(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.solver(-self.transport(u=u, viscosity=self.viscosity))


class FlowPressure(nn.Module):
    """The pressure that belongs to a velocity without weak divergence whose boundary values are constant in time.

    Args:
        solver: of accelerations and pressures, not smoothed.
        transport, viscosity: see :class:`FlowPrediction`.
    """

    def __init__(self, solver: SaddleSolver, transport: Residual, viscosity: float):
        super().__init__()
        self.solver, self.transport, self.viscosity = solver, transport, viscosity

    def forward(self, u: Tensor) -> Tensor:
        return self.solver.pressure(-self.transport(u=u, viscosity=self.viscosity))


class PredictorCorrector(Operator):
    """``corrector`` applied to the fields and what ``prediction`` makes of them, and the ``pressure`` of the velocity it gives.

    Args:
        prediction: from ``u`` to further fields; its ``u_predicted`` is what a :class:`CorrectionDecoder` adds to.
        corrector: returns the velocity ``u``.
        pressure: of that velocity, returned as ``p``.
    """

    def __init__(self, prediction: FlowPrediction, corrector: Operator, pressure: FlowPressure):
        super().__init__()
        self.prediction, self.corrector, self.pressure = prediction, corrector, pressure

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        with full_precision(fields["u"]):
            predicted = self.prediction(fields)
        # What of the fields is read, and by whom, is seen where they are looked up.
        u = self.corrector(ChainMap(predicted, cast(dict[str, Tensor], fields)))["u"]
        with full_precision(u):
            return {"u": u, "p": self.pressure(u)}

    @torch.no_grad()
    def set_scales(self, fields: Fields) -> None:
        """From trajectories ``(samples, time, dofs)``: what is left to correct is known from neighbouring frames.

        Raises:
            InputError: the fields are no trajectories.
        """
        u = fields["u"]
        if u.ndim != 3:
            raise InputError(
                f"Corrections of predictions are known from trajectories, not from velocities of shape {tuple(u.shape)}."
            )
        moving = [name for name, values in fields.items() if values.shape[:2] == u.shape[:2] and values.ndim == 3]
        pairs = u.shape[0] * (u.shape[1] - 1)
        chosen = torch.linspace(0, pairs - 1, min(pairs, _PAIRS), device=u.device).long()
        sample, frame = chosen // (u.shape[1] - 1), chosen % (u.shape[1] - 1)
        before = {name: values[sample, frame] if name in moving else values[sample] for name, values in fields.items()}
        after = {name: fields[name][sample, frame + 1] for name in moving}
        parts = [self.prediction({"u": part}) for part in before["u"].split(_AT_ONCE)]
        predicted = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        self.corrector.set_scales({**before, **predicted, **after})


class CorrectionDecoder(IncrementDecoder):
    """A prediction plus a learned correction that is smooth and never large: what is added to the prediction cannot blow up.

    The channels c become (1 − ℓ²Δ)⁻¹ c, which vanishes where boundary values are prescribed, and that is shortened to less than κ times
    the predicted step, ‖base − field‖, in L2. With ℓ as in the prediction, waves too short to be predicted are not corrected either.

    Args:
        space: the field's space.
        field: name of the state that the operator takes at one frame and returns at the next.
        base: name of the prediction of the next state.
        length: ℓ.
        bound: κ.
        tags: boundary parts with prescribed values.
    """

    def __init__(self, space: Space, field: str, base: str, length: float, bound: float, tags: Iterable[str] = ()):
        super().__init__(space, field, base)
        self.smooth, self.bound = Smoothing(space, length, tuple(tags)), bound

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        base, last = self.data(fields, self.base or self.field, "predictions"), self.data(fields, self.field, "states")
        correction = self.smooth(u)
        step, size = (self.space.inner(v, v) for v in (self.bound * (base - last), correction))
        # Below the bound for every correction, and the correction itself where that is small.
        step = step.clamp_min(torch.finfo(step.dtype).tiny)
        factor = (step / (step + size)).sqrt()
        return base + factor.to(u)[:, None] * correction


class SolenoidalDecoder(Decoder):
    """The nearest velocity without weak divergence, as mixed methods have it; see :meth:`SaddleSolver.project`.

    Boundary values survive where the solver's tags prescribe them.

    Args:
        space: the velocity's.
        field: its name.
        solver: whose tags are those of the boundary values.
    """

    enforces = DIVERGENCE

    def __init__(self, space: Space, field: str, solver: SaddleSolver):
        super().__init__(space, field)
        self.solver = solver

    @property
    def keeps(self) -> set[str]:
        return {BOUNDARY_VALUES}

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return self.solver.project(u)
