"""Time steps of a flow that are predicted by the discretization itself and corrected by a network: what is cheap is not learned."""

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Residual, SaddleSolver, Space
from ..fem.full_precision import full_precision
from .decoders import BOUNDARY_VALUES, DIVERGENCE, Decoder
from .encoders import Fields
from .operator import Operator

#: Pairs of frames from which scales are taken, and those that are predicted at once.
_PAIRS, _AT_ONCE = 256, 32


class FlowPrediction(nn.Module):
    """Taylor's polynomial of second order in time of the semi-discrete Navier-Stokes equations, u + τ u_t + ½ τ² u_tt and p + τ p_t.

    The weak form gives u_t and p at the present state, its derivative u_tt and p_t, each by a saddle-point problem with a constant
    matrix. The time derivatives are smoothed over the solver's length ℓ, without which a step as large as those worth learning blows up:
    against advection with speed U take ℓ ≥ τ U / 2, with which (1 − z²/4 − iz) / (1 + z²/4), z = τ U k, is what a wave is multiplied by.
    Where it does not, ℓ costs accuracy, which is left to be learned.

    Args:
        solver: of accelerations and pressures.
        transport: compiled form of (u·∇)u − ν Δu in ``u`` and ``viscosity``.
        rate: compiled form of its derivative at ``u`` in the direction ``a``.
        interval: τ.
        viscosity: ν.
    """

    def __init__(self, solver: SaddleSolver, transport: Residual, rate: Residual, interval: float, viscosity: float):
        super().__init__()
        self.solver, self.transport, self.rate = solver, transport, rate
        self.interval, self.viscosity = interval, viscosity

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        """``u_t``, ``u_tt``, and ``u_predicted`` and ``p_predicted`` an interval later, from ``u``."""
        u, tau = fields["u"], self.interval
        a, p = self.solver(-self.transport(u=u, viscosity=self.viscosity))
        b, p_t = self.solver(-self.rate(u=u, a=a, viscosity=self.viscosity))
        return {"u_t": a, "u_tt": b, "u_predicted": u + tau * a + tau**2 / 2 * b, "p_predicted": p + tau * p_t}


class PredictorCorrector(Operator):
    """``corrector`` applied to the fields and what ``prediction`` makes of them.

    Args:
        prediction: from states ``u`` to further fields; its predictions are what an :class:`IncrementDecoder` adds to.
        corrector: takes and returns the states ``u`` and ``p``.
    """

    def __init__(self, prediction: FlowPrediction, corrector: Operator):
        super().__init__()
        self.prediction, self.corrector = prediction, corrector

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        with full_precision(fields["u"]):
            predicted = self.prediction(fields)
        return self.corrector({**fields, **predicted})

    @torch.no_grad()
    def set_scales(self, fields: Fields) -> None:
        """From trajectories ``(samples, time, dofs)``: what is left to correct is known from neighbouring frames."""
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
