"""What a decoder enforces holds for any channels whatsoever, alone and composed."""

import pytest
import torch

from thalweg import fem, operators
from thalweg.configuration import build
from thalweg.errors import InputError
from thalweg.fem.firedrake import firedrake

fd = firedrake()


@pytest.fixture(scope="module")
def plane():
    mesh = fd.UnitSquareMesh(4, 3)
    elements = {"V": ("CG", 1), "R": ("RT", 1), "Q": ("DG", 0), "W": ("CG", 2)}
    spaces = {name: fd.FunctionSpace(mesh, *element) for name, element in elements.items()}
    spaces["U"] = fd.VectorFunctionSpace(mesh, "CG", 1)
    return fem.export(spaces, derivatives=[("V", "R"), ("R", "Q")])


@pytest.fixture(scope="module")
def solid():
    mesh = fd.UnitCubeMesh(1, 2, 1)
    spaces = {
        "N": fd.FunctionSpace(mesh, "N1curl", 1),
        "R": fd.FunctionSpace(mesh, "RT", 1),
        "Q": fd.FunctionSpace(mesh, "DG", 0),
    }
    return fem.export(spaces, derivatives=[("N", "R"), ("R", "Q")])


def channels(decoder, batch=3, dtype=torch.float64):
    """Wild ones: nothing about them is right."""
    generator = torch.Generator().manual_seed(0)
    return 10 * torch.randn(batch, decoder.num_channels, decoder.source.num_nodes, generator=generator, dtype=dtype)


def decode(decoder, fields=None, **kwargs):
    (u,) = decoder(channels(decoder, **kwargs), fields or {}).values()
    assert u.shape[-1] == decoder.space.num_dofs
    return u


def integral(space, u):
    return space.inner(u, torch.ones_like(u))


@pytest.mark.parametrize("name", ["V", "W", "U"])
def test_boundary_values_are_the_datas_bit_for_bit(plane, name):
    space = plane[name]
    g = torch.randn(3, space.num_dofs, dtype=torch.float64)
    decoder = operators.DirichletDecoder(space, "u", data="g", tags=["1", "4"])
    u, free = decode(decoder, {"g": g}), decode(operators.PlainDecoder(space, "u"))
    boundary = space.boundary_dofs(["1", "4"])
    inside = torch.ones(space.num_dofs, dtype=torch.bool)
    inside[boundary] = False
    assert torch.equal(u[:, boundary], g[:, boundary])
    assert torch.equal(u[:, inside], free[:, inside])
    assert (decode(operators.DirichletDecoder(space, "u", data=2.5))[:, space.boundary_dofs()] == 2.5).all()


def test_boundary_dofs_are_not_learned(plane):
    decoder = operators.DirichletDecoder(plane["V"], "u")
    x = channels(decoder).requires_grad_()
    (gradient,) = torch.autograd.grad(decoder(x, {})["u"].square().sum(), x)
    assert not gradient[..., plane["V"].boundary_nodes()].any()


def curl(disc, potential):
    return operators.CurlDecoder(disc[potential], disc["R"], "u", disc.derivative(potential, "R"))


def divergence(disc, u):
    """Its norm over that of the field, in units of the reciprocal mesh size."""
    return disc["Q"].norm(disc.derivative("R", "Q").to(u.dtype)(u)) / disc["R"].norm(u)


def test_curls_are_divergence_free_to_rounding(plane, solid):
    for disc, potential in ((plane, "V"), (solid, "N")):
        u = decode(curl(disc, potential))
        assert disc["R"].norm(u).min() > 1
        assert divergence(disc, u).max() < 1e-13
        random = torch.randn_like(u)
        assert divergence(disc, random).min() > 1


def test_curls_are_divergence_free_in_single_precision(plane, tmp_path):
    plane.save(tmp_path / "disc.h5")
    single = fem.load(tmp_path / "disc.h5", dtype=torch.float32)
    u = decode(curl(single, "V"), dtype=torch.float32)
    assert u.dtype == torch.float32
    assert divergence(single, u).max() < 1e-5


def test_vanishing_potential_lets_nothing_through_the_boundary(plane, solid):
    for disc, potential in ((plane, "V"), (solid, "N")):
        no_slip = operators.DirichletDecoder(disc[potential], "potential")
        u = decode(operators.ComposedDecoder([no_slip, curl(disc, potential)]))
        assert u[:, disc["R"].boundary_dofs()].abs().max() < 1e-13 * u.abs().max()
        assert divergence(disc, u).max() < 1e-13


