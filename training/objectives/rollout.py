"""Training through rollouts: the operator is fed its own states, so that it learns to live with its errors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from .objective import Apply, Loss, Objective
from .trajectory import frame, in_time, num_frames, previous, require_states, rollout


class Rollout(Objective):
    """The mean loss over ``horizon`` steps from a random frame of each trajectory, ``(batch, time, ...)``.

    The loss of a step gets the prediction and the fields of the frame it predicts; the fields that the operator was given are there, too,
    as ``previous_<name>``, for residuals of time stepping schemes. Gradients flow through all steps of the horizon.

    Good values: ``horizon=1`` with ``noise=0.01`` or ``pushforward=1`` to begin with; for long rollouts ``horizon`` 4 to 8 with
    ``grow_every`` a tenth of the steps.

    Args:
        loss: see :class:`Objective`.
        states: the fields that the operator takes at one frame and returns at the next.
        horizon: steps that are judged.
        grow_every: begin with one step, and add one after so many training steps until ``horizon`` is reached; at once by default.
        pushforward: at most so many steps without gradient precede those that are judged, a random number of them [1]: the operator
            is trained on states it reaches, and stays stable there.
        noise: standard deviation of Gaussian noise on the first states, in units of the batch's root mean square [2]; the targets stay
            exact.

    References:
        [1] Brandstetter, Worrall, Welling (2022), Message passing neural PDE solvers, ICLR, arXiv 2202.03376.
        [2] Sanchez-Gonzalez et al. (2020), Learning to simulate complex physics with graph networks, ICML, arXiv 2002.09405.

    Raises:
        InputError: ``states`` is no list of names; a number is out of its range.
    """

    def __init__(
        self,
        loss: Loss,
        states: Sequence[str],
        horizon: int = 1,
        grow_every: int | None = None,
        pushforward: int = 0,
        noise: float = 0.0,
    ):
        super().__init__(loss)
        if isinstance(states, str) or not states:
            raise InputError(f"states must be a list of field names, such as [u], not {states!r}.")
        if horizon < 1 or pushforward < 0 or noise < 0 or (grow_every is not None and grow_every < 1):
            raise InputError(
                f"A rollout needs horizon ≥ 1, pushforward ≥ 0, noise ≥ 0 and grow_every ≥ 1; got {horizon}, {pushforward}, {noise} "
                f"and {grow_every}."
            )
        self.states, self.horizon, self.grow_every = tuple(states), horizon, grow_every
        self.pushforward, self.noise = pushforward, noise

    @property
    def current_horizon(self) -> int:
        """The horizon at the present step of the curriculum."""
        return self.horizon if self.grow_every is None else min(self.horizon, 1 + self.step // self.grow_every)

    def forward(self, operator: Apply, batch: dict[str, Tensor]) -> Tensor:
        horizon, blind = self.current_horizon, self.choices.randint(0, self.pushforward)
        frames = num_frames(batch, self.states, self.horizon + self.pushforward + 1)
        number = self.choices.randrange(frames - horizon - blind)
        varying = in_time(batch, self.states)
        fields = self._perturbed(frame(batch, number, self.states))
        losses = []
        for step in range(blind + horizon):
            with torch.set_grad_enabled(torch.is_grad_enabled() and step >= blind):
                prediction = operator(fields)
            require_states(prediction, self.states)
            number += 1
            following = frame(batch, number, self.states)
            if step >= blind:
                given = {name: values for name, values in fields.items() if name in varying}
                losses.append(self.judge(prediction, following | previous(given)))
            fields = following | {name: prediction[name] for name in self.states}
        return torch.stack(losses).mean()

    def predict(self, operator: Apply, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The rollout from the first frame to the last, and the frames it is to meet."""
        steps = num_frames(batch, self.states, 2) - 1
        varying = in_time(batch, self.states)
        met = {name: values[:, 1:] if name in varying else values for name, values in batch.items()}
        return rollout(operator, batch, self.states, steps), met

    def _perturbed(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        if not self.noise:
            return fields
        noisy = dict(fields)
        for name in self.states:
            u = fields[name]
            generator = self.random_numbers(u.device)
            scale = self.noise * u.square().mean().sqrt()
            noisy[name] = u + scale * torch.randn(u.shape, generator=generator, device=u.device, dtype=u.dtype)
        return noisy
