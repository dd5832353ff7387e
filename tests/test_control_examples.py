"""Examples of control: their gradients are right, and what they find beats what needs no search."""

from pathlib import Path

import torch

from test_examples import example
from thalweg.control.darcy_permeability import DarcyObservations


def test_pressures_are_observed_at_the_same_points_on_a_finer_grid():
    coarse = DarcyObservations(cells=16, modes=4, sensors=5)
    y, finer = (grid.observe(grid.log_a(torch.zeros(1, 4, dtype=torch.float64))) for grid in (coarse, coarse.refined()))
    torch.testing.assert_close(finer, y, atol=3e-4, rtol=0)  # O(h²)


def test_the_posterior_maximum_beats_the_prior_and_the_network(tmp_path: Path):
    result = example("inverse_darcy")["main"](cells=16, modes=20, sensors=5, truths=2, samples=256, folder=str(tmp_path))
    errors = result["errors"]
    assert errors["MAP"] < errors["network"] < errors["prior mean"] == 1.0
    assert abs(errors["MAP"] - errors["MAP from network"]) < 1e-2
    assert result["taylor"] > 1.9
    assert (tmp_path / "inverse_darcy.png").stat().st_size > 10_000


def test_a_force_steers_smoke_to_its_target(tmp_path: Path):
    """On a coarse grid, by an operator of few samples."""
    sizes = "problem.cells=16", "problem.modes=3", "problem.dt=0.015", "data.split={train: 48, valid: 8, test: 8}"
    overrides = (*sizes, "training.loop.epochs=6", "training.loop.batch_size=8")
    result = example("smoke_to_target")["main"](str(tmp_path), overrides, iterations=15)
    assert result["torch"]["surrogate"] == result["torch"]["solver"] < 0.3 < 1.3 < result["uncontrolled"]
    assert result["operator"]["solver"] < 0.4
    assert min(result[model]["taylor"] for model in ("operator", "torch")) > 1.8
    assert (tmp_path / "smoke_to_target.png").stat().st_size > 10_000


def test_an_operator_cuts_the_drag_of_a_cylinder_in_the_reference_solver(tmp_path: Path):
    """On a coarse mesh and for short times; there is no developed vortex street."""
    problem = {"refinements": 0, "dt": 2e-3, "spin_up": 0.4, "settle": 0.1, "average": 0.2, "ramp": 0.05}
    overrides = [f"problem.{key}={value}" for key, value in problem.items()]
    overrides += ["data.split.train=6", "data.split.valid=1", "data.split.test=1", "training.loop.epochs=300"]
    result = example("cylinder_drag")["main"](str(tmp_path), tuple(overrides), iterations=2, late=0.4)
    for actuator in ("rotation", "jets"):
        found = result[actuator]
        assert min(found[model]["taylor"] for model in ("operator", "firedrake")) > 1.8
        assert found["firedrake"]["predicted"] == found["firedrake"]["reference"]
        assert (tmp_path / f"wake_{actuator}.png").stat().st_size > 10_000
    assert result["jets"]["operator"]["reference"] < 0.95 * result["jets"]["uncontrolled"]


def test_an_initial_state_is_found_through_a_trained_stepper(tmp_path: Path):
    """Six sensors, a short series and a hasty training; the gradient is right whatever the operator is worth."""
    result = example("initial_state")["main"](samples=48, epochs=6, frames=6, truths=1, folder=str(tmp_path))
    assert result["SPON"] < 0.35
    assert result["taylor"] > 1.9
    assert (tmp_path / "initial_state.png").stat().st_size > 10_000
