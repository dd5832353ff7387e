"""Periodic Navier-Stokes in vorticity form: exact solutions, orders, budgets, gradients."""

from itertools import product
from math import exp, pi

import pytest
import torch

from thalweg.errors import DivergedError, InputError
from thalweg.solvers.grid import (
    ARK436,
    ARS443,
    CNRK4,
    PeriodicField,
    VorticityEquation,
    diagonal_forcing,
    kolmogorov_forcing,
    taylor_green,
)
from thalweg.solvers.grid.forcings import grid_points
from thalweg.solvers.grid.runge_kutta import imaginary_limit

f64 = torch.float64


def benchmark(n: int, viscosity: float = 1e-5, dtype: torch.dtype = f64) -> VorticityEquation:
    return VorticityEquation((n, n), viscosity=viscosity, forcing=diagonal_forcing((n, n)), dtype=dtype)


def initial(n: int, samples=range(1), dtype: torch.dtype = f64) -> torch.Tensor:
    return PeriodicField((n, n), alpha=2.5, tau=7).sample(0, samples, dtype=dtype)


@pytest.mark.parametrize("scheme", [ARS443, ARK436])
def test_tableaux_satisfy_the_coupled_order_conditions(scheme):
    s = scheme.stages
    A = [[*map(float, row), *[0.0] * (s - len(row))] for row in scheme.explicit + scheme.implicit]
    AE, AI = torch.tensor(A[:s], dtype=f64), torch.tensor(A[s:], dtype=f64)
    bE, bI = (torch.tensor(list(map(float, b)), dtype=f64) for b in (scheme.explicit_weights, scheme.implicit_weights))
    torch.testing.assert_close(AE.sum(1), AI.sum(1), atol=1e-14, rtol=0)
    c = AE.sum(1)
    for b in (bE, bI):
        conditions = [(b.sum(), 1), (b @ c, 1 / 2), (b @ c**2, 1 / 3)]
        conditions += [(b @ A @ c, 1 / 6) for A in (AE, AI)]
        if scheme.order == 4:
            conditions += [(b @ c**3, 1 / 4)]
            conditions += [(b @ (c * (A @ c)), 1 / 8) for A in (AE, AI)]
            conditions += [(b @ A @ c**2, 1 / 12) for A in (AE, AI)]
            conditions += [(b @ A @ B @ c, 1 / 24) for A, B in product((AE, AI), repeat=2)]
        for value, exact in conditions:
            assert abs(value - exact) < 1e-13


def test_the_low_storage_scheme_has_order_four_where_it_is_explicit_and_two_where_it_is_implicit():
    """u' = cos(t) u, with t as a second unknown, and u' = −u."""

    def error(steps: int, L: list[float]) -> float:
        def N(state: torch.Tensor) -> torch.Tensor:
            return torch.stack([state[0] * state[1].cos() * (1 + L[0]), torch.ones_like(state[1])])

        step = CNRK4.stepper(torch.tensor(L, dtype=f64), N, 1 / steps)
        state = torch.tensor([1.0, 0.0], dtype=f64)
        for _ in range(steps):
            state = step(state)
        return abs(state[0] - (torch.tensor(1.0, dtype=f64).sin().exp() if not L[0] else exp(-1)))

    assert (error(10, [0.0, 0.0]) / error(20, [0.0, 0.0])).log2() > 3.8
    assert abs((error(10, [-1.0, 0.0]) / error(20, [-1.0, 0.0])).log2() - 2) < 0.1


@pytest.mark.parametrize("scheme", [ARS443, ARK436, CNRK4])
def test_steps_grow_from_the_stability_limit_on(scheme):
    """For u' = iyu; no explicit scheme of s stages is stable beyond y = s − 1 (van der Houwen 1977)."""
    limit = imaginary_limit(scheme)
    assert 1.5 < limit < 5
    y = torch.tensor([0.5, 0.99, 1.03], dtype=torch.complex128) * limit
    step = scheme.stepper(torch.zeros_like(y), lambda u: 1j * y * u, 1.0)
    u = torch.ones_like(y)
    for _ in range(200):
        u = step(u)
    assert (u.abs() < 1.001).tolist() == [True, True, False]


