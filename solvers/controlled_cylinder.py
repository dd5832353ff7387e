"""Flow past a cylinder with actuators: the time-averaged flow that they lead to, and the drag with its adjoint."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import DivergedError, InputError
from ..fem.firedrake import firedrake
from ..random_numbers import evenly_spread
from .cylinder_actuators import ACTUATORS, force_weight, surface_velocity
from .cylinder_channel import CENTRE, DIAMETER, CylinderChannel
from .force_history import ForceHistory
from .navier_stokes import convection, measure, stokes
from .problem import Problem, markers
from .quantities import require_positive
from .sbdf3 import SBDF3, combined

MEAN_SPEED = 1.0  # of the inflow in m/s, two thirds of the parabola's peak
_COEFFICIENT = -2 / (MEAN_SPEED**2 * DIAMETER)
_LIMIT = 20 * MEAN_SPEED  # of a velocity that has not blown up

#: Velocities of the last three steps, newest first.
States = tuple[np.ndarray, np.ndarray, np.ndarray]


class ControlledCylinderFlow(Problem):
    """From the velocity g of the cylinder's surface to the mean flow in the DFG channel at Reynolds number 100 (Schäfer and Turek, 1996).

    u_t − ν Δu + (u·∇)u + ∇p = 0, ∇·u = 0; u = g at the cylinder, a parabola at the inflow, no slip at the walls, free outflow. The
    actuators are those of :func:`surface_velocity`; their strengths are surface speeds by the mean inflow, which is 1 m/s.

    Time begins in the developed vortex street without control. The actuators start within ``ramp``; after ``settle``, the flow is
    averaged over ``average`` with the weights sin²(π(t − t₀)/average), with which the means of periodic flows converge as the cube
    of the number of periods. Outputs are the mean velocity ``u`` (quadratic), the mean pressure ``p`` (linear) and the mean ``r`` of
    (u'u', u'v', v'v'), the Reynolds stress (quadratic). Inputs are ``g`` and the same means without control, ``u_base``, ``p_base``,
    ``r_base``, from which an operator may learn the departure.

    Exported functionals ``drag`` and ``lift`` of (u, p, r): the coefficients 2F/(ρŪ²D) of the mean force, from the mean momentum balance
    tested with :func:`force_weight`. They are the means in time of the coefficients, since the balance is linear in u, p and u ⊗ u.
    Those of g: ``swirl``, the mean tangential velocity of the surface, and ``blowing``, the mean of g·n n_y, the jets' strength but for a
    factor.

    Args:
        mesh: mesh file with the boundary parts inflow, outflow, walls and cylinder, or the name of one that comes with thalweg.
        refinements: how often the mesh is refined.
        viscosity: ν in m²/s.
        rotation, jets: ranges of the random strengths. In each sample one of the two works; one without a range, None, works in none.
        jet_width: in degrees.
        spin_up: time from rest, with vortices in the wake, to the developed vortex street.
        settle, average, ramp: see above.
        dt: time step, in s like all times.
        every: steps between two states that are averaged.

    Raises:
        InputError: times shorter than the distance of averaged states, or no actuator has a range.
    """

    inputs = ("g", "u_base", "p_base", "r_base")
    outputs = ("u", "p", "r")
    dirichlet = CylinderChannel.boundary

    def __init__(
        self,
        mesh: str = "cylinder_coarse.msh",
        refinements: int = 1,
        viscosity: float = 1e-3,
        rotation: tuple[float, float] | None = (0.0, 2.0),
        jets: tuple[float, float] | None = (0.0, 1.0),
        jet_width: float = 40.0,
        spin_up: float = 3.0,
        settle: float = 0.6,
        average: float = 0.72,
        ramp: float = 0.1,
        dt: float = 8e-4,
        every: int = 5,
    ):
        require_positive(viscosity=viscosity)
        if every < 1 or not dt > 0 or min(spin_up, settle, average / 2, ramp) < dt * every:
            raise InputError(
                f"spin_up={spin_up}, settle={settle}, ramp={ramp} and half of average={average} must not be shorter than the distance of "
                f"averaged states, every={every} steps of dt={dt}."
            )
        fd = firedrake()
        self.channel = CylinderChannel(mesh, refinements)
        V, Q, Z = self.channel.V, self.channel.Q, self.channel.Z
        scalar, self.transfers = self.channel.scalar_spaces()
        self.spaces = {"V": V, "Z": Z, "T": fd.VectorFunctionSpace(self.channel.mesh, "CG", 2, dim=3), **scalar}
        self.fields = {"g": "V", "u": "V", "p": "Q", "r": "T", "u_base": "V", "p_base": "Q", "r_base": "T"}
        ranges = {"rotation": rotation, "jets": jets}
        self.ranges = {name: (range[0], range[1]) for name, range in ranges.items() if range is not None}
        if not self.ranges:
            raise InputError("No actuator works in the samples; give rotation or jets a range.")
        self.dt, self.every, self.viscosity, self._ramp, self._jet_width = dt, every, viscosity, ramp, jet_width
        self._spin_up, self._settle, self._average = (round(t / dt / every) * every for t in (spin_up, settle, average))

        self._surface = self._dofs(["cylinder"])
        self._stepper = SBDF3(Z, viscosity, dt, np.sort(self._dofs(self.dirichlet)))
        self._inflow = self.channel.parabola(1.5 * MEAN_SPEED).dat.data_ro.ravel()[self._stepper.fixed]
        self._state, self._rate = fd.Function(Z), fd.Function(V)
        self._coefficients = [self._instant(component) for component in (0, 1)]
        means = fd.Function(V, name="u"), fd.Function(Q, name="p"), fd.Function(self.spaces["T"], name="r")
        self.forms = {name: self._mean(component, *means) for component, name in enumerate(("drag", "lift"))}
        self.forms |= self._strengths(fd.Function(V, name="g"))
        self.residual = self._mean_balance(means[2])

    def surface(self, **strengths: float) -> Any:
        """The velocity ``g`` of the cylinder's surface with actuators of these strengths, zero away from it.

        Raises:
            InputError: there is no such actuator.
        """
        if unknown := set(strengths) - set(ACTUATORS):
            raise InputError(f"The cylinder has the actuators {', '.join(ACTUATORS)}, but no {', '.join(sorted(unknown))}.")
        g = firedrake().Function(self.spaces["V"], name="g")
        for name, strength in strengths.items():
            g.dat.data[self._surface[::2] // 2] += strength * surface_velocity(self._surface_points, name, self._jet_width)
        return g

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        name = list(self.ranges)[rng.integers(len(self.ranges))]
        return self._working(name, rng.uniform())

    def sample_inputs(self, seed: int, sample: int, attempt: int = 0) -> dict[str, Any]:
        """Actuators take turns, and the strengths of each are :func:`evenly_spread` over its range, so that few samples do."""
        if attempt:
            return super().sample_inputs(seed, sample, attempt)
        first, *shifts = np.random.default_rng(np.random.SeedSequence((seed,))).uniform(size=1 + len(self.ranges))
        round_, place = divmod(sample, len(self.ranges))
        actuator = (int(first * len(self.ranges)) + place) % len(self.ranges)
        return self._working(list(self.ranges)[actuator], evenly_spread(round_, shifts[actuator]))

    def _working(self, actuator: str, share: float) -> dict[str, Any]:
        """All inputs with one actuator at a share of its range."""
        low, high = self.ranges[actuator]
        return self.with_base(self.surface(**{actuator: low + share * (high - low)}))

    def with_base(self, g: Any) -> dict[str, Any]:
        """All inputs, for a velocity of the surface."""
        return {"g": g} | {f"{name}_base": value.copy(deepcopy=True) for name, value in self._base.items()}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        fd = firedrake()
        means = [np.zeros(self.spaces[space].dof_count) for space in ("V", "Q", "T")]
        for (z, _), weight in self._weighted(inputs["g"]):
            if weight:
                u, p = self._split(z)
                for mean, now in zip(means, (u, p, _products(u)), strict=True):
                    mean += weight * now
        means[2] -= _products(means[0])
        outputs = {name: fd.Function(self.spaces[self.fields[name]], name=name) for name in self.outputs}
        for function, mean in zip(outputs.values(), means, strict=True):
            function.dat.data_wo[...] = mean.reshape(function.dat.data_ro.shape)
        return outputs

    def mean_drag(self, g: Any) -> float:
        """The mean drag coefficient for a velocity of the surface."""
        drag = self._assembler(self._coefficients[0])
        return sum(weight * self._at(state, drag) for state, weight in self._weighted(g) if weight)

    def mean_drag_gradient(self, g: Any) -> tuple[float, np.ndarray]:
        """:meth:`mean_drag` and its derivatives with respect to all dofs of ``g``, zero away from the cylinder.

        By the discrete adjoint, which goes back through all steps. The velocities of all steps are kept, and the states that are averaged.
        """
        fd = firedrake()
        c = self._coefficients[0]
        drag, by_state, by_rate = (self._assembler(f) for f in (c, fd.derivative(c, self._state), fd.derivative(c, self._rate)))
        J, counted, velocities = 0.0, {}, list(reversed(self.street))
        for n, ((z, history), weight) in enumerate(self._weighted(g), start=1):
            velocities.append(self._split(z)[0])
            if weight:
                counted[n] = z, history, weight
                J += weight * self._at((z, history), drag)
        gradient, size = np.zeros(len(self._stepper.fixed)), len(velocities[0])
        later = [np.zeros(size) for _ in range(3)]  # derivatives by uⁿ, uⁿ⁻¹, uⁿ⁻² through the steps after n
        for n in range(len(velocities) - 3, 0, -1):
            r, extra = np.zeros(self.channel.Z.dof_count[0] + self.channel.Z.dof_count[1]), np.zeros(size)
            r[:size] = later[0]
            if n in counted:
                z, history, weight = counted[n]
                self._at((z, history), drag)
                parts = by_state.assemble().subfunctions
                r += weight * np.concatenate([part.dat.data_ro.ravel() for part in parts])
                extra = weight * by_rate.assemble().dat.data_ro.ravel() / self.dt
                r[:size] += self._stepper.rate[0] * extra
            by_boundary, before = self._stepper.adjoint(velocities[n + 1 : n - 2 if n > 1 else None : -1][:3], r)
            gradient += self._share(n) * by_boundary
            before = [b + a * extra for b, a in zip(before, self._stepper.rate[1:], strict=True)]
            later = [before[0] + later[1], before[1] + later[2], before[2]]
        whole = np.zeros(size)
        whole[self._surface] = gradient[np.searchsorted(self._stepper.fixed, self._surface)]
        return float(J), whole

    def force_history(self, g: Any, end: float, every: int = 10) -> ForceHistory:
        """Coefficients of drag and lift from the start of the actuators to ``end``, after every so many steps of ``dt``."""
        forms = [self._assembler(form) for form in self._coefficients]
        rows = []
        for n, state in enumerate(self._march(g, round(end / self.dt)), start=1):
            if n % every == 0:
                drag, lift = (self._at(state, form) for form in forms)
                rows.append((n * self.dt, drag, lift, self.channel.pressure_difference(self._state.subfunctions[1])))
        return ForceHistory(*np.array(rows).T, shedding_unit=DIAMETER / MEAN_SPEED)

    def windowed(self, times: np.ndarray, values: np.ndarray) -> float:
        """The mean over the window of a history that has all states which are averaged, as ``force_history(g, end, self.every)`` has."""
        steps = np.rint(np.asarray(times) / self.dt).astype(int) - self._settle
        inside = (steps > 0) & (steps < self._average)
        return float(self._weights[steps[inside] // self.every - 1] @ np.asarray(values)[inside])

    def velocity(self) -> Any:
        """A copy of the velocity at the end of the last :meth:`force_history`."""
        return self._state.subfunctions[0].copy(deepcopy=True)

    def _weighted(self, g: Any) -> Iterator[tuple[tuple[np.ndarray, States], float]]:
        """March through the window of the average; yields each state and its weight in the average."""
        for n, state in enumerate(self._march(g, self._settle + self._average - self.every), start=1):
            sample, rest = divmod(n - self._settle, self.every)
            yield state, float(self._weights[sample - 1]) if sample > 0 and not rest else 0.0

    def _march(self, g: Any, steps: int, states: States | None = None) -> Iterator[tuple[np.ndarray, States]]:
        """Steps from the vortex street, or from given states; yields (u, p) after each and the velocities before it."""
        states = self.street if states is None else states
        surface = np.asarray(g.dat.data_ro).ravel()[self._stepper.fixed]
        for n in range(1, steps + 1):
            z = self._stepper.step(states, self._inflow + self._share(n) * surface)
            u = self._split(z)[0]
            if not np.abs(u).max() < _LIMIT:
                raise DivergedError(
                    f"The velocity blew up at t = {n * self.dt:.6g} with dt = {self.dt:.3g}. Lower dt, or the strengths."
                )
            yield z, states
            states = (u, *states[:2])

    @cached_property
    def _weights(self) -> np.ndarray:
        """Of the averaged states."""
        samples = self._average // self.every
        weights = np.sin(np.pi * np.arange(1, samples) / samples) ** 2
        return weights / weights.sum()

    def _share(self, n: int) -> float:
        """Of the actuators' strength that they have at step n."""
        return float(np.sin(np.pi / 2 * min(1.0, n * self.dt / self._ramp)) ** 2)

    @cached_property
    def street(self) -> States:
        """The last three velocities of the developed vortex street without control, the latest first, ``(dofs,)`` each; made once."""
        start = firedrake().Function(self.spaces["V"]).interpolate(_disturbance(self.channel.mesh)).dat.data_ro.ravel()
        *_, (z, states) = self._march(self.surface(), self._spin_up, (start, start, start))
        return (self._split(z)[0], *states[:2])

    @cached_property
    def _base(self) -> dict[str, Any]:
        """The means without control, made once."""
        return self.solve({"g": self.surface()})

    @cached_property
    def _surface_points(self) -> np.ndarray:
        fd = firedrake()
        points = fd.Function(self.spaces["V"]).interpolate(fd.SpatialCoordinate(self.channel.mesh))
        return points.dat.data_ro[self._surface[::2] // 2]

    def _dofs(self, tags: Iterable[str]) -> np.ndarray:
        """Numbers of the velocity's dofs on parts of the boundary."""
        nodes = self.spaces["V"].boundary_nodes(markers(self.channel.mesh, tags))
        return (2 * nodes[:, None] + [0, 1]).ravel()

    def _split(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """u and p."""
        return z[: self.spaces["V"].dof_count], z[self.spaces["V"].dof_count :]

    def _at(self, state: tuple[np.ndarray, States], form: Any) -> float:
        """A functional of ``_state`` and ``_rate`` at a state."""
        z, history = state
        u = self._split(z)[0]
        for function, values in zip(self._state.subfunctions, self._split(z), strict=True):
            function.dat.data_wo[...] = values.reshape(function.dat.data_ro.shape)
        rate = combined(self._stepper.rate, (u, *history)) / self.dt
        self._rate.dat.data_wo[...] = rate.reshape(-1, 2)
        return form.assemble()

    @staticmethod
    def _assembler(form: Any) -> Any:
        from firedrake.assemble import get_assembler

        return get_assembler(form)

    def _instant(self, component: int) -> Any:
        """The coefficient of the force at a state, a functional."""
        fd = firedrake()
        u, p = fd.split(self._state)
        w = force_weight(self.channel.mesh, component)
        balance = stokes(u, p, w, 0, self.viscosity) + fd.inner(self._rate + convection(u), w)
        return _COEFFICIENT * balance * measure(self.channel.Z)

    def _mean(self, component: int, u: Any, p: Any, r: Any) -> Any:
        """The coefficient of the mean force, a functional."""
        fd = firedrake()
        w = force_weight(self.channel.mesh, component)
        balance = stokes(u, p, w, 0, self.viscosity) + fd.inner(convection(u), w) - fd.inner(_tensor(r), fd.grad(w))
        return _COEFFICIENT * balance * measure(self.channel.Z)

    def _strengths(self, g: Any) -> dict[str, Any]:
        """Functionals of the surface's velocity that tell the actuators' strengths."""
        fd = firedrake()
        X, ds = fd.SpatialCoordinate(self.channel.mesh), fd.ds(markers(self.channel.mesh, ["cylinder"]), domain=self.channel.mesh)
        x, y = ((X[i] - CENTRE[i]) / (DIAMETER / 2) for i in (0, 1))
        mean = 1 / (np.pi * DIAMETER)
        return {"swirl": mean * (x * g[1] - y * g[0]) * ds, "blowing": mean * (x * g[0] + y * g[1]) * y * ds}

    def _mean_balance(self, r: Any) -> Any:
        """The mean balances of momentum and mass as a one-form in z = (u, p) and r."""
        fd = firedrake()
        Z = self.channel.Z
        z, (v, q) = fd.Function(Z, name="z"), fd.TestFunctions(Z)
        u, p = fd.split(z)
        return (stokes(u, p, v, q, self.viscosity) + fd.inner(convection(u) + fd.div(_tensor(r)), v)) * measure(Z)


def _products(u: np.ndarray) -> np.ndarray:
    """(uu, uv, vv) at each node, as dofs."""
    x, y = u[::2], u[1::2]
    return np.stack([x * x, x * y, y * y], axis=1).ravel()


def _tensor(r: Any) -> Any:
    return firedrake().as_matrix([[r[0], r[1]], [r[1], r[2]]])


def _disturbance(mesh: Any) -> Any:
    """A vortex off the wake's middle, which begins the shedding: curl of exp(−|x − c|²/2D²)."""
    fd = firedrake()
    X = fd.SpatialCoordinate(mesh)
    x, y = (X[i] - CENTRE[i] - offset for i, offset in enumerate((2 * DIAMETER, 0.3 * DIAMETER)))
    psi = MEAN_SPEED * DIAMETER * fd.exp(-(x**2 + y**2) / (2 * DIAMETER**2))
    return fd.as_vector([psi.dx(1), -psi.dx(0)])
