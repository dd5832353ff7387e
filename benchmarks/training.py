"""The training loop: what it costs beyond its forward and backward passes and the optimiser, what it waits for data, and what kills cost.

The quickstart's operator is trained on its problem. A step of the loop is timed against the same step written out, in turns; then
`thalweg train` is killed again and again at random moments and resumed, and its final weights and metrics are compared bit for bit with
those of a run that was left alone.

    python benchmarks/training.py --json training.json
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import report
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from safetensors.torch import load_file

from thalweg import data, training
from thalweg.allocator import keep_freed_memory
from thalweg.commands import generate
from thalweg.commands.splits import split_range
from thalweg.configuration import build
from thalweg.operators import build_operator
from thalweg.training import Checkpoints, MetricsLog, Settings, Trainer

SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def configuration(verb: str, arguments: argparse.Namespace, *overrides: str) -> Any:
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=[*shared(arguments), *overrides])


def shared(arguments: argparse.Namespace) -> list[str]:
    sizes = [f"data.split.train={arguments.samples}", "data.split.valid=32", "data.split.test=8"]
    return ["experiment=quickstart", *sizes, f"data.folder={arguments.folder / 'data'}"]


class Timed(Trainer):
    """A trainer that notes when each step ends."""

    ends: list[float]

    def _progress(self) -> Any:
        @contextmanager
        def note() -> Iterator[Callable[[int], None]]:
            self.ends = []

            def end(step: int) -> None:
                report.synchronise()
                self.ends.append(time.perf_counter())

            yield end

        return note()


def cost(arguments: argparse.Namespace, streamed: bool) -> dict[str, Any]:
    """Milliseconds of a bare step and of a step of the loop, the shortest medians over an epoch, and the share of waiting for data."""
    config = configuration("train", arguments)
    nodes = OmegaConf.to_container(config, resolve=True)
    kind = data.StreamedDataset if streamed else data.FieldDataset
    train = kind(config.data.folder, split_range(config, "train"))
    valid = data.FieldDataset(config.data.folder, split_range(config, "valid"), train.discretization)
    loss = build(nodes["training"]["loss"], train.discretization)
    torch.manual_seed(0)
    operator = build_operator(nodes["operator"], train.discretization)
    operator.set_scales_from(train)
    for part in (operator, train, valid, loss):
        part.to(arguments.device)
    bare, loop, waited = [], [], []
    for number in range(arguments.rounds):
        bare.append(bare_step(operator, train, loss, arguments.batch))
        settings = Settings(epochs=1, batch_size=arguments.batch)
        run = Timed(operator, train, valid, loss, settings, arguments.folder / f"cost-{streamed}-{number}")
        run.run()
        gaps = torch.tensor(run.ends, dtype=torch.float64).diff()
        loop.append(1e3 * gaps.median().item())
        waited.append(run.rows.rows()[-1]["seconds_data"] / (run.ends[-1] - run.ends[0]))
    return {
        "data": "in files" if streamed else "in memory",
        "batch": arguments.batch,
        "bare step [ms]": min(bare),
        "step of the loop [ms]": min(loop),
        "overhead": min(loop) / min(bare) - 1,
        "waited for data": min(waited),
    }


def bare_step(operator: Any, train: data.Dataset, loss: Any, batch: int) -> float:
    """Forward, backward and optimiser on batches that are there already; the median over as many steps as an epoch has."""
    optimizer = training.adamw(operator.parameters(), lr=1e-3)
    batches = [train.batch(rows) for rows in torch.arange(len(train)).split(batch)][:4]
    times = []
    for number in range(len(train) // batch):
        start = time.perf_counter()
        fields = batches[number % len(batches)]
        optimizer.zero_grad(set_to_none=True)
        loss(operator(fields), fields).backward()
        optimizer.step()
        report.synchronise()
        times.append(time.perf_counter() - start)
    return 1e3 * torch.tensor(times, dtype=torch.float64).median().item()


def kills(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train with and without kills; whether the ends are the same."""
    settings = [f"training.loop.epochs={arguments.epochs}", "training.loop.checkpoint_every=3", "training.loop.ema=0.9"]
    command = [sys.executable, "-m", "thalweg", "train", *shared(arguments), *settings, f"device={arguments.device}"]
    whole, killed = arguments.folder / "whole", arguments.folder / "killed"
    start = time.monotonic()
    subprocess.run([*command, f"folder={whole}"], check=True, capture_output=True)
    last = MetricsLog(whole / "metrics.jsonl").rows()[-1]
    startup = time.monotonic() - start - last["seconds"]
    chance, done = random.Random(0), 0
    # A part of the kills comes before the first step after a start; the others at random steps, in order, anywhere within a step.
    for moment in sorted(chance.uniform(-0.2, 0.95) for _ in range(arguments.kills)):
        process = subprocess.Popen([*command, f"folder={killed}", "resume=true"], **SILENT)
        if moment < 0:
            time.sleep(chance.uniform(0, startup))
        while moment > 0 and process.poll() is None and steps_done(killed) < moment * last["step"]:
            time.sleep(1e-3)
        time.sleep(chance.uniform(0, 3 * last["seconds"] / last["step"]))
        process.kill()
        done += process.wait() == -signal.SIGKILL
    subprocess.run([*command, f"folder={killed}", "resume=true"], check=True, capture_output=True)
    return {
        "kills": done,
        "weights are bitwise equal": same_weights(whole, killed),
        "metrics are equal": rows(whole) == rows(killed),
    }


def steps_done(folder: Path) -> int:
    """The step of the last checkpoint."""
    latest = Checkpoints(folder / "checkpoints").latest()
    return 0 if latest is None else int(latest.name.removeprefix("step-"))


def same_weights(*folders: Path) -> bool:
    a, b = (load_file(Checkpoints(folder / "checkpoints").latest() / "weights.safetensors") for folder in folders)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(folder: Path) -> list[dict]:
    found = MetricsLog(folder / "metrics.jsonl").rows()
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=512, help="training samples")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each measurement")
    parser.add_argument("--epochs", type=int, default=4, help="of the run that is killed")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only-kills", action="store_true", help="measure no times")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--folder", type=Path, help="where data and runs go, a temporary folder by default; data there are used again"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    sys.argv = sys.argv[:1]  # PETSc takes what is left for its own options
    if arguments.device == "cpu":
        keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = (arguments.folder or Path(temporary)).resolve()
        generate.run(configuration("generate", arguments))
        costs = [] if arguments.only_kills else [cost(arguments, streamed) for streamed in (False, True)]
        if costs:
            report.print_table("a step of the loop", costs)
        killed = [kills(arguments)] if arguments.kills else []
        if killed:
            report.print_table("killed and resumed", killed)
    if arguments.json:
        settings = {name: str(value) for name, value in vars(arguments).items() if name not in ("json", "folder")}
        report.write_json(arguments.json, "training", settings, [*costs, *killed])
    if not all(row["weights are bitwise equal"] and row["metrics are equal"] for row in killed):
        sys.exit(f"The killed run ended elsewhere: {json.dumps(killed)}")


if __name__ == "__main__":
    main()
