"""Darcy flow on grids: order, exact values, iteration counts, adjoint gradients."""

from math import pi

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch

from thalweg.errors import DivergedError, InputError
from thalweg.solvers.grid import Darcy, NeumannField, multiscale_trigonometric, threshold
from thalweg.solvers.grid.conductances import apply, coarsened, conductances, interior, prolong_axis, restrict_axis
from thalweg.solvers.grid.conjugate_gradients import conjugate_gradients
from thalweg.solvers.grid.multigrid import Multigrid

f64 = torch.float64


def points(*nodes: int) -> tuple[torch.Tensor, ...]:
    return torch.meshgrid(*(torch.linspace(0, 1, n, dtype=f64) for n in nodes), indexing="ij")


def fields(n: int, samples=range(2), dtype=f64, tau: float = 3) -> torch.Tensor:
    return NeumannField((n - 1, n - 1), alpha=2, tau=tau).sample(0, samples, dtype=dtype)


def manufactured(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """u = sin πx sin 2πy, a = exp(x) + y², f = −aΔu − ∇a·∇u."""
    x, y = points(n, n)
    u, a = torch.sin(pi * x) * torch.sin(2 * pi * y), torch.exp(x) + y**2
    ux, uy = pi * torch.cos(pi * x) * torch.sin(2 * pi * y), 2 * pi * torch.sin(pi * x) * torch.cos(2 * pi * y)
    return tuple(v[None, None] for v in (u, a, 5 * pi**2 * a * u - torch.exp(x) * ux - 2 * y * uy))


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_a_manufactured_solution_is_approached_with_order_two(mean):
    errors = []
    for n in (17, 33, 65):
        u, a, f = manufactured(n)
        errors.append((Darcy((n, n), mean=mean).solve(a, f) - u).abs().max().log2())
    assert errors[0] - errors[1] > 1.9
    assert errors[1] - errors[2] > 1.9


def test_poisson_has_the_known_value_at_the_centre():
    coarse, fine = (
        Darcy((n, n), tolerance=1e-12).solve(torch.ones(1, 1, n, n, dtype=f64))[0, 0, n // 2, n // 2] for n in (65, 129)
    )
    assert abs(fine - 0.0736713532) < 2e-5
    assert abs((4 * fine - coarse) / 3 - 0.0736713532) < 2e-9  # the error is c h²


def test_solutions_are_those_of_an_assembled_matrix():
    nx, ny = 10, 13
    a = fields(11, [0])[..., :nx, :].exp()[0, 0]
    a = torch.cat([a, a[:, :2]], 1).numpy()
    index = np.arange(nx * ny).reshape(nx, ny)
    hx, hy = 2.0 / (nx - 1), 1.0 / (ny - 1)
    edges = []
    for p, q, w in (
        (index[:-1], index[1:], (a[:-1] + a[1:]) / 2 / hx**2),
        (index[:, :-1], index[:, 1:], (a[:, :-1] + a[:, 1:]) / 2 / hy**2),
    ):
        edges.append((p.ravel(), q.ravel(), w.ravel()))
    p, q, w = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    K = scipy.sparse.coo_matrix(
        (np.concatenate([w, w, -w, -w]), (np.concatenate([p, q, p, q]), np.concatenate([p, q, q, p]))), shape=(nx * ny,) * 2
    ).tocsr()
    free = index[1:-1, 1:-1].ravel()
    u = np.zeros(nx * ny)
    u[free] = scipy.sparse.linalg.spsolve(K[free][:, free], np.ones(free.size))
    computed = Darcy((nx, ny), (2.0, 1.0), tolerance=1e-12).solve(torch.tensor(a)[None, None])
    np.testing.assert_allclose(computed[0, 0].numpy().ravel(), u, atol=1e-11)


@pytest.mark.parametrize(
    ("coefficient", "most"),
    [(torch.ones_like, 8), (lambda g: g.exp(), 8), (threshold, 10), (lambda g: threshold(g, above=12, below=2), 11)],
)
def test_iterations_do_not_grow_with_the_grid(coefficient, most):
    counts = [int(Darcy((n, n)).iterations(coefficient(fields(n, dtype=torch.float32))).max()) for n in (50, 65, 129, 211)]
    assert max(counts) <= most
    assert max(counts) - min(counts) <= 2


def test_the_tolerance_holds_for_each_sample_whatever_its_size():
    a = threshold(fields(33, range(3)))
    f = torch.tensor([1.0, 1e-9, 1e9], dtype=f64).reshape(3, 1, 1, 1) * fields(33, range(3, 6))
    darcy = Darcy((33, 33), tolerance=1e-6)
    residual = darcy.residual(darcy.solve(a, f), a, f).flatten(1).norm(dim=1)
    assert (residual < 1.01e-6 * f[..., 1:-1, 1:-1].flatten(1).norm(dim=1)).all()
    assert Darcy((33, 33)).solve(a, torch.zeros_like(a)).count_nonzero() == 0


def test_single_precision_input_gives_the_solution_to_single_precision():
    a = threshold(fields(65, dtype=torch.float32))
    single, double = Darcy((65, 65)).solve(a), Darcy((65, 65)).solve(a.double())
    assert single.dtype == torch.float32
    assert (single - double).norm() < 2e-7 * double.norm()


def test_the_harmonic_mean_carries_the_exact_flux_through_layers():
    n = 22  # the jump lies half way between two nodes
    x = points(n, 3)[0]
    a = torch.where(x < 0.5, 1.0, 12.0)[None, None].to(f64)
    darcy = Darcy((n, 3), (1.0, 1.0), "harmonic", dirichlet=("x0", "x1"), tolerance=1e-12)
    f = torch.zeros_like(a)
    f[..., 5, :] = 21.0  # a unit source per unit width, held by the layers on both sides
    u = darcy.solve(a, f)[0, 0, :, 1]
    resistance = (5 / 21, 0.5 - 5 / 21 + 0.5 / 12)
    torch.testing.assert_close(u[5], torch.tensor(resistance[0] * resistance[1] / sum(resistance), dtype=f64))


def test_sides_without_a_value_are_impermeable():
    n = 33
    x, _ = points(n, n)
    u = Darcy((n, n), dirichlet=("x0",), tolerance=1e-11).solve(torch.ones(1, 1, n, n, dtype=f64))[0, 0]
    torch.testing.assert_close(u, x - x**2 / 2)
    errors = []
    for n in (17, 33):
        x, y = points(n, n)
        exact = torch.sin(pi * x / 2) * torch.cos(pi * y)
        f = (pi**2 / 4 + pi**2) * exact
        errors.append((Darcy((n, n), dirichlet=("x0",)).solve(torch.ones_like(f)[None, None], f[None, None]) - exact).abs().max())
    assert (errors[0] / errors[1]).log2() > 1.9


def test_three_dimensions_have_order_two_as_well():
    errors = []
    for n in (9, 17):
        x, y, z = points(n, n, n)
        u = torch.sin(pi * x) * torch.sin(pi * y) * torch.sin(pi * z)
        a = torch.full_like(u, 2.0)[None, None]
        darcy = Darcy((n, n, n))
        errors.append((darcy.solve(a, 6 * pi**2 * u[None, None]) - u).abs().max())
        assert darcy.iterations(a, u[None, None]).max() < 15
    assert (errors[0] / errors[1]).log2() > 1.9


def test_gradients_are_those_of_finite_differences():
    a, f = fields(7, range(2)).exp().requires_grad_(), fields(7, range(2, 4)).requires_grad_()
    for mean in ("arithmetic", "harmonic"):
        darcy = Darcy((7, 7), mean=mean, tolerance=1e-13)
        assert torch.autograd.gradcheck(darcy.solve, (a, f), fast_mode=True)


def test_second_derivatives_are_those_of_finite_differences():
    a, f = fields(5, [0]).exp().requires_grad_(), fields(5, [1]).requires_grad_()
    assert torch.autograd.gradgradcheck(Darcy((5, 5), tolerance=1e-13, dirichlet=("x0", "y1")).solve, (a, f), fast_mode=True)


def test_the_taylor_remainder_is_of_second_order():
    a, da = fields(33, range(2)).exp(), fields(33, range(2, 4))
    darcy = Darcy((33, 33), tolerance=1e-12)

    def J(a: torch.Tensor) -> torch.Tensor:
        return darcy.solve(a).square().sum()

    gradient = torch.autograd.functional.vjp(J, a)[1]
    remainders = [(J(a + h * da) - J(a) - h * (gradient * da).sum()).abs().log2() for h in (1e-2, 5e-3, 2.5e-3)]
    assert abs(remainders[0] - remainders[1] - 2) < 0.05
    assert abs(remainders[1] - remainders[2] - 2) < 0.05


@pytest.mark.parametrize("n", [8, 9, 10, 11])
def test_restriction_is_the_transpose_of_interpolation(n):
    coarse = torch.eye(len(range(0, n - 1, 2)) + 1, dtype=f64)
    P = torch.stack([prolong_axis(e, 0, n) for e in coarse], 1)
    R = torch.stack([restrict_axis(e, 0) for e in torch.eye(n, dtype=f64)], 1)
    torch.testing.assert_close(R, P.T)
    torch.testing.assert_close(P.sum(1), torch.ones(n, dtype=f64))


def test_every_second_node_of_a_uniform_network_is_a_uniform_network():
    fine, coarse = (conductances(torch.full((1, 1, n, n), 3.0, dtype=f64), (1.0, 1.0), "harmonic") for n in (17, 9))
    for computed, expected in zip(coarsened(fine), coarse, strict=True):
        torch.testing.assert_close(computed, expected)


def test_the_cycle_is_symmetric_and_positive_definite():
    a = threshold(fields(8, [0]))
    network, free = conductances(a, (1.0, 1.0), "arithmetic"), interior((8, 8), ("x0", "x1", "y1"), a)
    unit = torch.eye(64, dtype=f64).reshape(64, 1, 8, 8)[free.flatten() > 0]
    cycle = Multigrid(network, free)
    M = torch.cat([cycle(e[None]) for e in unit]).flatten(1)[:, free.flatten() > 0]
    A = apply(network, unit).flatten(1)[:, free.flatten() > 0]
    torch.testing.assert_close(M, M.T)
    eigenvalues = torch.linalg.eigvals(M @ A).real
    assert eigenvalues.min() > 0.5
    assert eigenvalues.max() < 1.5


def test_published_coefficients_are_their_formulas():
    g = fields(9)
    assert set(threshold(g).unique().tolist()) == {3.0, 12.0}
    assert ((threshold(g) == 12) == (g >= 0)).all()
    a = multiscale_trigonometric(65, 0, range(3), dtype=f64)
    assert torch.equal(a[2:], multiscale_trigonometric(65, 0, [2], dtype=f64))
    assert a.shape == (3, 1, 65, 65)
    torch.testing.assert_close(a[..., 0, 0], torch.full((3, 1), 1.5**6, dtype=f64))
    one = multiscale_trigonometric(65, 0, range(3), scales=1, dtype=f64)[:, 0]
    x, y = points(65, 65)
    frequency = torch.acos(2 * (one[:, 8, 24] - 1)) / pi * 2  # there y = 3x and x + y = 1/2
    assert ((frequency >= 1) & (frequency <= 1.5)).all()
    angle = pi * frequency[:, None, None]
    torch.testing.assert_close(one, (1 + torch.cos(angle * (x + y)) / 2) * (1 + torch.sin(angle * (y - 3 * x)) / 2))


def test_wrong_input_and_divergence_are_explained():
    darcy, a = Darcy((9, 9)), torch.ones(2, 1, 9, 9)
    for wrong in (a[0], a[..., :5], a.int(), -a, a / 0):
        with pytest.raises(InputError):
            darcy.solve(wrong)
    with pytest.raises(InputError):
        darcy.solve(a, torch.ones(1, 1, 9, 9))
    with pytest.raises(InputError, match="sides are x0"):
        Darcy((9, 9), dirichlet=("left",))
    with pytest.raises(InputError, match="constant"):
        Darcy((9, 9), dirichlet=())
    with pytest.raises(InputError, match="mean"):
        Darcy((9, 9), mean="geometric")
    with pytest.raises(DivergedError, match="2 of 2"):
        Darcy((33, 33), max_iterations=2).solve(torch.ones(2, 1, 33, 33))
    with pytest.raises(InputError, match="finite"):
        darcy.solve(a, torch.nan)
    with pytest.raises(DivergedError):
        conjugate_gradients(lambda u: u * torch.nan, a, lambda r: r, 1e-6, 3)
