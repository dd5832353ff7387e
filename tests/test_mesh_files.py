"""Meshes from files: what Firedrake gets is the mesh of the file with its names, and what cannot be one is refused in words."""

import runpy
import sys
from itertools import pairwise
from pathlib import Path

import firedrake as fd
import meshio
import numpy as np
import pytest

from thalweg import fem
from thalweg.errors import FileError, InputError, MissingPackageError

MESHES = Path(fem.__file__).parents[1] / "data" / "meshes"
PLATE = MESHES / "plate_with_hole.msh"
NAMES = ["left", "right", "bottom", "top", "notch", "hole"]


@pytest.fixture(scope="module")
def plate():
    return fem.read_mesh(PLATE)


def perimeter(mesh, name):
    return fd.assemble(1.0 * fd.ds(mesh.boundary_names[name], domain=mesh))


def square_of(cell_type, n=3):
    """Points, cells and boundary edges of the unit square with the sides' names, as meshio holds them."""
    x = np.linspace(0, 1, n + 1)
    points = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    number = np.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    quads = np.stack([number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], -1).reshape(-1, 4)
    cells = quads if cell_type == "quad" else np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    sides = {"left": number[0], "right": number[-1], "bottom": number[:, 0], "top": number[:, -1]}
    return points, cells, {name: np.stack([side[:-1], side[1:]], 1) for name, side in sides.items()}


def cube_of(cell_type):
    """One unit cube, as a hexahedron or as six tetrahedra around a diagonal, and its bottom and top facets."""
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=float)
    if cell_type == "hexahedron":
        return points, np.arange(8)[None], {"bottom": np.array([[0, 1, 2, 3]]), "top": np.array([[4, 5, 6, 7]])}
    ring = [1, 2, 3, 7, 4, 5, 1]
    tetra = np.array([[0, a, b, 6] for a, b in pairwise(ring)])
    return points, tetra, {"bottom": np.array([[0, 1, 2], [0, 2, 3]]), "top": np.array([[4, 5, 6], [4, 6, 7]])}


def numbered(points, cell_type, cells, facets):
    """A meshio mesh with the facets' names as numbers from 1 in the cell data ``marker``."""
    facet_type = {"triangle": "line", "quad": "line", "tetra": "triangle", "hexahedron": "quad"}[cell_type]
    blocks = [(cell_type, cells)] + [(facet_type, members) for members in facets.values()]
    marker = [np.zeros(len(cells), dtype=np.int32)]
    marker += [np.full(len(members), i, dtype=np.int32) for i, members in enumerate(facets.values(), start=1)]
    padded = np.concatenate([points, np.zeros((len(points), 3 - points.shape[1]))], axis=1)
    return meshio.Mesh(padded, blocks, cell_data={"marker": marker})


def test_boundary_names_reach_the_exported_space(plate):
    V = fem.export({"V": fd.FunctionSpace(plate, "CG", 1)})["V"]
    assert set(V.tags) == {"on_boundary", *NAMES}
    x, y = V.points[V.boundary_nodes("left")].T
    assert (x == 0).all()
    assert y.max() == 1
    assert plate.region_names == {"plate": 7}


def test_sides_of_the_plate_have_their_lengths(plate):
    for name, length in {"left": 1, "bottom": 1, "top": 1, "right": 0.76}.items():
        assert perimeter(plate, name) == pytest.approx(length, abs=1e-12)


def test_refined_levels_keep_names_and_measures(plate):
    levels = fem.mesh_hierarchy(plate, 2)
    assert [level.num_cells() for level in levels] == [350, 1400, 5600]
    for name in NAMES:
        assert [perimeter(level, name) for level in levels] == pytest.approx([perimeter(plate, name)] * 3)


def test_negative_refinement_is_refused(plate):
    with pytest.raises(InputError, match="0 or more"):
        fem.mesh_hierarchy(plate, -1)


