"""Functions of separable operators in their eigenvectors, against dense matrices."""

from itertools import product

import pytest
import torch

from thalweg.solvers.grid import FreeSlip, Outflow, Periodic, Wall
from thalweg.solvers.grid.fast_diagonalization import DirichletAxis, FastDiagonalization, NeumannAxis, PeriodicAxis
from thalweg.solvers.grid.ghosts import normal_laplacian, pressure_laplacian, tangential_laplacian

f64 = torch.float64


def dense(axis) -> torch.Tensor:
    if isinstance(axis, torch.Tensor):
        return axis
    if isinstance(axis, DirichletAxis):
        beside = torch.ones(axis.n - 1, dtype=f64).diag(1)
        return (2 * torch.eye(axis.n, dtype=f64) - beside - beside.T) / axis.h**2
    return pressure_laplacian(axis.n, axis.h, (Periodic(), Periodic()) if isinstance(axis, PeriodicAxis) else (Wall(), Wall()))


def kronecker_sum(axes) -> torch.Tensor:
    matrices, total = [dense(axis) for axis in axes], torch.zeros(1, 1, dtype=f64)
    for i, A in enumerate(matrices):
        term = torch.ones(1, 1, dtype=f64)
        for j, B in enumerate(matrices):
            term = torch.kron(term, A if i == j else torch.eye(len(B), dtype=f64))
        total = total + term
    return total


KINDS = {
    "periodic": lambda n: PeriodicAxis(n, 0.3),
    "cosine": lambda n: NeumannAxis(n, 0.2),
    "sine": lambda n: DirichletAxis(n, 0.4),
    "matrix": lambda n: pressure_laplacian(n, 0.5, (Wall(), Outflow())),
}


@pytest.mark.parametrize(
    "kinds", [*product(KINDS, repeat=2), ("periodic", "cosine", "matrix"), ("matrix", "periodic", "periodic"), ("sine",) * 3]
)
def test_functions_of_separable_operators_are_those_of_the_matrix(kinds):
    axes = [KINDS[kind](n) for kind, n in zip(kinds, (6, 5, 4), strict=False)]
    operator = FastDiagonalization(axes, f64, "cpu")
    generator = torch.Generator().manual_seed(0)
    r = torch.randn(2, 1, *(len(dense(axis)) for axis in axes), dtype=f64, generator=generator)
    A = kronecker_sum(axes)
    x = operator(r, operator.tabulated(lambda A: 1 / (1 + 0.1 * A), f64))
    expected = torch.linalg.solve(torch.eye(len(A), dtype=f64) + 0.1 * A, r.flatten(1).T).T
    torch.testing.assert_close(x.flatten(1), expected)


def test_velocities_see_walls_where_they_are():
    """Second differences of u along a wall, whose velocity is zero half a cell away, and across it, where it is zero at the face."""
    along = tangential_laplacian(4, 1.0, (Wall(), FreeSlip()))
    assert along.diagonal().tolist() == [3, 2, 2, 1]
    assert torch.equal(along, along.T)
    assert normal_laplacian(4, 1.0, (Wall(), Wall())).shape == (3, 3)
    across = normal_laplacian(4, 1.0, (Wall(), Outflow()))
    assert across.diagonal().tolist() == [2, 2, 2, 1]
    for matrix in (along, across, normal_laplacian(5, 0.5, (FreeSlip(), FreeSlip()))):
        assert torch.linalg.eigvalsh(matrix).min() > 0
