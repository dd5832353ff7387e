"""Losses made of residuals: dual norms that are the errors they stand for."""

import firedrake as fd
import pytest
import torch

from thalweg import fem
from thalweg.errors import InputError

WHOLE = "on_boundary"


@pytest.fixture(scope="module")
def poisson():
    """Two levels of linear elements below quadratic ones, the residual of −Δu = f, and the discrete solution."""
    meshes = fd.MeshHierarchy(fd.UnitSquareMesh(4, 4), 2)
    V = fd.FunctionSpace(meshes[2], "CG", 2)
    spaces = {"V": V} | {f"V{3 - level}": fd.FunctionSpace(mesh, "CG", 1) for level, mesh in enumerate(meshes)}
    u, v = fd.Function(V, name="u"), fd.TestFunction(V)
    x, y = fd.SpatialCoordinate(meshes[2])
    F = fd.inner(fd.grad(u), fd.grad(v)) * fd.dx - 10 * fd.exp(x) * y * v * fd.dx
    disc = fem.export(spaces, transfers=[("V1", "V"), ("V2", "V1"), ("V3", "V2")], forms={"residual": F})
    fd.solve(F == 0, u, bcs=fd.DirichletBC(V, 0, "on_boundary"))
    return disc, torch.tensor(u.dat.data_ro.copy())


def guesses(disc, batch=3):
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(batch, disc["V"].num_dofs, generator=generator, dtype=torch.float64)
    u[:, disc["V"].boundary_dofs()] = 0
    return u


def riesz(disc, **options):
    return fem.RieszMap(disc.hierarchy("V", "V1", "V2", "V3"), ("stiffness",), WHOLE, **options)


def test_a_converted_riesz_map_holds_every_matrix_once(poisson):
    def storages(module):
        return len({buffer.data_ptr() for buffer in module.buffers()})

    disc, _ = poisson
    B = riesz(disc)
    before = storages(B)
    assert storages(B.float()) == before


def test_dual_norm_of_the_residual_is_the_error_in_the_energy_norm(poisson):
    disc, exact = poisson
    loss = fem.ResidualLoss(disc.form("residual"), riesz(disc, cycles=20))
    u = guesses(disc)
    error = u - exact
    torch.testing.assert_close(loss(u=u), (error * disc["V"].stiffness(error)).sum(-1), rtol=1e-8, atol=0)


def test_one_cycle_is_equivalent_to_the_dual_norm(poisson):
    disc, exact = poisson
    loss = fem.ResidualLoss(disc.form("residual"), riesz(disc))
    smooth, rough = torch.zeros_like(exact)[None], guesses(disc)
    for u in (smooth, rough):
        error = u - exact
        ratio = loss(u=u) / (error * disc["V"].stiffness(error)).sum(-1)
        assert (ratio > 0.7).all()
        assert (ratio < 1 + 1e-12).all()


def test_loss_and_its_gradient_vanish_at_the_solution(poisson):
    disc, exact = poisson
    loss = fem.ResidualLoss(disc.form("residual"), riesz(disc))
    u = exact.clone().requires_grad_()
    value = loss(u=u)
    (gradient,) = torch.autograd.grad(value, u)
    assert value < 1e-20
    assert gradient.abs().max() < 1e-10


def test_loss_is_traced_as_a_whole_and_differentiates_forwards(poisson):
    disc, _ = poisson
    loss = fem.ResidualLoss(disc.form("residual"), riesz(disc))
    u = guesses(disc).requires_grad_()
    value = loss(u=u)
    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(u=u), value)
    direction = torch.randn(u.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    _, slope = torch.func.jvp(lambda x: loss(u=x).sum(), (u.detach(),), (direction,))
    (gradient,) = torch.autograd.grad(value.sum(), u)
    torch.testing.assert_close(slope, (gradient * direction).sum())


def test_riesz_map_is_symmetric_and_ignores_the_dirichlet_boundary(poisson):
    disc, _ = poisson
    B = riesz(disc, cycles=2)
    generator = torch.Generator().manual_seed(1)
    r, s = torch.randn(2, disc["V"].num_dofs, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((r * B(s)).sum(), (s * B(r)).sum())
    assert (B(r)[disc["V"].boundary_dofs()] == 0).all()
    fixed = torch.zeros_like(r)
    fixed[disc["V"].boundary_dofs()] = 1
    assert B.norm(fixed) == 0


def test_h1_dual_norm_without_boundary_conditions_is_a_supremum(poisson):
    disc, _ = poisson
    B = fem.RieszMap(disc.hierarchy("V", "V1", "V2", "V3"), cycles=20)
    r = torch.randn(disc["V"].num_dofs, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    v = torch.randn(50, disc["V"].num_dofs, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert ((v @ r).abs() / disc["V"].norm(v, "H1")).max() <= B.norm(r) * (1 + 1e-10)
    representative = B(r)
    torch.testing.assert_close(representative @ r / disc["V"].norm(representative, "H1"), B.norm(r), rtol=1e-8, atol=0)


def test_singular_inner_product_is_refused(poisson):
    disc, _ = poisson
    with pytest.raises(InputError, match=r"singular on 'V3'.*Dirichlet boundary"):
        fem.RieszMap(disc.hierarchy("V", "V1", "V2", "V3"), ("stiffness",))


def test_a_residual_finer_than_its_riesz_map_is_refused(poisson):
    disc, _ = poisson
    with pytest.raises(InputError, match=r"is torch\.float64, the Riesz map torch\.float32"):
        riesz(disc).float()(guesses(disc))


@pytest.mark.parametrize("levels", [("V3",), ("V2", "V3")])
def test_a_coarser_residual_is_represented_in_the_precision_of_its_map(levels: tuple[str, ...], poisson):
    disc, _ = poisson
    B = fem.RieszMap(disc.hierarchy(*levels), dirichlet=WHOLE)
    r = torch.randn(3, B.num_dofs, generator=torch.Generator().manual_seed(0))
    assert B(r).dtype == torch.float64
    torch.testing.assert_close(B(r), B(r.double()), rtol=1e-6, atol=1e-7)


def test_a_functional_is_no_residual():
    V = fd.FunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 1)
    E = fem.compile_form(fd.Function(V, name="u") ** 2 * fd.dx, fem.export({"V": V}))
    with pytest.raises(InputError, match="is a functional"):
        fem.ResidualLoss(E, torch.nn.Identity())


def test_stokes_residual_in_the_norm_of_a_product():
    mesh = fd.UnitSquareMesh(3, 3)
    V, Q = fd.VectorFunctionSpace(mesh, "CG", 2), fd.FunctionSpace(mesh, "CG", 1)
    z = fd.Function(V * Q, name="z")
    (u, p), (v, q) = fd.split(z), fd.TestFunctions(V * Q)
    F = (fd.inner(fd.grad(u), fd.grad(v)) - p * fd.div(v) - q * fd.div(u)) * fd.dx
    disc = fem.export({"V": V, "Q": Q}, forms={"residual": F})
    velocity = fem.RieszMap(disc.hierarchy("V"), dirichlet=WHOLE)
    maps = fem.ProductRieszMap([velocity, fem.MassSolver(disc["Q"].mass)], [V.dim(), Q.dim()])
    fields = torch.randn(2, V.dim() + Q.dim(), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r = disc.form("residual")(z=fields)
    expected = velocity.norm(r[:, : V.dim()]) ** 2 + (r[:, V.dim() :] * maps.maps[1](r[:, V.dim() :])).sum(-1)
    torch.testing.assert_close(fem.ResidualLoss(disc.form("residual"), maps)(z=fields), expected)
