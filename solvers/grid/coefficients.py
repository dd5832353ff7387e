"""Published coefficients of Darcy flow: two-phase media from random fields, and the trigonometric multiscale coefficient."""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

from ...errors import InputError
from .counter_random import uniform_pairs


def threshold(field: Tensor, *, above: float = 12.0, below: float = 3.0) -> Tensor:
    """``above`` where the field is at least zero, ``below`` elsewhere. Good values: 12 and 3, or 12 and 2 for a rougher medium."""
    return torch.where(field >= 0, above, below).to(field)


def multiscale_trigonometric(
    nodes: int,
    seed: int,
    samples: Sequence[int],
    *,
    scales: int = 6,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """a = Π_k (1 + ½ cos(a_k π(x + y)))(1 + ½ sin(a_k π(y − 3x))), a_k uniform on [2^{k−1}, 1.5 · 2^{k−1}], on the unit square.

    A coefficient of Owhadi's, with random frequencies as in Liu, Xu, Cao and Zhang (HANO, arXiv 2210.10890). ``(batch, 1, x, y)`` at the
    nodes, boundary included; sample i depends on (seed, i) only. Good values: 1023 nodes and 6 scales.

    Raises:
        InputError: fewer than 2 nodes or 1 scale.
    """
    if nodes < 2 or scales < 1:
        raise InputError(f"The coefficient needs at least 2 nodes and 1 scale; got {nodes} and {scales}.")
    frequencies = multiscale_frequencies(seed, samples, scales, device=device)
    x = torch.linspace(0, 1, nodes, dtype=torch.float64, device=device)
    return trigonometric_product(frequencies, *torch.meshgrid(x, x, indexing="ij"))[:, None].to(dtype)


def multiscale_frequencies(seed: int, samples: Sequence[int], scales: int = 6, *, device: torch.device | str = "cpu") -> Tensor:
    """π a_k for each sample and scale, ``(batch, scales)``, in double precision; a_k uniform on [2^{k−1}, 1.5 · 2^{k−1}]."""
    k = torch.arange(scales, device=device)
    uniform, _ = uniform_pairs(seed, samples, [k])
    return pi * 2.0**k * (1 + uniform / 2)


def trigonometric_product(frequencies: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Π_k (1 + ½ cos(ω_k (x + y)))(1 + ½ sin(ω_k (y − 3x))) at points of any shape: ``(batch, scales) -> (batch, *points)``."""
    a = torch.ones(len(frequencies), *x.shape, dtype=torch.float64, device=x.device)
    for frequency in frequencies.T.reshape(frequencies.shape[1], -1, *[1] * x.dim()):
        a = a * (1 + 0.5 * torch.cos(frequency * (x + y))) * (1 + 0.5 * torch.sin(frequency * (y - 3 * x)))
    return a
