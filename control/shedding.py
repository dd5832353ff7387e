"""The vortices behind a body as a function of the inflow: by the reference solver, and by one coarse solver of a trained NeuralStagger."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..operators import NeuralStagger
from ..solvers.grid.problems import InflowChannel
from .frequency import expected_frequency


class Shedding:
    """From the speed of an inflow to stream functions, to the transverse velocity at a probe, and to its expected frequency.

    The wake of the inflow 1 has developed; at time 0 the inflow becomes m. A probe needs one sub-grid of one time sequence only, so the
    surrogate is one coarse solver: s_x s_y s_t times less work than all of them, and that much less to differentiate through. Everything
    of the surrogate is in float64 (the operator is converted), so that Taylor tests mean something.

    Args:
        problem, operator: the reference solver, and the operator that was trained on it, with the stream function as its state.
        duration: of the signal.
        skip: from time 0 to the beginning of the signal: the change has to be washed out.
        probe: x and y, moved to the next point of the first sub-grid inside.

    Attributes:
        interval: between two frames of :meth:`surrogate`, :meth:`reference` and :meth:`signal`.
    """

    def __init__(
        self,
        problem: InflowChannel,
        operator: NeuralStagger,
        duration: float = 10.0,
        skip: float = 2.0,
        probe: Sequence[float] = (0.9, 0.5),
    ):
        self.problem, self.operator, self.space = problem, operator.double(), operator.decomposition.space
        self.interval = operator.decomposition.time * problem.interval
        self.steps, self.skipped = round((skip + duration) / self.interval), round(skip / self.interval)
        i, j = (round(c / L * n / s) for c, L, n, s in zip(probe, problem.grid.lengths, problem.cells, self.space, strict=True))
        self.probe = min(max(i, 1), (problem.cells[0] - 1) // self.space[0] - 1), j
        with torch.no_grad():
            self._velocity = problem.wake(torch.ones(1, device=problem.device))
            at_rest = tuple(map(torch.zeros_like, self._velocity))
            self._psi = problem.stream_function(self._velocity).double()
            self._potential_flow = problem.stream_function(problem.flow().project(at_rest)).double()
        self._masks = {name: mask.double() for name, mask in problem.masks(1).items()}

    def surrogate(self, inflow: Tensor) -> Tensor:
        """Stream function on the first sub-grid ``(time, X, Y)`` for a speed, a number; the first frame is that of time 0."""
        psi = self._psi + (inflow - 1) * self._potential_flow
        fields = {"psi": psi[:, None].expand(-1, self.operator.decomposition.time, -1, -1, -1), "inflow": inflow.expand_as(psi)}
        return self.operator.coarse_rollout(fields | self._masks, self.steps)["psi"][0, 0, 0, :, 0]

    @torch.no_grad()
    def reference(self, inflow: Tensor) -> Tensor:
        """The same by the reference solver, at the same points and times."""
        flow = self.problem.flow(inflow.reshape(1).to(self._velocity[0]))
        velocity = flow.solve(self._velocity, self.interval, self.steps, dt=self.problem.dt)
        return self.problem.stream_function(velocity)[0, :, 0, :: self.space[0], :: self.space[1]].double()

    def signal(self, psi: Tensor) -> Tensor:
        """The transverse velocity −∂ψ/∂x at the probe, ``(time,)``, by the difference of neighbours on the sub-grid."""
        i, j = self.probe
        h = self.space[0] * self.problem.length / self.problem.cells[0]
        return (psi[self.skipped :, i - 1, j] - psi[self.skipped :, i + 1, j]) / (2 * h)

    def frequency(self, psi: Tensor) -> Tensor:
        """The expected frequency of the signal."""
        return expected_frequency(self.signal(psi), self.interval)

    def objective(self, target: float) -> Callable[[Mapping[str, Tensor]], Tensor]:
        """(E[f] − f*)² by the surrogate, of the control ``"inflow"``; for a :class:`TorchFunctional` in float64."""
        return lambda m: (self.frequency(self.surrogate(m["inflow"])) - target).square()
