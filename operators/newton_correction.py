"""Predictions that are corrected by Newton's method on the equation they are to solve, in the operator's own space."""

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import InputError
from ..fem import NewtonStep, Residual
from ..fem.forms.sources import Sources, form_values, shared_sources
from ..fem.full_precision import full_precision
from .encoders import Fields
from .operator import Operator

#: Parts of a step that are tried where an energy must not rise.
PARTS = (1.0, 0.5, 0.25)

#: What counts as no rise, by the size of the energy: single precision knows no better.
ROUNDING = 1e-6


class NewtonCorrection(Operator):
    """An operator and, when it is not being trained, steps of Newton's method from what it predicts.

    Far from a solution Newton's method fails or finds another one; near it, a step squares the error. The operator has to come near
    enough, which is what it is trained for, by itself. Prescribed boundary values stay as they are. The Jacobian of every sample is
    assembled and factorised in torch, in batches, and in the precision of its form also where the operator runs in a lower one.

    Args:
        operator: what is trained.
        step: of the equation, whose unknown is a field that the operator predicts.
        steps: how many.
        energy: a compiled functional that solutions minimise. Of each step the largest of the parts 1, ½, ¼ is taken that does not raise
            it, or none: no correction then leads to a state of higher energy.
        arguments: for arguments of the forms that are named otherwise than the fields, the field, or a number.

    Raises:
        InputError: ``energy`` is no functional, ``steps`` is negative, or ``arguments`` names no argument; in use, a field is missing.
    """

    parts: Tensor

    def __init__(
        self,
        operator: Operator,
        step: NewtonStep,
        steps: int = 1,
        energy: Residual | None = None,
        arguments: Sources | None = None,
    ):
        super().__init__()
        if energy is not None and energy.test is not None:
            raise InputError(
                "An energy is a functional, but this form has a test function. Give the functional, or leave it out."
            )
        if steps < 0:
            raise InputError(f"There are no {steps} steps of Newton's method; give 0 or more.")
        self.operator, self.step, self.steps, self.energy = operator, step, steps, energy
        forms = [step.residual] if energy is None else [step.residual, energy]
        self.sources = shared_sources(forms, arguments)
        self.register_buffer("parts", torch.tensor(PARTS), persistent=False)

    def set_scales(self, fields: Fields) -> None:
        self.operator.set_scales(fields)

    # The weights are the operator's own: what was trained without a correction can be used with one, and the other way round.
    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.operator.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.operator.load_state_dict(*args, **kwargs)

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        prediction = self.operator(fields)
        if self.training:
            return prediction
        for _ in range(self.steps):
            prediction = {**prediction, self.step.field: self._corrected(ChainMap(prediction, cast(dict[str, Tensor], fields)))}
        return prediction

    def _corrected(self, known: Mapping[str, Tensor]) -> Tensor:
        """The state after one step."""
        with full_precision(known[self.step.field]):
            return self._moved(known, self.step(**form_values(self.sources[0], known)))

    def _moved(self, known: Mapping[str, Tensor], delta: Tensor) -> Tensor:
        """The state after as much of a step as the energy allows."""
        u = known[self.step.field]
        if self.energy is None:
            return u + delta
        given = form_values(self.sources[1], known)
        tried = torch.cat([u[None], u + self.parts[:, None, None] * delta])
        energy = self.energy(**{**given, self.step.field: tried})
        allowed = energy <= energy[0] + ROUNDING * energy[0].abs()  # never where it is not a number
        # The parts come from large to small behind the state itself, so that the first allowed one is the largest.
        allowed[0] = False
        chosen = torch.where(allowed.any(0), allowed.to(torch.int8).argmax(0), 0)
        return tried.gather(0, chosen[None, :, None].expand(1, *u.shape))[0]
