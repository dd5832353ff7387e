"""Every example runs, at a small size, and its number is right."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import meshio

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


def test_an_equation_of_your_own(tmp_path: Path):
    result = example("your_own_pde")["main"](size=0.4, samples=96, epochs=14, folder=str(tmp_path))
    assert result["relative_l2"] < 0.2
    assert result["num_samples"] == 12
    assert result["error_heater"] < 0.3
    assert (tmp_path / "heater.png").stat().st_size > 10_000
    assert "q" in meshio.read(tmp_path / "heater.vtu").point_data


def test_natural_boundary_conditions(tmp_path: Path):
    result = example("sound_in_a_room")["main"](size=0.2, samples=32, epochs=1, folder=str(tmp_path))
    assert result["relative_h1"] < 0.05
    assert result["num_samples"] == 8
    assert (tmp_path / "sound.png").stat().st_size > 10_000


def test_an_equation_of_your_own_from_the_command_line(tmp_path: Path):
    """Configurations in a folder of the user's, with a class in the current folder."""
    shutil.copytree(EXAMPLES / "conf", tmp_path / "conf")
    shutil.copy(EXAMPLES / "your_own_pde.py", tmp_path)
    sizes = ["problem.size=0.5", "problem.refinements=1", *(f"data.split.{part}=4" for part in ("train", "valid", "test"))]
    for verb in (["generate"], ["train", "training.loop.epochs=1"]):
        command = [verb[0], "--config-dir", "conf", "experiment=cooled_plate", *sizes, *verb[1:]]
        thalweg = (
            "import sys; sys.path.pop(0); from thalweg.__main__ import main; main()"  # as the installed command finds modules
        )
        done = subprocess.run([sys.executable, "-c", thalweg, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "options you set that were not used" not in done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "outputs/cooled_plate/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["valid_boundary_error"] == 0.0
