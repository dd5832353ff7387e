"""A neo-Hookean beam that is compressed until it buckles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DivergedError, InputError
from ..fem.firedrake import firedrake
from .continuation import advance_in_steps
from .direct import CHOLESKY, NEWTON
from .domains import SIDES, box
from .prescribed import number_or_field, require_positive
from .problem import Problem, lagrange_hierarchy, solve_or_explain
from .random_coefficients import LogNormalCoefficient

#: PETSc counts negative pivots only if MUMPS looks for zero ones, and there are factors only after an iteration. Steps that take many
#: iterations are better halved.
_OPTIONS = {"mat_mumps_icntl_24": 1, "snes_force_iteration": None, "snes_max_it": 12}

#: The smallest part of the load that is tried.
SMALLEST_STEP = 1 / 1024

#: In one step the deflection may at most double, so that it cannot change its side; or change by this part of the length.
SMALL_DEFLECTION = 1e-3

#: J below which the extended energy is no longer that of the material.
LEAST_VOLUME = 0.2

#: Degree to which the strain energy is integrated.
QUADRATURE_DEGREE = 4


class HyperelasticBeam(Problem):
    """Equilibrium of a compressible neo-Hookean beam, clamped on the left, its right end pushed in; plane strain in two dimensions.

    The displacement ``u`` makes the energy Π = ∫ψ dx − ∫ t u_y ds stationary, with F = I + ∇u, J = det F and
    ψ = μ/2 (tr FᵀF − d − 2 ln J) + λ/2 (ln J)² (Bonet and Wood, 2008, section 6.4.3), and u = g at both ends. ``t`` is a dead load on
    the top, upwards in the last direction.

    Inputs are the end displacement ``g``, a field of ``V`` that is zero away from the ends; Young's modulus ``E`` and the load ``t``, in
    linear elements ``Q``, where they are random. The output is ``u``, in ``V``, Lagrange elements. ``S`` holds its components, and
    ``S``, ``Q``, ``Q1``, ... are a multigrid hierarchy as ``V``, ``V1``, ... are (``Q``, ``Q1``, ... for linear elements). The energy is
    exported as ``disc.form("energy")``, and as ``disc.form("extended_energy")`` with a finite continuation to inverted cells, see
    :func:`strain_energy`.

    Beyond a compression of about π²/3 (H/L)² a slender beam buckles to the side that E and t prefer, for neither is symmetric. There are
    then several equilibria; the solution is the one that the unloaded beam comes to when all loads are raised together from zero, in
    steps that are halved where Newton's method fails, finds an unstable equilibrium, or more than doubles the deflection. With loads of
    mean zero it is a discontinuous function of the inputs; a load with a ``mean`` tells the side.

    Args:
        cells: of the coarsest mesh along each side.
        lengths: of the sides; two or three of them.
        degree: of the elements.
        refinements: how often the mesh is refined; its levels carry the multigrid hierarchy.
        poisson_ratio: between −1 and ½.
        stiffness: E: a number, or ``median`` and the settings of the Matérn field of a log-normal one.
        load: t: a number, or the settings of a Matérn field, which may have a ``mean``.
        compression: range of the random shortening, in parts of the length.
        load_step: the largest step, in parts of the load.

    Raises:
        InputError: impossible sides, Poisson's ratio, stiffness, compression or step.
    """

    outputs = ("u",)
    dirichlet = ("left", "right")

    def __init__(
        self,
        cells: Sequence[int] = (20, 2),
        lengths: Sequence[float] = (1.0, 0.1),
        degree: int = 2,
        refinements: int = 1,
        poisson_ratio: float = 0.3,
        stiffness: float | Mapping[str, float] = 1.0,
        load: float | Mapping[str, float] = 0.0,
        compression: tuple[float, float] = (0.05, 0.15),
        load_step: float = 1 / 16,
    ):
        fd = firedrake()
        _check(poisson_ratio, stiffness, compression, load_step)
        dim = len(cells)
        # Halved squares would prefer one of the two sides to which a beam can buckle.
        meshes = box(cells, lengths, refinements, quadrilateral=dim == 2)
        self.spaces, self.transfers = lagrange_hierarchy(meshes, degree, components=dim)
        scalars, between = scalar_hierarchy(meshes, degree)
        self.spaces, self.transfers = self.spaces | scalars, self.transfers + between
        V, Q = self.spaces["V"], self.spaces["Q"]
        self.length, self.compression = float(lengths[0]), (float(compression[0]), float(compression[1]))
        self._load_step = load_step

        self._u, self._g = fd.Function(V, name="u"), fd.Function(V, name="g")
        self._t, self._random_load = number_or_field(Q, "t", load)
        self._constant_load = 0.0 if isinstance(load, Mapping) else float(load)
        if isinstance(stiffness, Mapping):
            self._E, self._random_stiffness = fd.Function(Q, name="E"), LogNormalCoefficient(Q, **stiffness)
        else:
            self._E, self._random_stiffness = fd.Constant(float(stiffness)), None
        random = {"E": self._random_stiffness, "t": self._random_load}
        self.inputs = ("g", *(name for name, field in random.items() if field))
        self.fields = {"g": "V", "u": "V"} | dict.fromkeys(self.inputs[1:], "Q")

        sides = SIDES[dim]
        work = self._t * self._u[dim - 1] * fd.ds(sides["top"])
        self.energy = strain_energy(self._u, self._E, poisson_ratio) - work
        self.forms = {
            "energy": self.energy,
            "extended_energy": strain_energy(self._u, self._E, poisson_ratio, LEAST_VOLUME) - work,
        }
        self.residual = fd.derivative(self.energy, self._u, fd.TestFunction(V))
        self._ends = {tag: V.boundary_nodes(sides[tag]) for tag in self.dirichlet}
        bc = fd.DirichletBC(V, self._g, tuple(sides[tag] for tag in self.dirichlet))
        self.nonlinear_solver = fd.NonlinearVariationalSolver(
            fd.NonlinearVariationalProblem(self.residual, self._u, bc), solver_parameters=NEWTON | CHOLESKY | _OPTIONS
        )
        self._extension = fd.Function(V)
        self._extend = harmonic_extension(self._g, self._extension, bc.sub_domain)

    def shortening(self, fraction: float) -> Any:
        """The end displacement that shortens the beam by this part of its length."""
        g = firedrake().Function(self.spaces["V"])
        g.dat.data_wo[self._ends["right"], 0] = -fraction * self.length
        return g

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        inputs = {"g": self.shortening(rng.uniform(*self.compression))}
        for name, field in (("E", self._random_stiffness), ("t", self._random_load)):
            if field:
                inputs[name] = field.sample(rng)
        return inputs

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._set_stiffness(inputs)
        self._g.assign(inputs["g"])
        self._extension.assign(0)
        solve_or_explain(self._extend, "harmonic extension")

        def equilibrium(before: float, part: float) -> None:
            self._set_loads(inputs, part)
            # The step begins with a change of the whole beam; moving the ends alone would fold the cells next to them.
            self._u += (part - before) * self._extension
            deflection = self._u.dat.data_ro[:, 1:].copy()
            self._find_equilibrium(f"at {part:g} of the load")
            change = np.abs(self._u.dat.data_ro[:, 1:] - deflection).max()
            if change > max(SMALL_DEFLECTION * self.length, np.abs(deflection).max()):
                raise DivergedError(
                    f"The deflection changes by {change:.2g} up to {part:g} of the load, perhaps to the other side."
                )

        self._u.assign(0)
        try:
            advance_in_steps(equilibrium, self._u, first=self._load_step, smallest=SMALLEST_STEP)
        finally:
            if "t" not in self.inputs:
                self._t.assign(self._constant_load)
        return {"u": self._u.copy(deepcopy=True)}

    def solve_from(self, inputs: Mapping[str, Any], guess: Mapping[str, Any]) -> dict[str, Any]:
        """The stable equilibrium that Newton's method finds at full load from a guess, without continuation."""
        self._set_stiffness(inputs)
        self._set_loads(inputs)
        self._u.assign(guess["u"])
        self._find_equilibrium("from the guess")
        return {"u": self._u.copy(deepcopy=True)}

    def _set_stiffness(self, inputs: Mapping[str, Any]) -> None:
        if "E" in self.inputs:
            require_positive(inputs["E"], "E")
            self._E.assign(inputs["E"])

    def _set_loads(self, inputs: Mapping[str, Any], part: float = 1.0) -> None:
        self._g.assign(part * inputs["g"])
        self._t.assign(part * (inputs["t"] if "t" in self.inputs else self._constant_load))

    def _find_equilibrium(self, where: str) -> None:
        solve_or_explain(self.nonlinear_solver, "hyperelastic")
        if unstable := self.unstable_modes():
            perfect = self.inputs == ("g",) and not self._constant_load
            hint = " A perfect beam cannot choose the side to which it buckles: give it a load." if perfect else ""
            raise DivergedError(f"The equilibrium found {where} is unstable in {unstable} modes.{hint}")

    def unstable_modes(self) -> int:
        """Negative eigenvalues of the stiffness at the last equilibrium, counted by the pivots of its factors (Sylvester's law)."""
        negative, _, _ = self.nonlinear_solver.snes.ksp.pc.getFactorMatrix().getInertia()
        return negative


