"""The loop: what its settings mean, that its numbers repeat, and that what goes wrong is said and nothing is lost."""

import errno
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from heat import GRID, Convolutions, Linear, operator, pairs, trainer
from small import SMALL, configuration
from test_resume import assert_same, assert_same_end, final_state, rows
from thalweg import training
from thalweg.commands import train
from thalweg.errors import DivergedError, FileError, InputError, MissingPackageError
from thalweg.operators import Operator
from thalweg.training import Checkpoints, Objective, Pool, RelativeNorm, Rollout, SchemeResidual, Settings
from thalweg.training.compilation import compiled
from thalweg.training.precision import Autocast


def weights(folder: Path) -> dict[str, Tensor]:
    return final_state(folder)[0]


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(tmp_path: Path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trainer(tmp_path / name, {"seed": seed}).run()
    assert_same_end(tmp_path / "a", tmp_path / "b")
    assert rows(tmp_path / "a") != rows(tmp_path / "c")


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_gradient_in_parts_is_that_of_the_batch(parts: int, tmp_path: Path):
    for accumulate in (1, parts):
        trainer(tmp_path / str(accumulate), {"accumulate": accumulate}).run()
    for one, other in zip(rows(tmp_path / "1"), rows(tmp_path / str(parts)), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_the_saved_average_is_the_exponential_one(tmp_path: Path):
    history: list[dict[str, Tensor]] = []

    class Recording(torch.optim.SGD):
        def step(self, closure):
            history.append({f"{i}": p.detach().clone() for i, p in enumerate(self.param_groups[0]["params"])})
            return super().step(closure)

    run = trainer(tmp_path, {"ema": 0.5}, make_optimizer=partial(Recording, lr=0.1))
    run.run()
    after = [*history[1:], {f"{i}": p.detach() for i, p in enumerate(run.operator.parameters())}]
    average = history[0]
    for step, now in enumerate(after, 1):
        decay = min(0.5, (1 + step) / (10 + step))
        average = {name: decay * average[name] + (1 - decay) * now[name] for name in now}
    saved = Convolutions()
    saved.load_state_dict(weights(tmp_path))
    for i, parameter in enumerate(saved.parameters()):
        torch.testing.assert_close(parameter.detach(), average[f"{i}"])
    values = training.validate(saved, run.valid, run.metrics, 8)
    assert values["loss"] == pytest.approx(rows(tmp_path)[-1]["valid_loss"], rel=1e-6)


def test_training_stops_when_it_no_longer_improves(tmp_path: Path):
    state = trainer(
        tmp_path, {"epochs": 50, "patience": 3}, make_optimizer=partial(torch.optim.SGD, lr=0.0), make_scheduler=training.constant
    ).run()
    assert state["best_step"] == 3
    assert state["step"] == 3 + 3 * 3
    again = trainer(
        tmp_path, {"epochs": 50, "patience": 3}, make_optimizer=partial(torch.optim.SGD, lr=0.0), make_scheduler=training.constant
    ).run(resume=True)
    assert again["step"] == state["step"]


def test_a_plateau_lowers_the_rate(tmp_path: Path):
    schedule = partial(training.plateau, factor=0.5, patience=0)
    trainer(tmp_path, {"epochs": 4}, make_optimizer=partial(torch.optim.SGD, lr=1e-6), make_scheduler=schedule).run()
    assert [row["lr"] for row in rows(tmp_path)] == pytest.approx([1e-6, 1e-6, 0.5e-6, 0.25e-6])


class Reads(TorchDispatchMode):
    """Counts how often the host reads a number of a tensor, for which it must wait for the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default):
            self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9, "accumulate": 2}, {"gradient_clip": None}])
@pytest.mark.parametrize("optimizer", [training.adam, training.adamw, training.Lion])
def test_no_step_waits_for_the_device(settings: dict, optimizer: type, tmp_path: Path):
    reads = {}
    for batch_size in (2, 20):
        run = trainer(tmp_path / str(batch_size), settings | {"batch_size": batch_size}, make_optimizer=optimizer)
        run.valid = pairs(1)
        with Reads() as counting:
            run.run()
        reads[batch_size] = counting.count
    assert reads[2] == reads[20]


def test_bfloat16_is_for_the_operator_alone(tmp_path: Path):
    seen: dict[str, torch.dtype] = {}

    class Spied(RelativeNorm):
        def each(self, prediction, truth):
            seen["loss"] = prediction["u"].dtype
            return super().each(prediction, truth)

    def make_operator() -> Operator:
        made = operator()
        made.layers[2].register_forward_hook(lambda module, inputs, output: seen.update(inside=output.dtype))
        return made

    loss = Spied(GRID, "u", "L2")
    trainer(tmp_path / "low", {"precision": "bfloat16"}, loss=loss, make_operator=make_operator).run()
    assert seen == {"inside": torch.bfloat16, "loss": torch.float32}
    assert all(value.dtype == torch.float32 for value in weights(tmp_path / "low").values())
    trainer(tmp_path / "full").run()
    low, full = (rows(tmp_path / name)[-1]["train_loss"] for name in ("low", "full"))
    assert low == pytest.approx(full, rel=0.02)
    assert low != full


def test_finite_element_products_stay_in_float32_under_autocast(dataset: Path):
    from thalweg.data import FieldDataset

    data = FieldDataset(dataset / "data", range(2))
    stiffness, u = data.discretization["V"].stiffness, data.batch([0, 1])["u"]

    class Product(nn.Module):
        def forward(self, fields):
            return {"u": stiffness(fields["u"])}

    assert torch.equal(Autocast(Product())({"u": u})["u"], stiffness(u))


def test_a_compiler_that_fails_is_reported_and_training_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    from torch._inductor import config

    with config.patch({"cpp.cxx": ("/absent/compiler",)}):
        trainer(tmp_path / "compiled", {"compile": "default"}).run()
    assert "torch.compile failed" in caplog.text
    trainer(tmp_path / "eager").run()
    assert_same(weights(tmp_path / "compiled"), weights(tmp_path / "eager"))


def test_what_a_compiler_tries_leaves_no_trace_in_running_statistics():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    compiled(network, "default", lambda _: network(torch.randn(2, 1, 8, 8)).square().sum())
    assert not network[1].running_mean.any()
    assert network[1].num_batches_tracked == 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path):
    class Fails(Objective):
        def forward(self, operator, batch):
            loss = super().forward(operator, batch)
            return loss * math.nan if self.step == 4 else loss

    run = trainer(tmp_path, {"epochs": 4, "checkpoint_every": 1}, loss=Fails(RelativeNorm(GRID, "u", "L2")))
    with pytest.raises(DivergedError, match=r"training loss is no longer finite in epoch 2.* init=.*step-00000004 begins"):
        run.run()
    values, state = final_state(tmp_path)
    assert state["progress"]["step"] == 4
    assert all(value.isfinite().all() for value in values.values())


def test_a_gradient_that_is_not_finite_is_told_from_a_loss(tmp_path: Path):
    class Cusp(Operator):
        """The root at zero: finite, with an infinite derivative."""

        def __init__(self):
            super().__init__()
            self.c = nn.Parameter(torch.zeros(()))

        def forward(self, fields):
            return {"u": fields["f"] + self.c.abs().sqrt()}

    with pytest.raises(DivergedError, match=r"gradient is no longer finite in epoch 1.*no checkpoint yet"):
        trainer(tmp_path, make_operator=Cusp).run()
    assert Checkpoints(tmp_path / "checkpoints").latest() is None


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Within this block files larger than ``size`` cannot be written."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [100, 3000], ids=["weights", "state"])
def test_a_checkpoint_that_cannot_be_written_leaves_those_before_it(size: int, tmp_path: Path):
    run = trainer(tmp_path / "run", {"epochs": 3})
    finish = run._finish_epoch

    def fill_the_disk(epoch: int, *arguments):
        finish(epoch, *arguments)
        if epoch == 1:
            run._save = partial(limited, run._save)

    def limited(save, *arguments):
        with file_size_limit(size):
            save(*arguments)

    run._finish_epoch = fill_the_disk
    with pytest.raises(FileError, match=r"step-00000006.* could not be written"):
        run.run()
    assert [path.name for path in sorted((tmp_path / "run/checkpoints").glob("*step*"))] == ["step-00000003"]
    trainer(tmp_path / "run", {"epochs": 3}).run(resume=True)
    trainer(tmp_path / "whole", {"epochs": 3}).run()
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_a_state_that_outgrows_the_disk_in_writing_is_a_file_that_could_not_be_written(tmp_path: Path):
    """Beyond the file's buffer torch's archive fails, and once more when it is closed."""

    class Wide(Operator):
        def __init__(self):
            super().__init__()
            self.c = nn.Parameter(torch.zeros(20_000))

        def forward(self, fields):
            return {"u": fields["f"] + self.c.mean()}

    run = trainer(tmp_path, make_operator=Wide)
    with file_size_limit(100_000), pytest.raises(FileError, match=r"step-00000003 could not be written .*too large"):
        run.run()
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_full_disk_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="disk is full"):
        trainer(tmp_path).run()


@pytest.mark.parametrize("error", [RuntimeError("DataLoader worker (pid 7) is killed"), OSError("stale file handle")])
def test_data_that_are_lost_stop_the_run_and_it_goes_on_later(error: Exception, tmp_path: Path):
    data = pairs(20)
    batch, served = data.batch, 0

    def failing(order):
        nonlocal served
        for numbers in order:
            served += 1
            if served == 5:
                raise error
            yield batch(numbers)

    data.batches = failing
    with pytest.raises(FileError, match=f"{str(error)[:10]}.*resume=true"):
        trainer(tmp_path / "run", {"epochs": 3}, train=data).run()
    trainer(tmp_path / "run", {"epochs": 3}).run(resume=True)
    trainer(tmp_path / "whole", {"epochs": 3}).run()
    assert_same_end(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs and batch_size"),
        ({"accumulate": 9}, "accumulate must be between 1 and the batch size 8"),
        ({"ema": 1.0}, "ema is a decay"),
        ({"patience": 0}, "patience must be positive"),
        ({"precision": "float16"}, "Unknown precision 'float16'"),
        ({"compile": "fast"}, "Unknown mode of compilation 'fast'"),
    ],
)
def test_settings_that_make_no_sense_are_explained(settings: dict, message: str):
    with pytest.raises(InputError, match=message):
        Settings(**({"epochs": 1, "batch_size": 8} | settings))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": {"l2": RelativeNorm(GRID, "u", "L2"), "q": RelativeNorm(GRID, "q", "L2")}}, "prediction has no field 'q'"),
        ({"metrics": {"f": RelativeNorm(GRID, "f", "L2")}}, "prediction has no field 'f'"),
        ({"loss": Objective(RelativeNorm(GRID, "q", "L2"))}, "prediction has no field 'q'"),
        ({"loss": Rollout(RelativeNorm(GRID, "u", "L2"), ["q"])}, "no state 'q'"),
        ({"loss": Pool(RelativeNorm(GRID, "u", "L2"), ["u"], size=4)}, "pool of 4 slots cannot serve a batch of 8"),
    ],
)
def test_what_does_not_fit_operator_and_data_is_refused_before_training(arguments: dict, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message):
        trainer(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_the_trial_before_training_leaves_no_trace(tmp_path: Path):
    class Normalised(Convolutions):
        def __init__(self):
            super().__init__(source="u")
            self.layers[1] = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout())

    def make_operator() -> Operator:
        torch.manual_seed(0)
        return Normalised()

    change = SchemeResidual(lambda prediction, fields: prediction["u"] - fields["previous_u"])
    pool = Pool(change, ["u"], size=32)
    run = trainer(tmp_path, loss=pool, metrics={"change": change}, make_operator=make_operator)
    after = torch.get_rng_state()
    fresh = make_operator()
    assert torch.equal(after, torch.get_rng_state())
    assert_same(run.operator.state_dict(), fresh.state_dict())
    assert pool.get_extra_state().keys() == {"slots", "filled", "largest", "counts"}
    assert not any(value.any() if isinstance(value, Tensor) else value for value in pool.get_extra_state().values())
    assert all(parameter.grad is None for parameter in run.operator.parameters())


def test_a_batch_of_more_samples_than_there_are_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert trainer(tmp_path, {"batch_size": 32}).steps_per_epoch == 1
    assert "batch_size is 32, but there are 20 training samples" in caplog.text
    caplog.clear()
    trainer(tmp_path, {"batch_size": 20})
    assert not caplog.records


def test_clipping_and_lbfgs_exclude_each_other(tmp_path: Path):
    with pytest.raises(InputError, match="gradient_clip=null"):
        trainer(tmp_path, make_optimizer=torch.optim.LBFGS)


def test_lbfgs_finds_the_minimum_of_a_quadratic(tmp_path: Path):
    # u = c f with exact c = 2: the relative error vanishes there, and 20 iterations are plenty.
    data = pairs(8)
    data.fields["u"] = 2 * data.fields["f"]
    make = partial(torch.optim.LBFGS, max_iter=20, line_search_fn="strong_wolfe")
    settings = {"epochs": 3, "gradient_clip": None}
    arguments = {"train": data, "valid": data, "make_operator": Linear}
    best = trainer(tmp_path, settings, make_optimizer=make, make_scheduler=training.constant, **arguments).run()["best"]
    assert best < 1e-3


def test_a_run_records_its_environment(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    now = training.environment(torch.device("cpu"))
    training.record_environment(tmp_path, now, resume=False)
    training.record_environment(tmp_path, now, resume=True)
    assert not caplog.records
    training.record_environment(tmp_path, now | {"threads": 99}, resume=True)
    assert "threads changed since the run was begun" in caplog.text
    first, _, last = json.loads((tmp_path / "environment.json").read_text())
    assert first["versions"]["torch"] == torch.__version__
    assert last["threads"] == 99


def test_deterministic_mode_is_on_within_its_block_only():
    with training.deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("tracker", [training.TensorBoard, training.WeightsAndBiases])
def test_trackers_that_are_not_installed_say_how_to_get_them(tracker: type):
    package = {"TensorBoard": "tensorboard", "WeightsAndBiases": "wandb"}[tracker.__name__]
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(MissingPackageError, match=rf"pip install 'thalweg\[{package}\]'"):
        tracker()


def test_trackers_are_told_of_every_row(tmp_path: Path):
    class Memory:
        def __init__(self):
            self.events: list = []

        def start(self, folder, step, config):
            self.events.append((folder.name, step, config))

        def write(self, row):
            self.events.append(row)

        def close(self):
            self.events.append("closed")

    memory = Memory()
    trainer(tmp_path / "run", trackers=[memory], config={"name": "heat"}).run()
    first, *told, last = memory.events
    assert first == ("run", 0, {"name": "heat"})
    assert last == "closed"
    assert [row["valid_loss"] for row in told] == [row["valid_loss"] for row in rows(tmp_path / "run")]


def test_a_run_starts_from_the_weights_of_another(trained: Path, dataset: Path, tmp_path: Path):
    base = [f"data.folder={dataset / 'data'}", "training/schedule=constant", "training.optimizer.lr=1e-12"]
    metric = train.run(configuration("train", tmp_path, *base, f"init={trained}"))
    assert metric == pytest.approx(min(row["valid_relative_h1"] for row in rows(trained)), rel=1e-4)
    assert metric == train.run(configuration("train", tmp_path, *base, f"init={trained}", "resume=true"))


def test_a_sweep_gives_every_job_its_folder_and_survives_those_that_fail(dataset: Path, tmp_path: Path):
    arguments = [*SMALL, f"data.folder={dataset / 'data'}", "training.loop.epochs=1", "device=cpu", "-m"]
    command = [
        sys.executable,
        "-m",
        "thalweg",
        "train",
        *arguments,
        "training.optimizer.lr=1e30,1e-3",
        "seed=3",
        "training.loop.ema=9e-1",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "1 of the sweep's jobs failed: training.optimizer.lr=1e+30" in done.stderr
    sweep = tmp_path / "outputs/quickstart_sweep"
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {
        "training.optimizer.lr=1e+30", "training.optimizer.lr=0.001",
    }  # fmt: skip
    assert len(rows(sweep / "training.optimizer.lr=0.001")) == 1
    assert "seed: 3" in (sweep / "training.optimizer.lr=0.001/config.yaml").read_text()
