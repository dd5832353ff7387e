"""Two-dimensional periodic flow from random vorticity, as trajectories."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ..counter_random import LogUniform
from ..problem import GridProblem, every_nth, take_every_nth
from ..random_fields import GaussianField
from ..vorticity import VorticityEquation

# Independent random numbers of one sample: the fourth word of the counter.
_INITIAL, _FORCING = 0, 1


class VorticityFlow(GridProblem):
    """∂ω/∂t + u·∇ω = νΔω − γω + g on a periodic rectangle, ω(0) a Gaussian field, as frames at equal intervals.

    The state ``w`` is ``(batch, time, 1, x, y)``, from the initial frame on, at every ``every``-th point of the solver's grid. With a
    random forcing, ``g`` of shape ``(batch, 1, x, y)`` is an input, too.

    Good values, those of the benchmark of Li et al. (ICLR 2021, arXiv 2010.08895): the defaults with ``initial`` a ``PeriodicField`` of
    alpha 2.5 and tau 7, and ``forcing=diagonal_forcing``; 256² points, of which every 4th is stored.

    Args:
        initial: makes the field of initial vorticities from the grid's shape and lengths, such as ``partial(PeriodicField, alpha=2.5,
            tau=7)``.
        forcing: makes g ``(x, y)`` from the grid's shape, for all samples.
        random_forcing: makes the field of each sample's own g, added to that.
        viscosity: ν; or its smallest and largest value, between which the parameter ``viscosity`` of a sample is log-uniform.
        drag: γ.
        points: of the solver along each axis.
        every: distance of the stored points, in points.
        lengths: sides of the rectangle.
        interval, frames: the frames stored are at the times 0, interval, ..., frames · interval.
        dt: the longest time step; below half a cell a step.

    Raises:
        InputError: ``every`` is no divisor of ``points``.
    """

    outputs = ("w",)

    def __init__(
        self,
        initial: Callable[..., GaussianField],
        forcing: Callable[[Sequence[int]], Tensor] | None = None,
        random_forcing: Callable[..., GaussianField] | None = None,
        viscosity: float | Sequence[float] = 1e-5,
        drag: float = 0.0,
        points: int = 256,
        every: int = 4,
        lengths: Sequence[float] = (1.0, 1.0),
        interval: float = 1.0,
        frames: int = 20,
        dt: float = 5e-3,
    ):
        if every < 1 or points % every:
            raise InputError(f"Every {every}-th of {points} points is not a periodic grid; choose a divisor.")
        self.shape, self.every, self.lengths = (points, points), every, tuple(lengths)
        self.grid = every_nth(Grid(self.shape, self.lengths, (True, True)), every)
        self.viscosity, self.drag, self.dt = LogUniform.of(viscosity, "viscosity"), drag, dt
        self.interval, self.frames = interval, frames
        self.times = np.arange(frames + 1) * interval
        self.inputs = ("w", "g") if random_forcing is not None else ("w",)
        self._initial = initial(self.shape, self.lengths)
        self._forcing = forcing(self.shape) if forcing is not None else torch.zeros(self.shape, dtype=torch.float64)
        self._random_forcing = random_forcing(self.shape, self.lengths) if random_forcing is not None else None

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        how = {"dtype": self.dtype, "device": self.device}
        inputs = {"w": self._initial.sample(seed, samples, stream=_INITIAL, **how)}
        if self._random_forcing is not None:
            inputs["g"] = self._random_forcing.sample(seed, samples, stream=_FORCING, **how) + self._forcing.to(**how)
        if self.viscosity.varies:
            inputs["viscosity"] = self.viscosity.sample(seed, samples).to(self.device, self.dtype)
        return inputs

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        flow = VorticityEquation(
            self.shape,
            self.lengths,
            viscosity=inputs.get("viscosity", self.viscosity.low),
            forcing=inputs.get("g", self._forcing),
            drag=self.drag,
            dtype=self.dtype,
            device=self.device,
        )
        w, frames = inputs["w"], []
        # One interval at a time, so that only what is stored is kept.
        for _ in range(self.frames):
            start, w = flow.solve(w, self.interval, 1, dt=self.dt).unbind(1)
            frames = frames or [take_every_nth(start, self.every)]
            frames.append(take_every_nth(w, self.every))
        return {"w": torch.stack(frames, 1)}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parameters = {name: inputs[name] for name in ("viscosity",) if name in inputs}
        return parameters | ({"g": take_every_nth(inputs["g"], self.every)} if "g" in inputs else {})
