"""Generation: samples that depend on (seed, number) alone, whatever is killed, fails, or runs beside."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import firedrake as fd
import h5py
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from thalweg import fem
from thalweg.__main__ import main
from thalweg.configuration import build
from thalweg.data import FieldDataset, generate, read_card
from thalweg.data.shards import shards
from thalweg.errors import DivergedError, FileError, InputError
from thalweg.random_numbers import sample_rng
from thalweg.solvers import Problem
from thalweg.solvers.grid import PeriodicField, diagonal_forcing
from thalweg.solvers.grid.problem import GridProblem
from thalweg.solvers.grid.problems import (
    GridDarcy,
    MultiscaleTrigonometric,
    RandomDiscs,
    StaggeredChannel,
    TwoPhase,
    VorticityFlow,
)

THALWEG = Path(sys.executable).with_name("thalweg")
SMALL_DARCY = ["problem=darcy_smooth", "problem.nodes=41", "num_samples=24", "data.samples_per_shard=2", "preview=false"]


def darcy(nodes: int = 21) -> GridDarcy:
    return GridDarcy(TwoPhase(), nodes, every=2)


def vorticity(every: int = 1, **settings) -> VorticityFlow:
    settings = {"viscosity": 1e-3, "points": 16, "interval": 0.25, "frames": 2, "dt": 0.05} | settings
    return VorticityFlow(partial(PeriodicField, alpha=2.5, tau=7), diagonal_forcing, every=every, **settings)


def contents(folder: Path) -> dict[str, bytes]:
    """Every field of every sample, byte for byte, and what the shards say of their making."""
    found = {}
    for shard in shards(folder):
        with h5py.File(shard.path) as file:
            found[f"{shard.first} making"] = json.dumps({name: str(value) for name, value in file.attrs.items()}).encode()
            for name, values in file["fields"].items():
                found |= {f"{shard.first + i} {name}": row.tobytes() for i, row in enumerate(values[()])}
    return found


def channel(discs: int = 2, **settings) -> StaggeredChannel:
    settings = {"cells": (32, 16), "start": 0.2, "interval": 0.1, "frames": 2, "dt": 0.01} | settings
    return StaggeredChannel(RandomDiscs(discs, radii=(0.15, 0.2)), **settings)


@pytest.mark.parametrize("problem", [darcy, partial(vorticity, viscosity=(1e-3, 1e-2)), channel])
def test_a_grid_sample_does_not_depend_on_its_batch(problem: Callable[[], GridProblem], tmp_path: Path):
    generate(problem(), tmp_path / "one", 6, seed=3, samples_per_shard=6, batch_size=6, preview=False)
    generate(problem(), tmp_path / "two", 6, seed=3, samples_per_shard=4, batch_size=1, preview=False)
    one, two = FieldDataset(tmp_path / "one"), FieldDataset(tmp_path / "two")
    for name, values in one.fields.items():
        assert torch.equal(values, two.fields[name])
    assert not torch.equal(next(iter(one.fields.values()))[0], next(iter(one.fields.values()))[1])


def test_a_killed_generation_goes_on_to_the_same_bytes(tmp_path: Path):
    command = [str(THALWEG), "generate", "name=killed", *SMALL_DARCY]
    process = subprocess.Popen(
        [*command, f"data.folder={tmp_path / 'killed'}"], env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    while not shards(tmp_path / "killed") and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    survived = {shard.path: shard.path.stat().st_mtime_ns for shard in shards(tmp_path / "killed")}
    assert 0 < len(survived) < 12
    (tmp_path / "killed" / ".samples-000022-000024.h5.left.partial").write_bytes(b"half a shard")

    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("generate", overrides=["name=killed", *SMALL_DARCY])
    nodes = OmegaConf.to_container(config.problem, resolve=True)
    for folder in ("killed", "whole"):
        generate(build(nodes), tmp_path / folder, 24, samples_per_shard=2, config=nodes, preview=False)
    assert all(path.stat().st_mtime_ns == before for path, before in survived.items())
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob(".*.partial"))


def test_data_of_a_problem_are_named_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = ["problem=darcy_smooth", "problem.nodes=21", "num_samples=2", "seed=1", "preview=false"]
    monkeypatch.setattr(sys, "argv", ["thalweg", "generate", *command])
    monkeypatch.setattr(sys, "path", sys.path.copy())
    main()
    assert len(FieldDataset(tmp_path / "datasets" / "darcy_smooth")) == 2


class Heat(Problem):
    """∂u/∂t = Δu on an interval, by implicit Euler steps, from a random initial state; fails where that state is steep."""

    inputs, outputs, transfers = ("a",), ("u",), ()
    times = np.array([0.0, 0.1, 0.2])

    def __init__(self, steepest: float = np.inf):
        V = fd.FunctionSpace(fd.UnitIntervalMesh(8), "CG", 1)
        self.spaces, self.fields, self.steepest = {"V": V}, {"a": "V", "u": "V"}, steepest
        self._u, self._old, v = fd.Function(V, name="u"), fd.Function(V, name="old"), fd.TestFunction(V)
        self.residual = ((self._u - self._old) / 0.1 * v + fd.inner(fd.grad(self._u), fd.grad(v))) * fd.dx
        self._solver = fd.NonlinearVariationalSolver(fd.NonlinearVariationalProblem(self.residual, self._u))

    def random_inputs(self, rng: np.random.Generator) -> dict[str, fd.Function]:
        a = fd.Function(self.spaces["V"])
        a.dat.data_wo[:] = rng.standard_normal(a.dat.data_ro.shape)
        return {"a": a}

    def solve(self, inputs: Mapping[str, fd.Function]) -> dict[str, list[fd.Function]]:
        if abs(inputs["a"].dat.data_ro).max() > self.steepest:
            raise DivergedError("the state is too steep.")
        self._u.assign(inputs["a"])
        frames = [self._u.copy(deepcopy=True)]
        for _ in self.times[1:]:
            self._old.assign(self._u)
            self._solver.solve()
            frames.append(self._u.copy(deepcopy=True))
        return {"u": frames}


@pytest.fixture(scope="module")
def heat() -> Heat:
    return Heat()


def test_trajectories_are_stored_with_their_times(heat: Heat, tmp_path: Path):
    generate(heat, tmp_path, 5, samples_per_shard=3, dtype="float64")
    data = FieldDataset(tmp_path, dtype=torch.float64)
    assert data.fields["u"].shape == (5, 3, 9)
    assert data.fields["a"].shape == (5, 9)
    assert data.times is not None
    assert data.times.tolist() == [0.0, 0.1, 0.2]
    assert torch.equal(data.fields["u"][:, 0], data.fields["a"])
    V = data.discretization["V"]
    integral = V.inner(data.fields["u"], torch.ones(9, dtype=torch.float64).expand(5, 3, 9))
    torch.testing.assert_close(integral, integral[:, :1].expand(5, 3))  # no flux through the ends


def test_failed_draws_are_replaced_by_the_next_and_recorded(heat: Heat, tmp_path: Path):
    heat.steepest = 2.0
    generate(heat, tmp_path / "bounded", 12, samples_per_shard=4, attempts=20)
    heat.steepest = np.inf
    generate(heat, tmp_path / "all", 12, samples_per_shard=4)
    kept, drawn = FieldDataset(tmp_path / "bounded"), FieldDataset(tmp_path / "all")
    attempts = torch.from_numpy(kept.parameters["attempt"])
    steep = drawn.fields["a"].abs().amax(1) > 2
    assert steep.any()
    assert not steep.all()
    assert torch.equal(attempts > 0, steep)
    assert torch.equal(kept.fields["u"][~steep], drawn.fields["u"][~steep])
    assert kept.fields["a"].abs().max() <= 2
    sample = int(attempts.argmax())
    again = heat.random_inputs(sample_rng(0, sample, int(attempts[sample])))["a"].dat.data_ro
    torch.testing.assert_close(kept.fields["a"][sample], torch.tensor(again, dtype=torch.float32))
    failed = read_card(tmp_path / "bounded")["failed_draws"]
    assert len(failed) == int(attempts.sum())
    assert {draw["sample"] for draw in failed} == set(steep.nonzero().flatten().tolist())
    assert all("too steep" in draw["reason"] for draw in failed)
    assert "too steep" in (tmp_path / "bounded/README.md").read_text()


def test_nothing_is_lost_where_a_sample_fails(heat: Heat, tmp_path: Path):
    heat.steepest = 2.0
    generate(heat, tmp_path / "whole", 12, samples_per_shard=4, attempts=20, preview=False)
    whole = FieldDataset(tmp_path / "whole")
    sample = int(whole.parameters["attempt"].argmax())
    assert sample % 4, "The sample that fails is not the first of its shard."
    with pytest.raises(DivergedError, match=rf"Sample {sample} of seed 0 failed in each of .*too steep.*attempts="):
        generate(heat, tmp_path / "failing", 12, samples_per_shard=4, attempts=int(whole.parameters["attempt"].max()))
    assert sum(map(len, shards(tmp_path / "failing"))) == sample
    generate(heat, tmp_path / "failing", 12, samples_per_shard=4, attempts=20, preview=False)
    heat.steepest = np.inf
    again = FieldDataset(tmp_path / "failing")
    assert all(torch.equal(again.fields[name], whole.fields[name]) for name in ("a", "u"))
    assert read_card(tmp_path / "failing")["failed_draws"] == read_card(tmp_path / "whole")["failed_draws"]


def test_an_unexpected_error_names_its_sample(heat: Heat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heat, "_u", None)
    with pytest.raises(AttributeError) as caught:
        generate(heat, tmp_path, 2, seed=7)
    assert caught.value.__notes__ == ["This happened in draw 0 of sample 0 of seed 7."]


class FragileDarcy(GridDarcy):
    """Fails for a whole batch if one of its samples has much of the stiffer phase."""

    def solve(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if (inputs["a"].mean((1, 2, 3)) > 7.8).any():
            raise DivergedError("too stiff.")
        return super().solve(inputs)


def test_a_batch_is_solved_without_its_failed_samples(tmp_path: Path):
    generate(darcy(), tmp_path / "all", 16, batch_size=8, preview=False)
    generate(FragileDarcy(TwoPhase(), 21, every=2), tmp_path / "fragile", 16, batch_size=8, attempts=20, preview=False)
    kept, drawn = FieldDataset(tmp_path / "fragile"), FieldDataset(tmp_path / "all")
    replaced = torch.from_numpy(kept.parameters["attempt"] > 0)
    assert 0 < replaced.sum() < 16
    assert torch.equal(kept.fields["u"][~replaced], drawn.fields["u"][~replaced])
    assert all(not torch.equal(kept.fields["a"][i], drawn.fields["a"][i]) for i in replaced.nonzero().flatten())
    with pytest.raises(DivergedError, match=r"Sample \d+ of seed 0 failed in each of 1 draws.*too stiff"):
        generate(FragileDarcy(TwoPhase(), 21, every=2), tmp_path / "once", 16, attempts=1)


def test_frames_are_the_published_slices_of_the_solution():
    fine, coarse = vorticity(), vorticity(every=2)
    inputs = fine.random_inputs(1, range(3))
    assert torch.equal(fine.solve(inputs)["w"][..., ::2, ::2], coarse.solve(inputs)["w"])
    assert coarse.grid.spacings == (1 / 8, 1 / 8)


def test_a_random_forcing_is_an_input_of_its_own():
    flow = vorticity(random_forcing=partial(PeriodicField, alpha=4, tau=7))
    inputs = flow.random_inputs(0, range(2))
    assert set(flow.stored(inputs)) == {"g"}
    mean = torch.stack([flow.random_inputs(0, range(200))["g"]]).mean((0, 1))
    assert (mean - diagonal_forcing((16, 16))).abs().max() < 0.2
    assert not torch.equal(inputs["g"][0], inputs["g"][1])


def test_the_flow_around_obstacles_loses_nothing_on_its_way():
    problem = channel(discs=1)
    problem.dtype = torch.float64
    inputs = problem.random_inputs(0, range(2))
    u = problem.solve(inputs)["u"]
    assert u.shape == (2, 3, 2, 32, 16)
    torch.testing.assert_close(u[:, :, 0].mean(-1), torch.ones(2, 3, 32, dtype=torch.float64), atol=5e-3, rtol=0)
    solid = inputs["solid"][:, 0].bool()
    inside = solid & solid.roll(1, 1) & solid.roll(-1, 1)
    assert inside.any()
    assert (u[:, :, 0].transpose(0, 1)[:, inside] == 0).all()


@pytest.mark.parametrize(
    ("name", "shape", "frames"),
    [("darcy_smooth", (211, 211), None), ("darcy_rough", (256, 256), None), ("darcy_multiscale", (256, 256), None)]
    + [("vorticity", (64, 64), 21), ("vorticity_random_forcing", (64, 64), 21), ("channel_with_discs", (128, 64), 21)],
)
def test_configured_problems_have_the_published_shapes(name: str, shape: tuple[int, int], frames: int | None):
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("generate", overrides=["name=any", f"problem={name}"])
    problem = build(OmegaConf.to_container(config.problem, resolve=True))
    assert isinstance(problem, GridProblem)
    assert problem.grid.shape == shape
    assert frames is None or (problem.times is not None and len(problem.times) == frames)


def test_viscosities_of_a_range_are_parameters_of_the_samples(tmp_path: Path):
    generate(channel(viscosity=(1e-3, 1e-2)), tmp_path, 6, preview=False)
    data = FieldDataset(tmp_path)
    viscosities = data.parameters["viscosity"]
    assert 1e-3 <= viscosities.min() < viscosities.max() <= 1e-2
    assert len(set(viscosities)) == 6
    assert set(data.fields) == {"solid", "u"}


def test_the_multiscale_coefficient_is_positive_and_bounded():
    a = MultiscaleTrigonometric(6)(65, 0, range(4), torch.float64, "cpu")
    assert a.min() > 0.25**6
    assert a.max() < 2.25**6


def test_the_card_and_the_preview_describe_the_data(tmp_path: Path):
    generate(vorticity(), tmp_path, 4, seed=7, config={"viscosity": 1e-3})
    data, card = FieldDataset(tmp_path), read_card(tmp_path)
    assert card["samples"] == 4
    assert card["complete"]
    assert card["seed"] == 7
    assert card["problem"] == {"viscosity": 1e-3}
    assert card["times"] == [0, 0.25, 0.5]
    assert card["fields"]["w"]["shape"] == [3, 1, 16, 16]
    assert card["fields"]["w"]["minimum"] == data.fields["w"].min()
    assert card["fields"]["w"]["maximum"] == data.fields["w"].max()
    assert (tmp_path / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert "periodic rectangle" in (tmp_path / "README.md").read_text()


def test_another_configuration_is_refused_and_nothing_is_overwritten(tmp_path: Path):
    generate(darcy(), tmp_path, 2, config={"nodes": 21}, preview=False)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"problem\.nodes was 21, is 23"):
        generate(darcy(), tmp_path, 4, config={"nodes": 23}, preview=False)
    assert contents(tmp_path) == before


class DoubledDarcy(GridDarcy):
    """Another equation in the same space."""

    def solve(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: 2 * values for name, values in super().solve(inputs).items()}


def test_another_problem_without_a_configuration_is_noticed_by_its_samples(tmp_path: Path):
    generate(darcy(), tmp_path, 2, preview=False)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="generated by another problem: field 'u' of sample 0"):
        generate(DoubledDarcy(TwoPhase(), 21, every=2), tmp_path, 4, preview=False)
    assert contents(tmp_path) == before
    generate(darcy(), tmp_path, 4, preview=False)
    assert len(FieldDataset(tmp_path)) == 4


def test_one_process_writes_at_a_time(tmp_path: Path):
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another process is writing"):
            generate(darcy(), tmp_path, 2)
    assert not shards(tmp_path)


def test_a_file_that_cannot_grow_leaves_the_earlier_shards(tmp_path: Path):
    generate(darcy(41), tmp_path, 2, samples_per_shard=2, preview=False)
    before = contents(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(FileError, match="could not be written"):
            generate(darcy(41), tmp_path, 8, samples_per_shard=2, preview=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path) == before
    generate(darcy(41), tmp_path, 4, samples_per_shard=2, preview=False)
    assert len(FieldDataset(tmp_path)) == 4


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small file system needs root")
def test_a_full_disk_is_named(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("this system does not let root mount a file system")
    try:
        with pytest.raises(FileError, match="The disk is full"):
            generate(darcy(41), disk / "data", 64, samples_per_shard=2, preview=False)
        with pytest.raises(FileError, match="The disk is full"):  # also for what HDF5 would have to give up
            fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(30, 30), "CG", 1)}).save(disk / "V.h5")
        complete = shards(disk / "data")
        assert all(len(FieldDataset(disk / "data", range(s.first, s.last))) == 2 for s in complete)
    finally:
        subprocess.run(["umount", disk], check=True)


def mpiexec(processes: int, arguments: Sequence[str]) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment["OMPI_MCA_rmaps_base_oversubscribe"] = "1"
    command = ["mpiexec", "-n", str(processes), str(THALWEG), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(shutil.which("mpiexec") is None, reason="there is no mpiexec on this machine")
def test_two_processes_make_the_bytes_of_one(dataset: Path, tmp_path: Path):
    split = [f"data.split.{name}" for name in ("train=8", "valid=3", "test=3")]
    ran = mpiexec(
        2,
        [
            "generate",
            "experiment=quickstart",
            *split,
            "data.samples_per_shard=4",
            f"data.folder={tmp_path / 'data'}",
            "preview=false",
        ],
    )
    assert ran.returncode == 0, ran.stderr
    assert "one of 2 processes" in ran.stderr
    assert [(s.first, s.last) for s in shards(tmp_path / "data")] == [(0, 4), (4, 8), (8, 12), (12, 14)]
    ours, theirs = FieldDataset(tmp_path / "data"), FieldDataset(dataset / "data", range(14))
    for name, values in ours.fields.items():
        assert torch.equal(values, theirs.fields[name])
