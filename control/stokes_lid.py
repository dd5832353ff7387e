"""Stokes flow steered to a wanted velocity by the lid of its container, a linear-quadratic problem whose optimum is known."""

from typing import Any

import numpy as np

from ..errors import InputError
from ..fem import export
from ..fem.firedrake import firedrake
from ..solvers.navier_stokes import LU
from .case import ControlCase, Panels, Values
from .controls import Control
from .firedrake_functional import FiredrakeFunctional
from .functional import ReducedFunctional


class StokesLid(ControlCase):
    """min ½‖u(g) − u_d‖² + α/2 ‖g‖²_Γ over the tangential velocity g of the unit square's lid Γ; u(g) is the Stokes flow that it drives.

    u_d = (sin²πx sin 2πy, −sin 2πx sin²πy). The control "g" has the dofs of the lid without its ends.

    Args:
        cells: along each side.
        alpha: α.

    Attributes:
        V: space of the velocities; ``dofs`` are the control's in it.
        g, z: the boundary velocity, and (u, p).
        wanted: u_d in UFL.
    """

    models = ("firedrake",)

    def __init__(self, cells: int = 16, alpha: float = 1e-3):
        if cells < 2 or alpha <= 0:
            raise InputError(f"The lid needs two cells or more and a positive alpha, not cells={cells} and alpha={alpha}.")
        fd = firedrake()
        mesh = fd.UnitSquareMesh(cells, cells)
        self.V, Q = fd.VectorFunctionSpace(mesh, "CG", 2), fd.FunctionSpace(mesh, "CG", 1)
        Z = self.V * Q
        self.alpha, self.g, self.z = alpha, fd.Function(self.V, name="g"), fd.Function(Z)
        (u, p), (v, q) = fd.TrialFunctions(Z), fd.TestFunctions(Z)
        self._a = (fd.inner(fd.grad(u), fd.grad(v)) - p * fd.div(v) - q * fd.div(u)) * fd.dx
        self._L = fd.inner(fd.Constant((0, 0)), v) * fd.dx
        self._bcs = [fd.DirichletBC(Z.sub(0), self.g, 4), fd.DirichletBC(Z.sub(0), 0, (1, 2, 3))]
        self._nullspace = fd.MixedVectorSpaceBasis(Z, [Z.sub(0), fd.VectorSpaceBasis(constant=True, comm=mesh.comm)])
        x, y = fd.SpatialCoordinate(mesh)
        self.wanted = fd.as_vector(
            [fd.sin(np.pi * x) ** 2 * fd.sin(2 * np.pi * y), -fd.sin(2 * np.pi * x) * fd.sin(np.pi * y) ** 2]
        )
        inside = np.setdiff1d(self.V.boundary_nodes(4), self.V.boundary_nodes((1, 2)))
        self.dofs = 2 * inside  # the tangential component
        self.shapes = {"g": (len(self.dofs),)}

    def velocity(self) -> Any:
        """u for the boundary velocity in ``g``, in a way that pyadjoint can follow."""
        fd = firedrake()
        parameters = LU | {"ksp_type": "gmres"}
        fd.solve(self._a == self._L, self.z, bcs=self._bcs, nullspace=self._nullspace, solver_parameters=parameters)
        return fd.split(self.z)[0]

    def objective(self) -> Any:
        return sum(self._parts())

    def functional(self, model: str, controls: list[Control] | None = None) -> ReducedFunctional:
        self.require(model)
        controls = self.controls() if controls is None else controls
        return FiredrakeFunctional(self.objective, {"g": self.g}, controls, {"g": self.dofs})

    def quantities(self, values: Values, model: str) -> dict[str, float]:
        self._set(values)
        misfit, effort = (float(part) for part in self._parts())
        return {"objective": misfit + effort, "misfit": misfit, "effort": effort}

    def panels(self, values: Values) -> Panels:
        fd = firedrake()
        space = export({"V": self.V})["V"]
        self._set(values)
        self.velocity()
        u, wanted = self.z.subfunctions[0], fd.Function(self.V).interpolate(self.wanted)
        shown = {"wanted u": wanted, "controlled u": u}
        return {title: (space, f.dat.data_ro.ravel().copy()) for title, f in shown.items()}

    def _parts(self) -> tuple[Any, Any]:
        """Misfit and effort."""
        fd = firedrake()
        off = self.velocity() - self.wanted
        return (fd.assemble(0.5 * fd.inner(off, off) * fd.dx), fd.assemble(self.alpha / 2 * fd.inner(self.g, self.g) * fd.ds(4)))

    def _set(self, values: Values) -> None:
        flat = np.zeros(self.V.dof_count)
        flat[self.dofs] = values["g"]
        self.g.dat.data_wo[...] = flat.reshape(-1, 2)
