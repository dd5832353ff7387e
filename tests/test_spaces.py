"""Exported spaces measure and place functions as Firedrake does, and are read back where there is no Firedrake."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from thalweg import fem
from thalweg.errors import FileError, FingerprintError, InputError
from thalweg.fem.firedrake import firedrake
from thalweg.fem.reference_cell import corner_points

fd = firedrake()

MESHES = {
    "interval": lambda: fd.UnitIntervalMesh(5),
    "triangle": lambda: fd.UnitSquareMesh(3, 2),
    "quadrilateral": lambda: fd.UnitSquareMesh(3, 2, quadrilateral=True),
    "tetrahedron": lambda: fd.UnitCubeMesh(1, 2, 1),
    "hexahedron": lambda: fd.UnitCubeMesh(1, 2, 1, hexahedral=True),
    "periodic": lambda: fd.PeriodicUnitSquareMesh(4, 4),
    "curved": lambda: curved(fd.UnitSquareMesh(2, 2)),
}

#: (mesh, family, degree, norms to compare)
ELEMENTS = [
    ("interval", "CG", 3, ("L2", "H1")),
    ("triangle", "CG", 1, ("L2", "H1")),
    ("triangle", "CG", 4, ("H1",)),
    ("triangle", "DG", 0, ("L2",)),
    ("triangle", "DG", 3, ("L2",)),
    ("triangle", "CR", 1, ("H1",)),
    ("triangle", "RT", 2, ("Hdiv",)),
    ("triangle", "BDM", 1, ("Hdiv",)),
    ("triangle", "N1curl", 2, ("Hcurl",)),
    ("quadrilateral", "CG", 2, ("H1",)),
    ("tetrahedron", "CG", 2, ("H1",)),
    ("tetrahedron", "N1curl", 1, ("Hcurl",)),
    ("hexahedron", "CG", 1, ("L2",)),
    ("periodic", "CG", 2, ("H1",)),
    ("curved", "CG", 2, ("L2",)),
]


def curved(mesh):
    """The mesh with quadratic cells, bent by a sine."""
    x = fd.SpatialCoordinate(mesh)
    bent = x + fd.as_vector([0.1 * fd.sin(fd.pi * x[1]), 0.0])
    return fd.Mesh(fd.Function(fd.VectorFunctionSpace(mesh, "CG", 2)).interpolate(bent))


def random_function(V, seed=0):
    u = fd.Function(V)
    with u.dat.vec_wo as x:
        x.array = np.random.default_rng(seed).standard_normal(V.dim())
    return u


def dofs(u):
    with u.dat.vec_ro as x:
        return torch.from_numpy(x.array.copy())


def norm(u, kind):
    """The norm by Firedrake's own assembly."""
    curl = fd.curl if u.function_space().mesh().geometric_dimension == 3 else fd.rot
    derivative = {"H1": fd.grad, "Hdiv": fd.div, "Hcurl": curl}
    square = fd.inner(u, u) * fd.dx
    if kind != "L2":
        square += fd.inner(derivative[kind](u), derivative[kind](u)) * fd.dx
    return fd.assemble(square) ** 0.5


@pytest.fixture(scope="module", params=ELEMENTS, ids=lambda e: f"{e[1]}{e[2]}-{e[0]}")
def exported(request):
    mesh, family, degree, norms = request.param
    V = fd.FunctionSpace(MESHES[mesh](), family, degree)
    return V, fem.export({"V": V})["V"], norms


def test_norms_are_firedrakes(exported):
    V, space, norms = exported
    u = random_function(V)
    for kind in norms:
        assert space.norm(dofs(u), kind).item() == pytest.approx(norm(u, kind), rel=1e-5 if space.mesh.degree > 1 else 1e-12)


def test_every_dof_is_in_a_cell_once_counted(exported):
    V, space, _ = exported
    assert space.num_dofs == V.dim()
    assert torch.equal(space.cell_dofs.unique(), torch.arange(V.dim()))
    np.testing.assert_array_equal(space.cell_nodes, V.cell_node_list)


