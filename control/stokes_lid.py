"""Stokes flow steered to a wanted velocity by the lid of its container, a linear-quadratic problem whose optimum is known."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..fem import export
from ..fem.assembly import csr
from ..fem.firedrake import firedrake
from ..solvers.navier_stokes import LU
from .case import ControlCase, Panels, TrainedOperator, Values
from .controls import Control
from .firedrake_functional import FiredrakeFunctional
from .functional import ReducedFunctional
from .parametrized_functional import ParametrizedFunctional
from .torch_functional import TorchFunctional


class StokesLid(ControlCase):
    """min ½‖u(g) − u_d‖² + α/2 ‖g‖²_Γ over the tangential velocity g of the unit square's lid Γ; u(g) is the Stokes flow that it drives.

    u_d = (sin²πx sin 2πy, −sin 2πx sin²πy). The control "g" has the dofs of the lid without its ends, or the coefficients of a few
    modes, for an operator is right about the lids that it has seen. One of :class:`~thalweg.solvers.SolenoidalStokes` takes the solver's
    place, with its divergence-free velocity w for u.

    Args:
        cells: along each side.
        alpha: α.
        modes: g = Σ_k g_k sin(kπx), k ≤ modes; None for all dofs.

    Attributes:
        V: space of the velocities; ``dofs`` are the control's in it.
        g, z: the boundary velocity, and (u, p).
        wanted: u_d in UFL.

    Raises:
        InputError: too few cells, as many modes as nodes, an alpha that is not positive.
    """

    models = ("firedrake", "operator")

    def __init__(self, cells: int = 16, alpha: float = 1e-3, modes: int | None = None):
        if cells < 2 or alpha <= 0 or (modes is not None and not 0 < modes < 2 * cells):
            raise InputError(
                f"The lid needs two cells or more, fewer modes than nodes, and a positive alpha, not {cells=}, {modes=} and {alpha=}."
            )
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
        self._along = fd.Function(self.V).interpolate(fd.as_vector([x, y])).dat.data_ro[inside, 0].copy()
        basis = np.eye(len(inside)) if modes is None else np.sin(np.pi * self._along[:, None] * np.arange(1, modes + 1))
        self._basis = torch.from_numpy(basis)
        self.shapes = {"g": (basis.shape[1],)}
        self._misfit: Callable[[Tensor], Tensor] | None = None

    def use_operator(self, trained: TrainedOperator) -> None:
        """An operator from the force ``f``, which is zero here, and the boundary velocity ``g`` to the velocity ``w`` in H(div).

        Raises:
            InputError: the operator's lid has another number of nodes.
        """
        trained.require("f", "g", "w")
        V, S = trained.space("g"), trained.space("w")
        nodes = V.boundary_nodes("top")
        nodes = nodes[(V.points[nodes, 0] > 1e-9) & (V.points[nodes, 0] < 1 - 1e-9)]
        nodes, order = nodes[V.points[nodes, 0].argsort()], torch.from_numpy(self._along.argsort())
        if len(nodes) != len(order) or not np.allclose(V.points[nodes, 0], self._along[order]):
            raise InputError(
                f"The operator's lid has {len(nodes)} nodes between its ends, that of the case {len(order)}. Set case.cells to the cells "
                "along the side of the operator's square."
            )
        wanted = S.interpolate(_wanted)
        rest = {name: torch.zeros_like(values) for name, values in trained.sample.items() if name in ("f", "g")}

        def misfit(g: Tensor) -> Tensor:
            lid = rest["g"].index_copy(1, 2 * nodes, (self._basis @ g)[None, order])
            w = trained.operator({**rest, "g": lid})["w"][0]
            return 0.5 * S.inner(w - wanted, w - wanted)

        self._misfit = misfit

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
        if model == "operator":
            return TorchFunctional(lambda m: torch.stack(self._predicted(m["g"])).sum(), controls, torch.float64)
        nodal = FiredrakeFunctional(self.objective, {"g": self.g}, [Control("g", np.zeros(len(self.dofs)))], {"g": self.dofs})
        return ParametrizedFunctional(nodal, lambda m: {"g": self._basis @ m["g"]}, controls)

    def quantities(self, values: Values, model: str) -> dict[str, float]:
        self.require(model)
        self._set(values)
        if model == "operator":
            with torch.no_grad():
                parts = self._predicted(torch.as_tensor(values["g"], dtype=torch.float64))
        else:
            parts = self._parts()
        misfit, effort = (float(part) for part in parts)
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

    def _predicted(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Misfit and effort by the operator."""
        if self._misfit is None:
            raise InputError("There is no operator to compute the flow by; give the folder of a training run by run=...")
        along = self._basis @ g
        return self._misfit(g), self.alpha / 2 * along @ self._lid_mass @ along

    @cached_property
    def _lid_mass(self) -> Tensor:
        """The mass matrix of the lid's dofs."""
        fd = firedrake()
        u, v = fd.TrialFunction(self.V), fd.TestFunction(self.V)
        return torch.from_numpy(csr(fd.assemble(fd.inner(u, v) * fd.ds(4), mat_type="aij"))[self.dofs][:, self.dofs].toarray())

    def _set(self, values: Values) -> None:
        flat = np.zeros(self.V.dof_count)
        flat[self.dofs] = self._basis.numpy() @ values["g"]
        self.g.dat.data_wo[...] = flat.reshape(-1, 2)


def _wanted(points: Tensor) -> Tensor:
    """u_d at points ``(n, 2)``."""
    x, y = torch.pi * points.double().T
    return torch.stack([x.sin() ** 2 * (2 * y).sin(), -(2 * x).sin() * y.sin() ** 2], -1)
