"""The baselines are those of their papers: sizes as published, transforms that are Fourier's, and the symmetries each network has."""

import math

import firedrake as fd
import numpy as np
import pytest
import torch
from torch import nn

from thalweg import fem
from thalweg.errors import InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.operators import (
    SPON,
    DirichletDecoder,
    InterpolationEncoder,
    PlainDecoder,
    build_operator,
    load_operator,
    save_operator,
)
from thalweg.operators.baselines import (
    FNO,
    DeepONet,
    FactorizedFNO,
    GridOperator,
    MeshGraphNet,
    OnGrid,
    SpectralConvolution,
    Transolver,
    UNet,
)
from thalweg.operators.baselines.factorized_fno import FactorizedLayer
from thalweg.operators.baselines.fourier import waves
from thalweg.operators.graph import DofGraph

GRID = Grid((16, 12), (1.0, 1.0))


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def disc() -> fem.Discretization:
    mesh = fd.UnitSquareMesh(5, 4)
    return fem.export({"V": fd.FunctionSpace(mesh, "CG", 2), "W": fd.FunctionSpace(mesh, "CG", 1)}, dtype=torch.float32)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# Sizes. Batch normalisation, which the first version of FNO had and its authors dropped, is counted apart.


@pytest.mark.parametrize(
    ("network", "published", "batch_norms"),
    [
        (lambda: FNO(10, 1, (8, 8), width=20), 414_517, 4 * 2 * 20),  # FNO-2D in Table 1 of Li et al. 2021
        (lambda: FNO(10, 1, (8, 8, 8), width=20), 6_558_537, 4 * 2 * 20),  # FNO-3D there
        (lambda: FNO(1, 1, (12, 12), width=32), 2_368_001, 0),  # the one for Darcy's equation
    ],
)
def test_the_fourier_neural_operator_has_as_many_parameters_as_published(network, published: int, batch_norms: int):
    assert size(network()) == published - batch_norms


def test_the_unet_has_as_many_parameters_as_the_one_of_pdebench():
    assert size(UNet(3, 1, dim=2, width=32)) == 7_763_041


