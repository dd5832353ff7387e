"""Reference solvers of the NeuralStagger experiments on coarser grids and with longer steps: what a given error costs them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from thalweg.configuration import build
from thalweg.fem.uniform_grid import Grid
from thalweg.solvers.grid import VorticityEquation
from thalweg.solvers.grid.potentials import potential_of, velocity_of
from thalweg.solvers.grid.problems import InflowChannel, MovingDisc, VorticityFlow

Fields = Mapping[str, Tensor]

#: Of the vorticity: points along each axis, no more than the data's, and time step.
SPECTRAL = ((64, 0.005), (48, 0.005), (40, 0.0078), (32, 0.0078), (24, 0.0104), (20, 0.0155), (16, 0.0155), (12, 0.031))

#: On staggered grids: cells by those of the data, and time step by that between frames; in the channel, where several steps make a frame,
#: by the data's own.
STAGGERED = ((1.0, 1.0), (1.0, 2.0), (0.75, 1.0), (0.75, 2.0), (0.5, 2.0), (0.375, 2.0), (0.25, 4.0))


class Level(ABC):
    """The reference solver from the first frame of the data on, with its own points and steps."""

    @abstractmethod
    def solve(self, batch: int) -> Callable[[], Any]:
        """A call that takes the first ``batch`` samples to the last frame; what it needs is ready."""

    @abstractmethod
    def last(self, result: Any) -> Tensor:
        """The last frame of what the call returns, on the grid of the data, ``(batch, 1, channel, x, y[, z])``."""


def levels_of(node: dict[str, Any], fields: Fields) -> list[Level]:
    """The levels of a problem's configuration, from the finest; ``fields`` are trajectories of the data."""
    problem = build(node)
    if isinstance(problem, VorticityFlow):
        return [SpectralLevel(problem, fields, n, dt) for n, dt in SPECTRAL if n <= fields["w"].shape[-1]]
    most = 1.0 if isinstance(problem, MovingDisc) else inf  # around a disc that moves, a step ends with the frame
    return [
        StaggeredLevel(node, fields, *level) for level in dict.fromkeys((share, min(longer, most)) for share, longer in STAGGERED)
    ]


def reference_of(node: dict[str, Any], fields: Fields) -> Level:
    """The solver on the points and with the steps that the data were made with."""
    problem = build(node)
    if isinstance(problem, VorticityFlow):
        return SpectralLevel(problem, fields, fields["w"].shape[-1], node["dt"])
    return StaggeredLevel(node, fields, 1.0, 1.0 if isinstance(problem, InflowChannel) else node["dt"] / node["interval"])


def resampled(u: Tensor, points: int) -> Tensor:
    """The trigonometric interpolant of ``(..., n, n)`` at more or fewer points, without the waves that these cannot show."""
    n = u.shape[-1]
    kept = min(n, points) // 2
    spectrum, result = torch.fft.rfft2(u), u.new_zeros(*u.shape[:-2], points, points // 2 + 1).to(torch.complex64)
    for rows in (slice(0, kept), slice(-kept + 1, None)):
        result[..., rows, :kept] = spectrum[..., rows, :kept]
    return torch.fft.irfft2(result, s=(points, points)) * (points / n) ** 2


class SpectralLevel(Level):
    """The vorticity equation on fewer points."""

    def __init__(self, problem: VorticityFlow, fields: Fields, points: int, dt: float):
        self.problem, self.points, self.dt, self.fine = problem, points, dt, fields["w"].shape[-1]
        self.start, self.forcing = resampled(fields["w"][:, 0], points), resampled(fields["g"], points)

    def __str__(self) -> str:
        return f"{self.points}², dt {self.dt:g}"

    def solve(self, batch: int) -> Callable[[], Tensor]:
        problem, shape = self.problem, (self.points, self.points)
        options = {"viscosity": problem.viscosity.low, "drag": problem.drag, "device": self.start.device}
        equation = VorticityEquation(shape, forcing=self.forcing[:batch], **options)
        T = problem.frames * problem.interval
        return lambda: equation.solve(self.start[:batch], T, 1, dt=self.dt)

    def last(self, result: Tensor) -> Tensor:
        return resampled(result[:, 1:], self.fine)


class StaggeredLevel(Level):
    """Momentum on a coarser staggered grid, from potentials that cubic splines interpolate."""

    def __init__(self, node: dict[str, Any], fields: Fields, share: float, longer: float):
        cells = node["cells"]
        fewer = [round(share * n) for n in cells] if isinstance(cells, list) else round(share * cells)
        problem = build(node)
        step = node["dt"] if isinstance(problem, InflowChannel) else node["interval"]
        self.name, self.fine, self.fields = problem.outputs[0], problem.grid, fields
        self.problem = build({**node, "cells": fewer, "dt": longer * step}).to(fields[self.name].device)
        self.start = _moved(fields[self.name][:, 0], self.fine, self.problem.grid)

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.problem.cells))}, dt {self.problem.dt:.3g}"

    def solve(self, batch: int) -> Callable[[], tuple[Tensor, ...]]:
        problem, grid = self.problem, self.problem.grid
        velocity = velocity_of(self.start[:batch].split(1, 1), grid.spacings, grid.periodic)
        T = problem.frames * problem.interval
        if isinstance(problem, MovingDisc):
            disc = self.fields["disc"][:batch, 0, :, :1, :1].expand(-1, -1, *grid.shape)
            return lambda: tuple(w[:, -1] for w in problem.follow(velocity, disc)[0])
        inflow = [self.fields["inflow"][:batch, 0, 0, 0]] if isinstance(problem, InflowChannel) else []
        flow = problem.flow(*inflow)
        return lambda: tuple(w[:, -1] for w in flow.solve(velocity, T, 1, dt=problem.dt))

    def last(self, result: tuple[Tensor, ...]) -> Tensor:
        grid = self.problem.grid
        return _moved(torch.cat(potential_of(result, grid.spacings, grid.periodic), 1), grid, self.fine)[:, None]


def _moved(u: Tensor, old: Grid, new: Grid) -> Tensor:
    """A potential ``(batch, 1 or 3, x, y[, z])`` on another grid of the same box."""
    parts = []
    for component, part in enumerate(u.split(1, 1)):
        for axis in range(old.dim):
            shift = 0.5 if old.dim == 3 and axis == component else 0.0  # edges have their middle between vertices
            part = _spline(part, axis, old, new, shift)
        parts.append(part)
    return torch.cat(parts, 1)


def _spline(u: Tensor, axis: int, old: Grid, new: Grid, shift: float) -> Tensor:
    """The cubic spline along one axis of ``(batch, 1, x, y[, z])``: linear in the values, so that its matrix works on their device."""
    (n, h), (m, H) = ((grid.shape[axis], grid.spacings[axis]) for grid in (old, new))
    x, at, units = (np.arange(n) + shift) * h, (np.arange(m) + shift) * H, np.eye(n)
    if old.periodic[axis]:
        x, units = np.append(x, x[0] + old.lengths[axis]), np.concatenate([units, units[:1]])
    spline = CubicSpline(x, units, bc_type="periodic" if old.periodic[axis] else "not-a-knot")
    matrix = torch.as_tensor(spline(at), device=u.device)
    return (u.double().movedim(axis + 2, -1) @ matrix.T).movedim(-1, axis + 2).to(u.dtype)
