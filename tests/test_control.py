"""Control: gradients pass Taylor tests, optima are those that are known, and an optimisation goes on where it stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from test_examples import example
from thalweg import control
from thalweg.errors import DivergedError, FileError, InputError
from thalweg.solvers.grid import StaggeredFlow, Wall

HILBERT = torch.tensor([[1 / (i + j + 1) for j in range(4)] for i in range(4)], dtype=torch.float64)
TARGET = torch.tensor([1.0, -2.0, 3.0, -4.0], dtype=torch.float64)


def quadratic(**bounds) -> control.TorchFunctional:
    """½ (m − t)ᵀ H (m − t) for a badly conditioned H."""

    def objective(m: dict[str, torch.Tensor]) -> torch.Tensor:
        return 0.5 * (m["m"] - TARGET) @ HILBERT @ (m["m"] - TARGET)

    return control.TorchFunctional(objective, [control.Control("m", np.zeros(4), **bounds)], torch.float64)


def test_a_quadratic_is_minimised_to_its_target():
    found = control.minimize(quadratic(), 200, tolerance=1e-12)
    assert found.converged
    assert np.allclose(found.controls["m"], TARGET, atol=1e-4)


def test_bounds_hold_and_the_rest_is_optimal():
    found = control.minimize(quadratic(low=-1.0, high=1.0), 200, tolerance=1e-12)
    m = found.controls["m"]
    slope = HILBERT.numpy() @ (m - TARGET.numpy())
    assert ((m >= -1) & (m <= 1)).all()
    assert (slope[m == 1] <= 1e-9).all()
    assert (slope[m == -1] >= -1e-9).all()
    assert np.abs(slope[np.abs(m) < 1]).max(initial=0) < 1e-8


def test_descent_keeps_to_the_bounds_and_returns_the_best():
    found = control.descend(quadratic(low=-1.0, high=1.0), iterations=300)
    bounded = control.minimize(quadratic(low=-1.0, high=1.0), 200, tolerance=1e-12)
    assert found.value == pytest.approx(bounded.value, rel=1e-3)
    assert np.abs(found.controls["m"]).max() <= 1


def test_several_controls_of_different_units_meet_on_equal_terms():
    def objective(m: dict[str, torch.Tensor]) -> torch.Tensor:
        return (m["speed"] - 3).square().sum() + (m["force"] * 1e4 - 2).square().sum()

    controls = [control.Control("speed", np.zeros(())), control.Control("force", np.zeros((2, 2)), scale=1e-4)]
    found = control.minimize(control.TorchFunctional(objective, controls, torch.float64))
    assert found.iterations <= 3
    assert found.controls["speed"] == pytest.approx(3)
    assert np.allclose(found.controls["force"], 2e-4)


def test_the_taylor_test_tells_right_gradients_from_wrong_ones():
    class Wrong(control.TorchFunctional):
        def value_and_gradient(self, values):
            J, gradient = super().value_and_gradient(values)
            return J, {name: 1.01 * g for name, g in gradient.items()}

    def objective(m: dict[str, torch.Tensor]) -> torch.Tensor:
        return m["m"].sin().sum() ** 2

    rng = np.random.default_rng(0)
    at, direction = {"m": rng.standard_normal(3)}, {"m": rng.standard_normal(3)}
    m = [control.Control("m", np.zeros(3))]
    assert control.taylor_test(control.TorchFunctional(objective, m, torch.float64), at, direction).min() > 1.9
    assert control.taylor_test(Wrong(objective, m, torch.float64), at, direction).max() < 1.5


def test_gradients_through_a_staggered_flow_pass_the_taylor_test():
    flow = StaggeredFlow((8, 8), viscosity=0.05, sides={"y0": Wall(), "y1": Wall()}, dtype=torch.float64)

    def objective(m: dict[str, torch.Tensor]) -> torch.Tensor:
        u, v = flow.at_rest()
        start = flow.project((u + m["u"], v))
        u, v = flow.solve(start, 0.1, 1, dt=0.02)
        return (u[:, -1] ** 2).sum() + (v[:, -1] ** 2).sum()

    rng = np.random.default_rng(1)
    m = [control.Control("u", rng.standard_normal((1, 1, 9, 8)))]
    m[0].initial[:, :, -1] = m[0].initial[:, :, 0]
    functional = control.TorchFunctional(objective, m, torch.float64)
    direction = rng.standard_normal((1, 1, 9, 8))
    direction[:, :, -1] = direction[:, :, 0]
    assert control.taylor_test(functional, {"u": m[0].initial}, {"u": direction}).min() > 1.9


def test_stokes_boundary_control_finds_the_known_optimum(tmp_path: Path):
    result = example("stokes_boundary_control")["main"](cells=4, folder=str(tmp_path))
    assert (tmp_path / "stokes_boundary_control.png").stat().st_size > 10_000
    assert result["distance"] < 0.01
    assert result["controlled"] < 0.99 * result["uncontrolled"]


def test_gradients_through_firedrake_pass_the_taylor_test():
    flow = control.StokesLid(4)
    rng = np.random.default_rng(2)
    functional = flow.functional("firedrake")
    at, direction = ({"g": rng.standard_normal(len(flow.dofs))} for _ in range(2))
    assert control.taylor_test(functional, at, direction).min() > 1.99


def test_the_flow_through_ellipses_and_its_derivative_are_exact():
    """∫ u = πa³b³/(4(a² + b²)) with semi-axes a and b, which the mesh's coordinates are controlled to have."""
    duct = control.DuctShape(modes=1, refinements=2, start=())
    x = duct.coordinates(torch.zeros(2, 1, dtype=torch.float64)).reshape(-1, 2)
    x = x / x.norm(dim=1).max()
    axes = [control.Control("axes", np.array([1.3, 0.8]))]
    functional = control.ParametrizedFunctional(
        duct.functional_of_coordinates(), lambda m: {"x": (x * m["axes"]).flatten()}, axes
    )
    a, b = 1.3, 0.8
    Q = np.pi * a**3 * b**3 / (4 * (a**2 + b**2))
    loss, gradient = functional.value_and_gradient({"axes": np.array([a, b])})
    assert loss == pytest.approx(1 - 8 * Q / np.pi, abs=2e-5)
    slope = -8 / np.pi * Q * np.array([3 / a - 2 * a / (a**2 + b**2), 3 / b - 2 * b / (a**2 + b**2)])
    assert gradient["axes"] == pytest.approx(slope, rel=2e-4)
    with pytest.raises(DivergedError, match="may fold"):
        duct.functional("firedrake")({"c": np.array([[0.6], [0.0]])})
    with pytest.raises(InputError, match="may fold at start"):
        control.DuctShape(start=(0.3, 0.3))


