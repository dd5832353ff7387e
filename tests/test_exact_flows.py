"""Taylor-Hood elements and the time stepper against flows in closed form: fitted orders of convergence."""

import numpy as np
import pytest

from thalweg.errors import DivergedError
from thalweg.solvers.exact_flows import kovasznay_errors, taylor_green_errors


def fitted_orders(sizes: np.ndarray, errors: list[tuple[float, float]]) -> tuple[float, float]:
    velocity, pressure = (np.polyfit(np.log(sizes), np.log(column), 1)[0] for column in np.transpose(errors))
    return velocity, pressure


def test_kovasznay_flow_converges_with_order_three_and_its_pressure_with_two():
    cells = np.array([8, 16, 32])
    velocity, pressure = fitted_orders(1 / cells, [kovasznay_errors(n) for n in cells])
    assert velocity == pytest.approx(3, abs=0.1)
    assert 1.9 < pressure < 2.5


def test_taylor_green_vortices_converge_with_order_three_in_space():
    cells = np.array([8, 16, 32])
    velocity, pressure = fitted_orders(1 / cells, [taylor_green_errors(n, dt=0.005, steps=20) for n in cells])
    assert 2.9 < velocity < 4
    assert 1.9 < pressure < 2.5


def test_taylor_green_vortices_converge_with_order_two_in_time():
    steps = np.array([10, 20, 40])
    errors = [taylor_green_errors(12, 1 / n, n, viscosity=0.5, degree=3) for n in steps]
    velocity, pressure = fitted_orders(1 / steps, errors)
    assert velocity == pytest.approx(2, abs=0.15)
    assert pressure == pytest.approx(2, abs=0.15)


def test_a_step_beyond_the_stability_limit_is_noticed():
    with pytest.raises(DivergedError, match=r"blew up at t = .* with dt = 0\.5"):
        taylor_green_errors(16, 0.5, 100, viscosity=1e-3)
