"""What a user gets wrong is answered in one paragraph that names the remedy, and nothing that was written is lost."""

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import firedrake as fd
import h5py
import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from small import SMALL, configuration
from thalweg import data
from thalweg.commands import control, evaluate, generate, predict, report, train
from thalweg.data import FieldArrays, FieldDataset
from thalweg.data.dataset import DISCRETIZATION
from thalweg.errors import FileError, FingerprintError, InputError
from thalweg.fem import export, load
from thalweg.fem.uniform_grid import Grid, Grids
from thalweg.operators import MultigridProcessor, build_operator, load_weights
from thalweg.solvers import Poisson
from thalweg.storage import atomic, only_writer
from thalweg.training import Checkpoints


def thalweg(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "thalweg", *arguments], capture_output=True, text=True)


def assert_explained(done: subprocess.CompletedProcess, *fragments: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    message = [line for line in done.stderr.splitlines() if line.startswith("thalweg ")]
    assert len(message) == 1, done.stderr
    for fragment in fragments:
        assert fragment in message[0]


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    """A copy of the data set to damage."""
    shutil.copytree(dataset / "data", tmp_path / "data")
    return tmp_path


def configured_operator(dataset: Path, *overrides: str) -> dict:
    node = OmegaConf.to_container(configuration("train", dataset, *overrides).operator, resolve=True)
    assert isinstance(node, dict)
    return node


def test_a_reader_who_leaves_early_sees_no_traceback():
    program = f"set -o pipefail; {sys.executable} -m thalweg train --help | head -n 1"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert (done.returncode in (0, 141), done.stderr) == (True, "")
    assert len(done.stdout.splitlines()) == 1


def test_a_misspelt_key_is_answered_with_the_nearest_one():
    assert_explained(thalweg("train", *SMALL, "training.loop.epohcs=3"), "Did you mean 'training.loop.epochs'")


def test_a_folder_of_configurations_that_is_not_there_is_named():
    assert_explained(thalweg("train", "--config-dir", "nothere", *SMALL), "nothere does not exist")


def test_an_unknown_experiment_is_answered_with_those_there_are():
    assert_explained(thalweg("generate", "experiment=quikstart"), "quikstart", "Did you mean 'quickstart'?")


def test_a_missing_run_is_named():
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("evaluate", overrides=["run=nowhere"])
    with pytest.raises(FileError, match=r"nowhere does not exist.*outputs/quickstart"):
        evaluate.run(config)


def test_an_unknown_verb_is_wrong_usage():
    done = thalweg("trian")
    assert done.returncode == 2
    assert "Did you mean 'train'" in done.stderr


def test_unknown_tags_are_answered_with_those_of_the_mesh(tmp_path: Path):
    with pytest.raises(InputError, match=r"'inlet'.*'notch'.*'hole'"):
        generate.run(configuration("generate", tmp_path, "problem.dirichlet=[left,inlet]"))


def test_a_missing_mesh_file_is_named(tmp_path: Path):
    with pytest.raises(FileError, match=r"absent\.msh does not exist"):
        generate.run(configuration("generate", tmp_path, f"problem.mesh={tmp_path}/absent.msh"))


def test_a_truncated_mesh_file_is_told_from_a_whole_one(tmp_path: Path):
    from thalweg.solvers.problem import resolve_mesh

    text = resolve_mesh("plate_with_hole.msh").read_text()
    (tmp_path / "cut.msh").write_text(text[: len(text) // 2])
    with pytest.raises(FileError, match="truncated"):
        generate.run(configuration("generate", tmp_path, f"problem.mesh={tmp_path}/cut.msh"))


def test_data_of_another_mesh_are_refused(copy: Path):
    with pytest.raises(FingerprintError, match="another discretization"):
        generate.run(configuration("generate", copy, "problem.refinements=0", "num_samples=64"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed=1", "otherwise: seed was 0, is 1. Choose"),
        ("data.dtype=float64", "dtype was float32"),
        ("problem.source.deviation=5", "otherwise: problem.source.deviation was 10, is 5. Choose"),
    ],
)
def test_samples_made_otherwise_are_not_mixed(change: str, message: str, copy: Path):
    with pytest.raises(InputError, match=message):
        generate.run(configuration("generate", copy, "num_samples=64", change))


def test_a_shard_of_another_mesh_is_refused(copy: Path):
    with h5py.File(copy / "data/samples-000016-000032.h5", "r+") as file:
        file.attrs["fingerprint"] = "0" * 64
    with pytest.raises(FingerprintError, match="samples-000016-000032"):
        train.run(configuration("train", copy))


@pytest.mark.parametrize("name", ["samples-000016-000032.h5", "discretization.h5"])
def test_a_truncated_hdf5_file_is_named(name: str, copy: Path):
    os.truncate(copy / "data" / name, 10_000)
    with pytest.raises(FileError, match=rf"{name} cannot be read: it is truncated"):
        train.run(configuration("train", copy))


def test_missing_samples_are_counted(copy: Path):
    (copy / "data/samples-000016-000032.h5").unlink()
    with pytest.raises(FileError, match="24 of the 32 samples"):
        train.run(configuration("train", copy))


def test_nan_in_the_data_is_located(copy: Path):
    with h5py.File(copy / "data/samples-000016-000032.h5", "r+") as file:
        file["fields/u"][11, 0, 5] = np.nan
    with pytest.raises(InputError, match=r"'u' in .*samples-000016-000032\.h5 contains NaN or infinity in sample 27"):
        train.run(configuration("train", copy))


def test_a_run_is_not_overwritten_unasked(trained: Path, dataset: Path):
    with pytest.raises(InputError, match="resume=true"):
        train.run(configuration("train", dataset))
    assert (trained / "checkpoints/best.json").exists()


def test_a_run_of_another_verb_is_not_overwritten(trained: Path):
    before = (trained / "config.yaml").read_bytes()
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("control", overrides=["experiment=darcy_permeability", f"folder={trained}", "overwrite=true"])
    with pytest.raises(InputError, match="holds a training run"):
        control.run(config)
    assert (trained / "config.yaml").read_bytes() == before


def test_an_earlier_run_goes_when_the_new_one_can_begin_and_what_was_found_of_it_too(
    trained: Path, dataset: Path, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    found = run / f"certificate-{Checkpoints(run / 'checkpoints').best().name}.json"
    found.write_text('{"ratios": [1.0]}')
    overrides = [f"data.folder={dataset / 'data'}", "overwrite=true"]
    with pytest.raises(InputError, match=r"Invalid learning rate: -1"):
        train.run(configuration("train", tmp_path, *overrides, "training.optimizer.lr=-1"))
    assert Checkpoints(run / "checkpoints").best().exists()
    assert found.exists()
    train.run(configuration("train", tmp_path, *overrides, "training.loop.epochs=1"))
    assert not found.exists()


def test_the_checkpoint_of_another_operator_is_refused(trained: Path, dataset: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "run")
    overrides = [f"data.folder={dataset / 'data'}", "resume=true", "operator.processor.channels=4"]
    with pytest.raises(InputError, match=r"another configuration: operator\.processor\.channels was 8, is 4"):
        train.run(configuration("train", tmp_path, *overrides))
    # Weights that come without their run's configuration are told apart by their shapes.
    other = build_operator(configured_operator(dataset, "operator.processor.channels=4"), load(dataset / "data" / DISCRETIZATION))
    with pytest.raises(InputError, match="holds the weights of another operator"):
        load_weights(Checkpoints(trained / "checkpoints").best(), other)


def test_a_run_is_not_resumed_with_another_plan(trained: Path, dataset: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "run")
    overrides = [f"data.folder={dataset / 'data'}", "resume=true", "training.loop.epochs=5"]
    with pytest.raises(InputError, match=r"training\.loop\.epochs was 2, is 5"):
        train.run(configuration("train", tmp_path, *overrides))


def test_a_checkpoint_of_another_discretization_is_refused(trained: Path, copy: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(copy / "data")
    generate.run(
        configuration("generate", copy, "problem.mesh=plate_with_hole_fine.msh", "problem.refinements=0", "num_samples=2")
    )
    overrides = [f"run={tmp_path / 'run'}", "batch_size=2"]
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace(str(trained.parent / "data"), str(copy / "data")))
    with pytest.raises(FingerprintError, match="another discretization"):
        evaluate.run(configuration("evaluate", tmp_path, *overrides))


def test_a_damaged_checkpoint_is_named(trained: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "run")
    for weights in (tmp_path / "run").rglob("weights.safetensors"):
        os.truncate(weights, 100)
    with pytest.raises(FileError, match=r"weights\.safetensors cannot be read"):
        evaluate.run(configuration("evaluate", tmp_path, f"run={tmp_path / 'run'}"))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("{f: 'sin(q)', g: 0}", "unknown name 'q'"),
        ("{f: 'sin(', g: 0}", "is not understood"),
        ("{f: '1/(x-x)', g: 0}", "is not finite"),
        ("{h: 0}", "no field 'h'; they have 'f', 'g', 'u'"),
        ("{f: 0}", "needs the field 'g'"),
        ("{f: absent.h5, g: 0}", "absent.h5"),
    ],
)
def test_wrong_inputs_of_a_prediction_are_explained(inputs: str, message: str, trained: Path, tmp_path: Path):
    config = configuration("predict", tmp_path, f"run={trained}", f"inputs={inputs}", f"output={tmp_path / 'u.vtu'}")
    with pytest.raises((InputError, FileError), match=message):
        predict.run(config)
    assert not (tmp_path / "u.vtu").exists()


def test_a_write_that_fails_leaves_earlier_shards_whole(copy: Path):
    before = {path: path.read_bytes() for path in (copy / "data").iterdir()}
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(FileError, match=r"samples-000056-000064\.h5 could not be written"):
            generate.run(configuration("generate", copy, "num_samples=72"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in (copy / "data").iterdir()} == before
    generate.run(configuration("generate", copy, "num_samples=72"))
    assert (copy / "data/samples-000056-000064.h5").exists()


def test_places_that_cannot_be_written_are_named(trained: Path, dataset: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    place = tmp_path / "file/mine"
    before = {path: path.stat().st_mtime for path in trained.rglob("*") if path.name != ".lock"}
    predicted = f"run={trained}", f"output={place / 'u.vtu'}"
    searched = "experiment=darcy_permeability", f"folder={place}", "case.cells=8", "case.modes=4", "case.sensors=2"
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        searching = compose("control", overrides=list(searched))
    on_a_grid = FieldArrays(Grids({"grid": Grid((5, 5))}), {"u": np.ones((2, 1, 5, 5))}, "grid")
    for attempt in (
        lambda: generate.run(configuration("generate", tmp_path, f"data.folder={place}")),
        lambda: train.run(configuration("train", dataset, f"folder={place}")),
        lambda: predict.run(configuration("predict", tmp_path, *predicted)),
        lambda: control.run(searching),
        lambda: data.write_well(on_a_grid.dataset(), place / "u.hdf5", "mine"),
        lambda: on_a_grid.store(place),
    ):
        with pytest.raises(FileError, match=r"file/mine.* could not be written \(.*Not a directory"):
            attempt()
    assert before == {path: path.stat().st_mtime for path in before}


def test_a_full_disk_is_called_so_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"disk is full.*Free some space"), atomic(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("checkpoints/best.json", "5"),
        ("checkpoints/step-*/operator.json", "[]"),
        ("environment.json", "garbage"),
        ("metrics.json", "garbage"),
    ],
)
def test_damaged_small_files_of_a_run_are_named(trained: Path, tmp_path: Path, file: str, content: str):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "metrics.json").write_text("{}")
    damaged = list(run.glob(file)) or [run / file]
    for path in damaged:
        path.write_text(content)
    with (
        pytest.raises(FileError, match=r"Delete it|train first|Train first"),
        initialize_config_module("thalweg.conf", version_base="1.3"),
    ):
        report.run(compose("report", overrides=[f"run={run}", f"output={tmp_path / 'report.html'}"]))


def test_two_trainings_do_not_share_a_folder(trained: Path, dataset: Path):
    before = (trained / "metrics.jsonl").read_bytes()
    with only_writer(trained, "Wait."), pytest.raises(InputError, match=r"Another process is writing to .*run.*another name"):
        train.run(configuration("train", dataset, "overwrite=true"))
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_arguments_of_a_wrong_kind_are_named(dataset: Path, tmp_path: Path):
    mesh = fd.UnitSquareMesh(2, 2)
    disc = export({"V": fd.FunctionSpace(mesh, "CG", 1)})
    V = disc["V"]
    values = np.ones((3, V.num_dofs))
    wrong = {
        "one at least; not range(0, 0)": lambda: FieldDataset(dataset / "data", range(0)),
        "a range, such as range(0, 100), and one at least; not [0, 1]": lambda: FieldDataset(dataset / "data", [0, 1]),
        "what came is a Grid; pass": lambda: FieldArrays(Grid((4, 4)), {"f": np.ones((2, 4, 4))}, "grid"),  # type: ignore[arg-type]
        "'f' is a list; expected an array": lambda: FieldArrays(disc, {"f": values.tolist()}, "V"),
        "without a slash": lambda: FieldArrays(disc, {"f/g": values}, "V"),
        "'f' holds complex128": lambda: FieldArrays(disc, {"f": values + 1j}, "V").store(tmp_path / "complex"),
        "a hierarchy of spaces": lambda: MultigridProcessor(V, in_channels=1),
        "not channels=0": lambda: MultigridProcessor(disc.hierarchy("V"), in_channels=1, channels=0),
        "Spaces are exported by name": lambda: export({}),
        "'V' is a MeshGeometry; expected a Firedrake function space": lambda: export({"V": mesh}),
        "one sample or more, not num_samples=0": lambda: data.generate(Poisson("plate_with_hole.msh", ["hole"]), tmp_path, 0),
        "pass Poisson(...)": lambda: data.generate(Poisson, tmp_path, 2),
    }
    for message, mistake in wrong.items():
        with pytest.raises(InputError, match=re.escape(message)):
            mistake()
