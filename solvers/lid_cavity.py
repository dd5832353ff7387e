"""Steady flow in a square cavity driven by its lid."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem.communicator import communicator
from ..fem.firedrake import firedrake
from .navier_stokes import LU, NEWTON_LU, constant_pressure, newton, steady_residual, taylor_hood
from .problem import Problem, markers


class LidCavity(Problem):
    """−ν Δu + (u·∇)u + ∇p = 0, ∇·u = 0 in the unit square; u = g on its boundary, where only the lid moves.

    The input is the velocity ``g`` of the boundary, zero away from the lid; its size U is also the Reynolds number, Re = U/ν. The
    outputs are the velocity ``u`` and the pressure ``p``, whose mean is zero.

    At the upper corners the lid slides along a wall at rest and the pressure is infinite; g is zero at these two nodes, and cells shrink
    towards all walls like Chebyshev points, so that the singularities stay local: with 48 cells a side at Re = 1000, the extrema on the
    centre lines agree with Botella and Peyret (Computers & Fluids 27, 1998) to three digits.

    Args:
        cells: along a side.
        viscosity: ν.
        speed: range of the lid's random speeds U.
        degree: of the velocity; the pressure has one less.

    Raises:
        InputError: too few cells, a degree below 2, a viscosity or speeds that are not positive.
    """

    inputs = ("g",)
    outputs = ("u", "p")
    dirichlet = ("left", "right", "bottom", "lid")

    def __init__(self, cells: int = 32, viscosity: float = 1e-3, speed: tuple[float, float] = (0.1, 1.0), degree: int = 2):
        if cells < 2 or degree < 2 or not viscosity > 0:
            raise InputError(
                f"A cavity needs 2 cells a side or more, degree 2 or more and a positive viscosity, not cells={cells}, "
                f"degree={degree} and viscosity={viscosity}."
            )
        if not 0 < speed[0] <= speed[1]:
            raise InputError(
                f"The lid's speeds are a range of positive numbers, drawn log-uniformly, not {speed[0]} to {speed[1]}."
            )
        fd = firedrake()
        mesh = fd.UnitSquareMesh(cells, cells, comm=communicator())
        mesh.coordinates.dat.data_wo[...] = (1 - np.cos(np.pi * mesh.coordinates.dat.data_ro)) / 2
        mesh.boundary_names = {"left": 1, "right": 2, "bottom": 3, "lid": 4}
        V, Q, Z = taylor_hood(mesh, degree)
        self.spaces, self.transfers = {"V": V, "Q": Q, "Z": Z}, []
        self.fields = {"g": "V", "u": "V", "p": "Q"}
        self.speed = (float(speed[0]), float(speed[1]))

        self._g, self._z = fd.Function(V, name="g"), fd.Function(Z, name="z")
        self._viscosity = fd.Constant(viscosity, name="viscosity")
        self.residual = steady_residual(self._z, self._viscosity)
        bc = fd.DirichletBC(Z.sub(0), self._g, "on_boundary")
        self._solver = fd.NonlinearVariationalSolver(
            fd.NonlinearVariationalProblem(self.residual, self._z, bc),
            nullspace=constant_pressure(Z),
            solver_parameters=NEWTON_LU,
        )
        self._stream_function = _stream_function_solver(mesh, degree, self._z)

        along = fd.Function(self._stream_function[0].function_space()).interpolate(fd.SpatialCoordinate(mesh)[0])
        lid = V.boundary_nodes(markers(mesh, ["lid"]))
        x = along.dat.data_ro[lid]
        inside = (x > 1e-12) & (x < 1 - 1e-12)
        self._lid, self._x = lid[inside], x[inside]

    def lid(self, speed: Callable[[np.ndarray], np.ndarray] | float) -> Any:
        """The field g of a lid that slides at this speed, a number or a function of x."""
        g = firedrake().Function(self.spaces["V"])
        g.dat.data_wo[self._lid, 0] = speed(self._x) if callable(speed) else speed
        return g

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        """A lid of log-uniform speed, along which three random sine modes vary it by about a third."""
        speed = np.exp(rng.uniform(*np.log(self.speed)))
        modes = 0.3 * rng.standard_normal(3) / np.arange(1, 4)
        return {"g": self.lid(lambda x: speed * (1 + sum(a * np.sin((k + 1) * np.pi * x) for k, a in enumerate(modes))))}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._g.assign(inputs["g"])
        newton(self._solver, self._z, self._viscosity, "cavity")
        u, p = (part.copy(deepcopy=True) for part in self._z.subfunctions)
        fd = firedrake()
        p.assign(p - fd.assemble(p * fd.dx))
        return {"u": u, "p": p}

    def stream_function(self, outputs: Mapping[str, Any]) -> Any:
        """ψ with u = (∂ψ/∂y, −∂ψ/∂x) and ψ = 0 on the boundary, of the velocity's degree."""
        psi, solver = self._stream_function
        self._z.subfunctions[0].assign(outputs["u"])
        solver.solve()
        return psi.copy(deepcopy=True)


def _stream_function_solver(mesh: Any, degree: int, z: Any) -> tuple[Any, Any]:
    """∇ψ·∇φ = (u₁, −u₂)·(∂φ/∂y, ∂φ/∂x) for all φ: the curl is taken of φ, because u has no smooth one at the corners."""
    fd = firedrake()
    S = fd.FunctionSpace(mesh, "CG", degree)
    psi, trial, phi = fd.Function(S), fd.TrialFunction(S), fd.TestFunction(S)
    u, _ = fd.split(z)
    right = (u[0] * fd.Dx(phi, 1) - u[1] * fd.Dx(phi, 0)) * fd.dx
    problem = fd.LinearVariationalProblem(
        fd.inner(fd.grad(trial), fd.grad(phi)) * fd.dx, right, psi, fd.DirichletBC(S, 0, "on_boundary"), constant_jacobian=True
    )
    return psi, fd.LinearVariationalSolver(problem, solver_parameters=LU)
