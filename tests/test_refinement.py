"""Predictions as initial guesses: the same solution in fewer iterations."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from thalweg.commands import generate, predict, train
from thalweg.commands.refinement import counted, first_converged, function, solved_problem
from thalweg.commands.run import Run
from thalweg.commands.stepwise_refinement import PREDICTION, PREVIOUS_STEP, solve_steps, summary
from thalweg.errors import DivergedError, InputError
from thalweg.solvers import CylinderFlow, NonlinearDiffusion, Poisson, Problem, RadauIIA, SteadyCylinderFlow

PROBLEMS = {
    "diffusion": lambda: NonlinearDiffusion(8, ["left", "right"], refinements=0),
    "cylinder": lambda: SteadyCylinderFlow(),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_good_guess_saves_iterations_and_leads_to_the_same_solution(name: str):
    problem = PROBLEMS[name]()
    inputs = problem.random_inputs(np.random.default_rng(0))
    exact, cold, _ = counted(problem, lambda: problem.solve(inputs))
    rng = np.random.default_rng(1)
    guess = {}
    for field, u in exact.items():
        dofs = np.asarray(u.dat.data_ro).ravel()
        noisy = dofs * (1 + 1e-3 * rng.standard_normal(dofs.size))
        guess[field] = function(problem, field, torch.from_numpy(noisy[None]))
    found, warm, _ = counted(problem, lambda: problem.solve_from(inputs, guess))
    assert warm <= cold - 2
    for field, u in exact.items():
        assert np.allclose(found[field].dat.data_ro, u.dat.data_ro, atol=1e-7 * np.abs(u.dat.data_ro).max())
    # A guess is forgotten: the next solution from rest is that from rest.
    again = problem.solve(inputs)
    assert all(np.array_equal(again[field].dat.data_ro, exact[field].dat.data_ro) for field in exact)


def test_linear_problems_have_nothing_to_gain(trained: Path, tmp_path: Path):
    from small import configuration

    problem: Problem = Poisson(3, ["left"], refinements=0)
    with pytest.raises(InputError, match="solved directly, in one step"):
        problem.solve_from({}, {})
    with pytest.raises(InputError, match="Only nonlinear problems"):
        predict.run(configuration("predict", tmp_path, f"run={trained}", f"output={tmp_path / 'u.vtu'}", "refine=true"))


STEPS = [
    "experiment=cylinder_steps",
    "problem={refinements: 0, peak: [0.8, 1.2], spin_up: 0.08, duration: 0.2, frames: 6, developed: 0.0}",
    "data.split={train: 2, valid: 1, test: 1}",
]
SMALL_STEPPER = [
    "operator.corrector.processor={hierarchy: {_hierarchy_: [S, Q]}, channels: 4, blocks: 1}",
    "training.loop.epochs=1",
    "device=cpu",
]


@pytest.fixture(scope="module")
def stepper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch on implicit steps of a flow."""
    folder = tmp_path_factory.mktemp("steps")
    own = [*STEPS, f"data.folder={folder / 'data'}"]
    generate.run(composed("generate", *own, "preview=false"))
    train.run(composed("train", *own, *SMALL_STEPPER, f"folder={folder / 'run'}"))
    return folder / "run"


def composed(verb: str, *overrides: str) -> DictConfig:
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=list(overrides))


def rows(table: Path) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with table.open() as file:
        for row in csv.DictReader(file):
            found.setdefault(row["start"], []).append(row)
    return found


def test_time_steps_begin_at_predictions_and_end_at_the_solution(stepper: Path, tmp_path: Path):
    predict.run(composed("predict", f"run={stepper}", f"output={tmp_path / 'flow.h5'}", "refine=true", "device=cpu"))
    with h5py.File(tmp_path / "flow.h5") as file:
        solved, reference, alone = (file[f"fields/u{kind}"][()] for kind in ("_solved", "_reference", ""))
    size = np.abs(reference).max()
    assert solved.shape == reference.shape
    assert np.abs(solved - reference).max() < 1e-5 * size < np.abs(alone - reference).max()
    solves = rows(tmp_path / "flow.steps.csv")
    assert {start: len(found) for start, found in solves.items()} == {
        "prediction": 5,
        "previous step": 5,
        "rest": 5,
        "extrapolation": 4,
        "Adams-Bashforth": 3,
    }
    assert all(float(row["difference"]) < 1e-5 for found in solves.values() for row in found)
    iterations = {start: np.mean([int(row["iterations"]) for row in found]) for start, found in solves.items()}
    assert iterations["prediction"] < iterations["previous step"] < iterations["rest"]


