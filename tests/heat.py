"""A small learning problem for tests of training: one step of the heat equation on a periodic grid, known exactly."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.data import FieldDataset
from thalweg.fem.uniform_grid import Grid, Grids
from thalweg.operators import Operator
from thalweg.training import RelativeNorm, Settings, Trainer

GRID = Grid((8, 8), periodic=(True, True))
DECAY = 0.01


def advance(u: Tensor, steps: int = 1) -> Tensor:
    """The exact solution of ∂u/∂t = Δu a time ``steps * DECAY / 4π²`` later, for fields ``(..., 8, 8)``."""
    k = torch.fft.fftfreq(8, 1 / 8, dtype=torch.float64)
    factor = torch.exp(-DECAY * steps * (k[:, None] ** 2 + k**2))
    return torch.fft.ifft2(torch.fft.fft2(u.double()) * factor).real.to(u.dtype)


def trajectories(samples: int, frames: int, seed: int = 0) -> FieldDataset:
    """``u`` of shape ``(samples, frames, 1, 8, 8)`` from random starts, and a constant field ``f`` that does nothing."""
    generator = torch.Generator().manual_seed(seed)
    start, f = torch.randn(2, samples, 1, 8, 8, generator=generator)
    u = torch.stack([advance(start, step) for step in range(frames)], dim=1)
    spaces = {"u": "grid", "f": "grid"}
    return FieldDataset.of(Grids({"grid": GRID}), {"u": u, "f": f}, spaces, np.arange(frames) * DECAY / (4 * math.pi**2))


def pairs(samples: int, seed: int = 0) -> FieldDataset:
    """``f`` and ``u``, the same a step later, both ``(samples, 1, 8, 8)``."""
    data = trajectories(samples, 2, seed).fields["u"]
    spaces = {"u": "grid", "f": "grid"}
    return FieldDataset.of(Grids({"grid": GRID}), {"f": data[:, 0].clone(), "u": data[:, 1].clone()}, spaces)


class Convolutions(Operator):
    """``u = source + convolutions(source)``; ``source`` names the input, ``u`` itself for a time stepper. ``matrix`` ends in a matrix."""

    def __init__(self, source: str = "f", channels: int = 4, matrix: bool = False):
        super().__init__()
        self.source = source
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, padding_mode="circular"),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="circular"),
            nn.GELU(),
            nn.Conv2d(channels, 1, 1),
            nn.Linear(8, 8) if matrix else nn.Identity(),
        )

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"u": fields[self.source] + self.layers(fields[self.source])}


class Linear(Operator):
    """``u = c * f`` with one number c for each grid point."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(8, 8))

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"u": self.factor * fields["f"]}


def operator(seed: int = 0, source: str = "f", matrix: bool = False) -> Convolutions:
    torch.manual_seed(seed)
    return Convolutions(source, matrix=matrix)


def trainer(folder: Path, settings: dict | None = None, train: Any = None, loss: Any = None, **arguments: Any) -> Trainer:
    """A trainer of one step on 20 samples, in ragged batches of 8, for two epochs."""
    chosen = Settings(**({"epochs": 2, "batch_size": 8} | (settings or {})))
    make: Callable[[], Operator] = arguments.pop("make_operator", operator)
    metric = RelativeNorm(GRID, "u", "L2")
    if loss is not None:
        arguments.setdefault("metrics", {"relative_l2": metric})
    train, valid = train or pairs(20), arguments.pop("valid", None) or pairs(6, seed=1)
    return Trainer(make(), train, valid, loss or metric, chosen, folder, **arguments)
