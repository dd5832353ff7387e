"""NeuralStagger's decomposition, its networks on one and several processes, its rollouts and its files."""

from contextlib import nullcontext
from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import nn

from thalweg.configuration import build
from thalweg.errors import FingerprintError, InputError
from thalweg.fem.uniform_grid import Grid, Grids
from thalweg.operators import FNO, Courant, Decomposition, MgNO, NeuralStagger, UNet, build_operator, load_operator, save_operator
from thalweg.operators.mgno import Architecture, PublishedMgNO
from thalweg.operators.neuralstagger import (
    Ensemble,
    OperatorNetwork,
    SolenoidalVelocity,
    WithLambVector,
    WithTransport,
    error_against_cost,
)
from thalweg.operators.neuralstagger.box_convolution import with_box_convolutions
from thalweg.operators.neuralstagger.ensemble import interpolated
from thalweg.solvers.grid import VorticityEquation

f64 = torch.float64


class Convolutions(nn.Module):
    """Two periodic convolutions with a nonlinearity between them."""

    def __init__(self, in_channels: int, out_channels: int, width: int = 6, dim: int = 2):
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dim]
        self.layers = nn.Sequential(
            conv(in_channels, width, 3, padding=1, padding_mode="circular"),
            nn.GELU(),
            conv(width, out_channels, 3, padding=1, padding_mode="circular"),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = f64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def stagger(space=(2, 2), time=2, padding=None, seed=0, **options) -> NeuralStagger:
    torch.manual_seed(seed)
    state = options.pop("state", {"w": 1})
    return NeuralStagger(options.pop("network", Convolutions), Decomposition(space, time, padding), state, **options).double()


@pytest.mark.parametrize(("space", "shape"), [((3,), (12,)), ((2, 3), (8, 9)), ((2, 1, 4), (4, 3, 8)), ((1, 1), (5, 7))])
def test_splitting_and_merging_is_lossless_to_the_last_bit(space, shape):
    decomposition = Decomposition(space, 2)
    u = noise(3, 4, 2, *shape)
    parts = decomposition.split(u)
    assert torch.equal(decomposition.merge(parts), u)
    for part, offset in zip(parts, decomposition.offsets, strict=True):
        points = (..., *(slice(p, None, s) for p, s in zip(offset, space, strict=True)))
        assert torch.equal(part, u[points])
    frames = decomposition.split_frames(u)
    assert torch.equal(decomposition.merge_frames(frames), u)
    assert torch.equal(frames[1], u[:, 1::2, :][(..., *(slice(0, None, s) for s in space))])


@pytest.mark.parametrize("padding", ["zeros", "replicate", "periodic"])
def test_sizes_that_factors_do_not_divide_are_padded_exactly_or_refused(padding):
    u = noise(2, 1, 7, 9)
    decomposition = Decomposition((2, 4), padding=padding)
    parts = decomposition.split(u)
    assert parts.shape == (8, 2, 1, 4, 3)
    assert torch.equal(decomposition.merge(parts, (7, 9)), u)
    beyond = {"zeros": torch.zeros(2, 1, 9, dtype=f64), "replicate": u[:, :, -1], "periodic": u[:, :, 0]}
    assert torch.equal(decomposition.merge(parts)[:, :, 7, :9], beyond[padding])
    with pytest.raises(InputError, match="do not divide"):
        Decomposition((2, 4)).split(u)


def test_an_operator_on_a_padded_grid_gives_fields_of_the_given_sizes():
    operator = stagger(time=1, padding="replicate", state={"psi": 1, "p": 1})
    fields = {"psi": noise(2, 1, 7, 9), "p": noise(2, 1, 6, 8)}
    assert {name: u.shape for name, u in operator(fields).items()} == {"psi": (2, 1, 7, 9), "p": (2, 1, 6, 8)}
    assert operator.rollout(fields, 3)["p"].shape == (2, 4, 1, 6, 8)
    with pytest.raises(InputError, match="Choose a padding"):
        stagger(time=1, state={"psi": 1, "p": 1})(fields)


@pytest.mark.parametrize("weights", ["subtask", "sub_grid", "shared"])
def test_batched_and_one_by_one_agree(weights):
    fields, results = {"w": noise(3, 2, 1, 8, 8)}, []
    for execution in ("batched", "one_by_one"):
        operator = stagger(weights=weights, execution=execution)
        w = operator(fields)["w"]
        gradients = torch.autograd.grad(w.square().sum(), list(operator.parameters()))
        results.append([w, *gradients])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


NETWORKS = {
    "unet": partial(UNet, width=4, levels=2),
    "fno": partial(FNO, modes=(3, 3), width=4, layers=2, projection=8),
    "mgno": partial(
        OperatorNetwork, partial(MgNO, Grid((8, 8), periodic=(True, True)), architecture=Architecture(layers=1, coarsest=4))
    ),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_published_networks_can_be_wrapped(network):
    fields, results = {"w": noise(3, 2, 1, 16, 16)}, []
    for execution in ("batched", "one_by_one"):
        operator = stagger(network=NETWORKS[network], execution=execution)
        trained = operator(fields)["w"]
        parameters = list(operator.parameters())
        gradients = torch.autograd.grad(trained.square().sum(), parameters, allow_unused=True, materialize_grads=True)
        operator.eval()
        evaluated = operator(fields)["w"]
        results.append([trained, evaluated, *gradients])
        alone = operator.coarse_solver(sub_grid=3, sequence=0).eval()(fields["w"][:, 0, :, 1::2, 1::2])
        torch.testing.assert_close(alone, evaluated[:, 0, :, 1::2, 1::2], atol=1e-12, rtol=0)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-11)


def test_networks_that_cannot_be_batched_are_explained():
    network = partial(OperatorNetwork, partial(PublishedMgNO, Grid((8, 8)), channels=4, layers=1, smoothing=((1, 0), (1, 0))))
    fields = {"w": noise(1, 2, 1, 16, 16)}
    with pytest.raises(InputError, match="cannot be batched"):
        stagger(network=network)(fields)
    assert stagger(network=network, execution="one_by_one")(fields)["w"].shape == fields["w"].shape


def test_every_subtask_sees_its_own_sub_grid_with_its_own_weights_and_nothing_else():
    operator = stagger()
    fields = {"w": noise(1, 2, 1, 8, 8)}
    w = operator(fields)["w"]
    for subtask, (p, q, k) in enumerate((p, q, k) for p in (0, 1) for q in (0, 1) for k in (0, 1)):
        network, _ = operator.networks.single(subtask)
        u = fields["w"][:, k, :, p::2, q::2]
        torch.testing.assert_close(w[:, k, :, p::2, q::2], u + network(u), atol=1e-12, rtol=0)


@pytest.mark.parametrize("weights", ["subtask", "sub_grid", "shared"])
def test_a_rollout_is_the_same_whole_in_parts_and_by_coarse_solvers(weights):
    operator = stagger(weights=weights)
    operator.gain.fill_(0.3)
    operator.state_scale.fill_(2.0)
    fields = {"w": noise(2, 2, 1, 8, 8)}
    whole = operator.rollout(fields, 3)["w"]
    assert torch.equal(whole[:, :2], fields["w"])
    state = fields
    for step in range(1, 4):
        state = operator(state)
        torch.testing.assert_close(whole[:, 2 * step : 2 * step + 2], state["w"], atol=1e-12, rtol=0)
    part = operator.coarse_rollout(fields, 3, sub_grids=[3, 1], sequences=[1])["w"]
    assert part.shape == (2, 1, 2, 4, 1, 4, 4)
    torch.testing.assert_close(part[0, 0], whole[:, 1::2, :, 1::2, 1::2], atol=1e-12, rtol=0)
    torch.testing.assert_close(part[1, 0], whole[:, 1::2, :, 0::2, 1::2], atol=1e-12, rtol=0)
    backwards = operator.coarse_rollout(fields, 3, sub_grids=[3, 2, 1, 0], sequences=[1, 0])["w"]
    forwards = operator.coarse_rollout(fields, 3, sub_grids=range(4), sequences=range(2))["w"]
    torch.testing.assert_close(backwards.flip(0, 1), forwards, atol=1e-12, rtol=0)
    torch.testing.assert_close(forwards[3, 1], part[0, 0], atol=1e-12, rtol=0)
    alone = operator.coarse_solver(sub_grid=1, sequence=1).rollout(fields["w"][:, 1, :, 0::2, 1::2], 3)
    torch.testing.assert_close(alone, part[1, 0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("padding_mode", ["circular", "zeros", "replicate"])
def test_convolutions_of_single_boxes_are_torchs_with_their_gradients(padding_mode):
    torch.manual_seed(0)
    options = {"padding": 2, "dilation": 2, "padding_mode": padding_mode}
    results = []
    network = nn.Sequential(nn.Conv3d(3, 5, 3, **options), nn.GELU(), nn.Conv3d(5, 2, 3, **options))
    for each in (network, with_box_convolutions(deepcopy(network))):
        u = noise(1, 3, 6, 7, 8, dtype=torch.float32).requires_grad_()
        v = each(u)
        results.append([v, *torch.autograd.grad(v.square().sum(), [u, *each.parameters()])])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    several = noise(2, 3, 6, 7, 8, dtype=torch.float32)
    torch.testing.assert_close(with_box_convolutions(deepcopy(network))(several), network(several))


def test_inputs_are_those_of_the_predicted_frames():
    operator = stagger(inputs={"g": 1}, weights="sub_grid")
    fields = {"w": noise(2, 2, 1, 8, 8), "g": noise(2, 6, 1, 8, 8, seed=1)}
    whole = operator.rollout(fields, 3)["w"]
    state = fields["w"]
    for step in range(3):
        state = operator({"w": state, "g": fields["g"][:, 2 * step : 2 * step + 2]})["w"]
        torch.testing.assert_close(whole[:, 2 * step + 2 : 2 * step + 4], state, atol=1e-12, rtol=0)
    steady = {"w": fields["w"], "g": fields["g"][:1, 0]}
    repeated = {"w": fields["w"], "g": steady["g"].expand(2, 6, 1, 8, 8)}
    torch.testing.assert_close(operator.rollout(steady, 3)["w"], operator.rollout(repeated, 3)["w"], atol=1e-12, rtol=0)
    solver = operator.coarse_solver(sub_grid=2, sequence=0)
    alone = solver.rollout(fields["w"][:, 0, :, 1::2, 0::2], 3, steady["g"][..., 1::2, 0::2])
    torch.testing.assert_close(alone, operator.coarse_rollout(steady, 3, [2], [0])["w"][0, 0], atol=1e-12, rtol=0)


def test_where_the_state_is_held_it_stays_the_same_to_the_last_bit():
    operator = stagger(held={"w": "free"})
    free = torch.ones(1, 1, 8, 8, dtype=f64)
    free[..., 0, :] = free[..., 3, 4] = 0
    fields = {"w": noise(2, 2, 1, 8, 8), "free": free}
    w = operator.rollout(fields, 4)["w"].unflatten(1, (5, 2))
    stays = (w == w[:, :1]).all(1).all(0).all(0)[0]
    assert torch.equal(stays, free[0, 0] == 0)


@pytest.mark.parametrize(("dim", "space"), [(1, (4,)), (3, (2, 1, 2))])
def test_one_and_three_dimensions(dim, space):
    operator = stagger(space, 2, network=lambda in_channels, out_channels: Convolutions(in_channels, out_channels, dim=dim))
    fields = {"w": noise(2, 2, 1, *[8] * dim)}
    w = operator.rollout(fields, 2)["w"]
    torch.testing.assert_close(w[:, 2:4], operator(fields)["w"], atol=1e-12, rtol=0)


def test_scales_are_those_of_the_state_and_of_its_change_within_a_step():
    operator = stagger()
    first = noise(4, 2, 1, 8, 8)
    w = torch.cat([first, 1.1 * first, 1.21 * first], 1)
    operator.set_scales({"w": 7 * w})
    torch.testing.assert_close(operator.state_scale, (7 * w).square().mean().sqrt().reshape(1, 1, 1))
    expected = (0.1 * w[:, :4]).square().mean().sqrt() / w.square().mean().sqrt()
    torch.testing.assert_close(operator.gain, expected.reshape(1, 1, 1))


def test_rollouts_stay_bounded_whatever_the_weights_are():
    operator = stagger(limit=5.0)
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.mul_(30)
    w = operator.rollout({"w": noise(1, 2, 1, 8, 8)}, 50)["w"]
    assert bool(torch.isfinite(w).all())
    assert w.abs().max() == 5.0


def _on_one_of_two_processes(rank: int, folder: str, weights: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/{weights}", rank=rank, world_size=2)
    results = _trained(weights, "processes")
    torch.save(results, f"{folder}/{weights}{rank}.pt")
    dist.destroy_process_group()


def _different_on_two_processes(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/different", rank=rank, world_size=2)
    with pytest.raises(InputError, match="given different fields"):
        stagger(execution="processes")({"w": noise(1, 2, 1, 8, 8, seed=rank)})
    dist.destroy_process_group()


def test_processes_with_different_fields_are_refused(tmp_path):
    mp.start_processes(_different_on_two_processes, (str(tmp_path),), nprocs=2, start_method="fork")


def _trained(weights: str, execution: str) -> list[torch.Tensor]:
    """Weights after two steps of gradient descent through two blocks, and the last prediction."""
    options = {"weights": weights}
    if weights == "exchange":
        options = {"weights": "shared", "exchange": "periodic", "mixing": 2, "network": partial(WithTransport, Convolutions)}
    operator = stagger((3, 1), 2, execution=execution, **options)
    optimizer = torch.optim.SGD(operator.parameters(), lr=0.05)
    first = noise(2, 2, 1, 6, 4).requires_grad_()
    for _ in range(2):
        once = operator({"w": first})
        twice = operator(once)["w"]
        optimizer.zero_grad()
        (twice.square().mean() + once["w"].diff(dim=1).square().mean()).backward()
        optimizer.step()
    return [*(p.detach() for p in operator.parameters()), twice.detach(), first.grad]


@pytest.mark.parametrize("weights", ["subtask", "shared", "exchange"])
def test_two_processes_train_as_one_does(tmp_path, weights):
    mp.start_processes(_on_one_of_two_processes, (str(tmp_path), weights), nprocs=2, start_method="fork")
    expected = _trained(weights, "batched")
    for rank in range(2):
        for a, b in zip(torch.load(tmp_path / f"{weights}{rank}.pt"), expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


CONFIG = {
    "_target_": "thalweg.operators.NeuralStagger",
    "network": {"_target_": "torch.nn.Conv2d", "_partial_": True, "kernel_size": 3, "padding": 1},
    "decomposition": {"_target_": "thalweg.operators.Decomposition", "space": [2, 2], "time": 2},
    "state": {"w": 1},
    "courant": {"_target_": "thalweg.operators.Courant", "dt": 0.01, "spacings": [0.1, 0.1], "speed": 5.0},
}


def test_a_saved_operator_is_the_same_when_loaded(tmp_path):
    grids = Grids({"w": Grid((8, 8), periodic=True)})
    operator = build_operator(CONFIG, grids)
    fields = {"w": noise(2, 4, 1, 8, 8, dtype=torch.float32)}
    operator.set_scales(fields)
    save_operator(tmp_path, operator)
    start = {"w": fields["w"][:, :2]}
    assert torch.equal(load_operator(tmp_path, grids)(start)["w"], operator(start)["w"])
    with pytest.raises(FingerprintError):
        load_operator(tmp_path, Grids({"w": Grid((16, 16), periodic=True)}))


def test_a_time_factor_that_violates_the_cfl_condition_is_refused():
    courant = Courant(dt=0.01, spacings=(0.1, 0.1), speed=6.0)
    assert courant.number(Decomposition((2, 2), 2)) == pytest.approx(0.6)
    stagger((2, 2), 2, courant=courant)
    with pytest.raises(InputError, match=r"time factor of 4 violates the CFL condition.*1\.2 cells"):
        stagger((2, 2), 4, courant=courant)
    stagger((2, 2), 4, courant=Courant(dt=0.01, spacings=(0.1, 0.1), speed=6.0, limit=2.0))


@pytest.mark.parametrize("flow", ["cavity", "channel", "moving_disc", "taylor_green", "vorticity"])
def test_experiments_refuse_time_factors_that_violate_the_cfl_condition(flow: str):
    space = [2, 2, 2] if flow == "taylor_green" else [2, 2]
    for time, refused in ((4, False), (40, True)):
        factors = ",".join(map(str, [*space, time]))
        with initialize_config_module("thalweg.conf", version_base="1.3"):
            config = compose("train", overrides=[f"experiment=neuralstagger_{flow}", f"factors=[{factors}]"])
        nodes = OmegaConf.to_container(config, resolve=True)
        assert isinstance(nodes, dict)
        grids, operator = build(nodes["problem"]).export(), nodes["operator"]
        with pytest.raises(InputError, match="time factor of 40 violates the CFL") if refused else nullcontext():
            build_operator(operator, grids)


def test_wrong_options_are_explained():
    for space, time, padding in (((0, 2), 1, None), ((2, 2), 0, None), ((2, 2), 1, "reflect"), ((2, 2, 2, 2), 1, None)):
        with pytest.raises(InputError):
            Decomposition(space, time, padding)
    for options in ({"weights": "tied"}, {"execution": "threads"}, {"limit": 0.0}, {"held": {"v": "free"}}, {"state": {}}):
        with pytest.raises(InputError):
            stagger(**options)
    with pytest.raises(InputError, match="Running statistics"):
        stagger(network=UNet, execution="processes")
    tied = nn.Conv2d(1, 1, 1)
    with pytest.raises(InputError, match="one parameter in two places"):
        stagger(network=lambda in_channels, out_channels: nn.Sequential(tied, tied))


def test_wrong_fields_are_explained():
    operator, w = stagger(), noise(2, 2, 1, 8, 8)
    for fields, message in (
        ({"u": w}, "needs the field 'w'"),
        ({"w": w[:, 0]}, "2 frames|starts from 2"),
        ({"w": w[:, :, :, :7]}, "do not divide"),
        ({"w": w.float()}, "float32"),
        ({"w": w.expand(2, 2, 3, 8, 8)}, "expected"),
    ):
        with pytest.raises(InputError, match=message):
            operator(fields)
    with pytest.raises(InputError, match="has no sub-grids"):
        operator.coarse_rollout({"w": w}, 1, [4])
    with pytest.raises(InputError, match=r"time factor of 2 needs trajectories of 4 frames or more.*\(2, 2, 1, 8, 8\)"):
        operator.set_scales({"w": w})
    with pytest.raises(InputError, match="keep the shape"):
        stagger(network=lambda in_channels, out_channels: nn.Conv2d(in_channels, out_channels, 3))({"w": w})


@pytest.mark.parametrize("space", [(2, 4), (3, 1)])
def test_interpolation_of_a_sub_grid_is_exact_for_waves_and_for_cubic_polynomials(space):
    decomposition, shape = Decomposition(space), (24, 24)
    x, y = (torch.arange(n, dtype=f64) for n in shape)
    wave = torch.sin(2 * x * 2 * torch.pi / 24)[:, None] * torch.cos(y * 2 * torch.pi / 24 - 1)
    cubic = ((x - 7) ** 3 / 100 + x)[:, None] * (1 - (y / 10) ** 3)
    for u, periodic in ((wave, (True, True)), (cubic, (False, False))):
        for i, part in enumerate(decomposition.split(u)):
            full = interpolated(part, decomposition, i, shape, periodic)
            torch.testing.assert_close(full, u, atol=1e-9, rtol=0)


def test_calibration_recognises_a_member_like_the_others_and_one_that_is_not():
    members = noise(8, 20000)
    ensemble = Ensemble(members.mean(0), members.std(0), 8)
    fair = ensemble.calibration(noise(20000, seed=1))
    assert fair["spread_skill"] == pytest.approx(1, abs=0.02)
    assert fair["coverage_1"] == pytest.approx(0.649, abs=0.02)  # of Student's distribution with 7 degrees of freedom
    assert fair["calibration_error"] < 0.02
    far = ensemble.calibration(5 + noise(20000, seed=1))
    assert far["spread_skill"] < 0.3
    assert far["calibration_error"] > 0.5


def test_errors_of_all_resolutions_are_those_of_their_fields():
    operator = stagger()
    fields = {"w": noise(2, 2, 1, 8, 8)}
    reference = operator.rollout(fields, 3)["w"][:, -2:]
    rows = error_against_cost(operator, fields, reference, "w", 3, (True, True))
    assert [(row["sub_grids"], row["subtasks"]) for row in rows] == [(1, 2), (2, 4), (4, 8)]
    assert all(row["coarse_error"] < 1e-12 for row in rows)
    assert rows[-1]["full_error"] < 1e-12 < 0.1 < rows[0]["full_error"]
    assert rows[1]["spread_skill"] > 0
    with pytest.raises(InputError, match="the block after the rollout"):
        error_against_cost(operator, fields, reference[:, 0], "w", 3, (True, True))


def test_the_derived_velocity_has_no_divergence_at_any_time():
    spacings, free = (0.1, 0.2), torch.zeros(1, 1, 9, 9, dtype=f64)
    free[..., 1:-1, 1:-1] = 1
    derived = SolenoidalVelocity(spacings, (False, False))
    operator = stagger(state={"psi": 1}, padding="replicate", held={"psi": "free"}, derived=derived)
    fields = operator.rollout({"psi": free[:, None] * noise(2, 2, 1, 9, 9), "free": free}, 20)
    u, v = fields["velocity_x"], fields["velocity_y"]
    assert (u.shape, v.shape) == ((2, 42, 1, 9, 8), (2, 42, 1, 8, 9))
    divergence = u.diff(dim=-2) / spacings[0] + v.diff(dim=-1) / spacings[1]
    assert divergence.abs().max() < 1e-13 * u.abs().max() / min(spacings)
    assert u[..., 0, :].count_nonzero() == v[..., 0].count_nonzero() == 0


def test_the_network_that_sees_transport_sees_that_of_a_wave():
    x, y = (torch.arange(16, dtype=f64) * 2 * torch.pi / 16 for _ in range(2))
    w = (torch.sin(x)[:, None] + torch.cos(2 * y))[None, None]
    u, v, transport = WithTransport(Convolutions, 1, 1).features(w)[0]
    torch.testing.assert_close(u, (-torch.sin(2 * y) / 2).expand(16, 16), atol=1e-12, rtol=0)
    torch.testing.assert_close(v, (-torch.cos(x)[:, None]).expand(16, 16), atol=1e-12, rtol=0)
    expected = -torch.sin(2 * y) / 2 * torch.cos(x)[:, None] + torch.cos(x)[:, None] * 2 * torch.sin(2 * y)
    torch.testing.assert_close(transport, expected, atol=1e-12, rtol=0)


def test_further_orders_of_the_transport_are_derivatives_of_the_solvers_rate():
    shape, lengths = (24, 16), (2 * torch.pi, torch.pi)
    equation = VorticityEquation(shape, lengths, viscosity=1e-300, dtype=f64)
    # Of so few waves that products of three are resolved.
    x, y = (torch.arange(n, dtype=f64) * L / n for n, L in zip(shape, lengths, strict=True))
    w = (torch.sin(x)[:, None] + torch.cos(2 * y) + torch.cos(x[:, None] - 2 * y))[None, None]
    given = WithTransport(Convolutions, 1, 1, aspect=0.5, orders=2).features(w)
    rate = equation.rate(w)
    torch.testing.assert_close(given[:, 2:3], -rate, atol=1e-12, rtol=0)
    second = (equation.rate(w + rate) - equation.rate(w - rate)) / 2  # exact, for the rate is quadratic
    assert second.abs().max() > 0.1
    torch.testing.assert_close(given[:, 3:4], -second, atol=1e-11, rtol=0)
    with pytest.raises(InputError, match="order"):
        WithTransport(Convolutions, 1, 1, orders=0)


def test_the_lamb_vector_of_a_potential_changes_it_as_convection_changes_the_velocity():
    x = torch.arange(12, dtype=f64) * 2 * torch.pi / 12
    X, Y, Z = torch.meshgrid(x, x, x, indexing="ij")
    # The Taylor-Green vortex, whose vector potential is a third of its vorticity.
    u = torch.stack([X.sin() * Y.cos() * Z.cos(), -X.cos() * Y.sin() * Z.cos(), torch.zeros_like(X)])
    a = torch.stack([-X.cos() * Y.sin() * Z.sin(), -X.sin() * Y.cos() * Z.sin(), 2 * X.sin() * Y.sin() * Z.cos()])[None] / 3
    given = WithLambVector(partial(Convolutions, dim=3), 3, 3, orders=2).features(a)
    torch.testing.assert_close(given[0, :3], u, atol=1e-12, rtol=0)

    def rate(a):
        """∂A/∂t by the transport form −u·∇u, of which only the curl counts."""
        v = curls(a)
        convection = -sum(v[:, i : i + 1] * slope(v, i) for i in range(3))
        return curls(convection)

    def slope(v, axis):
        k = 1j * torch.fft.fftfreq(12, 1 / 12, dtype=f64).reshape([12 if i == axis else 1 for i in range(3)])
        return torch.fft.ifft(torch.fft.fft(v, dim=axis - 3) * k, dim=axis - 3).real

    def curls(v):
        s = [slope(v, i) for i in range(3)]
        return torch.stack([s[1][:, 2] - s[2][:, 1], s[2][:, 0] - s[0][:, 2], s[0][:, 1] - s[1][:, 0]], 1)

    first, second = given[:, 3:6], given[:, 6:]
    assert first.abs().max() > 0.02
    torch.testing.assert_close(curls(curls(first)), rate(a), atol=1e-12, rtol=0)
    torch.testing.assert_close(curls(curls(second)), (rate(a + first) - rate(a - first)) / 2, atol=1e-11, rtol=0)
    with pytest.raises(InputError, match="three components"):
        WithLambVector(partial(Convolutions, dim=3), 2, 3)
