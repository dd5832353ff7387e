"""Implicit steps of a flow: their order, what holds at their ends, and that a guess changes their cost alone."""

from functools import partial

import firedrake as fd
import numpy as np
import pytest

from thalweg.commands.refinement import counted
from thalweg.errors import InputError
from thalweg.solvers import BDF2, CylinderFlow, RadauIIA
from thalweg.solvers.exact_flows import taylor_green_errors

END = 0.08


def flow(dt: float, scheme=partial(RadauIIA, tolerance=1e-10), **changed) -> CylinderFlow:  # noqa: B008
    frames = {"spin_up": dt, "duration": dt, "frames": 2, "dt": dt} | changed
    return CylinderFlow("cylinder_coarse.msh", peak=(1.0, 1.0), modes=0.0, scheme=scheme, **frames)


@pytest.fixture(scope="module")
def problem() -> CylinderFlow:
    return flow(0.04)


@pytest.fixture(scope="module")
def start(problem: CylinderFlow) -> dict[str, fd.Function]:
    """Inflow, and a velocity that has left its random vortices behind."""
    inputs = problem.random_inputs(np.random.default_rng(0))
    u = problem.solve(inputs)["u"][-1]
    return {"g": inputs["g"], "u0": u}


def end_state(problem: CylinderFlow, start: dict[str, fd.Function], dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Velocity and pressure at the end of steps from the start, on the problem's own mesh."""
    own = {}
    for name, u in start.items():
        own[name] = fd.Function(problem.spaces["V"])
        own[name].dat.data_wo[...] = u.dat.data_ro
    for _ in problem._march(own, dt, round(END / dt)):
        pass
    u, p = problem._stepper.z.subfunctions
    return u.dat.data_ro.ravel().copy(), p.dat.data_ro.copy()


def order(steps: list[float], errors: list[float]) -> float:
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def test_velocities_are_of_third_order_in_time_and_their_limit_is_that_of_the_semi_implicit_scheme(
    problem: CylinderFlow, start: dict
):
    u, p = end_state(problem, start, 0.002)
    steps = [0.02, 0.01, 0.005]
    ends = [end_state(problem, start, dt) for dt in steps]
    assert order(steps, [float(np.linalg.norm(v - u)) for v, _ in ends]) == pytest.approx(3, abs=0.2)
    assert order(steps, [float(np.linalg.norm(q - p)) for _, q in ends]) > 2

    semi_implicit, steps = flow(0.04, BDF2), [1e-3, 5e-4]
    errors = [float(np.linalg.norm(end_state(semi_implicit, start, dt)[0] - u)) for dt in steps]
    assert order(steps, errors) == pytest.approx(2, abs=0.1)
    assert errors[-1] < 3e-5 * np.linalg.norm(u)


def test_a_step_ends_in_the_weak_form_without_divergence_and_with_the_inflow(problem: CylinderFlow, start: dict):
    problem.step_from({"g": start["g"]}, {"u": start["u0"]}, {"u": start["u0"]}, 0.0)
    u = problem._stepper.z.subfunctions[0]
    bcs = problem.channel.conditions(problem.spaces["Z"].sub(0), start["g"])
    with fd.assemble(problem.residual, bcs=bcs, zero_bc_nodes=True).dat.vec_ro as residual:
        assert residual.norm() < 1e-9
    q = fd.TestFunction(problem.spaces["Q"])
    assert np.abs(fd.assemble(q * fd.div(u) * fd.dx(degree=6)).dat.data_ro).max() < 1e-12
    inflow = problem.spaces["V"].boundary_nodes(1)
    assert np.array_equal(u.dat.data_ro[inflow], start["g"].dat.data_ro[inflow])


def test_a_guess_changes_the_iterations_and_not_the_solution(start: dict):
    problem = flow(0.04, RadauIIA)
    given, u0 = {"g": fd.Function(problem.spaces["V"])}, fd.Function(problem.spaces["V"])
    given["g"].dat.data_wo[...], u0.dat.data_wo[...] = (2 * start[name].dat.data_ro for name in ("g", "u0"))
    state = problem.step_from(given, {"u": u0}, {"u": u0}, 0.0)
    exact, cold, _ = counted(problem, lambda: problem.step_from(given, state, {}, 0.0))
    guess = exact["u"].copy(deepcopy=True)
    guess.dat.data_wo[...] *= 1.001
    counts = {}
    for name, u in {"previous step": state["u"], "good": guess}.items():
        again, counts[name], _ = counted(problem, lambda u=u: problem.step_from(given, state, {"u": u}, 0.0))
        for field in ("u", "p"):
            assert np.abs(again[field].dat.data_ro - exact[field].dat.data_ro).max() < 3e-5
    assert counts["good"] < counts["previous step"] < cold


def test_moving_boundary_values_are_those_of_the_stages():
    velocity, pressure = taylor_green_errors(8, 0.1, 5, viscosity=0.5, degree=3, scheme=RadauIIA)
    assert velocity < 1e-4
    assert pressure < 2e-3


def test_a_tolerance_is_relative():
    with pytest.raises(InputError, match=r"relative, between 0 and 1, not 2\.0"):
        flow(0.04, partial(RadauIIA, tolerance=2.0))