def test_fine_plate_approaches_the_exact_area():
    exact = 1 - np.pi * 0.20 * 0.13 - np.pi * 0.12**2 / 2
    meshes = (fem.read_mesh(MESHES / name) for name in ("plate_with_hole.msh", "plate_with_hole_fine.msh"))
    coarse, fine = (fd.assemble(1.0 * fd.dx(domain=mesh)) for mesh in meshes)
    assert abs(fine - exact) < abs(coarse - exact) / 3 < 0.002


@pytest.mark.parametrize("suffix", [".vtk", ".vtu", ".xdmf"])
@pytest.mark.parametrize("cell_type", ["triangle", "quad", "tetra", "hexahedron"])
def test_numbered_tags_of_other_formats_become_markers(tmp_path, suffix, cell_type):
    points, cells, facets = square_of(cell_type) if cell_type in ("triangle", "quad") else cube_of(cell_type)
    path = tmp_path / f"mesh{suffix}"
    numbered(points, cell_type, cells, facets).write(path)
    mesh = fem.read_mesh(path)
    assert fd.assemble(1.0 * fd.dx(domain=mesh)) == pytest.approx(1)
    assert set(fem.boundary_tags(mesh)) >= {str(i) for i in range(1, len(facets) + 1)}
    top = list(facets).index("top") + 1
    last = fd.SpatialCoordinate(mesh)[points.shape[1] - 1]
    assert fd.assemble(last * fd.ds(top, domain=mesh)) == pytest.approx(1)


def test_named_cell_sets_become_names(tmp_path):
    points, cells, facets = square_of("triangle")
    edges = np.concatenate(list(facets.values()))
    sets = {name: [np.array([], dtype=int), np.arange(3 * i, 3 * i + 3)] for i, name in enumerate(facets)}
    sets["square"] = [np.arange(len(cells)), np.array([], dtype=int)]
    path = tmp_path / "mesh.inp"
    meshio.Mesh(np.pad(points, ((0, 0), (0, 1))), [("triangle", cells), ("line", edges)], cell_sets=sets).write(path)
    mesh = fem.read_mesh(path)
    assert list(fem.boundary_tags(mesh)) == list(facets)
    assert perimeter(mesh, "top") == pytest.approx(1)
    assert list(mesh.region_names) == ["square"]


