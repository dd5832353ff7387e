"""Cycles for a weak form: its derivative on every level, convergence to Firedrake's solutions, exact values, and gradients."""

from itertools import pairwise
from typing import Any

import firedrake as fd
import numpy as np
import pytest
import torch
from torch import Tensor

from thalweg import fem, operators, solvers
from thalweg.errors import InputError
from thalweg.operators.form_levels import FormLevels
from thalweg.operators.minimal_residual import MinimalResidual


class Form:
    """A form in u, and perhaps a field c, on squares of some width, refined; with the linear system that Firedrake makes of it."""

    def __init__(self, form: Any, cells: int = 3, refinements: int = 1, components: int = 1):
        mesh = fd.MeshHierarchy(fd.UnitSquareMesh(cells, cells), refinements)
        self.meshes, self.make = list(mesh), form
        spaces, transfers = solvers.lagrange_hierarchy(self.meshes, 1, components)
        self.V = spaces["V"]
        self.u, self.c = fd.Function(self.V, name="u"), fd.Function(self.V, name="c")
        self.F = form(self.u, fd.TestFunction(self.V), self.c)
        self.disc = fem.export(spaces, transfers, forms={"residual": self.F})

    def operator(self, dirichlet: tuple[str, ...] = (), **options: Any) -> operators.FormMultigrid:
        torch.manual_seed(0)
        form, levels = self.disc.form("residual"), self.disc.hierarchy_below("V")
        return operators.FormMultigrid(form, levels, "u", dirichlet, **options)

    def solution(self, dirichlet: Any = None) -> Tensor:
        fd.solve(self.F == 0, self.u, dirichlet)
        return torch.from_numpy(self.u.dat.data_ro.reshape(-1).copy())

    def inputs(self) -> dict[str, Tensor]:
        return {"c": torch.from_numpy(self.c.dat.data_ro.reshape(1, -1).copy())}


def robin(u, v, c):
    x, y = fd.SpatialCoordinate(u.function_space().mesh())
    load = fd.sin(3 * x) * y * v * fd.dx + v * fd.ds(2)
    return fd.inner(fd.grad(u), fd.grad(v)) * fd.dx + 2 * u * v * fd.ds((1, 3)) - load


def waves(u, v, c):
    return robin(u, v, c) - 30 * u * v * fd.dx


def medium(u, v, c):
    return robin(u, v, c) + (fd.exp(c) * u * v + c * u.dx(0) * v) * fd.dx


def cooling(u, v, c):
    return robin(u, v, c) + (1 + u**2) * u * v * fd.ds - (5 + c) * v * fd.dx


def impedance(u, v, c):
    """The real and the imaginary part of −Δp − 25 p = f, ∂p/∂n = 5 i p."""
    x, y = fd.SpatialCoordinate(u.function_space().mesh())
    turned = fd.as_vector([-u[1], u[0]])
    waves = (fd.inner(fd.grad(u), fd.grad(v)) - 25 * fd.inner(u, v) - x * y * v[0]) * fd.dx
    return waves - 5 * fd.inner(turned, v) * fd.ds


def traction(u, v, c):
    def strain(w):
        return fd.sym(fd.grad(w))

    return (2 * fd.inner(strain(u), strain(v)) + fd.div(u) * fd.div(v)) * fd.dx - 0.1 * v[1] * fd.ds(2)


def matrix(form: Any) -> np.ndarray:
    return fd.assemble(form).M.handle[:, :]


def dense(A: Any, dofs: int) -> np.ndarray:
    return A.on_nodes(torch.eye(dofs, dtype=torch.float64)[:, None])[:, 0].numpy()


@pytest.mark.parametrize("make", [robin, medium])
def test_every_level_has_the_derivative_that_firedrake_assembles(make):
    """Nested spaces: Galerkin products are the form of the coarser mesh where coefficients are linear on it."""
    problem = Form(make)
    problem.c.assign(0 if make is robin else 0.3)
    jacobian = fem.Jacobian(problem.disc.form("residual"), "u")
    levels = FormLevels(jacobian, problem.disc.hierarchy_below("V"))
    assert levels.shared == (make is robin)
    values = {"u": torch.zeros(1, problem.V.dim(), dtype=torch.float64)}
    fields = values if make is robin else {**values, **problem.inputs()}
    for A, mesh in zip(levels.at(fields), reversed(problem.meshes), strict=True):
        W = fd.FunctionSpace(mesh, "CG", 1)
        c = fd.Function(W).assign(0.3)
        u = fd.Function(W)
        expected = matrix(fd.derivative(make(u, fd.TestFunction(W), c), u))
        assert np.allclose(dense(A, W.dim()), expected, atol=1e-13)


def test_a_jacobian_knows_what_it_depends_on():
    def depends(make):
        return fem.Jacobian(Form(make, refinements=0).disc.form("residual"), "u").depends_on

    assert [depends(make) for make in (robin, waves, medium, cooling)] == [set(), set(), {"c"}, {"u"}]


