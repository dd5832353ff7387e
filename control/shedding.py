"""The vortices behind a body as a function of the inflow: by the reference solver, and by one coarse solver of a trained NeuralStagger."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from ..fem import Grid
from ..operators import Decomposition, NeuralStagger
from ..solvers.grid.problems import InflowChannel
from .frequency import expected_frequency


class Shedding:
    """From the speed of an inflow to stream functions, to the transverse velocity at a probe, and to its expected frequency.

    The wake of the inflow 1 has developed; at time 0 the inflow becomes m. A probe needs one sub-grid of one time sequence only, so the
    surrogate is one coarse solver: s_x s_y s_t times less work than all of them, and that much less to differentiate through. Everything
    of the surrogate is in float64 (the operator is converted), so that Taylor tests mean something. What is asked of the solver is given at
    the surrogate's points and times.

    Args:
        problem: the reference solver. It computes in its own precision.
        operator: one that was trained on it, with the stream function as its state; without one there is no surrogate.
        duration: of the signal.
        skip: from time 0 to the beginning of the signal: the change has to be washed out.
        probe: x and y, moved to the next point of the first sub-grid inside.

    Attributes:
        interval: between two frames of :meth:`surrogate`, :meth:`reference` and :meth:`signal`.
        grid: the first sub-grid.
    """

    def __init__(
        self,
        problem: InflowChannel,
        operator: NeuralStagger | None = None,
        duration: float = 10.0,
        skip: float = 2.0,
        probe: Sequence[float] = (0.9, 0.5),
    ):
        decomposition = Decomposition((1, 1)) if operator is None else operator.decomposition
        self.problem, self.space = problem, decomposition.space
        self.operator = None if operator is None else operator.double()
        self.interval = decomposition.time * problem.interval
        self.steps, self.skipped = round((skip + duration) / self.interval), round(skip / self.interval)
        i, j = (round(c / L * n / s) for c, L, n, s in zip(probe, problem.grid.lengths, problem.cells, self.space, strict=True))
        self.probe = min(max(i, 1), (problem.cells[0] - 1) // self.space[0] - 1), j
        points = [len(range(0, n, s)) for n, s in zip(problem.grid.shape, self.space, strict=True)]
        lengths = [h * s * (n - 1) for h, s, n in zip(problem.grid.spacings, self.space, points, strict=True)]
        self.grid = Grid(tuple(points), tuple(lengths))
        with torch.no_grad():
            self._velocity = problem.wake(torch.ones(1, device=problem.device))
            at_rest = tuple(map(torch.zeros_like, self._velocity))
            self._psi = problem.stream_function(self._velocity).double()
            self._potential_flow = problem.stream_function(problem.flow().project(at_rest)).double()
        self._masks = {name: mask.double() for name, mask in problem.masks(1).items()}

    def surrogate(self, inflow: Tensor) -> Tensor:
        """Stream function on the first sub-grid ``(time, X, Y)`` for a speed, a number; the first frame is that of time 0.

        Raises:
            InputError: there is no operator.
        """
        if self.operator is None:
            raise InputError("There is no operator to advance the flow by; give the folder of a training run by run=...")
        psi = self._psi + (inflow - 1) * self._potential_flow
        fields = {"psi": psi[:, None].expand(-1, self.operator.decomposition.time, -1, -1, -1), "inflow": inflow.expand_as(psi)}
        return self.operator.coarse_rollout(fields | self._masks, self.steps)["psi"][0, 0, 0, :, 0]

    def reference(self, inflow: Tensor) -> Tensor:
        """The same by the reference solver, with gradients if the speed has one."""
        flow = self.problem.flow(inflow.reshape(1).to(self._velocity[0]))
        velocity = flow.solve(self._velocity, self.interval, self.steps, dt=self.problem.dt)
        return self.problem.stream_function(velocity)[0, :, 0, :: self.space[0], :: self.space[1]].double()

    def signal(self, psi: Tensor) -> Tensor:
        """The transverse velocity −∂ψ/∂x at the probe, ``(time,)``, by the difference of neighbours on the sub-grid."""
        i, j = self.probe
        return (psi[self.skipped :, i - 1, j] - psi[self.skipped :, i + 1, j]) / (2 * self.grid.spacings[0])

    def vorticity(self, psi: Tensor) -> Tensor:
        """−Δψ of one frame ``(X, Y)`` by differences of neighbours on the sub-grid, zero on the sides."""
        hx, hy = self.grid.spacings
        c = psi[1:-1, 1:-1]
        w = (2 * c - psi[2:, 1:-1] - psi[:-2, 1:-1]) / hx**2 + (2 * c - psi[1:-1, 2:] - psi[1:-1, :-2]) / hy**2
        return torch.nn.functional.pad(w, (1, 1, 1, 1))

    def frequency(self, psi: Tensor) -> Tensor:
        """The expected frequency of the signal."""
        return expected_frequency(self.signal(psi), self.interval)

    def objective(self, target: float) -> Callable[[Mapping[str, Tensor]], Tensor]:
        """(E[f] − f*)² by the surrogate, of the control ``"inflow"``; for a :class:`TorchFunctional` in float64."""
        return lambda m: (self.frequency(self.surrogate(m["inflow"])) - target).square()
