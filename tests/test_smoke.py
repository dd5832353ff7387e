"""Smoke on staggered grids: mass, bounds, order, buoyancy, gradients."""

from math import exp, pi

import pytest
import torch

from thalweg.errors import DivergedError, InputError
from thalweg.solvers.grid import FreeSlip, Outflow, Smoke, StaggeredFlow, Transport, Wall, rigid_motion

f64 = torch.float64

BOXES = {
    "periodic": {},
    "cavity": {"x0": Wall(), "x1": Wall(), "y0": Wall(), "y1": Wall(tangential=1.0)},
    "channel": {"x0": Wall(normal=1.0), "x1": Outflow(), "y0": Wall(), "y1": FreeSlip()},
}


def obstacle(cells) -> torch.Tensor:
    solid = torch.zeros(cells, dtype=torch.bool)
    solid[4:7, 3:6] = True
    return solid


def random_flow(flow: StaggeredFlow, batch: int = 2):
    generator = torch.Generator().manual_seed(0)
    velocity = []
    for axis, w in enumerate(flow.at_rest(batch)):
        noise = torch.randn(w.shape, dtype=w.dtype, generator=generator)
        noise.select(axis + 2, -1).copy_(noise.select(axis + 2, 0))
        velocity.append(noise)
    return flow.project(tuple(velocity))


def discontinuous(cells, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(batch, 1, *cells, dtype=f64, generator=generator) > 0.5).to(f64)


def longest_step(flow: StaggeredFlow, velocity, diffusivity: float) -> float:
    return 1 / (2 * flow.convective_rate(velocity) + 2 * diffusivity * sum(1 / h**2 for h in flow.spacings))


@pytest.mark.parametrize("diffusivity", [0.0, 1e-2])
@pytest.mark.parametrize("box", BOXES)
def test_the_scalar_keeps_its_bounds(box, diffusivity):
    cells = (12, 10)
    flow = StaggeredFlow(cells, viscosity=0.1, sides=BOXES[box], solid=obstacle(cells), tolerance=1e-13, dtype=f64)
    velocity, c = random_flow(flow), discontinuous(cells)
    transport = Transport(flow, diffusivity=diffusivity, inflow={"x0": 0.3} if box == "channel" else None)
    dt = longest_step(flow, velocity, diffusivity)
    for _ in range(50):
        c = transport(c, velocity, dt)
        assert c.min() > -1e-9
        assert c.max() < 1 + 1e-9


@pytest.mark.parametrize("cells", [(12, 10), (8, 7, 9)])
def test_mass_is_conserved_to_rounding_in_closed_boxes(cells):
    walls = {name: Wall() for name in ("y0", "y1")}
    solid = torch.zeros(cells, dtype=torch.bool)
    solid[2:4, 3:5] = True
    flow = StaggeredFlow(cells, viscosity=0.1, sides=walls, solid=solid, dtype=f64)
    velocity, c = random_flow(flow), discontinuous(cells)
    transport = Transport(flow, diffusivity=1e-3)
    dt = longest_step(flow, velocity, 1e-3)
    after = c
    for _ in range(10):
        after = transport(after, velocity, dt)
    torch.testing.assert_close(after.sum(tuple(range(1, c.dim()))), c.sum(tuple(range(1, c.dim()))), atol=1e-11, rtol=0)
    assert (after - c).abs().max() > 0.1
    inside = solid.expand_as(c)
    torch.testing.assert_close(after[inside], c[inside], atol=0, rtol=0)


def test_mass_changes_by_what_passes_the_sides():
    cells = (12, 10)
    flow = StaggeredFlow(cells, viscosity=0.1, sides=BOXES["channel"], tolerance=1e-12, dtype=f64)
    u, v = flow.project(flow.at_rest())
    c = torch.zeros(1, 1, *cells, dtype=f64)
    transport = Transport(flow, inflow={"x0": 0.5})
    for i in range(12):
        c = transport(c, (u, v), 0.02)
        if i < 10:  # nothing has reached the outflow by more than the scheme's own spreading
            assert abs(c.sum() / 120 - 0.5 * 0.02 * (i + 1)) < 1e-3
    for _ in range(200):
        c = transport(c, (u, v), 0.02)
    torch.testing.assert_close(c, torch.full_like(c, 0.5), atol=1e-6, rtol=0)


def test_a_constant_stays_one_beside_moving_obstacles():
    cells = (12, 10)
    motion = rigid_motion(cells, (1.0, 1.0), centre=(0.45, 0.45), angular_velocity=2.0)
    flow = StaggeredFlow(cells, viscosity=0.1, solid=obstacle(cells), solid_velocity=motion, tolerance=1e-13, dtype=f64)
    velocity, c = random_flow(flow), torch.full((2, 1, *cells), 0.7, dtype=f64)
    after = Transport(flow)(c, velocity, longest_step(flow, velocity, 0))
    fluid = ~flow.solid.expand_as(c)
    torch.testing.assert_close(after[fluid], c[fluid], atol=1e-11, rtol=0)


