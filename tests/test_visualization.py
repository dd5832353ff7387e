"""Pictures and files show the field that the dofs mean: checked against Firedrake's own evaluation and against coordinates."""

import json
from functools import cache
from pathlib import Path

import firedrake as fd
import meshio
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from thalweg import fem
from thalweg import visualization as viz
from thalweg.errors import FileError, InputError
from thalweg.fem.reference_cell import equispaced, positions, subcells
from thalweg.visualization.evaluation import values
from thalweg.visualization.lines import _curve

PLATE = Path(fem.__file__).parents[1] / "data" / "meshes" / "plate_with_hole.msh"


def sheared(mesh):
    """Cells that are no parallelograms, so that no affine map makes them."""
    X = mesh.coordinates.dat.data
    X[:, 0] += 0.2 * X[:, 0] * X[:, 1]
    return mesh


def curved_disk():
    mesh = fd.UnitDiskMesh(2)
    X = fd.Function(fd.VectorFunctionSpace(mesh, "CG", 2)).interpolate(fd.SpatialCoordinate(mesh))
    rim = fd.DirichletBC(X.function_space(), 0, "on_boundary").nodes
    X.dat.data[rim] /= np.linalg.norm(X.dat.data[rim], axis=1, keepdims=True)
    return fd.Mesh(X)


MESHES = {
    "plate": lambda: fem.read_mesh(PLATE),
    "triangles": lambda: fd.UnitSquareMesh(3, 2),
    "disk": curved_disk,
    "quads": lambda: sheared(fd.UnitSquareMesh(3, 2, quadrilateral=True)),
    "tets": lambda: fd.UnitCubeMesh(2, 1, 1),
    "hexes": lambda: sheared(fd.UnitCubeMesh(2, 1, 1, hexahedral=True)),
    "periodic": lambda: fd.PeriodicUnitSquareMesh(4, 4),
}


@pytest.fixture(scope="session")
def meshes():
    return {name: make() for name, make in MESHES.items()}


def polynomial(mesh, degree):
    """Of that degree in each variable on cubes, in total on simplices."""
    x = fd.SpatialCoordinate(mesh)
    return sum((1 + 0.3 * i) * (x[i] - 0.3 * x[0]) ** degree for i in range(len(x))) + 0.5


@cache
def scalar(mesh, family, degree):
    V = fd.FunctionSpace(mesh, family, degree)
    u = fd.Function(V).interpolate(polynomial(mesh, degree))
    return fem.export({"V": V})["V"], torch.from_numpy(u.dat.data_ro.copy()), u


def vector(mesh, degree):
    V = fd.VectorFunctionSpace(mesh, "CG", degree)
    x = fd.SpatialCoordinate(mesh)
    u = fd.Function(V).interpolate(fd.as_vector([x[(i + 1) % len(x)] - i for i in range(len(x))]))
    return fem.export({"V": V})["V"], torch.from_numpy(u.dat.data_ro.reshape(-1).copy())


CASES = [("plate", "CG", 1), ("plate", "CG", 2), ("plate", "CG", 4), ("plate", "DG", 0), ("plate", "DG", 1), ("plate", "DG", 3)]
CASES += [("quads", "CG", 1), ("quads", "CG", 2), ("quads", "CG", 3), ("quads", "DQ", 1), ("hexes", "CG", 1), ("hexes", "CG", 2)]
CASES += [("tets", "CG", 1), ("tets", "CG", 2), ("tets", "CG", 3), ("tets", "DG", 1), ("disk", "CG", 2), ("periodic", "CG", 1)]


@pytest.mark.parametrize(("name", "family", "degree"), [case for case in CASES if case[0] != "hexes"])
def test_values_in_cells_are_those_of_firedrake(meshes, name, family, degree):
    mesh = meshes[name]
    space, u, function = scalar(mesh, family, degree)
    lattice = equispaced(space.mesh.cell_type, 3)
    reference = function.function_space().finat_element.fiat_equivalent.tabulate(0, lattice)[(0,) * lattice.shape[1]]
    expected = np.einsum("kn,ck->cn", reference, function.dat.data_ro[function.cell_node_map().values])
    np.testing.assert_allclose(values(space, u, lattice), expected, atol=1e-11)