def test_shape_optimisation_finds_the_disc_and_the_best_oval(tmp_path: Path):
    result = example("duct_shape")["main"](modes=4, refinements=1, folder=str(tmp_path))
    assert result["taylor"] > 1.99
    for duct in ("free", "oval"):
        assert result[duct] == pytest.approx(result[f"{duct}, exact"], rel=4e-3)  # on 32 curved triangles
        assert result[f"{duct}, exact"] == pytest.approx(result[f"{duct}, optimum"], rel=1e-4)
    assert result["oval, optimum"] < result["start"] < 0.98 < 0.9999 < result["free, exact"]
    assert (tmp_path / "duct_shape.png").stat().st_size > 10_000


def test_an_optimisation_goes_on_from_its_folder(tmp_path: Path):
    first = control.minimize(quadratic(), 3, tolerance=0, folder=tmp_path)
    again = control.minimize(quadratic(), 200, tolerance=1e-12, folder=tmp_path, resume=True)
    assert again.initial_value == pytest.approx(first.value)
    assert again.iterations > first.iterations
    rows = [json.loads(line) for line in (tmp_path / control.HISTORY).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(again.iterations + 1))
    assert rows[0]["value"] == first.initial_value
    done = control.minimize(quadratic(), again.iterations, folder=tmp_path, resume=True)
    assert (done.iterations, done.value) == (again.iterations, pytest.approx(again.value))
    assert np.allclose(again.controls["m"], TARGET, atol=1e-3)


