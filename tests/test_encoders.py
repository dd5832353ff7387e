"""Encoders bring data of every kind to the dofs of one space, exactly where the space can hold it."""

import numpy as np
import pytest
import torch

from thalweg import fem, operators
from thalweg.configuration import build
from thalweg.errors import InputError
from thalweg.fem.firedrake import firedrake

fd = firedrake()
POINTS = [[0.1, 0.2], [0.8, 0.3], [0.5, 0.9], [0.5, 0.5]]


@pytest.fixture(scope="module")
def disc():
    mesh, other = fd.UnitSquareMesh(3, 4), fd.UnitSquareMesh(2, 2)
    elements = {"V": ("CG", 1), "W": ("CG", 2), "R": ("RT", 1), "D": ("DG", 0)}
    spaces = {name: fd.FunctionSpace(mesh, *element) for name, element in elements.items()}
    spaces |= {"U": fd.VectorFunctionSpace(mesh, "CG", 1), "C": fd.FunctionSpace(other, "CG", 1)}
    observations = {"sensors": ("V", POINTS), "twice": ("V", POINTS + POINTS)}
    return fem.export(spaces, [("W", "V"), ("C", "V")], products=[("W", "V"), ("D", "V")], observations=observations)


def linear(space, batch=3):
    """1 + a x - y for a = 0, 1, ..., in any scalar space."""
    return space.interpolate(lambda x: torch.stack([1 + a * x[:, 0] - x[:, 1] for a in range(batch)]))


def random(space, batch=3):
    return torch.randn(batch, space.num_dofs, dtype=torch.float64)


def test_fields_of_the_space_are_their_own_channels(disc):
    u = random(disc["V"])
    encoder = operators.InterpolationEncoder(disc["V"], {"a": None, "b": disc.transfer("W", "V"), "c": disc.transfer("C", "V")})
    channels = encoder({"a": u, "b": linear(disc["W"]), "c": linear(disc["C"])})
    assert channels.shape == (3, encoder.num_channels, disc["V"].num_nodes)
    assert torch.equal(channels[:, 0], u)
    for i in (1, 2):
        torch.testing.assert_close(channels[:, i], linear(disc["V"]), atol=1e-11, rtol=0)


def test_functions_are_encoded_by_the_dual_basis(disc):
    for name in "VR":
        f = (lambda x: x[:, 0].expand(1, -1)) if name == "V" else (lambda x: x.expand(1, -1, 2))
        encoder = operators.InterpolationEncoder(disc[name], {"f": None})
        torch.testing.assert_close(encoder({"f": f})[0, 0], disc[name].interpolate(lambda x, f=f: f(x)[0]))


def test_components_of_a_vector_field_are_channels(disc):
    u = disc["U"].interpolate(lambda x: x).expand(2, -1)
    channels = operators.InterpolationEncoder(disc["U"], {"u": None})({"u": u})
    torch.testing.assert_close(channels, disc["U"].points.T.expand(2, -1, -1))


@pytest.mark.parametrize(("name", "components"), [("V", ()), ("W", ()), ("D", ()), ("U", (2,)), ("R", (2,))])
def test_grid_data_of_linear_functions_is_exact(disc, name, components):
    shape, box = (6, 9), [[-1.0, 0.0], [1.0, 2.0]]
    x, y = torch.meshgrid(
        *(torch.linspace(box[0][i], box[1][i], n, dtype=torch.float64) for i, n in enumerate(shape)), indexing="ij"
    )
    encoder = operators.GridEncoder(disc[name], ["f"], shape, box)
    if components:
        data, exact = torch.stack([1 + x, x - 2 * y]), lambda p: torch.stack([1 + p[:, 0], p[:, 0] - 2 * p[:, 1]], -1)
    else:
        data, exact = 1 + x - 2 * y, lambda p: 1 + p[:, 0] - 2 * p[:, 1]
    channels = encoder({"f": data.expand(2, *components, *shape)})
    torch.testing.assert_close(channels.transpose(1, 2).flatten(1)[1], disc[name].interpolate(exact))


