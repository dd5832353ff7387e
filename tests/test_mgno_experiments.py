"""MgNO in experiments: its switches, other resolutions than it was trained at, histories of frames, problems on meshes as data on grids."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from torch import Tensor, nn

from thalweg.commands import evaluate, generate, train
from thalweg.errors import InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import Architecture, MgNO
from thalweg.operators.mgno.cycle import Cycle
from thalweg.operators.mgno.grid_levels import grid_levels
from thalweg.operators.mgno.scaling import ChannelFields
from thalweg.random_numbers import sample_rng
from thalweg.solvers import Helmholtz, PipeFlow, SampledOnGrid
from thalweg.training import HistoryRollout, RelativeNorm

SIDES = ("x0", "x1", "y0", "y1")
POISSON = Architecture(features=1, iterates=1, operator=("stiffness",), levels=3, coarsest=2)


def test_the_solution_stays_where_it_is_only_if_the_residual_is_restricted():
    """A coarse correction for the source itself, as in the published network, adds the solution once more."""
    grid = Grid((33, 33))
    moved = []
    for restricted in ("residual", "source"):
        architecture = replace(POISSON, restricted=restricted)
        levels, cycle = grid_levels(grid, SIDES, architecture, torch.float64), Cycle(architecture).double()
        x, y = grid.coordinates(torch.float64)
        u = (x * (1 - x) * y * (1 - y)).flatten()[:, None, None]
        with torch.no_grad():
            moved.append(float((cycle(levels[0].stencil("stiffness").on_nodes(u), levels, None, u) - u).norm() / u.norm()))
    assert moved[0] < 1e-12
    assert moved[1] > 0.5


def test_injection_is_the_adjoint_for_constants_only():
    grid = Grid((17, 12), (1.0, 2.0))
    adjoint, injected = (
        grid_levels(grid, (), replace(POISSON, transfers=kind), torch.float64) for kind in ("adjoint", "injection")
    )
    one = torch.ones(17 * 12, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(injected.restrict(0, one), adjoint.restrict(0, one))
    r = torch.randn(17 * 12, 1, 1, dtype=torch.float64)
    assert (injected.restrict(0, r) - adjoint.restrict(0, r)).norm() > 0.5 * adjoint.restrict(0, r).norm()


@pytest.mark.parametrize("periodic", [False, True])
def test_a_bias_without_cells_is_a_constant(periodic: bool):
    operator = MgNO(Grid((16, 16), periodic=(periodic,) * 2), {"a": 1}, {"u": 1}, replace(POISSON, bias_cells=0))
    nn.init.normal_(operator.network.bias.values)
    functions = operator.network.bias(operator.levels((16, 16)))
    assert functions.shape[2] == operator.network.bias.values.shape[1]
    assert torch.equal(functions, functions[:1].expand_as(functions))


def test_unknown_choices_are_named():
    with pytest.raises(InputError, match=r"'residual' and 'nothing'"):
        replace(POISSON, transfers="nothing")
    with pytest.raises(InputError, match=r"'nothing' and 'adjoint'"):
        replace(POISSON, restricted="nothing")


class Recurrence(nn.Module):
    """w_{n+1} = 2 w_n − w_{n−1}, from frames as channels."""

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"w": 2 * fields["w"][:, -1:] - fields["w"][:, -2:-1]}


def trajectories(frames: int = 9) -> Tensor:
    start, slope = torch.randn(2, 4, 1, 1, 5, 6, dtype=torch.float64)
    w = start + slope * torch.arange(frames, dtype=torch.float64).view(-1, 1, 1, 1)
    w[:, 0] = 7  # no part of the recurrence
    return w


def test_a_history_rolls_a_recurrence_out_exactly():
    objective = HistoryRollout(RelativeNorm(Grid((5, 6)), "w", "L2"), ["w"], history=3, horizon=2, first=1)
    w = trajectories()
    prediction, met = objective.predict(Recurrence(), {"w": w})
    assert torch.equal(met["w"], w[:, 4:])
    torch.testing.assert_close(prediction["w"], w[:, 4:])
    for step in range(5):
        objective.start(step)
        assert objective(Recurrence(), {"w": w}) < 1e-12
    # Begun at the frame that the recurrence does not know.
    wrong = HistoryRollout(RelativeNorm(Grid((5, 6)), "w", "L2"), ["w"], history=2)
    assert (wrong.predict(Recurrence(), {"w": w})[0]["w"] - w[:, 2:]).abs().max() > 1
    with pytest.raises(InputError, match=r"need 10 frames"):
        HistoryRollout(None, ["w"], history=8, first=1).predict(Recurrence(), {"w": w})
    with pytest.raises(InputError, match=r"'g' varies in time"):
        objective.predict(Recurrence(), {"w": w, "g": w})


def test_the_scales_of_a_history_are_those_of_its_windows():
    w, g = trajectories(), torch.randn(4, 1, 5, 6, dtype=torch.float64)
    inputs, outputs = ChannelFields({"w": 3, "g": 1}, {"w": 1}).pairs({"w": w, "g": g}, 2)
    assert inputs.shape == (4 * 6, 4, 5, 6)
    torch.testing.assert_close(inputs.view(4, 6, 4, 5, 6)[:, 2, :3], w[:, 2:5, 0])
    torch.testing.assert_close(inputs.view(4, 6, 4, 5, 6)[:, 2, 3], g[:, 0])
    torch.testing.assert_close(outputs.view(4, 6, 1, 5, 6)[:, 2], w[:, 5])


def test_waves_on_a_grid_are_the_nodes_of_the_mesh():
    problem = Helmholtz(mesh=2, refinements=2, frequency=100.0)
    on_grid = SampledOnGrid(problem, (9, 9))
    inputs = on_grid.random_inputs(3, [5])
    c, u = on_grid.stored(inputs)["c"], on_grid.solve(inputs)["u"]
    drawn = problem.random_inputs(sample_rng(3, 5))
    solved = problem.solve(drawn)
    points = problem.export()["V"].points.double()
    i, j = (points * 8).round().long().T
    np.testing.assert_allclose(c[0, 0, i, j], drawn["c"].dat.data_ro, rtol=1e-6)
    np.testing.assert_allclose(u[0, 0, i, j], solved["u"].dat.data_ro, rtol=1e-6, atol=1e-9)


def test_a_pipe_on_a_grid_has_its_geometry_and_its_walls():
    on_grid = SampledOnGrid(PipeFlow(cells=(20, 4)), (41, 9), outputs={"u": [0]}, displacement="d")
    assert (on_grid.inputs, on_grid.outputs, on_grid.grid.lengths) == (("x",), ("u",), (10.0, 1.0))
    inputs = on_grid.random_inputs(0, [0])
    x, u = on_grid.stored(inputs)["x"], on_grid.solve(inputs)["u"]
    assert x.shape == (1, 2, 41, 9)
    assert u.shape == (1, 1, 41, 9)
    X = on_grid.grid.coordinates(torch.float64)
    torch.testing.assert_close(x[0, 0], X[0], rtol=0, atol=1e-5)
    height = x[0, 1] - X[1]
    torch.testing.assert_close(height, height[:, :1].expand_as(height), rtol=0, atol=1e-5)
    assert height.abs().max() > 0.1
    assert u[..., [0, -1]].abs().max() < 1e-6
    torch.testing.assert_close(u[0, 0, 0], 4 * X[1, 0] * (1 - X[1, 0]), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match=r"no output 'v'"):
        SampledOnGrid(PipeFlow(cells=(20, 4)), (41, 9), outputs={"v": [0]})


def configuration(verb: str, folder: Path, *overrides: str):
    own = ["experiment=mgno_darcy_rough", "problem.nodes=25", "data.split={train: 16, valid: 4, test: 4}"]
    own += [f"data.folder={folder / 'data'}"] if verb != "evaluate" else []
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=[*(own if verb != "evaluate" else []), *overrides])


def test_an_operator_is_judged_at_another_resolution(tmp_path: Path):
    generate.run(configuration("generate", tmp_path))
    fine = tmp_path / "fine"
    generate.run(configuration("generate", tmp_path, "problem.nodes=49", "num_samples=4", f"data.folder={fine}"))
    run = tmp_path / "run"
    train.run(configuration("train", tmp_path, f"folder={run}", "training.loop.epochs=4", "++operator.architecture.coarsest=4"))
    own = evaluate.run(configuration("evaluate", tmp_path, f"run={run}"))
    other = evaluate.run(configuration("evaluate", tmp_path, f"run={run}", f"data.folder={fine}"))
    assert json.loads((run / "metrics_fine.json").read_text()) == other
    assert json.loads((run / "metrics.json").read_text()) == own
    # The same functions: after a little training, about the same error.
    assert other["relative_l2"] == pytest.approx(own["relative_l2"], rel=0.5)
    published = tmp_path / "published"
    options = ["operator=mgno_published", "operator.channels=4", f"folder={published}", "training.loop.epochs=1"]
    train.run(configuration("train", tmp_path, *options, "operator.standardize=point", "operator.smoothing=[[1,0],[2,0]]"))
    with pytest.raises(InputError, match=r"cannot be used on the data in .*fine"):
        evaluate.run(configuration("evaluate", tmp_path, f"run={published}", f"data.folder={fine}"))
