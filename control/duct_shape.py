"""The shape of a duct's cross-section that carries the most: shape optimisation with a known optimum."""

from collections.abc import Sequence
from math import pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DivergedError, InputError
from ..fem import export
from ..fem.firedrake import firedrake
from ..solvers.direct import LU
from .case import ControlCase, Panels, Values
from .controls import Control
from .firedrake_functional import FiredrakeFunctional
from .functional import ReducedFunctional
from .parametrized_functional import ParametrizedFunctional


class DuctShape(ControlCase):
    """min 1 − Q(Ω)/Q₀ over cross-sections Ω of area π, where Q = ∫ u is the flow rate of −Δu = 1 in Ω, u = 0 on ∂Ω.

    u is the axial velocity of a viscous fluid, scaled by the pressure gradient over the viscosity, and Q₀ = π/8 the flow rate of the disc.
    4Q is the torsional rigidity of a bar, which of all cross-sections of equal area the disc has most of (Pólya, 1948).

    Ω is the image of the unit disc under z ↦ s (z + Σ_k c_k z^k), k = 2, ..., modes + 1, with s such that the area is π. The control
    "c" holds the real and the imaginary parts of the c_k. The map is conformal, so that the mesh it moves keeps its angles; it is
    one to one if Σ k |c_k| < 1, and what goes beyond is refused.

    Args:
        modes: number of the c_k.
        refinements: of the disc's mesh of 8 triangles, whose edges are curved.
        start: the real parts of the first c_k before the optimisation.

    Raises:
        InputError: no modes, more starting values than modes, or ones whose map may fold.
    """

    models = ("firedrake",)
    one_scale = True

    def __init__(self, modes: int = 5, refinements: int = 3, start: Sequence[float] = (0.2, 0.0, 0.0, 0.08)):
        if modes < 1 or refinements < 1 or len(start) > modes:
            raise InputError(f"No duct has modes={modes}, refinements={refinements} and {len(start)} starting values.")
        self.shapes = {"c": (2, modes)}
        self._start = np.zeros((2, modes))
        self._start[0, : len(start)] = start
        self._powers = torch.arange(2, modes + 2)
        if (self._powers * torch.tensor(self._start[0]).abs()).sum() >= 1:
            raise InputError(f"The map may fold at start={list(start)}: Σ k |c_k| must stay below 1.")
        fd = firedrake()
        self.mesh, z = _disc(refinements)
        self._z = torch.from_numpy(z)
        V = fd.FunctionSpace(self.mesh, "CG", 2)
        self._x = fd.Function(self.mesh.coordinates.function_space(), name="x")
        self._u, u, v = fd.Function(V, name="u"), fd.TrialFunction(V), fd.TestFunction(V)
        self._a, self._L, self._bc = fd.inner(fd.grad(u), fd.grad(v)) * fd.dx, v * fd.dx, fd.DirichletBC(V, 0, "on_boundary")

    @property
    def uncontrolled(self) -> dict[str, np.ndarray]:
        return {"c": self._start.copy()}

    def coordinates(self, c: Tensor) -> Tensor:
        """Of the mesh's nodes in the duct, ``(nodes · 2,)``.

        Raises:
            DivergedError: the map may fold the mesh.
        """
        c = torch.complex(c[0], c[1])
        size = c.abs()
        if (self._powers * size).sum() >= 1:
            raise DivergedError("The shape may fold: Σ k |c_k| must stay below 1.")
        w = (self._z + self._z[:, None] ** self._powers @ c) / (1 + (self._powers * size**2).sum()).sqrt()
        return torch.view_as_real(w).flatten()

    def loss(self) -> Any:
        """1 − Q/Q₀ of the duct whose coordinates are in ``_x``, in a way that pyadjoint can follow."""
        fd = firedrake()
        self.mesh.coordinates.assign(self._x)
        fd.solve(self._a == self._L, self._u, bcs=self._bc, solver_parameters=LU)
        return 1 - 8 / pi * fd.assemble(self._u * fd.dx)

    def functional(self, model: str, controls: list[Control] | None = None) -> ReducedFunctional:
        self.require(model)
        return ParametrizedFunctional(
            self.functional_of_coordinates(),
            lambda m: {"x": self.coordinates(m["c"])},
            self.controls() if controls is None else controls,
        )

    def functional_of_coordinates(self) -> FiredrakeFunctional:
        """The objective as a function of the dofs "x" of the mesh's coordinates, whatever the area."""
        x = torch.view_as_real(self._z).flatten().numpy()
        return FiredrakeFunctional(self.loss, {"x": self._x}, [Control("x", x)])

    def quantities(self, values: Values, model: str) -> dict[str, float]:
        self.require(model)
        fd = firedrake()
        self._x.dat.data_wo[...] = self.coordinates(torch.from_numpy(np.asarray(values["c"]))).reshape(-1, 2)
        loss = float(self.loss())
        area, around = (fd.assemble(1.0 * measure(domain=self.mesh)) for measure in (fd.dx, fd.ds))
        return {"objective": loss, "flow rate": (1 - loss) * pi / 8, "area": area, "circumference": around}

    def panels(self, values: Values) -> Panels:
        shown = {}
        for title, m in (("uncontrolled velocity", self.uncontrolled), ("controlled velocity", values)):
            self.quantities(m, "firedrake")
            shown[title] = export({"V": self._u.function_space()})["V"], self._u.dat.data_ro.copy()
        return shown


def _disc(refinements: int) -> tuple[Any, np.ndarray]:
    """The unit disc with edges that are curved along the circle, and its nodes as complex numbers."""
    fd = firedrake()
    straight = fd.UnitDiskMesh(refinements)
    V = fd.VectorFunctionSpace(straight, "CG", 2)
    x = fd.Function(V).interpolate(fd.SpatialCoordinate(straight))
    rim = V.boundary_nodes("on_boundary")
    x.dat.data_wo[rim] /= np.linalg.norm(x.dat.data_ro[rim], axis=1, keepdims=True)
    return fd.Mesh(x), x.dat.data_ro.copy().view(np.complex128)[:, 0]
