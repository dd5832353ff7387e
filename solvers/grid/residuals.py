"""One-step schemes of flows as residuals of two consecutive frames, and the reference solution that makes them zero."""

from collections.abc import Callable
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from ...errors import DivergedError, InputError
from .faces import Faces, Velocity, faces
from .ghosts import pressure_with_ghosts
from .momentum import MomentumFluxes
from .potentials import curl, surrounded
from .projection import Projection
from .sides import Periodic
from .staggered import StaggeredFlow
from .vorticity import VorticityEquation

#: Where the rate is taken between the two frames of a step: at the first (forward Euler), in the middle, at the second (backward Euler).
SCHEMES = {"explicit": 0.0, "midpoint": 0.5, "implicit": 1.0}

Pressure = Literal["curl", "projection", "field"]


class VorticityResidual(nn.Module):
    """R = ω′ − ω − Δt F((1 − θ)ω + θω′) for the rate F of a :class:`VorticityEquation`, in units of vorticity.

    Of ω the modes within two thirds of the Nyquist frequency count, as in the solver; so R is zero only for an ω′ without others.

    Args:
        equation: the discrete equation.
        dt: Δt between the frames.
        scheme: ``"explicit"``, ``"midpoint"`` (of second order; the good value) or ``"implicit"``.

    Raises:
        InputError: an unknown scheme, a Δt that is not positive.
    """

    kept: Tensor

    def __init__(self, equation: VorticityEquation, dt: float, scheme: str = "midpoint"):
        super().__init__()
        self.theta = _theta(scheme, dt)
        self.equation, self.dt = equation, dt
        nx, ny = equation.shape
        mx = torch.fft.fftfreq(nx, 1 / nx).round()[:, None]
        my = torch.arange(ny // 2 + 1.0)
        kept = (3 * mx.abs() < nx) & (3 * my < ny) & (mx.abs() + my > 0)
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, before: Tensor, after: Tensor, forcing: Tensor | None = None) -> Tensor:
        """R ``(batch, 1, x, y)`` of vorticities ``(batch, 1, x, y)``; ``forcing`` acts in addition to the equation's own.

        Raises:
            InputError: a wrong shape or dtype.
        """
        rate = self.equation.rate(
            torch.lerp(before, after, self.theta) if 0 < self.theta < 1 else (before, after)[round(self.theta)]
        )
        known = before if forcing is None else before + self.dt * forcing
        return after - self._resolved(known) - self.dt * rate

    @torch.no_grad()
    def step(
        self, before: Tensor, forcing: Tensor | None = None, tolerance: float | None = None, max_iterations: int = 200
    ) -> Tensor:
        """The vorticity that makes the residual zero, by fixed-point iteration.

        Raises:
            DivergedError: it was not found, because Δt is longer than half a cell or so a step.
        """
        return _fixed_point(
            lambda after: (after[0] - self(before, after[0], forcing),), (self._resolved(before),), tolerance, max_iterations
        )[0]

    def _resolved(self, w: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(w) * self.kept, s=self.equation.shape)


