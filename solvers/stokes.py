"""Creeping flow in a closed container, driven by a random body force and a moving lid."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem.firedrake import firedrake
from .direct import LU
from .domains import domain
from .problem import Problem, markers, solve_or_explain
from .quantities import require_positive
from .random_field import MaternField

#: Part of the boundary flow by which a velocity may fail to conserve mass, by interpolation.
LEAK = 1e-2


class Stokes(Problem):
    """−ν Δu + ∇p = f, ∇·u = 0, u = g on the whole boundary, ∫p = 0, in two dimensions.

    Inputs are the body force ``f`` and the boundary velocity ``g``, a field that is zero inside; outputs are the velocity ``u``
    (quadratic) and the pressure ``p`` (linear), Taylor-Hood elements. The residual is one of the mixed function ``z = (u, p)``. Random
    forces have independent Matérn fields as components. Random lids move in their own plane with the profile 16 s²(1 − s)² and two random
    modes, so that the velocity is continuous at their ends; the other parts do not move. For control, where an operator has to answer for
    whatever lid an optimiser tries, there are lids of more ``modes``.

    Args:
        mesh: cells along each side of the unit square, a mesh file, or a Firedrake mesh.
        lid: tag of the straight boundary part that moves.
        viscosity: ν.
        speed: range of the random peaks of the lid's velocity.
        force: ``length``, ``smoothness`` and ``deviation`` of the components of the random f (see :class:`MaternField`).
        refinements: how often the mesh is refined.
        modes: lids are Σ_k ξ_k sin(kπs)/√k, k ≤ modes, with normal ξ_k of the deviation ``speed[1]`` instead; 0 for those above.

    Raises:
        InputError: an unknown tag, a lid that is not straight, a viscosity that is not positive, another dimension.
    """

    inputs = ("f", "g")
    outputs: tuple[str, ...] = ("u", "p")
    dirichlet = ("on_boundary",)

    def __init__(
        self,
        mesh: Any = 32,
        lid: str = "top",
        viscosity: float = 1.0,
        speed: tuple[float, float] = (0.5, 1.5),
        force: Mapping[str, float] | None = None,
        refinements: int = 0,
        modes: int = 0,
    ):
        fd = firedrake()
        require_positive(viscosity=viscosity)
        self.meshes = domain(mesh, refinements)
        finest = self.meshes[-1]
        if finest.geometric_dimension != 2:
            raise InputError(
                f"The mesh has {finest.geometric_dimension} dimensions; the lid-driven container is two-dimensional."
            )
        V, Q = fd.VectorFunctionSpace(finest, "CG", 2), fd.FunctionSpace(finest, "CG", 1)
        Z = V * Q
        self.spaces, self.transfers = {"V": V, "Q": Q, "Z": Z}, []
        self.fields = {"f": "V", "g": "V", "u": "V", "p": "Q"}
        self.speed, self.modes = (float(speed[0]), float(speed[1])), modes

        self._f, self._g, self._z = fd.Function(V, name="f"), fd.Function(V, name="g"), fd.Function(Z, name="z")
        (u, p), (v, q) = fd.TrialFunctions(Z), fd.TestFunctions(Z)
        a, L = stokes_form(u, p, v, q, viscosity), fd.inner(self._f, v) * fd.dx
        self.residual = fd.action(a, self._z) - L
        bc = fd.DirichletBC(Z.sub(0), self._g, "on_boundary")
        constants = fd.MixedVectorSpaceBasis(Z, [Z.sub(0), fd.VectorSpaceBasis(constant=True, comm=finest.comm)])
        self._solver = fd.LinearVariationalSolver(
            fd.LinearVariationalProblem(a, L, self._z, bcs=bc, constant_jacobian=True),
            nullspace=constants,
            transpose_nullspace=constants,
            # MUMPS looks for the pivot that the constant pressure makes zero.
            solver_parameters=LU | {"mat_mumps_icntl_24": 1},
        )
        n = fd.FacetNormal(finest)
        self._outflow, self._throughput = fd.dot(self._g, n) * fd.ds, abs(fd.dot(self._g, n)) * fd.ds
        self._volume = fd.assemble(fd.Constant(1.0) * fd.dx(domain=finest))
        self._force = MaternField(V.sub(0).collapse(), **(force or {"length": 0.3, "deviation": 50.0}))
        self._lid, self._direction, self._place = _straight_part(V, lid)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        fd = firedrake()
        f, g = fd.Function(self.spaces["V"]), fd.Function(self.spaces["V"])
        for component in range(2):
            f.dat.data_wo[:, component] = self._force.sample(rng).dat.data_ro
        g.dat.data_wo[self._lid] = self._random_profile(rng)[:, None] * self._direction
        return {"f": f, "g": g}

    def _random_profile(self, rng: np.random.Generator) -> np.ndarray:
        """The velocity of a lid along itself, at its nodes."""
        s = self._place
        if self.modes:
            k = np.arange(1, self.modes + 1)
            return np.sin(np.pi * s[:, None] * k) @ (self.speed[1] * rng.standard_normal(self.modes) / np.sqrt(k))
        peak = rng.uniform(*self.speed)
        first, second = 0.2 * peak * rng.standard_normal(2)
        return 16 * s**2 * (1 - s) ** 2 * (peak + first * np.sin(2 * np.pi * s) + second * np.cos(2 * np.pi * s))

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        fd = firedrake()
        self._f.assign(inputs["f"])
        self._g.assign(inputs["g"])
        outflow, throughput = fd.assemble(self._outflow), fd.assemble(self._throughput)
        # Along the boundary, what crosses it is the rounding of its normal.
        if abs(outflow) > LEAK * throughput + 1e-12 * float(np.abs(inputs["g"].dat.data_ro).max(initial=0)):
            raise InputError(
                f"The boundary velocity g lets {outflow:.3g} more flow out than in, of {throughput:.3g} in both directions. An "
                "incompressible flow in a closed container needs equal amounts."
            )
        self._z.assign(0)  # so that the last solution leaves no rounding errors in this one
        solve_or_explain(self._solver, "Stokes")
        u, p = (part.copy(deepcopy=True) for part in self._z.subfunctions)
        p -= fd.assemble(p * fd.dx) / self._volume
        return {"u": u, "p": p}


def stokes_form(u: Any, p: Any, v: Any, q: Any, viscosity: float) -> Any:
    """The bilinear form ∫ ν ∇u : ∇v − p ∇·v − q ∇·u."""
    fd = firedrake()
    return (viscosity * fd.inner(fd.grad(u), fd.grad(v)) - p * fd.div(v) - q * fd.div(u)) * fd.dx


def _straight_part(V: Any, tag: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes of a straight boundary part, the unit vector along it, and where on it the nodes are, from 0 to 1."""
    from .spectral_field import node_points

    nodes = V.boundary_nodes(markers(V.mesh(), [tag]))
    points = node_points(V)[nodes]
    offset = points - points.mean(0)
    _, (_, width), (direction, _) = np.linalg.svd(offset, full_matrices=False)
    if width > 1e-8 * np.abs(offset).max():
        raise InputError(f"The lid {tag!r} is not straight; choose a straight boundary part.")
    direction = direction * np.sign(direction[np.abs(direction).argmax()])
    place = offset @ direction
    return nodes, direction, (place - place.min()) / np.ptp(place)
