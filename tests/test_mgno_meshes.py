"""MgNO on meshes: stencils of forms, the layer of the grids on a uniform mesh, and weights that belong to no mesh."""

from dataclasses import replace

import firedrake as fd
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg import fem
from thalweg.errors import InputError
from thalweg.fem.assembly import csr
from thalweg.fem.uniform_grid import Grid
from thalweg.operators import SPON, DirichletDecoder, InterpolationEncoder
from thalweg.operators.mgno import Architecture, MgNO, MgNOProcessor
from thalweg.operators.mgno.cycle import Cycle
from thalweg.operators.mgno.elements import mesh_elements
from thalweg.operators.mgno.mesh_levels import mesh_levels

DARCY = Architecture(
    features=4,
    iterates=2,
    layers=2,
    operator=("coefficient", "mass", "dx"),
    smoother=("jacobi", "mass"),
    coefficient="galerkin",
    levels=3,
    closure=3,
    bias_cells=3,
)
POISSON = Architecture(features=1, iterates=1, operator=("stiffness",), levels=3, pre=2, post=2)


def hierarchy(
    mesh, refinements: int, degree: int = 1, dtype: torch.dtype = torch.float64
) -> tuple[fem.Discretization, fem.Hierarchy]:
    from thalweg.solvers.problem import lagrange_hierarchy

    spaces, transfers = lagrange_hierarchy(list(fd.MeshHierarchy(mesh, refinements)), degree)
    disc = fem.export(spaces, transfers, dtype=dtype)
    return disc, disc.hierarchy(*spaces)


@pytest.fixture(scope="module")
def squares() -> fem.Hierarchy:
    return hierarchy(fd.UnitSquareMesh(4, 4, quadrilateral=True), 2)[1]


@pytest.fixture(scope="module")
def triangles() -> fem.Hierarchy:
    return hierarchy(fd.UnitSquareMesh(3, 3), 2)[1]


@pytest.mark.parametrize(
    ("mesh", "degree"),
    [
        (lambda: fd.UnitSquareMesh(4, 3), 1),
        (lambda: fd.UnitSquareMesh(3, 3), 2),
        (lambda: fd.UnitSquareMesh(4, 3, quadrilateral=True), 1),
        (lambda: fd.UnitCubeMesh(2, 1, 2), 1),
    ],
)
def test_stencils_are_firedrakes_forms(mesh, degree: int):
    V = fd.FunctionSpace(mesh(), "CG", degree)
    u, v = fd.TrialFunction(V), fd.TestFunction(V)
    forms = {"mass": u * v, "stiffness": fd.inner(fd.grad(u), fd.grad(v)), "dx": v * u.dx(0), "dxdy": v.dx(0) * u.dx(1)}
    elements = mesh_elements(fem.export({"V": V})["V"], forms)
    for name, form in forms.items():
        expected = csr(fd.assemble(form * fd.dx, mat_type="aij"))
        assert abs(elements.assemble(name) - expected).max() < 1e-13 * abs(expected).max()


def test_the_coefficients_operator_is_firedrakes(triangles: fem.Hierarchy):
    levels = mesh_levels(triangles, (), replace(DARCY, closure=0), torch.float64)
    mesh = list(fd.MeshHierarchy(fd.UnitSquareMesh(3, 3), 2))[-1]
    V = fd.FunctionSpace(mesh, "CG", 1)
    u, v, x = fd.TrialFunction(V), fd.TestFunction(V), fd.SpatialCoordinate(mesh)
    a = fd.Function(V).interpolate(1 + x[0] + 2 * x[1] ** 2)
    mean = fd.Function(fd.FunctionSpace(mesh, "DG", 0)).project(a)
    expected = csr(fd.assemble(mean * fd.inner(fd.grad(u), fd.grad(v)) * fd.dx, mat_type="aij"))
    assert levels.coefficient is not None
    matrix = levels.coefficient(torch.from_numpy(a.dat.data_ro.copy())[:, None])[0]
    e = torch.eye(V.dim(), dtype=torch.float64)[:, None]
    np.testing.assert_allclose(matrix.on_nodes(e)[:, 0].numpy(), expected.toarray(), atol=1e-12)


def grid_order(points: Tensor, cells: int) -> Tensor:
    """For each point of a grid, flattened, the node of the mesh there."""
    index = (points * cells).round().long()
    order = torch.empty(len(points), dtype=torch.long)
    order[index[:, 0] * (cells + 1) + index[:, 1]] = torch.arange(len(points))
    return order


@pytest.mark.parametrize("coarsening", ["galerkin", "rediscretized"])
def test_on_a_uniform_mesh_the_operator_is_that_of_the_grid(squares: fem.Hierarchy, coarsening: str):
    """16 x 16 squares with 4 x 4 and 8 x 8 below them: the same weights give the same function to rounding."""
    torch.manual_seed(0)
    # On a quadrilateral the order of nodes does not matter to the closure, only the axes do.
    architecture = replace(DARCY, coefficient=coarsening, coarsest=4)
    sides = ("x0", "y1")
    grid = MgNO(Grid((17, 17)), {"a": 1}, {"u": 1}, architecture, dirichlet=sides, coefficient="a").double()
    mesh = MgNOProcessor(squares, 1, 1, architecture, dirichlet=("1", "4"), coefficient=0).double()
    for parameter in grid.network.parameters():
        nn.init.normal_(parameter, std=0.4)
    mesh.network.load_state_dict(grid.network.state_dict())
    a = 1 + torch.rand(3, 1, 17, 17, dtype=torch.float64)
    order = grid_order(squares[0].points, 16)
    on_mesh = torch.empty(3, 1, 17 * 17, dtype=torch.float64)
    on_mesh[..., order] = a.flatten(2)
    u = grid({"a": a})["u"].flatten(2)
    free = grid.levels((17, 17))[0].free.flatten() > 0
    torch.testing.assert_close(mesh(on_mesh)[..., order][..., free], u[..., free], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("cells", "refinements", "degree"), [(3, 2, 1), (3, 3, 1), (3, 2, 2)])
