"""Losses without data on fluxes, divergence-free velocities and time steps: they are Firedrake's, and least at the solutions."""

from collections.abc import Callable

import firedrake as fd
import numpy as np
import pytest
import torch
from torch import Tensor

from manufactured import evaluate, fields, free, tensor
from thalweg.errors import InputError
from thalweg.fem import Discretization, MassSolver, SaddleSolver, StreamFunctionSolver
from thalweg.operators import FlowPrediction
from thalweg.random_numbers import sample_rng
from thalweg.solvers import CylinderFlow, MixedDarcy, SolenoidalStokes
from thalweg.training import FormEnergy, FormResidual, TimeStepResidual, WeightedSum

MATERN = {"length": 0.5, "smoothness": 1, "deviation": 1}
TAGS = ["inflow", "walls", "cylinder"]


def gradient(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Of a loss of one sample."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


def test_the_complementary_energy_is_firedrakes_and_least_at_the_solution_among_conservative_fluxes():
    problem = MixedDarcy(4, "log_normal", {"bottom": 0.0}, refinements=1, source=MATERN, pressure=MATERN, log_normal=MATERN)
    inputs = problem.random_inputs(sample_rng(0, 0))
    solution = problem.solve(inputs)
    disc, given = problem.export(), fields(inputs | solution)
    loss = FormEnergy(disc.form("complementary_energy"))
    sigma, n = solution["sigma"], fd.FacetNormal(problem.spaces["S"].mesh())
    expected = fd.assemble(fd.inner(sigma, sigma) / (2 * inputs["a"]) * fd.dx + inputs["g"] * fd.dot(sigma, n) * fd.ds)
    assert evaluate(loss.energy, given).item() == pytest.approx(expected, rel=1e-12)

    # The divergence-free fluxes without flow through the bottom are the curls of stream functions that vanish there.
    inside = free(disc["V"].num_dofs, disc["V"].boundary_dofs("bottom"))
    curl, batch = disc.derivative("V", "S"), {name: value[None] for name, value in given.items()}

    def energy(psi: Tensor) -> Tensor:
        return loss({"sigma": given["sigma"][None] + curl(psi * inside)[None]}, batch)

    psi = torch.randn(disc["V"].num_dofs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at_solution, elsewhere = gradient(energy, torch.zeros_like(psi)), gradient(energy, psi)
    assert at_solution.abs().max() < 1e-12 * elsewhere.abs().max()
    # What a flux has more of it is half the squared distance, in the norm of the resistance.
    distance = fd.Function(problem.spaces["S"])
    distance.dat.data_wo[...] = curl(psi * inside).numpy()
    more = fd.assemble(fd.inner(distance, distance) / (2 * inputs["a"]) * fd.dx)
    assert (energy(psi) - energy(0 * psi)).item() == pytest.approx(more, rel=1e-10)


def test_the_dissipation_less_the_work_is_least_where_the_mixed_method_has_its_flow():
    problem = SolenoidalStokes(2, viscosity=0.5, refinements=1)
    inputs = problem.random_inputs(sample_rng(0, 0))
    disc, given = problem.export(), fields(inputs | problem.solve(inputs))
    W, curl = disc["W"], disc.derivative("W", "S")
    loss = WeightedSum(
        {"vorticity": FormResidual(disc.form("vorticity"), MassSolver(W.mass)), "work": FormEnergy(disc.form("work"))},
        {"vorticity": 0.5, "work": -1.0},
    )
    # The mixed method's own vorticity and Firedrake's work, at the curl of any stream function.
    inside = free(W.num_dofs, W.boundary_dofs())
    psi = torch.randn(W.num_dofs, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * inside
    w = fd.Function(problem.spaces["S"])
    w.dat.data_wo[...] = curl(psi).numpy()
    work = fd.assemble(fd.inner(inputs["f"], w) / 0.5 * fd.dx)
    moments = W.stiffness(psi) + evaluate(disc.form("wall_velocity"), given)
    omega = np.linalg.solve(W.mass.to_scipy().toarray(), moments.numpy())
    batch = {name: value[None] for name, value in given.items()}

    def dissipation(psi: Tensor) -> Tensor:
        return loss({"w": curl(psi * inside)[None]}, batch)

    assert dissipation(psi).item() == pytest.approx(omega @ moments.numpy() / 2 - work, rel=1e-11)
    solver = StreamFunctionSolver(disc.hierarchy_below("W"), cycles=30)
    forms = [evaluate(disc.form(name), given)[None] for name in ("circulation", "wall_velocity")]
    solution = solver(*forms)[0][0]
    assert gradient(dissipation, solution).abs().max() < 1e-10 * gradient(dissipation, psi).abs().max()


@pytest.fixture(scope="module")
def steps() -> tuple[CylinderFlow, Discretization, Tensor]:
    """Two frames, 0.01 apart, by a hundred steps of the solver."""
    problem = CylinderFlow("cylinder_coarse.msh", peak=(0.8, 0.8), modes=0.0, spin_up=0.02, duration=0.01, frames=2, dt=1e-4)
    frames = problem.solve(problem.random_inputs(np.random.default_rng(0)))["u"]
    return problem, problem.export(), torch.stack([tensor(frame) for frame in frames])


def residual(disc: Discretization, interval: float) -> TimeStepResidual:
    solver = SaddleSolver(disc["V"], disc["Q"], disc.product("V", "Q"), tuple(TAGS))
    return TimeStepResidual(solver, disc.form("transport"), interval, 1e-3, disc["V"])


def test_the_solution_leaves_a_residual_of_fifth_order_of_a_time_step(steps: tuple[CylinderFlow, Discretization, Tensor]):
    """The solver's frames, and small Runge-Kutta steps, by which the interval is varied."""
    _, disc, u = steps
    change = (disc["V"].norm(u[1] - u[0]) / disc["V"].norm(u[1])).item()
    assert residual(disc, 0.01).each({"u": u[1:]}, {"previous_u": u[:1]}).item() < 2e-3 * change
    sizes = []
    for interval in (0.004, 0.008):
        loss, v = residual(disc, interval), u[:1]
        predict = FlowPrediction(loss.solver, disc.form("transport"), 5e-4, viscosity=1e-3)
        for _ in range(round(interval / 5e-4)):
            v = predict({"u": v})["u_predicted"]
        sizes.append(loss.each({"u": v}, {"previous_u": u[:1]}).item())
    assert 24 < sizes[1] / sizes[0] < 40


def test_the_residual_of_a_time_step_represents_the_weak_form(steps: tuple[CylinderFlow, Discretization, Tensor]):
    """Of a velocity that is no solution, tested with velocities without weak divergence, against Firedrake's assembly."""
    problem, disc, u = steps
    loss, tau, V = residual(disc, 0.01), 0.01, disc["V"]
    noise = 1e-2 * torch.randn(1, V.num_dofs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise[:, V.boundary_dofs(TAGS)] = 0
    v, w = u[:1], loss.solver.project(u[1:2] + noise)
    accelerations = [loss.solver(-disc.form("transport")(u=state, viscosity=1e-3))[0] for state in (v, w)]
    middle = (v + w) / 2 + tau / 8 * (accelerations[0] - accelerations[1])
    test = loss.solver.project(torch.roll(noise, 2, dims=1) * (noise != 0))

    def function(dofs: Tensor) -> fd.Function:
        made = fd.Function(problem.spaces["V"])
        made.dat.data_wo[...] = dofs[0].numpy().reshape(made.dat.data_ro.shape)
        return made

    def transport(state: Tensor) -> float:
        a, phi = function(state), function(test)
        return fd.assemble((1e-3 * fd.inner(fd.grad(a), fd.grad(phi)) + fd.inner(fd.dot(fd.grad(a), a), phi)) * fd.dx(degree=6))

    weak = V.inner(w - v, test).item() + tau / 6 * (transport(v) + 4 * transport(middle) + transport(w))
    assert V.inner(loss.defect(v, w), test).item() == pytest.approx(weak, rel=1e-9)
    expected = (V.norm(loss.defect(v, w)) / V.norm(w)).item()
    assert loss({"u": w}, {"previous_u": v}).item() == pytest.approx(expected)
    # With a length, the norm of the function that represents it in the inner product with that length.
    dual = TimeStepResidual(loss.solver, loss.transport, tau, 1e-3, V, length=0.03, tags=TAGS)
    represents = dual.smooth(loss.defect(v, w))
    squared = V.inner(represents, represents) + 0.03**2 * (V.norm(represents, "H1") ** 2 - V.norm(represents) ** 2)
    assert (dual({"u": w}, {"previous_u": v}) * V.norm(w)).item() == pytest.approx(squared.sqrt().item())
    with pytest.raises(InputError, match="rollout or pool"):
        loss({"u": w}, {"u": v})
