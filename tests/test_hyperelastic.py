"""The compressed beam against exact deformations, linear elasticity, Euler's load, and the energy it minimises."""

import signal

import firedrake as fd
import numpy as np
import pytest
import torch

from manufactured import evaluate, fields, free, order, tensor
from thalweg.errors import DivergedError, InputError
from thalweg.solvers import HyperelasticBeam
from thalweg.solvers.buckling import critical_compression, euler_compression

RANDOM = {"cells": (10, 1), "stiffness": {"length": 0.3, "deviation": 0.3}, "load": {"length": 0.5, "deviation": 1e-3}}


@pytest.fixture(scope="module")
def beam() -> HyperelasticBeam:
    return HyperelasticBeam(**RANDOM)


@pytest.fixture(scope="module")
def buckled(beam: HyperelasticBeam) -> dict:
    inputs = beam.random_inputs(np.random.default_rng(0))
    inputs["g"] = beam.shortening(0.1)
    return inputs | beam.solve(inputs)


@pytest.mark.parametrize(("cells", "lengths"), [((8, 2), (1.0, 0.25)), ((3, 1, 1), (1.0, 0.5, 0.5))])
def test_a_homogeneous_deformation_is_exact(cells: tuple, lengths: tuple):
    """With Poisson's ratio 0 the beam does not bulge: u = (−δx/L, 0), and the end force is μ (1/(1 − δ) − (1 − δ)) A."""
    beam = HyperelasticBeam(cells, lengths, poisson_ratio=0.0, refinements=0)
    u = beam.solve({"g": beam.shortening(0.1)})["u"]
    x = fd.SpatialCoordinate(u.function_space().mesh())
    exact = fd.as_vector([-0.1 * x[0], *[0] * (len(cells) - 1)])
    assert fd.errornorm(exact, u, "H1") < 1e-9
    right = beam.spaces["V"].boundary_nodes(2)
    force = fd.assemble(beam.residual).dat.data_ro[right, 0].sum()
    assert -force == pytest.approx(0.5 * (1 / 0.9 - 0.9) * np.prod(lengths[1:]), rel=1e-8)


def test_small_strains_are_those_of_linear_elasticity():
    beam = HyperelasticBeam((8, 2), (1.0, 0.25), stiffness={"length": 0.3}, load={"length": 0.5}, refinements=0)
    inputs = beam.random_inputs(np.random.default_rng(0))
    V, E, nu = beam.spaces["V"], inputs["E"], 0.3
    u, v = fd.TrialFunction(V), fd.TestFunction(V)
    mu, lmbda = E / (2 * (1 + nu)), E * nu / ((1 + nu) * (1 - 2 * nu))
    stress = 2 * mu * fd.sym(fd.grad(u)) + lmbda * fd.div(u) * fd.Identity(2)
    linear, g = fd.Function(V), beam.shortening(1.0)
    bcs = fd.DirichletBC(V, g, (1, 2))
    fd.solve(fd.inner(stress, fd.grad(v)) * fd.dx(degree=4) == inputs["t"] * v[1] * fd.ds(4), linear, bcs)
    differences, sizes = [], [1e-3, 1e-4]
    for size in sizes:
        scaled = inputs | {"g": fd.Function(V).assign(size * g), "t": fd.Function(inputs["t"]).assign(size * inputs["t"])}
        difference = beam.solve(scaled)["u"] - size * linear
        differences.append(fd.norm(fd.assemble(fd.interpolate(difference, V))) / fd.norm(linear) / size)
    assert differences[1] < 1e-2
    assert order(differences, sizes) == pytest.approx(1, abs=0.1)


