"""Random numbers and Gaussian random fields on grids, against published vectors and the covariance formula."""

from math import cos, pi

import pytest
import torch

from thalweg.errors import InputError
from thalweg.solvers.grid import DirichletField, NeumannField, PeriodicField
from thalweg.solvers.grid.counter_random import normal_pairs, philox, uniform_pairs
from thalweg.solvers.grid.transforms import cosine_coefficients, cosine_series, sine_series

FIELDS = [PeriodicField, NeumannField, DirichletField]
f64 = torch.float64


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, words):
    computed = philox([torch.tensor(c) for c in counter], [torch.tensor(k) for k in key])
    assert tuple(int(w) for w in computed) == words


def test_normal_variates_have_the_moments_of_the_normal_distribution():
    x = torch.cat(normal_pairs(3, range(50), [torch.arange(4000)])).flatten()
    assert abs(x.mean()) < 4 / x.numel() ** 0.5
    assert abs(x.pow(2).mean() - 1) < 4 * (2 / x.numel()) ** 0.5
    assert abs(x.pow(4).mean() - 3) < 4 * (96 / x.numel()) ** 0.5


def test_uniform_variates_fill_the_unit_interval_evenly():
    x = torch.cat(uniform_pairs(0, range(10), [torch.arange(5000)])).flatten()
    counts = torch.histc(x, 20, 0, 1)
    assert ((counts - 5000) ** 2 / 5000).sum() < 50  # chi squared with 19 degrees of freedom


@pytest.mark.parametrize("centred", [False, True])
def test_series_are_the_sums_they_stand_for(centred):
    N, c = 6, torch.randn(3, 7, dtype=f64, generator=torch.Generator().manual_seed(0))
    x = (torch.arange(N if centred else N + 1, dtype=f64) + 0.5 * centred) / N
    angle = pi * torch.arange(N + 1, dtype=f64)[:, None] * x
    torch.testing.assert_close(cosine_series(c, 1, centred), c @ angle.cos())
    torch.testing.assert_close(sine_series(c, 1, centred), c @ angle.sin())
    torch.testing.assert_close(cosine_series(c.T, 0, centred), (c @ angle.cos()).T)


@pytest.mark.parametrize("centred", [False, True])
def test_cosine_coefficients_invert_the_series(centred):
    u = torch.randn(2, 9, 3, dtype=f64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cosine_series(cosine_coefficients(u, 1, centred), 1, centred), u)


@pytest.mark.parametrize("Field", FIELDS)
def test_a_sample_depends_on_seed_and_number_alone(Field):
    field = Field((16, 12), alpha=2.5, tau=7)
    batch = field.sample(1, range(5))
    assert torch.equal(batch[3:4], field.sample(1, [3]))
    assert not torch.allclose(batch[3:4], field.sample(2, [3]))
    assert not torch.allclose(batch[3:4], field.sample(1, [3], stream=1))
    assert batch.shape[:2] == (5, 1)
    assert batch.dtype == torch.float32


@pytest.mark.parametrize("Field", FIELDS)
def test_grids_show_the_same_function(Field):
    # With alpha = 12 all that the coarse grid lacks is below the tolerance.
    coarse, fine = (Field((n, n), alpha=12, tau=5).sample(0, range(2), dtype=f64) for n in (32, 64))
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, atol=1e-7 * float(fine.abs().max()), rtol=0)


@pytest.mark.parametrize("Field", FIELDS)
def test_centres_lie_between_the_nodes(Field):
    nodes = Field((16, 16), alpha=12, tau=5).sample(0, [0], dtype=f64)
    centres = Field((8, 8), alpha=12, tau=5, centred=True).sample(0, [0], dtype=f64)
    error = (nodes[..., 1:17:2, 1:17:2] - centres).abs().max() / nodes.abs().max()
    assert error < 2e-3