def test_groups_of_a_med_file_become_names(tmp_path):
    points, cells, facets = square_of("triangle")
    edges = np.concatenate(list(facets.values()))
    tags = [np.full(len(cells), -5), -1 - np.arange(len(edges)) // 3]
    mesh = meshio.Mesh(points, [("triangle", cells), ("line", edges)], cell_data={"cell_tags": tags})
    mesh.cell_tags = {-5: ["square"], **{-1 - i: [name] for i, name in enumerate(facets)}}
    mesh.write(tmp_path / "mesh.med")
    mesh = fem.read_mesh(tmp_path / "mesh.med")
    assert list(fem.boundary_tags(mesh)) == list(facets)
    assert perimeter(mesh, "top") == pytest.approx(1)
    assert mesh.region_names == {"square": 5}


@pytest.mark.parametrize("version", ["2.2", "4.1"])
@pytest.mark.parametrize("binary", [False, True])
def test_gmsh_versions_give_the_same_mesh(tmp_path, version, binary, plate):
    gmsh = meshio.gmsh.read(PLATE)
    del gmsh.cell_sets["gmsh:bounding_entities"]
    if version != "4.1":
        del gmsh.point_data["gmsh:dim_tags"]
    path = tmp_path / "plate.msh"
    meshio.gmsh.write(path, gmsh, fmt_version=version, binary=binary)
    again = fem.read_mesh(path)
    assert perimeter(again, "hole") == pytest.approx(perimeter(plate, "hole"))


def two_triangles(curve_groups):
    """The unit square in gmsh's format 4.1; its surface is in no physical group, its bottom edge in the given ones."""
    return f"""$MeshFormat
4.1 0 8
$EndMeshFormat
$PhysicalNames
2
1 5 "bottom"
1 6 "cold side"
$EndPhysicalNames
$Entities
0 1 1 0
1 0 0 0 1 0 0 {curve_groups} 0
1 0 0 0 1 1 0 0 0
$EndEntities
$Nodes
1 4 10 40
2 1 0 4
10
20
30
40
0 0 0
1 0 0
1 1 0
0 1 0
$EndNodes
$Elements
2 3 1 3
1 1 1 1
1 10 20
2 1 2 2
2 10 20 30
3 10 30 40
$EndElements
"""


def test_regions_need_no_physical_group_and_names_may_have_spaces(tmp_path):
    path = tmp_path / "square.msh"
    path.write_text(two_triangles("1 6"))
    mesh = fem.read_mesh(path)
    assert mesh.boundary_names == {"cold side": 6}
    assert mesh.region_names == {}
    x, y = fd.SpatialCoordinate(mesh)
    assert fd.assemble((x + y) * fd.ds(6, domain=mesh)) == pytest.approx(1 / 2)


def test_a_boundary_with_two_names_is_refused(tmp_path):
    path = tmp_path / "square.msh"
    path.write_text(two_triangles("2 5 6"))
    with pytest.raises(InputError, match=r"several physical groups \('bottom', 'cold side'\)"):
        fem.read_mesh(path)


def test_an_outdated_gmsh_format_is_refused(tmp_path):
    path = tmp_path / "old.msh"
    path.write_text(PLATE.read_text().replace("4.1 0 8", "4 0 8"))
    with pytest.raises(FileError, match=r"format 4; only 2\.2 and 4\.1"):
        fem.read_mesh(path)


def test_a_missing_file_is_named():
    with pytest.raises(FileError, match=r"nowhere\.msh does not exist"):
        fem.read_mesh("nowhere.msh")


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    path = tmp_path / "mesh.docx"
    path.write_text("a mesh")
    with pytest.raises(FileError, match=r"suffix must be one of .*\.vtu"):
        fem.read_mesh(path)


@pytest.mark.parametrize("kept", [0, 1, 10, 100, 1000, 5000, 9000, 12000, -25, -12])
def test_a_truncated_file_is_refused_before_petsc_sees_it(tmp_path, kept):
    path = tmp_path / "cut.msh"
    path.write_bytes(PLATE.read_bytes()[:kept])
    with pytest.raises(FileError, match=r"truncated|not a gmsh file"):
        fem.read_mesh(path)


@pytest.mark.parametrize("section", ["Nodes", "Elements"])
@pytest.mark.parametrize("offset", [1, 2, 3, 20, 150])
def test_a_lost_line_is_refused(tmp_path, section, offset):
    lines = PLATE.read_text().splitlines(keepends=True)
    del lines[lines.index(f"${section}\n") + offset]
    path = tmp_path / "holed.msh"
    path.write_text("".join(lines))
    with pytest.raises((FileError, InputError), match=r"Export|export"):
        fem.read_mesh(path)


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".xdmf"])
def test_a_truncated_file_of_another_format_is_refused(tmp_path, suffix):
    path = tmp_path / f"mesh{suffix}"
    numbered(*(square_of("triangle")[:1]), "triangle", *square_of("triangle")[1:]).write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileError, match="Export it again"):
        fem.read_mesh(path)


def damaged(tmp_path, change):
    points, cells, facets = square_of("triangle")
    mesh = numbered(points, "triangle", cells, facets)
    change(mesh)
    path = tmp_path / "damaged.vtu"
    mesh.write(path)
    return path


def move_a_vertex_across(mesh):
    mesh.points[5] = [0.9, 0.9, 0]


def renumber_a_cell(mesh):
    mesh.cells[0].data[4] = mesh.cells[0].data[4][[1, 0, 2]]


def flatten_a_cell(mesh):
    mesh.points[5] = mesh.points[6]


@pytest.mark.parametrize("change", [move_a_vertex_across, renumber_a_cell, flatten_a_cell])
def test_inverted_cells_are_refused(tmp_path, change):
    with pytest.raises(InputError, match="inverted or flat cells"):
        fem.read_mesh(damaged(tmp_path, change))


