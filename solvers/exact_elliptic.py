"""Steady problems whose solutions are known in closed form, and how far the discrete ones are from them."""

from typing import Any

import numpy as np

from ..fem.firedrake import firedrake
from .darcy import Darcy
from .helmholtz import HALF_WINDOW, Helmholtz
from .mixed_darcy import MixedDarcy
from .nonlinear_diffusion import NonlinearDiffusion
from .spectral_field import node_points
from .stokes import Stokes

#: Settings of random fields that are not drawn: exact data take their place.
_FIELD = {"length": 0.5}


def darcy_error(cells: int, degree: int = 1) -> float:
    """L² error for a = 1 + x + 2y and u = sin 2x eʸ; order degree + 1."""
    fd = firedrake()
    problem = Darcy(cells, "log_normal", 1, degree=degree, refinements=0, source=_FIELD, boundary=_FIELD, log_normal=_FIELD)
    V, A = problem.spaces["V"], problem.spaces[problem.fields["a"]]
    x, y = fd.SpatialCoordinate(V.mesh())
    a, exact = 1 + x + 2 * y, fd.sin(2 * x) * fd.exp(y)
    f = -fd.div(a * fd.grad(exact))
    u = problem.solve({"a": _interpolant(A, a), "f": _interpolant(V, f), "g": _interpolant(V, exact)})["u"]
    return fd.errornorm(exact, u, "L2")


def centre_value(cells: int, degree: int = 2) -> float:
    """u(½, ½) for a = 1, f = 1 and u = 0 on the boundary of the unit square; exactly 0.0736713532 (its Fourier series)."""
    fd = firedrake()
    problem = Darcy(cells, "log_normal", 1, degree=degree, refinements=0, log_normal=_FIELD)
    u = problem.solve({"a": fd.Function(problem.spaces[problem.fields["a"]]).assign(1)})["u"]
    return float(fd.PointEvaluator(u.function_space().mesh(), [[0.5, 0.5]]).evaluate(u)[0])


def mixed_darcy_errors(cells: int, degree: int = 1) -> tuple[float, float, float]:
    """L² errors of flux and pressure for a = 2 and p = x + sin πx sin πy, and the largest mass lost in a cell; orders k, k and 0."""
    fd = firedrake()
    problem = MixedDarcy(cells, "log_normal", degree=degree, source=_FIELD, pressure=_FIELD, log_normal=_FIELD)
    Q, V = problem.spaces["Q"], problem.spaces["V"]
    x, y = fd.SpatialCoordinate(Q.mesh())
    # On the boundary p is linear, so that the natural condition is exact.
    exact = x + fd.sin(fd.pi * x) * fd.sin(fd.pi * y)
    flux = -2 * fd.grad(exact)
    f = fd.project(fd.div(flux), Q)
    outputs = problem.solve({"a": fd.Function(Q).assign(2), "f": f, "g": _interpolant(V, x)})
    cell = fd.TestFunction(fd.FunctionSpace(Q.mesh(), "DG", 0))
    lost = fd.assemble((fd.div(outputs["sigma"]) - f) * cell * fd.dx).dat.data_ro
    return fd.errornorm(flux, outputs["sigma"], "L2"), fd.errornorm(exact, outputs["p"], "L2"), float(np.abs(lost).max())


def nonlinear_diffusion_error(cells: int, degree: int = 2) -> float:
    """L² error where Kirchhoff's transform U = u + u³/3 is ½ sin 2x eʸ, so that f = −ΔU; order degree + 1."""
    fd = firedrake()
    problem = NonlinearDiffusion(cells, degree=degree, refinements=0)
    V = problem.spaces["V"]
    x, y = fd.SpatialCoordinate(V.mesh())
    U = 0.5 * fd.sin(2 * x) * fd.exp(y)
    root = (1.5 * U + fd.sqrt(1 + 2.25 * U**2)) ** (1 / 3)
    exact = root - 1 / root  # Cardano's solution of u + u³/3 = U
    nodal = _interpolant(V, exact)
    u = problem.solve({"f": _interpolant(V, 3 * U), "g": nodal})["u"]
    # The norm of the interpolant's error is computed by a rule that its degree does not blow up.
    return float(fd.sqrt(fd.assemble((u - exact) ** 2 * fd.dx(degree=2 * degree + 6))))


def helmholtz_error(cells: int, frequency: float = 200.0, degree: int = 1) -> float:
    """Relative l² error at the nodes for one wave speed, c = 20, driven through the window; second order."""
    problem = Helmholtz(cells, degree, refinements=0, frequency=frequency)
    V = problem.spaces["V"]
    u = problem.solve({"c": firedrake().Function(V).assign(20.0)})["u"].dat.data_ro
    exact = window_waves(node_points(V), frequency / 20.0)
    return float(np.linalg.norm(u - exact) / np.linalg.norm(exact))


def window_waves(points: np.ndarray, k: float, modes: int = 4000) -> np.ndarray:
    """The exact field of :class:`Helmholtz` for one wave number k at points ``(n, 2)``: Σ_m g_m cos(mπx) cos(κ_m y) / (−κ_m sin κ_m).

    κ_m² = k² − m²π², and g_m are the cosine coefficients of the window.
    """
    m = np.arange(modes)
    x, column = np.unique(points[:, 0].round(12), return_inverse=True)
    y, row = np.unique(points[:, 1].round(12), return_inverse=True)
    amplitude = 4 * np.cos(m * np.pi / 2) * np.sin(HALF_WINDOW * m * np.pi) / np.maximum(m * np.pi, 1)
    amplitude[0] = 2 * HALF_WINDOW
    kappa = np.sqrt((k**2 - (m * np.pi) ** 2).astype(complex))
    # The cosines and sines of the evanescent modes are divided by what makes them grow.
    waves = np.exp(1j * kappa * (1 - y[:, None])) + np.exp(1j * kappa * (1 + y[:, None]))
    in_y = (1j * waves / (kappa * (1 - np.exp(2j * kappa)))).real
    return ((np.cos(np.pi * np.outer(x, m)) * amplitude) @ in_y.T)[column, row]


def stokes_errors(cells: int, viscosity: float = 0.5) -> tuple[float, float, float]:
    """L² errors of velocity and pressure for the stream function sin 2x cos 3y, and the mean pressure; orders 3, 2 and zero."""
    fd = firedrake()
    problem = Stokes(cells, viscosity=viscosity)
    V = problem.spaces["V"]
    x, y = fd.SpatialCoordinate(V.mesh())
    stream, pressure = fd.sin(2 * x) * fd.cos(3 * y), fd.sin(x + 2 * y)
    velocity = fd.as_vector([stream.dx(1), -stream.dx(0)])
    pressure = pressure - fd.assemble(pressure * fd.dx(domain=V.mesh(), degree=10))
    f = -viscosity * fd.div(fd.grad(velocity)) + fd.grad(pressure)
    outputs = problem.solve({"f": _interpolant(V, f), "g": _interpolant(V, velocity)})
    mean = float(abs(fd.assemble(outputs["p"] * fd.dx)))
    return fd.errornorm(velocity, outputs["u"], "L2"), fd.errornorm(pressure, outputs["p"], "L2"), mean


def _interpolant(V: Any, expression: Any) -> Any:
    return firedrake().Function(V).interpolate(expression)
