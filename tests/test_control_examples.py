"""Examples of control: their gradients are right, and what they find beats what needs no search."""

from pathlib import Path

from test_examples import example


def test_the_posterior_maximum_beats_the_prior_and_the_network(tmp_path: Path):
    result = example("inverse_darcy")["main"](cells=16, modes=20, sensors=5, truths=2, samples=256, folder=str(tmp_path))
    errors = result["errors"]
    print(result)
    assert errors["MAP"] < errors["network"] < errors["prior mean"] == 1.0
    assert abs(errors["MAP"] - errors["MAP from network"]) < 1e-2
    assert result["taylor"] > 1.9
    assert (tmp_path / "inverse_darcy.png").stat().st_size > 10_000