@pytest.mark.parametrize("name", ["V", "W", "Q"])
def test_prescribed_integrals_hold_to_rounding(plane, name):
    space = plane[name]
    mass = torch.rand(3, space.num_dofs, dtype=torch.float64)
    zero_mean = decode(operators.IntegralDecoder(space, "p", 0.0))
    assert integral(space, zero_mean).abs().max() < 1e-13
    kept = decode(operators.IntegralDecoder(space, "u", "rho"), {"rho": mass})
    torch.testing.assert_close(integral(space, kept), integral(space, mass))


def test_integral_is_shifted_by_a_constant(plane):
    u, plain = (decode(d) for d in (operators.IntegralDecoder(plane["V"], "p", 0.0), operators.PlainDecoder(plane["V"], "p")))
    difference = u - plain
    torch.testing.assert_close(difference, difference.mean(-1, keepdim=True).expand_as(difference))


@pytest.mark.parametrize("name", ["V", "Q"])
def test_positive_fields_are_positive_everywhere(plane, name):
    u = decode(operators.PositiveDecoder(plane[name], "u", minimum=0.1, scale=2.0))
    assert u.min() >= 0.1
    barycentres = torch.full((3,), 1 / 3, dtype=torch.float64) if name == "V" else torch.ones(1, dtype=torch.float64)
    assert (u[:, plane[name].cell_dofs] @ barycentres).min() >= 0.1


def test_positivity_is_refused_where_positive_dofs_do_not_prove_it(plane):
    for name in ("W", "R"):
        with pytest.raises(InputError, match="change sign"):
            operators.PositiveDecoder(plane[name], "u")
    # The quadratic function with the value 1 at one vertex and 0 at all other nodes is negative beside it.
    W = plane["W"]
    vertex = torch.zeros(W.num_dofs, dtype=torch.float64)
    vertex[W.cell_dofs[0, 0]] = 1
    at_barycentre = torch.tensor([-1 / 9] * 3 + [4 / 9] * 3, dtype=torch.float64)
    assert vertex[W.cell_dofs[0]] @ at_barycentre < 0


def test_positive_field_with_nonnegative_boundary_values(plane):
    V = plane["V"]
    steps = [operators.PositiveDecoder(V, "u"), operators.DirichletDecoder(V, "u", "g", "1", nonnegative=True)]
    decoder = operators.ComposedDecoder(steps)
    g = torch.rand(3, V.num_dofs, dtype=torch.float64)
    u = decode(decoder, {"g": g})
    assert u.min() >= 0
    assert torch.equal(u[:, V.boundary_dofs("1")], g[:, V.boundary_dofs("1")])
    with pytest.raises(InputError, match="negative somewhere"):
        decode(decoder, {"g": g - 1})


def test_positive_field_with_conserved_mass(plane):
    V = plane["V"]
    mass = torch.rand(3, V.num_dofs, dtype=torch.float64)
    scaled = operators.IntegralDecoder(V, "u", "rho", by_scaling=True)
    u = decode(operators.ComposedDecoder([operators.PositiveDecoder(V, "u"), scaled]), {"rho": mass})
    assert u.min() > 0
    torch.testing.assert_close(integral(V, u), integral(V, mass))


def test_integral_with_boundary_values_moves_the_other_dofs_only(plane):
    V = plane["V"]
    g = torch.randn(3, V.num_dofs, dtype=torch.float64)
    steps = [operators.DirichletDecoder(V, "u", "g", ["1", "2"]), operators.IntegralDecoder(V, "u", 0.7)]
    u = decode(operators.ComposedDecoder(steps), {"g": g})
    boundary = V.boundary_dofs(["1", "2"])
    assert torch.equal(u[:, boundary], g[:, boundary])
    torch.testing.assert_close(integral(V, u), torch.full((3,), 0.7, dtype=torch.float64))


def test_decoders_are_built_from_configurations(plane):
    def part(name, **arguments):
        return {"_target_": f"thalweg.operators.{name}", **arguments}

    V, R = {"_space_": "V"}, {"_space_": "R"}
    potential = part("DirichletDecoder", space=V, field="potential", tags=["1", "2"])
    flow = part("CurlDecoder", potential=V, space=R, field="u", curl={"_derivative_": ["V", "R"]})
    decoder = build(part("ComposedDecoder", decoders=[potential, flow]), plane)
    assert divergence(plane, decode(decoder)).max() < 1e-13


