"""The grid solvers give the same on a GPU as on the CPU; only where there is one."""

import pytest
import torch

from thalweg.solvers.grid import (
    Darcy,
    DirichletField,
    NeumannField,
    Outflow,
    PeriodicField,
    Smoke,
    StaggeredFlow,
    StaggeredResidual,
    VorticityEquation,
    Wall,
    diagonal_forcing,
    multiscale_trigonometric,
    rigid_motion,
    threshold,
)
from thalweg.training import StaggeredLoss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
f64 = torch.float64


@pytest.mark.parametrize("Field", [PeriodicField, NeumannField, DirichletField])
def test_random_fields(Field):
    field = Field((16, 16), alpha=2.5, tau=7)
    cpu, gpu = (field.sample(0, range(3), dtype=f64, device=device) for device in ("cpu", "cuda"))
    torch.testing.assert_close(gpu.cpu(), cpu, atol=1e-13, rtol=0)


def test_vorticity():
    w = PeriodicField((32, 32), alpha=2.5, tau=7).sample(0, range(2), dtype=f64)
    frames = [
        VorticityEquation((32, 32), viscosity=1e-4, forcing=diagonal_forcing((32, 32)), dtype=f64, device=device).solve(
            w.to(device), 0.2, 2, dt=0.02
        )
        for device in ("cpu", "cuda")
    ]
    torch.testing.assert_close(frames[1].cpu(), frames[0], atol=1e-11, rtol=0)


def test_darcy_and_its_gradient():
    multiscale = multiscale_trigonometric(33, 0, [0], dtype=f64, device="cuda").cpu()
    a = torch.cat([threshold(NeumannField((32, 32), alpha=2, tau=3).sample(0, [0], dtype=f64)), multiscale])
    gradients = []
    for device in ("cpu", "cuda"):
        b = a.to(device).requires_grad_()
        Darcy((33, 33), tolerance=1e-12).solve(b).square().sum().backward()
        gradients.append(b.grad.cpu())
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("implicit", [False, True])
def test_flow_around_obstacles_of_each_sample(implicit):
    solid = torch.zeros(2, 16, 12, dtype=torch.bool)
    solid[0, 4:7, 5:8] = solid[1, 6:9, 3:7] = True
    sides = {"x0": Wall(normal=torch.ones(12)), "x1": Outflow(), "y0": Wall(), "y1": Wall()}
    motion = rigid_motion((16, 12), (1.0, 1.0), centre=(0.4, 0.5), angular_velocity=1.0)
    results = []
    for device in ("cpu", "cuda"):
        flow = StaggeredFlow(
            (16, 12),
            viscosity=0.05,
            sides=sides,
            solid=solid,
            solid_velocity=motion,
            implicit_viscosity=implicit,
            tolerance=1e-12,
            dtype=f64,
            device=device,
        )
        end = flow.solve(flow.at_rest(), 0.1, 1, dt=0.01)
        results.append((*end, flow.force_on(tuple(w[:, 1] for w in end))))
    for cpu, gpu in zip(*results, strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, atol=1e-8, rtol=0)


def test_smoke_in_three_dimensions():
    c = torch.zeros(1, 1, 8, 6, 10, dtype=f64)
    c[..., 2:5, 2:4, 1:4] = 1
    results = []
    for device in ("cpu", "cuda"):
        flow = StaggeredFlow((8, 6, 10), viscosity=0.01, sides={"z0": Wall(), "z1": Wall()}, dtype=f64, device=device)
        smoke = Smoke(flow, diffusivity=1e-3, buoyancy=(0.0, 0.0, 2.0))
        velocity, c_end = smoke.solve(flow.at_rest(), c.to(device), 0.2, 2, dt=0.02)
        results.append((*velocity, c_end))
    for cpu, gpu in zip(*results, strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, atol=1e-10, rtol=0)


def test_a_residual_goes_where_its_fields_are():
    flow = StaggeredFlow((16, 12), viscosity=0.05, sides={"y0": Wall(), "y1": Wall(tangential=1.0)}, dtype=f64)
    loss = StaggeredLoss(StaggeredResidual(flow, 0.01))
    before, after = torch.randn(2, 2, 1, 16, 13, generator=torch.Generator().manual_seed(0), dtype=f64)
    values = [loss({"psi": after.to(device)}, {"psi": before.to(device)}) for device in ("cpu", "cuda")]
    torch.testing.assert_close(values[1].cpu(), values[0], atol=0, rtol=1e-10)
