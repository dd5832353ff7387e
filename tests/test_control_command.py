"""The verb control: a folder with what was found, resumption, and answers to wrong input."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from test_configurations import CONF, EXPERIMENTS, GROUPS
from thalweg import control
from thalweg.commands import control as command
from thalweg.commands import generate, train
from thalweg.commands.control import trained_operator
from thalweg.commands.run import Run
from thalweg.errors import FileError, InputError
from thalweg.fem import Grid
from thalweg.solvers.grid.problems import SteeredSmoke


def configured(experiment: str, folder: Path, *overrides: str) -> DictConfig:
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose("control", overrides=[f"experiment={experiment}", f"folder={folder}", *overrides])


def test_every_experiment_of_control_makes_its_case_and_its_controls(tmp_path: Path):
    small = {
        "stokes_lid": ["case.cells=2", "case.modes=null"],
        "darcy_permeability": ["case.cells=8", "case.modes=4", "case.sensors=2"],
        "shedding_frequency": ["case.problem.cells=[24,12]", "case.problem.start=0.1", "case.problem.disc=[0.5,0.5,0.17]"],
        "smoke_target": ["case.problem.cells=6"],
        "duct_shape": ["case.refinements=1"],
    }
    cylinder = ["case.problem.refinements=0"]
    assert not set(GROUPS["control"]) & set(EXPERIMENTS)  # one name chooses one file
    for experiment in GROUPS["control"]:
        config = configured(experiment, tmp_path, *small.get(experiment, cylinder))
        case = command._case(config, None)
        controls = case.controls(config.controls)
        assert [c.initial.shape for c in controls] == list(case.shapes.values())
        assert config.model in case.models
        assert (CONF / "control" / f"{experiment}.yaml").read_text().count("# @package _global_") == 1


def test_a_permeability_is_found_told_and_found_again(tmp_path: Path):
    sizes = ["case.cells=8", "case.modes=6", "case.sensors=3"]
    first = command.run(configured("darcy_permeability", tmp_path, *sizes, "optimizer.iterations=4"))
    assert first["iterations"] == 4
    result = command.run(configured("darcy_permeability", tmp_path, *sizes, "resume=true"))
    assert result["converged"]
    assert result["reference"]["objective"] < first["reference"]["objective"] < result["uncontrolled"]["objective"]
    assert result["reference"]["error of log a"] < result["uncontrolled"]["error of log a"] == 1
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(result["iterations"] + 1))
    assert rows[-1]["value"] == pytest.approx(result["reference"]["objective"])
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert np.load(tmp_path / "controls.npz")["xi"].tolist() == result["controls"]["xi"]
    for picture in ("objective.png", "fields.png"):
        assert (tmp_path / picture).stat().st_size > 10_000


def test_the_gradient_of_the_permeability_passes_the_taylor_test():
    case = control.DarcyPermeability(cells=8, modes=6, sensors=3)
    rng = np.random.default_rng(0)
    at, along = ({"xi": rng.standard_normal(6)} for _ in range(2))
    assert control.taylor_test(case.functional("torch"), at, along).min() > 1.95


def learn(experiment: str, folder: Path, epochs: int, *sizes: str) -> None:
    """Data and training of an experiment, the run in ``folder / "run"``."""
    sizes = *sizes, f"data.folder={folder / 'data'}", "device=cpu"
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        made, trained = (compose(verb, [f"experiment={experiment}", *sizes]) for verb in ("generate", "train"))
    generate.run(made)
    trained.folder, trained.training.loop.epochs = str(folder / "run"), epochs
    train.run(trained)


def test_a_permeability_is_found_through_a_trained_operator(tmp_path: Path):
    learn("mgno_permeability", tmp_path, 12, "problem.nodes=17", "data.split={train: 96, valid: 8, test: 8}")
    case = ["case.cells=16", "case.modes=12", "case.sensors=4", "model=operator", f"run={tmp_path / 'run'}"]
    result = command.run(configured("darcy_permeability", tmp_path / "found", *case, "optimizer.iterations=100"))
    assert result["converged"]
    uncontrolled, surrogate, reference = (result[row] for row in ("uncontrolled", "surrogate", "reference"))
    assert reference["objective"] < 0.2 * uncontrolled["objective"]
    assert reference["error of log a"] < 0.8 < uncontrolled["error of log a"]
    assert surrogate["objective"] == pytest.approx(reference["objective"], rel=0.2)
    darcy = control.DarcyPermeability(cells=16, modes=12, sensors=4)
    darcy.use_operator(trained_operator(Run(str(tmp_path / "run"), "cpu")))
    at, along = ({"xi": np.random.default_rng(seed).standard_normal(12)} for seed in (0, 1))
    assert control.taylor_test(darcy.functional("operator"), at, along).min() > 1.95
    with pytest.raises(InputError, match=r"lives on \(9, 9\) points.*on Grid\(shape=\(17, 17\)"):
        command.run(configured("darcy_permeability", tmp_path / "other", *case, "case.cells=8", "case.sensors=2"))
    with pytest.raises(InputError, match=r"is of .*GridDarcy, the case of .*ControlledCylinderFlow"):
        command.run(configured("cylinder_jets", tmp_path / "other", *case[3:]))


def test_the_known_optimum_of_a_lid_is_found_through_a_trained_operator(tmp_path: Path):
    sizes = ["problem.mesh=4", "problem.refinements=1", "problem.modes=3", "data.split={train: 48, valid: 4, test: 4}"]
    learn("lid_driven_stokes", tmp_path, 16, *sizes)
    case = ["case.cells=8", "case.modes=3"]
    optimum = command.run(configured("stokes_lid", tmp_path / "adjoint", *case))["reference"]["objective"]
    found = command.run(configured("stokes_lid", tmp_path / "found", *case, "model=operator", f"run={tmp_path / 'run'}"))
    assert found["reference"]["objective"] == pytest.approx(optimum, rel=0.01)
    assert found["reference"]["objective"] < 0.85 * found["uncontrolled"]["objective"]
    lid = control.StokesLid(8, modes=3)
    lid.use_operator(trained_operator(Run(str(tmp_path / "run"), "cpu")))
    at, along = ({"g": np.array(values)} for values in ([1.0, -0.5, 0.3], [0.2, 0.7, -1.0]))
    assert control.taylor_test(lid.functional("operator"), at, along).min() > 1.95
    with pytest.raises(InputError, match="lid has 15 nodes between its ends, that of the case 11"):
        control.StokesLid(6).use_operator(trained_operator(Run(str(tmp_path / "run"), "cpu")))
    on_grids = replace(trained_operator(Run(str(tmp_path / "run"), "cpu")), where=dict.fromkeys(("f", "g", "w"), Grid((5, 5))))
    with pytest.raises(InputError, match="'g' lives on a grid"):
        lid.use_operator(on_grids)


def test_smoke_is_steered_through_a_trained_operator_as_through_the_solver(tmp_path: Path):
    learn("steered_smoke", tmp_path, 4, "problem.cells=8", "problem.modes=2", "data.split={train: 64, valid: 4, test: 4}")
    case = ["case.problem.cells=8", "case.problem.modes=2", "model=operator", f"run={tmp_path / 'run'}"]
    result = command.run(configured("smoke_target", tmp_path / "found", *case, "optimizer.iterations=8"))
    assert result["reference"]["mismatch"] < 0.7 * result["uncontrolled"]["mismatch"]
    assert result["surrogate"]["mismatch"] == pytest.approx(result["reference"]["mismatch"], abs=0.1)
    smoke = control.SmokeTarget(SteeredSmoke(8, 2))
    smoke.use_operator(trained_operator(Run(str(tmp_path / "run"), "cpu")))
    at, along = ({"m": np.array(values)} for values in ([[0.5, -0.2], [0.1, 0.3]], [[0.2, 0.7], [-1.0, 0.4]]))
    # Small steps, for the limiter has kinks.
    assert control.taylor_test(smoke.functional("operator"), at, along, steps=(1e-4, 5e-5, 2.5e-5)).min() > 1.9
    with pytest.raises(InputError, match=r"The case has \(6, 6\) cells"):
        control.SmokeTarget(SteeredSmoke(6, 2)).use_operator(trained_operator(Run(str(tmp_path / "run"), "cpu")))


def test_a_case_needs_its_operator():
    with pytest.raises(InputError, match="no operator to compute the pressure"):
        control.DarcyPermeability(cells=8, modes=6, sensors=3).quantities({"xi": np.zeros(6)}, "operator")
    with pytest.raises(InputError, match="SmokeTarget cannot be computed by model='firedrake'; choose torch or operator"):
        control.SmokeTarget(SteeredSmoke(8)).require("firedrake")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=magic"], "no model 'magic'; choose firedrake, torch, operator"),
        (["model=operator"], "needs the folder of a training run"),
        (["run=outputs/quickstart"], "the other models take none"),
        (["model=firedrake"], "choose torch or operator"),
        (["+controls.eta.initial=1"], "no control 'eta'; DarcyPermeability has 'xi'"),
        (["+controls.xi.start=1"], "initial, low, high and scale, but no start"),
        (["controls.xi.initial=[1,2]"], r"shape \(6,\); its initial value of shape \(2,\)"),
        (["+controls.xi.low=1"], "within its bounds"),
        (["case.sensors=9"], "No inverse problem has cells=8"),
        (["optimizer.tolerance=-1"], "Tolerances cannot be negative"),
    ],
)
def test_wrong_configurations_are_answered(tmp_path: Path, overrides: list[str], message: str):
    sizes = ["case.cells=8", "case.modes=6", "case.sensors=3"]
    with pytest.raises(InputError, match=message):
        command.run(configured("darcy_permeability", tmp_path, *sizes, *overrides))


def test_what_a_folder_holds_is_not_overwritten_or_mixed(tmp_path: Path):
    sizes = ["case.cells=8", "case.modes=6", "case.sensors=3", "optimizer.iterations=1"]
    command.run(configured("darcy_permeability", tmp_path, *sizes))
    with pytest.raises(InputError, match="already holds an optimisation"):
        command.run(configured("darcy_permeability", tmp_path, *sizes))
    with pytest.raises(InputError, match=r"case\.noise was 0\.0.*, is 0\.1"):
        command.run(configured("darcy_permeability", tmp_path, *sizes, "case.noise=0.1", "resume=true"))
    assert command.run(configured("darcy_permeability", tmp_path, *sizes, "overwrite=true"))["iterations"] == 1
    with pytest.raises(FileError, match="does not exist"):
        command.run(configured("cylinder_jets", tmp_path / "new", "model=operator", f"run={tmp_path / 'none'}"))
