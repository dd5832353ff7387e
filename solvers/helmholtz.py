"""Time-harmonic waves in a random medium, driven through a window of the boundary."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..fem.firedrake import firedrake
from .direct import CHOLESKY
from .domains import SIDES, box
from .grid import NeumannField
from .prescribed import require_positive
from .problem import Problem, lagrange_hierarchy, solve_or_explain
from .spectral_field import SpectralField

#: Half the width of the window in the middle of the top side.
HALF_WINDOW = 0.15


class Helmholtz(Problem):
    """−Δu − (ω²/c²) u = 0 in the unit square, ∂u/∂n = 1 at the top where |x − ½| ≤ 0.15, ∂u/∂n = 0 elsewhere on the boundary.

    The input is the wave speed ``c``, the output the field ``u``, both in ``V``, Lagrange elements on squares. Random speeds are
    c = mean + spread · tanh(Z), Z a cosine series of the lowest modes with eigenvalues (π²|k|² + τ²)^(−α). The defaults are the data of
    de Hoop, Huang, Qian and Stuart (J. Mach. Learn. 4, 2022): 100 x 100 bilinear elements, wave number about 50, twelve points a
    wave. Those are a benchmark of this discrete operator: for c = 20 its solution is 59 % off the exact one, by the phase error of bilinear
    elements, and 0.7 % with ``degree=2`` on the same squares. The problem is real and indefinite; close to a resonance of the cavity
    solutions are large.

    Args:
        mesh: squares along each side of the coarsest mesh.
        degree: of the elements.
        refinements: how often it is refined; the levels carry the multigrid hierarchy.
        frequency: ω.
        mean, spread: of the wave speed; mean > |spread|.
        modes: how many terms the series has, the constant one not among them.
        alpha, tau: of the eigenvalues.

    Raises:
        InputError: a frequency or a number of modes that is not positive, a speed that could vanish.
    """

    inputs = ("c",)
    outputs = ("u",)

    def __init__(
        self,
        mesh: int = 25,
        degree: int = 1,
        refinements: int = 2,
        frequency: float = 1000.0,
        mean: float = 20.0,
        spread: float = 1.0,
        modes: int = 100,
        alpha: float = 2.0,
        tau: float = 3.0,
    ):
        fd = firedrake()
        if frequency <= 0 or modes < 1 or mean <= abs(spread):
            raise InputError(
                f"Waves need a positive frequency, at least one mode and mean > |spread|; got frequency {frequency:g}, modes {modes}, mean "
                f"{mean:g}, spread {spread:g}."
            )
        meshes = box((mesh, mesh), (1, 1), refinements, quadrilateral=True)
        self.spaces, self.transfers = lagrange_hierarchy(meshes, degree)
        self.fields = {"c": "V", "u": "V"}
        V = self.spaces["V"]

        self._c, self._u = fd.Function(V, name="c"), fd.Function(V, name="u")
        u, v = fd.TrialFunction(V), fd.TestFunction(V)
        a = helmholtz_form(u, v, self._c, frequency)
        inflow = window(meshes[-1]) * v * fd.ds(SIDES[2]["top"])
        self.residual = fd.action(a, self._u) - inflow
        equation = fd.LinearVariationalProblem(a, inflow, self._u, constant_jacobian=False)
        self._solver = fd.LinearVariationalSolver(equation, solver_parameters=CHOLESKY)
        self._speed = SpectralField(V, lowest_modes(modes, alpha, tau), transform=lambda Z: mean + spread * np.tanh(Z))

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"c": self._speed.sample(rng)}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        require_positive(inputs["c"], "c")
        self._c.assign(inputs["c"])
        self._u.assign(0)  # so that the last solution leaves no rounding errors in this one
        solve_or_explain(self._solver, "Helmholtz")
        return {"u": self._u.copy(deepcopy=True)}


def helmholtz_form(u: Any, v: Any, c: Any, frequency: float) -> Any:
    """The bilinear form ∫ ∇u·∇v − (ω²/c²) u v."""
    fd = firedrake()
    return (fd.inner(fd.grad(u), fd.grad(v)) - frequency**2 / c**2 * u * v) * fd.dx


def window(mesh: Any) -> Any:
    """1 where |x − ½| ≤ 0.15, 0 elsewhere; integrals are exact if the window's ends are nodes of the mesh."""
    fd = firedrake()
    x = fd.SpatialCoordinate(mesh)[0]
    return fd.conditional(abs(x - 0.5) < HALF_WINDOW, 1.0, 0.0)


def lowest_modes(modes: int, alpha: float, tau: float) -> NeumannField:
    """The Neumann field with λ_k = (π²|k|² + τ²)^(−α) for the modes of least |k|, the constant left out, zero for the others."""
    side = int(np.ceil(np.sqrt(2 * modes))) + 2
    field = NeumannField((side, side), alpha=alpha, tau=tau, sigma=1.0)
    squares = torch.stack(field.modes).square().sum(0)
    order = squares.flatten().argsort(stable=True)[1 : modes + 1]
    kept = torch.zeros_like(field.eigenvalues)
    kept.view(-1)[order] = 1
    field.eigenvalues = kept * field.eigenvalues
    return field