def strain_energy(u: Any, E: Any, poisson_ratio: float, least_volume: float | None = None) -> Any:
    """∫ μ/2 (tr FᵀF − d − 2 ln J) + λ/2 (ln J)² with the Lamé parameters of Young's modulus E.

    Args:
        least_volume: below this J, ln J is continued by its Taylor polynomial of second order. The energy is then finite for every u,
            large where cells are inverted, and the same where J is larger everywhere: what an optimiser can start anywhere from.
    """
    fd = firedrake()
    mu = E / (2 * (1 + poisson_ratio))
    lmbda = E * poisson_ratio / ((1 + poisson_ratio) * (1 - 2 * poisson_ratio))
    d = u.ufl_shape[0]
    F = fd.Identity(d) + fd.grad(u)
    J = fd.det(F)
    if least_volume is None:
        ln_J = fd.ln(J)
    else:
        kept = fd.max_value(J, least_volume)
        below = (J - kept) / least_volume
        ln_J = fd.ln(kept) + below - below**2 / 2
    return (mu / 2 * (fd.inner(F, F) - d - 2 * ln_J) + lmbda / 2 * ln_J**2) * fd.dx(degree=QUADRATURE_DEGREE)


def scalar_hierarchy(meshes: list[Any], degree: int) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """``S`` of the given degree, ``Q`` linear on the finest mesh, ``Q1``, ``Q2``, ... linear on the coarser ones, and their transfers."""
    spaces, transfers = lagrange_hierarchy(meshes, degree)
    names = ["S"] * (degree > 1) + ["Q", *(f"Q{level}" for level in range(1, len(meshes)))]
    renamed = dict(zip(spaces, names, strict=True))
    return {renamed[name]: V for name, V in spaces.items()}, [(renamed[a], renamed[b]) for a, b in transfers]


