"""MgNO as an operator on grids: exact boundary values, any resolution, one to three dimensions, gradients, and errors at the edge."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mgno_cycles import DARCY, IO, SIDES, smooth_coefficient
from thalweg.errors import InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import Architecture, MgNO, PublishedMgNO
from thalweg.operators.mgno.elements import stencil_names


def test_cycles_of_periodic_operators_commute_with_shifts():
    """By the coarsest spacing; in the published network the transposed convolutions break it at the seam."""
    architecture = Architecture(features=5, iterates=3, layers=2, levels=3, max_levels=3, bias_cells=2)
    torch.manual_seed(0)
    operator = MgNO(Grid((16, 16), periodic=(True, True)), **IO, architecture=architecture).double()
    assert operator.network.bias.values.std(0).max() == 0  # constants, untrained
    a = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    shifted = operator({"a": a.roll((4, -8), (2, 3))})["u"]
    torch.testing.assert_close(shifted, operator({"a": a})["u"].roll((4, -8), (2, 3)))


@pytest.mark.parametrize("values", [0.0, "g"])
def test_boundary_values_are_exact_whatever_the_weights(values: float | str):
    inputs = {"a": 1} | ({"g": 1} if values == "g" else {})
    operator = MgNO(Grid((9, 12)), inputs, {"u": 1}, DARCY, dirichlet=["x0", "y1"], boundary_values=values, coefficient="a")
    for parameter in operator.parameters():
        nn.init.normal_(parameter)
    fields = {"a": torch.rand(2, 1, 9, 12) + 1, "g": torch.randn(2, 1, 9, 12)}
    u, g = operator(fields)["u"], fields["g"] if values == "g" else torch.zeros(2, 1, 9, 12)
    assert torch.equal(u[:, :, 0], g[:, :, 0])
    assert torch.equal(u[..., -1], g[..., -1])
    assert (u[:, :, 1:, :-1] != g[:, :, 1:, :-1]).all()


@pytest.mark.parametrize("architecture", [DARCY, replace(DARCY, shared=True, symmetric=True), replace(DARCY, mixing="diagonal")])
def test_the_same_weights_converge_as_the_grid_is_refined(architecture: Architecture):
    """33, 65 and 129 points: the distance of neighbours falls by a factor of about four."""
    torch.manual_seed(0)
    operator = MgNO(Grid((33, 33)), **IO, architecture=architecture, dirichlet=SIDES[:4], coefficient="a").double()
    fine = smooth_coefficient(129)
    with torch.no_grad():
        u = [operator({"a": fine[..., ::step, ::step]})["u"][..., :: 4 // step, :: 4 // step] for step in (4, 2, 1)]
    first, second = (u[0] - u[1]).norm() / u[2].norm(), (u[1] - u[2]).norm() / u[2].norm()
    assert first < 0.05
    assert second < first / 2.5


@pytest.mark.parametrize(
    "changes",
    [
        {"operator": ("coefficient", "mass", "dx", "dydy"), "smoother": ("jacobi", "mass", "coefficient", "dx")},
        {"cycle": "W", "pre": 2, "symmetric": True, "post": 2, "smoother": ("jacobi", "stiffness", "coefficient")},
        {"cycle": "full", "shared": True, "transfer_mixing": False, "coarse": 2},
        {"mixing": "diagonal", "cycle": "F", "closure": 3},
        {"operator": tuple(stencil_names(2)), "source": ("mass",), "coefficient": None},
    ],
)
def test_ingredients_can_be_switched_and_all_weights_learn(changes: dict):
    architecture = replace(DARCY, **changes)
    torch.manual_seed(0)
    coefficient = "a" if architecture.coefficient else None
    operator = MgNO(Grid((9, 9)), **IO, architecture=architecture, dirichlet=SIDES[:4], coefficient=coefficient).double()
    operator({"a": smooth_coefficient(9)})["u"].square().sum().backward()
    assert [name for name, parameter in operator.named_parameters() if parameter.grad is None] == []


def test_gradients_reach_the_coefficient():
    torch.manual_seed(0)
    operator = MgNO(Grid((5, 6)), **IO, architecture=DARCY, dirichlet=["x0"], coefficient="a").double()
    a = (1 + torch.rand(1, 1, 5, 6, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: operator({"a": a})["u"], (a,), fast_mode=True)


@pytest.mark.parametrize("dim", [1, 3])
def test_lines_and_boxes_have_mgno_too(dim: int):
    torch.manual_seed(0)
    architecture = replace(DARCY, bias_cells=2)
    operator = MgNO(Grid((7,) * dim), **IO, architecture=architecture, dirichlet=["x0"], coefficient="a")
    u = operator({"a": 1 + torch.rand(2, 1, *(7,) * dim)})["u"]
    assert u.shape == (2, 1, *(7,) * dim)
    assert (u[:, :, 0] == 0).all()


def test_the_network_compiles_without_graph_breaks():
    architecture = replace(DARCY, layers=1, levels=2)
    operator = MgNO(Grid((5, 5)), **IO, architecture=architecture, dirichlet=SIDES[:4], coefficient="a")
    fields = {"a": smooth_coefficient(5, dtype=torch.float32)}
    expected = operator(fields)["u"]
    torch.testing.assert_close(torch.compile(operator, backend="eager", fullgraph=True)(fields)["u"], expected)


def test_training_may_follow_inference():
    operator = MgNO(Grid((5, 6)), **IO, architecture=DARCY, dirichlet=["x0"], coefficient="a")
    with torch.inference_mode():
        operator({"a": torch.ones(1, 1, 9, 6)})
    operator({"a": torch.ones(1, 1, 9, 6)})["u"].sum().backward()
    assert operator.network.head.grad is not None


def test_the_scales_of_a_time_stepper_are_those_of_its_steps():
    operator = MgNO(Grid((16, 16), periodic=(True, True)), {"w": 1, "g": 1}, {"w": 1})
    w = torch.randn(3, 1, 1, 16, 16) + torch.tensor([1.0, 3.0, 5.0]).view(1, 3, 1, 1, 1)
    operator.set_scales({"w": w, "g": torch.full((3, 1, 16, 16), 7.0)})
    torch.testing.assert_close(operator.input_scale.mean.flatten(), torch.stack([w[:, :-1].mean(), torch.tensor(7.0)]))
    torch.testing.assert_close(operator.output_scale.flatten(), w[:, 1:].square().mean().sqrt()[None])
    stepper = MgNO(Grid((16, 16), periodic=(True, True)), {"w": 1}, {"w": 1}, increment=True)
    stepper.set_scales({"w": w})
    torch.testing.assert_close(stepper.output_scale.flatten(), torch.tensor([2.0]))
    history = MgNO(Grid((16, 16), periodic=(True, True)), {"w": 2}, {"w": 1}, increment=True)
    history.set_scales({"w": w})
    torch.testing.assert_close(history.output_scale.flatten(), torch.tensor([2.0]))
    nn.init.zeros_(history.network.head)
    assert torch.equal(history({"w": w[:, :2, 0]})["w"], w[:, 1])
    first = PublishedMgNO(Grid((16, 16)), {"w": 1}, {"w": 1}, smoothing=[(1, 0), (1, 0)], increment=True, standardize="channel")
    first.set_scales({"w": w})
    torch.testing.assert_close(first.output_scale.mean.flatten(), torch.tensor([2.0]))


def test_wrong_arguments_are_named():
    grid = Grid((17, 17))
    with pytest.raises(InputError, match=r"no stencil 'dz' in 2 dimensions"):
        MgNO(grid, **IO, architecture=Architecture(operator=("stiffness", "dz")))
    with pytest.raises(InputError, match=r"belong together"):
        Architecture(operator=("coefficient",))
    with pytest.raises(InputError, match=r"'z0'.*sides are x0, x1, y0, y1"):
        MgNO(grid, **IO, dirichlet=["z0"])
    with pytest.raises(InputError, match=r"'x0'.*it is periodic"):
        MgNO(Grid((16, 16), periodic=(True, True)), **IO, dirichlet=["x0"])
    with pytest.raises(InputError, match=r"at vertices"):
        MgNO(Grid((16, 16), location="centre"), **IO)
    with pytest.raises(InputError, match=r"needs the field 'a'"):
        MgNO(grid, **IO)({"b": torch.ones(1, 1, 17, 17)})
    with pytest.raises(InputError, match=r"expected \(batch, 1, 17, 17\)"):
        PublishedMgNO(grid, **IO, smoothing=[(1, 0), (1, 0)])({"a": torch.ones(1, 1, 8, 8)})
    with pytest.raises(InputError, match=r"not positive"):
        MgNO(grid, **IO, architecture=DARCY, coefficient="a").set_scales(
            {"a": -torch.ones(1, 1, 17, 17), "u": torch.ones(1, 1, 17, 17)}
        )
    with pytest.raises(InputError, match=r"no harmonic mean"):
        replace(DARCY, closure=2, coefficient="rediscretized", mean="harmonic")
    with pytest.raises(InputError, match=r"needs two levels"):
        MgNO(Grid((9, 9)), **IO)
    with pytest.raises(InputError, match=r"too many to solve there"):
        MgNO(Grid((129, 129)), **IO, architecture=Architecture(max_levels=2))
