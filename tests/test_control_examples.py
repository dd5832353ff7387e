"""Examples of control: their gradients are right, and what they find beats what needs no search."""

from pathlib import Path

from test_examples import example


def test_the_posterior_maximum_beats_the_prior_and_the_network(tmp_path: Path):
    result = example("inverse_darcy")["main"](cells=16, modes=20, sensors=5, truths=2, samples=256, folder=str(tmp_path))
    errors = result["errors"]
    assert errors["MAP"] < errors["network"] < errors["prior mean"] == 1.0
    assert abs(errors["MAP"] - errors["MAP from network"]) < 1e-2
    assert result["taylor"] > 1.9
    assert (tmp_path / "inverse_darcy.png").stat().st_size > 10_000


def test_a_force_steers_smoke_to_its_target(tmp_path: Path):
    result = example("smoke_to_target")["main"](cells=16, modes=3, iterations=15, folder=str(tmp_path))
    assert result["controlled"] < 0.3 < 1.3 < result["uncontrolled"]
    assert result["taylor"] > 1.8
    assert (tmp_path / "smoke_to_target.png").stat().st_size > 10_000
