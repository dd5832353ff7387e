"""Every example runs, at a small size, and its number is right."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_quickstart(tmp_path: Path):
    result = example("quickstart")["main"](samples=100, epochs=5, folder=str(tmp_path))
    assert result["boundary_error"] == 0.0
    assert result["relative_h1"] < 0.6
    assert result["num_samples"] == 20


def test_your_own_data(tmp_path: Path):
    result = example("your_own_data")["main"](folder=str(tmp_path))
    assert result["relative_l2"] < 0.06
    assert result["num_samples"] == 20
    assert (tmp_path / "data/README.md").read_text().count("500 points") == 1
