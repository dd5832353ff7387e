"""Published body forces of periodic flow, as their curl g on a grid, and the Taylor-Green vortex."""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor


def grid_points(shape: Sequence[int], lengths: Sequence[float] = (1.0, 1.0)) -> tuple[Tensor, Tensor]:
    """Coordinates x and y of a periodic grid, float64 ``(x, y)`` each; the first point is the origin."""
    x, y = (torch.arange(n, dtype=torch.float64) * (L / n) for n, L in zip(shape, lengths, strict=True))
    X, Y = torch.meshgrid(x, y, indexing="ij")
    return X, Y


def diagonal_forcing(shape: Sequence[int], *, amplitude: float = 0.1) -> Tensor:
    """g = A (sin 2π(x + y) + cos 2π(x + y)) on the unit torus (Li et al., ICLR 2021, arXiv 2010.08895), float64 ``(x, y)``."""
    x, y = grid_points(shape)
    angle = 2 * pi * (x + y)
    return amplitude * (angle.sin() + angle.cos())


def kolmogorov_forcing(
    shape: Sequence[int], lengths: Sequence[float] = (2 * pi, 2 * pi), *, amplitude: float = 1.0, periods: int = 4
) -> Tensor:
    """g of the force A sin(κy) in direction x, κ = 2π periods / L_y: g = −Aκ cos(κy), float64 ``(x, y)``.

    Good values: the defaults with viscosity 1e-3 and drag 0.1 (Kochkov et al., PNAS 118, 2021).
    """
    wave_number = 2 * pi * periods / lengths[1]
    return -amplitude * wave_number * torch.cos(wave_number * grid_points(shape, lengths)[1])


def taylor_green(shape: Sequence[int], lengths: Sequence[float] = (2 * pi, 2 * pi), *, periods: int = 1) -> Tensor:
    """Vorticity of u = (cos ax sin by, −(a/b) sin ax cos by), a and b = 2π periods / length, float64 ``(x, y)``.

    It decays as e^{−ν(a² + b²)t} and keeps its shape.
    """
    x, y = grid_points(shape, lengths)
    a, b = (2 * pi * periods / L for L in lengths)
    return -(a * a / b + b) * torch.cos(a * x) * torch.cos(b * y)
