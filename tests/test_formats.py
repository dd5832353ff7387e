"""Data made elsewhere: own arrays and files, PDEBench, The Well."""

from pathlib import Path

import firedrake as fd
import h5py
import numpy as np
import pytest
import torch

from thalweg import data, fem
from thalweg.data import StreamedDataset
from thalweg.data.shards import shards
from thalweg.errors import FileError, InputError
from thalweg.fem.uniform_grid import Grid, Grids
from thalweg.visualization import write_vtu

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def disc() -> fem.Discretization:
    mesh = fd.UnitSquareMesh(4, 3)
    return fem.export({"V": fd.FunctionSpace(mesh, "CG", 2), "W": fd.VectorFunctionSpace(mesh, "CG", 1)})


def test_own_arrays_come_back_as_they_were(disc: fem.Discretization, tmp_path: Path):
    V, W = disc["V"].num_dofs, disc["W"].num_dofs
    f, u = rng.standard_normal((5, V)), rng.standard_normal((5, 3, W))
    own = data.FieldArrays(disc, {"f": f, "u": u}, {"f": "V", "u": "W"}, times=[0, 0.5, 1], parameters={"nu": np.arange(5.0)})
    folder = own.store(tmp_path / "own", samples_per_shard=2, dtype="float64")
    assert [(s.first, s.last) for s in shards(folder)] == [(0, 2), (2, 4), (4, 5)]
    for read in (data.FieldDataset(folder, dtype=torch.float64), own.dataset(torch.float64)):
        assert np.array_equal(read.fields["f"], f)
        assert np.array_equal(read.fields["u"], u)
        assert read.times is not None
        assert read.times.tolist() == [0, 0.5, 1]
        assert read.parameters["nu"].tolist() == [0, 1, 2, 3, 4]
        assert len(data.TimeWindows(read)) == 10
    assert data.read_card(folder)["samples"] == 5
    with pytest.raises(InputError, match="holds samples already"):
        own.store(tmp_path / "own")


def test_grid_fields_need_no_axis_of_channels(tmp_path: Path):
    grids = Grids({"grid": Grid((6, 5))})
    a, u = rng.standard_normal((4, 6, 5)), rng.standard_normal((4, 2, 6, 5))
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["a"], file["u"] = a, u
        data.FieldArrays(grids, {"a": file["a"], "u": file["u"]}, "grid").store(tmp_path / "own", dtype="float64", preview=False)
    read = data.FieldDataset(tmp_path / "own", dtype=torch.float64)
    assert np.array_equal(read.fields["a"], a[:, None])
    assert np.array_equal(read.fields["u"], u)


def test_wrong_shapes_say_what_was_expected(disc: fem.Discretization):
    with pytest.raises(InputError, match=r"'f' has shape \(3, 7\); expected \(samples, 63\)"):
        data.FieldArrays(disc, {"f": np.zeros((3, 7))}, "V")
    with pytest.raises(InputError, match="For trajectories, pass times"):
        data.FieldArrays(disc, {"f": np.zeros((3, 4, 63))}, "V")
    with pytest.raises(InputError, match=r"same number of samples.*f 3, g 4"):
        data.FieldArrays(disc, {"f": np.zeros((3, 63)), "g": np.zeros((4, 63))}, "V")
    with pytest.raises(InputError, match=r"space 'X' is not in this discretization"):
        data.FieldArrays(disc, {"f": np.zeros((3, 63))}, "X")
    with pytest.raises(InputError, match=r"expected \(samples, \[channel,\] 6, 5\)"):
        data.FieldArrays(Grids({"grid": Grid((6, 5))}), {"f": np.zeros((3, 5, 6))}, "grid")