def harmonic_extension(g: Any, w: Any, tags: Sequence[int]) -> Any:
    """A solver for Δw = 0 with w = g on tagged boundary parts."""
    fd = firedrake()
    V = w.function_space()
    u, v = fd.TrialFunction(V), fd.TestFunction(V)
    zero = fd.inner(fd.Constant((0,) * len(g)), v) * fd.dx
    a = fd.inner(fd.grad(u), fd.grad(v)) * fd.dx
    equation = fd.LinearVariationalProblem(a, zero, w, bcs=fd.DirichletBC(V, g, tags), constant_jacobian=True)
    return fd.LinearVariationalSolver(equation, solver_parameters=CHOLESKY)


def _check(poisson_ratio: float, stiffness: float | Mapping[str, float], compression: Sequence[float], load_step: float) -> None:
    if not -1 < poisson_ratio < 0.5:
        raise InputError(f"Poisson's ratio is between −1 and ½, not {poisson_ratio:g}.")
    if not isinstance(stiffness, Mapping) and stiffness <= 0:
        raise InputError(f"Young's modulus must be positive, not {stiffness:g}.")
    if not compression[0] <= compression[1] < 1:
        raise InputError(f"The beam is compressed by a range of parts of its length below 1, not by {tuple(compression)}.")
    if not 0 < load_step <= 1:
        raise InputError(f"The largest load step is a part of the load, above 0 and at most 1, not {load_step:g}.")