def test_the_residual_is_the_gradient_of_the_energy(beam: HyperelasticBeam, buckled: dict):
    """The remainder of Taylor's expansion is of second order, and autograd through the energy gives the residual."""
    disc = beam.export()
    energy, residual = disc.form("energy"), disc.form("residual")
    given = fields(buckled)
    direction = torch.randn(len(given["u"]), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor([1e-3, 5e-4, 2.5e-4], dtype=torch.float64) * 0.1
    slope = evaluate(residual, given) @ direction
    moved = evaluate(energy, given | {"u": given["u"] + steps[:, None] * direction})
    remainder = (moved - evaluate(energy, given) - steps * slope).abs()
    assert order(remainder.tolist(), steps.tolist()) == pytest.approx(2, abs=0.1)
    u = given["u"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(evaluate(energy, given | {"u": u}), u)
    torch.testing.assert_close(gradient, evaluate(residual, given), atol=1e-12, rtol=1e-9)


def test_a_beam_that_buckles_is_in_stable_equilibrium(beam: HyperelasticBeam, buckled: dict):
    disc, given = beam.export(), fields(buckled)
    mask = free(len(given["u"]), disc["V"].boundary_dofs(["left", "right"]))
    assert evaluate(disc.form("residual"), given)[mask].abs().max() < 1e-10
    assert torch.equal(given["u"][~mask], given["g"][~mask])
    deflection = given["u"][1::2]
    assert deflection.abs().max() > 0.1
    straight = tensor(
        fd.Function(beam.spaces["V"]).interpolate(-0.1 * fd.as_vector([fd.SpatialCoordinate(beam.spaces["V"].mesh())[0], 0]))
    )
    assert evaluate(disc.form("energy"), given) < evaluate(disc.form("energy"), given | {"u": straight})


def test_the_beam_buckles_to_the_side_that_it_is_pushed_to():
    beam = HyperelasticBeam((10, 2), refinements=0, load={"length": 0.5})
    t = fd.Function(beam.spaces["Q"]).assign(1e-3)
    up, down = (beam.solve({"g": beam.shortening(0.08), "t": fd.Function(t).assign(sign * t)})["u"] for sign in (1, -1))
    rise, fall = up.dat.data_ro[:, 1].max(), down.dat.data_ro[:, 1].min()
    assert rise == pytest.approx(-fall, rel=0.02)  # no mirror images, for both loads are on the top
    assert rise > 0.1


def test_the_solution_does_not_depend_on_the_load_steps():
    inputs, found = None, []
    for step in (1 / 4, 1 / 16):
        beam = HyperelasticBeam(**RANDOM, load_step=step)
        inputs = inputs or beam.random_inputs(np.random.default_rng(3))
        inputs = {
            name: fd.Function(beam.spaces[beam.fields[name]], function.dat.data_ro.copy()) for name, function in inputs.items()
        }
        found.append(beam.solve(inputs)["u"].dat.data_ro)
    assert np.abs(found[0] - found[1]).max() < 1e-7


def test_a_slender_beam_buckles_at_eulers_load():
    assert critical_compression(0.05, (16, 1)) == pytest.approx(euler_compression(0.05), rel=0.03)


def test_a_perfect_beam_cannot_decide_where_to_buckle():
    beam = HyperelasticBeam((10, 1), refinements=0)
    with pytest.raises(DivergedError, match=r"No step of .* of the way .* unstable in 1 modes\. .* give it a load"):
        beam.solve({"g": beam.shortening(0.05)})
    inputs = {"g": beam.shortening(0.01)}
    assert np.abs(beam.solve(inputs)["u"].dat.data_ro[:, 0]).max() == pytest.approx(0.01)


def test_an_interruption_waits_for_the_end_of_a_solve(beam: HyperelasticBeam, buckled: dict):
    """An error within PETSc's callbacks would end in its own traceback."""
    inputs, iterations = {name: buckled[name] for name in beam.inputs}, []
    listener = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it

    def interrupt(_: object, iteration: int, __: float) -> None:
        if not iterations:
            signal.raise_signal(signal.SIGINT)
        iterations.append(iteration)

    beam.nonlinear_solver.snes.setMonitor(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            beam.solve(inputs)
    finally:
        beam.nonlinear_solver.snes.monitorCancel()
        signal.signal(signal.SIGINT, listener)
    assert len(iterations) > 1
    assert iterations == list(range(len(iterations)))  # one solve, and none after it
    assert np.abs(beam.solve(inputs)["u"].dat.data_ro - buckled["u"].dat.data_ro).max() < 1e-9


def test_impossible_beams_are_refused():
    with pytest.raises(InputError, match=r"Poisson's ratio is between −1 and ½, not 0\.5"):
        HyperelasticBeam(poisson_ratio=0.5)
    with pytest.raises(InputError, match="Young's modulus must be positive, not -1"):
        HyperelasticBeam(stiffness=-1.0)
    with pytest.raises(InputError, match="below 1"):
        HyperelasticBeam(compression=(0.1, 1.0))
    with pytest.raises(InputError, match="load step"):
        HyperelasticBeam(load_step=0.0)
    with pytest.raises(InputError, match="two or three sides"):
        HyperelasticBeam((4,), (1.0,))
    beam = HyperelasticBeam((4, 1), refinements=0, stiffness={"length": 0.3})
    with pytest.raises(InputError, match="'E' must be positive"):
        beam.solve({"g": beam.shortening(0.01), "E": fd.Function(beam.spaces["Q"])})