def test_a_smooth_scalar_is_carried_with_order_two():
    """Once around a periodic box in a uniform flow, oblique to the grid."""
    errors = []
    for n in (32, 64):
        flow = StaggeredFlow((n, n), viscosity=0.1, dtype=f64)
        x = (torch.arange(n, dtype=f64) + 0.5) / n
        c = (2 + torch.sin(2 * pi * x)[:, None] * torch.cos(2 * pi * x))[None, None]
        velocity = tuple(torch.ones_like(w) for w in flow.at_rest())
        transport, after = Transport(flow), c
        for _ in range(4 * n):
            after = transport(after, velocity, 1 / (4 * n))
        errors.append((after - c).abs().mean())
    assert (errors[0] / errors[1]).log2() > 1.8


def test_diffusion_decays_at_the_exact_rate():
    errors = []
    for n in (8, 16):
        flow = StaggeredFlow((n, 4), viscosity=0.1, sides={"x0": Wall(), "x1": Wall()}, dtype=f64)
        x = (torch.arange(n, dtype=f64) + 0.5) / n
        c = torch.cos(pi * x)[:, None].expand(n, 4)[None, None]
        _, after = Smoke(flow, diffusivity=0.1).solve(flow.at_rest(), c, 0.5, 1, dt=0.01)
        errors.append((after[:, 1] - exp(-(pi**2) * 0.05) * c).abs().max())
    assert (errors[0] / errors[1]).log2() > 1.8


@pytest.mark.parametrize("implicit", [False, True])
def test_a_coupled_plume_converges_with_order_two_in_time(implicit):
    n = 12
    sides = {name: Wall() for name in ("x0", "x1", "y0", "y1")}
    flow = StaggeredFlow((n, n), viscosity=0.05, sides=sides, implicit_viscosity=implicit, dtype=f64)
    x = (torch.arange(n, dtype=f64) + 0.5) / n
    c = torch.exp(-20 * ((x[:, None] - 0.4) ** 2 + (x - 0.3) ** 2))[None, None]
    smoke = Smoke(flow, diffusivity=0.02, buoyancy=(0.0, 5.0))

    def end(dt: float) -> torch.Tensor:
        (_, v), after = smoke.solve(flow.at_rest(), c, 0.4, 1, dt=dt)
        return torch.cat([v[:, 1].flatten(), after[:, 1].flatten()])

    exact = end(0.4 / 160)
    errors = [(end(0.4 / steps) - exact).norm() for steps in (20, 40)]
    assert (errors[0] / errors[1]).log2() > 1.7
    (_, v), after = smoke.solve(flow.at_rest(), c, 0.4, 1, dt=0.01)
    height = (x * c[0, 0]).sum() / c.sum()
    assert v[0, 1, 0, n // 2 - 1, n // 2] > 0
    assert (x * after[0, 1, 0]).sum() / after[0, 1].sum() > height + 0.01


def test_a_stratified_fluid_at_rest_stays_at_rest():
    flow = StaggeredFlow((8, 10), viscosity=0.01, sides={name: Wall() for name in ("x0", "x1", "y0", "y1")}, dtype=f64)
    c = torch.linspace(0, 1, 10, dtype=f64).expand(1, 1, 8, 10)
    (u, v), after = Smoke(flow, buoyancy=(0.0, 3.0)).solve(flow.at_rest(), c, 1.0, 1, dt=0.1)
    assert max(u.abs().max(), v.abs().max()) < 1e-12
    torch.testing.assert_close(after[:, 1], c)


def test_gradients_match_finite_differences_and_checkpointing_keeps_them():
    flow = StaggeredFlow((6, 5), viscosity=0.05, sides=BOXES["channel"], tolerance=1e-13, dtype=f64)
    smoke = Smoke(flow, diffusivity=0.01, inflow={"x0": 0.2}, buoyancy=(0.0, 2.0))
    velocity = tuple((0.1 * w).requires_grad_() for w in random_flow(flow, 1))
    c = (discontinuous((6, 5), 1) + torch.linspace(0, 0.37, 30, dtype=f64).view(6, 5)).requires_grad_()

    def end(u, v, c, segment=None):
        (u, v), c = smoke.solve((u, v), c, 0.1, 2, dt=0.02, segment=segment)
        return u[:, 2], v[:, 2], c[:, 2]

    assert torch.autograd.gradcheck(end, (*velocity, c), fast_mode=True, eps=1e-7)
    gradients = [
        torch.autograd.grad(sum(w.square().sum() for w in end(*velocity, c, segment)), (*velocity, c)) for segment in (None, 2)
    ]
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_wrong_input_and_long_steps_are_explained():
    flow = StaggeredFlow((8, 6), viscosity=0.01, dtype=f64)
    for wrong in ({"diffusivity": -1.0}, {"inflow": {"left": 1.0}}, {"buoyancy": (1.0,)}):
        with pytest.raises(InputError):
            Smoke(flow, **wrong)
    velocity, c = random_flow(flow), discontinuous((8, 6))
    for scalar in (c[:1], c[..., 1:], c.float()):
        with pytest.raises(InputError, match="scalar"):
            Smoke(flow).solve(velocity, scalar, 1.0, 1, dt=0.01)
    dt = 2.4 * longest_step(flow, velocity, 0.0)
    with pytest.raises(DivergedError, match="keeps its bounds"):
        Smoke(flow).solve(velocity, c, 10 * dt, 1, dt=dt)
