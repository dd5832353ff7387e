"""A scalar in a flow that an operator has learned: the flow is predicted, and the scalar is carried by it as a solver would."""

import torch
from torch import Tensor

from ..errors import InputError
from ..fem.uniform_grid import Grid
from ..solvers.grid.potentials import velocity_of
from ..solvers.grid.transport import ClosedBox, Transport
from .encoders import Fields
from .operator import Operator


class AdvectedScalar(Operator):
    """A scalar at later times in a flow from rest in a closed box in the plane, which another operator knows by its stream functions.

    The flow's operator gives them at the times T/frames, 2T/frames, ..., T. Between them the velocity is linear in time, and the limited
    fluxes of :class:`~thalweg.solvers.grid.Transport` carry the scalar. Whatever the weights are, the velocity has no divergence and
    nothing passes the walls, so that the scalar keeps its mass to rounding; and its bounds while 2 Σ_i |u_i|/h_i times the length of a
    step is at most 1. A flow is a smooth function of its force and is learned from few samples, where a scalar with edges is not.
    As no weight sees the scalar, it may be any.

    Inputs are those of the flow's operator and the scalar ``(batch, 1, x, y)`` in the cells at time 0. Outputs are the stream functions
    ``(batch, frames, 1, x + 1, y + 1)`` at the vertices and the scalars ``(batch, frames, 1, x, y)``.

    Args:
        grid: of the scalar, whose values are at the centres.
        flow: the operator of the stream functions, zero on the walls.
        steps: of the transport from frame to frame.
        duration: T.
        start, stream, scalar: names of the scalar at time 0, the stream functions, and the scalars.

    Raises:
        InputError: a grid that is none of a rectangle's cells, no steps; in use, a scalar that is missing or of another shape, or stream
            functions at other points.
    """

    def __init__(
        self,
        grid: Grid,
        flow: Operator,
        steps: int = 10,
        duration: float = 1.0,
        start: str = "c0",
        stream: str = "stream",
        scalar: str = "c",
    ):
        super().__init__()
        if grid.dim != 2 or any(grid.periodic) or grid.location != "centre":
            raise InputError(f"A scalar is carried in the cells of a rectangle with walls, not on {grid}.")
        if steps < 1 or not duration > 0:
            raise InputError(f"Expected steps and a positive duration; got {steps} and {duration}.")
        self.grid, self.flow, self.steps, self.duration = grid, flow, steps, duration
        self.start, self.stream, self.scalar = start, stream, scalar
        self._transport = Transport(ClosedBox(grid.shape, grid.spacings))

    def set_scales(self, fields: Fields) -> None:
        self.flow.set_scales(fields)

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        if self.start not in fields or tuple(fields[self.start].shape[1:]) != (1, *self.grid.shape):
            given = tuple(fields[self.start].shape) if self.start in fields else "none"
            raise InputError(
                f"The scalar {self.start!r} at time 0 has shape (batch, 1, {', '.join(map(str, self.grid.shape))}), but {given} came."
            )
        flow = self.flow(fields)
        return flow | {self.scalar: self.carried(fields[self.start], flow[self.stream])}

    def carried(self, c: Tensor, stream: Tensor) -> Tensor:
        """The scalar at the frames' times, for given stream functions there."""
        if tuple(stream.shape[2:]) != (1, *(n + 1 for n in self.grid.shape)):
            raise InputError(
                f"Stream functions of shape {tuple(stream.shape)} are not at the vertices of {self.grid.shape} cells."
            )
        velocity = velocity_of((stream,), self.grid.spacings, self.grid.periodic)
        middles = [self._in_the_middle_of_steps(w).unbind(1) for w in velocity]
        dt, frames = self.duration / len(middles[0]), []
        for number, step in enumerate(zip(*middles, strict=True), start=1):
            c = self._transport(c, step, dt)
            if number % self.steps == 0:
                frames.append(c)
        return torch.stack(frames, 1)

    def _in_the_middle_of_steps(self, w: Tensor) -> Tensor:
        """``(batch, frames · steps, 1, ...)`` of what is linear between zero and the frames ``(batch, frames, 1, ...)``."""
        before = torch.cat([torch.zeros_like(w[:, :1]), w[:, :-1]], 1)
        share = ((torch.arange(self.steps, device=w.device) + 0.5) / self.steps).to(w).view(-1, 1, 1, 1)
        return torch.lerp(before[:, :, None], w[:, :, None], share).flatten(1, 2)
