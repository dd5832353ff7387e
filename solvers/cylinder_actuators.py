"""Actuators on the surface of the DFG cylinder, which rotates and has two jets: their velocities, and where forces are weighed."""

from typing import Any

import numpy as np

from ..fem.firedrake import firedrake
from .cylinder_channel import CENTRE, DIAMETER

ACTUATORS = ("rotation", "jets")

_REACH = 0.15  # from the centre: how far weights reach, 0.05 short of the nearest wall


def surface_velocity(points: np.ndarray, actuator: str, width: float) -> np.ndarray:
    """Velocities ``(n, 2)`` at points ``(n, 2)`` on the cylinder, for an actuator of unit strength.

    The rotation is counterclockwise with surface speed 1. The jets are centred at ±90° from the downstream direction and normal to the
    surface with the profile cos²(πδ/width) at δ degrees from the centre, |δ| ≤ width/2; the upper one blows as much as the lower one sucks.
    """
    x, y = ((points - CENTRE) / (DIAMETER / 2)).T
    if actuator == "rotation":
        return np.stack([-y, x], axis=1)
    degrees = np.rad2deg(np.arctan2(np.abs(x), np.abs(y)))
    profile = np.where(degrees < width / 2, np.cos(np.pi * degrees / width) ** 2, 0)
    return (np.sign(y) * profile)[:, None] * np.stack([x, y], axis=1)


def force_weight(mesh: Any, component: int) -> Any:
    """A UFL field w of divergence zero that is the unit vector on the cylinder and zero at distances beyond the diameter.

    The momentum balance tested with w is the force on the cylinder (John and Matthies, 2001), and the pressure drops out of it:
    w = curl(ψ χ(r)) with the stream function ψ of the unit vector, and χ from 1 to 0 with two continuous derivatives.
    """
    fd = firedrake()
    X = fd.SpatialCoordinate(mesh)
    x, y = X[0] - CENTRE[0], X[1] - CENTRE[1]
    r, inner = fd.sqrt(x**2 + y**2), DIAMETER / 2
    s = fd.max_value(fd.min_value((r - inner) / (_REACH - inner), 1.0), 0.0)
    falling = 1 - s**3 * (10 - 15 * s + 6 * s**2)
    slope = -30 * s**2 * (1 - s) ** 2 / (_REACH - inner) / r  # dχ/dr / r
    if component == 0:  # ψ = y
        return fd.as_vector([falling + y**2 * slope, -x * y * slope])
    return fd.as_vector([-x * y * slope, falling + x**2 * slope])  # ψ = −x