def test_nan_is_located_before_anything_is_written(disc: fem.Discretization, tmp_path: Path):
    f = np.zeros((70, 63))
    f[[11, 66], 5] = np.nan
    with pytest.raises(InputError, match=r"'f' contains NaN or infinity in sample 11"):
        data.FieldArrays(disc, {"f": f}, "V").store(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nodal_values_in_any_order_become_dofs(disc: fem.Discretization):
    V = disc["V"]
    dofs = rng.standard_normal((2, 63))
    order = rng.permutation(63)
    points = V.points.double().numpy()
    assert np.array_equal(data.at_nodes(points[order], dofs[:, order], V), dofs)
    with pytest.raises(InputError, match="1 of the 63 nodes"):
        data.at_nodes(points[order[1:]], dofs[:, order[1:]], V)


def test_scattered_values_of_linear_functions_are_met_exactly(disc: fem.Discretization):
    points = rng.uniform(size=(120, 2))
    slopes = rng.standard_normal((3, 2))
    found = data.scattered(points, slopes @ points.T, disc["V"])
    np.testing.assert_allclose(found, slopes @ disc["V"].points.double().numpy().T, atol=1e-8)
    W = disc["W"]
    vectors = np.stack([points @ s for s in slopes[:2]], -1)
    found = data.scattered(points, vectors, W)
    np.testing.assert_allclose(found.reshape(-1, 2), W.points.double().numpy() @ slopes[:2].T, atol=1e-8)


def test_scattered_values_converge_to_a_smooth_field(disc: fem.Discretization):
    def f(x):
        return np.sin(3 * x[:, 0]) * np.cos(2 * x[:, 1])

    exact = torch.from_numpy(f(disc["V"].points.double().numpy()))
    errors = []
    for n in (100, 1600):
        points = rng.uniform(size=(n, 2))
        error = torch.from_numpy(data.scattered(points, f(points), disc["V"])) - exact
        errors.append(float(disc["V"].norm(error)))
    assert errors[1] < errors[0] / 6
    with pytest.raises(InputError, match="contain NaN"):
        data.scattered(np.full((9, 2), np.nan), np.zeros(9), disc["V"])


def test_points_that_determine_no_linear_function_are_refused(disc: fem.Discretization):
    along = np.linspace(0, 1, 40)
    for direction in ((1, 0), (1, 1), (1, np.sqrt(2))):
        with pytest.raises(InputError, match="on one line"):
            data.scattered(along[:, None] * direction, along, disc["V"])
    points = rng.uniform(size=(40, 2))
    with pytest.raises(InputError, match="2 points do not determine"):
        data.scattered(points, along, disc["V"], neighbours=2)
    points[:20] = points[20:]
    with pytest.raises(InputError, match="there twice"):
        data.scattered(points, along, disc["V"])


def test_a_series_of_vtu_files_is_read_as_a_trajectory(disc: fem.Discretization, tmp_path: Path):
    frames = rng.standard_normal((3, 63))
    entries = []
    for i, u in enumerate(frames):
        write_vtu(tmp_path / f"u_{i}.vtu", disc["V"], {"u": torch.from_numpy(u)})
        entries.append(f'<DataSet timestep="{i / 2}" part="0" file="u_{i}.vtu"/>')
    (tmp_path / "u.pvd").write_text(f'<?xml version="1.0"?><VTKFile><Collection>{"".join(entries)}</Collection></VTKFile>')
    times, files = data.read_pvd(tmp_path / "u.pvd")
    u = data.vtu_series(files, "u", disc["V"])
    np.testing.assert_allclose(u, frames)
    read = data.FieldArrays(disc, {"u": u[None]}, "V", times).dataset()
    assert read.fields["u"].shape == (1, 3, 63)
    with pytest.raises(FileError, match="cannot be read as a ParaView collection"):
        data.read_pvd(tmp_path / "none.pvd")


def centres(n: int, length: float = 1.0) -> np.ndarray:
    return ((np.arange(n) + 0.5) * length / n).astype(np.float32)


def test_pdebench_darcy_flow(tmp_path: Path):
    u, nu = rng.standard_normal((3, 1, 8, 8)).astype(np.float32), rng.uniform(size=(3, 8, 8)).astype(np.float32)
    with h5py.File(tmp_path / "darcy.hdf5", "w") as file:
        file.attrs["beta"] = 1.0
        file["tensor"], file["nu"] = u, nu
        file["x-coordinate"], file["y-coordinate"] = centres(8), centres(8)
    read = data.read_pdebench(tmp_path / "darcy.hdf5").dataset()
    assert read.discretization["grid"] == Grid((8, 8), location="centre")
    assert read.times is None
    assert np.array_equal(read.fields["tensor"], u)
    assert np.array_equal(read.fields["nu"], nu[:, None])


def test_pdebench_burgers_equation(tmp_path: Path):
    u = rng.standard_normal((4, 6, 16)).astype(np.float32)
    with h5py.File(tmp_path / "burgers.hdf5", "w") as file:
        file["tensor"], file["x-coordinate"] = u, centres(16)
        file["t-coordinate"] = np.linspace(0, 0.6, 7, dtype=np.float32)
    own = data.read_pdebench(tmp_path / "burgers.hdf5", periodic=True)
    read = StreamedDataset(own.store(tmp_path / "own", samples_per_shard=3, preview=False))
    assert read.discretization["grid"] == Grid((16,), periodic=(True,), location="centre")
    assert np.array_equal(read.batch(slice(0, 4))["tensor"], u[:, :, None])
    assert read.times is not None
    np.testing.assert_allclose(read.times, np.arange(6) * 0.1, atol=1e-6)


def test_pdebench_compressible_flow(tmp_path: Path):
    fields = {name: rng.standard_normal((2, 3, 8, 8)).astype(np.float32) for name in ("Vx", "Vy", "density", "pressure")}
    with h5py.File(tmp_path / "cfd.hdf5", "w") as file:
        for name, values in fields.items():
            file[name] = values
        file["x-coordinate"], file["y-coordinate"] = centres(8), centres(8)
        file["t-coordinate"] = np.linspace(0, 1, 4, dtype=np.float32)
    read = data.read_pdebench(tmp_path / "cfd.hdf5", periodic=True).dataset()
    assert read.trajectories == tuple(sorted(fields))
    for name, values in fields.items():
        assert np.array_equal(read.fields[name], values[:, :, None])


def test_pdebench_incompressible_flow(tmp_path: Path):
    velocity, force = (rng.standard_normal((2, *s, 8, 8, 2)).astype(np.float32) for s in ((3,), ()))
    with h5py.File(tmp_path / "ns.h5", "w") as file:
        file["velocity"], file["force"] = velocity, force
        file["particles"] = np.zeros((2, 3, 8, 8, 1), np.float32)
        file["t"] = np.tile(np.arange(3, dtype=np.float32) / 10, (2, 1))
    read = data.read_pdebench(tmp_path / "ns.h5").dataset()
    assert np.array_equal(read.fields["velocity"], np.moveaxis(velocity, -1, 2))
    assert np.array_equal(read.fields["force"], np.moveaxis(force, -1, 1))
    assert read.fields["particles"].shape == (2, 3, 1, 8, 8)


def test_pdebench_one_group_a_sample(tmp_path: Path):
    samples = rng.standard_normal((3, 4, 8, 8, 2)).astype(np.float32)
    with h5py.File(tmp_path / "reaction.h5", "w") as file:
        for i, values in enumerate(samples):
            file[f"{i:04d}/data"] = values
            file[f"{i:04d}/grid/t"] = np.arange(4.0)
            file[f"{i:04d}/grid/x"] = file[f"{i:04d}/grid/y"] = centres(8, 2.0) - 1
    read = data.read_pdebench(tmp_path / "reaction.h5").dataset()
    assert read.discretization["grid"].lengths == (2.0, 2.0)
    assert np.array_equal(read.fields["data"], np.moveaxis(samples, -1, 2))


def test_no_pdebench_file(tmp_path: Path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["notes"] = np.zeros(3)
    with pytest.raises(InputError, match=r"no field of PDEBench.*notes"):
        data.read_pdebench(tmp_path / "other.h5")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(FileError, match="truncated or not an HDF5 file"):
        data.read_pdebench(tmp_path / "cut.h5")


def well_file(path: Path) -> dict[str, np.ndarray]:
    """A file of the published specification with fields of every order, and with fields that lack axes."""
    B, T, W, H = 3, 4, 6, 5
    arrays = {
        "density": rng.standard_normal((B, T, W, H)),
        "coefficient": rng.standard_normal((B, W, H)),
        "profile": rng.standard_normal((T, W)),
        "velocity": rng.standard_normal((B, T, W, H, 2)),
        "stress": rng.standard_normal((B, T, W, H, 2, 2)),
    }
    arrays = {name: values.astype(np.float32) for name, values in arrays.items()}
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="made_up", grid_type="cartesian", n_spatial_dims=2, n_trajectories=B)
        file.attrs["simulation_parameters"] = ["nu"]
        file.attrs["nu"] = 0.1
        file["dimensions/time"] = np.arange(T, dtype=np.float32) / 2
        file["dimensions"].attrs["spatial_dims"] = ["x", "y"]
        file["dimensions/x"] = (np.arange(W) / W).astype(np.float32)
        file["dimensions/y"] = np.linspace(0, 2, H, dtype=np.float32)
        for dim, kind in (("x", "PERIODIC"), ("y", "WALL")):
            group = file.create_group(f"boundary_conditions/{dim}_boundary")
            group.attrs.update(associated_dims=[dim], bc_type=kind, sample_varying=False, time_varying=False)
        file["scalars/forcing"] = np.arange(3.0)
        file["scalars/forcing"].attrs.update(sample_varying=True, time_varying=False)
        file["scalars"].attrs["field_names"] = ["forcing"]
        for order, names in enumerate((("density", "coefficient", "profile"), ("velocity",), ("stress",))):
            for name in names:
                stored = file.create_dataset(f"t{order}_fields/{name}", data=arrays[name])
                stored.attrs.update(dim_varying=[True, name != "profile"], sample_varying=name != "profile")
                stored.attrs["time_varying"] = name != "coefficient"
            file[f"t{order}_fields"].attrs["field_names"] = list(names)
    return arrays


def test_the_well_is_read_by_its_specification(tmp_path: Path):
    arrays = well_file(tmp_path / "well.hdf5")
    read = data.read_well(tmp_path / "well.hdf5").dataset()
    assert read.discretization["grid"] == Grid((6, 5), (1.0, 2.0), (True, False))
    assert read.times is not None
    assert read.times.tolist() == [0, 0.5, 1, 1.5]
    assert read.parameters["forcing"].tolist() == [0, 1, 2]
    assert np.array_equal(read.fields["density"], arrays["density"][:, :, None])
    assert np.array_equal(read.fields["coefficient"], arrays["coefficient"][:, None])
    assert np.array_equal(read.fields["velocity"], np.moveaxis(arrays["velocity"], -1, 2))
    assert np.array_equal(read.fields["stress"], np.moveaxis(arrays["stress"].reshape(3, 4, 6, 5, 4), -1, 2))
    profile = read.fields["profile"]
    assert profile.shape == (3, 4, 1, 6, 5)
    assert np.array_equal(profile, np.broadcast_to(arrays["profile"][None, :, None, :, None], profile.shape))


@pytest.mark.parametrize("location", ["centre", "vertex"])
def test_what_is_written_for_the_well_is_read_back(location, tmp_path: Path):
    grid = Grid((6, 4), (1.5, 1.0), (True, False), location)
    fields = {
        "p": torch.randn(10, 3, 1, 6, 4),
        "u": torch.randn(10, 3, 2, 6, 4),
        "species": torch.randn(10, 3, 3, 6, 4),
        "a": torch.randn(10, 1, 6, 4),
    }
    own = data.FieldDataset.of(
        Grids({"grid": grid}), fields, dict.fromkeys(fields, "grid"), np.arange(3) / 4, {"nu": np.arange(10.0)}
    )
    data.write_well(own, tmp_path / "well.hdf5", "own", boundary="WALL", parameters={"Re": 100.0})
    with h5py.File(tmp_path / "well.hdf5") as file:
        assert list(file["t1_fields"].attrs["field_names"]) == ["u"]
        assert file.attrs["Re"] == 100
        assert file["boundary_conditions/y_wall"].attrs["bc_type"] == "WALL"
        assert file["t0_fields/p"].shape == (10, 3, 6, 4)
        assert file["dimensions/time"].attrs["time_varying"]
    read = data.read_well(tmp_path / "well.hdf5").dataset()
    assert read.discretization["grid"] == grid
    assert read.parameters["nu"].tolist() == own.parameters["nu"].tolist()
    for name in ("p", "u", "a"):
        assert torch.equal(read.fields[name], fields[name])
    assert torch.equal(torch.cat([read.fields[f"species_{i}"] for i in range(3)], 2), fields["species"])


def test_the_wells_own_loader_reads_what_is_written(tmp_path: Path):
    """With ``pip install the_well``: channels in the order of its metadata, times, scalars and sides."""
    datasets = pytest.importorskip("the_well.data.datasets")
    grid = Grid((6, 4), (1.5, 1.0), (True, False), "centre")
    fields = {"p": torch.randn(5, 3, 1, 6, 4), "u": torch.randn(5, 3, 2, 6, 4), "a": torch.randn(5, 1, 6, 4)}
    spaces = dict.fromkeys(fields, "grid")
    own = data.FieldDataset.of(Grids({"grid": grid}), fields, spaces, np.arange(3) / 4, {"nu": np.arange(5.0)})
    data.write_well(own, tmp_path / "well.hdf5", "own", boundary="WALL", parameters={"Re": 100.0})
    theirs = datasets.WellDataset(path=str(tmp_path), n_steps_input=1, n_steps_output=2)
    assert theirs.metadata.field_names == {0: ["p"], 1: ["u_x", "u_y"], 2: []}
    for i, sample in enumerate(theirs):
        frames = torch.cat([sample["input_fields"], sample["output_fields"]]).movedim(-1, 1)
        assert torch.equal(frames, torch.cat([fields["p"], fields["u"]], 2)[i])
        assert torch.equal(sample["constant_fields"].movedim(-1, 0), fields["a"][i])
        assert sample["constant_scalars"].tolist() == [100, i]
        assert sample["boundary_conditions"].tolist() == [[2, 2], [0, 0]]  # periodic and walls, in its numbers
        assert sample["output_time_grid"].tolist() == [0.25, 0.5]
        torch.testing.assert_close(sample["space_grid"].movedim(-1, 0), grid.coordinates())
        if i == 4:
            break


def test_finite_elements_do_not_go_into_the_well(disc: fem.Discretization, tmp_path: Path):
    own = data.FieldArrays(disc, {"f": np.zeros((2, 63))}, "V").dataset()
    with pytest.raises(InputError, match="on one uniform grid"):
        data.write_well(own, tmp_path / "well.hdf5", "own")
