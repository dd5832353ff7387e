"""One step of an incompressible flow on a staggered grid: three explicit stages, or three with implicit viscosity.

Each stage ends with a projection. States are the components of the velocity, followed by the pressure where viscosity is implicit.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import sqrt
from typing import Protocol

import torch
from torch import Tensor

from ...errors import DivergedError
from .faces import Faces, Velocity
from .fast_diagonalization import FastDiagonalization, PeriodicAxis
from .ghosts import free_faces, normal_laplacian, tangential_laplacian
from .momentum import MomentumFluxes
from .pressure import SelfAdjointSolver
from .projection import Projection
from .rollouts import State
from .sides import Kinds, Periodic, kinds_of

#: What acts besides fluxes and pressure: rates of each component, broadcasting to its faces.
Force = Sequence[Tensor] | None


class Discretization(Protocol):
    """The parts of a flow that its steps are made of; see :class:`StaggeredFlow`."""

    cells: tuple[int, ...]
    spacings: tuple[float, ...]
    viscosity: float | Tensor
    fluxes: MomentumFluxes
    projection: Projection
    faces: Faces
    tolerance: float
    max_iterations: int

    def rate(self, velocity: Velocity, force: Force = None) -> Velocity: ...


class ExplicitStep:
    """The third-order Runge-Kutta scheme of Shu and Osher (J. Comput. Phys. 77, 1988), convex combinations of three Euler steps."""

    #: The part of the new stage in each combination.
    STAGES = (1.0, 1 / 4, 2 / 3)
    #: Stability on the imaginary axis (convection) and on the negative real one (diffusion).
    CONVECTION, DIFFUSION = sqrt(3), 2.51

    def __init__(self, flow: Discretization, dt: float):
        self._flow, self._dt = flow, dt
        stiffness = float(torch.as_tensor(flow.viscosity).detach().max()) * sum(4 / h**2 for h in flow.spacings)
        if dt * stiffness > self.DIFFUSION:
            raise DivergedError(
                f"Steps of {dt:.3g} are too long for the explicit viscosity, which is stable up to {self.DIFFUSION / stiffness:.3g}. Use a "
                "smaller dt or implicit_viscosity."
            )

    @staticmethod
    def start(flow: Discretization, velocity: Velocity, force: Force = None) -> State:
        """The velocity is all there is to a state."""
        return velocity

    def __call__(self, state: State, force: Force = None) -> State:
        stage = state
        for new in self.STAGES:
            rate = self._flow.rate(stage, force)
            if new == 1:
                mixed = tuple(torch.add(w, k, alpha=self._dt) for w, k in zip(stage, rate, strict=True))
            else:
                mixed = tuple(
                    torch.lerp(w0, torch.add(w, k, alpha=self._dt), new) for w0, w, k in zip(state, stage, rate, strict=True)
                )
            stage = self._flow.projection(mixed)
        return stage


class ImplicitViscosityStep:
    """Crank-Nicolson for viscosity in each of the three stages of a third-order scheme for convection, with the pressure carried on.

    (Spalart, Moser and Rogers, J. Comput. Phys. 96, 1991; the coefficients are those of Le and Moin, J. Comput. Phys. 92, 1991.) Second
    order in time. The velocity solves (1 − ανΔ)δ = ... directly in a box, and around obstacles by conjugate gradients preconditioned so.
    """

    #: Weights of the new and the last rate; viscosity acts over their sum.
    STAGES = ((8 / 15, 0.0), (5 / 12, -17 / 60), (3 / 4, -5 / 12))
    CONVECTION = sqrt(3)

    def __init__(self, flow: Discretization, dt: float):
        self._flow, self._dt = flow, dt
        like, kinds = flow.faces.open[0], kinds_of(flow.projection.sides)
        box = [component_laplacian(flow.cells, flow.spacings, kinds, i, like.dtype, like.device) for i in range(len(flow.cells))]
        self._solvers = [[_helmholtz(flow, box[i], i, dt * (a + b) / 2) for i in range(len(box))] for a, b in self.STAGES]

    @staticmethod
    def start(flow: Discretization, velocity: Velocity, force: Force = None) -> State:
        """With the pressure that balances the rate of the initial velocity."""
        return *velocity, flow.projection.potential(flow.rate(velocity, force))

    def __call__(self, state: State, force: Force = None) -> State:
        flow, projection = self._flow, self._flow.projection
        velocity, p = state[:-1], state[-1]
        last: Velocity = ()
        for (new, old), solvers in zip(self.STAGES, self._solvers, strict=True):
            length = self._dt * (new + old)
            viscous = flow.fluxes(velocity, convection=False)
            rate = tuple(k - v * o for k, v, o in zip(flow.rate(velocity, force), viscous, flow.faces.open, strict=True))
            pushed = projection.gradient(p)
            advanced = []
            for i, (w, k, v, g, o) in enumerate(zip(velocity, rate, viscous, pushed, flow.faces.open, strict=True)):
                explicit = self._dt * new * k + (self._dt * old * last[i] if last else 0.0)
                advanced.append(w + solvers[i](o * (explicit + length * v) - length * g))
            velocity = tuple(advanced)
            phi = projection.potential(velocity)
            velocity = projection.corrected(velocity, phi)
            p = p + phi / length
            last = rate
        return *velocity, p


@lru_cache(maxsize=48)
def component_laplacian(
    cells: tuple[int, ...], spacings: tuple[float, ...], kinds: Kinds, component: int, dtype: torch.dtype, device: torch.device
) -> FastDiagonalization:
    """−Δ of one component in the box without obstacles, at the faces that no wall holds; kept from flow to flow."""
    axes: list[PeriodicAxis | Tensor] = []
    for j, (n, h, pair) in enumerate(zip(cells, spacings, kinds, strict=True)):
        if pair[0] is Periodic:
            axes.append(PeriodicAxis(n, h))
        else:
            laplacian = normal_laplacian if j == component else tangential_laplacian
            axes.append(laplacian(n, h, [kind() for kind in pair]))
    with torch.inference_mode(False):
        return FastDiagonalization(axes, dtype, device)


def _helmholtz(flow: Discretization, box: FastDiagonalization, component: int, alpha: float) -> Callable[[Tensor], Tensor]:
    """(1 − ανΔ)⁻¹ of one component on the faces that move freely, zero at the others."""
    open_, pair, dim = flow.faces.open[component], flow.projection.sides[component], len(flow.cells)
    axis, n = component - dim, flow.cells[component]
    free = free_faces(n, pair)
    values = box.tabulated(lambda A: 1 / (1 + alpha * torch.as_tensor(flow.viscosity).to(A) * A), open_.dtype)

    def cut(x: Tensor) -> Tensor:
        return x.narrow(axis, free.start, free.stop - free.start)

    def extended(x: Tensor) -> Tensor:
        if isinstance(pair[0], Periodic):
            return torch.cat([x, x.narrow(axis, 0, 1)], axis)
        return torch.nn.functional.pad(x, [0, 0] * (dim - 1 - component) + [free.start, n + 1 - free.stop])

    active = cut(open_)
    others = [torch.zeros_like(o) for o in flow.faces.open]

    def A(x: Tensor) -> Tensor:
        x = active * x
        still = tuple(extended(x) if i == component else o.expand(len(x), *o.shape[1:]) for i, o in enumerate(others))
        return x - alpha * active * cut(flow.fluxes(still, convection=False, walls_at_rest=True)[component])

    solve = SelfAdjointSolver(
        lambda r: box(r, values),
        A,
        active if flow.faces.solid is not None else None,
        singular=False,
        tolerance=flow.tolerance,
        max_iterations=flow.max_iterations,
    )
    return lambda r: extended(solve(cut(r)))
