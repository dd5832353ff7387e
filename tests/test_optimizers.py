"""Optimisers against their formulas, and schedules against theirs."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from thalweg import training
from thalweg.errors import InputError
from thalweg.training.schedule import has_end

OPTIMIZERS = {
    "adam": partial(training.adam, lr=0.1),
    "adamw": partial(training.adamw, lr=0.1, weight_decay=0.0),
    "lion": partial(training.Lion, lr=0.05),
    "muon": partial(training.MuonAdamW, lr=0.1, weight_decay=0.0),
}


def parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def set_gradients(weights: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator)


@pytest.mark.parametrize("schedule", [training.one_cycle, training.cosine, training.constant, training.plateau])
@pytest.mark.parametrize("name", [*OPTIMIZERS, "lbfgs"])
def test_every_schedule_drives_every_optimizer(name: str, schedule):
    weights = parameters((6, 4), (5,))
    optimizer = (OPTIMIZERS | {"lbfgs": torch.optim.LBFGS})[name](weights)
    rate = optimizer.param_groups[0]["lr"]
    scheduler = schedule(optimizer, **({"total_steps": 50} if has_end(schedule) else {}))
    for step in range(50):
        set_gradients(weights, step)
        optimizer.step(lambda: torch.ones(()))
        scheduler.step(*([1 / (1 + step)] if schedule is training.plateau else []))
    assert all(group["lr"] < 0.01 * rate if has_end(schedule) else group["lr"] == rate for group in optimizer.param_groups)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_convex_quadratic_is_minimised(name: str):
    weights = parameters((6, 4), (5,))
    optimizer = OPTIMIZERS[name](weights)
    schedule = training.cosine(optimizer, total_steps=300)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = sum(((1 + i) * (weight - i).square()).sum() for i, weight in enumerate(weights))
        loss.backward()
        return loss

    first = optimizer.step(closure)
    for _ in range(299):
        schedule.step()
        last = optimizer.step(closure)
    assert last < 1e-4 * first


def test_lion_is_its_formula():
    (weight,) = parameters((3, 4))
    rate, beta1, beta2, decay = 0.01, 0.9, 0.99, 0.1
    optimizer = training.Lion([weight], rate, (beta1, beta2), decay)
    w, m = weight.detach().clone(), torch.zeros(3, 4)
    for step in range(4):
        set_gradients([weight], step)
        g = weight.grad
        optimizer.step()
        w = (1 - rate * decay) * w - rate * (beta1 * m + (1 - beta1) * g).sign()
        m = beta2 * m + (1 - beta2) * g
        torch.testing.assert_close(weight.detach(), w)


@pytest.mark.parametrize(("ours", "theirs"), [(training.adam, torch.optim.Adam), (training.adamw, torch.optim.AdamW)])
def test_fused_adam_is_adam(ours, theirs):
    fused, plain = parameters((3, 4), (7,)), parameters((3, 4), (7,))
    optimizers = ours(fused, lr=0.01), theirs(plain, lr=0.01, foreach=False)
    assert optimizers[0].defaults["fused"]
    for step in range(5):
        for weights, optimizer in zip((fused, plain), optimizers, strict=True):
            set_gradients(weights, step)
            optimizer.step()
    for one, other in zip(fused, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_muon_orthogonalises_matrices_and_leaves_the_rest_to_adamw():
    weights, reference = parameters((8, 5), (2, 3, 3), (4,)), parameters((8, 5), (2, 3, 3), (4,))
    before = weights[0].detach().clone()
    optimizer, adamw = (
        training.MuonAdamW(weights, lr=0.01, weight_decay=0.1),
        training.adamw(reference[1:], lr=0.01, weight_decay=0.1),
    )
    set_gradients(weights, 1)
    set_gradients(reference, 1)
    optimizer.step()
    adamw.step()
    for ours, theirs in zip(weights[1:], reference[1:], strict=True):
        assert torch.equal(ours, theirs)
    update = (weights[0].detach() - (1 - 0.01 * 0.1) * before) / 0.01
    values = torch.linalg.svdvals(update)
    # Five Newton-Schulz iterations bring the singular values near one another, and the size is that of AdamW's updates, 0.2.
    assert values.max() < 2 * values.min()
    assert update.square().mean().sqrt() == pytest.approx(0.2, rel=0.3)


def test_a_schedule_reaches_both_parts_of_muon():
    optimizer = training.MuonAdamW(parameters((8, 5), (4,)), lr=0.1)
    schedule = training.cosine(optimizer, total_steps=2)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == pytest.approx([0.05, 0.05])
    optimizer.load_state_dict(optimizer.state_dict())
    schedule.step()
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == pytest.approx([0, 0], abs=1e-12)


def test_muon_without_matrices_is_refused():
    with pytest.raises(InputError, match="Use AdamW"):
        training.MuonAdamW(parameters((4,)))


def test_a_constant_rate_is_reached_linearly_and_kept():
    optimizer = torch.optim.SGD(parameters((2,)), lr=1.0)
    schedule = training.constant(optimizer, warmup_steps=4)
    rates = []
    for _ in range(7):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0.1), (4, 0.25), (2, 0.5), (10, 0.05)])
def test_a_warmup_of_no_more_than_a_step_begins_at_the_rate(steps: int, warmup: float):
    optimizer = training.adamw(parameters((5,)), lr=0.1)
    schedule = training.one_cycle(optimizer, steps, warmup)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert rates == sorted(rates, reverse=True)


def test_schedules_know_whether_they_end():
    assert [has_end(make) for make in (training.one_cycle, training.cosine, training.constant, training.plateau)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert has_end(partial(training.one_cycle, warmup=0.1))
    assert not has_end(partial(training.constant, warmup_steps=3))
