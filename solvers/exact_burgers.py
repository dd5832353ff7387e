"""Solutions of Burgers' equation that are known, and how far the discrete ones are from them."""

from math import pi

import numpy as np
from scipy.special import ive

from ..fem.firedrake import firedrake
from .burgers import Burgers
from .spectral_field import node_points

#: Slope of the wave of :func:`steepest_slope` (Basdevant et al., Comput. Fluids 14, 1986).
STEEPEST_SLOPE = -152.00516


def cole_hopf(x: np.ndarray, t: float, viscosity: float, modes: int = 60) -> np.ndarray:
    """The solution with u(x, 0) = sin 2πx on the periodic unit interval: −2ν ∂ₓ ln φ, with φ a solution of the heat equation.

    φ(x, 0) = exp(cos 2πx / 4πν) = I₀(z) + 2 Σ Iₙ(z) cos 2πnx, z = 1/4πν, and each term decays by itself (Hopf, 1950; Cole, 1951).
    """
    n = np.arange(1, modes)[:, None]
    z = 1 / (4 * pi * viscosity)
    a = 2 * ive(n, z) * np.exp(-viscosity * (2 * pi * n) ** 2 * t)
    phi = ive(0, z) + (a * np.cos(2 * pi * n * x)).sum(0)
    slope = -(a * 2 * pi * n * np.sin(2 * pi * n * x)).sum(0)
    return -2 * viscosity * slope / phi


def burgers_error(cells: int, degree: int, time_step: float, viscosity: float = 0.05, final_time: float = 0.5) -> float:
    """Largest error at the nodes of the wave that starts as sin 2πx; orders degree + 1 in space and 2 in time."""
    fd = firedrake()
    problem = Burgers(
        cells, degree=degree, refinements=0, viscosity=viscosity, final_time=final_time, frames=1, time_step=time_step
    )
    V = problem.spaces["V"]
    (x,) = fd.SpatialCoordinate(V.mesh())
    u = problem.solve({"u0": fd.Function(V).interpolate(fd.sin(2 * fd.pi * x))})["u"][-1]
    return float(np.abs(u.dat.data_ro - cole_hopf(node_points(V)[:, 0], final_time, viscosity)).max())


def steepest_slope(cells: int, degree: int = 4, time_step: float = 0.004) -> float:
    """∂u/∂x at x = 0 and πt = 1.6037 of the wave that starts as −sin πx on (−1, 1) with ν = 0.01/π: −152.00516."""
    fd = firedrake()
    problem = Burgers(
        cells,
        ends=(-1.0, 1.0),
        periodic=False,
        degree=degree,
        refinements=0,
        viscosity=0.01 / pi,
        final_time=1.6037 / pi,
        frames=1,
        time_step=time_step,
    )
    V = problem.spaces["V"]
    (x,) = fd.SpatialCoordinate(V.mesh())
    u = problem.solve({"u0": fd.Function(V).interpolate(-fd.sin(fd.pi * x))})["u"][-1]
    slope = fd.Function(fd.FunctionSpace(V.mesh(), "DG", degree - 1)).interpolate(u.dx(0))
    return float(fd.PointEvaluator(V.mesh(), [[0.0]]).evaluate(slope)[0])
