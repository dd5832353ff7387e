"""Exported matrices are those of the calculus: exact sequences, Gram matrices of derivatives, products, projections."""

import pickle

import numpy as np
import pytest
import scipy.sparse
import torch
from torch.autograd import gradcheck, gradgradcheck

from thalweg import fem
from thalweg.errors import InputError
from thalweg.fem.assembly import derivative
from thalweg.fem.firedrake import firedrake

fd = firedrake()
F64 = {"dtype": torch.float64}


def random_field(space, batch=2):
    return torch.randn(batch, space.num_dofs, generator=torch.Generator().manual_seed(0), **F64)


@pytest.fixture(scope="module")
def plane():
    """The two de Rham complexes of the plane, gradient and rotation, rotated gradient and divergence, of second degree."""
    mesh, k = fd.UnitSquareMesh(3, 2), 2
    elements = {"V": ("CG", k), "N": ("N1curl", k), "R": ("RT", k), "Q": ("DG", k - 1)}
    spaces = {name: fd.FunctionSpace(mesh, *element) for name, element in elements.items()}
    return fem.export(spaces, derivatives=[("V", "N"), ("N", "Q"), ("V", "R"), ("R", "Q")])


@pytest.fixture(scope="module")
def solid():
    """The de Rham complex of space, lowest degree."""
    mesh = fd.UnitCubeMesh(1, 2, 1)
    elements = {"V": ("CG", 1), "N": ("N1curl", 1), "R": ("RT", 1), "Q": ("DG", 0)}
    spaces = {name: fd.FunctionSpace(mesh, *element) for name, element in elements.items()}
    return fem.export(spaces, derivatives=[("V", "N"), ("N", "R"), ("R", "Q")])


def composed(disc, a, b, c):
    """The largest entry of the second derivative, relative to those of its factors."""
    first, second = disc.derivative(a, b).to_scipy(), disc.derivative(b, c).to_scipy()
    return abs(second @ first).max() / (abs(second).max() * abs(first).max())


def test_second_derivatives_of_a_complex_vanish(plane, solid):
    for disc, path in ((plane, "VNQ"), (plane, "VRQ"), (solid, "VNR"), (solid, "NRQ")):
        assert composed(disc, *path) < 1e-13


def test_complex_of_a_ball_is_exact(solid):
    V, N, R, Q = (solid[name].num_dofs for name in "VNRQ")
    ranks = [np.linalg.matrix_rank(solid.derivative(*pair).to_scipy().toarray(), 1e-8) for pair in ("VN", "NR", "RQ")]
    # Kernel of the gradient: constants; of each other derivative: the image of the one before; the divergence is onto.
    assert ranks == [V - 1, N - (V - 1), Q]
    assert ranks[1] == R - Q


@pytest.mark.parametrize(("pair", "gram"), [("VN", "stiffness"), ("VR", "stiffness"), ("RQ", "div"), ("NQ", "curl")])
def test_norms_of_derivatives_in_the_plane_are_gram_matrices(plane, pair, gram):
    source, target = (plane[name] for name in pair)
    u = random_field(source)
    du = plane.derivative(*pair)(u)
    torch.testing.assert_close(target.norm(du) ** 2, (source.matrix(gram)(u) * u).sum(-1))


@pytest.mark.parametrize(("pair", "gram"), [("VN", "stiffness"), ("NR", "curl"), ("RQ", "div")])
def test_norms_of_derivatives_in_space_are_gram_matrices(solid, pair, gram):
    source, target = (solid[name] for name in pair)
    u = random_field(source)
    torch.testing.assert_close(target.norm(solid.derivative(*pair)(u)) ** 2, (source.matrix(gram)(u) * u).sum(-1))


def test_derivatives_have_their_signs(plane):
    expected = {"N": (2.0, 3.0), "R": (3.0, -2.0)}
    psi = plane["V"].interpolate(lambda x: 2 * x[:, 0] + 3 * x[:, 1])
    for name, value in expected.items():
        constant = plane[name].interpolate(lambda x, value=value: torch.tensor(value, **F64).expand(len(x), 2))
        torch.testing.assert_close(plane.derivative("V", name)(psi), constant)
    spin = plane["N"].interpolate(lambda x: torch.stack([-x[:, 1], x[:, 0]], -1))
    torch.testing.assert_close(plane.derivative("N", "Q")(spin), torch.full((plane["Q"].num_dofs,), 2.0, **F64))


def test_derivatives_that_leave_the_target_are_refused():
    mesh = fd.UnitSquareMesh(2, 2)
    V, R, Q = fd.FunctionSpace(mesh, "CG", 2), fd.FunctionSpace(mesh, "RT", 1), fd.FunctionSpace(mesh, "DG", 0)
    elsewhere = fd.FunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 1)
    for source, target, message in ((V, R, "are not functions of"), (V, Q, "No gradient"), (elsewhere, R, "same mesh")):
        with pytest.raises(InputError, match=message):
            derivative(source, target)


@pytest.fixture(scope="module")
def two_meshes():
    meshes = fd.UnitSquareMesh(3, 3), fd.UnitSquareMesh(2, 4, diagonal="right")
    spaces = {
        "V": fd.FunctionSpace(meshes[0], "CG", 1),
        "D": fd.FunctionSpace(meshes[0], "DG", 1),
        "W": fd.FunctionSpace(meshes[1], "CG", 2),
    }
    return fem.export(spaces, products=[("D", "V"), ("V", "W"), ("W", "V")]), spaces


