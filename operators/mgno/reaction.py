"""The term b u of a sample's own operator −∇·(a∇u) + b u."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Reaction:
    """b = factor · v^power of an input field v of one channel."""

    field: str
    factor: float = 1.0
    power: float = 1.0

    def __call__(self, v: Tensor) -> Tensor:
        return self.factor * v**self.power


def time_harmonic(speed: str, frequency: float) -> Reaction:
    """b = −(ω/c)² of the Helmholtz equation −Δu − (ω/c)² u = 0, for the field of the wave speed c and the frequency ω."""
    return Reaction(speed, -(frequency**2), -2.0)
