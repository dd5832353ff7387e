"""Data sets: how fast samples are made by each problem on a grid, and how fast batches arrive from memory and from files.

Generation is measured without its start; reading from files that the system has just written, and so has in its cache: what is seen is
the cost of HDF5 and of copies, not of a disk. "behind a step" is what is left of the reading when a step of ``--step`` milliseconds runs
meanwhile.

    python benchmarks/data.py --json data.json
    python benchmarks/data.py --problems darcy_smooth vorticity --samples 8 --device cuda
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from thalweg import data, fem
from thalweg.configuration import build

PROBLEMS = ["darcy_smooth", "darcy_rough", "darcy_multiscale", "vorticity", "channel_with_discs"]


def generation(name: str, samples: int, device: str) -> dict[str, Any]:
    """Seconds a sample, solved in one batch after a batch that is not timed."""
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("generate", overrides=["name=any", f"problem={name}"])
    problem = build(OmegaConf.to_container(config.problem, resolve=True)).to(device)
    problem.solve(problem.random_inputs(0, range(1)))
    report.synchronise()
    start = time.perf_counter()
    inputs = problem.random_inputs(1, range(samples))
    solved = {key: values.cpu() for key, values in problem.solve(inputs).items()}
    seconds = (time.perf_counter() - start) / samples
    stored = sum(values[0].nbytes for values in (problem.stored(inputs) | solved).values())
    return {"problem": name, "samples": samples, "seconds a sample": seconds, "MB a sample": stored / 1e6}


def reading(folder: Path, batch_size: int, step: float) -> Iterator[dict[str, Any]]:
    """Milliseconds a batch in random order, alone and behind a step."""
    memory, streamed = data.FieldDataset(folder), data.StreamedDataset(folder)
    order = torch.randperm(len(memory), generator=torch.Generator().manual_seed(0)).split(batch_size)
    size = sum(values.nbytes for values in memory.batch(order[0]).values()) / 1e6
    for name, dataset in (("memory", memory), ("files", streamed)):
        alone = report.milliseconds(lambda dataset=dataset: [dataset.batch(rows) for rows in order]) / len(order)
        start = time.perf_counter()
        for _ in dataset.batches(order):
            time.sleep(step / 1e3)
        behind = 1e3 * (time.perf_counter() - start) / len(order) - step
        yield {"from": name, "MB a batch": size, "ms a batch": alone, "GB/s": size / alone, "ms behind a step": behind}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="*", default=PROBLEMS)
    parser.add_argument("--samples", type=int, default=4, help="solved at once")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stored", type=int, default=512, help="samples of 2 x 128 x 128 values that are read")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--step", type=float, default=20.0, help="milliseconds")
    parser.add_argument("--json")
    arguments = parser.parse_args()

    made = [generation(name, arguments.samples, arguments.device) for name in arguments.problems]
    if made:
        report.print_table("generation", made)
    with tempfile.TemporaryDirectory() as folder:
        values = np.random.default_rng(0).standard_normal((arguments.stored, 2, 128, 128)).astype(np.float32)
        grids = fem.Grids({"grid": fem.Grid((128, 128))})
        data.FieldArrays(grids, {"u": values}, "grid").store(folder, preview=False)
        read = list(reading(Path(folder), arguments.batch_size, arguments.step))
    report.print_table("reading", read)
    if arguments.json:
        settings = {name: getattr(arguments, name) for name in ("device", "batch_size", "step")}
        report.write_json(arguments.json, "data", settings, [*made, *read])


if __name__ == "__main__":
    main()