@pytest.mark.parametrize("lengths", [(2 * pi, 2 * pi), (1.0, 2.0)])
def test_taylor_green_decays_at_the_exact_rate(lengths):
    nu = 0.05
    flow = VorticityEquation((16, 24), lengths, viscosity=nu, dtype=f64)
    w = taylor_green((16, 24), lengths)[None, None]
    rate = nu * sum((2 * pi / L) ** 2 for L in lengths)
    frames = flow.solve(w, 0.25, 4, dt=0.005)
    for i in range(5):
        torch.testing.assert_close(frames[:, i], w * exp(-rate * 0.25 * i), atol=1e-9, rtol=1e-9)


def test_velocity_of_taylor_green_is_its_velocity():
    flow = VorticityEquation((16, 12), (2 * pi, 2 * pi), viscosity=1.0, dtype=f64)
    x, y = grid_points((16, 12), (2 * pi, 2 * pi))
    velocity = flow.velocity(taylor_green((16, 12))[None, None])
    torch.testing.assert_close(velocity[0], torch.stack([x.cos() * y.sin(), -x.sin() * y.cos()]))


def test_the_nonlinear_term_is_minus_advection():
    flow = VorticityEquation((48, 48), viscosity=1e-12, dtype=f64)
    x, y = (2 * pi * p for p in grid_points((48, 48)))
    w = (torch.sin(x + 2 * y) + torch.cos(3 * x - y))[None, None]
    wx = 2 * pi * (torch.cos(x + 2 * y) - 3 * torch.sin(3 * x - y))
    wy = 2 * pi * (2 * torch.cos(x + 2 * y) + torch.sin(3 * x - y))
    u, v = flow.velocity(w)[0]
    torch.testing.assert_close(flow.rate(w)[0, 0], -(u * wx + v * wy), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("scheme", "dts"),
    [(ARS443, (1 / 40, 1 / 80, 1 / 160)), (ARK436, (1 / 20, 1 / 40, 1 / 80)), (CNRK4, (1 / 20, 1 / 40, 1 / 80))],
)
def test_the_order_in_time_is_the_claimed_one(scheme, dts):
    flow, w = benchmark(24, viscosity=1e-3), 8 * initial(24)
    exact = flow.solve(w, 0.5, 1, dt=1 / 640)[:, 1]
    errors = torch.stack([(flow.solve(w, 0.5, 1, dt=dt, scheme=scheme)[:, 1] - exact).norm() for dt in dts])
    order = ((errors[0] / errors[-1]).log2() / 2).item()
    assert order > scheme.order - 0.2


def test_energy_changes_by_viscosity_drag_and_forcing_only():
    n, nu, drag = 32, 2e-3, 0.1
    flow = VorticityEquation((n, n), viscosity=nu, drag=drag, forcing=5 * diagonal_forcing((n, n)), dtype=f64)
    w = flow.solve(initial(n, range(3)), 0.1, 1, dt=0.01)[:, 1]
    _, dE = torch.autograd.functional.jvp(flow.energy, w, flow.rate(w))
    torch.testing.assert_close(dE, -2 * nu * flow.enstrophy(w) - 2 * drag * flow.energy(w) + flow.power(w))


def test_the_energy_budget_holds_over_time():
    n, nu, dt = 32, 1e-3, 0.01
    flow = VorticityEquation((n, n), viscosity=nu, forcing=diagonal_forcing((n, n)), dtype=f64)
    frames = flow.solve(initial(n), dt, 20, dt=dt)[0]
    E, production = flow.energy(frames), flow.power(frames) - 2 * nu * flow.enstrophy(frames)
    simpson = (production[0] + 4 * production[1:-1:2].sum() + 2 * production[2:-1:2].sum() + production[-1]) * dt / 3
    assert abs(E[-1] - E[0] - simpson) < 1e-7 * abs(E[-1] - E[0])


