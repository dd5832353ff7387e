"""What MgNO makes of a coefficient: the closure that corrects it, and its size."""

from dataclasses import replace
from math import log
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from mgno_cycles import DARCY, IO, SIDES, smooth_coefficient
from thalweg.errors import InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import Architecture, MgNO
from thalweg.operators.mgno.network import Known, Layer


def test_a_closure_learns_and_keeps_the_operator_elliptic():
    torch.manual_seed(0)
    architecture = replace(DARCY, closure=4)
    operator = MgNO(Grid((6, 5)), **IO, architecture=architecture, dirichlet=SIDES[:4], coefficient="a").double()
    plain = MgNO(Grid((6, 5)), **IO, architecture=DARCY, dirichlet=SIDES[:4], coefficient="a").double()
    plain.load_state_dict(operator.state_dict(), strict=False)
    fields = {"a": 1 + torch.rand(2, 1, 6, 5, dtype=torch.float64)}
    torch.testing.assert_close(operator(fields)["u"], plain(fields)["u"])
    closure = operator.network.closure
    assert closure is not None
    for parameter in closure.parameters():
        nn.init.normal_(parameter)
    levels = operator.levels((6, 5))
    assert levels.coefficient is not None
    factors = closure(operator.input_scale(fields["a"]).flatten(2).permute(2, 0, 1), levels.cell_features)
    t, u, tu = factors.unbind(-1)
    assert t.min() > 0
    assert (t * u - tu**2).min() > 0
    matrix = levels.coefficient(fields["a"].flatten(1).T, factors)[0]
    K = matrix.on_nodes(torch.eye(30, dtype=torch.float64)[:, None].expand(-1, 2, -1))[:, 0]
    free = levels[0].free.flatten() > 0
    assert torch.linalg.eigvalsh(K[free][:, free]).min() > 0

    def output(weight: Tensor) -> Tensor:
        return torch.func.functional_call(operator, {"network.closure.hidden.weight": weight}, (fields,))["u"]

    assert torch.autograd.gradcheck(output, (closure.hidden.weight.detach().requires_grad_(),), fast_mode=True)


def test_a_closure_leaves_resolved_coefficients_as_they_are():
    """Whatever its weights: T is the identity for constants, and its distance to it falls fourfold with h for a smooth coefficient."""
    torch.manual_seed(0)
    operator = MgNO(Grid((33, 33)), **IO, architecture=replace(DARCY, closure=4), dirichlet=SIDES[:4], coefficient="a").double()
    closure, distances = operator.network.closure, []
    assert closure is not None
    for parameter in closure.parameters():
        nn.init.normal_(parameter)
    identity = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    for points in (33, 65, 129):
        features = operator.levels((points, points)).cell_features
        constant = torch.full((points**2, 1, 1), 0.7, dtype=torch.float64)
        torch.testing.assert_close(closure(constant, features), identity.expand((points - 1) ** 2, 1, 3), rtol=0, atol=1e-10)
        v = smooth_coefficient(points).log().flatten(2).permute(2, 0, 1)
        distances.append((closure(v, features) - identity).abs().mean().item())
    assert distances[0] / distances[1] == pytest.approx(4, rel=0.15)
    assert distances[1] / distances[2] == pytest.approx(4, rel=0.1)


def test_a_normalized_solution_is_inverse_to_the_coefficient():
    """Exactly in the operator; features see the logarithm of the coefficient, and are made blind to it here."""
    torch.manual_seed(0)
    operator = MgNO(
        Grid((9, 9)), **IO, architecture=replace(DARCY, normalized=True), dirichlet=SIDES[:4], coefficient="a"
    ).double()
    with torch.no_grad():
        first = operator.network.layers[0]
        for parameter in (first.source, first.L):
            parameter.zero_()
    a = smooth_coefficient(9)
    torch.testing.assert_close(operator({"a": 50 * a})["u"], operator({"a": a})["u"] / 50)
    with pytest.raises(InputError, match=r"needs normalized=True"):
        replace(DARCY, in_units=True)
    with pytest.raises(InputError, match=r"normalized=True needs"):
        Architecture(normalized=True)


def test_a_normalized_solution_is_of_order_one_where_pockets_make_it_large():
    """The unit of the iterates is about the size of the solution, though the coefficient differs by 10⁴ within a sample."""
    architecture = replace(DARCY, normalized=True, in_units=True, operator=("coefficient",))
    operator = MgNO(Grid((17, 17)), **IO, architecture=architecture, dirichlet=SIDES[:4], coefficient="a").double()
    levels, network = operator.levels((17, 17)), operator.network
    a = torch.ones(17, 17, 2, dtype=torch.float64)
    a[6:11, 6:11, 1] = 1e-4
    assert levels.coefficient is not None
    assert network.unit is not None
    matrices = levels.coefficient(a.flatten(0, 1))
    load = levels[0].stencil("mass").on_nodes(torch.ones(17**2, 2, 1, dtype=torch.float64))
    exact = matrices[0].solve(load * levels[0].free).square().mean(0).sqrt()
    assert exact[1] > 100 * exact[0]
    torch.testing.assert_close(network._unit(network.unit, levels, matrices, None), exact, rtol=0.2, atol=0)


def test_features_see_the_logarithm_of_iterates_that_are_large():
    """A solution that is a million times as large changes what the next layer is told by log 10⁶."""
    torch.manual_seed(0)
    architecture = replace(DARCY, normalized=True, in_units=True)
    operator = MgNO(Grid((9, 9)), **IO, architecture=architecture, dirichlet=SIDES[:4], coefficient="a").double()
    levels, layer = operator.levels((9, 9)), cast(Layer, operator.network.layers[0])
    assert levels.coefficient is not None
    assert layer.L is not None
    assert layer.V is not None
    with torch.no_grad():
        layer.L.zero_()
        layer.V.fill_(1 / len(layer.V))
    known = Known(levels, [levels.coefficient(torch.ones(81, 1, dtype=torch.float64))], None)
    v, none = torch.rand(81, 1, 1, dtype=torch.float64), torch.zeros(())
    features, iterates = layer(v, None, known, (none, none))
    far, large = layer(1e6 * v, None, known, (none, none))
    torch.testing.assert_close(large, 1e6 * iterates)
    assert iterates.abs().max() > 0.01
    assert far.max() < features.max() + log(1e6) + 1
