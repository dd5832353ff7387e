"""The grid solvers against published and exact values: one row a quantity, with what was computed, the reference, and its source."""

from collections.abc import Callable, Iterator
from math import exp, log2, pi
from typing import Any, NamedTuple

import torch
from torch.nn.functional import interpolate

from thalweg.solvers.grid import (
    ARK436,
    ARS443,
    CNRK4,
    Darcy,
    Outflow,
    PeriodicField,
    StaggeredFlow,
    VorticityEquation,
    Wall,
    diagonal_forcing,
)

f64 = torch.float64

GHIA = "Ghia, Ghia and Shin, J. Comput. Phys. 48, 1982"
BOTELLA = "Botella and Peyret, Comput. Fluids 27, 1998"
DFG = "Nabh, 1998"
FEATFLOW = "FeatFlow, DFG benchmark"
GHIA_Y = (0.9766, 0.9688, 0.9609, 0.9531, 0.8516, 0.7344, 0.6172, 0.5, 0.4531, 0.2813, 0.1719, 0.1016, 0.0703, 0.0625, 0.0547)
#: u on the vertical centre line at these heights, by the Reynolds number.
GHIA_U = {
    100: (
        *(0.84123, 0.78871, 0.73722, 0.68717, 0.23151, 0.00332, -0.13641, -0.20581, -0.21090),
        *(-0.15662, -0.10150, -0.06434, -0.04775, -0.04192, -0.03717),
    ),
    400: (
        *(0.75837, 0.68439, 0.61756, 0.55892, 0.29093, 0.16256, 0.02135, -0.11477, -0.17119),
        *(-0.32726, -0.24299, -0.14612, -0.10338, -0.09266, -0.08186),
    ),
    1000: (
        *(0.65928, 0.57492, 0.51117, 0.46604, 0.33304, 0.18719, 0.05702, -0.06080, -0.10648),
        *(-0.27805, -0.38289, -0.29730, -0.22220, -0.20196, -0.18109),
    ),
}


class Scale(NamedTuple):
    """How fine; ``cavity`` holds cells and end time by Reynolds number, the cylinders' are cells across: 10, 20, 40, ..."""

    cavity: dict[int, tuple[int, float]]
    taylor_green: int
    cylinder: tuple[int, ...]
    unsteady_cylinder: tuple[int, ...]
    vorticity: int


SCALES = {
    "small": Scale({100: (32, 15.0)}, 16, (10,), (), 32),
    "full": Scale({100: (128, 20.0), 400: (128, 40.0), 1000: (128, 60.0)}, 64, (10, 20, 40), (10, 20), 128),
}


def row(quantity: str, computed: float, reference: float, source: str, error: float | None = None) -> dict[str, Any]:
    """``error`` is relative to the reference where nothing else is said."""
    computed, reference = float(computed), float(reference)
    error = abs(computed - reference) / abs(reference) if error is None else float(error)
    return {"quantity": quantity, "computed": computed, "reference": reference, "source": source, "error": error}


def bound(quantity: str, computed: float, allowed: float, source: str) -> dict[str, Any]:
    """A quantity that is zero but for rounding or a tolerance."""
    return row(quantity, computed, 0.0, f"{source}; at most {allowed:.0e} is expected", computed)