def test_values_in_hexahedra_are_those_of_firedrake(meshes):
    space, u, function = scalar(meshes["hexes"], "CG", 2)
    inside = 0.05 + 0.9 * equispaced("hexahedron", 2)
    places = positions(space.mesh, inside)
    expected = fd.PointEvaluator(meshes["hexes"], places.reshape(-1, 3)).evaluate(function)
    np.testing.assert_allclose(values(space, u, inside).ravel(), expected, atol=1e-10)


SIMPLICIAL = [("RT", 1), ("RT", 2), ("BDM", 1), ("N1curl", 1), ("N1curl", 2), ("N2curl", 1)]
PIOLA = [(name, *element) for name in ("triangles", "disk", "tets") for element in SIMPLICIAL]
PIOLA += [("quads", "RTCF", 1), ("quads", "RTCF", 2), ("quads", "RTCE", 1)]


@pytest.mark.parametrize(("name", "family", "degree"), PIOLA)
def test_fields_of_piola_elements_are_those_of_firedrake(meshes, tmp_path, name, family, degree):
    mesh = meshes[name]
    V = fd.FunctionSpace(mesh, family, degree)
    disc = fem.export({"V": V})
    disc.save(tmp_path / "disc.h5")
    space = fem.load(tmp_path / "disc.h5")["V"]
    u = fd.Function(V)
    u.dat.data[:] = np.random.default_rng(0).standard_normal(u.dat.data.shape)
    dofs = torch.from_numpy(u.dat.data_ro.copy())
    inside = 0.05 + 0.85 * equispaced(space.mesh.cell_type, 2) / (1 if name in ("quads", "hexes") else 1.1)
    found = values(space, dofs, inside)
    expected = np.array(fd.PointEvaluator(mesh, positions(space.mesh, inside).reshape(-1, space.mesh.dim)).evaluate(u))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-9 * np.abs(expected).max())
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": dofs})
    assert viz.read_vtu(tmp_path / "u.vtu").point_data["u"].shape[1] == 3


def test_neighbouring_tetrahedra_divide_their_face_alike():
    """All faces of the pieces but those on the surface of the box belong to two of them."""
    mesh = fem.export({"V": fd.FunctionSpace(fd.UnitCubeMesh(2, 2, 1), "CG", 1)})["V"].mesh
    lattice = equispaced("tetrahedron", 3)
    points = positions(mesh, lattice).reshape(-1, 3)
    _, number = np.unique(points.round(8), axis=0, return_inverse=True)
    pieces = (subcells("tetrahedron", lattice) + len(lattice) * np.arange(mesh.num_cells)[:, None, None]).reshape(-1, 4)
    faces = np.sort(np.concatenate([np.delete(number.reshape(-1)[pieces], i, axis=1) for i in range(4)]), axis=1)
    single = (np.unique(faces, axis=0, return_counts=True)[1] == 1).sum()
    assert single == 9 * 2 * (4 + 4 + 4 + 4)  # nine pieces of each of the two triangles of the 16 rectangles


@pytest.mark.parametrize("name", ["plate", "disk", "quads", "tets", "periodic"])
def test_positions_in_cells_are_those_of_firedrake(meshes, name):
    mesh = meshes[name]
    space, _, _ = scalar(mesh, "CG", 1)
    lattice = equispaced(space.mesh.cell_type, 3)
    X = mesh.coordinates
    table = X.function_space().finat_element.fiat_equivalent.tabulate(0, lattice)[(0,) * lattice.shape[1]]
    expected = np.einsum("kn,ckd->cnd", table, X.dat.data_ro[X.cell_node_map().values])
    np.testing.assert_allclose(positions(space.mesh, lattice), expected, atol=1e-11)


