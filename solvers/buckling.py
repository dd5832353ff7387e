"""The compression at which a perfect beam buckles, found by the loss of stability, and Euler's."""

from math import pi

from ..errors import DivergedError
from .hyperelastic_beam import HyperelasticBeam


def euler_compression(slenderness: float) -> float:
    """π²/3 (H/L)²: critical shortening over the length of a slender beam of height H clamped at both ends (Euler, 1744)."""
    return pi**2 / 3 * slenderness**2


def critical_compression(slenderness: float, cells: tuple[int, int], bisections: int = 8) -> float:
    """The compression up to which the straight equilibrium is stable, by bisection between 0 and twice Euler's.

    Shear lowers it under Euler's value by a part of order (H/L)².
    """
    beam = HyperelasticBeam(cells, (1.0, slenderness), poisson_ratio=0.0, refinements=0)
    low, high = 0.0, 2 * euler_compression(slenderness)
    for _ in range(bisections):
        middle = (low + high) / 2
        try:
            beam.solve({"g": beam.shortening(middle)})
            low = middle
        except DivergedError:
            high = middle
    return (low + high) / 2
