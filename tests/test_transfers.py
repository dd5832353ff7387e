"""Transfers between spaces are exact wherever functions of the one are functions of the other."""

from functools import cache

import numpy as np
import pytest
import torch

from thalweg import fem
from thalweg.errors import InputError
from thalweg.fem.firedrake import firedrake

fd = firedrake()

HIERARCHIES = {
    "triangle": lambda: fd.MeshHierarchy(fd.UnitSquareMesh(2, 3), 2),
    "quadrilateral": lambda: fd.MeshHierarchy(fd.UnitSquareMesh(2, 2, quadrilateral=True), 1),
    "tetrahedron": lambda: fd.MeshHierarchy(fd.UnitCubeMesh(1, 1, 1), 1),
    "periodic": lambda: fd.MeshHierarchy(fd.PeriodicUnitSquareMesh(3, 3), 1),
    "skipping": lambda: fd.MeshHierarchy(fd.UnitSquareMesh(1, 1), 1, refinements_per_level=2),
}


@cache
def hierarchy(name):
    return HIERARCHIES[name]()


def space(mesh, family, degree, vector=False):
    return (fd.VectorFunctionSpace if vector else fd.FunctionSpace)(mesh, family, degree)


#: (hierarchy, level and element of the coarse space, level and element of the fine one)
NESTED = [
    ("triangle", (0, "CG", 1), (1, "CG", 1)),
    ("triangle", (0, "CG", 1), (2, "CG", 2)),
    ("triangle", (0, "CG", 1, True), (1, "CG", 1, True)),
    ("triangle", (0, "RT", 1), (1, "RT", 1)),
    ("triangle", (0, "DG", 0), (2, "DG", 1)),
    ("triangle", (1, "CG", 1), (1, "CG", 2)),
    ("quadrilateral", (0, "CG", 1), (1, "CG", 1)),
    ("tetrahedron", (0, "CG", 1), (1, "CG", 1)),
    ("periodic", (0, "CG", 1), (1, "CG", 2)),
    ("skipping", (0, "CG", 1), (1, "CG", 1)),
]


@pytest.mark.parametrize(("name", "coarse", "fine"), NESTED, ids=str)
def test_prolongation_is_exact_on_the_coarse_space(name, coarse, fine):
    meshes = hierarchy(name)
    spaces = {"c": space(meshes[coarse[0]], *coarse[1:]), "f": space(meshes[fine[0]], *fine[1:])}
    P = fem.interpolation(spaces["c"], spaces["f"])
    # The interior points of a coarse cell's thirds lie in the interior of fine cells, so that discontinuous functions have values there.
    points = np.random.default_rng(1).uniform(0.01, 0.99, (20, meshes[0].geometric_dimension))
    at_coarse, at_fine = (fem.point_evaluation(V, points) for V in (spaces["c"], spaces["f"]))
    assert abs(at_fine @ P - at_coarse).max() < 1e-10


def test_coarse_functions_keep_their_norms():
    meshes = hierarchy("triangle")
    disc = fem.export({"c": space(meshes[0], "CG", 1), "f": space(meshes[2], "CG", 2)}, transfers=[("c", "f")])
    u = torch.randn(4, disc["c"].num_dofs, dtype=torch.float64)
    for kind in ("L2", "H1"):
        torch.testing.assert_close(disc["f"].norm(disc.transfer("c", "f")(u), kind), disc["c"].norm(u, kind))


def test_interpolation_from_fine_to_coarse_inverts_prolongation():
    meshes = hierarchy("triangle")
    c, f = space(meshes[0], "CG", 1), space(meshes[1], "CG", 1)
    identity = fem.interpolation(f, c) @ fem.interpolation(c, f)
    np.testing.assert_allclose(identity.toarray(), np.eye(c.dim()), atol=1e-11)


@pytest.fixture(scope="module")
def levels():
    meshes = hierarchy("triangle")
    spaces = {f"V{l}": space(mesh, "CG", 1) for l, mesh in enumerate(reversed(list(meshes)))}
    return fem.export(spaces, transfers=[("V1", "V0"), ("V2", "V1")]).hierarchy("V0", "V1", "V2")


def test_restriction_is_the_transposed_prolongation(levels):
    for l in (0, 1):
        r, u = (torch.randn(levels[l + i].num_dofs, dtype=torch.float64) for i in (0, 1))
        torch.testing.assert_close(levels.restriction(l)(r) @ u, r @ levels.prolongation(l)(u))


def test_l2_restriction_is_a_projection_onto_the_coarse_space(levels):
    fine, coarse = levels[0], levels[1]
    restrict, prolong = levels.l2_restriction(0), levels.prolongation(0)
    u = torch.randn(3, coarse.num_dofs, dtype=torch.float64)
    torch.testing.assert_close(restrict(prolong(u)), u, atol=1e-11, rtol=0)
    f = torch.randn(3, fine.num_dofs, dtype=torch.float64)
    error = f - prolong(restrict(f))
    torch.testing.assert_close(fine.inner(error, prolong(u)), torch.zeros(3, dtype=torch.float64), atol=1e-11, rtol=0)


def test_l2_restriction_keeps_the_integral_and_carries_gradients(levels):
    fine, coarse = levels[0], levels[1]
    f = torch.randn(fine.num_dofs, dtype=torch.float64, requires_grad=True)
    ones = [torch.ones(V.num_dofs, dtype=torch.float64) for V in (fine, coarse)]
    total = coarse.inner(levels.l2_restriction(0)(f), ones[1])
    torch.testing.assert_close(total, fine.inner(f, ones[0]))
    torch.testing.assert_close(torch.autograd.grad(total, f)[0], fine.mass(ones[0]), atol=1e-12, rtol=0)


