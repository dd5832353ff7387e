"""NeuralStagger with sub-grids that tell each other, before each step, what they are too coarse to know."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.operators import Decomposition, DilatedResNet, NeuralStagger, WithDerivatives, WithTransport

f64 = torch.float64
POINTWISE = partial(nn.Conv2d, kernel_size=1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=f64)


def operator(space: tuple[int, int], time: int, wrapper: type[nn.Module] = WithDerivatives, **options) -> NeuralStagger:
    """Subtasks that compute pointwise what they are told, all with the same weights; the code of their sub-grid is zero."""
    torch.manual_seed(0)
    options = {"exchange": "replicate", "weights": "shared", **options}
    network = partial(wrapper, network=options.pop("network", POINTWISE))
    made = NeuralStagger(network, Decomposition(space, time, "replicate"), {"psi": 1}, **options)
    if made.networks.embedding is not None:
        made.networks.embedding.data.zero_()
    made.gain.fill_(1e-3)
    return made.double()


@pytest.mark.parametrize(("wrapper", "ends", "n"), [(WithDerivatives, "replicate", 17), (WithTransport, "periodic", 16)])
def test_pointwise_networks_that_exchange_do_not_notice_the_decomposition(wrapper: type[nn.Module], ends: str, n: int):
    options = {"exchange": ends, "mixing": 3, "inputs": {"f": 1}}
    whole = operator((1, 1), 2, wrapper, **options)
    fields = {"psi": noise(3, 2, 1, n, n), "f": noise(1, 1, n, n)}
    expected = whole.rollout(fields, 3)["psi"]
    assert (expected[:, 2:4] - expected[:, :2]).norm() > 1e-6 * expected.norm()
    for space in ((2, 2), (4, 2)):
        parts = operator(space, 2, wrapper, **options)
        parts.networks.stacked.load_state_dict(whole.networks.stacked.state_dict())
        parts.exchange.load_state_dict(whole.exchange.state_dict())
        torch.testing.assert_close(parts.rollout(fields, 3)["psi"], expected, rtol=1e-10, atol=1e-12)


def test_sub_grids_that_exchange_start_from_persistence_and_learn():
    network = partial(DilatedResNet, width=4, blocks=1, dilations=(1,), padding_mode="circular")
    made = operator((2, 2), 1, WithTransport, exchange="periodic", mixing=3, network=network)
    u = {"psi": noise(2, 1, 8, 8)}
    change = made(u)["psi"] - u["psi"]
    assert not change.any()
    loss = (made(u)["psi"] - noise(2, 1, 8, 8, seed=1)).square().sum()
    loss.backward()
    moved = {name for name, p in made.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"exchange.after.weight", "exchange.after.bias", "networks.stacked.decode.weight"} <= moved


def test_without_exchange_sub_grids_differ_from_the_whole():
    u = noise(1, 1, 1, 16, 16)
    whole, parts = operator((1, 1), 1, exchange=None), operator((2, 2), 1, exchange=None)
    parts.networks.stacked.load_state_dict(whole.networks.stacked.state_dict())
    changes = [made({"psi": u})["psi"] - u[:, 0] for made in (whole, parts)]
    assert (changes[0] - changes[1]).norm() > 0.1 * changes[0].norm()


def test_sequences_that_exchange_run_by_themselves_but_sub_grids_do_not():
    made = operator((2, 2), 2)
    u = noise(1, 2, 1, 9, 9)
    everything = made.rollout({"psi": u}, 2)["psi"]
    sequence = made.coarse_rollout({"psi": u}, 2, range(4), [1])["psi"]
    torch.testing.assert_close(made.decomposition.merge(sequence[:, 0, 0], (9, 9)), everything[0, 1::2])
    with pytest.raises(InputError, match="there is no coarse solver by itself"):
        made.coarse_solver()
    with pytest.raises(InputError, match="sub-grids need each other"):
        made.coarse_rollout({"psi": u}, 2, [0])


def test_what_cannot_be_exchanged_is_refused():
    with pytest.raises(InputError, match="DilatedResNet has none"):
        NeuralStagger(DilatedResNet, Decomposition((2, 2)), {"psi": 1}, exchange="periodic")
    with pytest.raises(InputError, match="got 'walls' and 16"):
        operator((2, 2), 1, exchange="walls")
    with pytest.raises(InputError, match="got 'periodic' and 0"):
        operator((2, 2), 1, exchange="periodic", mixing=0)
