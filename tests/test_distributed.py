"""Training in two processes is training in one: the same batches, losses, metrics and files."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from heat import trainer
from test_resume import CLOCKS, KINDS, assert_same, final_state, rows
from thalweg.errors import InputError
from thalweg.training import Processes

#: Runs under torchrun: trains, is stopped after some steps, and resumes.
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from heat import trainer
from test_resume import KINDS
from thalweg.training import processes

folder = Path(sys.argv[2])
with processes(torch.device("cpu")) as (together, device):
    assert together.size == 2
    trainer(folder / "plain", {"accumulate": 2, "epochs": 3}, processes=together).run()
    norm = torch.nn.BatchNorm1d(3)
    norm.running_mean.fill_(together.rank + 1.0)
    together.equalise(norm)
    assert (norm.running_mean == 1).all()
    settings, arguments = KINDS["pool"]
    trainer(folder / "whole", settings, processes=together, **arguments()).run()
    run = trainer(folder / "halved", settings | {"checkpoint_every": 4}, processes=together, **arguments())
    save = run.checkpoints.save
    def save_and_fail(*arguments):
        save(*arguments)
        raise OSError("the lights go out")
    run.checkpoints.save = save_and_fail
    try:
        run.run()
    except OSError as error:
        assert "lights" in str(error)  # on both, though only the first writes
    trainer(folder / "halved", settings | {"checkpoint_every": 4}, processes=together, **arguments()).run(resume=True)
    (folder / f"rank-{together.rank}").touch()
"""


#: One of two processes leaves without a word before the fourth step.
LOST = """
import os
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from heat import trainer
from thalweg.training import processes

with processes(torch.device("cpu")) as (together, device):
    run = trainer(Path(sys.argv[2]), {"checkpoint_every": 2}, processes=together)
    step = run._step
    run._step = lambda number, *batch: os._exit(9) if together.rank and number == 3 else step(number, *batch)
    run.run()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    (folder / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, str(folder / "script.py"), str(Path(__file__).parent), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder


def test_both_processes_came_to_the_end(folder: Path):
    assert sorted(path.name for path in folder.glob("rank-*")) == ["rank-0", "rank-1"]


def test_losses_metrics_and_weights_are_those_of_one_process(folder: Path, tmp_path: Path):
    trainer(tmp_path, {"epochs": 3}).run()
    ours, theirs = rows(folder / "plain"), rows(tmp_path)
    assert len(ours) == len(theirs) == 3
    for one, two in zip(ours, theirs, strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    one, two = final_state(folder / "plain")[0], final_state(tmp_path)[0]
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)


def test_every_process_resumes_its_own_state(folder: Path):
    ours, theirs = final_state(folder / "halved"), final_state(folder / "whole")
    assert_same(ours[0], theirs[0])
    assert_same(ours[1], theirs[1], ignore=(*CLOCKS, "checkpoint_every"))
    first, second = (state["objective"]["_extra_state"]["slots"]["u"] for state in ours[1]["processes"])
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    assert rows(folder / "halved") == rows(folder / "whole")


def test_every_row_of_the_log_is_written_once(folder: Path):
    for name, epochs in (("plain", 3), ("whole", 2), ("halved", 2)):
        lines = (folder / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == list(range(1, epochs + 1))


@pytest.mark.parametrize("samples", [1, 2, 7, 8])
def test_shares_of_a_batch_weigh_as_the_batch(samples: int):
    loss = torch.rand(samples)
    rows = torch.arange(samples)
    shares = [Processes(rank, 3).share(rows) for rank in range(3)]
    mean = sum(weight * loss[own].mean() for own, weight in shares) / 3
    torch.testing.assert_close(mean, loss.mean())
    assert sorted(row for own, weight in shares if weight for row in own.tolist()) == list(range(samples))


def test_a_run_of_two_is_not_resumed_by_one(folder: Path):
    settings, arguments = KINDS["pool"]
    with pytest.raises(InputError, match="processes was 2, is 1"):
        trainer(folder / "whole", settings, **arguments()).run(resume=True)


def test_the_loss_of_a_process_is_explained_and_the_last_checkpoint_is_intact(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"TORCHELASTIC_RUN_ID": "lost", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", LOST, str(Path(__file__).parent), str(tmp_path)]
    started = [
        subprocess.Popen(command, env=shared | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=200)[1] for process in started]
    assert [process.returncode for process in started] == [1, 9]
    assert "LostProcessError: Another process of this training no longer answers" in said[0]
    assert final_state(tmp_path)[1]["progress"]["step"] == 3
