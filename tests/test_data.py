"""Data sets: each sample a function of (seed, number), files whole or absent, splits that never meet."""

import json
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import firedrake as fd
import h5py
import numpy as np
import pytest
import torch

from small import configuration
from thalweg.commands import generate
from thalweg.commands.splits import split_range
from thalweg.data import FieldDataset
from thalweg.data import generate as generate_data
from thalweg.data.dataset import field_spaces, shards
from thalweg.errors import DivergedError
from thalweg.random_numbers import sample_rng
from thalweg.solvers import Poisson


def test_samples_do_not_depend_on_the_order_or_the_shards(dataset: Path, tmp_path: Path):
    generate.run(configuration("generate", tmp_path, "data.samples_per_shard=5", "num_samples=23"))
    ours, theirs = FieldDataset(tmp_path / "data"), FieldDataset(dataset / "data", range(23))
    for name in ("f", "g", "u"):
        assert torch.equal(ours.fields[name], theirs.fields[name])


def test_a_data_set_is_completed_not_repeated(dataset: Path, tmp_path: Path):
    shutil.copytree(dataset / "data", tmp_path / "data")
    lost = tmp_path / "data/samples-000016-000032.h5"
    kept = tmp_path / "data/samples-000032-000048.h5"
    lost.unlink()
    before = kept.stat().st_mtime_ns
    generate.run(configuration("generate", tmp_path, "num_samples=60"))
    assert kept.stat().st_mtime_ns == before
    assert [(s.first, s.last) for s in shards(tmp_path / "data")] == [(0, 16), (16, 32), (32, 48), (48, 56), (56, 60)]
    assert torch.equal(FieldDataset(tmp_path / "data", range(56)).fields["u"], FieldDataset(dataset / "data").fields["u"])


def test_another_seed_gives_other_samples(dataset: Path, tmp_path: Path):
    generate.run(configuration("generate", tmp_path, "num_samples=2", "seed=1"))
    assert not torch.allclose(FieldDataset(tmp_path / "data").fields["f"], FieldDataset(dataset / "data", range(2)).fields["f"])


def test_stored_fields_solve_the_equation_to_their_precision(dataset: Path):
    """K u = M f away from the boundary, in the discretization's own matrices."""
    data = FieldDataset(dataset / "data", range(4), dtype=torch.float64)
    V = data.discretization["V"]
    residual = V.stiffness(data.fields["u"]) - V.mass(data.fields["f"])
    residual[:, V.boundary_dofs()] = 0
    assert residual.abs().max() < 2e-6 * V.stiffness(data.fields["u"]).abs().max()


def test_stored_fields_annihilate_the_stored_weak_form(dataset: Path):
    data = FieldDataset(dataset / "data", range(4), dtype=torch.float64)
    disc = data.discretization
    residual = disc.form("residual")
    r, of_zero = residual(u=data.fields["u"], f=data.fields["f"]), residual(u=0 * data.fields["u"], f=data.fields["f"])
    r[:, disc["V"].boundary_dofs()] = 0
    assert r.abs().max() < 1e-4 * of_zero.abs().max()


def test_boundary_values_of_stored_solutions_are_the_stored_data_bit_for_bit(dataset: Path):
    data = FieldDataset(dataset / "data")
    dofs = data.discretization["V"].boundary_dofs()
    assert torch.equal(data.fields["u"][:, dofs], data.fields["g"][:, dofs])


def test_a_shard_says_where_it_comes_from(dataset: Path):
    with h5py.File(dataset / "data/samples-000000-000016.h5") as file:
        assert file.attrs["schema_version"] == 1
        assert file.attrs["seed"] == 0
        assert json.loads(file.attrs["config"])["_target_"] == "thalweg.solvers.Poisson"
        assert json.loads(file.attrs["versions"])["firedrake"] == version("firedrake")
        assert file["fields/u"].shape[:2] == (16, 1)
        assert file["parameters/seconds_solve"].shape == (16,)
    assert field_spaces(dataset / "data") == {"f": "V", "g": "V", "u": "V"}


def test_splits_do_not_meet_and_the_test_split_stays(dataset: Path):
    small, large = (configuration("train", dataset, f"data.split.train={n}") for n in (32, 64))
    assert split_range(small, "test") == split_range(large, "test") == range(12)
    splits = [set(split_range(large, split)) for split in ("test", "valid", "train")]
    assert sum(map(len, splits)) == len(set().union(*splits)) == 88


def test_batches_are_the_rows_asked_for(dataset: Path):
    data = FieldDataset(dataset / "data", range(8, 20))
    whole = FieldDataset(dataset / "data")
    batch = data.batch(torch.tensor([3, 0]))
    assert torch.equal(batch["u"], whole.fields["u"][[11, 8]])
    assert len(data) == 12
    assert (data.parameters["seconds_solve"] > 0).all()


class Fragile(Poisson):
    """A Poisson problem whose solver breaks down where the source has a mean above a bound."""

    def __init__(self, failure: Callable[[fd.Function], None], bound: float):
        super().__init__("plate_with_hole.msh", ["left"], refinements=0)
        self.failure, self.bound = failure, bound

    def solve(self, inputs: Mapping[str, fd.Function]) -> dict[str, fd.Function]:
        outputs = super().solve(inputs)
        if inputs["f"].dat.data_ro.mean() > self.bound:
            self.failure(outputs["u"])
        return outputs


def diverge(u: fd.Function) -> None:
    raise DivergedError("the solver diverged.")


def break_down(u: fd.Function) -> None:
    u.dat.data_wo[0] = np.nan


@pytest.mark.parametrize("failure", [diverge, break_down])
def test_a_failed_solve_is_located_and_earlier_samples_stay(failure: Callable[[fd.Function], None], tmp_path: Path):
    whole = Fragile(failure, np.inf)
    means = [float(whole.random_inputs(sample_rng(0, i))["f"].dat.data_ro.mean()) for i in range(8)]
    bound = max(means[:4]) + 1e-3
    first = next(i for i, mean in enumerate(means) if mean > bound)
    with pytest.raises(DivergedError, match=f"ample {first}"):
        generate_data(Fragile(failure, bound), tmp_path, 8, samples_per_shard=2, attempts=1)
    assert len(FieldDataset(tmp_path)) == first


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fields_are_stored_in_the_configured_precision(dtype: str, tmp_path: Path):
    generate.run(configuration("generate", tmp_path, "num_samples=1", f"data.dtype={dtype}"))
    with h5py.File(tmp_path / "data/samples-000000-000001.h5") as file:
        assert file["fields/u"].dtype == np.dtype(dtype)
