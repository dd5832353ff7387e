"""The published MgNO: its numbers of weights, its formulas, its loss."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mgno_cycles import IO
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import PublishedMgNO, published_cases
from thalweg.operators.mgno.published import PublishedCycle
from thalweg.training import TruncatedH1


@pytest.mark.parametrize(
    ("case", "shape", "channels", "weights"),
    [
        ("DARCY_SMOOTH", (211, 211), 1, 678_093),
        ("DARCY_ROUGH", (256, 256), 1, 572_661),
        ("DARCY_MULTISCALE", (256, 256), 1, 572_661),
        ("NAVIER_STOKES", (64, 64), 1, 2_885_194),
        # The authors' code has 5 351 806, of which 11 241 belong to convolutions of steps that start from zero and are never applied.
        ("HELMHOLTZ", (101, 101), 1, 5_351_806 - 11_241),
        ("PIPE", (128, 128), 2, 783_876),
    ],
)
def test_published_cases_have_the_published_numbers_of_weights(case: str, shape: tuple[int, int], channels: int, weights: int):
    operator = PublishedMgNO(Grid(shape), {"u": channels}, {"u": 1}, **getattr(published_cases, case))
    assert sum(parameter.numel() for parameter in operator.parameters()) == weights


def transcribed_cycle(cycle: PublishedCycle, f: Tensor, post: int) -> Tensor:
    """The formulas one by one, for one step on each level before, and ``post`` after, the correction."""
    conv: Callable = F.conv2d
    steps = [[(step.A, step.S) for step in (*before, *after)] for before, after in zip(cycle.before, cycle.after, strict=True)]
    us, fs = [conv(f, steps[0][0][1].weight, padding=1)], [f]
    for l in range(1, len(steps)):
        u = conv(us[-1], cycle.project[l - 1].weight, stride=2, padding=1)
        g = conv(fs[-1], cycle.restrict[l - 1].weight, stride=2, padding=1)
        A, S = steps[l][0]
        us.append(u + conv(g - conv(u, A.weight, padding=1), S.weight, padding=1))
        fs.append(g)
    u = us[-1]
    for l in range(len(steps) - 2, -1, -1):
        u = us[l] + F.conv_transpose2d(u, cycle.prolong[l].weight, stride=2, padding=1)
        for A, S in steps[l][1 : 1 + post]:
            u = u + conv(fs[l] - conv(u, A.weight, padding=1), S.weight, padding=1)
    return u


@pytest.mark.parametrize(("shape", "post"), [((13, 16), 0), ((16, 16), 1)])
def test_the_published_network_is_its_formulas(shape: tuple[int, int], post: int):
    torch.manual_seed(0)
    smoothing = [(1, post), (1, post), (1, 0)]
    operator = PublishedMgNO(Grid(shape), **IO, channels=3, layers=2, smoothing=smoothing).double()
    a = torch.randn(2, 1, *shape, dtype=torch.float64)
    u = a
    assert operator.skips is not None
    for cycle, skip in zip(operator.cycles, operator.skips, strict=True):
        assert isinstance(cycle, PublishedCycle)
        u = F.gelu(transcribed_cycle(cycle, u, post) + F.conv2d(u, skip.weight[..., None, None], skip.bias))
    torch.testing.assert_close(
        operator({"a": a})["u"], F.conv2d(u, operator.head.weight[..., None, None]), rtol=1e-12, atol=1e-13
    )


def test_the_truncated_h1_loss_is_the_true_one_of_smooth_periodic_functions():
    n = 64
    x = torch.arange(n, dtype=torch.float64) / n
    X, Y = torch.meshgrid(x, x, indexing="ij")
    u = torch.sin(2 * torch.pi * (3 * X + Y))[None, None]
    v = torch.cos(2 * torch.pi * 5 * Y)[None, None]
    loss = TruncatedH1("u")
    expected = ((1 + 3**2 + 1) / (1 + 5**2)) ** 0.5
    assert loss({"u": v + u}, {"u": v}).item() == pytest.approx(expected)
    fast = torch.cos(2 * torch.pi * 25 * X)[None, None]
    assert loss({"u": v + fast}, {"u": v}).item() == pytest.approx((1 / 26) ** 0.5)
    assert TruncatedH1("u", cutoff=None)({"u": v + fast}, {"u": v}).item() == pytest.approx((626 / 26) ** 0.5)
