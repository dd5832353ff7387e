"""MgNO on mapped grids: the Laplacian of the domain as a tensor on the grid, on anisotropic cells too."""

from dataclasses import replace

import firedrake as fd
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mgno_cycles import DARCY
from thalweg.errors import InputError
from thalweg.fem.assembly import csr
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import Architecture, MgNO
from thalweg.operators.mgno.cycle import Cycle
from thalweg.operators.mgno.grid_levels import grid_levels
from thalweg.operators.mgno.mapping import pulled_back

MAPPED = replace(DARCY, source=("mass", "dx"), mapped=True)
IO = {"inputs": {"x": 2}, "outputs": {"u": 1}}


def bent(points: Tensor) -> Tensor:
    """A pipe along a curve: cells become parallelograms."""
    return torch.stack([points[0], points[1] + torch.sin(2 * points[0])])


def matrix(levels, x: Tensor, a: Tensor, b: Tensor | None = None) -> np.ndarray:
    tensor, growth = pulled_back(levels.jacobians(x))
    lumping = None if b is None else torch.zeros(len(levels))
    fine = levels.coefficient(a, tensor, b, lumping, growth)[0]
    return fine.on_nodes(torch.eye(len(a), dtype=torch.float64)[:, None])[:, 0].numpy()


@pytest.mark.parametrize("case", ["pipe", "box"])
def test_the_operator_of_a_mapped_grid_is_firedrakes_on_the_mapped_mesh(case: str):
    """−∇·(a∇u) + b u to rounding where cells become parallelograms; a and b constant in each cell."""
    if case == "pipe":
        cells, lengths = (12, 5), (3.0, 1.0)
        mesh, move = fd.RectangleMesh(*cells, *lengths, quadrilateral=True), bent
    else:
        cells, lengths = (2, 3, 2), (1.0, 1.0, 1.0)
        mesh = fd.BoxMesh(*cells, *lengths, hexahedral=True)
        B = torch.tensor([[1.0, 0.3, -0.2], [0.1, 2.0, 0.4], [0.0, -0.5, 0.7]], dtype=torch.float64)

        def move(points: Tensor) -> Tensor:
            return torch.einsum("ij,j...->i...", B, points)

    grid = Grid(tuple(n + 1 for n in cells), lengths)
    points = mesh.coordinates.dat.data_ro.copy()
    index = (points / np.array(lengths) * np.array(cells)).round().astype(int)
    order = np.ravel_multi_index(tuple(index.T), grid.shape)
    mesh.coordinates.dat.data[:] = move(torch.from_numpy(points).T).T.numpy()
    V = fd.FunctionSpace(mesh, "CG", 1)
    # Values at the nodes of V, whose order is that of the coordinates' space.
    u, v, a, b = fd.TrialFunction(V), fd.TestFunction(V), fd.Function(V), fd.Function(V)
    values = 1 + np.random.default_rng(0).random((2, len(points)))
    a.dat.data[:], b.dat.data[:] = values
    W = fd.FunctionSpace(mesh, "DG", 0)
    middle = [fd.Function(W).interpolate(f) for f in (a, b)]
    form = middle[0] * fd.inner(fd.grad(u), fd.grad(v)) + middle[1] * u * v
    expected = np.empty((len(points),) * 2)
    expected[np.ix_(order, order)] = csr(fd.assemble(form * fd.dx, mat_type="aij")).toarray()
    architecture = replace(MAPPED, coefficient="rediscretized", reaction=True, operator=("coefficient",))
    levels = grid_levels(grid, (), architecture, torch.float64)
    on_grid = torch.empty(2, len(points), 1, dtype=torch.float64)
    on_grid[:, order, 0] = torch.from_numpy(values)
    x = move(grid.coordinates(torch.float64)).flatten(1).T[:, None]
    found = matrix(levels, x, *on_grid)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())
    assert np.array_equal(found, found.T)


def test_the_identity_leaves_a_scalar_coefficient_as_it_is():
    grid = Grid((9, 7), (2.0, 1.0))
    x = grid.coordinates(torch.float64).flatten(1).T[:, None]
    a = 1 + torch.rand(len(x), 1, dtype=torch.float64)
    plain = grid_levels(grid, ("x0",), replace(MAPPED, mapped=False), torch.float64)
    assert plain.coefficient is not None
    fine = plain.coefficient(a)[0].on_nodes(torch.eye(len(a), dtype=torch.float64)[:, None])[:, 0]
    levels = grid_levels(grid, ("x0",), MAPPED, torch.float64)
    np.testing.assert_allclose(matrix(levels, x, a), fine, atol=1e-13)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_tensors_are_pulled_back_by_the_jacobian(dim: int):
    torch.manual_seed(0)
    J = torch.randn(5, 2, dim, dim, dtype=torch.float64)
    J[0, 0, :, 0] *= -1  # also where the map turns the domain over
    T = torch.randn(5, 2, dim, dim, dtype=torch.float64)
    T = T @ T.mT + torch.eye(dim, dtype=torch.float64)
    rows, cols = zip(*[(i, i) for i in range(dim)] + [(i, j) for i in range(dim) for j in range(i + 1, dim)], strict=True)
    found, growth = pulled_back(J, T[..., rows, cols])
    inverse, det = torch.linalg.inv(J), torch.linalg.det(J).abs()
    torch.testing.assert_close(growth, det)
    torch.testing.assert_close(found, (det[..., None, None] * inverse @ T @ inverse.mT)[..., rows, cols])
    torch.testing.assert_close(
        pulled_back(J)[0], (det[..., None, None] * torch.linalg.inv(J.mT @ J))[..., rows, cols], rtol=1e-9, atol=0
    )


