"""NeuralStagger with sub-grids that tell each other, before each step, what they are too coarse to know."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.operators import Decomposition, DilatedResNet, NeuralStagger, WithDerivatives, WithTransport
from thalweg.operators.neuralstagger import Exchange

f64 = torch.float64
POINTWISE = partial(nn.Conv2d, kernel_size=1)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=f64)


def operator(space: tuple[int, int], time: int, wrapper: type[nn.Module] = WithDerivatives, **options) -> NeuralStagger:
    """Subtasks that compute pointwise what they are told, all with the same weights; the code of their sub-grid is zero."""
    torch.manual_seed(0)
    options = {"exchange": "replicate", "weights": "shared", **options}
    made = NeuralStagger(partial(wrapper, network=POINTWISE), Decomposition(space, time, "replicate"), {"psi": 1}, **options)
    if made.networks.embedding is not None:
        made.networks.embedding.data.zero_()
    made.gain.fill_(1e-3)
    return made.double()


@pytest.mark.parametrize(("wrapper", "ends", "n"), [(WithDerivatives, "replicate", 17), (WithTransport, "periodic", 16)])
def test_pointwise_networks_that_exchange_do_not_notice_the_decomposition(wrapper: type[nn.Module], ends: str, n: int):
    whole = operator((1, 1), 2, wrapper, exchange=ends)
    u = noise(3, 2, 1, n, n)
    expected = whole.rollout({"psi": u}, 3)["psi"]
    for space in ((2, 2), (4, 2)):
        parts = operator(space, 2, wrapper, exchange=ends)
        parts.networks.stacked.load_state_dict(whole.networks.stacked.state_dict())
        torch.testing.assert_close(parts.rollout({"psi": u}, 3)["psi"], expected, rtol=1e-10, atol=1e-12)


def test_differences_are_those_to_the_nearest_points_of_the_full_grid():
    derivatives = WithDerivatives(POINTWISE, 1, 1, points=8.0)
    u = noise(2, 1, 9, 9)
    told = Exchange(derivatives, "replicate")(u)
    features = derivatives.features(u)
    torch.testing.assert_close(told[:, :4], features)
    forwards, backwards = told[:, 4:9], told[:, 9:14]
    torch.testing.assert_close(forwards[:, :, :-1], torch.cat([u, features], 1).diff(dim=-2))
    torch.testing.assert_close(backwards[:, :, 1:], -torch.cat([u, features], 1).diff(dim=-2))
    assert not forwards[:, :, -1].any()
    # The Laplacian of ψ on the full grid is a sum of these channels, whatever the sub-grids are.
    laplacian = 64 * sum(told[:, 4 + 5 * i] for i in range(4))
    torch.testing.assert_close(laplacian, -derivatives.scales[1] * features[:, 2])


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
    with pytest.raises(InputError, match="periodic or replicate, not 'walls'"):
        operator((2, 2), 1, exchange="walls")
