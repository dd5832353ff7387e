"""One coarse solver by itself: the fast end of the choice of resolutions."""

import torch
from torch import Tensor, nn

from ...errors import InputError
from .box_convolution import with_box_convolutions


class CoarseSolver(nn.Module):
    """One sub-grid of one time sequence: ``(batch, channel, X, Y[, Z])`` to the same s_t frames later, in physical units.

    Made by :meth:`NeuralStagger.coarse_solver`. Scales are folded together, so that a rollout costs little more than its network.
    """

    scale: Tensor
    gain: Tensor
    input_scale: Tensor
    code: Tensor | None

    def __init__(
        self, network: nn.Module, scale: Tensor, gain: Tensor, input_scale: Tensor, limit: float, code: Tensor | None = None
    ):
        super().__init__()
        self.network, self.limit = with_box_convolutions(network), limit
        for name, value in {"scale": scale, "gain": gain, "input_scale": input_scale}.items():
            self.register_buffer(name, value.clone())
        self.register_buffer("code", None if code is None else code.reshape(-1, *scale.shape[1:]))

    def forward(self, u: Tensor, inputs: Tensor | None = None, moves: Tensor | None = None) -> Tensor:
        """One step. ``inputs`` are all input fields, their channels concatenated; ``moves`` is 0 where the state is held, 1 elsewhere.

        Raises:
            InputError: a wrong number of axes or channels.
        """
        return self.rollout(u, 1, inputs, moves)[:, 1]

    def rollout(self, u: Tensor, steps: int, inputs: Tensor | None = None, moves: Tensor | None = None) -> Tensor:
        """The given frame and the ``steps`` frames after it, ``(batch, steps + 1, channel, X, Y[, Z])``.

        Raises:
            InputError: state or inputs have another shape.
        """
        if u.dim() != self.scale.dim() + 1 or u.shape[1] != len(self.scale):
            raise InputError(
                f"Expected (batch, {len(self.scale)}, {', '.join('XYZ'[: self.scale.dim() - 1])}); got {tuple(u.shape)}."
            )
        if (0 if inputs is None else inputs.shape[1]) != len(self.input_scale):
            raise InputError(
                f"The solver has {len(self.input_scale)} channels of inputs; got {'none' if inputs is None else inputs.shape}."
            )
        extra = self._extra(u, inputs)
        v = u / self.scale
        frames = [v]
        for _ in range(steps):
            v = self.advance(v, extra, moves)
            frames.append(v)
        return torch.stack(frames, 1) * self.scale

    def advance(self, v: Tensor, extra: Tensor | None = None, moves: Tensor | None = None) -> Tensor:
        """One step in units of the scale; ``extra`` are the network's further channels."""
        x = v if extra is None else torch.cat([v, extra], 1)
        change = self.network(x) * self.gain
        if moves is not None:
            change = change * moves
        return (v + change).clamp(-self.limit, self.limit)

    def _extra(self, u: Tensor, inputs: Tensor | None) -> Tensor | None:
        parts = [] if inputs is None else [(inputs / self.input_scale).expand(len(u), *inputs.shape[1:])]
        if self.code is not None:
            parts.append(self.code.expand(len(u), -1, *u.shape[2:]))
        return torch.cat(parts, 1) if parts else None
