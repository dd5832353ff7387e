"""Every experiment makes its parts, and their steps stay where the weights are: no part makes or keeps a tensor on the CPU and mixes it in.

There need be no GPU for that: torch's fake tensors know their device and nothing else, and refuse to meet tensors of another device. As a
value of theirs cannot be read, a step that waits for the device fails, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from thalweg.commands.judging import build_metrics, build_objective
from thalweg.configuration import build
from thalweg.operators import NeuralStagger, Operator, build_operator
from thalweg.solvers import Problem
from thalweg.solvers.family import ProblemFamily
from thalweg.solvers.grid.problem import GRID, GridProblem
from thalweg.training import Settings
from thalweg.training.grid_physics import StaggeredLoss
from thalweg.training.objectives import Objective, Pool

CONF = Path(__file__).resolve().parent.parent / "conf"
#: An experiment for each operator; autograd knows the device "meta" in a torch that was built without CUDA, too.
DEVICE = "meta"
EXPERIMENTS = {
    "fno_burgers": "burgers",
    "advected_smoke": "steered_smoke",
    "spon_mean_flow": "controlled_cylinder",
    "spon_flow_stepper": "cylinder_flow",
    "neuralstagger_cavity": "neuralstagger_cavity",
    "neuralstagger_channel": "neuralstagger_channel",
    "neuralstagger_moving_disc": "neuralstagger_moving_disc",
    "neuralstagger_3d": "neuralstagger_taylor_green",
    "neuralstagger": "neuralstagger_vorticity",
    "spon_stream_function": "stokes",
    "spon_curl": "stokes",
    "spon_vorticity": "stokes",
    "fno_velocity": "stokes",
    "mgno_helmholtz": "mgno_helmholtz",
    "mgno_published_helmholtz": "mgno_helmholtz",
    "mgno_pipe": "mgno_pipe",
    "mgno_published_pipe": "mgno_pipe",
    "mgno_vorticity": "mgno_vorticity",
    "mgno_vorticity_history": "mgno_vorticity_history",
    "mgno_published_vorticity": "mgno_vorticity_history",
    "fno_vorticity": "mgno_vorticity",
    "deeponet_burgers": "burgers",
    "mgno_mesh_darcy": "mgno_holes",
    "meshgraphnet_darcy": "mgno_holes",
    "spon_message_passing_darcy": "mgno_holes",
} | {
    option: experiment
    for experiment, options in {
        "hyperelastic_beam": ("spon_newton_beam", "spon_attention_beam", "spon_multigrid_beam"),
        "mixed_darcy": ("spon_flux", "fno_flux", "fno_flux_conservative"),
        "mgno_darcy_smooth": ("mgno", "mgno_published", "deeponet_grid", "ffno_grid", "fno_grid", "transolver_grid", "unet_grid"),
        "poisson_square": (
            *("deeponet", "ffno", "fno", "form_multigrid", "meshgraphnet", "mgno_mesh", "transolver", "unet"),
            *("spon_attention", "spon_coarse", "spon_message_passing", "spon_multigrid"),
        ),
    }.items()
    for option in options
}
#: Levels for the smaller grid of the experiment's small scale.
LEVELS = {"mgno_published_helmholtz": "operator.smoothing=[[1, 0], [1, 0], [2, 0]]"}
#: Channels of the grid fields that are neither inputs nor scalars.
CHANNELS = {"disc": 5, "wall_velocity": 2}


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_makes_its_problem_and_its_operator(experiment: str):
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("train", overrides=[f"experiment={experiment}"])
    nodes = OmegaConf.to_container(config, resolve=True)
    assert isinstance(nodes, dict)
    problem, disc = made(experiment)
    assert isinstance(problem, Problem | GridProblem)
    operator = build_operator(nodes["operator"], disc)
    assert isinstance(operator, Operator)
    build(nodes["training"]["loss"], disc)
    assert build(nodes["training"]["metrics"], disc)
    optimizer = build(nodes["training"]["optimizer"])(operator.parameters())
    build(nodes["training"]["schedule"])(optimizer, total_steps=10)
    Settings(seed=0, **nodes["training"]["loop"])


@pytest.mark.parametrize("option", sorted(path.stem for path in (CONF / "operator").glob("*.yaml")))
def test_a_training_step_stays_on_its_device(option: str):
    overrides = [f"experiment={EXPERIMENTS[option]}", f"operator={option}", *([LEVELS[option]] if option in LEVELS else [])]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("train", overrides=overrides)
    nodes = OmegaConf.to_container(config, resolve=True)
    assert isinstance(nodes, dict)
    training = nodes["training"]
    problem, disc = made(EXPERIMENTS[option])
    operator = build_operator(nodes["operator"], disc)
    objective, metrics = build_objective(training, disc), build_metrics(training, disc)
    shapes = shapes_of(problem, disc, training.get("windows"))
    with on_a_fake_device(operator, objective, *metrics.values()), without_generators(), without_flows():
        batch = {name: torch.empty(shape, device=DEVICE) for name, shape in shapes.items()}
        objective.start(0)
        objective(operator, batch).backward()
        assert all(p.grad is None or p.grad.device.type == DEVICE for p in operator.parameters())
        with torch.no_grad():
            prediction, truth = objective.predict(operator.eval(), batch)
            assert all(u.device.type == DEVICE for u in prediction.values())
            for metric in metrics.values():
                metric.each(prediction, truth)


@pytest.mark.parametrize("exchange", [False, True])
@pytest.mark.parametrize("flow", ["cavity", "channel", "moving_disc", "taylor_green", "vorticity"])
def test_a_rollout_stays_on_its_device_and_does_not_wait_for_it(flow: str, exchange: bool):
    experiment = f"neuralstagger_{flow}"
    ends = "periodic" if flow in ("taylor_green", "vorticity") else "replicate"
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("train", [f"experiment={experiment}", *([f"operator.exchange={ends}"] if exchange else [])])
    problem, disc = made(experiment)
    operator = build_operator(OmegaConf.to_container(config.operator, resolve=True), disc).eval()
    assert isinstance(operator, NeuralStagger)
    coarse = None if exchange else operator.coarse_solver().eval()
    state, shape, steps = operator.frames.state, problem.grid.shape, 2
    with on_a_fake_device(operator, *([coarse] if coarse else [])), torch.no_grad():
        s_t = operator.decomposition.time
        fields = {name: torch.empty(1, s_t, channels, *shape, device=DEVICE) for name, channels in state.items()}
        fields |= {name: torch.empty(1, channels, *shape, device=DEVICE) for name, channels in operator.frames.inputs.items()}
        assert all(u.device.type == DEVICE for u in operator.rollout(fields, steps).values())
        if coarse:
            points = operator.decomposition.coarse_shape(shape)
            u = torch.empty(1, sum(state.values()), *points, device=DEVICE)
            further = torch.empty(1, sum(operator.frames.inputs.values()), *points, device=DEVICE)
            assert coarse.rollout(u, steps, further if operator.frames.inputs else None).device.type == DEVICE


@lru_cache
def made(experiment: str):
    """The problem of an experiment and its discretization, in the precision of training."""
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("train", overrides=[f"experiment={experiment}"])
    problem = build(OmegaConf.to_container(config.problem, resolve=True))
    if isinstance(problem, ProblemFamily):
        pytest.importorskip("gmsh", reason="gmsh makes the meshes", exc_type=ImportError)
        problem = problem.member(0, 0)
    disc = problem.export()
    return problem, disc.to(torch.float32) if isinstance(disc, nn.Module) else disc


def shapes_of(problem: Problem | GridProblem, disc, windows: dict | None) -> dict[str, tuple[int, ...]]:
    """Those of a batch of two samples."""
    times = getattr(problem, "times", None)
    frames = () if times is None else (windows.get("history", 1) + windows["horizon"] if windows else len(times),)
    if isinstance(problem, Problem):
        dofs = {name: disc[space].num_dofs for name, space in problem.fields.items()}
        return {name: (2, *(frames if name in problem.outputs else ()), n) for name, n in dofs.items()}
    inputs = problem.stored(problem.random_inputs(0, range(2)))
    frame = {name: u.shape[1:] for name, u in inputs.items() if u.ndim > 1}
    shapes = {}
    for name in (*problem.inputs, *problem.outputs):
        varies = name in problem.outputs or name not in frame
        points = disc[problem.places.get(name, GRID)].shape
        shapes[name] = (2, *(frames if varies else ()), *frame.get(name, (CHANNELS.get(name, 1), *points)))
    return shapes


@contextmanager
def on_a_fake_device(*modules: nn.Module) -> Iterator[None]:
    """Parameters and buffers of modules are fake ones on a fake device within this block; nothing else of them is."""
    kept, fakes = [], {}

    def fake(value: Tensor) -> Tensor:
        if id(value) not in fakes:
            twin = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=DEVICE)
            fakes[id(value)] = nn.Parameter(twin, value.requires_grad) if isinstance(value, nn.Parameter) else twin
        return fakes[id(value)]

    with FakeTensorMode(allow_non_fake_inputs=False):
        for part in {part for module in modules for part in module.modules()}:
            for tensors in (part._parameters, part._buffers):
                kept += [(tensors, name, value) for name, value in tensors.items() if value is not None]
            if isinstance(part, Pool):  # which is empty at first, and goes where the first batch is
                part._filled = fake(part._filled)
        for tensors, name, value in kept:
            tensors[name] = fake(value)
        try:
            yield
        finally:
            for tensors, name, value in kept:
                tensors[name] = value


@contextmanager
def without_generators() -> Iterator[None]:
    """They belong to real devices."""
    with patch.object(Objective, "random_numbers", lambda self, device: None):
        yield


@contextmanager
def without_flows() -> Iterator[None]:
    """The reference solver in a physics loss is made on one device, ``device`` of the configuration, and is no module."""
    with patch.object(
        StaggeredLoss, "each", lambda self, prediction, truth: sum(u.flatten(1).mean(1) for u in prediction.values())
    ):
        yield