def test_without_viscosity_energy_and_enstrophy_are_conserved():
    flow = VorticityEquation((32, 32), viscosity=1e-15, dtype=f64)
    w = initial(32)
    for quantity in (flow.energy, flow.enstrophy):
        _, rate = torch.autograd.functional.jvp(quantity, w, flow.rate(w))
        assert abs(rate) < 1e-12 * quantity(w)


def test_laminar_kolmogorov_flow_is_the_balance_of_force_and_viscosity():
    shape, L, nu = (16, 32), (2 * pi, 2 * pi), 0.5
    flow = VorticityEquation(shape, L, viscosity=nu, forcing=kolmogorov_forcing(shape), dtype=f64)
    w = flow.solve(torch.zeros(1, 1, *shape, dtype=f64), 4.0, 1, dt=0.05)[:, 1]
    u, v = flow.velocity(w)[0]
    torch.testing.assert_close(u, torch.sin(4 * grid_points(shape, L)[1]) / (16 * nu), atol=1e-8, rtol=0)
    assert v.abs().max() < 1e-12


def test_resolutions_agree_spectrally():
    x, y = (2 * pi * p for p in grid_points((96, 96)))
    w = (torch.sin(x) * torch.cos(2 * y) + 0.5 * torch.cos(3 * x + y))[None, None]
    fine = benchmark(96, 1e-3).solve(w, 0.5, 1, dt=0.02)[:, 1]
    errors = []
    for n in (16, 32, 48):
        stride = 96 // n
        coarse = benchmark(n, 1e-3).solve(w[..., ::stride, ::stride], 0.5, 1, dt=0.02)[:, 1]
        errors.append(float((coarse - fine[..., ::stride, ::stride]).norm() / coarse.norm()))
    assert errors[1] < 0.05 * errors[0]
    assert errors[2] < 0.01 * errors[1]


def test_the_benchmark_is_converged_in_time_at_5e_3():
    flow, w = benchmark(32), initial(32)
    frames, finer = (flow.solve(w, 1.0, 1, dt=dt)[:, 1:] for dt in (5e-3, 1e-3))
    assert (frames - finer).norm() < 1e-7 * finer.norm()


def test_single_precision_agrees_with_double():
    w = initial(32, range(2))
    double = benchmark(32).solve(w, 0.5, 1, dt=0.01)[:, 1]
    single = benchmark(32, dtype=torch.float32).solve(w.float(), 0.5, 1, dt=0.01)[:, 1]
    assert (single - double).norm() < 1e-5 * double.norm()


def test_each_sample_may_have_its_own_forcing():
    forcing, w = torch.stack([a * diagonal_forcing((16, 16)) for a in (1, 5)])[:, None], initial(16, range(2))
    both = VorticityEquation((16, 16), viscosity=1e-3, forcing=forcing, dtype=f64).solve(w, 0.1, 1, dt=0.02)
    for i in range(2):
        one = VorticityEquation((16, 16), viscosity=1e-3, forcing=forcing[i, 0], dtype=f64).solve(w[i : i + 1], 0.1, 1, dt=0.02)
        torch.testing.assert_close(both[i : i + 1], one)


def test_each_sample_may_have_its_own_viscosity():
    nu, w = torch.tensor([1e-3, 1e-2], dtype=f64, requires_grad=True), initial(16, range(2))
    both = VorticityEquation((16, 16), viscosity=nu, dtype=f64).solve(w, 0.1, 1, dt=0.02)
    for i in range(2):
        one = VorticityEquation((16, 16), viscosity=float(nu[i].detach()), dtype=f64).solve(w[i : i + 1], 0.1, 1, dt=0.02)
        torch.testing.assert_close(both[i : i + 1].detach(), one)

    def end(nu: torch.Tensor) -> torch.Tensor:
        return VorticityEquation((16, 16), viscosity=nu, dtype=f64).solve(w, 0.1, 1, dt=0.05)[:, 1, :, ::5, ::5]

    assert torch.autograd.gradcheck(end, (nu,))


