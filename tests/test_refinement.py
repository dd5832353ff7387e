"""Predictions as initial guesses: the same solution in fewer iterations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from thalweg.commands.refinement import counted, function
from thalweg.errors import InputError
from thalweg.solvers import NonlinearDiffusion, Poisson, Problem, SteadyCylinderFlow

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
    from thalweg.commands import predict

    problem: Problem = Poisson(3, ["left"], refinements=0)
    with pytest.raises(InputError, match="solved directly, in one step"):
        problem.solve_from({}, {})
    with pytest.raises(InputError, match="Only nonlinear problems"):
        predict.run(configuration("predict", tmp_path, f"run={trained}", f"output={tmp_path / 'u.vtu'}", "refine=true"))
