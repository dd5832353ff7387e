"""Data sets made by a problem's reference solver: resumable, and each sample a function of (seed, its number) alone."""

import json
import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..hdf5 import reading_hdf5
from ..progress_bar import progress
from ..storage import only_writer
from .card import write_card
from .preview import PREVIEW, write_preview
from .reference import Reference, SampleFailed, Samples, reference
from .shards import KIND, Provenance, Shard, read_provenance, shards, write_shard, write_spaces
from .workers import workers

if TYPE_CHECKING:
    from ..solvers import Problem
    from ..solvers.grid.problem import GridProblem

__all__ = ["generate", "package_versions"]

log = logging.getLogger("thalweg")

#: What a setting is that is not there.
_NOTHING = "not given"

#: Up to which part of its size a field is the same when it is made again, on another machine as well.
_SAME = 1e-3

_ELSEWHERE = "Choose another folder, or delete the old samples."

PACKAGES = ("thalweg", "firedrake", "petsc4py", "torch", "numpy", "scipy", "h5py")


def generate(
    problem: "Problem | GridProblem",
    folder: str | os.PathLike,
    num_samples: int,
    seed: int = 0,
    samples_per_shard: int = 64,
    config: dict | None = None,
    dtype: str = "float32",
    attempts: int = 3,
    batch_size: int = 16,
    preview: bool = True,
) -> Path:
    """Solve a problem for random inputs until a folder holds ``num_samples`` samples.

    Shards that are there already are kept, so a generation that was interrupted, even killed, goes on where it stopped and ends with the
    same numbers, and a larger ``num_samples`` extends a data set. Inputs are rounded to ``dtype`` before the solve, so that stored inputs
    and outputs belong together exactly. Where the solver fails for a sample, the sample is drawn again; the shard and the card
    tell which and why. Under ``mpiexec`` each process makes shards of its own.

    Args:
        problem: solved one sample at a time by Firedrake, or in batches on a grid.
        folder: of the data set, made if it is not there.
        num_samples: from number 0 on.
        seed: sample i depends on it and on i alone.
        samples_per_shard: samples in a file; a generation that is interrupted loses one file at most, one that fails its last batch.
        config: of the problem, which the samples' files keep and a later call must agree with. Without it, one of the samples that are
            there already is made again and compared.
        dtype: of what is stored, "float32" or "float64".
        attempts: draws of a sample before its failure is final.
        batch_size: samples that a problem on a grid solves at once.
        preview: whether a picture of the first samples is drawn beside the data.

    Raises:
        FingerprintError: the folder holds samples of another mesh or other elements.
        InputError: it holds samples of another seed, precision or problem, or is being written to by another process.
        FileError: the disk is full or the folder cannot be written.
        DivergedError: the solver failed for every draw of a sample; the message names it. The samples before it are stored.
    """
    if not isinstance(samples_per_shard, int) or samples_per_shard < 1:
        raise InputError(f"A shard holds one sample or more, not samples_per_shard={samples_per_shard!r}.")
    if not isinstance(num_samples, int) or num_samples < 1:
        raise InputError(f"A data set has one sample or more, not num_samples={num_samples!r}.")
    if isinstance(problem, type):
        raise InputError(f"A problem is solved, not its class: pass {problem.__name__}(...).")
    folder, crew = Path(folder), workers()
    made_by = reference(problem, seed, dtype, attempts, batch_size)
    disc = made_by.discretization()
    provenance = Provenance(seed, config or {}, disc.fingerprint, dtype, package_versions())

    held = ExitStack()

    def plan() -> list[Shard]:
        advice = "Wait for it; or, for more processes on one data set, start them together by mpiexec -n N thalweg generate ..."
        held.enter_context(only_writer(folder, advice))
        for left_by_killed in folder.glob(".samples-*.partial"):
            left_by_killed.unlink(missing_ok=True)
        write_spaces(folder, disc)
        present = shards(folder)
        _require_same_making(present, provenance)
        if present and not config:
            _require_same_sample(present[0], made_by)
        return _missing(present, folder, num_samples, samples_per_shard)

    def describe() -> None:
        if preview and not (folder / PREVIEW).exists():
            write_preview(folder)
        write_card(folder, num_samples, type(problem).__doc__ or "")

    with held:
        missing = crew.first(plan)
        done = num_samples - sum(map(len, missing))
        crew.all(lambda: _fill(crew.share(missing), made_by, provenance, done, crew.size))
        crew.first(describe)
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