def test_checkpointed_segments_give_the_same_gradients_with_less_memory():
    flow, w = benchmark(16), initial(16).requires_grad_()
    stored, gradients = [], []
    for segment in (None, 6):
        count = [0]

        def pack(t: torch.Tensor, count: list[int] = count) -> torch.Tensor:
            count[0] += t.numel()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            loss = flow.solve(w - w.mean(), 0.6, 2, dt=0.02, segment=segment).square().sum()
        stored.append(count[0])
        gradients.append(torch.autograd.grad(loss, w)[0])
    assert stored[1] < stored[0] / 20
    torch.testing.assert_close(gradients[1], gradients[0])


def test_frames_at_given_times_are_those_of_equal_intervals():
    flow, w = benchmark(16), initial(16)
    frames = flow.solve(w, 0.1, 5, dt=0.02)
    torch.testing.assert_close(flow.solve_at(w, (1.0, 1.1, 1.3, 1.5), dt=0.02), frames[:, [0, 1, 3, 5]], atol=1e-12, rtol=0)
    with pytest.raises(InputError, match="increasing"):
        flow.solve_at(w, (0.0, 0.0), dt=0.02)


def test_an_equation_changes_its_precision_as_a_module():
    w = initial(16)
    flow = benchmark(16, dtype=torch.float32)
    single = flow.solve(w.float(), 0.1, 1, dt=0.05)
    torch.testing.assert_close(flow.to(f64).solve(w, 0.1, 1, dt=0.05).float(), single, atol=1e-5, rtol=0)


def test_samples_of_a_batch_do_not_touch_each_other():
    flow, w = benchmark(24), initial(24, range(3))
    torch.testing.assert_close(flow.solve(w, 0.1, 2, dt=0.01)[1:2], flow.solve(w[1:2], 0.1, 2, dt=0.01), atol=1e-13, rtol=0)


@pytest.mark.parametrize("scheme", [ARS443, ARK436, CNRK4])
def test_gradients_match_finite_differences(scheme):
    forcing = diagonal_forcing((8, 6)).requires_grad_()

    def final(w: torch.Tensor, forcing: torch.Tensor) -> torch.Tensor:
        flow = VorticityEquation((8, 6), viscosity=1e-2, forcing=forcing, dtype=f64)
        return flow.solve(w - w.mean(), 0.1, 1, dt=0.05, scheme=scheme)[:, 1]

    w = 5 * PeriodicField((8, 6), alpha=2.5, tau=7).sample(0, [0], dtype=f64)
    assert torch.autograd.gradcheck(final, (w.requires_grad_(), forcing))


def test_frames_start_with_the_dealiased_initial_field_and_hold_their_shape():
    w = initial(16, range(2))
    frames = benchmark(16).solve(w, 0.3, 3, dt=0.1)
    assert frames.shape == (2, 4, 1, 16, 16)
    spectrum = torch.fft.rfft2(frames[:, 0])
    assert spectrum[..., 6:11, :].abs().max() < 1e-12  # |k| > 16/3 along x
    torch.testing.assert_close(spectrum[..., :6, :6], torch.fft.rfft2(w)[..., :6, :6])


def test_wrong_input_and_divergence_are_explained():
    flow, w = benchmark(16), initial(16)
    for wrong in (w[0], w[..., :8], w.float(), torch.ones_like(w)):
        with pytest.raises(InputError):
            flow.solve(wrong, 1.0, 1, dt=0.1)
    with pytest.raises(InputError, match="dt"):
        flow.solve(w, 1.0, 1, dt=0.0)
    for nu in (0.0, torch.tensor([1.0, -1.0])):
        with pytest.raises(InputError, match="positive"):
            VorticityEquation((8, 8), viscosity=nu)
    with pytest.raises(InputError, match="viscosity"):
        VorticityEquation((16, 16), viscosity=torch.ones(2), dtype=f64).solve(w, 1.0, 1, dt=0.1)
    with pytest.raises(InputError, match="segments"):
        flow.solve(w, 1.0, 1, dt=0.1, segment=0)
    with pytest.raises(InputError, match="forcing"):
        VorticityEquation((8, 8), viscosity=1.0, forcing=torch.zeros(4, 4))
    with pytest.raises(DivergedError, match="stable up to"):
        flow.solve(1e6 * w, 10.0, 1, dt=1.0)
