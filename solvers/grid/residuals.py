"""One-step schemes of flows as residuals of two consecutive frames, and the reference solution that makes them zero."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from ...errors import DivergedError, InputError
from .ghosts import pressure_with_ghosts
from .potentials import Components, curl, open_faces, surrounded
from .sides import Outflow, Periodic, Side
from .vorticity import VorticityEquation

#: Where the rate is taken between the two frames of a step: at the first (forward Euler), in the middle, at the second (backward Euler).
SCHEMES = {"explicit": 0.0, "midpoint": 0.5, "implicit": 1.0}

Pressure = Literal["curl", "projection", "field"]


class StaggeredEquations(Protocol):
    """What a residual needs of a flow on a staggered grid; see :class:`StaggeredFlow`."""

    @property
    def cells(self) -> Sequence[int]: ...
    @property
    def spacings(self) -> Sequence[float]: ...
    @property
    def sides(self) -> Sequence[tuple[Side, Side]]: ...
    def rate(self, velocity: Components) -> Components: ...
    def project(self, velocity: Components) -> Components: ...
    def at_rest(self, batch: int = 1) -> Components: ...


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

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """R ``(batch, 1, x, y)`` of vorticities ``(batch, 1, x, y)``.

        Raises:
            InputError: a wrong shape or dtype.
        """
        rate = self.equation.rate(
            torch.lerp(before, after, self.theta) if 0 < self.theta < 1 else (before, after)[round(self.theta)]
        )
        return after - self._resolved(before) - self.dt * rate

    @torch.no_grad()
    def step(self, before: Tensor, tolerance: float | None = None, max_iterations: int = 200) -> Tensor:
        """The vorticity that makes the residual zero, by fixed-point iteration.

        Raises:
            DivergedError: it was not found, because Δt is longer than half a cell or so a step.
        """
        return _fixed_point(
            lambda after: (after[0] - self(before, after[0]),), (self._resolved(before),), tolerance, max_iterations
        )[0]

    def _resolved(self, w: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(w) * self.kept, s=self.equation.shape)


class StaggeredResidual:
    """R = u′ − u − Δt (F((1 − θ)u + θu′) − ∇p) at the faces that move, for the rate F of a :class:`StaggeredFlow`, in units of velocity.

    The pressure, which makes u′ solenoidal, is left out in one of three ways. The ``"curl"`` of R does not contain it: R is returned as
    h curl R at the vertices (2D) or edges (3D) with four moving faces, h the smallest spacing. It is local and cheap, but sees
    neither a mean velocity nor the circulation around an obstacle, which is not determined where its stream function is free. A ``"projection"`` takes ∇p out by the flow's own solver: R = u′ − P(u + Δt F). As a ``"field"`` the pressure p at the
    centres is given, learned with the velocity as Wandel, Weinmann and Klein do (ICLR 2021, arXiv 2006.08762).

    Args:
        flow: the discrete equations in two or three dimensions.
        dt: Δt between the frames.
        scheme: see :class:`VorticityResidual`.
        pressure: how it is dealt with.
        solid: cells of the flow's own obstacles, boolean ``(x, y[, z])``.

    Raises:
        InputError: an unknown scheme or treatment, a Δt that is not positive.
    """

    def __init__(
        self,
        flow: StaggeredEquations,
        dt: float,
        scheme: str = "midpoint",
        pressure: Pressure = "curl",
        solid: Tensor | None = None,
    ):
        self.theta = _theta(scheme, dt)
        if pressure not in get_args(Pressure):
            raise InputError(f"The pressure's treatment is one of {', '.join(get_args(Pressure))}, not {pressure!r}.")
        self.flow, self.dt, self.pressure = flow, dt, pressure
        self.periodic = tuple(isinstance(pair[0], Periodic) for pair in flow.sides)
        self._moves = self._unprescribed(solid)
        #: Prescribed velocity of the faces that do not move, one tensor a component, ``(1, 1, x, y[, z])``.
        self.prescribed = flow.at_rest()

    def moves(self, solid: Tensor | None = None) -> Components:
        """1 at faces that move freely, 0 at those of walls and of the obstacles ``solid``, ``(batch, 1, x, y[, z])``."""
        if solid is None:
            return self._moves
        if self.pressure == "projection":
            raise InputError('Obstacles that differ between samples have no projection; use pressure="curl" or "field".')
        return tuple(a * b for a, b in zip(self._moves, open_faces(solid.to(self._moves[0]), self.periodic), strict=True))

    def __call__(
        self, before: Components, after: Components, pressure: Tensor | None = None, solid: Tensor | None = None
    ) -> Components:
        """R for velocities ``(batch, 1, ...)`` at the faces, obstacles ``(batch, 1, x, y[, z])`` and the pressure at the later frame.

        Raises:
            InputError: a pressure where none is used, or none where it is.
        """
        if (pressure is not None) != (self.pressure == "field"):
            raise InputError(
                f"The pressure's treatment is {self.pressure!r}, but {'a' if pressure is not None else 'no'} pressure was given."
            )
        target = self._target(before, after)
        if self.pressure == "projection":
            self.moves(solid)
            return tuple(a - b for a, b in zip(after, self.flow.project(target), strict=True))
        moves = self.moves(solid)
        R = tuple(a - b for a, b in zip(after, target, strict=True))
        if pressure is not None:
            return tuple((r + self.dt * g) * m for r, g, m in zip(R, self._gradient(pressure), moves, strict=True))
        h = min(self.flow.spacings)
        rotation = curl(R, self.flow.spacings, self.periodic)
        return tuple(h * w * m for w, m in zip(rotation, surrounded(moves, self.periodic), strict=True))

    @torch.no_grad()
    def step(self, before: Components, tolerance: float | None = None, max_iterations: int = 200) -> Components:
        """The velocity that makes the residual zero, by fixed-point iteration with a projection each.

        Raises:
            DivergedError: it was not found, because Δt is longer than half a cell or 0.2 h²/ν or so a step.
        """
        return _fixed_point(lambda after: self.flow.project(self._target(before, after)), before, tolerance, max_iterations)

    def _target(self, before: Components, after: Components) -> Components:
        """u + Δt F, without the pressure."""
        between = tuple(torch.lerp(a, b, self.theta) for a, b in zip(before, after, strict=True))
        return tuple(u + self.dt * F for u, F in zip(before, self.flow.rate(between), strict=True))

    def _gradient(self, p: Tensor) -> Components:
        dim = len(self.flow.spacings)
        return tuple(
            pressure_with_ghosts(p, axis - dim, *pair).diff(dim=axis - dim) / h
            for axis, (pair, h) in enumerate(zip(self.flow.sides, self.flow.spacings, strict=True))
        )

    def _unprescribed(self, solid: Tensor | None) -> Components:
        like = self.flow.at_rest()
        if solid is None:
            moves = tuple(torch.ones_like(w) for w in like)
        else:
            moves = tuple(m[None, None] for m in open_faces(solid.to(like[0]), self.periodic))
        dim = len(moves)
        for axis, (m, pair) in enumerate(zip(moves, self.flow.sides, strict=True)):
            for side, index in zip(pair, (0, -1), strict=True):
                if not isinstance(side, Outflow | Periodic):
                    m.select(axis - dim, index).zero_()
        return moves


def _theta(scheme: str, dt: float) -> float:
    if scheme not in SCHEMES:
        raise InputError(f"Unknown scheme {scheme!r}; choose {', '.join(SCHEMES)}.")
    if not dt > 0:
        raise InputError(f"The time between frames must be positive, not {dt}.")
    return SCHEMES[scheme]


def _fixed_point(
    advance: Callable[[Components], Components], start: Components, tolerance: float | None, max_iterations: int
) -> Components:
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