def test_boundary_dofs_are_those_of_a_dirichlet_condition(exported):
    V, space, _ = exported
    assert space.mesh.markers == fem.boundary_tags(V.mesh())
    for tag, marker in {"on_boundary": "on_boundary", **space.mesh.markers}.items():
        np.testing.assert_array_equal(space.boundary_dofs(tag), np.unique(V.boundary_nodes(marker)))


def test_points_of_dofs_are_where_they_evaluate_or_those_of_their_entity(exported):
    V, space, _ = exported
    if space.element.is_nodal:
        x = fd.SpatialCoordinate(V.mesh())
        np.testing.assert_allclose(space.dof_points[:, 0], fd.Function(V).interpolate(x[0]).dat.data_ro, atol=1e-14)
    else:
        for tag, (axis, value) in {"1": (0, 0), "2": (0, 1), "3": (1, 0), "4": (1, 1)}.items():
            on_side = space.points[space.boundary_nodes(tag), axis]
            torch.testing.assert_close(on_side, torch.full_like(on_side, value))


def test_functions_are_interpolated_as_by_firedrake(exported):
    V, space, _ = exported
    x = fd.SpatialCoordinate(V.mesh())
    if space.element.value_shape:
        expected = fd.Function(V).interpolate(fd.as_vector([x[i] * x[0] for i in range(len(x))]))
        found = space.interpolate(lambda p: torch.stack([p * p[:, :1], 3 * p * p[:, :1]]))
    else:
        expected = fd.Function(V).interpolate(x[0] ** 2)
        found = space.interpolate(lambda p: torch.stack([p[:, 0] ** 2, 3 * p[:, 0] ** 2]))
    torch.testing.assert_close(found, torch.stack([dofs(expected), 3 * dofs(expected)]), atol=1e-13, rtol=0)


def test_norm_of_zero_is_zero_with_its_gradient():
    space = fem.export({"V": fd.FunctionSpace(MESHES["triangle"](), "CG", 1)})["V"]
    u = torch.zeros(2, space.num_dofs, dtype=torch.float64, requires_grad=True)
    norms = space.norm(u, "H1")
    assert not norms.any()
    assert not torch.autograd.grad(norms.sum(), u)[0].any()
    assert not space.boundary_dofs([]).numel()


def test_facets_of_a_tag_lie_on_its_side():
    for mesh in (fem.export({"V": fd.FunctionSpace(MESHES[cell](), "CG", 1)})["V"].mesh for cell in ("triangle", "tetrahedron")):
        for tag, (axis, value) in {"1": (0, 0), "2": (0, 1), "3": (1, 0), "4": (1, 1)}.items():
            assert (mesh.points[mesh.facets[tag]][..., axis] == value).all()
            assert mesh.facets[tag].shape[1] == mesh.dim


def test_cells_have_their_vertices_whatever_the_nodes_of_the_coordinates():
    """Those of a discontinuous field lie inside the cells by default."""
    flat = MESHES["periodic"]()
    quadratic = fd.Mesh(fd.Function(fd.VectorFunctionSpace(flat, "DG", 2)).interpolate(fd.SpatialCoordinate(flat)))
    expected, found = (corner_points(fem.export({"V": fd.FunctionSpace(mesh, "CG", 1)})["V"].mesh) for mesh in (flat, quadratic))
    assert np.abs(found - expected).max() < 1e-12


def test_periodic_mesh_has_no_boundary_and_no_duplicated_dofs():
    space = fem.export({"V": fd.FunctionSpace(MESHES["periodic"](), "CG", 1)})["V"]
    assert space.num_dofs == 16
    assert space.tags == ("on_boundary",)
    assert not space.boundary_dofs().numel()
    # The points of its cells are those of the unfolded square, so that cells across the seam keep their shape.
    corners = space.mesh.points[space.mesh.cells[:, list(space.mesh.vertices)]]
    assert np.ptp(corners, axis=1).max() == pytest.approx(0.25)