def cavity(scale: Scale) -> Iterator[dict[str, Any]]:
    """The lid-driven cavity, steady, with implicit viscosity."""
    for reynolds, (n, end) in scale.cavity.items():
        sides = {"x0": Wall(), "x1": Wall(), "y0": Wall(), "y1": Wall(tangential=1.0)}
        flow = StaggeredFlow((n, n), viscosity=1 / reynolds, sides=sides, implicit_viscosity=True, dtype=f64)
        u, v = flow.solve(flow.at_rest(), end, 1, dt=0.7 / n)
        centres = (torch.arange(n, dtype=f64) + 0.5) / n
        across, along = u[0, 1, 0, n // 2], v[0, 1, 0, :, n // 2]
        computed = interpolated(across, centres, GHIA_Y, ends=(0.0, 1.0))
        deviation = (computed - torch.tensor(GHIA_U[reynolds], dtype=f64)).abs().max()
        name = f"cavity Re {reynolds}, {n}²"
        yield row(f"{name}: largest deviation of u at {len(GHIA_Y)} points", deviation, 0.0, GHIA, deviation)
        if reynolds == 1000:
            yield row(f"{name}: least u on the centre line", -largest(-across), -0.3885698, BOTELLA)
            yield row(f"{name}: largest v on the centre line", largest(along), 0.3769447, BOTELLA)
            yield row(f"{name}: least v on the centre line", -largest(-along), -0.5270771, BOTELLA)
            psi = torch.cat([torch.zeros(1, n + 1, dtype=f64), -(v[0, 1, 0] / n).cumsum(0)])
            yield row(f"{name}: least stream function", psi.min(), -0.1189366, BOTELLA)


def interpolated(values: torch.Tensor, at: torch.Tensor, points: tuple[float, ...], ends: tuple[float, float]) -> torch.Tensor:
    """Piecewise linear, with the values at 0 and 1."""
    x = torch.cat([torch.zeros(1, dtype=f64), at, torch.ones(1, dtype=f64)])
    y = torch.cat([torch.tensor(ends[:1], dtype=f64), values, torch.tensor(ends[1:], dtype=f64)])
    p = torch.tensor(points, dtype=f64)
    right = torch.searchsorted(x, p)
    return torch.lerp(y[right - 1], y[right], (p - x[right - 1]) / (x[right] - x[right - 1]))


def largest(values: torch.Tensor) -> float:
    """The top of the parabola through the largest value and its neighbours."""
    i = int(values[1:-1].argmax()) + 1
    a, b, c = values[i - 1 : i + 2].tolist()
    return b + (a - c) ** 2 / (8 * (2 * b - a - c))


def taylor_green(scale: Scale) -> Iterator[dict[str, Any]]:
    """Orders in space and time of the periodic vortex in two dimensions."""
    nu, n = 0.1, scale.taylor_green

    def end(n: int, dt: float, implicit: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        h = 2 * pi / n
        x, y = torch.arange(n + 1, dtype=f64) * h, (torch.arange(n, dtype=f64) + 0.5) * h
        x[-1] = 0  # the last face is the first
        u = x.cos()[:, None] * y.sin()
        v = -(y.sin()[:, None] * x.cos())
        flow = StaggeredFlow((n, n), (2 * pi, 2 * pi), viscosity=nu, implicit_viscosity=implicit, dtype=f64)
        return flow.solve((u[None, None], v[None, None]), 1.0, 1, dt=dt)[0][0, 1, 0], u

    errors = [(w - u * exp(-2 * nu)).abs().max() for w, u in (end(m, 0.01) for m in (n // 2, n))]
    yield row(f"Taylor-Green, {n // 2}² to {n}²: order in h", log2(errors[0] / errors[1]), 2, "exact solution")
    # On one grid the vortex decays as e^{-λt}, λ the discrete eigenvalue: what is left is the error of the time stepping.
    h = 2 * pi / 16
    decay = exp(-nu * 2 * (2 - 2 * torch.tensor(h, dtype=f64).cos().item()) / h**2)
    for implicit, order in ((False, 3), (True, 2)):
        errors = []
        for steps in (5, 10):
            w, u = end(16, 1 / steps, implicit)
            errors.append((w - u * decay).abs().max())
        name = "implicit" if implicit else "explicit"
        yield row(f"Taylor-Green, {name} viscosity: order in dt", log2(errors[0] / errors[1]), order, "semi-discrete solution")


def vortex_in_a_cube(n: int, nu: float, end: float, frames: int) -> tuple[torch.Tensor, float]:
    """Kinetic energies ⟨½|u|²⟩ of the Taylor-Green vortex in three dimensions, and the time between them."""
    h = 2 * pi / n
    faces, centres = torch.arange(n + 1) * h, (torch.arange(n) + 0.5) * h
    faces[-1] = 0
    u = faces.sin()[:, None, None] * centres.cos()[:, None] * centres.cos()
    flow = StaggeredFlow((n, n, n), (2 * pi,) * 3, viscosity=nu)
    velocity = (u[None, None], -u.transpose(0, 1)[None, None], torch.zeros(1, 1, n, n, n + 1))
    energies = []
    for frame in range(frames + 1):
        energies.append(sum(w.narrow(i - 3, 0, n).double().square().mean() / 2 for i, w in enumerate(velocity)))
        if frame < frames:
            velocity = tuple(w[:, 1] for w in flow.solve(velocity, end / frames, 1, dt=0.5 * h))
    return torch.stack(energies), end / frames


def taylor_green_3d(scale: Scale) -> Iterator[dict[str, Any]]:
    n, nu = scale.taylor_green, 0.05
    energies, _ = vortex_in_a_cube(n, nu, 0.1, 1)
    exact = exp(-6 * nu * 0.1) / 8
    yield row(f"3D Taylor-Green, {n}³: energy at t = 0.1", energies[-1], exact, "viscous decay of the initial wave number")


def taylor_green_1600(_: Scale) -> Iterator[dict[str, Any]]:
    """The peak of −dE/dt, on one size of grid: that of the publication's comparison."""
    n = 256
    energies, interval = vortex_in_a_cube(n, 1 / 1600, 10.0, 100)
    dissipation = -energies.diff() / interval
    peak = int(dissipation.argmax())
    source = "van Rees, Leonard, Pullin and Koumoutsakos, J. Comput. Phys. 230, 2011"
    yield row(f"3D Taylor-Green Re 1600, {n}³: largest dissipation", dissipation[peak], 0.0129, source)
    yield row(f"3D Taylor-Green Re 1600, {n}³: its time", (peak + 0.5) * interval, 9.0, source)


def cylinder_flow(cells_across: int, mean: float) -> StaggeredFlow:
    """The DFG channel, 2.2 by 0.41, ν = 1e-3, with a cylinder of diameter 0.1 made of cells."""
    ny = round(4.1 * cells_across)
    nx = round(22 * cells_across)
    x, y = (torch.arange(nx, dtype=f64) + 0.5) * 2.2 / nx, (torch.arange(ny, dtype=f64) + 0.5) * 0.41 / ny
    solid = (x[:, None] - 0.2) ** 2 + (y - 0.2) ** 2 < 0.05**2
    sides = {"x0": Wall(normal=6 * mean * y * (0.41 - y) / 0.41**2), "x1": Outflow(), "y0": Wall(), "y1": Wall()}
    return StaggeredFlow((nx, ny), (2.2, 0.41), viscosity=1e-3, sides=sides, solid=solid, implicit_viscosity=True, dtype=f64,
                         tolerance=1e-7)  # fmt: skip


def on_half_the_spacing(velocity: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """A velocity at the faces of twice as many cells along each axis, interpolated linearly."""
    finer = []
    for component, w in enumerate(velocity):
        for axis in range(2):
            rows = w.movedim(axis + 2, -1)
            n, at_faces = rows.shape[-1], axis == component
            lines = rows.reshape(1, -1, n)
            lines = interpolate(lines, 2 * n - 1 if at_faces else 2 * n, mode="linear", align_corners=at_faces)
            w = lines.reshape(*rows.shape[:-1], -1).movedim(-1, axis + 2)
        finer.append(w.contiguous())
    return tuple(finer)


def cylinder(scale: Scale) -> Iterator[dict[str, Any]]:
    """Drag at Reynolds number 20 of the staircase that a cylinder is on a uniform grid; each grid starts from the flow on that before."""
    velocity = None
    for n in scale.cylinder:
        flow = cylinder_flow(n, 0.2)
        start, time = (flow.at_rest(), 6.0) if velocity is None else (on_half_the_spacing(velocity), 1.0)
        velocity = tuple(w[:, 1] for w in flow.solve(start, time, 1, dt=0.1 / n / 0.4))
        drag, _ = (2 / (0.2**2 * 0.1) * flow.force_on(velocity))[0].tolist()
        yield row(f"cylinder 2D-1, {n} cells across: drag coefficient", drag, 5.57953523384, DFG)
        left = flow.divergence(velocity).abs().max() * flow.spacings[0]
        yield bound(
            f"cylinder 2D-1, {n} cells across: largest divergence, by mean velocity and h", left / 0.2, 1e-6, "tolerance 1e-7"
        )


def cylinder_wake(scale: Scale) -> Iterator[dict[str, Any]]:
    """The vortex street at Reynolds number 100, over three periods; each grid starts from the flow on that before."""
    velocity = None
    for n in scale.unsteady_cylinder:
        flow, dt = cylinder_flow(n, 1.0), 0.1 / n / 2.4
        start, time = (flow.at_rest(), 6.0) if velocity is None else (on_half_the_spacing(velocity), 1.5)
        velocity = tuple(w[:, 1] for w in flow.solve(start, time, 1, dt=dt))
        frames = flow.solve(velocity, 0.01, 105, dt=dt)
        forces = torch.cat([20 * flow.force_on(tuple(w[:, i] for w in frames)) for i in range(106)])
        drag, lift = forces.T
        name = f"cylinder 2D-2, {n} cells across"
        yield row(f"{name}: largest drag coefficient", drag.max(), 3.227393, FEATFLOW)
        yield row(f"{name}: lift coefficient, peak to peak", lift.max() - lift.min(), 2.007871, FEATFLOW)
        yield row(f"{name}: Strouhal number", 0.1 * frequency(lift - (lift.max() + lift.min()) / 2, 0.01), 0.301841, FEATFLOW)


def frequency(signal: torch.Tensor, interval: float) -> float:
    """From the first to the last upward zero."""
    before, after = signal[:-1], signal[1:]
    i = ((before < 0) & (after >= 0)).nonzero().flatten()
    times = (i + before[i] / (before[i] - after[i])) * interval
    return float((len(times) - 1) / (times[-1] - times[0]))


def vorticity(scale: Scale) -> Iterator[dict[str, Any]]:
    n, nu = scale.vorticity, 1e-3
    flow = VorticityEquation((n, n), viscosity=nu, forcing=diagonal_forcing((n, n)), dtype=f64)
    w = PeriodicField((n, n), alpha=2.5, tau=7).sample(0, range(1), dtype=f64)
    dt = 0.005
    frames = flow.solve(w, dt, 200, dt=dt)[0]
    E, production = flow.energy(frames), flow.power(frames) - 2 * nu * flow.enstrophy(frames)
    simpson = (production[0] + 4 * production[1:-1:2].sum() + 2 * production[2:-1:2].sum() + production[-1]) * dt / 3
    yield row(f"forced vorticity, {n}²: energy gained over unit time", E[-1] - E[0], simpson, "−2νZ + ⟨f·u⟩, integrated")
    coarse = VorticityEquation((32, 32), viscosity=nu, forcing=diagonal_forcing((32, 32)), dtype=f64)
    w = 8 * PeriodicField((32, 32), alpha=2.5, tau=7).sample(0, range(1), dtype=f64)
    exact = coarse.solve(w, 0.5, 1, dt=1 / 1280)[:, 1]
    for name, scheme in (("ARS443", ARS443), ("ARK436", ARK436), ("CNRK4", CNRK4)):
        errors = [(coarse.solve(w, 0.5, 1, dt=dt, scheme=scheme)[:, 1] - exact).norm() for dt in (1 / 80, 1 / 160)]
        source = "order of the scheme" + (" (4 explicit, 2 implicit)" if scheme is CNRK4 else "")
        yield row(f"vorticity, {name}: order in dt", log2(errors[0] / errors[1]), scheme.order, source)


def divergence(scale: Scale) -> Iterator[dict[str, Any]]:
    for cells in ((2 * scale.taylor_green, scale.taylor_green), (32, 24, 16)):
        flow = StaggeredFlow(
            cells, viscosity=1e-2, sides={"x0": Wall(normal=1.0), "x1": Outflow(), "y0": Wall(), "y1": Wall()}, dtype=f64
        )
        generator = torch.Generator().manual_seed(0)
        velocity = tuple(torch.randn(w.shape, dtype=f64, generator=generator) for w in flow.at_rest())
        if len(cells) == 3:
            velocity[2][..., -1] = velocity[2][..., 0]
        left = flow.divergence(flow.project(velocity)).abs().max() / flow.divergence(velocity).abs().max()
        yield bound(
            f"channel, {'x'.join(map(str, cells))}: divergence left by a projection, relative", left, 1e-12, "direct solver"
        )


def duct(scale: Scale) -> Iterator[dict[str, Any]]:
    n = scale.taylor_green // 2
    walls, push = {name: Wall() for name in ("y0", "y1", "z0", "z1")}, tuple(torch.tensor(f, dtype=f64) for f in (1.0, 0.0, 0.0))
    flow = StaggeredFlow((4, n, n), viscosity=1.0, sides=walls, force=push, implicit_viscosity=True, dtype=f64)
    u, _, _ = flow.solve(flow.at_rest(), 1.0, 1, dt=0.01)
    yield row(f"square duct, {n}²: mean velocity by Ga²/ν", u[0, 1, 0, 0].mean(), 0.0351443, "White, Viscous Fluid Flow, 3-3")


def darcy(scale: Scale) -> Iterator[dict[str, Any]]:
    n = 4 * scale.taylor_green + 1
    u = Darcy((n, n), tolerance=1e-12).solve(torch.ones(1, 1, n, n, dtype=f64))[0, 0, n // 2, n // 2]
    yield row(f"Poisson, {n}² nodes: u at the centre of the unit square", u, 0.0736713532, "Fourier series")


CASES: tuple[Callable[[Scale], Iterator[dict[str, Any]]], ...] = (
    darcy,
    divergence,
    taylor_green,
    taylor_green_3d,
    duct,
    vorticity,
    cavity,
    cylinder,
    cylinder_wake,
)

#: Hours, and only on demand.
LARGE = (taylor_green_1600,)