def test_products_integrate_products(two_meshes):
    disc, _ = two_meshes
    linear = {name: disc[name].interpolate(lambda x: x[:, 0]) for name in "VDW"}
    for source, target in (("D", "V"), ("V", "W"), ("W", "V")):
        B = disc.product(source, target)
        assert (linear[target] @ B(linear[source])).item() == pytest.approx(1 / 3)
    torch.testing.assert_close(disc.product("V", "W").T(linear["W"]), disc.product("W", "V")(linear["W"]))


def test_projection_is_firedrakes(two_meshes):
    disc, spaces = two_meshes
    project = fem.L2Projection(disc["V"], disc.product("D", "V"))
    x = fd.SpatialCoordinate(spaces["D"].mesh())
    u = fd.Function(spaces["D"]).interpolate(fd.sin(5 * x[0]) * x[1])
    expected = fd.project(u, spaces["V"], solver_parameters={"ksp_type": "preonly", "pc_type": "lu"})
    torch.testing.assert_close(project(torch.tensor(u.dat.data_ro)), torch.tensor(expected.dat.data_ro), atol=1e-12, rtol=0)


def test_projection_between_meshes_keeps_what_both_spaces_hold(two_meshes):
    disc, _ = two_meshes
    linear = {name: disc[name].interpolate(lambda x: 1 - 2 * x[:, 1]) for name in "VW"}
    torch.testing.assert_close(fem.L2Projection(disc["W"], disc.product("V", "W"))(linear["V"]), linear["W"], atol=1e-11, rtol=0)


@pytest.fixture(scope="module")
def solver(two_meshes):
    return fem.MassSolver(two_meshes[0]["V"].mass)


def test_mass_is_inverted_to_rounding(solver, two_meshes):
    u = random_field(two_meshes[0]["V"], 5)
    torch.testing.assert_close(solver(solver.mass(u)), u, atol=1e-12, rtol=0)
    assert torch.equal(solver(torch.zeros_like(u)), torch.zeros_like(u))
    single = fem.MassSolver(fem.SparseMatrix(solver.mass.to_scipy()))
    torch.testing.assert_close(single(solver.mass(u)), u, atol=1e-4, rtol=0)


def test_iterations_belong_to_the_element_not_to_the_mesh():
    masses = [fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(n, n), "CG", 1)})["V"].mass for n in (12, 48)]
    coarse, fine = (fem.MassSolver(mass).iterations for mass in masses)
    assert abs(fine - coarse) <= 4
    assert fine < 35
    assert fem.MassSolver(fem.SparseMatrix(masses[1].to_scipy())).iterations < fine


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize(
    ("element", "copies"), [(("CG", 2), 1), (("RT", 2), 1), (("DG", 1), 1), (("CG", 2, 2), 2), (("CG", 1, 3), 3)]
)
def test_factors_and_iterations_invert_a_mass_matrix(element, copies, dtype, tolerance):
    mesh = fd.UnitSquareMesh(8, 6)
    V = fd.VectorFunctionSpace(mesh, *element[:2], dim=element[2]) if len(element) > 2 else fd.FunctionSpace(mesh, *element)
    space = fem.export({"V": V})["V"]
    solver = fem.MassSolver(fem.SparseMatrix(space.mass.to_scipy(), dtype))
    assert solver.copies == copies
    b = random_field(space, 3).to(dtype)
    columns = b.T.reshape(-1, 3 * copies)
    by_iterations = solver.iterate(columns).reshape(space.num_dofs, 3).T
    for x in (solver(b), by_iterations, pickle.loads(pickle.dumps(solver))(b), solver.double()(b)):
        assert (solver.mass(x.double()) - b).norm() <= tolerance * b.norm()


def test_a_solver_may_be_forgotten_before_its_gradient_is_asked_for(two_meshes):
    space = two_meshes[0]["V"]
    b = random_field(space).requires_grad_()
    fem.MassSolver(space.mass)(b).square().sum().backward()
    solver = fem.MassSolver(space.mass)
    torch.testing.assert_close(b.grad, 2 * solver(solver(b.detach())))


def test_inverse_mass_is_linear_in_every_mode(two_meshes):
    solver = fem.MassSolver(two_meshes[0]["D"].mass)
    b = random_field(two_meshes[0]["D"]).requires_grad_()
    assert gradcheck(solver, b, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(solver, b, fast_mode=True)
    torch.testing.assert_close(torch.vmap(solver)(b), solver(b))
    torch.testing.assert_close(torch.func.jvp(solver, (b,), (2 * b,))[1], 2 * solver(b))
    torch.testing.assert_close(torch.compile(solver, fullgraph=True, backend="aot_eager")(b), solver(b))


def test_indefinite_matrices_are_refused():
    with pytest.raises(InputError, match="positive diagonal"):
        fem.MassSolver(fem.SparseMatrix(scipy.sparse.eye(3) - 2 * scipy.sparse.eye(3)))
    with pytest.raises(InputError, match="do not invert"):
        fem.MassSolver(fem.SparseMatrix(scipy.sparse.csr_matrix([[1.0, 2.0], [2.0, 1.0]]), **F64))
