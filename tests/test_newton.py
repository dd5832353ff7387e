"""Newton's method in torch: Jacobians are those that Firedrake assembles, a step squares the error, and no energy rises."""

from copy import deepcopy
from pathlib import Path

import firedrake as fd
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import Tensor

from manufactured import evaluate, fields, order
from thalweg import fem, operators, solvers, training
from thalweg.errors import InputError

SMALL_BEAM = {
    "cells": (4, 1),
    "lengths": (1.0, 0.25),
    "refinements": 0,
    "stiffness": {"length": 0.5, "deviation": 0.3},
    "load": {"length": 0.5, "mean": -5e-3, "deviation": 1e-3},
}


def dense(jacobian: fem.Jacobian, entries: Tensor) -> Tensor:
    """``(batch, rows, columns)``."""
    rows, columns = jacobian.shape
    flat = entries.new_zeros(rows * columns, entries.shape[1]).index_add(0, jacobian.rows * columns + jacobian.columns, entries)
    return flat.T.reshape(-1, rows, columns)


def robin(u, v):
    """Diffusion that depends on u and its gradient, with a nonlinear exchange through some sides."""
    return fd.inner((1 + u**2 + fd.dot(fd.grad(u), fd.grad(u))) * fd.grad(u), fd.grad(v)) * fd.dx + u**3 * v * fd.ds((1, 3))


def functions(u, v):
    """Every function that a form may call."""
    a, b = u.dx(0) / 10, fd.tanh(u) / 2
    sums = [
        fd.sin(u),
        fd.cos(a),
        fd.tan(b),
        fd.sinh(b),
        fd.cosh(a),
        fd.exp(b),
        fd.ln(2 + b),
        fd.sqrt(1 + a**2),
        abs(u),
        fd.erf(u),
    ]
    sums += [fd.asin(b), fd.acos(b), fd.atan(u), fd.atan2(u, 2 + b), (1 + a**2) ** b, fd.max_value(u, a), fd.min_value(a, b)]
    return (sum(sums[1:], start=sums[0]) * v + fd.conditional(fd.gt(u, a), u**3, a) * v.dx(1)) * fd.dx(degree=4)


def upwind(u, v):
    """Burgers' flux through the facets of discontinuous elements."""
    n = fd.FacetNormal(u.function_space().mesh())
    flux = fd.avg(u**2) * n("+")[0] + 0.3 * fd.jump(u)
    return -(u**2) * v.dx(0) * fd.dx + flux * fd.jump(v) * fd.dS


CASES = {
    "linear elements": (lambda: fd.FunctionSpace(fd.UnitSquareMesh(3, 2), "CG", 1), robin),
    "quadratic elements on squares": (lambda: fd.FunctionSpace(fd.UnitSquareMesh(2, 2, quadrilateral=True), "CG", 2), robin),
    "all functions": (lambda: fd.FunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 1), functions),
    "discontinuous elements": (lambda: fd.FunctionSpace(fd.UnitSquareMesh(3, 2), "DG", 1), upwind),
    "vectors": (
        lambda: fd.VectorFunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 2),
        lambda u, v: fd.inner(fd.dot(fd.grad(u), u) + fd.inner(u, u) * u, v) * fd.dx + fd.inner(fd.grad(u), fd.grad(v)) * fd.dx,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_jacobian_is_the_assembled_derivative(case: str):
    make, form = CASES[case]
    V = make()
    u = fd.Function(V, name="u")
    F = form(u, fd.TestFunction(V))
    jacobian = fem.Jacobian(fem.compile_form(F, fem.export({"V": V})), "u")
    states = np.random.default_rng(0).standard_normal((2, V.dim()))
    found = dense(jacobian, jacobian(u=torch.from_numpy(states)))
    for state, A in zip(states, found, strict=True):
        u.dat.data_wo[...] = state.reshape(u.dat.data_ro.shape)
        exact = fd.assemble(fd.derivative(F, u), mat_type="aij").petscmat
        torch.testing.assert_close(A, torch.from_numpy(exact[:, :]), atol=1e-12, rtol=1e-12)