def test_grid_on_the_bounding_box_gives_nodes_their_grid_values(disc):
    data = torch.randn(1, 4, 5, dtype=torch.float64)
    encoder = operators.GridEncoder(disc["V"], ["f"], (4, 5))
    i, j = (disc["V"].points * torch.tensor([3, 4])).round().long().T
    torch.testing.assert_close(encoder({"f": data})[0, 0], data[0, i, j])
    assert encoder.interpolate.nnz == disc["V"].num_dofs


def test_projection_keeps_integrals_of_rough_fields(disc):
    encoder = operators.L2ProjectionEncoder(disc["V"], {"f": disc.product("D", "V"), "g": disc.product("W", "V")})
    f = random(disc["D"])
    channels = encoder({"f": f, "g": linear(disc["W"])})
    one = {name: torch.ones(disc[name].num_dofs, dtype=torch.float64) for name in "VD"}
    torch.testing.assert_close(
        disc["V"].inner(channels[:, 0], one["V"].expand(3, -1)), disc["D"].inner(f, one["D"].expand(3, -1))
    )
    torch.testing.assert_close(channels[:, 1], linear(disc["V"]), atol=1e-11, rtol=0)


def test_moments_are_a_galerkin_right_hand_side(disc):
    encoder = operators.MomentEncoder(disc["V"], {"f": None, "g": disc.product("W", "V")})
    f, g = random(disc["V"]), random(disc["W"])
    channels = encoder({"f": f, "g": g})
    V, W = (disc.sources[name] for name in "VW")
    v, function = fd.TestFunction(V), fd.Function(W, g[0].numpy().copy())
    torch.testing.assert_close(channels[:, 0], disc["V"].mass(f))
    np.testing.assert_allclose(channels[0, 1], fd.assemble(function * v * fd.dx).dat.data_ro, atol=1e-14)


@pytest.mark.parametrize("name", ["sensors", "twice"])
def test_observed_values_are_met_and_are_all_that_is_seen(disc, name):
    observation, V = disc.observation(name), disc["V"]
    encoder = operators.ObservationEncoder(V, ["u"], observation, length=0.3, given_dofs=True)
    u = random(V)
    seen = encoder({"u": u})[:, 0]
    torch.testing.assert_close(observation(seen), observation(u), atol=1e-6, rtol=0)
    from_values = operators.ObservationEncoder(V, ["u"], observation, length=0.3)({"u": observation(u)})
    torch.testing.assert_close(from_values[:, 0], seen)


def test_observed_field_is_the_smoothest_one(disc):
    observation, V = disc.observation("sensors"), disc["V"]
    lift = observation.reconstruction(V, 0.3)
    y = torch.randn(len(POINTS), dtype=torch.float64)
    u = lift @ y
    perturbation = random(V)[0]
    perturbation -= lift @ observation(perturbation)

    def roughness(v):
        return V.inner(v, v) + 0.09 * (V.stiffness(v) * v).sum(-1)

    torch.testing.assert_close(observation(perturbation), torch.zeros_like(y), atol=1e-6, rtol=0)
    assert roughness(u) < roughness(u + perturbation)