def test_a_clockwise_mesh_is_not_inverted(tmp_path):
    def mirror(mesh):
        mesh.points[:, 0] *= -1

    assert fem.read_mesh(damaged(tmp_path, mirror)).num_cells() == 18


def test_a_fold_is_refused(tmp_path):
    def fold(mesh):
        mesh.points[:, 0] = np.abs(mesh.points[:, 0] - 1 / 3)
        flipped = mesh.cells[0].data[:, [1, 0, 2]]
        left = np.isin(mesh.cells[0].data, np.arange(4)).any(1)
        mesh.cells[0].data[left] = flipped[left]

    with pytest.raises(InputError, match="folded"):
        fem.read_mesh(damaged(tmp_path, fold))


def test_dangling_nodes_are_refused(tmp_path):
    def add_a_point(mesh):
        mesh.points = np.concatenate([mesh.points, [[2.0, 2.0, 0.0]]])

    with pytest.raises(InputError, match=r"dangling nodes: 1 .*\(2, 2\)"):
        fem.read_mesh(damaged(tmp_path, add_a_point))


def test_repeated_cells_are_refused(tmp_path):
    def repeat(mesh):
        mesh.cells[0].data = np.concatenate([mesh.cells[0].data, mesh.cells[0].data[:1]])
        mesh.cell_data["marker"][0] = np.zeros(len(mesh.cells[0].data), dtype=np.int32)

    with pytest.raises(InputError, match="more than two cells"):
        fem.read_mesh(damaged(tmp_path, repeat))


def test_tags_of_another_mesh_are_refused(tmp_path):
    def retarget(mesh):
        mesh.cells[1].data[0] = [0, 15]

    with pytest.raises(InputError, match="tags 1 facets that belong to no cell"):
        fem.read_mesh(damaged(tmp_path, retarget))


def test_a_facet_with_two_tags_is_refused(tmp_path):
    def share(mesh):
        mesh.cells[1].data[0] = mesh.cells[2].data[0]

    with pytest.raises(InputError, match="more than one tag"):
        fem.read_mesh(damaged(tmp_path, share))


def test_a_mesh_of_edges_is_refused(tmp_path):
    path = tmp_path / "edges.msh"
    meshio.gmsh.write(path, meshio.Mesh(np.eye(3), [("line", np.array([[0, 1], [1, 2]]))]), binary=False)
    with pytest.raises(InputError, match="no 2D or 3D cells"):
        fem.read_mesh(path)


def test_mixed_and_curved_cells_are_refused(tmp_path):
    points, quads, _ = square_of("quad", 1)
    mixed, curved = tmp_path / "mixed.vtu", tmp_path / "curved.vtu"
    flat = np.pad(points, ((0, 0), (0, 1)))
    meshio.Mesh(flat, [("quad", quads), ("triangle", quads[:, :3])]).write(mixed)
    meshio.Mesh(np.zeros((6, 3)), [("triangle6", np.arange(6)[None])]).write(curved)
    with pytest.raises(InputError, match="mixes quad and triangle"):
        fem.read_mesh(mixed)
    with pytest.raises(InputError, match="ElementOrder = 1"):
        fem.read_mesh(curved)


def test_several_tag_arrays_must_be_chosen_from(tmp_path):
    path = damaged(tmp_path, lambda mesh: mesh.cell_data.update(rank=[0 * block for block in mesh.cell_data["marker"]]))
    with pytest.raises(InputError, match="tags='marker'"):
        fem.read_mesh(path)
    assert set(fem.boundary_tags(fem.read_mesh(path, tags="marker"))) == {"1", "2", "3", "4"}
    with pytest.raises(InputError, match="no integer cell data 'side'"):
        fem.read_mesh(path, tags="side")