def test_cycles_on_a_mapped_grid_contract():
    """Untrained, in a pipe ten times as long as wide whose cells are five times as long as wide: short spacings are halved first."""
    architecture = replace(MAPPED, iterates=1, operator=("coefficient",), smoother=("jacobi", "coefficient"), coarsest=4)
    grid, sides = Grid((65, 33), (10.0, 1.0)), ("x0", "y0", "y1")
    levels, cycle = grid_levels(grid, sides, architecture, torch.float64), Cycle(architecture).double()
    X = grid.coordinates(torch.float64)
    x = torch.stack([X[0], X[1] + torch.sin(X[0]) / 2]).flatten(1).T[:, None]
    assert levels.jacobians is not None
    assert levels.coefficient is not None
    matrices = levels.coefficient(torch.ones_like(x[..., 0]), pulled_back(levels.jacobians(x))[0])
    torch.manual_seed(0)
    e, factor = torch.randn_like(levels[0].free) * levels[0].free, 0.0
    with torch.no_grad():
        for _ in range(10):
            before = (e * matrices[0].on_nodes(e)).sum().sqrt()
            e = e - cycle(matrices[0].on_nodes(e), levels, matrices)
            factor = float((e * matrices[0].on_nodes(e)).sum().sqrt() / before)
    assert factor < 0.5
    # As many cells along both axes before the long ones are touched.
    counts = [len(level.free) for level in levels.levels]
    assert counts[:3] == [65 * 33, 65 * 17, 65 * 9]


def test_an_operator_on_a_mapped_grid_learns_and_does_not_see_where_the_domain_is():
    torch.manual_seed(0)
    architecture = replace(MAPPED, closure=3)
    operator = MgNO(Grid((9, 9)), **IO, architecture=architecture, dirichlet=["y0"], coordinates="x").double()
    x = bent(Grid((9, 9)).coordinates(torch.float64)).expand(2, -1, -1, -1)
    operator.set_scales({"x": x, "u": torch.randn(2, 1, 9, 9)})
    for parameter in operator.parameters():
        nn.init.normal_(parameter, std=0.3)
    u = operator({"x": x})["u"]
    u.square().sum().backward()
    assert [name for name, parameter in operator.named_parameters() if parameter.grad is None] == []
    moved = x + torch.tensor([3.0, -2.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(operator({"x": moved})["u"], u)
    assert (operator({"x": 1.1 * x})["u"] - u).norm() > 1e-3 * u.norm()


def test_wrong_maps_are_named():
    with pytest.raises(InputError, match=r"mapped=True needs"):
        Architecture(mapped=True)
    with pytest.raises(InputError, match=r"no harmonic mean"):
        replace(MAPPED, coefficient="rediscretized", mean="harmonic")
    with pytest.raises(InputError, match=r"must both be given"):
        MgNO(Grid((9, 9)), **IO, architecture=replace(MAPPED, mapped=False), coordinates="x")
    with pytest.raises(InputError, match=r"an input of 2 channels"):
        MgNO(Grid((9, 9)), {"x": 1}, {"u": 1}, MAPPED, coordinates="x")
    with pytest.raises(InputError, match=r"not periodic"):
        MgNO(Grid((8, 8), periodic=(True, False)), **IO, architecture=MAPPED, coordinates="x")


def test_long_cells_are_halved_across_first():
    levels = grid_levels(Grid((17, 17), (8.0, 1.0)), (), replace(MAPPED, mapped=False), torch.float64)
    assert [len(level.free) for level in levels.levels] == [17 * 17, 17 * 9, 17 * 5, 17 * 3, 9 * 3, 5 * 3, 3 * 3]


def test_smoothing_does_not_diverge_for_any_coefficient():
    """No eigenvalue of D⁻¹A is above 2; with the diagonal as D there are such of 3 on long cells, and D is the diagonal on squares."""
    torch.manual_seed(0)
    for a in (torch.ones(17 * 17, 1), torch.exp(3 * torch.randn(17 * 17, 1))):
        for lengths in ((1.0, 1.0), (8.0, 1.0)):
            levels = grid_levels(Grid((17, 17), lengths), (), replace(MAPPED, mapped=False), torch.float64)
            assert levels.coefficient is not None
            for A in levels.coefficient(a.double()):
                e = torch.eye(len(A.inverse_diagonal), dtype=torch.float64)[:, None]
                K, D = A.on_nodes(e)[:, 0], A.inverse_diagonal.flatten()
                assert torch.linalg.eigvals(D[:, None] * K).real.max() < 2 + 1e-9
                if lengths[0] == 1 and a.std() == 0:
                    torch.testing.assert_close(D, 1 / K.diagonal())
