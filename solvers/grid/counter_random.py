"""Normal and uniform random numbers that are functions of (seed, sample, counter), the same on every device and in every order.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The key is
(seed, sample), the counter is whatever numbers the variate: for a random field its wave number, so that a finer grid adds modes to a
sample and changes none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from ...errors import InputError

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four random 32-bit words for each counter of four and key of two 32-bit words; int64 tensors that broadcast."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = _product(x0, MULTIPLIERS[0])
        high1, low1 = _product(x2, MULTIPLIERS[1])
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return x0, x1, x2, x3


def _product(x: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """High and low word of a 64-bit product, in halves so that no signed integer overflows."""
    low = multiplier * (x & 0xFFFF)
    high = multiplier * (x >> 16) + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)


def uniform_pairs(seed: int, samples: Sequence[int], counter: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Two independent uniform variates in (0, 1) for each sample and counter, float64 of shape ``(samples, *counter shape)``.

    Args:
        seed: integer in [0, 2³²), shared by a data set.
        samples: numbers of the samples, in [0, 2³²).
        counter: up to four int64 tensors of one shape; negative entries count modulo 2³².

    Raises:
        InputError: a seed or sample number outside that range, or no sample.
    """
    if not len(samples) or min(samples) < 0 or max(samples) > WORD or not 0 <= seed <= WORD:
        raise InputError(
            f"Random numbers need a seed and sample numbers in [0, 2³²), at least one sample; got seed {seed} and samples "
            f"{list(samples)[:8]}. Number the samples 0, 1, 2, ... within a seed."
        )
    first = counter[0]
    words = [c & WORD for c in counter] + [torch.zeros_like(first)] * (4 - len(counter))
    number = torch.tensor(list(samples), dtype=torch.int64, device=first.device).reshape(-1, *[1] * first.dim())
    w = philox(words, (torch.full_like(number, seed), number))
    return _unit(w[0], w[1]), _unit(w[2], w[3])


def _unit(high: Tensor, low: Tensor) -> Tensor:
    """53 bits of two words as a number strictly between 0 and 1."""
    return ((high >> 5).double() * 2.0**26 + (low >> 6).double() + 0.5) * 2.0**-53


def normal_pairs(seed: int, samples: Sequence[int], counter: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Two independent standard normal variates for each sample and counter (Box and Muller); as :func:`uniform_pairs`."""
    radius, angle = uniform_pairs(seed, samples, counter)
    radius = torch.sqrt(-2 * torch.log(radius))
    return radius * torch.cos(2 * pi * angle), radius * torch.sin(2 * pi * angle)


@dataclass(frozen=True)
class LogUniform:
    """A positive number of each sample whose logarithm is uniform between those of ``low`` and ``high``."""

    low: float
    high: float

    @classmethod
    def of(cls, value: float | Sequence[float], what: str) -> "LogUniform":
        """From one number or the ends of a range.

        Raises:
            InputError: they are not positive, or not in order.
        """
        ends = (value, value) if isinstance(value, int | float) else tuple(value)
        if len(ends) != 2 or not 0 < ends[0] <= ends[1]:
            raise InputError(f"The {what} is a positive number, or the smallest and the largest of a range; got {value}.")
        return cls(float(ends[0]), float(ends[1]))

    @property
    def varies(self) -> bool:
        return self.high > self.low

    def sample(self, seed: int, samples: Sequence[int], stream: int = 9) -> Tensor:
        """One number for each sample, float64 ``(batch,)``; ``stream`` tells it from other random numbers of the sample."""
        place, _ = uniform_pairs(seed, samples, [torch.tensor(n) for n in (0, 0, 0, stream)])
        return self.low * (self.high / self.low) ** place
