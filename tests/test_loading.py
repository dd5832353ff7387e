"""Reading data sets: from memory or from files, whole, in windows, and as moments in the true norm."""

import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from small import configuration
from thalweg.commands import train
from thalweg.data import (
    FieldDataset,
    Normaliser,
    StreamedDataset,
    TimeWindows,
    generate,
    load_moments,
    moments,
    open_dataset,
    save_moments,
)
from thalweg.data.shards import shards
from thalweg.data.streaming import read_ahead
from thalweg.errors import FileError, InputError
from thalweg.fem.uniform_grid import Grid, Grids
from thalweg.solvers.grid import PeriodicField
from thalweg.solvers.grid.problems import VorticityFlow
from thalweg.training import MetricsLog

f64 = torch.float64


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten trajectories of seven frames with a random forcing each, in shards of four."""
    field = partial(PeriodicField, alpha=2.5, tau=7)
    flow = VorticityFlow(field, None, field, viscosity=1e-3, points=16, every=2, interval=0.1, frames=6, dt=0.05)
    return generate(flow, tmp_path_factory.mktemp("flows"), 10, samples_per_shard=4, preview=False)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_samples_read_from_files_are_those_in_memory(flows: Path, dtype: torch.dtype):
    memory, streamed = FieldDataset(flows, range(1, 10), dtype=dtype), StreamedDataset(flows, range(1, 10), dtype=dtype)
    assert len(streamed) == len(memory) == 9
    assert streamed.trajectories == memory.trajectories == ("w",)
    for rows in (slice(2, 5), [7, 0, 3], torch.tensor([8, 8, 1]), range(4)):
        ours, theirs = streamed.batch(rows), memory.batch(rows)
        assert ours.keys() == theirs.keys() == {"g", "w"}
        assert all(ours[name].dtype == dtype and torch.equal(ours[name], theirs[name]) for name in ours)
    assert streamed.times is not None
    assert np.array_equal(streamed.times, np.arange(7) * 0.1)
    assert np.array_equal(streamed.parameters["attempt"], memory.parameters["attempt"])


@pytest.mark.parametrize("kind", [FieldDataset, StreamedDataset])
def test_rows_are_picked_alike_by_slices_and_by_numbers(kind: type, flows: Path):
    data = kind(flows)
    starts = torch.tensor([0, 3, 1])
    by_slice, by_number = (data.window(rows, starts, 2) for rows in (slice(4, 7), [4, 5, 6]))
    assert by_slice["w"].shape == (3, 2, 1, 8, 8)
    assert all(torch.equal(by_slice[name], by_number[name]) for name in ("g", "w"))
    assert torch.equal(data.batch([-1])["w"], data.batch([9])["w"])


def test_rows_that_do_not_exist_are_not_taken_for_others(flows: Path):
    for rows in ([10], torch.tensor([0, -11])):
        with pytest.raises(InputError, match=r"no row (10|-11); the data set has 10 samples"):
            StreamedDataset(flows).batch(rows)


def _shift_times(file: h5py.File):
    file["times"][...] += 1


def _another_parameter(file: h5py.File):
    file["parameters/viscosity"] = np.ones(4)


def _one_field_less(file: h5py.File):
    del file["fields/g"]


@pytest.mark.parametrize(
    ("change", "what"), [(_shift_times, "times"), (_another_parameter, "parameters"), (_one_field_less, "fields")]
)
def test_shards_that_disagree_are_refused(change, what: str, flows: Path, tmp_path: Path):
    folder = shutil.copytree(flows, tmp_path / "mixed")
    other = shards(folder)[1].path
    with h5py.File(other, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=rf"{other.name} has other {what}.* than .*samples-000000-000004"):
        FieldDataset(folder)
    assert len(FieldDataset(folder, range(4))) == 4


def test_finite_element_samples_are_read_from_files_too(dataset: Path):
    memory, streamed = FieldDataset(dataset / "data", range(20)), StreamedDataset(dataset / "data", range(20), scale_samples=20)
    for name, values in memory.fields.items():
        assert torch.equal(streamed.fields[name], values)
    assert memory.spaces == streamed.spaces == {"f": "V", "g": "V", "u": "V"}


def test_an_epoch_read_ahead_is_the_epoch(flows: Path):
    memory, streamed = FieldDataset(flows), StreamedDataset(flows, ahead=3)
    order = torch.randperm(10).split(3)
    for ours, theirs in zip(streamed.batches(order), memory.batches(order), strict=True):
        assert torch.equal(ours["w"], theirs["w"])


def test_reading_ahead_stops_with_its_reader():
    """Whoever leaves an epoch early leaves no thread behind, and the errors of the thread arrive."""
    before, read = threading.active_count(), []
    results = read_ahead(lambda i: read.append(i) or i, range(1000), 2)
    assert next(results) == 0
    results.close()
    assert len(read) <= 4
    assert threading.active_count() == before
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(lambda i: 1 // i, [1, 0, 1], 2))


def test_threads_and_processes_have_files_of_their_own(flows: Path):
    streamed, memory = StreamedDataset(flows), FieldDataset(flows)
    streamed.batch([0])
    copy = pickle.loads(pickle.dumps(streamed._reader))
    assert copy.shapes == streamed._reader.shapes
    with ThreadPoolExecutor(4) as threads:
        for i, fields in zip(range(10), threads.map(lambda i: streamed.batch([i]), range(10)), strict=True):
            assert torch.equal(fields["w"][0], memory.fields["w"][i])
    loader = DataLoader(range(10), batch_size=5, num_workers=1, collate_fn=streamed.batch)  # forks with files open
    assert torch.equal(torch.cat([fields["w"] for fields in loader]), memory.fields["w"])


def test_what_fits_is_kept_in_memory(flows: Path):
    assert isinstance(open_dataset(flows), FieldDataset)
    assert isinstance(open_dataset(flows, in_memory_up_to=1000), StreamedDataset)


@pytest.mark.parametrize("kind", [FieldDataset, StreamedDataset])
def test_damage_is_noticed(kind: type, flows: Path, tmp_path: Path):
    for path in flows.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    victim = shards(tmp_path)[1]
    with h5py.File(victim.path) as file:
        place = file["fields/w"].id.get_chunk_info(2).byte_offset
    with victim.path.open("r+b") as file:
        file.seek(place + 100)
        file.write(b"\xff\x00\xff")
    with pytest.raises(FileError, match=r"samples-000004-000008\.h5 is damaged"):
        kind(tmp_path).batch(range(10))
    victim.path.unlink()
    with pytest.raises(FileError, match="holds 6 of the 10 samples"):
        kind(tmp_path)


def test_samples_that_are_there_twice_do_not_make_up_for_missing_ones(flows: Path, tmp_path: Path):
    shutil.copytree(flows, tmp_path, dirs_exist_ok=True)
    first, second, _ = shards(tmp_path)
    shutil.copy(first.path, first.path.with_name("samples-000002-000006.h5"))
    second.path.unlink()
    with pytest.raises(FileError, match=r"samples-000000-000004\.h5 and .*samples-000002-000006\.h5 both hold sample 2"):
        FieldDataset(tmp_path)


@pytest.mark.parametrize("kind", [FieldDataset, StreamedDataset])
def test_windows_are_slices_of_trajectories_by_sample_and_then_by_start(kind: type, flows: Path):
    data = FieldDataset(flows, range(2, 6))
    windows = TimeWindows(kind(flows, range(2, 6)), history=2, horizon=1, stride=2)
    starts = [0, 2, 4]
    assert len(windows) == 4 * len(starts)
    whole = windows.batch(range(len(windows)))
    expected = torch.stack([w[s : s + 3] for w in data.fields["w"] for s in starts])
    assert torch.equal(whole["w"], expected)
    assert torch.equal(whole["g"], data.fields["g"].repeat_interleave(3, 0))
    assert torch.equal(windows.batch(torch.tensor([7, 0]))["w"], expected[[7, 0]])
    assert [len(b["w"]) for b in windows.batches(torch.arange(12).split(5))] == [5, 5, 2]
    assert windows.parameters["attempt"].shape == (12,)
    assert windows.fields["w"].shape == (28, 1, 8, 8)


def test_windows_longer_than_trajectories_are_refused(flows: Path):
    data = FieldDataset(flows)
    assert len(TimeWindows(data, history=1, horizon=6)) == 10
    with pytest.raises(InputError, match=r"7 frames have no windows of 1 \+ 7"):
        TimeWindows(data, history=1, horizon=7)


def test_windows_need_trajectories(dataset: Path):
    with pytest.raises(InputError, match="need a data set of trajectories"):
        TimeWindows(FieldDataset(dataset / "data", range(4)))


def on_grid(values: torch.Tensor) -> FieldDataset:
    grid = Grid(tuple(values.shape[2:]), location="centre")
    return FieldDataset.of(Grids({"grid": grid}), {"u": values}, {"u": "grid"})


def test_moments_lose_no_digits_to_a_large_mean():
    """Of E[u²] − E[u]², nothing would be left at a mean of 1e8 and a deviation of 1e-2."""
    noise = 1e-2 * torch.randn(300, 1, 8, 8, dtype=f64, generator=torch.Generator().manual_seed(0))
    found = moments(on_grid(1e8 + noise), batch_size=7)["u"]
    assert found.deviation == pytest.approx(float(noise.std(correction=0)), rel=1e-5)
    assert found.mean[0] - 1e8 == pytest.approx(float(noise.mean()), abs=1e-7)
    assert found.count == 300


def test_moments_are_integrals_over_the_domain(dataset: Path):
    """The mean of u is ∫u/|Ω|, whatever the mesh, and its deviation ‖u − mean‖ in L²."""
    data = FieldDataset(dataset / "data", range(30), dtype=f64)
    V = data.discretization["V"]
    one = torch.ones(V.num_dofs, dtype=f64)
    volume = V.inner(one, one)
    x = V.points[:, 0]
    data._fields["u"] = x.expand(30, -1) * torch.arange(30.0, dtype=f64)[:, None]
    found = moments(data, batch_size=8)["u"]
    mean = 14.5 * V.inner(one, x) / volume
    assert found.mean[0] == pytest.approx(float(mean))
    exact = V.norm(data.fields["u"] - mean * one).square().mean() / volume
    assert found.deviation == pytest.approx(float(exact.sqrt()))
    assert found.root_mean_square == pytest.approx(float((V.norm(data.fields["u"]).square().mean() / volume).sqrt()))
    assert found.mean[0] != pytest.approx(float(data.fields["u"].mean()), rel=1e-3)


def test_moments_of_files_are_those_of_memory(flows: Path, tmp_path: Path):
    ours = moments(StreamedDataset(flows), batch_size=3)
    theirs = moments(FieldDataset(flows), batch_size=10)
    save_moments(tmp_path / "moments.json", ours)
    assert load_moments(tmp_path / "moments.json") == ours
    assert ours["w"].count == 70
    for name in ("g", "w"):
        assert ours[name].deviation == pytest.approx(theirs[name].deviation, rel=1e-9)


def test_normalised_fields_have_mean_zero_and_deviation_one(dataset: Path, flows: Path):
    for data in (FieldDataset(dataset / "data", range(20)), FieldDataset(flows)):
        spaces = {name: data.discretization[space] for name, space in data.spaces.items()}
        normalise = Normaliser(moments(data), spaces)
        normalised = normalise(data.fields)
        again = moments(FieldDataset.of(data.discretization, normalised, data.spaces, data.times))
        for name, m in again.items():
            assert m.deviation == pytest.approx(1, rel=1e-4)
            assert abs(m.mean[0]) < 1e-4
            torch.testing.assert_close(normalise.inverse(normalised)[name], data.fields[name], atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_arrive_on_the_gpu_as_they_are(flows: Path):
    memory, streamed = FieldDataset(flows), StreamedDataset(flows).to("cuda")
    order = torch.randperm(10, device="cuda").split(4)
    for rows, fields in zip(order, streamed.batches(order), strict=True):
        assert fields["w"].is_cuda
        assert torch.equal(fields["w"].cpu(), memory.fields["w"][rows.cpu()])


def test_training_from_files_is_training_from_memory(trained: Path, dataset: Path, tmp_path: Path):
    """Bit for bit: what is read, in which order, and the scales of all samples."""
    train.run(configuration("train", dataset, f"folder={tmp_path}", "data.in_memory_up_to=1"))
    losses = [
        [row["train_loss"] for row in MetricsLog(run / "metrics.jsonl").rows() if "train_loss" in row]
        for run in (trained, tmp_path)
    ]
    assert len(losses[0]) == 2
    assert losses[0] == losses[1]
