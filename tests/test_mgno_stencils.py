"""The stencils and transfers of MgNO's levels on grids: those of finite elements, and of the sample's own coefficients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mgno_cycles import DARCY, POISSON
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno.elements import box_elements, stencil_names
from thalweg.operators.mgno.grid_levels import grid_levels


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_products_of_mass_derivative_and_stiffness_span_all_kernels(dim: int):
    axes = [np.linspace(0, 1, 5)] * dim
    elements = box_elements(axes, [False] * dim, stencil_names(dim))
    middle = (5**dim - 1) // 2
    rows = np.stack([elements.assemble(name).toarray()[middle] for name in stencil_names(dim)])
    assert np.linalg.matrix_rank(rows) == 3**dim == np.count_nonzero(np.abs(rows).sum(0))


def test_one_dimensional_stencils_are_the_textbooks():
    h = 0.25
    elements = box_elements([np.linspace(0, 1, 5)], [False], ["mass", "stiffness", "dx"])
    rows = {name: elements.assemble(name).toarray() for name in ("mass", "stiffness", "dx")}
    np.testing.assert_allclose(rows["mass"][2, 1:4], h / 6 * np.array([1, 4, 1]))
    np.testing.assert_allclose(rows["stiffness"][2, 1:4], np.array([-1, 2, -1]) / h)
    np.testing.assert_allclose(rows["dx"][2, 1:4], [-0.5, 0, 0.5], atol=1e-15)
    np.testing.assert_allclose(rows["dx"][0, :2], [-0.5, 0.5])  # natural at the end


def test_the_boundarys_mass_is_its_length():
    axes = [np.linspace(0, 2, 5), np.linspace(0, 1, 4)]
    for periodic, length in (((False, False), 6.0), ((True, False), 4.0), ((True, True), 0.0)):
        assert box_elements(axes, periodic, ["boundary"]).assemble("boundary").sum() == pytest.approx(length)


def test_prolongation_is_exact_on_the_coarse_space_and_restriction_its_adjoint():
    levels = grid_levels(Grid((8, 11), (1.0, 2.0), (True, False)), (), POISSON, torch.float64)
    x = [np.arange(0, 1, 1 / 8), np.linspace(0, 2, 11)]
    coarse_x, coarse_y = x[0][::2], x[1][::2]

    def function(x: np.ndarray, y: np.ndarray) -> Tensor:
        """Linear between coarse points, and periodic along x."""
        hat = np.interp(x, [0, 0.25, 0.5, 0.75, 1], [1, -2, 0.5, 3, 1])
        return torch.from_numpy(np.multiply.outer(hat, 2 * y - 1)).reshape(-1, 1, 1)

    torch.testing.assert_close(levels.prolong(0, function(coarse_x, coarse_y)), function(*x))
    u, r = torch.randn(levels[1].free.shape[0], 2, 3).double(), torch.randn(levels.num_nodes, 2, 3).double()
    torch.testing.assert_close((levels.prolong(0, u) * r).sum(), (u * levels.restrict(0, r)).sum())


def test_galerkin_operators_are_triple_products():
    levels = grid_levels(Grid((14, 9)), ("x0", "y1"), DARCY, torch.float64)
    assert levels.coefficient is not None
    a = 1 + torch.rand(14 * 9, 1, dtype=torch.float64)
    fine, coarse, *_ = levels.coefficient(a)
    e = torch.eye(levels[1].free.shape[0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(coarse.on_nodes(e), levels.restrict(0, fine.on_nodes(levels.prolong(0, e))))


def test_a_constant_coefficient_gives_the_stiffness_matrix():
    for coarsening in ("galerkin", "rediscretized"):
        architecture = replace(DARCY, operator=("coefficient", "stiffness"), coefficient=coarsening)
        levels = grid_levels(Grid((12, 17), (1.0, 2.0), (True, False)), (), architecture, torch.float64)
        assert levels.coefficient is not None
        for l, matrix in enumerate(levels.coefficient(torch.full((levels.num_nodes, 1), 3.0, dtype=torch.float64))):
            e = torch.eye(levels[l].free.shape[0], dtype=torch.float64)[:, None]
            torch.testing.assert_close(matrix.on_nodes(e), 3 * levels[l].stencil("stiffness").on_nodes(e))


def test_operators_with_a_reaction_are_stiffness_and_mass():
    architecture = replace(DARCY, coefficient="rediscretized", reaction=True, closure=2)
    levels = grid_levels(Grid((9, 7), periodic=(True, False)), ("y0",), architecture, torch.float64)
    assert levels.coefficient is not None
    one = torch.ones(levels.num_nodes, 1, dtype=torch.float64)
    tensor = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64).expand(9 * 6, 1, 3)
    consistent, *_ = levels.coefficient(2 * one, tensor, -3 * one, torch.zeros(len(levels)))
    lumped, *_ = levels.coefficient(2 * one, tensor, -3 * one, torch.ones(len(levels)))
    elements = box_elements([np.linspace(0, 1, 10), np.linspace(0, 1, 7)], (True, False), ["stiffness", "mass", "lumped"])
    K, M, L = (torch.from_numpy(elements.assemble(name).toarray()) for name in ("stiffness", "mass", "lumped"))
    free = levels[0].free.flatten() > 0
    e = torch.eye(levels.num_nodes, dtype=torch.float64)[:, None]
    for matrix, mass in ((consistent, M), (lumped, L)):
        torch.testing.assert_close(matrix.on_nodes(e)[free][:, 0, free], (2 * K - 3 * mass)[free][:, free])