def annulus(gmsh):
    occ = gmsh.model.occ
    ring, _ = occ.cut([(2, occ.addDisk(0, 0, 0, 1, 1))], [(2, occ.addDisk(0, 0, 0, 0.4, 0.4))])
    occ.synchronize()
    edges = gmsh.model.getBoundary(ring, oriented=False)
    for (dim, curve), name in zip(sorted(edges, key=lambda e: gmsh.model.occ.getMass(*e)), ("inner", "outer"), strict=True):
        gmsh.model.addPhysicalGroup(dim, [curve], name=name)
    gmsh.model.addPhysicalGroup(2, [tag for _, tag in ring], name="ring")


def test_a_gmsh_geometry_becomes_a_mesh_with_its_names():
    pytest.importorskip("gmsh")
    coarse, fine = fem.gmsh_mesh(annulus, size=0.3), fem.gmsh_mesh(annulus, size=0.1)
    assert set(fem.boundary_tags(coarse)) == {"inner", "outer"}
    assert list(coarse.region_names) == ["ring"]
    for name, radius in (("inner", 0.4), ("outer", 1)):
        error = [abs(perimeter(mesh, name) / (2 * np.pi * radius) - 1) for mesh in (coarse, fine)]
        assert error[1] < error[0] < 0.05
    assert fine.num_cells() > 5 * coarse.num_cells()


def test_a_geo_file_gives_the_committed_mesh(plate):
    pytest.importorskip("gmsh")
    mesh = fem.gmsh_mesh(PLATE.with_suffix(".geo"))
    assert fem.boundary_tags(mesh) == fem.boundary_tags(plate)
    assert perimeter(mesh, "hole") == pytest.approx(perimeter(plate, "hole"), rel=1e-3)


def test_gmsh_geometries_without_a_region_or_without_a_shape_are_refused(tmp_path):
    pytest.importorskip("gmsh")

    def nameless(gmsh):
        annulus(gmsh)
        gmsh.model.removePhysicalGroups([(2, 3)])

    with pytest.raises(InputError, match="names boundary parts but no region"):
        fem.gmsh_mesh(nameless)
    (tmp_path / "broken.geo").write_text("Plane Surface(1) = {7};")
    with pytest.raises(InputError, match=r"broken\.geo: gmsh failed"):
        fem.gmsh_mesh(tmp_path / "broken.geo")


def test_an_error_in_the_geometry_is_the_callers_own():
    pytest.importorskip("gmsh")
    with pytest.raises(ZeroDivisionError):
        fem.gmsh_mesh(lambda gmsh: 1 / 0)


def test_without_gmsh_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gmsh", None)
    with pytest.raises(MissingPackageError, match="pip install gmsh"):
        fem.gmsh_mesh(annulus)
    with pytest.raises(FileError, match="does not exist"):
        fem.gmsh_mesh("nowhere.geo")
    with pytest.raises(InputError, match="positive"):
        fem.gmsh_mesh(annulus, size=0)


def example(name):
    path = Path(fem.__file__).parents[1] / "examples" / f"{name}.py"
    return runpy.run_path(str(path))["main"]


def test_example_with_a_gmsh_file(tmp_path):
    largest, finer = (example("mesh_from_gmsh_file")(path, tmp_path) for path in (PLATE, MESHES / "plate_with_hole_fine.msh"))
    assert largest == pytest.approx(finer, rel=0.02)
    assert largest < 0.0737, "u grows with the domain, and that is its value on the whole unit square"
    assert {path.name for path in tmp_path.iterdir()} == {"mesh.png", "solution.png", "solution.vtu"}


def test_example_with_another_format(tmp_path):
    # The narrowing takes 0.4 times the area under exp(-4 x^2).
    assert example("mesh_from_other_formats")(folder=tmp_path) == pytest.approx(4 - 0.4 * np.sqrt(np.pi) / 2, abs=2e-3)


def test_example_with_gmsh(tmp_path):
    pytest.importorskip("gmsh")
    exact = 3 * np.pi / 4 - 4 / 3 * np.pi * 0.2**3
    assert example("mesh_with_gmsh")(folder=tmp_path) == pytest.approx(exact, rel=0.05)