def test_curved_cells_have_the_area_of_the_bent_domain():
    V = fd.FunctionSpace(MESHES["curved"](), "CG", 2)
    space = fem.export({"V": V})["V"]
    assert space.mesh.degree == 2
    one = torch.ones(space.num_dofs, dtype=torch.float64)
    assert space.inner(one, one).item() == pytest.approx(fd.assemble(fd.Constant(1) * fd.dx(domain=V.mesh())), rel=1e-12)


def test_components_of_vectors_and_tensors_are_innermost():
    mesh = MESHES["triangle"]()
    disc = fem.export(
        {"V": fd.VectorFunctionSpace(mesh, "CG", 2), "T": fd.TensorFunctionSpace(mesh, "DG", 1), "S": symmetric(mesh)}
    )
    V, T, S = disc["V"], disc["T"], disc["S"]
    assert (V.element.block_shape, T.element.block_shape, S.element.block_size, S.element.value_shape) == (
        (2,),
        (2, 2),
        3,
        (2, 2),
    )
    u = V.interpolate(lambda x: x).view(-1, 2)
    torch.testing.assert_close(u, V.points)
    assert T.interpolate(lambda x: x[:, :, None] * x[:, None, :]).shape == (T.num_dofs,)
    for name, kind in (("V", "Hdiv"), ("V", "Hcurl"), ("T", "L2"), ("S", "H1")):
        f = random_function(disc.sources[name])
        assert disc[name].norm(dofs(f), kind).item() == pytest.approx(norm(f, kind))
    with pytest.raises(InputError, match="symmetric"):
        S.interpolate(lambda x: x[:, :, None] * x[:, None, :])


def symmetric(mesh):
    return fd.TensorFunctionSpace(mesh, "CG", 1, symmetry=True)


@pytest.fixture(scope="module")
def taylor_hood():
    mesh = MESHES["triangle"]()
    return fd.VectorFunctionSpace(mesh, "CG", 2) * fd.FunctionSpace(mesh, "CG", 1)


def test_mixed_field_is_the_concatenation_of_its_fields(taylor_hood):
    Z = fem.export({"Z": taylor_hood})["Z"]
    assert isinstance(Z, fem.MixedSpace)
    z = random_function(taylor_hood)
    u, p = Z.split(dofs(z))
    assert torch.equal(u, dofs(z.subfunctions[0]))
    assert torch.equal(p, dofs(z.subfunctions[1]))
    assert torch.equal(Z.merge(u, p), dofs(z))
    assert torch.equal(Z.cell_dofs.unique(), torch.arange(Z.num_dofs))


def test_norms_of_a_mixed_field_add_up(taylor_hood):
    Z = fem.export({"Z": taylor_hood})["Z"]
    z = random_function(taylor_hood)
    u, p = z.subfunctions
    assert Z.norm(dofs(z)).item() == pytest.approx(fd.norm(z))
    assert Z.norm(dofs(z), ("H1", "L2")).item() == pytest.approx((norm(u, "H1") ** 2 + norm(p, "L2") ** 2) ** 0.5)
    assert Z.norm(dofs(z).expand(3, 2, -1), "H1").shape == (3, 2)


def test_flux_and_potential_are_measured_each_in_its_norm(saved):
    disc, _ = saved
    R, Q, F = (disc[name] for name in "RQF")
    sigma, u = torch.randn(3, R.num_dofs, dtype=torch.float64), torch.randn(3, Q.num_dofs, dtype=torch.float64)
    expected = R.norm(sigma, "Hdiv") ** 2 + Q.norm(u) ** 2
    torch.testing.assert_close(F.norm(F.merge(sigma, u), ("Hdiv", "L2")) ** 2, expected)
    torch.testing.assert_close(F.mass(F.merge(sigma, u)), F.merge(R.mass(sigma), Q.mass(u)))