def test_block_elimination_solves_what_numpy_solves():
    V = fd.FunctionSpace(fd.UnitSquareMesh(5, 5), "CG", 2)
    u = fd.Function(V, name="u")
    disc = fem.export({"V": V})
    jacobian = fem.Jacobian(fem.compile_form(robin(u, fd.TestFunction(V)), disc), "u")
    generator = torch.Generator().manual_seed(0)
    states, b = torch.randn(2, 3, V.dim(), generator=generator, dtype=torch.float64)
    fixed = disc["V"].boundary_dofs("1")
    x = fem.BlockTridiagonalSolver(jacobian.rows, jacobian.columns, V.dim(), fixed)(jacobian(u=states), b)
    assert (x[:, fixed] == 0).all()
    free = np.setdiff1d(np.arange(V.dim()), fixed.numpy())
    A = dense(jacobian, jacobian(u=states))[:, free][:, :, free]
    torch.testing.assert_close(x[:, free], torch.linalg.solve(A, b[:, free]), atol=1e-9, rtol=1e-9)


@pytest.fixture(scope="module")
def diffusion() -> tuple[fem.Discretization, dict[str, Tensor]]:
    return _solved(solvers.NonlinearDiffusion(4, refinements=0), 3)


@pytest.fixture(scope="module")
def beam() -> tuple[fem.Discretization, dict[str, Tensor]]:
    return _solved(solvers.HyperelasticBeam(**SMALL_BEAM), 2)


def _solved(problem: solvers.Problem, samples: int) -> tuple[fem.Discretization, dict[str, Tensor]]:
    made = []
    for sample in range(samples):
        inputs = problem.random_inputs(np.random.default_rng(sample))
        made.append(fields(inputs | problem.solve(inputs)))
    return problem.export(), {name: torch.stack([sample[name] for sample in made]) for name in made[0]}


class Perturbed(operators.Operator):
    """The solution plus a multiple of a field that vanishes on the boundary."""

    def __init__(self, truth: Tensor, perturbation: Tensor):
        super().__init__()
        self.register_buffer("truth", truth)
        self.register_buffer("perturbation", perturbation)

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"u": self.truth + self.perturbation}


def smooth(disc: fem.Discretization, tags: list[str]) -> Tensor:
    """sin(πx) times a constant vector at the dofs, zero on tagged parts."""
    V = disc["V"]
    values = torch.sin(torch.pi * V.dof_points[:, 0]) * torch.linspace(0.5, 1, V.num_dofs, dtype=torch.float64)
    values[V.boundary_dofs(tags)] = 0
    return values


@pytest.mark.parametrize("problem", ["diffusion", "beam"])
def test_a_correction_squares_the_error_and_keeps_boundary_values(problem: str, request: pytest.FixtureRequest):
    disc, given = request.getfixturevalue(problem)
    tags = ["left", "right"] if problem == "beam" else ["left", "right", "bottom", "top"]
    step = fem.NewtonStep(disc.form("residual"), disc["V"], "u", tags)
    direction, sizes, errors = smooth(disc, tags), [4e-3, 2e-3, 1e-3], []
    for size in sizes:
        corrected = operators.NewtonCorrection(Perturbed(given["u"], size * direction), step).eval()(given)["u"]
        errors.append(float(disc["V"].norm(corrected - given["u"], "H1").max()))
        fixed = disc["V"].boundary_dofs(tags)
        assert torch.equal(corrected[:, fixed], given["u"][:, fixed])
    assert errors[0] < 0.1 * sizes[0] * float(disc["V"].norm(direction, "H1"))
    assert order(errors, sizes) == pytest.approx(2, abs=0.15)


def test_a_correction_raises_no_energy_however_bad_the_prediction_is(beam):
    disc, given = beam
    energy, step = disc.form("extended_energy"), fem.NewtonStep(disc.form("residual"), disc["V"], "u", ["left", "right"])
    improved = 0
    for size in (1e-2, 0.1, 1.0):
        start = Perturbed(given["u"], size * smooth(disc, ["left", "right"]))
        corrected = operators.NewtonCorrection(start, step, steps=2, energy=energy).eval()(given)
        before, after = (evaluate(energy, {**given, **u}) for u in (start(given), corrected))
        assert (after <= before + 3e-6 * before.abs()).all()
        improved += int((after < before).sum())
    assert improved >= 4


def test_an_operator_is_trained_without_its_correction(diffusion):
    disc, given = diffusion
    step = fem.NewtonStep(disc.form("residual"), disc["V"], "u", ["left", "right", "bottom", "top"])
    start = Perturbed(given["u"], 0.1 * smooth(disc, ["left", "right", "bottom", "top"]))
    corrected = operators.NewtonCorrection(start, step)
    assert torch.equal(corrected.train()(given)["u"], start(given)["u"])
    assert not torch.equal(corrected.eval()(given)["u"], start(given)["u"])