def test_linear_functions_pass_between_unrelated_meshes():
    meshes = fd.UnitSquareMesh(5, 4, diagonal="crossed"), fd.UnitSquareMesh(3, 7)
    spaces = {
        "a": space(meshes[0], "CG", 1),
        "b": space(meshes[1], "CG", 2),
        "r": space(meshes[1], "RT", 1),
        "v": space(meshes[0], "CG", 1, True),
    }
    disc = fem.export(spaces, transfers=[("a", "b"), ("b", "a"), ("v", "r")])
    linear = {name: disc[name].interpolate(lambda x: 1 + 2 * x[:, 0] - x[:, 1]) for name in "ab"}
    for source, target in ("ab", "ba"):
        torch.testing.assert_close(disc.transfer(source, target)(linear[source]), linear[target], atol=1e-11, rtol=0)
    constant = {
        name: disc[name].interpolate(lambda x: torch.tensor([1.0, 2.0], dtype=x.dtype).expand(len(x), 2)) for name in "vr"
    }
    torch.testing.assert_close(disc.transfer("v", "r")(constant["v"]), constant["r"], atol=1e-11, rtol=0)


def test_curved_boundaries_are_crossed_by_extrapolation():
    coarse, fine = fd.UnitDiskMesh(1), fd.UnitDiskMesh(3)
    fd.NonNestedHierarchy(coarse, fine)
    disc = fem.export({"c": space(coarse, "CG", 1), "f": space(fine, "CG", 1)}, transfers=[("c", "f")])
    linear = {name: disc[name].interpolate(lambda x: x[:, 0] + 3) for name in "cf"}
    torch.testing.assert_close(disc.transfer("c", "f")(linear["c"]), linear["f"], atol=1e-11, rtol=0)


def test_mixed_fields_are_transferred_field_by_field():
    meshes = hierarchy("triangle")
    coarse, fine = (space(meshes[l], "CG", 1, True) * space(meshes[l], "CG", 1) for l in (0, 1))
    disc = fem.export({"c": coarse, "f": fine}, transfers=[("c", "f")])
    z = [disc[name].interpolate([lambda x: 2 * x, lambda x: x[:, 0]]) for name in "cf"]
    torch.testing.assert_close(disc.transfer("c", "f")(z[0]), z[1])


def test_impossible_transfers_are_refused():
    small, large = fd.UnitSquareMesh(2, 2), fd.RectangleMesh(2, 2, 3, 3)
    with pytest.raises(InputError, match="beyond the source mesh"):
        fem.interpolation(space(small, "CG", 1), space(large, "CG", 1))
    with pytest.raises(InputError, match="shape"):
        fem.interpolation(space(small, "CG", 1), space(small, "CG", 1, True))
    with pytest.raises(InputError, match="fields"):
        fem.interpolation(space(small, "CG", 1) * space(small, "CG", 1), space(small, "CG", 1))


def test_values_at_points_come_in_the_order_of_the_points():
    mesh = hierarchy("triangle")[0]
    points = np.random.default_rng(0).uniform(size=(50, 2))
    points[7] = points[3]
    points[9] = 1.0, 1.0
    disc = fem.export(
        {"V": space(mesh, "CG", 1), "W": space(mesh, "CG", 1, True), "R": space(mesh, "RT", 1)},
        observations={name.lower(): (name, points) for name in "VWR"},
    )
    x = torch.from_numpy(points)
    v = disc["V"].interpolate(lambda x: 1 + 2 * x[:, 0] - x[:, 1])
    torch.testing.assert_close(disc.observation("v")(v), 1 + 2 * x[:, 0] - x[:, 1], atol=1e-10, rtol=0)
    w = disc["W"].interpolate(lambda x: x.flip(-1))
    torch.testing.assert_close(disc.observation("w")(w).view(-1, 2), x.flip(-1), atol=1e-10, rtol=0)
    r = disc["R"].interpolate(lambda x: x)
    torch.testing.assert_close(disc.observation("r")(r).view(-1, 2), x, atol=1e-10, rtol=0)
    assert disc.observation("w").components == 2


def test_points_outside_are_listed():
    V = space(hierarchy("triangle")[0], "CG", 1)
    tolerance = V.mesh().tolerance
    with pytest.raises(InputError, match=r"2 of 3 points lie outside the domain: 1: \(1.001, 0.5\), 2: \(0.5, -3.0\)"):
        fem.point_evaluation(V, [[0.5, 0.5], [1.001, 0.5], [0.5, -3.0]])
    assert V.mesh().tolerance == tolerance
    fem.point_evaluation(V, [[1 + 1e-12, 0.5]])
    for points in ([[0.5]], [0.5, 0.5], [[np.nan, 0.5]], np.zeros((0, 2))):
        with pytest.raises(InputError, match="must be finite and have shape"):
            fem.point_evaluation(V, points)


def test_the_hierarchy_below_a_space_goes_through_the_largest_coarser_spaces():
    meshes = hierarchy("triangle")
    spaces = {f"V{i}": space(meshes[2 - i], "CG", 1) for i in range(3)} | {"P": space(meshes[2], "CG", 2)}
    disc = fem.export(spaces, [("V2", "V0"), ("V0", "P"), ("V1", "V0"), ("V2", "V1"), ("P", "V0")])

    def names(top: str) -> list[str]:
        levels = disc.hierarchy_below(top)
        return [levels[l].name for l in range(len(levels))]

    assert names("P") == ["P", "V0", "V1", "V2"]
    assert names("V1") == ["V1", "V2"]
    assert names("V2") == ["V2"]
    with pytest.raises(InputError, match="'U' is not in this discretization"):
        disc.hierarchy_below("U")