class StaggeredResidual:
    """R = u′ − u − Δt (F((1 − θ)u + θu′) − ∇p) at the faces that move, for the rate F of a :class:`StaggeredFlow`, in units of velocity.

    The pressure, which makes u′ solenoidal, is left out in one of three ways. The ``"curl"`` of R does not contain it: R is returned as
    h curl R at the vertices (2D) or edges (3D) with four moving faces, h the smallest spacing: the residual of the vorticity equation,
    on walls with Thom's formula (Proc. R. Soc. A 141, 1933). It is local and cheap, but sees neither a mean velocity nor the circulation
    around an obstacle, which is not determined where its stream function is free, and it weighs short waves most. A ``"projection"`` takes
    ∇p out by the flow's own solver, R = u′ − P(u + Δt F), and weighs all waves alike: the good choice where there are no
    obstacles. As a ``"field"`` the pressure p at the centres is given, learned with the velocity as Wandel, Weinmann and Klein do (ICLR
    2021, arXiv 2006.08762).

    Args:
        flow: the discrete equations in two or three dimensions.
        dt: Δt between the frames.
        scheme: see :class:`VorticityResidual`.
        pressure: how it is dealt with.
        held: the frames have the right velocities at the sides of the box, because their potential is held there, and these count
            instead of the flow's own: an inflow may differ from sample to sample.

    Raises:
        InputError: an unknown scheme or treatment, a Δt that is not positive.
    """

    def __init__(self, flow: StaggeredFlow, dt: float, scheme: str = "midpoint", pressure: Pressure = "curl", held: bool = False):
        self.theta, self.held = _theta(scheme, dt), held
        if pressure not in get_args(Pressure):
            raise InputError(f"The pressure's treatment is one of {', '.join(get_args(Pressure))}, not {pressure!r}.")
        self.flow, self.dt = flow, dt
        self.pressure: Pressure = pressure
        self.periodic = tuple(isinstance(pair[0], Periodic) for pair in flow.sides)
        self._scheme = scheme
        self._elsewhere: dict[torch.device, StaggeredResidual] = {}

    def on(self, device: torch.device) -> "StaggeredResidual":
        """The same residual with its flow on the device of the fields, made when it is first asked for."""
        if device == self.flow.device:
            return self
        if device not in self._elsewhere:
            flow = self.flow.on(device)
            self._elsewhere[device] = StaggeredResidual(flow, self.dt, self._scheme, self.pressure, self.held)
        return self._elsewhere[device]

    def faces(self, after: Velocity, solid: Tensor | None = None, velocity: Velocity | None = None) -> Faces:
        """Which faces move and the velocity of the others, with the flow's obstacles or with others, see :meth:`__call__`."""
        flow = self.flow
        around = flow.faces if solid is None else faces(flow.cells, flow.sides, solid > 0.5, velocity, flow.faces.open[0])
        if not self.held:
            return around
        inside = around.solid or (0.0,) * len(after)
        at_sides = [(1 - o) * (1 - torch.as_tensor(s).to(o)) for o, s in zip(around.open, inside, strict=True)]
        values = [torch.lerp(v, w.detach(), m) for v, w, m in zip(around.prescribed, after, at_sides, strict=True)]
        return Faces(around.open, tuple(values), around.solid)

    def __call__(
        self,
        before: Velocity,
        after: Velocity,
        pressure: Tensor | None = None,
        solid: Tensor | None = None,
        solid_velocity: Velocity | None = None,
    ) -> Velocity:
        """R for velocities ``(batch, 1, faces)`` of two frames.

        Args:
            pressure: at the centres, ``(batch, 1, x, y[, z])``, where it is a field.
            solid: obstacles of each sample at the later frame instead of the flow's own, 1 in their cells, ``(batch, 1, x, y[, z])``.
            solid_velocity: of their faces, which broadcasts to them; at rest by default.

        Raises:
            InputError: a pressure where none is used, or none where it is.
        """
        if (pressure is not None) != (self.pressure == "field"):
            raise InputError(
                f"The pressure's treatment is {self.pressure!r}, but {'a' if pressure is not None else 'no'} pressure was given."
            )
        flow = self.flow
        around = self.faces(after, solid, solid_velocity)
        target = self._target(before, after, None if solid is None else around)
        if self.pressure == "projection":
            return _difference(after, self._projection(around, solid)(target))
        R = _difference(after, target)
        if pressure is not None:
            return tuple((r + self.dt * g) * m for r, g, m in zip(R, self._gradient(pressure), around.open, strict=True))
        h = min(flow.spacings)
        rotation = curl(R, flow.spacings, self.periodic)
        return tuple(h * w * m for w, m in zip(rotation, surrounded(around.open, self.periodic), strict=True))

    @torch.no_grad()
    def step(self, before: Velocity, tolerance: float | None = None, max_iterations: int = 200) -> Velocity:
        """The velocity that makes the residual zero, by fixed-point iteration with a projection each.

        Raises:
            DivergedError: it was not found, because Δt is longer than half a cell or 0.2 h²/ν or so a step.
        """
        return _fixed_point(lambda after: self.flow.project(self._target(before, after)), before, tolerance, max_iterations)

    def _target(self, before: Velocity, after: Velocity, around: Faces | None = None) -> Velocity:
        """u + Δt F, without the pressure."""
        between = tuple(torch.lerp(a, b, self.theta) for a, b in zip(before, after, strict=True))
        rates = self.flow.rate(between) if around is None else self._rate_around(around, between)
        return tuple(u + self.dt * F for u, F in zip(before, rates, strict=True))

    def _rate_around(self, around: Faces, velocity: Velocity) -> Velocity:
        flow = self.flow
        fluxes = MomentumFluxes(flow.cells, flow.spacings, flow.sides, flow.viscosity, around.solid, velocity[0])
        rates = fluxes(velocity)
        if flow.force is not None:
            rates = [k + f.to(k) for k, f in zip(rates, flow.force, strict=True)]
        return tuple(k * m for k, m in zip(rates, around.open, strict=True))

    def _gradient(self, p: Tensor) -> Velocity:
        dim = len(self.flow.spacings)
        return tuple(
            pressure_with_ghosts(p, axis - dim, *pair).diff(dim=axis - dim) / h
            for axis, (pair, h) in enumerate(zip(self.flow.sides, self.flow.spacings, strict=True))
        )

    def _projection(self, around: Faces, solid: Tensor | None) -> Projection:
        flow = self.flow
        if around is flow.faces:
            return flow.projection
        cells = flow.solid if solid is None else solid > 0.5
        return Projection(flow.cells, flow.spacings, flow.sides, around, cells, flow.tolerance, flow.max_iterations)


class HasFlow(Protocol):
    """A problem whose reference solver is a :class:`StaggeredFlow`, such as the lid-driven cavity."""

    def flow(self) -> StaggeredFlow: ...


def residual_of(
    problem: HasFlow, dt: float, scheme: str = "midpoint", pressure: Pressure = "curl", held: bool = False
) -> StaggeredResidual:
    """The residual of a problem's flow, from a configuration; a loss takes it to the device of its fields."""
    return StaggeredResidual(problem.flow(), dt, scheme, pressure, held)


def _difference(a: Velocity, b: Velocity) -> Velocity:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _theta(scheme: str, dt: float) -> float:
    if scheme not in SCHEMES:
        raise InputError(f"Unknown scheme {scheme!r}; choose {', '.join(SCHEMES)}.")
    if not dt > 0:
        raise InputError(f"The time between frames must be positive, not {dt}.")
    return SCHEMES[scheme]


def _fixed_point(
    advance: Callable[[Velocity], Velocity], start: Velocity, tolerance: float | None, max_iterations: int
) -> Velocity:
    """x = advance(x), until the largest change is below the tolerance times the largest value."""
    if tolerance is None:
        tolerance = 1e-12 if start[0].dtype == torch.float64 else 1e-6
    x = start
    for _ in range(max_iterations):
        following = advance(x)
        change = max(float((a - b).abs().max()) for a, b in zip(following, x, strict=True))
        x = following
        if change <= tolerance * max(float(a.abs().max()) for a in x):
            return x
    raise DivergedError(f"The step was not found in {max_iterations} iterations. Use a smaller dt, or the explicit scheme.")