def test_a_correction_is_computed_in_single_precision_where_the_network_is_not(diffusion):
    disc, given = diffusion
    tags = ["left", "right", "bottom", "top"]
    step = fem.NewtonStep(deepcopy(disc.form("residual")).float(), disc["V"], "u", tags)
    start = Perturbed(given["u"], 1e-2 * smooth(disc, tags)).float()
    corrected = operators.NewtonCorrection(start, step).eval()
    single = {name: values.float() for name, values in given.items()}
    with torch.autocast("cpu", torch.bfloat16):
        low = corrected(single)["u"]
    assert torch.equal(low, corrected(single)["u"])


def test_a_corrected_operator_is_one_file_for_torch(beam, tmp_path: Path):
    disc, given = beam
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        small = ["operator.operator.processor.channels=8", "operator.operator.processor.blocks=1"]
        config = compose("train", overrides=["experiment=hyperelastic_beam", *small])
    operator = operators.build_operator(OmegaConf.to_container(config.operator, resolve=True), disc.to(torch.float32)).eval()
    single = {name: values.float() for name, values in given.items()}
    operator.set_scales(single)
    operators.export_operator(operator, single, tmp_path / "beam.pt2")
    program, _ = operators.load_exported(tmp_path / "beam.pt2")
    inputs = {name: single[name] for name in ("g", "E", "t")}
    torch.testing.assert_close(program(inputs)["u"], operator(single)["u"], atol=1e-6, rtol=1e-4)


def test_newtons_estimate_trains_as_data_do_where_the_equation_is_linear():
    problem = solvers.Poisson(4, ["left", "right", "bottom", "top"], degree=1, refinements=0)
    disc, given = _solved(problem, 2)
    loss = training.NewtonError(fem.NewtonStep(disc.form("residual"), disc["V"], "u", problem.dirichlet), disc["V"])
    supervised = training.RelativeNorm(disc["V"], "u", "H1")
    u = (given["u"] + smooth(disc, list(problem.dirichlet))).requires_grad_()
    inputs = {name: values for name, values in given.items() if name != "u"}
    values = loss.each({"u": u}, inputs), supervised.each({"u": u}, given)
    torch.testing.assert_close(*values, rtol=1e-9, atol=0)
    gradients = [torch.autograd.grad(value.sum(), u)[0] for value in values]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-10)


def test_newtons_estimate_is_the_error_to_first_order(diffusion):
    disc, given = diffusion
    tags = ["left", "right", "bottom", "top"]
    loss = training.NewtonError(fem.NewtonStep(disc.form("residual"), disc["V"], "u", tags), disc["V"])
    sizes, differences = [0.04, 0.02, 0.01], []
    for size in sizes:
        guess = {"u": given["u"] + size * smooth(disc, tags)}
        exact = training.RelativeNorm(disc["V"], "u", "H1").each(guess, given)
        differences.append(float((loss.each(guess, given) / exact - 1).abs().max()))
    assert differences[-1] < 0.02
    assert order(differences, sizes) == pytest.approx(1, abs=0.2)


def test_forms_and_fields_that_do_not_fit_are_refused(diffusion, beam):
    disc, _ = diffusion
    with pytest.raises(InputError, match=r"no field 'w' .* it has 'f', 'u'|no field 'w' .* it has 'u', 'f'"):
        fem.Jacobian(disc.form("residual"), "w")
    with pytest.raises(InputError, match="A functional has a gradient"):
        fem.Jacobian(beam[0].form("energy"), "u")
    with pytest.raises(InputError, match="Give the space of the unknown"):
        fem.NewtonStep(beam[0].form("residual"), beam[0]["S"], "u")
    with pytest.raises(InputError, match="Every dof is fixed"):
        fem.BlockTridiagonalSolver(torch.arange(2), torch.arange(2), 2, torch.arange(2))
    step = fem.NewtonStep(disc.form("residual"), disc["V"], "u")
    with pytest.raises(InputError, match="An energy is a functional"):
        operators.NewtonCorrection(Perturbed(torch.zeros(1), torch.zeros(1)), step, energy=disc.form("residual"))
    with pytest.raises(InputError, match="needs the field 'f'"):
        operators.NewtonCorrection(Perturbed(torch.zeros(1), torch.zeros(1)), step).eval()({})
