"""Random numbers of the samples of a data set, functions of its seed and a sample's number alone."""

import numpy as np

_GOLDEN = (np.sqrt(5) - 1) / 2


def sample_rng(seed: int, sample: int, attempt: int = 0) -> np.random.Generator:
    """The random numbers of one sample, whatever was drawn before it."""
    return np.random.default_rng(np.random.SeedSequence((seed, sample, attempt) if attempt else (seed, sample)))


def evenly_spread(number: int, shift: float) -> float:
    """Term ``number`` of the sequence ⟨shift + number · golden ratio⟩ in [0, 1), uniform for a uniform shift.

    Of all sequences of the form ⟨s + n α⟩ this one fills [0, 1) most evenly: any n consecutive terms cut the circle in gaps of no more than
    three lengths (Steinhaus; van Ravenstein, J. Austral. Math. Soc. A 45, 1988); three terms leave none above 0.382.
    """
    return float((shift + number * _GOLDEN) % 1)