def test_boundary_dofs_of_a_subspace_are_numbered_in_the_mixed_space(taylor_hood):
    Z = fem.export({"Z": taylor_hood})["Z"]
    z = fd.Function(taylor_hood)
    fd.DirichletBC(taylor_hood.sub(1), 1, 2).apply(z)
    np.testing.assert_array_equal(Z.sub_boundary_dofs(1, "2"), np.flatnonzero(dofs(z)))
    both = torch.cat([Z.sub_boundary_dofs(i, "2") for i in (0, 1)])
    assert torch.equal(Z.boundary_dofs("2"), both.sort().values)


def test_fingerprint_changes_with_mesh_element_and_numbering_only():
    mesh = MESHES["triangle"]()
    P1 = fd.FunctionSpace(mesh, "CG", 1)
    fingerprint = fem.export({"V": P1}).fingerprint
    assert fem.export({"V": fd.FunctionSpace(MESHES["triangle"](), "CG", 1)}, transfers=[("V", "V")]).fingerprint == fingerprint
    others = [fd.FunctionSpace(mesh, "DG", 1), fd.FunctionSpace(fd.UnitSquareMesh(3, 2, diagonal="right"), "CG", 1)]
    for other in (fem.export({"V": V}) for V in others):
        assert other.fingerprint != fingerprint
        with pytest.raises(FingerprintError, match="Generate the data"):
            other.require_fingerprint(fingerprint, "The data set")


@pytest.mark.parametrize(
    "move", [lambda x: 1.01 * x, lambda x: x + 0.01, lambda x: x[:, ::-1]], ids=["scaled", "shifted", "flipped"]
)
def test_fingerprint_belongs_to_the_coordinates(move):
    mesh = MESHES["triangle"]()
    fingerprint = fem.export({"V": fd.FunctionSpace(mesh, "CG", 1)}).fingerprint
    mesh.coordinates.dat.data[:] = mesh.coordinates.dat.data_ro * (1 + 1e-15)
    assert fem.export({"V": fd.FunctionSpace(mesh, "CG", 1)}).fingerprint == fingerprint
    mesh.coordinates.dat.data[:] = move(mesh.coordinates.dat.data_ro).copy()
    assert fem.export({"V": fd.FunctionSpace(mesh, "CG", 1)}).fingerprint != fingerprint


@pytest.fixture(scope="module")
def saved(taylor_hood, tmp_path_factory):
    mesh = taylor_hood.mesh().unique()
    others = {"V": ("CG", 1), "R": ("RT", 2), "Q": ("DG", 1)}
    spaces = {"Z": taylor_hood, **{name: fd.FunctionSpace(mesh, *element) for name, element in others.items()}}
    spaces["F"] = spaces["R"] * spaces["Q"]
    disc = fem.export(spaces, [("V", "Q")], [("R", "Q")], [("V", "Q")], {"sensors": ("V", [[0.3, 0.4], [1, 1]])})
    path = tmp_path_factory.mktemp("discretization") / "disc.h5"
    disc.save(path)
    return disc, path


def test_loaded_discretization_is_the_saved_one(saved):
    disc, path = saved
    loaded = fem.load(path, dtype=torch.float64)
    assert loaded.fingerprint == disc.fingerprint
    assert repr(loaded) == repr(disc)
    before, after = dict(disc.named_buffers()), dict(loaded.named_buffers())
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    for mesh, same in zip(disc.meshes, loaded.meshes, strict=True):
        np.testing.assert_array_equal(mesh.points, same.points)
        np.testing.assert_array_equal(mesh.cells, same.cells)
        assert (list(mesh.facets), mesh.markers, mesh.vertices) == (list(same.facets), same.markers, same.vertices)