def _fill(missing: list[Shard], made_by: Reference, provenance: Provenance, done: int, processes: int) -> None:
    """Make and write some shards, one after the other."""
    label = "generating" if processes == 1 else f"generating, one of {processes} processes,"
    done = done if processes == 1 else 0
    with progress(label, done + sum(map(len, missing)), "samples", done) as advance:
        for shard in missing:
            try:
                made = made_by.make(range(shard.first, shard.last), lambda n, before=done: advance(before + n))
            except SampleFailed as error:
                if error.before is not None:
                    _write(shard.path.parent, shard.first, error.before, made_by, provenance)
                    error.before = None  # not sent from process to process
                raise
            _write(shard.path.parent, shard.first, made, made_by, provenance)
            done += len(shard)


def _write(folder: Path, first: int, made: Samples, made_by: Reference, provenance: Provenance) -> None:
    """Store samples from number ``first`` on, and tell which of them were drawn again."""
    for draw in made.failed:
        log.warning("sample %d was drawn again, because draw %d failed: %s", draw.sample, draw.attempt, draw.reason)
    number = len(next(iter(made.fields.values())))
    own = replace(provenance, failed=tuple(made.failed))
    write_shard(Shard.named(folder, first, first + number), made.fields, made_by.spaces, made.parameters, own, made_by.times)


def _require_same_making(present: list[Shard], now: Provenance) -> None:
    """Samples of one data set have one seed, one precision and one problem; two makings are never mixed."""
    wanted = _settings({"seed": now.seed, "dtype": now.dtype, "problem": json.loads(json.dumps(now.config))})
    for shard in present:
        before = read_provenance(shard)
        found = _settings({"seed": before.seed, "dtype": before.dtype, "problem": before.config})
        if changed := [name for name in found | wanted if wanted.get(name, _NOTHING) != found.get(name, _NOTHING)]:
            listed = "; ".join(f"{name} was {found.get(name, _NOTHING)}, is {wanted.get(name, _NOTHING)}" for name in changed)
            raise InputError(
                f"{shard.path} was generated otherwise: {listed}. Choose another folder by name=... or data.folder=..., or delete the old "
                "samples."
            )


def _require_same_sample(shard: Shard, made_by: Reference) -> None:
    """Nothing written down tells of a problem made in Python whether it is still the same; its first sample does."""
    again = made_by.make(range(shard.first, shard.first + 1), lambda n: None).fields
    with reading_hdf5(shard.path, KIND) as file:
        before = {name: values[:1] for name, values in file["fields"].items()}
    for name, values in again.items():
        if name not in before or before[name].shape != values.shape:
            raise InputError(
                f"{shard.path} was generated otherwise, without a field {name!r} of shape {values.shape[1:]}. {_ELSEWHERE}"
            )
        if (change := np.abs(values - before[name]).max()) > _SAME * np.abs(before[name]).max():
            raise InputError(
                f"{shard.path} was generated by another problem: field {name!r} of sample {shard.first}, made again, differs by "
                f"{change:.2g}. {_ELSEWHERE}"
            )


def _settings(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested settings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        found |= _settings(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


def _missing(present: list[Shard], folder: Path, num_samples: int, size: int) -> list[Shard]:
    """Shards that fill the gaps between those present, up to ``num_samples``, cut where an uninterrupted generation cuts."""
    gaps, first = [], 0
    for shard in present:
        gaps.append((first, min(shard.first, num_samples)))
        first = shard.last
    gaps.append((first, num_samples))
    return [
        Shard.named(folder, a, min(a - a % size + size, stop))
        for start, stop in gaps
        for a in [start, *range(start - start % size + size, stop, size)]
        if a < stop
    ]