def test_compositions_that_destroy_a_property_are_refused(plane):
    V, R = plane["V"], plane["R"]
    positive = operators.PositiveDecoder(V, "u")
    fixed = operators.DirichletDecoder(V, "u", "g")
    total = operators.IntegralDecoder(V, "u", 1.0)
    flux = operators.DirichletDecoder(R, "u", "g")
    for steps, lost in (
        ([positive, fixed], "positivity"),
        ([fixed, positive], "boundary values"),
        ([total, fixed], "integral"),
        ([total, positive], "integral"),
        ([positive, total], "positivity"),
        ([fixed, operators.IntegralDecoder(V, "u", 1.0, by_scaling=True)], "boundary values"),
        ([curl(plane, "V"), flux], "divergence"),
    ):
        with pytest.raises(InputError, match=f"would destroy the {lost}"):
            operators.ComposedDecoder(steps)
    with pytest.raises(InputError, match="takes dofs of 'R'"):
        operators.ComposedDecoder([fixed, flux])
    everywhere = fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(1, 1), "CG", 1)})["V"]
    with pytest.raises(InputError, match="none is left"):
        operators.ComposedDecoder([operators.DirichletDecoder(everywhere, "u"), operators.IntegralDecoder(everywhere, "u", 1.0)])


def test_fields_of_a_joint_decoder_have_their_own_channels_and_structure():
    mesh = fd.UnitSquareMesh(3, 2)
    spaces = {
        "U": fd.VectorFunctionSpace(mesh, "CG", 2),
        "W": fd.FunctionSpace(mesh, "CG", 2),
        "P": fd.FunctionSpace(mesh, "CG", 1),
    }
    disc = fem.export(spaces, transfers=[("W", "P")])
    U, W, P = (disc[name] for name in "UWP")
    pressure = [operators.TransferDecoder(W, P, "p", disc.transfer("W", "P")), operators.IntegralDecoder(P, "p", 0.0)]
    decoder = operators.JointDecoder([operators.DirichletDecoder(U, "u"), operators.ComposedDecoder(pressure)])
    assert decoder.num_channels == 3
    out = decoder(channels(decoder), {})
    assert {name: u.shape[1] for name, u in out.items()} == {"u": U.num_dofs, "p": P.num_dofs}
    assert not out["u"][:, U.boundary_dofs()].any()
    assert integral(P, out["p"]).abs().max() < 1e-13
    scales = decoder.channel_scales({"u": torch.full((2, U.num_dofs), 3.0), "p": torch.full((2, P.num_dofs), -5.0)})
    assert scales.flatten().tolist() == pytest.approx([3, 3, 5])
    with pytest.raises(InputError, match="nodes of one element"):
        operators.JointDecoder([operators.DirichletDecoder(U, "u"), operators.PlainDecoder(P, "p")])
    with pytest.raises(InputError, match="one name"):
        operators.JointDecoder([operators.DirichletDecoder(U, "u"), operators.PlainDecoder(W, "u")])
    with pytest.raises(InputError, match="does not lead"):
        operators.TransferDecoder(P, W, "p", disc.transfer("W", "P"))


def test_wrong_arguments_and_data_are_refused(plane):
    V = plane["V"]
    wrong = {
        "field 'g', but": lambda: decode(operators.DirichletDecoder(V, "u", "g")),
        "the dofs of space 'V'": lambda: decode(operators.DirichletDecoder(V, "u", "g"), {"g": torch.ones(3, 1)}),
        "is negative": lambda: operators.DirichletDecoder(V, "u", -1.0, nonnegative=True),
        "scale > 0": lambda: operators.PositiveDecoder(V, "u", scale=0.0),
        "only scalar": lambda: operators.IntegralDecoder(plane["U"], "u", 0.0),
        "cannot be scaled": lambda: operators.IntegralDecoder(V, "u", 0.0, by_scaling=True),
        "no divergence-free": lambda: operators.CurlDecoder(plane["R"], plane["Q"], "u", plane.derivative("R", "Q")),
        "Unknown boundary tag": lambda: operators.DirichletDecoder(V, "u", tags="inflow"),
        "at least one": lambda: operators.ComposedDecoder([]),
    }
    for message, call in wrong.items():
        with pytest.raises(InputError, match=message):
            call()
