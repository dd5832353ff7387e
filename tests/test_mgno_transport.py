"""MgNO that is told where things are carried: the velocity of a vorticity, and c·∇ as a stencil."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import Architecture, ChannelVelocity, MgNO, VorticityVelocity
from thalweg.operators.mgno.grid_levels import grid_levels
from thalweg.operators.mgno.transport import extrapolation, transported
from thalweg.solvers.grid import VorticityEquation

TRANSPORT = Architecture(
    features=4,
    iterates=3,
    layers=2,
    operator=("mass", "stiffness", "transport"),
    source=("mass", "transport"),
    levels=3,
    coarsest=4,
    bias_cells=1,
)


def test_the_velocity_of_a_vorticity_is_the_solvers():
    torch.manual_seed(0)
    grid = Grid((16, 20), (1.0, 2.0), (True, True))
    flow = VorticityEquation(grid.shape, grid.lengths, viscosity=1.0, dtype=torch.float64)
    # Without the waves beyond two thirds that the solver drops.
    w = torch.randn(2, 1, 16, 20, dtype=torch.float64)
    w = flow.solve(w - w.mean((2, 3), keepdim=True), 1e-9, 1, dt=1e-9)[:, 0]
    torch.testing.assert_close(VorticityVelocity("w")({"w": w}, grid), flow.velocity(w))
    history = torch.cat([torch.zeros_like(w), w], 1)
    torch.testing.assert_close(VorticityVelocity("w")({"w": history}, grid), flow.velocity(w))
    with pytest.raises(InputError, match=r"on a periodic rectangle"):
        VorticityVelocity("w")({"w": w}, Grid((16, 20)))


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_a_polynomial_through_the_last_frames_is_exact_for_its_degree(frames: int):
    times, ahead = torch.arange(1.0 - frames, 1.0, dtype=torch.float64), 0.5
    weights = torch.tensor(extrapolation(frames, ahead), dtype=torch.float64)
    found = [float(weights @ times**degree) for degree in range(frames + 1)]
    assert found[:-1] == pytest.approx([ahead**degree for degree in range(frames)])
    assert found[-1] != pytest.approx(ahead**frames)


def test_the_velocity_ahead_is_that_of_the_vorticity_then():
    torch.manual_seed(0)
    grid = Grid((16, 16), periodic=(True, True))
    parts = torch.randn(3, 2, 1, 16, 16, dtype=torch.float64)

    def at(t: float) -> Tensor:
        return parts[0] + t * parts[1] + t**2 * parts[2]

    history = torch.cat([at(-9.0), at(-2.0), at(-1.0), at(0.0)], 1)
    ahead = VorticityVelocity("w", frames=3, ahead=0.5)({"w": history}, grid)
    torch.testing.assert_close(ahead, VorticityVelocity("w")({"w": at(0.5)}, grid))
    with pytest.raises(InputError, match=r"from 3 frames was given 2"):
        VorticityVelocity("w", frames=3)({"w": history[:, :2]}, grid)


def test_a_step_forgets_older_frames_than_those_it_is_told_of():
    torch.manual_seed(0)
    grid = Grid((16, 16), periodic=(True, True))
    velocity = VorticityVelocity("w", frames=3, ahead=0.5)
    operator = MgNO(grid, {"w": 5}, {"w": 1}, TRANSPORT, velocity=velocity, increment=True, recent={"w": 1}).double()
    operator.set_scales({"w": torch.randn(2, 7, 1, 16, 16, dtype=torch.float64)})
    w = torch.randn(2, 5, 16, 16, dtype=torch.float64, requires_grad=True)
    operator({"w": w})["w"].square().sum().backward()
    assert w.grad is not None
    assert [bool(u.any()) for u in w.grad.unbind(1)] == [False, False, True, True, True]
    # Steady flow is carried by its own velocity, whatever the frames of the polynomial.
    steady = w.detach()[:, -1:].expand(-1, 5, -1, -1)
    one = MgNO(grid, {"w": 1}, {"w": 1}, TRANSPORT, velocity=VorticityVelocity("w"), increment=True).double()
    one.load_state_dict(operator.state_dict())
    torch.testing.assert_close(operator({"w": steady})["w"], one({"w": steady[:, :1]})["w"])
    with pytest.raises(InputError, match=r"cannot be the recent ones"):
        MgNO(grid, {"w": 5}, {"w": 1}, TRANSPORT, velocity=velocity, increment=True, recent={"w": 6})


def weak_transport(points: int, c: Tensor, u: Tensor, grid: Grid) -> Tensor:
    levels = grid_levels(grid, (), TRANSPORT, torch.float64)
    on_nodes = transported(levels[0].derivatives(), c.flatten(2).permute(2, 0, 1), u.flatten()[:, None, None])
    # Divided by the integrals of the basis functions, which are all the same.
    return (on_nodes * points**2 / torch.pi).view(points, points)


def test_transport_is_a_difference_of_second_order():
    errors = []
    for n in (16, 32, 64):
        grid = Grid((n, n), periodic=(True, True))
        x, y = 2 * torch.pi * grid.coordinates(torch.float64)
        u, c = torch.sin(x) * torch.cos(y), torch.stack([1 + torch.sin(y), torch.cos(x)])[None]
        exact = 2 * torch.pi * (c[0, 0] * torch.cos(x) * torch.cos(y) - c[0, 1] * torch.sin(x) * torch.sin(y))
        errors.append((weak_transport(n, c, u, grid) - exact).abs().max())
    rates = np.log2([float(errors[0] / errors[1]), float(errors[1] / errors[2])])
    assert rates == pytest.approx([2, 2], abs=0.1)


def test_constants_are_not_carried_and_a_constant_velocity_stays_so_on_all_levels():
    grid = Grid((16, 12), (1.0, 1.0), (True, False))
    levels = grid_levels(grid, ("y0",), TRANSPORT, torch.float64)
    c = torch.tensor([2.0, -1.0], dtype=torch.float64).expand(levels.num_nodes, 1, 2)
    for l, velocity in enumerate(levels.velocities(c)):
        torch.testing.assert_close(velocity, c[:1].expand_as(velocity))
        one = torch.ones(len(velocity), 1, 1, dtype=torch.float64)
        assert transported(levels[l].derivatives(), velocity, one).abs().max() < 1e-14


def test_a_stepper_with_transport_commutes_with_shifts_and_learns_all_its_weights():
    torch.manual_seed(0)
    operator = MgNO(
        Grid((16, 16), periodic=(True, True)),
        {"w": 1},
        {"w": 1},
        replace(TRANSPORT, max_levels=3),
        velocity=VorticityVelocity("w"),
        increment=True,
    ).double()
    w = torch.randn(2, 3, 1, 16, 16, dtype=torch.float64)
    operator.set_scales({"w": w})
    c = VorticityVelocity("w")({"w": w[:, :-1].flatten(0, 1)}, operator.grid)
    torch.testing.assert_close(operator.velocity_scale.double(), c.square().mean().sqrt())
    before = operator({"w": w[:, 0]})["w"]
    torch.testing.assert_close(operator({"w": w[:, 0].roll((4, -8), (2, 3))})["w"], before.roll((4, -8), (2, 3)))
    before.square().sum().backward()
    assert [name for name, parameter in operator.named_parameters() if parameter.grad is None] == []


def test_a_channels_velocity_is_poiseuilles():
    y = torch.linspace(0, 1, 9)
    c = ChannelVelocity()({"x": torch.zeros(2, 2, 5, 9)}, Grid((5, 9)))
    torch.testing.assert_close(c[0, 0], (4 * y * (1 - y)).expand(5, 9))
    assert (c[:, 1] == 0).all()


def test_wrong_transport_is_named():
    grid = Grid((16, 16), periodic=(True, True))
    with pytest.raises(InputError, match=r"so must the velocity"):
        MgNO(grid, {"w": 1}, {"w": 1}, TRANSPORT)
    with pytest.raises(InputError, match=r"none of a smoother"):
        replace(TRANSPORT, smoother=("jacobi", "transport"))
    with pytest.raises(InputError, match=r"with others"):
        replace(TRANSPORT, operator=("transport",))
