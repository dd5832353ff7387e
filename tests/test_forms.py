"""Compiled forms are the forms: equal to Firedrake's assembly, with the derivatives that UFL gives them."""

import firedrake as fd
import numpy as np
import pytest
import torch
import ufl

from forms_gallery import CASES, TRIANGLES, Case, random, space
from thalweg import fem
from thalweg.errors import InputError

ONE_FORMS = sorted(name for name in CASES if "energy" not in name and name != "minimal_surface")


def dofs(function):
    """The dofs of a function, a cofunction or a number, those of a mixed one concatenated."""
    if isinstance(function, float):
        return torch.tensor(function, dtype=torch.float64)
    return torch.tensor(np.concatenate([part.dat.data_ro.ravel() for part in function.subfunctions]))


def values(case: Case):
    given = {c.name(): dofs(c) for c in case.form.coefficients()}
    return given | {name: torch.tensor(np.asarray(value), dtype=torch.float64) for name, value in case.constants.items()}


def compiled(case: Case):
    return fem.compile_form(case.form, fem.export(case.spaces))


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("name", CASES)
def test_residual_equals_assembly(name):
    case = CASES[name]()
    assert relative(compiled(case)(**values(case)), dofs(fd.assemble(case.form))) < 1e-12


@pytest.mark.parametrize("name", ["nonlinear_diffusion", "upwind_advection", "neo_hookean", "navier_stokes", "mixed_darcy"])
def test_gradient_and_jacobian_action_equal_the_derivative_of_the_form(name):
    case = CASES[name]()
    F, given = compiled(case), values(case)
    unknown = next(c for c in case.form.coefficients() if c.name() in {"u", "q", "z", "w"})
    direction = random(unknown.function_space(), "direction")
    weights = random(unknown.function_space(), "weights_")

    def residual(x):
        return F(**{**given, unknown.name(): x})

    x = given[unknown.name()]
    _, action = torch.func.jvp(residual, (x,), (dofs(direction),))
    jacobian = fd.derivative(case.form, unknown)
    assert relative(action, dofs(fd.assemble(fd.action(jacobian, direction)))) < 1e-12
    _, pullback = torch.func.vjp(residual, x)
    (gradient,) = pullback(dofs(weights))
    assert relative((gradient * dofs(direction)).sum(), (dofs(weights) * action).sum()) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_taylor_remainder_is_of_second_order(name):
    case = CASES[name]()
    F = compiled(case)
    given = {key: value.requires_grad_() for key, value in values(case).items()}
    generator = torch.Generator().manual_seed(0)
    base = F(**given)
    weights = torch.randn(base.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((base * weights).sum(), list(given.values()))
    steps = [0.01 * torch.randn(value.shape, generator=generator, dtype=torch.float64) for value in given.values()]
    slope = sum((g * s).sum() for g, s in zip(gradients, steps, strict=True))
    remainders = []
    for h in (1.0, 0.5):
        moved = {key: value + h * step for (key, value), step in zip(given.items(), steps, strict=True)}
        remainders.append((((F(**moved) - base) * weights).sum() - h * slope).item())
    linear = abs(remainders[0]) < 1e-11 * base.abs().max().item()
    assert linear or np.log2(abs(remainders[0] / remainders[1])) > 1.7


def test_energy_gradient_is_the_residual():
    case = CASES["neo_hookean_energy"]()
    (u,) = case.form.coefficients()
    disc = fem.export(case.spaces, forms={"energy": case.form, "residual": fd.derivative(case.form, u)})
    x = dofs(u).requires_grad_()
    (gradient,) = torch.autograd.grad(disc.form("energy")(u=x), x)
    assert relative(gradient, disc.form("residual")(u=x)) < 1e-12


def test_two_calls_and_one_backward_linearise_each_at_its_own_point():
    case = CASES["nonlinear_diffusion"]()
    F, u = compiled(case), values(case)["u"]
    points = [u.clone().requires_grad_(), (2 * u).requires_grad_()]
    together = torch.autograd.grad((F(u=points[0]) + F(u=points[1])).sum(), points)
    apart = [torch.autograd.grad(F(u=x).sum(), x)[0] for x in points]
    assert all(torch.equal(a, b) for a, b in zip(together, apart, strict=True))


def test_a_batch_is_its_samples():
    case = CASES["navier_stokes"]()
    F, z = compiled(case), values(case)["z"]
    batch = torch.stack([z, 0.5 * z, -z]).reshape(3, 1, -1)
    Re = torch.tensor([10.0, 40.0], dtype=torch.float64)
    together = F(z=batch, Re=Re)
    assert together.shape == (3, 2, z.numel())
    for i in range(3):
        for j in range(2):
            torch.testing.assert_close(together[i, j], F(z=batch[i, 0], Re=float(Re[j])), rtol=1e-12, atol=1e-13)


def test_vmap_over_constants_is_a_batch():
    case = CASES["elasticity"]()
    F, given = compiled(case), values(case)
    mu = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    mapped = torch.func.vmap(lambda m: F(u=given["u"], mu=m, lmbda=given["lmbda"]))(mu)
    torch.testing.assert_close(mapped, F(u=given["u"], mu=mu, lmbda=given["lmbda"]))


def test_dense_jacobian_is_the_assembled_matrix():
    case = CASES["mixed_darcy"]()
    F, given = compiled(case), values(case)
    unknown = next(c for c in case.form.coefficients() if c.name() == "w")
    matrix = fd.assemble(fd.derivative(case.form, unknown), mat_type="aij").petscmat.convert("dense").getDenseArray()
    for jacobian in (torch.func.jacfwd, torch.func.jacrev):
        found = jacobian(lambda w: F(w=w, K=given["K"]))(given["w"])
        assert relative(found, torch.tensor(matrix)) < 1e-12


def test_double_backward_gives_the_hessian_of_an_energy():
    case = CASES["minimal_surface"]()
    (u,) = case.form.coefficients()
    direction = random(u.function_space(), "direction")
    E = compiled(case)
    _, action = torch.func.jvp(torch.func.grad(lambda x: E(u=x)), (dofs(u),), (dofs(direction),))
    hessian = fd.derivative(fd.derivative(case.form, u), u)
    assert relative(action, dofs(fd.assemble(fd.action(hessian, direction)))) < 1e-12


def test_torch_compile_traces_the_whole_form():
    case = CASES["helmholtz_with_robin_conditions"]()
    F, given = compiled(case), values(case)
    eager = F(**given)
    traced = torch.compile(F, fullgraph=True, backend="aot_eager")
    x = given["u"].clone().requires_grad_()
    torch.testing.assert_close(traced(**{**given, "u": x}), eager)
    (a,) = torch.autograd.grad(traced(**{**given, "u": x}).square().sum(), x)
    (b,) = torch.autograd.grad(F(**{**given, "u": x}).square().sum(), x)
    torch.testing.assert_close(a, b)


def test_unnamed_constants_keep_their_value():
    case = CASES["reaction_with_constants"]()
    assert set(compiled(case).arguments) == {"u", "k", "b"}


def test_single_precision_follows_the_module():
    case = CASES["poisson"]()
    F, given = compiled(case), values(case)
    exact = F(**given)
    single = F.to(torch.float32)(**{name: value.float() for name, value in given.items()})
    assert single.dtype == torch.float32
    assert relative(single.double(), exact) < 1e-5


V = space("CG", 1)
U = fd.Function(V, name="u")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda: fd.TrialFunction(V) * fd.TestFunction(V) * fd.dx, "stands for a matrix"),
        (lambda: fd.Function(space("CG", 2), name="g") * fd.TestFunction(V) * fd.dx, "coefficient 'g'.*was not exported"),
        (lambda: U * fd.TestFunction(space("DG", 0)) * fd.dx, "test function.*was not exported"),
        (lambda: 1j * U * fd.TestFunction(V) * fd.dx, "complex values"),
        (lambda: U * fd.TestFunction(V) * fd.ds(17), r"no such tag. It has 1, 2, 3, 4 for ds"),
        (lambda: U * fd.TestFunction(V) * fd.dx(17), "no such tag"),
        (lambda: U * fd.Function(V, name="u") * fd.TestFunction(V) * fd.dx, "Several coefficients of the form are called 'u'"),
        (lambda: fd.bessel_J(0, U) * fd.TestFunction(V) * fd.dx, "no batched counterpart"),
        (lambda: U * fd.TestFunction(V) * fd.dx == 0, "Equation"),
        (lambda: ufl.cell_avg(U) * fd.TestFunction(V) * fd.dx, "Averages over cells"),
    ],
)
def test_a_form_that_cannot_be_compiled_is_explained(form, message):
    disc = fem.export({"V": V})
    with pytest.raises(InputError, match=message):
        fem.compile_form(form(), disc)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"No value was given for 'u', 'k'.*u \(field in V, shape \(..., 16\)\); k \(constant"),
        ({"u": torch.zeros(16, dtype=torch.float64), "k": 1.0, "f": 1.0}, "no argument 'f'"),
        ({"u": torch.zeros(15, dtype=torch.float64), "k": 1.0}, r"'u' has shape \(15,\)"),
        ({"u": torch.zeros(16), "k": 1.0}, "'u' is torch.float32"),
        ({"u": 1.0, "k": 1.0}, "'u' must be a tensor"),
        ({"u": torch.zeros(2, 16, dtype=torch.float64), "k": torch.zeros(3, dtype=torch.float64)}, "do not broadcast"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message):
    F = fem.compile_form(fd.Constant(1.0, name="k") * U * fd.TestFunction(V) * fd.dx, fem.export({"V": V}))
    with pytest.raises(InputError, match=message):
        F(**arguments)


def test_a_coefficient_on_another_mesh_is_explained():
    other = fd.Function(fd.FunctionSpace(fd.UnitSquareMesh(1, 1), "CG", 1), name="g")
    with pytest.raises(InputError, match="2 meshes"):
        fem.compile_form(other * fd.TestFunction(V) * fd.dx(domain=TRIANGLES), fem.export({"V": V}))