def test_transolver_has_as_many_parameters_as_its_authors_irregular_model(disc: fem.Discretization):
    C, M, H = 128, 64, 8
    linear = lambda a, b: a * b + b  # noqa: E731
    attention = 3 * linear(C, C) + linear(C // H, M) + 3 * (C // H) ** 2 + H
    block = attention + 2 * linear(C, C) + 4 * C
    ends = linear(2 + 1, 2 * C) + linear(2 * C, C) + C + 2 * C + linear(C, 1)
    assert size(Transolver(disc["V"], 1, 1, width=C, layers=8, heads=H, slices=M)) == 8 * block + ends == 713_921


def test_meshgraphnet_has_as_many_parameters_as_its_equations(disc: fem.Discretization):
    L, steps, tags = 128, 15, 6
    hidden = 2 * (L * L + L)
    encoders = (1 + tags) * L + L + hidden + 2 * L + 3 * L + L + hidden + 2 * L
    step = (3 * L * L + L + hidden + 2 * L) + (2 * L * L + L + hidden + 2 * L)
    assert size(MeshGraphNet(disc["V"], 1)) == encoders + steps * step + hidden + L + 1


def test_factorising_leaves_weights_for_the_sum_of_the_modes():
    width, modes, layers = 8, (5, 3), 2
    layer = 2 * width**2 * sum(modes) + width * 2 * width + 2 * width + 2 * width * width + width
    assert size(FactorizedFNO(1, 1, modes, width, layers)) == 3 * width + width + layers * layer + width * 128 + 128 + 129


# Fourier transforms


@pytest.mark.parametrize("shape", [(12,), (9, 12), (8, 6, 10)])
def test_the_spectral_convolution_multiplies_the_coefficients_of_the_fast_transform(shape: tuple[int, ...]):
    """Also at the highest wave numbers that the last axis has."""
    d = len(shape)
    modes = (*[n // 3 for n in shape[:-1]], shape[-1] // 2 + 1)
    layer = SpectralConvolution(2, 3, modes).double()
    u = torch.randn(4, 2, *shape, dtype=torch.float64)
    axes = list(range(2, 2 + d))
    spectrum = torch.fft.rfftn(u, dim=axes)
    weight = torch.view_as_complex(layer.weight.detach().movedim(0, -1).contiguous())
    kept = np.ix_(*[[*range(m), *range(n - m, n)] for m, n in zip(modes[:-1], shape[:-1], strict=True)], range(modes[-1]))
    product = spectrum.new_zeros(4, 3, *spectrum.shape[2:])
    product[(slice(None), slice(None), *kept)] = torch.einsum(
        "bi...,io...->bo...", spectrum[(slice(None), slice(None), *kept)], weight
    )
    expected = torch.fft.irfftn(product, s=shape, dim=axes)
    torch.testing.assert_close(layer(u), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "make", [lambda: FNO(1, 1, (4, 4), 6, 3, coordinates=False), lambda: FactorizedFNO(1, 1, (5, 5), 6, 2, coordinates=False)]
)
def test_fourier_operators_commute_with_translations_and_refinement_of_periodic_fields(make):
    """A band-limited field gives the same values at common points, whatever the grid, if the network stays band-limited: linear."""
    network = make().double()
    for module in network.modules():
        if isinstance(module, nn.GELU | nn.ReLU):
            module.forward = lambda x: x
    u = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    shifted = network(u.roll((3, 5), (2, 3)))
    torch.testing.assert_close(shifted, network(u).roll((3, 5), (2, 3)), rtol=0, atol=1e-12)


def test_the_convolution_does_not_depend_on_the_resolution():
    layer = SpectralConvolution(1, 1, (4, 4)).double()
    field = lambda n: torch.stack(  # noqa: E731
        [
            torch.sin(2 * math.pi * (2 * x + y)) + torch.cos(2 * math.pi * 3 * y)
            for x, y in [torch.meshgrid(*2 * [torch.arange(n).double() / n], indexing="ij")]
        ]
    )[None]
    coarse, fine = layer(field(10)), layer(field(20))
    torch.testing.assert_close(coarse, fine[..., ::2, ::2], rtol=0, atol=1e-14)
    # Grids that resolve fewer modes than the weights have.
    assert layer(field(6)).shape == (1, 1, 6, 6)


def test_a_factorised_layer_multiplies_the_coefficients_of_each_axis():
    layer = FactorizedLayer(2, (3, 4), factor=2).double()
    h = torch.randn(3, 2, 9, 7, dtype=torch.float64)
    total = torch.zeros_like(h)
    for axis, weight, equation in zip((2, 3), layer.weights, ("bixy,iox->boxy", "bixy,ioy->boxy"), strict=True):
        spectrum = torch.fft.rfft(h, dim=axis)
        modes = weight.shape[-1]
        changed = torch.zeros_like(spectrum)
        W = torch.complex(*weight.detach().unbind())
        changed.narrow(axis, 0, modes).copy_(torch.einsum(equation, spectrum.narrow(axis, 0, modes), W))
        total += torch.fft.irfft(changed, n=h.shape[axis], dim=axis)
    axes = [waves(n, m, True, h) for n, m in ((9, 3), (7, 4))]
    torch.testing.assert_close(layer(h, axes), h + layer.feedforward(total), rtol=0, atol=1e-12)


def test_padding_continues_the_lifted_field_by_zeros():
    plain, padded = FNO(1, 1, (4, 4), 6, coordinates=False).double(), FNO(1, 1, (4, 4), 6, coordinates=False, padding=5).double()
    padded.load_state_dict(plain.state_dict())
    for network in (plain, padded):
        nn.init.zeros_(network.lift.bias)
    u = torch.randn(2, 1, 9, 8, dtype=torch.float64)
    extended = nn.functional.pad(u, (0, 5, 0, 5))
    torch.testing.assert_close(padded(u), plain(extended)[..., :9, :8], rtol=0, atol=1e-13)


# Grid networks on meshes


@pytest.mark.parametrize("cell", ["triangle", "quadrilateral", "tetrahedron"])
def test_evaluation_on_a_grid_is_firedrakes_evaluation_at_points(cell: str):
    mesh = fd.UnitCubeMesh(2, 2, 1) if cell == "tetrahedron" else fd.UnitSquareMesh(3, 2, quadrilateral=cell == "quadrilateral")
    mesh.coordinates.dat.data_wo[...] += (
        0.05
        * np.sin(7 * mesh.coordinates.dat.data_ro[:, ::-1])
        * np.prod(mesh.coordinates.dat.data_ro * (1 - mesh.coordinates.dat.data_ro), axis=1, keepdims=True)
    )
    V = fd.FunctionSpace(mesh, "CG", 2)
    space = fem.export({"V": V})["V"]
    shape = (4, 5, 3)[: mesh.geometric_dimension]
    matrix, inside = fem.grid_evaluation(space, shape)
    assert inside.all()
    points = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij"), axis=-1).reshape(-1, len(shape))
    expected = fem.point_evaluation(V, points)
    assert abs(matrix.to_scipy() - expected).max() < 1e-9


def test_outside_the_domain_a_field_goes_on_with_the_value_of_the_nearest_node():
    mesh = fd.UnitTriangleMesh(2)
    space = fem.export({"V": fd.FunctionSpace(mesh, "CG", 2)})["V"]
    matrix, inside = fem.grid_evaluation(space, (9, 9))
    x, y = np.meshgrid(*2 * [np.linspace(0, 1, 9)], indexing="ij")
    assert np.array_equal(inside.numpy(), x + y <= 1 + 1e-9)
    u = space.interpolate(lambda p: 1 + p[:, 0] + 2 * p[:, 1])
    grid = matrix(u).reshape(9, 9)
    # The corner (1, 1) is nearest to the middle of the hypotenuse, where the field is 2.5.
    assert grid[-1, -1] == pytest.approx(2.5)
    torch.testing.assert_close(grid[inside], torch.from_numpy(1 + x + 2 * y)[inside])


class Middle(nn.Module):
    """The first channel of three."""

    in_channels, out_channels = 3, 1

    def forward(self, u):
        return u[:, :1]


def test_what_a_grid_represents_passes_through_it_unchanged(disc: fem.Discretization):
    """Linear functions are both piecewise linear on the mesh and multilinear on the grid."""
    processor = OnGrid(disc["V"], (7, 6), Middle())
    linear = disc["V"].interpolate(lambda x: 1 + 2 * x[:, 0] - x[:, 1]).float()
    channels = torch.stack([linear, torch.zeros_like(linear)])[None]
    assert processor.in_channels == 2
    torch.testing.assert_close(processor(channels)[0, 0], linear, rtol=0, atol=1e-5)


# Networks on points and graphs


@pytest.mark.parametrize("name", ["V", "W"])
def test_edges_of_the_graph_are_the_couplings_of_the_mass_matrix(name: str, disc: fem.Discretization):
    graph = DofGraph(disc[name])
    senders, receivers = graph.source, graph.target
    mass = disc[name].mass.to_scipy().tocoo()
    coupled = {(int(i), int(j)) for i, j in zip(mass.row, mass.col, strict=True) if i != j}
    assert coupled == set(zip(senders.tolist(), receivers.tolist(), strict=True))


def test_a_graph_network_commutes_with_translations_and_renumbering():
    def predict(mesh, f):
        V = fd.FunctionSpace(mesh, "CG", 1)
        space = fem.export({"V": V}, dtype=torch.float32)["V"]
        torch.manual_seed(1)
        network = MeshGraphNet(space, 1, width=16, steps=3)
        x = space.points
        order = np.lexsort((x - x.min(0).values).numpy().round(6).T)
        u = f(x - x.min(0).values).float()[None, None]
        return network(u)[0, 0][order]

    f = lambda x: torch.sin(3 * x[:, 0]) + x[:, 1]  # noqa: E731
    here = fd.UnitSquareMesh(4, 3, reorder=True)
    there = fd.UnitSquareMesh(4, 3, reorder=False)
    there.coordinates.dat.data_wo[...] += [3.0, -2.0]
    torch.testing.assert_close(predict(here, f), predict(there, f), rtol=1e-4, atol=1e-5)


def test_messages_travel_one_cell_a_step():
    space = fem.export({"V": fd.FunctionSpace(fd.UnitIntervalMesh(10), "CG", 1)}, dtype=torch.float32)["V"]
    network = MeshGraphNet(space, 1, width=8, steps=3)
    u = torch.zeros(1, 1, 11, requires_grad=True)
    order = space.points[:, 0].argsort()
    (gradient,) = torch.autograd.grad(network(u)[0, 0, order[0]], u)
    reached = gradient[0, 0, order] != 0
    assert reached[:4].all()
    assert not reached[4:].any()


def test_attention_does_not_know_the_order_of_points(disc: fem.Discretization):
    network = Transolver(disc["V"], 1, width=16, layers=2, heads=2, slices=4).double()
    nn.init.normal_(network.placeholder)
    u = torch.randn(2, 1, disc["V"].num_nodes, dtype=torch.float64)
    expected = network(u)
    order = torch.randperm(disc["V"].num_nodes)
    network.points = network.points[order]
    torch.testing.assert_close(network(u[..., order]), expected[..., order], rtol=0, atol=1e-12)


def test_a_deeponet_is_linear_in_its_branch(disc: fem.Discretization):
    network = DeepONet(disc["V"], 2, 3, basis=7, width=8, depth=1).double()
    u, v = torch.randn(2, 1, 2, disc["V"].num_nodes, dtype=torch.float64)
    zero = network(torch.zeros_like(u))
    torch.testing.assert_close(network(u + v) - zero, network(u) + network(v) - 2 * zero)
    basis = network.trunk(network.points.double())
    assert (
        torch.linalg.matrix_rank((network(torch.randn(20, 2, u.shape[-1]).double())[:, 0] - network.bias[0]).detach())
        <= 7
        < basis.shape[1]
    )


# Operators on fields


NETWORKS = {
    "fno": lambda: FNO(3, 2, (3, 3), 8, 2),
    "ffno": lambda: FactorizedFNO(3, 2, (3, 3), 8, 2),
    "unet": lambda: UNet(3, 2, width=4, levels=2),
    "deeponet": lambda: DeepONet(GRID, 3, 2, 8, 8),
    "transolver": lambda: Transolver(GRID, 3, 2, 16, 2, 2, 4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_an_operator_on_grid_fields_and_learns(name: str):
    network = NETWORKS[name]()
    operator = GridOperator(GRID, network, {"u": 2, "f": 1}, {"u": 2}, increment=True)
    x, y = GRID.coordinates()
    f = 100 * torch.randn(6, 1, 1, 1) * torch.sin(3 * x + y)
    u = 5 + 3 * torch.randn(6, 4, 2, *GRID.shape)
    operator.set_scales({"u": u, "f": f})
    state = {"u": u[:, 0], "f": f}
    target = u[:, 0] + 3 * torch.tanh(f / 100)
    optimizer = torch.optim.Adam(operator.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss = (operator(state)["u"] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_scales_of_a_stepping_operator_are_those_of_its_changes():
    operator = GridOperator(GRID, FNO(1, 1, (2, 2), 4, 1), {"u": 1}, {"u": 1}, increment=True)
    steps = torch.arange(5.0)[None, :, None, None, None] * 0.25 * torch.ones(3, 5, 1, *GRID.shape)
    steps[:, :, :, ::2] *= -1
    operator.set_scales({"u": steps})
    assert operator.output_mean.item() == 0
    assert operator.output_scale.item() == pytest.approx(0.25)
    assert operator.input_mean.item() == pytest.approx(steps.mean().item(), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 273.15, -1e-3])
def test_a_channel_that_does_not_vary_has_no_scale_of_rounding(value: float):
    operator = GridOperator(GRID, FNO(1, 1, (2, 2), 4, 1), {"c": 1}, {"u": 1})
    operator.set_scales(
        {"c": torch.full((7, 1, *GRID.shape), value), "u": value + 1e-15 * torch.rand(7, 1, *GRID.shape).double()}
    )
    assert operator.input_scale.item() == 1
    assert operator.input_mean.item() == pytest.approx(value)
    assert value == 0 or operator.output_scale.item() == 1


def test_the_last_frame_of_a_history_is_what_changes():
    operator = GridOperator(GRID, FNO(6, 2, (2, 2), 4, 1), {"u": 6}, {"u": 2}, increment=True)
    u = torch.randn(4, 5, 2, *GRID.shape) * torch.tensor([1.0, 10.0]).view(2, 1, 1)
    operator.set_scales({"u": u})
    torch.testing.assert_close(operator.input_scale.flatten(), operator.input_scale.flatten()[:2].repeat(3))
    operator.output_scale.zero_()
    history = u[:, :3].flatten(1, 2)
    assert torch.equal(operator({"u": history})["u"], u[:, 2])


SPACE = {"_space_": "V"}
FNO_CONFIG = {"_target_": "thalweg.operators.FNO", "in_channels": 2, "out_channels": 1, "modes": [3, 3], "width": 8}
ON_MESH = {
    "fno": ("OnGrid", {"shape": [9, 8], "network": FNO_CONFIG}),
    "meshgraphnet": ("MeshGraphNet", {"in_channels": 1, "width": 16, "steps": 2}),
    "transolver": ("Transolver", {"in_channels": 1, "width": 16, "layers": 2, "heads": 2, "slices": 4}),
    "deeponet": ("DeepONet", {"in_channels": 1, "basis": 8, "width": 8}),
}


@pytest.mark.parametrize("name", ON_MESH)
def test_every_network_is_a_processor_on_meshes_and_is_rebuilt_from_its_file(name: str, disc: fem.Discretization, tmp_path):
    target, arguments = ON_MESH[name]
    config = {
        "_target_": "thalweg.operators.SPON",
        "encoder": {"_target_": "thalweg.operators.InterpolationEncoder", "space": SPACE, "fields": {"f": None}},
        "processor": {"_target_": f"thalweg.operators.{target}", "space": SPACE, **arguments},
        "decoder": {"_target_": "thalweg.operators.PlainDecoder", "space": SPACE, "field": "u"},
    }
    operator = build_operator(config, disc)
    f = torch.randn(4, disc["V"].num_dofs)
    operator.set_scales({"f": 3 * f, "u": 7 * f})
    save_operator(tmp_path, operator)
    again = load_operator(tmp_path, disc)
    together = operator({"f": f})["u"]
    assert torch.equal(together, again({"f": f})["u"])
    alone = torch.cat([again({"f": f[i : i + 1]})["u"] for i in range(4)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    together.square().sum().backward()
    untouched = [key for key, p in operator.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [key for key in untouched if "bias" not in key], untouched


def test_a_baseline_with_eliminated_boundary_values_has_them_exactly(disc: fem.Discretization):
    V = disc["V"]
    operator = SPON(
        InterpolationEncoder(V, {"g": None}), OnGrid(V, (9, 9), UNet(2, 1, width=4, levels=2)), DirichletDecoder(V, "u", "g")
    )
    g = torch.randn(2, V.num_dofs)
    boundary = V.boundary_dofs()
    assert torch.equal(operator({"g": g})["u"][:, boundary], g[:, boundary])


def test_wrong_networks_and_fields_are_refused(disc: fem.Discretization):
    with pytest.raises(InputError, match="maps 1 channels to 1, but the inputs have 2"):
        GridOperator(GRID, FNO(1, 1), {"u": 2}, {"v": 1})
    with pytest.raises(InputError, match="'v' cannot be incremented"):
        GridOperator(GRID, FNO(1, 1), {"u": 1}, {"v": 1}, increment=True)
    operator = GridOperator(GRID, FNO(1, 1, (2, 2), 4, 1), {"u": 1}, {"v": 1})
    with pytest.raises(InputError, match=r"expected \(batch, 1, 16, 12\)"):
        operator({"u": torch.zeros(1, 1, 8, 8)})
    with pytest.raises(InputError, match="needs the field 'u'"):
        operator({"w": torch.zeros(1)})
    with pytest.raises(InputError, match="cannot be halved 4 times"):
        UNet(1, 1)(torch.zeros(1, 1, 8, 8))
    with pytest.raises(InputError, match="cannot be shared by 3 heads"):
        Transolver(disc["V"], 1, width=16, heads=3)
    assert isinstance(PlainDecoder(disc["V"], "u"), nn.Module)
