"""Files in HDF5: damage is an error that says what to do, and files of the older format are read."""

import subprocess
import sys
import time
from pathlib import Path

import firedrake as fd
import h5py
import numpy as np
import pytest

from thalweg.data import FieldArrays
from thalweg.errors import FileError
from thalweg.fem import Grid, Grids, export, load_grids
from thalweg.hdf5 import read_text, reading_hdf5, write_texts, writing_hdf5

#: Reads damaged copies of a file, and tells of each what came of it.
READ = """
import random, sys
from pathlib import Path
from thalweg import data, fem
from thalweg.errors import ThalwegError

path = Path(sys.argv[1])
whole = path.read_bytes()
for seed in range(90):
    damaged, random_ = bytearray(whole), random.Random(seed)
    if seed % 3 == 0:
        for _ in range(20):
            damaged[random_.randrange(len(whole))] = random_.randrange(256)
    elif seed % 3 == 1:
        first = random_.randrange(len(whole) - 512)
        damaged[first : first + 512] = bytes(512)
    else:
        first = random_.randrange(min(8192, len(whole) - 64))
        damaged[first : first + 64] = random_.randbytes(64)
    path.write_bytes(damaged)
    try:
        data.FieldDataset(path.parent) if path.name.startswith("samples") else fem.load(path)
        print("read")
    except ThalwegError:
        print("refused")
"""


def damaged(path: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_damaged_samples_are_read_or_refused(tmp_path: Path):
    u = np.random.default_rng(0).random((8, 1, 16, 16))
    grids, fields = Grids({"grid": Grid((16, 16))}), {"f": u, "u": u**2}
    FieldArrays(grids, fields, "grid", parameters={"k": np.arange(8.0)}).store(tmp_path, preview=False)
    found = damaged(tmp_path / "samples-000000-000008.h5")
    assert len(found) == 90
    assert found.count("refused") > 45


def test_a_damaged_discretization_is_read_or_refused(tmp_path: Path):
    mesh = fd.UnitSquareMesh(4, 4)
    V, Z = fd.FunctionSpace(mesh, "CG", 1), fd.VectorFunctionSpace(mesh, "CG", 2) * fd.FunctionSpace(mesh, "CG", 1)
    export({"V": V, "Z": Z}, observations={"sensors": ("V", np.full((1, 2), 0.5))}).save(tmp_path / "square.h5")
    found = damaged(tmp_path / "square.h5")
    assert len(found) == 90
    assert found.count("refused") > 45


def test_texts_of_any_length_and_language_come_back(tmp_path: Path):
    texts = {"none": "", "greek": "∂u/∂t = Δu", "long": 100_000 * "ab"}
    with writing_hdf5(tmp_path / "texts.h5") as file:
        write_texts(file, kind="texts", **texts)
    with reading_hdf5(tmp_path / "texts.h5", "texts") as file:
        assert {name: read_text(file, name) for name in texts} == texts


def test_files_with_texts_of_variable_length_are_read(tmp_path: Path):
    grids = Grids({"grid": Grid((5, 7))})
    with h5py.File(tmp_path / "grids.h5", "w") as file:
        file.attrs.update(kind="grids", schema_version=1, fingerprint=grids.fingerprint, grids='{"grid": {"shape": [5, 7]}}')
    assert load_grids(tmp_path / "grids.h5").fingerprint == grids.fingerprint
    with (
        pytest.raises(FileError, match="expected to hold a dataset, but it is marked as 'grids'"),
        reading_hdf5(tmp_path / "grids.h5", "dataset"),
    ):
        pass


def test_what_cannot_be_read_is_told_from_damage(tmp_path: Path):
    grids = Grids({"grid": Grid((5, 7))})
    for name in ("whole", "lacking", "later"):
        grids.save(tmp_path / f"{name}.h5")
    with h5py.File(tmp_path / "lacking.h5", "r+") as file:
        del file.attrs["grids"]
    with h5py.File(tmp_path / "later.h5", "r+") as file:
        file.attrs["schema_version"] = 2
    (tmp_path / "text.h5").write_text("version https://git-lfs.github.com/spec/v1\n")
    for name, message in {
        "lacking": "is incomplete .*grids",
        "later": "version 2 of the format",
        "text": "no HDF5 file",
        "missing": "does not exist",
    }.items():
        with pytest.raises(FileError, match=message):
            load_grids(tmp_path / f"{name}.h5")
    with (
        pytest.raises(FileError, match="can no longer be read, for the system says: Input/output error"),
        reading_hdf5(tmp_path / "whole.h5", "grids"),
    ):
        raise OSError("Can't synchronously read data (file read failed: errno = 5, error message = 'Input/output error')")


def test_the_same_content_makes_the_same_file(tmp_path: Path):
    u = np.random.default_rng(0).random((4, 1, 8, 8))
    disc = export({"V": fd.FunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 1)})
    for folder in ("one", "two"):
        if folder == "two":
            time.sleep(1.1)  # HDF5's clock has seconds
        fields = FieldArrays(Grids({"grid": Grid((8, 8))}), {"u": u}, "grid", parameters={"k": np.arange(4.0)})
        fields.store(tmp_path / folder, preview=False)
        disc.save(tmp_path / folder / "square.h5")
    files = sorted((tmp_path / "one").glob("*.h5"))
    assert len(files) == 3
    for path in files:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
