"""Unsteady incompressible flow past bodies in a channel: trajectories, and the forces on the bodies in time."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from math import ceil
from typing import Any, TypedDict, TypeVar

import numpy as np

from ..errors import DivergedError, InputError
from ..fem.firedrake import firedrake
from .bdf2 import BDF2
from .flow_channel import FlowChannel
from .flow_scheme import FlowScheme
from .force_history import ForceHistory
from .navier_stokes import convection, measure, stokes, unsteady_residual
from .problem import Problem
from .quantities import require_positive

Result = TypeVar("Result")

#: The time of a developed flow from which random phases are drawn, in units of the inflow's.
PHASES = 1.0


class FlowOptions(TypedDict, total=False):
    """The keywords of :class:`ChannelFlow`, all of which its subclasses take besides their own."""

    viscosity: float
    peak: tuple[float, float]
    spin_up: float
    duration: float
    frames: int
    dt: float
    halvings: int
    period: float | None
    modes: float
    developed: float
    hierarchy: bool
    scheme: Callable[..., FlowScheme]


class ChannelFlow(Problem):
    """u_t − ν Δu + (u·∇)u + ∇p = 0, ∇·u = 0 in a channel; u = g at the inflow, no slip at walls and bodies, free outflow.

    Inputs are the inflow velocity ``g``, whose size is also the Reynolds number, and the velocity ``u0`` at t = 0, which need not be
    free of divergence: the first step projects it. Outputs are frames of the velocity ``u`` (quadratic) and the pressure ``p`` (linear)
    at ``times``. ``spin_up`` is the time of the first frame. Random inflows are parabolas with random peaks and modes; random initial
    velocities are vortices in the wakes, which choose the phase of the shedding and bring it forward; or, with ``developed``, states of
    one developed flow at random phases, scaled to the inflow.

    Exported forms, in ``z`` = (u, p) and ``u_t``, the time derivative of u: ``residual``, the balances of momentum and mass; ``force``, the
    force on a body in a direction ``w`` that is one at its nodes (:meth:`FlowChannel.unit_velocity`); in ``u`` alone ``transport``, the
    weak form of (u·∇)u − ν Δu, what a time step of the velocity is made of besides the pressure; and ``mean_inflow`` of ``g``. The weak
    divergence is exported as the product of V and Q.

    Args:
        channel: the spaces and the bodies. The other defaults are for the DFG channel, in metres and seconds.
        viscosity: ν.
        peak: range of the random peaks of the inflow.
        spin_up: time of the first frame, a multiple of the distance of frames.
        duration: from the first frame to the last.
        frames: their number.
        dt: the largest time step.
        halvings: how often a trajectory that blows up is started again with half the step.
        period: of a factor sin(2πt/period) of the inflow; by default the inflow is constant.
        modes: size of two random modes of the inflow, relative to the peak; with 0 it is a parabola.
        developed: time of a shared spin-up from rest at the middle of the peaks, whose last unit of time gives the initial velocities; it
            saves the spin-up of each sample. 0 for random vortices.
        hierarchy: also export scalar spaces for processors (:meth:`FlowChannel.scalar_spaces`).
        scheme: in time, a :class:`FlowScheme` as that says how they are made, such as ``RadauIIA`` for steps as long as frames.

    Raises:
        InputError: a quantity is not positive, or no constant step meets all frames.
    """

    inputs = ("g", "u0")
    outputs = ("u", "p")
    products = (("V", "Q"),)

    def __init__(
        self,
        channel: FlowChannel,
        *,
        viscosity: float = 1e-3,
        peak: tuple[float, float] = (1.0, 1.5),
        spin_up: float = 4.0,
        duration: float = 1.0,
        frames: int = 51,
        dt: float = 5e-4,
        halvings: int = 3,
        period: float | None = None,
        modes: float = 0.2,
        developed: float = 0.0,
        hierarchy: bool = False,
        scheme: Callable[..., FlowScheme] = BDF2,
    ):
        require_positive(viscosity=viscosity)
        if modes < 0 or not (developed == 0 or developed >= PHASES):
            raise InputError(f"modes={modes} must not be negative, and developed={developed} be 0 or at least {PHASES}.")
        self._interval = _frame_interval(spin_up, duration, frames, dt)
        fd = firedrake()
        self.channel, self.dirichlet = channel, channel.boundary
        V, Q, Z = channel.V, channel.Q, channel.Z
        self.spaces, self.transfers = {"V": V, "Q": Q, "Z": Z}, []
        if hierarchy:
            scalar, self.transfers = channel.scalar_spaces()
            self.spaces |= scalar
        self.fields = {"g": "V", "u0": "V", "u": "V", "p": "Q"}
        self.times = spin_up + np.linspace(0, duration, frames)
        self.peak = (float(peak[0]), float(peak[1]))
        self.dt, self.halvings, self.period = dt, halvings, period
        self.modes, self.developed = modes, developed

        self._g = fd.Function(V, name="g")
        nu = fd.Constant(viscosity, name="viscosity")
        self._stepper = scheme(Z, nu, channel.conditions, self._g)
        self.nonlinear_solver = self._stepper.nonlinear_solver
        z, rate, self._w = self._stepper.z, self._stepper.rate, fd.Function(V, name="w")
        u, p = fd.split(z)
        force = -(stokes(u, p, self._w, 0, nu) + fd.inner(rate + convection(u), self._w)) * measure(Z)
        velocity, v = fd.Function(V, name="u"), fd.TestFunction(V)
        transport = (nu * fd.inner(fd.grad(velocity), fd.grad(v)) + fd.inner(convection(velocity), v)) * measure(Z)
        mean_inflow = channel.mean_inflow(fd.Function(V, name="g"))
        self.residual = unsteady_residual(z, rate, nu)
        self.forms = {"force": force, "transport": transport, "mean_inflow": mean_inflow}

    def parabola(self, peak: float) -> Any:
        """The inflow field with a parabolic profile of this peak."""
        return self.channel.parabola(peak)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        g = self.channel.random_inflow(rng, self.peak, self.modes)
        speed = float(np.abs(g.dat.data_ro).max())
        return {"g": g, "u0": self._developed_velocity(rng, speed) if self.developed else self._vortices(rng, speed)}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._by_halving(lambda dt: self._frames(inputs, dt))

    def step_from(
        self, inputs: Mapping[str, Any], state: Mapping[str, Any], guess: Mapping[str, Any], time: float
    ) -> dict[str, Any]:
        if self.nonlinear_solver is not None and self._interval > self.dt * (1 + 1e-9):
            raise InputError(
                f"Frames are {self._interval:.6g} apart, several steps of dt={self.dt:.6g}; a guess begins one step. Generate and train "
                f"with problem.dt={self._interval:.6g}"
            )
        if "g" not in inputs:
            raise InputError("A step of the flow needs its inflow; give g among the inputs.")
        rate, boundary = state.get("u_t"), self._boundary(inputs["g"])
        self._stepper.step(state["u"], time + self._interval, self._interval, boundary, guess.get("u"), rate)
        u, p = self._stepper.z.subfunctions
        return {name: f.copy(deepcopy=True) for name, f in (("u", u), ("p", p), ("u_t", self._stepper.rate))}

    def force_history(self, inputs: Mapping[str, Any], end: float, every: int = 10, body: int = 0) -> ForceHistory:
        """Drag, lift and pressure difference of a body, from rest at t = 0 or ``u0`` to ``end``, after every so many steps of ``dt``.

        Raises:
            InputError: there is no such body.
            DivergedError: the velocity blew up; there is no second attempt.
        """
        fd = firedrake()
        directions = [self.channel.unit_velocity(i, body) for i in (0, 1)]
        mean = fd.assemble(self.channel.mean_inflow(inputs["g"]))
        rows = []
        for n, t in enumerate(self._march(inputs, self.dt, ceil(end / self.dt - 1e-9)), start=1):
            if n % every == 0:
                p = self._stepper.z.subfunctions[1]
                rows.append((t, *(self._force(w) for w in directions), self.channel.pressure_difference(p, body)))
        t, drag, lift, difference = np.array(rows).T
        diameter = 2 * self.channel.bodies[body].radius
        scale = 2 / (mean**2 * diameter)
        return ForceHistory(t, scale * drag, scale * lift, difference, shedding_unit=diameter / mean)

    def _force(self, direction: Any) -> float:
        self._w.assign(direction)
        return firedrake().assemble(self.forms["force"])

    def _frames(self, inputs: Mapping[str, Any], dt: float) -> dict[str, list[Any]]:
        every = round(self._interval / dt)
        first, last = round(self.times[0] / dt), round(self.times[-1] / dt)
        frames: dict[str, list[Any]] = {"u": [], "p": []}
        for n, _ in enumerate(self._march(inputs, dt, last), start=1):
            if n >= first and (n - first) % every == 0:
                for name, part in zip(("u", "p"), self._stepper.z.subfunctions, strict=True):
                    frames[name].append(part.copy(deepcopy=True))
        return frames

    def _march(self, inputs: Mapping[str, Any], dt: float, steps: int) -> Iterator[float]:
        g = inputs["g"]
        u0 = inputs["u0"] if "u0" in inputs else firedrake().Function(self.channel.V)
        limit = 10 * max(np.abs(g.dat.data_ro).max(), np.abs(u0.dat.data_ro).max())
        return self._stepper.march(u0, 0.0, dt, steps, self._boundary(g), limit)

    def _boundary(self, g: Any) -> Callable[[float], None]:
        """Sets the inflow of a time."""

        def boundary(t: float) -> None:
            factor = 1.0 if self.period is None else np.sin(2 * np.pi * t / self.period)
            self._g.dat.data_wo[...] = factor * g.dat.data_ro

        return boundary

    def _by_halving(self, solve: Callable[[float], Result]) -> Result:
        """What ``solve`` gives with the largest step up to ``dt`` that meets every frame, or with half of it, ... if that blows up."""
        step, failure = self._interval / ceil(self._interval / self.dt - 1e-9), None
        for halving in range(self.halvings + 1):
            try:
                return solve(step / 2**halving)
            except DivergedError as error:
                failure = error
        raise DivergedError(
            f"{failure} So it did with every step that was tried, {step:.3g} and {self.halvings} halvings. Lower the inflow, refine the "
            "mesh, or start from a smaller dt=..."
        ) from failure

    def _developed_velocity(self, rng: np.random.Generator, speed: float) -> Any:
        """A state of the shared spin-up at a random time, scaled to this speed of the inflow."""
        states, reference = self._spun_up
        u0 = firedrake().Function(self.channel.V)
        u0.dat.data_wo[...] = speed / reference * states[int(rng.integers(len(states)))]
        return u0

    @cached_property
    def _spun_up(self) -> tuple[list[np.ndarray], float]:
        """Velocities of the last unit of time of a flow from vortices in the wakes, and the speed of its inflow."""
        peak = sum(self.peak) / 2
        inputs = {"g": self.channel.parabola(peak), "u0": self._vortices(np.random.default_rng(0), peak)}
        velocity = self._stepper.z.subfunctions[0]

        def states(dt: float) -> list[np.ndarray]:
            steps, kept = ceil(self.developed / dt), ceil(PHASES / dt)
            march = enumerate(self._march(inputs, dt, steps), start=1)
            return [velocity.dat.data_ro.copy() for n, _ in march if n > steps - kept]

        return self._by_halving(states), float(np.abs(inputs["g"].dat.data_ro).max())

    def _vortices(self, rng: np.random.Generator, speed: float) -> Any:
        """Three Gaussian vortices in the wake of each body, of this order of speed: u = (∂ψ/∂y, −∂ψ/∂x), ψ = Σ a exp(−|x − c|²/2D²)."""
        fd = firedrake()
        x, y = fd.SpatialCoordinate(self.channel.mesh)
        vortices = []
        for body in self.channel.bodies:
            D = 2 * body.radius
            for strength, along, across in rng.uniform([-1, 2, -1], [1, 10, 1], (3, 3)):
                cx, cy = fd.Constant(body.x + along * D), fd.Constant(body.y + across * D)
                vortices.append(fd.Constant(strength * speed * D) * fd.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * D**2)))
        psi: Any = sum(vortices)
        return fd.Function(self.channel.V).interpolate(fd.as_vector([psi.dx(1), -psi.dx(0)]))


def _frame_interval(spin_up: float, duration: float, frames: int, dt: float) -> float:
    if frames < 2 or not (spin_up > 0 and duration > 0 and dt > 0):
        raise InputError(
            f"A trajectory needs two frames or more and a positive spin_up, duration and dt, not frames={frames}, spin_up={spin_up}, "
            f"duration={duration} and dt={dt}."
        )
    interval = duration / (frames - 1)
    if abs(spin_up / interval - round(spin_up / interval)) > 1e-6:
        raise InputError(
            f"spin_up={spin_up} is no multiple of the distance of frames, duration / (frames - 1) = {interval:.6g}, so no constant time "
            "step meets all frames. Change one of the three."
        )
    return interval
