"""The frequency of a signal as something to steer: smooth in the signal, so that it has a gradient."""

import torch
from torch import Tensor

from ..errors import InputError


def expected_frequency(signal: Tensor, interval: float, width: float = 0.15) -> Tensor:
    """E[f] = Σ f P(f) / Σ P(f) in cycles a unit of time, P the power spectrum of the signal under a Gaussian window.

    As Wandel, Weinmann and Klein steer vortex streets (ICLR 2021, arXiv 2006.08762). Of one oscillation it is the frequency, also between
    the frequencies of the discrete spectrum; a signal of several has their mean, weighted by their power.

    Args:
        signal: ``(..., time)``, at equal intervals; its mean under the window does not count.
        interval: between two values.
        width: standard deviation of the window over the length of the signal. With less than five periods in the signal, neighbouring
            frequencies run into each other and into the mean.

    Returns:
        ``(...)``.

    Raises:
        InputError: fewer than 8 values, an interval or a width that is not positive.

    Example:
        >>> t = 0.05 * torch.arange(200, dtype=torch.float64)
        >>> expected_frequency(torch.cos(2 * torch.pi * 1.7 * t), 0.05)
        tensor(1.7000, dtype=torch.float64)
    """
    f, power = power_spectrum(signal, interval, width)
    return (f * power).sum(-1)


def power_spectrum(signal: Tensor, interval: float, width: float = 0.15) -> tuple[Tensor, Tensor]:
    """The frequencies ``(frequency,)`` and the powers ``(..., frequency)`` of :func:`expected_frequency`, which sum to one.

    Raises:
        InputError: fewer than 8 values, an interval or a width that is not positive.
    """
    n = signal.shape[-1]
    if n < 8 or not interval > 0 or not width > 0:
        raise InputError(f"A frequency needs 8 values or more, a positive interval and width; got {n}, {interval} and {width}.")
    place = (torch.arange(n, dtype=signal.dtype, device=signal.device) + 0.5) / n - 0.5
    window = torch.exp(-0.5 * (place / width) ** 2)
    mean = (window * signal).sum(-1, keepdim=True) / window.sum()
    power = torch.fft.rfft(window * (signal - mean)).abs().square()
    return torch.fft.rfftfreq(n, interval, dtype=signal.dtype, device=signal.device), power / power.sum(-1, keepdim=True)