def test_directions_leave_the_least_residual():
    """As many directions as dofs solve, fewer minimise over their span, and residuals never grow."""
    generator = torch.Generator().manual_seed(0)
    A, f, D = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((6, 6), (6, 3, 1), (6, 1, 1)))
    D, Z = D.square() + 0.1, torch.randn(6, 6, 3, 1, generator=generator, dtype=torch.float64)
    solution = MinimalResidual(lambda z: (A @ z.flatten(1)).view_as(z), D, f)
    norms = [(D * f * f).sum(0)]
    for k in range(6):
        solution.add(Z[k])
        norms.append((D * solution.residual**2).sum(0))
        if k == 2:
            root = D[:, 0].sqrt()
            for s in range(3):
                images = root * (A @ Z[:3, :, s, 0].T)
                best = torch.linalg.lstsq(images, root * f[:, s]).solution
                assert torch.allclose(images @ best, root * (f - solution.residual)[:, s])
    assert all((b <= a * (1 + 1e-12)).all() for a, b in pairwise(norms))
    assert torch.allclose((A @ solution.x.flatten(1)).view_as(f), f)


@pytest.mark.parametrize(
    ("make", "options", "dirichlet"),
    [
        (robin, {"cycles": 8}, ()),
        (waves, {"cycles": 10}, ()),
        (medium, {"cycles": 10}, ()),
        (cooling, {"cycles": 4, "steps": 6}, ()),
        (impedance, {"cycles": 14}, ()),
        (traction, {"cycles": 16}, (1,)),
    ],
)
def test_untrained_it_converges_to_firedrakes_solution(make, options, dirichlet):
    problem = Form(make, 4, 1, 2 if make in (impedance, traction) else 1)
    if make in (medium, cooling):
        x, y = fd.SpatialCoordinate(problem.meshes[-1])
        problem.c.interpolate(x - y)
    tags = [name for name, marker in fem.boundary_tags(problem.meshes[-1]).items() if marker in dirichlet]
    bcs = fd.DirichletBC(problem.V, fd.as_vector([0, 0]), dirichlet) if dirichlet else None
    reference = problem.solution(bcs)
    with torch.no_grad():
        u = problem.operator(tuple(tags), **options).double()(problem.inputs())["u"][0]
    assert (u - reference).abs().max() < 1e-6 * reference.abs().max()


def test_prescribed_values_are_exact_with_any_weights():
    problem = Form(medium)
    boundary = problem.disc["V"].boundary_dofs()
    operator = problem.operator(("on_boundary",), data="g", cycles=2).float()
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.normal_(std=0.5)
    g = torch.randn(3, problem.V.dim())
    u = operator({"g": g, "c": torch.randn_like(g)})["u"]
    assert torch.equal(u[:, boundary], g[:, boundary])


@pytest.mark.parametrize("make", [medium, cooling])
def test_it_is_differentiable_in_its_inputs(make):
    problem = Form(make, 2)
    operator = problem.operator(cycles=2, steps=2 if make is cooling else 1).double()
    c = torch.from_numpy(np.random.default_rng(0).normal(size=(2, problem.V.dim()))).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: operator({"c": c})["u"], c, fast_mode=True)


def test_an_implicit_time_step_reads_the_state_before():
    """Backward Euler for the heat equation with Robin conditions, the state before under the unknown's name."""

    def euler(u, v, c):
        return ((u - c) / 0.1 * v + fd.inner(fd.grad(u), fd.grad(v))) * fd.dx + u * v * fd.ds

    problem = Form(euler)
    problem.c.interpolate(fd.SpatialCoordinate(problem.meshes[-1])[0])
    step, state = problem.operator(arguments={"c": "u"}, cycles=10).double(), {"u": problem.inputs()["c"]}
    step.set_scales({"u": torch.stack([state["u"]] * 2, dim=1)})
    for _ in range(3):
        reference = problem.solution()
        problem.c.assign(problem.u)
        with torch.no_grad():
            state = step(state)
    assert torch.allclose(state["u"][0], reference, atol=1e-8)


def test_its_weights_belong_to_no_mesh():
    coarse, fine = (Form(medium, cells) for cells in (3, 5))
    node = {"_target_": "thalweg.operators.FormMultigrid", "form": {"_form_": "residual"}, "hierarchy": {"_hierarchy_": "V"}}
    operator = operators.build_operator({**node, "cycles": 10}, coarse.disc).double()
    there = operators.operator_on(operator, fine.disc).double()
    reference = fine.solution()
    with torch.no_grad():
        assert (there(fine.inputs())["u"][0] - reference).abs().max() < 1e-6 * reference.abs().max()


def test_forms_that_determine_nothing_are_refused():
    def neumann(u, v, c):
        return (fd.inner(fd.grad(u), fd.grad(v)) - c * v) * fd.dx

    with pytest.raises(InputError, match="singular on the coarsest space"):
        Form(neumann).operator()
    with pytest.raises(InputError, match="two levels or more"):
        Form(robin, refinements=0).operator()
    problem = Form(robin, refinements=2)
    with pytest.raises(InputError, match="Give the hierarchy below the space of the unknown"):
        operators.FormMultigrid(problem.disc.form("residual"), problem.disc.hierarchy("V1", "V2"))


def test_cycles_that_do_not_converge_are_said_not_to(caplog: pytest.LogCaptureFixture):
    problem = Form(lambda u, v, c: robin(u, v, c) - 300 * u * v * fd.dx - c * v * fd.dx, 2, 3)
    problem.operator(cycles=2).double().set_scales({"c": torch.randn(8, problem.V.dim(), dtype=torch.float64)})
    assert "with fewer levels or a finer coarsest mesh" in caplog.text