def test_more_observations_than_dofs_are_met_in_least_squares(disc):
    points = np.random.default_rng(0).uniform(size=(200, 2))
    V = disc["V"]
    matrix = fem.SparseMatrix(fem.point_evaluation(disc.sources["V"], points), torch.float64)
    observation = fem.Observation("V", torch.from_numpy(points), matrix)
    y = torch.randn(200, dtype=torch.float64)
    expected = np.linalg.lstsq(matrix.to_scipy().toarray(), y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(observation.reconstruction(V, 0.3, noise=1e-4) @ y, expected, atol=1e-4)


def test_trace_sees_nothing_but_the_boundary(disc):
    encoder = operators.TraceEncoder(disc["V"], "g", ["1", "3"])
    inside = torch.ones(disc["V"].num_dofs, dtype=torch.bool)
    inside[disc["V"].boundary_dofs(["1", "3"])] = False
    g = random(disc["V"])
    changed = torch.where(inside, float("nan"), g)
    assert torch.equal(encoder({"g": g}), encoder({"g": changed}))


def test_joint_channels_carry_gradients_to_every_field(disc):
    V = disc["V"]
    parts = [
        operators.GridEncoder(V, ["f"], (4, 5)),
        operators.L2ProjectionEncoder(V, {"d": disc.product("D", "V")}),
        operators.MomentEncoder(V, {"v": None}),
        operators.ObservationEncoder(V, ["s"], disc.observation("sensors"), 0.3),
        operators.TraceEncoder(V, "v"),
    ]
    encoder = operators.JointEncoder(parts)
    shapes = {"f": (4, 5), "d": (disc["D"].num_dofs,), "v": (V.num_dofs,), "s": (4,)}
    fields = {name: torch.randn(2, *shape, dtype=torch.float64, requires_grad=True) for name, shape in shapes.items()}
    channels = encoder(fields)
    assert channels.shape == (2, encoder.num_channels, V.num_nodes) == (2, 5, V.num_nodes)
    gradients = torch.autograd.grad(channels.square().sum(), list(fields.values()))
    assert all(torch.isfinite(g).all() and g.abs().max() > 0 for g in gradients)
    assert not list(encoder.parameters())
    assert not encoder.state_dict()


def test_encoders_are_built_from_configurations(disc):
    V = {"_space_": "V"}
    moments = {"_target_": "thalweg.operators.MomentEncoder", "space": V, "fields": {"d": {"_product_": ["D", "V"]}}}
    sensors = {"_target_": "thalweg.operators.ObservationEncoder", "space": V, "fields": ["s"], "length": 0.3}
    sensors["observation"] = {"_observation_": "sensors"}
    encoder = build({"_target_": "thalweg.operators.JointEncoder", "encoders": [moments, sensors]}, disc)
    d, s = random(disc["D"]), torch.randn(3, len(POINTS), dtype=torch.float64)
    channels = encoder({"d": d, "s": s})
    torch.testing.assert_close(channels[:, 0], disc.product("D", "V")(d))
    torch.testing.assert_close(disc.observation("sensors")(channels[:, 1]), s, atol=1e-6, rtol=0)


def test_data_that_does_not_fit_is_refused(disc):
    V, u = disc["V"], random(disc["V"])
    wrong = {
        "needs the field 'f'": lambda: operators.InterpolationEncoder(V, {"f": None})({"g": u}),
        "the dofs of space 'V'": lambda: operators.InterpolationEncoder(V, {"f": None})({"f": u[:, 1:]}),
        r"expected \(batch, 4, 5\)": lambda: operators.GridEncoder(V, ["f"], (4, 5))({"f": torch.ones(2, 5, 4)}),
        "beyond the grid": lambda: operators.GridEncoder(V, ["f"], (4, 5), [[0, 0], [1, 0.9]]),
        "grid of 2 axes": lambda: operators.GridEncoder(V, ["f"], (4,)),
        "products have": lambda: operators.L2ProjectionEncoder(disc["W"], {"f": disc.product("D", "V")}),
        "observed values": lambda: operators.ObservationEncoder(V, ["f"], disc.observation("sensors"), 0.3)({"f": u}),
        "observed space has": lambda: operators.ObservationEncoder(disc["W"], ["f"], disc.observation("sensors"), 0.3),
        "share the nodes of one element": lambda: operators.JointEncoder(
            [operators.TraceEncoder(disc[name], "g") for name in "VW"]
        ),
    }
    for message, call in wrong.items():
        with pytest.raises(InputError, match=message):
            call()