def test_periodic_covariance_is_the_fourier_sum_of_the_spectrum():
    tau, alpha, n, samples = 7.0, 2.5, 32, 3000
    u = PeriodicField((n, n), alpha=alpha, tau=tau).sample(0, range(samples), dtype=f64)[:, 0]
    modes = range(-n // 2 + 1, n // 2)
    eigenvalue = {
        (k, l): tau**3 * (4 * pi**2 * (k * k + l * l) + tau**2) ** -alpha for k in modes for l in modes if (k, l) != (0, 0)
    }
    variance = sum(eigenvalue.values())
    for shift in [(0, 0), (3, 0), (5, 7)]:
        exact = sum(v * cos(2 * pi * (k * shift[0] + l * shift[1]) / n) for (k, l), v in eigenvalue.items())
        empirical = (u * u.roll(shift, (1, 2))).mean((1, 2))
        assert abs(empirical.mean() - exact) < 4 * empirical.std() / samples**0.5
    assert abs(variance - u.var()) < 0.05 * variance


def test_each_periodic_mode_has_its_eigenvalue_as_its_variance():
    field = PeriodicField((8, 8), (2.0, 1.0), alpha=2, tau=4, zero_mode=True)
    u = field.sample(5, range(4000), dtype=f64)[:, 0]
    power = torch.fft.rfft2(u, norm="forward").abs().square().mean(0) * 2.0  # orthonormal on an area of 2
    kept = field.eigenvalues > 0
    torch.testing.assert_close(power[kept], field.eigenvalues[kept], rtol=0.12, atol=0)
    assert power[~kept].abs().max() < 1e-25


@pytest.mark.parametrize("tau", [20, 40])
def test_the_default_amplitude_makes_the_variance_independent_of_tau(tau):
    eigenvalues = PeriodicField((512, 512), alpha=2.5, tau=tau, zero_mode=True).eigenvalues
    variance = eigenvalues[..., 0].sum() + 2 * eigenvalues[..., 1:].sum()
    assert abs(variance * 4 * pi * 1.5 - 1) < 1e-3


def test_neumann_covariance_is_that_of_the_cosine_expansion():
    tau, alpha, n, samples = 3.0, 2.0, 16, 4000
    u = NeumannField((n, n), alpha=alpha, tau=tau).sample(0, range(samples), dtype=f64)[:, 0]
    k = torch.arange(n, dtype=f64)
    eigenvalue = tau ** (2 * alpha - 2) * (pi**2 * (k[:, None] ** 2 + k**2) + tau**2) ** -alpha
    eigenvalue[0, 0] = 0
    phi = torch.cos(pi * k[:, None] * torch.arange(n + 1, dtype=f64) / n) * torch.where(k == 0, 1.0, 2.0**0.5)[:, None]
    for (i, j), (p, q) in [((0, 0), (0, 0)), ((8, 8), (8, 8)), ((2, 3), (9, 4))]:
        exact = torch.einsum("kl,k,l,k,l", eigenvalue, phi[:, i], phi[:, j], phi[:, p], phi[:, q])
        products = u[:, i, j] * u[:, p, q]
        assert abs(products.mean() - exact) < 4 * products.std() / samples**0.5


def test_without_the_zero_mode_each_sample_has_mean_zero():
    periodic, neumann = PeriodicField((16, 16), alpha=2.5, tau=7), NeumannField((16, 16), alpha=2.5, tau=7, centred=True)
    for field in (periodic, neumann):
        assert field.sample(0, range(4), dtype=f64).mean((-1, -2)).abs().max() < 1e-14
    assert PeriodicField((16, 16), alpha=2.5, tau=7, zero_mode=True).sample(0, [0]).mean().abs() > 1e-3


def test_boundary_values_and_slopes_vanish():
    dirichlet = DirichletField((16, 12), alpha=3, tau=3).sample(0, range(3))
    assert torch.count_nonzero(dirichlet[..., [0, -1], :]) == torch.count_nonzero(dirichlet[..., [0, -1]]) == 0
    assert dirichlet.abs().max() > 0.01
    slopes = []
    for n in (64, 128):
        u = NeumannField((n, n), alpha=8, tau=3).sample(0, range(3), dtype=f64)
        slopes.append(float((u[..., 1, :] - u[..., 0, :]).abs().max()) * n)
    assert slopes[1] < 0.55 * slopes[0]  # the one-sided difference of an even function falls like h


def test_fields_exist_in_one_and_three_dimensions():
    assert PeriodicField((16,), alpha=2, tau=3).sample(0, range(2)).shape == (2, 1, 16)
    assert DirichletField((4, 6, 8), alpha=2, tau=3).sample(0, range(2)).shape == (2, 1, 5, 7, 9)
    u = PeriodicField((8, 8, 8), alpha=2, tau=3).sample(0, range(800), dtype=f64)
    exact = PeriodicField((8, 8, 8), alpha=2, tau=3).eigenvalues
    both = exact[..., 0].sum() + 2 * exact[..., 1:].sum()
    assert abs(u.square().mean() - both) < 0.05 * both


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PeriodicField((8, 1), alpha=2, tau=3),
        lambda: PeriodicField((8, 8), (1.0,), alpha=2, tau=3),
        lambda: NeumannField((8, 8), alpha=-1, tau=3),
        lambda: DirichletField((8, 8), alpha=2, tau=3, zero_mode=True),
        lambda: PeriodicField((8, 8), alpha=2, tau=3).sample(-1, [0]),
        lambda: PeriodicField((8, 8), alpha=2, tau=3).sample(0, []),
    ],
)
def test_impossible_fields_are_explained(wrong):
    with pytest.raises(InputError):
        wrong()


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize(("cells", "lengths"), [((9,), (2.0,)), ((8, 6), (1.0, 3.0)), ((4, 6, 5), (1.0, 2.0, 1.5))])
def test_samples_evaluated_at_the_nodes_are_those_of_the_fast_transforms(kind, cells, lengths):
    field = kind(cells, lengths, alpha=2, tau=3)
    on_grid = field.sample(5, [0, 3], stream=2, dtype=f64)
    axes = [torch.arange(n, dtype=f64) * L / c for n, L, c in zip(on_grid.shape[2:], lengths, cells, strict=True)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(cells))
    torch.testing.assert_close(field.evaluate(points, 5, [0, 3], stream=2), on_grid.flatten(1), atol=1e-13, rtol=0)
    with pytest.raises(InputError, match="shape"):
        field.evaluate(points[:, :0], 5, [0])
