"""The grid solvers give the same on a GPU as on the CPU; only where there is one."""

import pytest
import torch

from thalweg.solvers.grid import (
    Darcy,
    DirichletField,
    NeumannField,
    Outflow,
    PeriodicField,
    StaggeredFlow,
    VorticityEquation,
    Wall,
    diagonal_forcing,
    multiscale_trigonometric,
    threshold,
)

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


def test_flow_around_an_obstacle():
    solid = torch.zeros(16, 12, dtype=torch.bool)
    solid[4:7, 5:8] = True
    sides = {"x0": Wall(normal=torch.ones(12)), "x1": Outflow(), "y0": Wall(), "y1": Wall()}
    results = []
    for device in ("cpu", "cuda"):
        flow = StaggeredFlow(
            (16, 12), viscosity=0.05, sides=sides, solid=solid.to(device), tolerance=1e-12, dtype=f64, device=device
        )
        results.append(flow.solve(flow.at_rest(2), 0.1, 1, dt=0.02))
    for cpu, gpu in zip(*results, strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, atol=1e-9, rtol=0)
