"""Data sets made by a problem's reference solver: resumable, and each sample a function of (seed, its number) alone."""

import json
import logging
import os
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DivergedError, InputError
from ..fem import load
from ..progress_bar import progress
from .dataset import DISCRETIZATION, Provenance, Shard, read_provenance, shards, write_shard

if TYPE_CHECKING:
    from ..solvers import Problem

log = logging.getLogger("thalweg")

PACKAGES = ("thalweg", "firedrake", "petsc4py", "torch", "numpy", "scipy", "h5py")


def sample_rng(seed: int, sample: int) -> np.random.Generator:
    """The random numbers of one sample, whatever was drawn before it."""
    return np.random.default_rng(np.random.SeedSequence((seed, sample)))


def generate(
    problem: "Problem",
    folder: str | os.PathLike,
    num_samples: int,
    seed: int = 0,
    samples_per_shard: int = 64,
    config: dict | None = None,
    dtype: str = "float32",
) -> Path:
    """Solve a problem for random inputs until a folder holds ``num_samples`` samples.

    Shards that are there already are kept, so an interrupted generation goes on where it stopped, and a larger ``num_samples`` extends
    a data set. Inputs are rounded to ``dtype`` before the solve, so that stored inputs and outputs belong together exactly.

    Raises:
        FingerprintError: the folder holds samples of another mesh or other elements.
        InputError: it holds samples of another seed, precision or configuration of the problem.
        FileError: the disk is full or the folder cannot be written.
        DivergedError: the solver failed for a sample; the message names it. Samples of earlier shards are stored.
    """
    folder = Path(folder)
    disc = problem.export()
    if (folder / DISCRETIZATION).exists():
        disc.require_fingerprint(load(folder / DISCRETIZATION).fingerprint, str(folder))
    else:
        disc.save(folder / DISCRETIZATION)
    present = shards(folder)
    missing = _missing(present, folder, num_samples, samples_per_shard)
    provenance = Provenance(seed, config or {}, disc.fingerprint, dtype, package_versions())
    _require_same_making(present, provenance)
    with progress("generating", num_samples, "samples") as advance:
        done = num_samples - sum(shard.last - shard.first for shard in missing)
        advance(done)
        for shard in missing:
            fields, parameters = _solve(problem, shard, seed, np.dtype(dtype))
            write_shard(shard, fields, problem.fields, parameters, provenance)
            done += shard.last - shard.first
            advance(done)
    return folder


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide what the numbers are."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _require_same_making(present: list[Shard], now: Provenance) -> None:
    """Samples of one data set have one seed, one precision and one problem; two makings are never mixed."""
    wanted = {"seed": now.seed, "dtype": now.dtype, "problem": json.loads(json.dumps(now.config))}
    for shard in present:
        before = read_provenance(shard)
        found = {"seed": before.seed, "dtype": before.dtype, "problem": before.config}
        if changed := [name for name in wanted if wanted[name] != found[name]]:
            listed = "; ".join(f"{name} was {found[name]}, is {wanted[name]}" for name in changed)
            raise InputError(
                f"{shard.path} was generated otherwise: {listed}. Choose another folder by name=... or data.folder=..., or delete the old "
                "samples."
            )


def _missing(present: list[Shard], folder: Path, num_samples: int, size: int) -> list[Shard]:
    """Shards that fill the gaps between those present, up to ``num_samples``."""
    gaps, first = [], 0
    for shard in present:
        gaps.append((first, min(shard.first, num_samples)))
        first = shard.last
    gaps.append((first, num_samples))
    return [Shard.named(folder, a, min(a + size, stop)) for start, stop in gaps for a in range(start, stop, size)]


def _solve(problem: "Problem", shard: Shard, seed: int, dtype: np.dtype) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fields ``(sample, time, dofs)`` of one shard, and the seconds that each solve took."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in problem.fields}
    seconds = []
    for sample in range(shard.first, shard.last):
        inputs = problem.random_inputs(sample_rng(seed, sample))
        for function in inputs.values():
            function.dat.data_wo[...] = function.dat.data_ro.astype(dtype)
        start = time.perf_counter()
        try:
            outputs = problem.solve(inputs)
        except DivergedError as error:
            raise DivergedError(f"Sample {sample} of seed {seed}: {error}") from error
        seconds.append(time.perf_counter() - start)
        for name, function in (inputs | outputs).items():
            rows[name].append(_dofs(function).astype(dtype))
            if not np.isfinite(rows[name][-1]).all():
                raise DivergedError(f"Field {name!r} of sample {sample}, seed {seed}, contains NaN or infinity in {dtype}.")
    fields = {name: np.stack(values)[:, None] for name, values in rows.items()}
    return fields, {"seconds_solve": np.array(seconds)}


def _dofs(function: Any) -> np.ndarray:
    """All dofs of a Firedrake function as one vector, components innermost, subspaces concatenated."""
    return np.concatenate([np.asarray(part.dat.data_ro).reshape(-1) for part in function.subfunctions])
