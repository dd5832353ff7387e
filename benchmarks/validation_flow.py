"""The finite-element flow solvers against published and exact values: one row a quantity, with its reference, source and error."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import firedrake as fd
import numpy as np
from validation_grid import BOTELLA, GHIA, GHIA_U, GHIA_Y, bound, row

from thalweg.solvers import CylinderFlow, Disc, LidCavity, ObstacleFlow, PipeFlow, SteadyCylinderFlow
from thalweg.solvers.exact_flows import kovasznay_errors, taylor_green_errors
from thalweg.solvers.force_history import maximum

NABH = "Nabh, 1998"
FEATFLOW = "FeatFlow, DFG benchmark"


class Scale(NamedTuple):
    """How fine: cells a side of the cavity, of the exact flows, along and across the pipe, across the channel with obstacles."""

    cavity: int
    exact: tuple[int, ...]
    pipe: tuple[int, int]
    obstacles: tuple[int, ...]
    refinements: int
    vortex_streets: bool


SCALES = {
    "small": Scale(24, (4, 8, 16), (40, 8), (12, 16), 0, False),
    "full": Scale(64, (8, 16, 32, 64), (160, 24), (24, 48), 1, True),
}


def cavity(scale: Scale) -> Iterator[dict[str, Any]]:
    problem = LidCavity(scale.cavity)
    s = np.linspace(0.1, 0.95, 8501)
    half = np.full_like(s, 0.5)
    for reynolds, table in GHIA_U.items():
        name, speed = f"cavity Re {reynolds}, {scale.cavity}²", reynolds * 1e-3
        flow = problem.solve({"g": problem.lid(speed)})
        u = at(flow["u"], np.column_stack([np.full(len(GHIA_Y), 0.5), GHIA_Y]))[:, 0] / speed
        deviation = np.abs(u - table).max()
        yield row(f"{name}: largest deviation of u at {len(GHIA_Y)} points", deviation, 0.0, GHIA, deviation)
        if reynolds == 1000:
            u = at(flow["u"], np.column_stack([half, s]))[:, 0]
            v = at(flow["u"], np.column_stack([s, half]))[:, 1]
            yield row(f"{name}: least u on the centre line", u.min(), -0.3885698, BOTELLA)
            yield row(f"{name}: its height", s[u.argmin()], 0.1717, BOTELLA)
            yield row(f"{name}: largest v on the centre line", v.max(), 0.3769447, BOTELLA)
            yield row(f"{name}: least v on the centre line", v.min(), -0.5270771, BOTELLA)
            yield row(f"{name}: least stream function", problem.stream_function(flow).dat.data_ro.min(), -0.1189366, BOTELLA)


def exact_flows(scale: Scale) -> Iterator[dict[str, Any]]:
    cells = np.array(scale.exact)
    cases = {
        "Kovasznay Re 40, in h": (1 / cells, [kovasznay_errors(n) for n in cells], (3, 2)),
        "Taylor-Green, in h": (1 / cells, [taylor_green_errors(n, dt=2e-3, steps=50) for n in cells], (3, 2)),
    }
    steps = np.array([10, 20, 40, 80])
    in_time = [taylor_green_errors(scale.exact[-1], 1 / n, n, viscosity=0.5, degree=3) for n in steps]
    cases["Taylor-Green, in dt"] = (1 / steps, in_time, (2, 2))
    for name, (sizes, errors, orders) in cases.items():
        for field, column, order in zip(("velocity", "pressure"), np.transpose(errors), orders, strict=True):
            fitted = np.polyfit(np.log(sizes), np.log(column), 1)[0]
            yield row(f"{name}: order of the {field}", fitted, order, "exact solution", max(0.0, 1 - fitted / order))


def steady_cylinder(scale: Scale) -> Iterator[dict[str, Any]]:
    problem = SteadyCylinderFlow(refinements=scale.refinements)
    flow = problem.solve({"g": problem.parabola(0.3)})
    drag, lift = problem.force_coefficients(flow, mean_inflow=0.2)
    yield row("cylinder 2D-1: drag coefficient", drag, 5.57953523384, NABH)
    yield row("cylinder 2D-1: lift coefficient", lift, 0.010618948146, NABH)
    yield row("cylinder 2D-1: pressure difference", problem.channel.pressure_difference(flow["p"]), 0.11752016697, NABH)


def vortex_street(scale: Scale) -> Iterator[dict[str, Any]]:
    """2D-2, from rest; measured over the last second of eight."""
    if not scale.vortex_streets:
        return
    problem = CylinderFlow("cylinder_wake.msh", dt=5e-4)
    late = problem.force_history({"g": problem.parabola(1.5)}, end=8.0).after(7.0)
    largest, _ = maximum(late.times, late.drag)
    least, _ = maximum(late.times, -late.drag)
    up, down = maximum(late.times, late.lift)[0], maximum(late.times, -late.lift)[0]
    yield row("cylinder 2D-2: Strouhal number", late.strouhal_number(), 0.301841, FEATFLOW)
    yield row("cylinder 2D-2: largest drag coefficient", largest, 3.227393, FEATFLOW)
    yield row("cylinder 2D-2: least drag coefficient", -least, 3.164263, FEATFLOW)
    yield row("cylinder 2D-2: lift coefficient, peak to peak", up + down, 2.007871, FEATFLOW)


def pulsed_vortex_street(scale: Scale) -> Iterator[dict[str, Any]]:
    """2D-3, over half a period of the inflow."""
    if not scale.vortex_streets:
        return
    problem = CylinderFlow("cylinder_wake.msh", dt=5e-4, period=16.0)
    history = problem.force_history({"g": problem.parabola(1.5)}, end=8.0)
    source = "John, Int. J. Numer. Meth. Fluids 44, 2004"
    drag, when = maximum(history.times, history.drag)
    yield row("cylinder 2D-3: largest drag coefficient", drag, 2.950921575, source)
    yield row("cylinder 2D-3: its time", when, 3.93625, source)
    lift, when = maximum(history.times, history.lift)
    yield row("cylinder 2D-3: largest lift coefficient", lift, 0.47795, source)
    yield row("cylinder 2D-3: its time", when, 5.693125, source)
    yield row("cylinder 2D-3: pressure difference at t = 8", history.pressure_difference[-1], -0.1116, source)


def pipe(scale: Scale) -> Iterator[dict[str, Any]]:
    problem = PipeFlow(scale.pipe)
    mesh = problem.spaces["V"].mesh()
    X = fd.SpatialCoordinate(mesh)
    straight = problem.solve({"d": problem.displacement(np.zeros_like)})["u"]
    error = fd.errornorm(fd.as_vector([4 * X[1] * (1 - X[1]), 0]), straight)
    yield bound("straight pipe: L² error of the velocity", error, 1e-9, "Poiseuille flow")
    cells = fd.FunctionSpace(mesh, "DQ", 0)
    slab = fd.Function(cells).interpolate(X[0] * scale.pipe[0] / 10).dat.data_ro.astype(int)
    deviations = []
    for seed in range(5):
        flow = problem.solve(problem.random_inputs(np.random.default_rng(seed)))
        through = fd.assemble(flow["u"][0] * fd.TestFunction(cells) * fd.dx).dat.data_ro
        deviations.append(np.abs(np.bincount(slab, through) * scale.pipe[0] / 10 - 2 / 3).max())
    yield bound("5 bent pipes: deviation of the flow through any slab from that at the inflow", max(deviations), 1e-12, "∇·u = 0")


def obstacles(scale: Scale) -> Iterator[dict[str, Any]]:
    """The error of the penalty, in the relative l² norm of the velocity at points outside three discs."""
    discs = [Disc(0.8, 0.35, 0.12), Disc(1.5, 0.7, 0.15), Disc(2.2, 0.3, 0.1)]
    x, y = np.meshgrid(np.linspace(0.02, 3.98, 199), np.linspace(0.02, 0.98, 49))
    points = np.column_stack([x.ravel(), y.ravel()])
    points = points[np.min([disc.distance(*points.T) for disc in discs], axis=0) > 0.01]
    fitted = None
    for cells in scale.obstacles:
        problem = ObstacleFlow(cells)
        if fitted is None:
            fitted = at(problem.body_fitted(discs, size=0.04, near=0.006)["u"], points)
        u = at(problem.solve({"chi": problem.indicator(discs)})["u"], points)
        error = np.linalg.norm(u - fitted) / np.linalg.norm(fitted)
        yield row(f"three obstacles, h = 1/{cells}: error of the penalty", error, 0.0, "body-fitted mesh", error)


def at(u: fd.Function, points: np.ndarray) -> np.ndarray:
    return fd.PointEvaluator(u.function_space().mesh(), points).evaluate(u)


CASES: tuple[Callable[[Scale], Iterator[dict[str, Any]]], ...] = (
    exact_flows,
    cavity,
    steady_cylinder,
    pipe,
    obstacles,
    vortex_street,
    pulsed_vortex_street,
)
