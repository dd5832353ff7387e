"""The problems that configurations describe, at a small size: their inputs and solutions are functions of what they are given."""

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from thalweg.configuration import build
from thalweg.errors import InputError
from thalweg.random_numbers import sample_rng
from thalweg.solvers import Problem
from thalweg.solvers.family import ProblemFamily

SMALL = {
    "darcy": ["mesh=3"],
    "darcy_log_normal": ["refinements=0"],
    "mixed_darcy": ["mesh=3", "refinements=1"],
    "nonlinear_diffusion": ["mesh=4"],
    "helmholtz": ["mesh=5"],
    "stokes": ["mesh=4"],
    "solenoidal_stokes": ["mesh=3", "refinements=1"],
    "burgers": ["mesh=8", "final_time=0.2", "frames=2", "time_step=0.1"],
    "hyperelastic_beam": ["cells=[10,1]"],
}


@pytest.fixture(scope="module", params=SMALL)
def problem(request: pytest.FixtureRequest) -> Problem:
    overrides = [f"problem={request.param}", *(f"problem.{override}" for override in SMALL[request.param])]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("generate", overrides=overrides)
    return build(OmegaConf.to_container(config.problem, resolve=True))


def values(functions: dict) -> dict[str, np.ndarray]:
    """All numbers of functions and of mixed functions, frames one after the other."""
    listed = {name: found if isinstance(found, list) else [found] for name, found in functions.items()}
    return {name: np.concatenate([frame.dat.data_ro.ravel() for frame in frames]) for name, frames in listed.items()}


def test_inputs_and_solutions_are_functions_of_the_sample_number(problem: Problem):
    """Bit for bit, whatever was drawn and solved before."""
    solved = {}
    for sample in (0, 1):
        inputs = problem.random_inputs(sample_rng(3, sample))
        solved[sample] = values(inputs | problem.solve(inputs))
    inputs = problem.random_inputs(sample_rng(3, 0))
    again = values(inputs | problem.solve(inputs))
    assert set(again) == {*problem.inputs, *problem.outputs} == set(problem.fields)
    for name, found in again.items():
        assert np.array_equal(found, solved[0][name]), name
        assert np.isfinite(found).all()
        assert not np.allclose(found, solved[1][name])


def test_fields_live_in_the_exported_spaces(problem: Problem):
    inputs = problem.random_inputs(sample_rng(0, 0))
    for name, function in inputs.items():
        assert function.function_space() == problem.spaces[problem.fields[name]], name


#: Where a configuration keeps the viscosity of a flow.
VISCOSITY = {
    "burgers": "viscosity",
    "burgers_on_grid": "viscosity",
    "channel_with_discs": "viscosity",
    "controlled_cylinder": "viscosity",
    "cylinder_flow": "viscosity",
    "forced_vorticity": "viscosity",
    "inflow_channel": "viscosity",
    "lid_cavity": "viscosity",
    "moving_disc": "viscosity",
    "obstacle_flow": "viscosity",
    "obstacle_wake": "problem.viscosity",
    "pipe_flow": "viscosity",
    "solenoidal_stokes": "viscosity",
    "staggered_cavity": "viscosity",
    "steady_cylinder": "viscosity",
    "stokes": "viscosity",
    "taylor_green": "viscosity",
    "vorticity": "viscosity",
}


@pytest.mark.parametrize("name", VISCOSITY)
def test_a_viscosity_that_is_not_positive_is_refused_before_anything_is_solved(name: str):
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("generate", overrides=[f"problem={name}", f"problem.{VISCOSITY[name]}=-0.001"])

    def make() -> None:
        made = build(OmegaConf.to_container(config.problem, resolve=True))
        if isinstance(made, ProblemFamily):
            made.member(0, 0)

    with pytest.raises(InputError, match=r"viscosity.*-0\.001"):
        make()