def test_loading_needs_no_firedrake(saved):
    _, path = saved
    program = f"""
        import sys


        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("firedrake", "ufl", "FIAT", "finat", "gem", "tsfc", "pyop2", "petsc4py"):
                    raise ModuleNotFoundError(name)


        sys.meta_path.insert(0, Absent())
        import torch
        from thalweg import fem
        from thalweg.errors import MissingPackageError
        disc = fem.load({str(path)!r})
        R = disc["R"]
        u = R.interpolate(lambda x: x.to(torch.float32))
        divergence = disc.derivative("R", "Q")(u)
        assert torch.allclose(divergence, torch.full_like(divergence, 2), atol=1e-4), divergence
        assert disc["Z"].norm(torch.ones(4, disc["Z"].num_dofs), "H1").shape == (4,)
        assert torch.allclose(disc.observation("sensors")(disc["V"].points[:, 0].float()), torch.tensor([0.3, 1.0]))
        try:
            fem.point_evaluation(None, [])
        except MissingPackageError as error:
            assert "make install" in str(error)
        else:
            raise AssertionError("Firedrake was found")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, cwd=path.parent)


def test_damaged_and_foreign_files_are_refused(saved, tmp_path):
    _, path = saved
    with pytest.raises(FileError, match="does not exist"):
        fem.load(tmp_path / "missing.h5")
    truncated = tmp_path / "truncated.h5"
    truncated.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FileError, match="truncated"):
        fem.load(truncated)


def test_what_cannot_be_exported_is_refused(taylor_hood):
    mesh = MESHES["triangle"]()
    V = fd.FunctionSpace(mesh, "CG", 1)
    refused = {
        "letters": {"not a name": V},
        "'type', which PyTorch": {"type": V},
        "no finite-element space": {"R": fd.FunctionSpace(mesh, "R", 0)},
        "extruded": {"V": fd.FunctionSpace(fd.ExtrudedMesh(mesh, 2), "CG", 1)},
    }
    for message, spaces in refused.items():
        with pytest.raises(InputError, match=message):
            fem.export(spaces)
    with pytest.raises(InputError, match="no space 'W'"):
        fem.export({"V": V}, transfers=[("V", "W")])


def test_wrong_fields_tags_norms_and_names_are_refused(saved):
    disc, _ = saved
    V = disc["V"]
    u = torch.zeros(2, V.num_dofs + 1)
    wrong = {
        "its last axis": lambda: V.norm(u),
        "Unknown norm": lambda: V.norm(u[:, 1:], "H2"),
        "no div matrix": lambda: V.norm(u[:, 1:], "Hdiv"),
        "Unknown boundary tag 'inflow'": lambda: V.boundary_dofs("inflow"),
        "'X' is not in this": lambda: disc["X"],
        r"transfers=\[\('Q', 'V'\)\]": lambda: disc.transfer("Q", "V"),
        "The function's values": lambda: V.interpolate(lambda x: x),
        "has fields of": lambda: disc["Z"].merge(u, u),
        "one for each": lambda: disc["Z"].interpolate(lambda x: x),
    }
    for message, call in wrong.items():
        with pytest.raises(InputError, match=message):
            call()


def test_reprs_name_element_dofs_tags_and_levels():
    meshes = fd.MeshHierarchy(fd.UnitSquareMesh(2, 2), 1)
    spaces = {"V": fd.FunctionSpace(meshes[1], "CG", 1), "V1": fd.FunctionSpace(meshes[0], "CG", 1)}
    disc = fem.export(spaces, transfers=[("V1", "V")])
    assert repr(disc["V"]) == "Space V: Lagrange 1 on triangle, 25 dofs, tags: 1, 2, 3, 4"
    for part in (
        disc.fingerprint[:12],
        "8 cells (triangle)",
        repr(disc["V1"]),
        "transfers: V1->V",
        "2 levels",
        "grid complexity 1.36",
    ):
        assert part in repr(disc)