@pytest.mark.parametrize(
    ("cell_type", "volume"), [("triangle", 1 / 2), ("quadrilateral", 1), ("tetrahedron", 1 / 6), ("hexahedron", 1)]
)
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_subcells_fill_the_reference_cell(cell_type, volume, degree):
    points = equispaced(cell_type, degree)
    corners = points[subcells(cell_type, points)]
    measure = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])).sum() / [1, 2, 6][points.shape[1] - 1]
    assert measure == pytest.approx(volume)


VTK_TYPES = {
    ("plate", 1): "triangle", ("plate", 2): "triangle6", ("quads", 1): "quad", ("quads", 2): "quad9",
    ("tets", 1): "tetra", ("tets", 2): "tetra10", ("hexes", 1): "hexahedron", ("hexes", 2): "hexahedron27",
}  # fmt: skip


@pytest.mark.parametrize(("name", "degree"), VTK_TYPES)
def test_dofs_stand_unchanged_at_their_points_in_vtk_cells(meshes, tmp_path, name, degree):
    space, u, _ = scalar(meshes[name], "CG", degree)
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": u})
    file = meshio.read(tmp_path / "u.vtu")
    assert [block.type for block in file.cells] == [VTK_TYPES[name, degree]]
    assert len(file.points) == space.num_dofs
    np.testing.assert_array_equal(file.points[:, : space.mesh.dim], space.points)
    np.testing.assert_array_equal(file.point_data["u"], u)


@pytest.mark.parametrize(("name", "degree"), VTK_TYPES)
def test_vtk_cells_are_right_handed_and_their_further_nodes_lie_between_corners(meshes, tmp_path, name, degree):
    space, u, _ = scalar(meshes[name], "CG", degree)
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": u})
    file = meshio.read(tmp_path / "u.vtu")
    X = file.points[file.cells[0].data][..., : space.mesh.dim]
    corners = {"triangle": 3, "quad": 4, "tetra": 4, "hexahedron": 8}[VTK_TYPES[name, 1]]
    first = {"triangle": [1, 2], "quad": [1, 3], "tetra": [1, 2, 3], "hexahedron": [1, 3, 4]}[VTK_TYPES[name, 1]]
    assert (np.linalg.det(X[:, first] - X[:, :1]) > 0).all()
    if degree == 2:
        # VTK: the node after the corners is between the first two, the last one is the cell's centre (for simplices: of an edge).
        np.testing.assert_allclose(X[:, corners], (X[:, 0] + X[:, 1]) / 2, atol=1e-12)
        last = {"triangle": [0, 2], "quad": range(4), "tetra": [2, 3], "hexahedron": range(8)}[VTK_TYPES[name, 1]]
        np.testing.assert_allclose(X[:, -1], X[:, list(last)].mean(1), atol=1e-12)


