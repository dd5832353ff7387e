"""Losses without data on nonlinear problems: their minimisers are the solutions, and they are finite where cells are inverted."""

import firedrake as fd
import numpy as np
import pytest
import torch
from torch import Tensor

from manufactured import evaluate, fields, free
from thalweg.errors import DivergedError, InputError
from thalweg.fem import RieszMap
from thalweg.random_numbers import sample_rng
from thalweg.solvers import HyperelasticBeam, NonlinearDiffusion, Poisson
from thalweg.solvers.hyperelastic_beam import LEAST_VOLUME
from thalweg.training import FormEnergy, FormResidual, Metric

LOADS = {"load": {"length": 0.5, "mean": -5e-3, "deviation": 1e-3}, "stiffness": {"length": 0.5, "deviation": 0.2}}


@pytest.fixture(scope="module")
def beam() -> HyperelasticBeam:
    return HyperelasticBeam((5, 1), (1.0, 0.2), refinements=0, load_step=0.25, **LOADS)


@pytest.fixture(scope="module")
def bent(beam: HyperelasticBeam) -> dict:
    inputs = beam.random_inputs(sample_rng(0, 0))
    inputs["g"] = beam.shortening(0.06)
    return inputs | beam.solve(inputs)


def minimiser(loss: Metric, given: dict[str, Tensor], start: Tensor, fixed: Tensor, steps: int) -> Tensor:
    """The dofs with the least loss among those that keep the fixed ones, by L-BFGS."""
    u = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [u], max_iter=steps, history_size=50, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    batch = {name: value[None] for name, value in given.items()}

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss({"u": torch.where(fixed, given["g"], u)[None]}, batch)
        value.backward()
        return value

    optimizer.step(closure)
    return torch.where(fixed, given["g"], u.detach())


def test_the_solution_of_nonlinear_diffusion_is_where_the_residual_is_least():
    problem = NonlinearDiffusion(4, degree=1)
    inputs = problem.random_inputs(sample_rng(0, 0))
    disc, given = problem.export(), fields(inputs | problem.solve(inputs))
    riesz = RieszMap(disc.hierarchy_below("V"), ["stiffness"], problem.dirichlet)
    loss = FormResidual(disc.form("residual"), riesz)
    fixed = ~free(len(given["u"]), disc["V"].boundary_dofs(problem.dirichlet))
    found = minimiser(loss, given, torch.zeros_like(given["u"]), fixed, 200)
    assert disc["V"].norm(found - given["u"], "H1") < 1e-5 * disc["V"].norm(given["u"], "H1")


def test_the_equilibrium_of_the_beam_is_where_the_energy_is_least(beam: HyperelasticBeam, bent: dict):
    """Sought from a displacement that folds cells over, where the energy of the material is not defined."""
    disc, given = beam.export(), fields(bent)
    fixed = ~free(len(given["u"]), disc["V"].boundary_dofs(list(beam.dirichlet)))
    start = given["u"] + 0.03 * torch.randn(len(fixed), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start = torch.where(fixed, given["g"], start)
    assert evaluate(disc.form("energy"), given | {"u": start}).isnan()
    assert evaluate(disc.form("extended_energy"), given | {"u": start}).isfinite()
    found = minimiser(FormEnergy(disc.form("extended_energy")), given, start, fixed, 1500)
    assert disc["V"].norm(found - given["u"], "H1") < 1e-3 * disc["V"].norm(given["u"], "H1")


def test_the_extended_energy_is_the_energy_until_cells_are_nearly_flat(beam: HyperelasticBeam, bent: dict):
    disc, given = beam.export(), fields(bent)
    energy, extended = disc.form("energy"), disc.form("extended_energy")
    torch.testing.assert_close(evaluate(extended, given), evaluate(energy, given), rtol=1e-12, atol=0)
    # Uniform compression down to J = 1 − δ, and beyond: the values meet at the least volume, and grow on the other side of zero.
    x = torch.zeros_like(given["u"])
    x[0::2] = disc["V"].points[:, 0]
    volumes = torch.tensor([LEAST_VOLUME + 1e-6, LEAST_VOLUME - 1e-6, 0.1, 0.0, -0.5], dtype=torch.float64)
    squeezed = given | {"u": -(1 - volumes)[:, None] * x}
    values = evaluate(extended, squeezed)
    assert values.isfinite().all()
    assert (values.diff() > 0).all()
    torch.testing.assert_close(values[:3], evaluate(energy, squeezed)[:3], rtol=0.2, atol=0)
    torch.testing.assert_close(values[:1], evaluate(energy, squeezed)[:1], rtol=1e-12, atol=0)
    assert evaluate(energy, squeezed)[3:].isnan().logical_or(evaluate(energy, squeezed)[3:].isinf()).all()


def test_displacements_live_at_the_nodes_of_the_scalar_hierarchy(beam: HyperelasticBeam):
    disc = HyperelasticBeam((5, 1), (1.0, 0.2), **LOADS).export()
    V, S = disc.hierarchy_below("V"), disc.hierarchy_below("S")
    assert [S[level].name for level in range(len(S))] == ["S", "Q", "Q1"]
    assert len(V) == len(S)
    for level in range(len(S)):
        assert torch.equal(V[level].points, S[level].points)
        K, k = V[level].stiffness.to_scipy(), S[level].stiffness.to_scipy()
        assert abs(K[0::2, 0::2] - k).max() < 1e-12
        assert abs(K[0::2, 1::2]).max() < 1e-12


def test_newtons_method_finds_the_equilibrium_from_a_guess_near_it(beam: HyperelasticBeam, bent: dict):
    noise = np.random.default_rng(0).standard_normal(bent["u"].dat.data_ro.shape)
    guess = fd.Function(beam.spaces["V"], bent["u"].dat.data_ro + 1e-4 * noise)
    inputs = {name: bent[name] for name in beam.inputs}
    found = beam.solve_from(inputs, {"u": guess})["u"]
    assert np.abs(found.dat.data_ro - bent["u"].dat.data_ro).max() < 1e-8
    assert beam.nonlinear_solver.snes.getIterationNumber() <= 5
    with pytest.raises(DivergedError):
        beam.solve_from(inputs, {"u": fd.Function(beam.spaces["V"], 0.2 * noise)})


def test_a_mean_is_added_to_the_load(beam: HyperelasticBeam):
    means = [beam.random_inputs(sample_rng(1, i))["t"].dat.data_ro.mean() for i in range(20)]
    assert np.mean(means) == pytest.approx(-5e-3, abs=1e-3)


@pytest.mark.parametrize("problem", [Poisson, NonlinearDiffusion])
def test_a_source_alone_does_not_determine_a_solution(problem: type):
    with pytest.raises(InputError, match="Name at least one tag"):
        problem(4, [])