def test_an_interrupted_descent_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path):
    whole = control.descend(quadratic(low=-1.5), iterations=30, folder=tmp_path / "whole")
    control.descend(quadratic(low=-1.5), iterations=11, folder=tmp_path / "parts")
    with (tmp_path / "parts" / control.HISTORY).open("a") as history:  # stopped after the row, before the state
        history.write(json.dumps({"step": 12, "value": 0.0, "gradient": 0.0, "evaluations": 12, "seconds": 0.0}) + "\n")
    parts = control.descend(quadratic(low=-1.5), iterations=30, folder=tmp_path / "parts", resume=True)
    assert np.array_equal(parts.controls["m"], whole.controls["m"])
    assert parts.value == whole.value
    with np.load(tmp_path / "whole" / control.CONTROLS) as a, np.load(tmp_path / "parts" / control.CONTROLS) as b:
        assert np.array_equal(a["m"], b["m"])
    rows = [
        [(row["step"], row["value"]) for row in map(json.loads, (tmp_path / name / control.HISTORY).read_text().splitlines())]
        for name in ("whole", "parts")
    ]
    assert rows[0] == rows[1]
    # Another search goes on from the controls, and leaves no state of an optimiser that has not made its steps.
    on = control.minimize(quadratic(low=-1.5), 40, tolerance=1e-12, folder=tmp_path / "parts", resume=True)
    assert on.value < whole.value
    assert control.descend(quadratic(low=-1.5), iterations=80, folder=tmp_path / "parts", resume=True).value <= on.value


def test_a_line_search_that_leaves_the_models_domain_takes_shorter_steps():
    """log m − m on m > 0 from a point where the first steps lead far below zero; the optimum is m = 1."""

    def objective(m: dict[str, torch.Tensor]) -> torch.Tensor:
        return (m["m"] - m["m"].log()).sum()  # NaN for m < 0

    start = [control.Control("m", np.array([5.0, 0.02]), scale=[5.0, 20.0])]
    found = control.minimize(control.TorchFunctional(objective, start, torch.float64), 100)
    assert found.converged
    assert np.allclose(found.controls["m"], 1, atol=1e-6)


def test_a_model_without_a_solution_at_the_start_is_an_error():
    with pytest.raises(DivergedError, match="left the finite numbers"):
        control.minimize(
            control.TorchFunctional(lambda m: m["m"].log().sum(), [control.Control("m", -np.ones(1))], torch.float64)
        )


def test_searches_with_one_absolute_tolerance_end_equally_near():
    def search(start: float, **tolerance: float) -> control.Minimum:
        functional = quadratic()
        functional.controls = control.Controls([control.Control("m", TARGET.numpy() + start)])
        return control.minimize(functional, 200, **tolerance)

    def slope(found: control.Minimum) -> float:
        return float(np.abs(HILBERT.numpy() @ (found.controls["m"] - TARGET.numpy())).max())

    near, far = (search(start, tolerance=0.0, absolute_tolerance=1e-3) for start in (0.1, 1e3))
    assert near.converged
    assert far.converged
    assert max(slope(near), slope(far)) <= 1e-3
    assert slope(search(1e3, tolerance=1e-4)) > 1e-3  # a share of a large slope at the start
    with pytest.raises(InputError, match="negative"):
        control.minimize(quadratic(), tolerance=-1.0)


def test_wrong_input_is_explained(tmp_path: Path):
    with pytest.raises(InputError, match="within its bounds"):
        control.Control("m", np.zeros(3), low=1.0)
    with pytest.raises(InputError, match="broadcast"):
        control.Control("m", np.zeros(3), high=np.ones(2))
    with pytest.raises(InputError, match="scale"):
        control.Control("m", np.zeros(3), scale=0.0)
    with pytest.raises(InputError, match=r"'m' of shape \(4,\) is expected"):
        quadratic().controls.pack({"m": np.zeros(3)})
    with pytest.raises(FileError, match="no optimisation to resume"):
        control.minimize(quadratic(), folder=tmp_path / "none", resume=True)
    m = [control.Control("m", np.ones(1))]
    with pytest.raises(DivergedError, match="left the finite numbers"):
        control.minimize(control.TorchFunctional(lambda m: (m["m"] / 0).sum(), m))