def test_untrained_cycles_on_triangles_are_multigrid(cells: int, refinements: int, degree: int):
    _, spaces = hierarchy(fd.UnitSquareMesh(cells, cells), refinements, degree)
    levels, cycle = mesh_levels(spaces, ["on_boundary"], POISSON, torch.float64), Cycle(POISSON).double()
    K = levels[0].stencil("stiffness").on_nodes
    torch.manual_seed(0)
    e = torch.randn_like(levels[0].free) * levels[0].free
    with torch.no_grad():
        for parameter in cycle.weights.parameters():
            # Dampings for which Jacobi smooths all of the spectrum of P1 and P2.
            parameter.mul_(0.8 if parameter.ndim > 2 else 1)
        for _ in range(8):
            before = (e * K(e)).sum().sqrt()
            e = e - cycle(K(e), levels)
            factor = (e * K(e)).sum().sqrt() / before
    assert factor < 0.3


def test_tetrahedra_have_mgno_too():
    disc, spaces = hierarchy(fd.UnitCubeMesh(2, 2, 2), 1, dtype=torch.float32)
    torch.manual_seed(0)
    processor = MgNOProcessor(spaces, 1, 1, replace(DARCY, levels=2), dirichlet=["on_boundary"], coefficient=0)
    u = processor(1 + torch.rand(2, 1, disc["V"].num_dofs))
    u.square().sum().backward()
    assert u.shape == (2, 1, disc["V"].num_dofs)
    assert all(parameter.grad is not None for parameter in processor.parameters())


def test_weights_carry_over_between_meshes_and_converge():
    """Trained on none: one set of weights on uniform triangulations of 6, 12 and 24 cells along each side, compared at common nodes."""
    torch.manual_seed(0)
    architecture = replace(DARCY, closure=0, smoother=("jacobi",))
    values, state = [], None
    for refinements in (1, 2, 3):
        _, spaces = hierarchy(fd.UnitSquareMesh(3, 3), refinements)
        processor = MgNOProcessor(spaces, 1, 1, architecture, dirichlet=["on_boundary"], coefficient=0).double()
        state = state or processor.state_dict()
        processor.load_state_dict(state)
        points = spaces[0].points
        with torch.no_grad():
            u = processor((1 + points.sin().sum(1))[None, None])[0, 0]
        coarse = grid_order(points, 3 * 2**refinements).view(3 * 2**refinements + 1, -1)
        values.append(u[coarse[:: 2 ** (refinements - 1), :: 2 ** (refinements - 1)]])
    first, second = (values[0] - values[1]).norm(), (values[1] - values[2]).norm()
    assert second < first / 2
    assert second < 0.1 * values[2].norm()


def test_a_spon_with_an_mgno_has_exact_boundary_values(triangles: fem.Hierarchy):
    torch.manual_seed(0)
    V = triangles[0]
    encoder = InterpolationEncoder(V, {"f": None, "g": None})
    spon = SPON(
        encoder,
        MgNOProcessor(triangles, 2, 1, POISSON, dirichlet=["1", "2"]),
        DirichletDecoder(V, "u", data="g", tags=["1", "2"]),
    )
    fields = {name: torch.randn(2, V.num_dofs, dtype=torch.float64) for name in "fg"}
    u, boundary = spon.double()(fields)["u"], V.boundary_dofs(["1", "2"])
    assert torch.equal(u[:, boundary], fields["g"][:, boundary])


def test_wrong_spaces_are_named(triangles: fem.Hierarchy):
    with pytest.raises(InputError, match=r"exist on grids only"):
        MgNOProcessor(triangles, 1, architecture=replace(POISSON, source=("tensor_mk",)))
    with pytest.raises(InputError, match=r"must both be given"):
        MgNOProcessor(triangles, 1, architecture=DARCY)
    with pytest.raises(InputError, match=r"no input channel 1 among 1"):
        MgNOProcessor(triangles, 1, architecture=DARCY, coefficient=1)
    mesh = fd.UnitSquareMesh(2, 2, quadrilateral=True)
    mesh.coordinates.dat.data[4] += 0.1
    skewed = fem.export({"V": fd.FunctionSpace(mesh, "CG", 1)})["V"]
    with pytest.raises(InputError, match=r"curved or skewed"):
        mesh_elements(skewed, ["mass"])
    vector = fem.export({"V": fd.VectorFunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 1)})["V"]
    with pytest.raises(InputError, match=r"not a scalar Lagrange space"):
        mesh_elements(vector, ["mass"])