@pytest.mark.parametrize(("name", "family", "degree"), CASES)
def test_a_field_comes_back_from_its_file(meshes, tmp_path, name, family, degree):
    space, u, _ = scalar(meshes[name], family, degree)
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": u, "twice": 2 * u})
    torch.testing.assert_close(viz.read_vtu_field(tmp_path / "u.vtu", "u", space), u, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(viz.read_vtu_field(tmp_path / "u.vtu", "twice", space), 2 * u, rtol=1e-12, atol=1e-12)


def test_dofs_of_a_lagrange_field_come_back_bit_by_bit(meshes, tmp_path):
    space, u, _ = scalar(meshes["plate"], "CG", 2)
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": u})
    assert torch.equal(viz.read_vtu_field(tmp_path / "u.vtu", "u", space), u)


def test_the_order_of_points_in_a_file_does_not_matter(meshes, tmp_path):
    space, u, _ = scalar(meshes["plate"], "DG", 1)
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": u})
    file = viz.read_vtu(tmp_path / "u.vtu")
    shuffled = np.random.default_rng(0).permutation(len(file.points))
    cells = [("triangle", np.argsort(shuffled)[file.cells[0].data])]
    meshio.Mesh(file.points[shuffled], cells, point_data={"u": file.point_data["u"][shuffled]}).write(tmp_path / "v.vtu")
    torch.testing.assert_close(viz.read_vtu_field(tmp_path / "v.vtu", "u", space), u)


@pytest.mark.parametrize("name", ["plate", "hexes"])
def test_vectors_have_three_components_and_come_back(meshes, tmp_path, name):
    space, u = vector(meshes[name], 2)
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": u})
    data = viz.read_vtu(tmp_path / "u.vtu").point_data["u"]
    dim = space.mesh.dim
    assert data.shape == (space.num_nodes, 3)
    assert (data[:, dim:] == 0).all()
    assert torch.equal(viz.read_vtu_field(tmp_path / "u.vtu", "u", space), u)


def test_velocity_and_pressure_share_a_file(meshes, tmp_path):
    _, u = vector(meshes["plate"], 2)
    disc = fem.export(
        {
            "V": fd.VectorFunctionSpace(meshes["plate"], "CG", 2),
            "Q": fd.FunctionSpace(meshes["plate"], "CG", 1),
            "D": fd.FunctionSpace(meshes["plate"], "DG", 1),
        }
    )
    p, d = torch.arange(disc["Q"].num_dofs).double(), torch.arange(disc["D"].num_dofs).double()
    viz.write_vtu(tmp_path / "up.vtu", disc["V"], {"u": u, "p": (disc["Q"], p)})
    assert viz.read_vtu(tmp_path / "up.vtu").cells[0].type == "triangle6"
    torch.testing.assert_close(viz.read_vtu_field(tmp_path / "up.vtu", "p", disc["Q"]), p)
    viz.write_vtu(tmp_path / "upd.vtu", disc["Q"], {"p": p, "u": (disc["V"], u), "d": (disc["D"], d)})
    for name, space, field in (("p", "Q", p), ("u", "V", u), ("d", "D", d)):
        torch.testing.assert_close(viz.read_vtu_field(tmp_path / "upd.vtu", name, disc[space]), field)


def test_a_file_of_another_mesh_or_degree_is_refused(meshes, tmp_path):
    space, u, _ = scalar(meshes["plate"], "CG", 1)
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": u})
    for other in (scalar(meshes["plate"], "CG", 2)[0], scalar(meshes["triangles"], "CG", 1)[0]):
        with pytest.raises(InputError, match="another mesh or another degree"):
            viz.read_vtu_field(tmp_path / "u.vtu", "u", other)
    with pytest.raises(InputError, match=r"no point data 'v'; it has 'u'"):
        viz.read_vtu_field(tmp_path / "u.vtu", "v", space)
    with pytest.raises(InputError, match="1 components"):
        viz.read_vtu_field(tmp_path / "u.vtu", "u", vector(meshes["plate"], 1)[0])


def test_a_jumping_field_is_not_read_into_a_continuous_space(meshes, tmp_path):
    space, _, _ = scalar(meshes["plate"], "DG", 1)
    viz.write_vtu(tmp_path / "u.vtu", space, {"u": torch.arange(space.num_dofs).double()})
    with pytest.raises(InputError, match="jumps between cells"):
        viz.read_vtu_field(tmp_path / "u.vtu", "u", scalar(meshes["plate"], "CG", 1)[0])


def test_a_damaged_vtu_file_is_refused(meshes, tmp_path):
    space, u, _ = scalar(meshes["plate"], "CG", 1)
    path = tmp_path / "u.vtu"
    viz.write_vtu(path, space, {"u": u})
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(FileError, match="truncated, damaged"):
        viz.read_vtu_field(path, "u", space)
    with pytest.raises(FileError, match="does not exist"):
        viz.read_vtu(tmp_path / "missing.vtu")


def test_wrong_fields_are_refused(meshes, tmp_path):
    space, u, _ = scalar(meshes["plate"], "CG", 1)
    ax = Figure().subplots()
    with pytest.raises(InputError, match="Choose one sample"):
        viz.plot_field(ax, space, u[None])
    with pytest.raises(InputError, match="not finite"):
        viz.write_vtu(tmp_path / "u.vtu", space, {"u": u.log() * torch.nan})
    rt = fem.export({"S": fd.FunctionSpace(meshes["quads"], "RTCF", 1)})["S"]
    rt.reference_basis = None
    with pytest.raises(InputError, match="Export it again"):
        viz.plot_field(ax, rt, torch.zeros(rt.num_dofs))
    with pytest.raises(InputError, match="not values at points"):
        viz.read_vtu_field(tmp_path / "u.vtu", "u", rt)
    mixed = fem.MixedSpace("Z", [space, space])
    with pytest.raises(InputError, match="subspaces"):
        viz.plot_field(ax, mixed, torch.zeros(mixed.num_dofs))
    with pytest.raises(InputError, match="write_vtu"):
        viz.plot_field(ax, *scalar(meshes["tets"], "CG", 1)[:2])
    with pytest.raises(InputError, match="suffix"):
        viz.write_vtu(tmp_path / "u.vtk", space, {"u": u})


@pytest.mark.parametrize(("family", "degree"), [("CG", 2), ("DG", 1)])
def test_a_plotted_field_shows_the_polynomial_and_its_jumps(meshes, family, degree):
    space, u, _ = scalar(meshes["plate"], family, degree)
    drawn = viz.plot_field(Figure().subplots(), space, u)
    coordinates = drawn._triangulation
    x, y = coordinates.x, coordinates.y
    expected = (x - 0.3 * x) ** degree + 1.3 * (y - 0.3 * x) ** degree + 0.5
    np.testing.assert_allclose(drawn.get_array(), expected, atol=1e-10)
    assert len(x) % space.mesh.num_cells == 0


def test_the_range_of_a_quadratic_field_reaches_between_its_nodes(meshes):
    space, _, _ = scalar(meshes["triangles"], "CG", 2)
    u = torch.zeros(space.num_dofs)
    u[space.cell_nodes[0, 0]] = 1
    drawn = viz.plot_field(Figure().subplots(), space, u)
    assert drawn.norm.vmin == pytest.approx(-1 / 8, abs=0.01)


def picture(path):
    from matplotlib.image import imread

    return imread(path)


def test_reference_and_prediction_share_their_colours(meshes, tmp_path):
    space, u, _ = scalar(meshes["plate"], "CG", 2)
    fields = {"source f": u, "boundary data g": u, "reference u": u, "prediction": 3 * u, "error": 0.1 * (u - u.mean())}
    viz.plot_comparison(space, fields, tmp_path / "comparison.png", title="one sample")
    image = picture(tmp_path / "comparison.png")
    assert image.shape[1] == 1700
    assert image[..., :3].std() > 0.1


def test_each_quantity_has_its_own_scale():
    from thalweg.visualization.comparison import _symbol

    names = ["input f", "input g (boundary)", "reference u", "prediction u", "error of u", "reference p", "prediction p"]
    assert [_symbol(name, names) for name in names] == ["f", "input g (boundary)", "u", "u", "error of u", "p", "p"]
    assert _symbol("prediction", ["reference u", "prediction"]) == "u"
    assert _symbol("prediction", ["prediction", "error"]) == "value"


def test_errors_of_several_predictions_of_one_field_share_a_scale():
    from thalweg.visualization.comparison import _symbol, compared

    names = ["reference u", "prediction u by one", "error by one", "prediction u by all", "error by all"]
    assert {_symbol(name, names) for name in names[::2] + names[1:2]} == {"u", "error by one", "error by all"}
    assert compared("error by one", names) == ["error by one", "error by all"]
    assert compared("error of u", ["reference u", "error of u", "reference p", "error of p"]) == ["error of u"]


def test_neighbours_whose_colours_mean_the_same_have_one_bar(meshes):
    from thalweg.visualization.colour_bars import draw_bars

    space, u, _ = scalar(meshes["plate"], "CG", 1)

    def bars(tops: list[float], columns: int) -> int:
        figure = Figure(layout="constrained")
        axes = dict(enumerate(figure.subplots(-(-len(tops) // columns), columns, squeeze=False).flat))
        drawn = {i: viz.plot_field(axes[i], space, u, limits=(0, top)) for i, top in enumerate(tops)}
        draw_bars(figure, axes, drawn, dict.fromkeys(axes, "u"))
        figure.draw_without_rendering()
        return len(figure.axes) - len(axes)

    assert bars([1, 1, 2, 1], columns=4) == 3
    assert bars([1, 1, 1, 2], columns=2) == 3
    assert bars([1, 1, 1, 1], columns=2) == 1


def test_constant_fields_and_vectors_can_be_drawn(meshes, tmp_path):
    space, u = vector(meshes["quads"], 1)
    zero = torch.zeros_like(u)
    viz.plot_comparison(space, {"reference u": u, "prediction": zero, "error": zero}, tmp_path / "vectors.png")
    assert picture(tmp_path / "vectors.png").ndim == 3
    with pytest.raises(InputError, match="at least one"):
        viz.plot_comparison(space, {}, tmp_path / "none.png")


@pytest.mark.parametrize("name", ["plate", "disk", "quads", "periodic"])
def test_the_outline_has_the_length_of_the_boundary(meshes, name):
    from thalweg.visualization.edges import edge_curves, outline

    space, _, _ = scalar(meshes[name], "CG", 1)
    curves = edge_curves(space.mesh, *outline(space.mesh))
    length = np.linalg.norm(np.diff(curves, axis=1), axis=2).sum()
    exact = 4 if name == "periodic" else fd.assemble(1.0 * fd.ds(domain=meshes[name]))
    assert length == pytest.approx(exact, rel=1e-2)


def test_a_mesh_is_drawn_with_its_tags(meshes, tmp_path):
    space, _, _ = scalar(meshes["plate"], "CG", 1)
    viz.plot_mesh(space.mesh, tmp_path / "mesh.png")
    assert picture(tmp_path / "mesh.png").shape[0] == 1000
    with pytest.raises(InputError, match="two-dimensional"):
        viz.plot_mesh(scalar(meshes["tets"], "CG", 1)[0].mesh, tmp_path / "tets.png")


def write_log(path, rows, tail=""):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def test_losses_are_drawn_although_the_last_row_was_cut_off(tmp_path):
    constant = {"valid_boundary": 0.0, "lr": 1e-3}
    rows = [{"step": 4 * e, "epoch": e, "train_loss": 1 / e, "valid_relative_h1": 2 / e, **constant} for e in (1, 2, 3)]
    viz.plot_losses(write_log(tmp_path / "metrics.jsonl", rows, '{"step": 1'), tmp_path / "losses.png")
    assert picture(tmp_path / "losses.png").shape[1] == 1400


def test_a_damaged_log_is_refused(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        viz.plot_losses(tmp_path / "metrics.jsonl", tmp_path / "losses.png")
    with pytest.raises(FileError, match="Line 1 of"):
        viz.plot_losses(write_log(tmp_path / "damaged.jsonl", [], 'nonsense\n{"step": 1}\n'), tmp_path / "losses.png")
    with pytest.raises(InputError, match="no numbers to draw"):
        viz.plot_losses(write_log(tmp_path / "empty.jsonl", [{"step": 1, "note": "started"}]), tmp_path / "losses.png")
    assert not (tmp_path / "losses.png").exists()


@pytest.mark.parametrize(("family", "degree"), [("CG", 2), ("DG", 1)])
def test_a_field_on_an_interval_is_a_curve_with_its_jumps(tmp_path, family, degree):
    V = fem.export({"V": fd.FunctionSpace(fd.UnitIntervalMesh(4), family, degree)})["V"]
    u = V.interpolate(lambda x: x[:, 0] ** degree)
    x, drawn = _curve(V, u)
    finite = np.isfinite(drawn[:, 0])
    assert np.abs(drawn[finite, 0] - x[finite] ** degree).max() < 1e-12
    assert (~finite).sum() == 4  # a gap after each cell
    assert (np.diff(x) >= -1e-12).all()
    viz.plot_lines({"reference u": (V, u), "prediction u": (V, 0 * u)}, tmp_path / "u.png")
    assert (tmp_path / "u.png").stat().st_size > 5_000
    with pytest.raises(InputError, match="on an interval, not on triangle"):
        viz.plot_lines({"u": (fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(1, 1), "CG", 1)})["V"], u)}, tmp_path / "v.png")