def test_a_step_that_diverges_from_its_prediction_is_solved_from_the_one_before(stepper: Path):
    run = Run(str(stepper), "cpu")
    disc = run.discretization()
    data, operator, states = run.data("test", disc), run.operator(disc), run.objective(disc).states
    batch, times = data.batch([0]), list(map(float, data.times))
    calls = iter(range(len(times)))

    def bad_twice(fields: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        prediction, spoiled = operator(fields), {2: float("nan"), 3: 1e3}.get(next(calls), 1.0)
        return {name: spoiled * values for name, values in prediction.items()}

    steps = list(solve_steps(solved_problem(run), bad_twice, batch, states, times, [PREVIOUS_STEP]))
    assert [step.solves[PREDICTION].fallback for step in steps] == ["", PREVIOUS_STEP, PREVIOUS_STEP, "", ""]
    assert [step.diverged for step in steps] == [(), (PREDICTION,), (PREDICTION,), (), ()]
    # What failed is counted, too.
    assert steps[2].solves[PREDICTION].iterations > steps[2].solves[PREVIOUS_STEP].iterations
    assert summary(steps)[PREDICTION]["diverged"] == 2
    for number, step in enumerate(steps, start=1):
        stored = batch["u"][:, number]
        assert (step.outputs["u"] - stored).abs().max() < 1e-5 * stored.abs().max()


def test_the_first_start_that_converges_gives_the_solution():
    problem = PROBLEMS["diffusion"]()
    inputs = problem.random_inputs(np.random.default_rng(0))
    exact, cold, _ = counted(problem, lambda: problem.solve(inputs))
    lost = {"u": exact["u"].copy(deepcopy=True).assign(float("nan"))}
    starts = {"the prediction": lambda: problem.solve_from(inputs, lost), "rest": lambda: problem.solve(inputs)}
    found, iterations, _, diverged = first_converged(problem, starts)
    assert (diverged, iterations >= cold) == (["the prediction"], True)
    assert np.array_equal(found["u"].dat.data_ro, exact["u"].dat.data_ro)
    with pytest.raises(DivergedError, match=r"No start leads to a solution\. From the prediction: .*diverged"):
        first_converged(problem, {"the prediction": starts["the prediction"]})


def test_time_steps_of_ones_own_are_solved_without_comparison(stepper: Path, tmp_path: Path):
    shard = sorted((stepper.parent / "data").glob("samples-*.h5"))[0]
    inputs = f"inputs={{u: '{shard}:0', p: '{shard}:0', g: '{shard}:0'}}"
    output = tmp_path / "mine.h5"
    predict.run(composed("predict", f"run={stepper}", inputs, "steps=2", f"output={output}", "refine=true", "savings=false"))
    assert {start: len(found) for start, found in rows(tmp_path / "mine.steps.csv").items()} == {"prediction": 2}
    with h5py.File(output) as file, h5py.File(shard) as data:
        solved, stored = file["fields/u_solved"][()], data["fields/u"][0, 1:3]
    assert np.abs(solved - stored).max() < 1e-5 * np.abs(stored).max()


def test_steps_that_nothing_can_begin_are_refused():
    frames = {"spin_up": 0.04, "duration": 0.04, "frames": 2}
    semi = CylinderFlow("cylinder_coarse.msh", dt=2e-3, **frames)
    with pytest.raises(
        InputError, match=r"BDF2 solves one linear system a step .* problem\.scheme\._target_=thalweg\.solvers\.RadauIIA"
    ):
        semi.step_from({"g": semi.parabola(1.0)}, {"u": semi.parabola(1.0)}, {}, 0.0)
    short = CylinderFlow("cylinder_coarse.msh", dt=0.02, scheme=RadauIIA, **frames)
    with pytest.raises(InputError, match=r"Frames are 0\.04 apart, several steps of dt=0\.02"):
        short.step_from({"g": short.parabola(1.0)}, {"u": short.parabola(1.0)}, {}, 0.0)
    with pytest.raises(InputError, match="NonlinearDiffusion has no time step"):
        PROBLEMS["diffusion"]().step_from({}, {}, {}, 0.0)
