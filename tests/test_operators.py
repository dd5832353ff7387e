"""Structure that operators have by construction: exact boundary values, multigrid convergence, independence of the mesh."""

from pathlib import Path

import firedrake as fd
import pytest
import torch

from thalweg import fem
from thalweg.errors import FingerprintError, InputError
from thalweg.operators import (
    SPON,
    DirichletDecoder,
    InterpolationEncoder,
    JointEncoder,
    MultigridProcessor,
    PointwiseProcessor,
    TraceEncoder,
    build_operator,
    load_operator,
    save_operator,
)
from thalweg.operators.multigrid import LevelOperators, VCycle

TAGS = ("1", "2", "3", "4")


def discretization(cells: int, degree: int, levels: int, dtype: torch.dtype = torch.float32) -> fem.Discretization:
    from thalweg.solvers.problem import lagrange_hierarchy

    meshes = fem.mesh_hierarchy(fd.UnitSquareMesh(cells, cells), levels)
    return fem.export(*lagrange_hierarchy(meshes, degree), dtype=dtype)


@pytest.fixture(scope="module")
def disc() -> fem.Discretization:
    return discretization(4, 2, 2)


def spon(disc: fem.Discretization, channels: int = 4) -> SPON:
    V = disc["V"]
    torch.manual_seed(0)
    encoder = JointEncoder([InterpolationEncoder(V, {"f": None}), TraceEncoder(V, "g")])
    processor = MultigridProcessor(
        disc.hierarchy(*disc.spaces), in_channels=2, channels=channels, blocks=2, dirichlet=["on_boundary"]
    )
    return SPON(encoder, processor, DirichletDecoder(V, "u", data="g"))


def random_fields(disc: fem.Discretization, batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    dofs = disc["V"].num_dofs
    return {name: torch.randn(batch, dofs, generator=generator) for name in ("f", "g", "u")}


def test_boundary_values_are_exact_whatever_the_weights(disc: fem.Discretization):
    operator, fields = spon(disc), random_fields(disc, 3)
    for parameter in operator.parameters():
        torch.nn.init.normal_(parameter)
    boundary = disc["V"].boundary_dofs()
    assert torch.equal(operator(fields)["u"][:, boundary], fields["g"][:, boundary])


def test_only_the_trace_of_boundary_data_matters(disc: fem.Discretization):
    operator, fields = spon(disc), random_fields(disc, 2)
    changed = fields["g"] + 1
    boundary = disc["V"].boundary_dofs()
    changed[:, boundary] = fields["g"][:, boundary]
    assert torch.equal(operator(fields)["u"], operator(fields | {"g": changed})["u"])


def test_a_decoder_with_a_number_prescribes_it(disc: fem.Discretization):
    decoder = DirichletDecoder(disc["V"], "u", data=2.5, tags="3")
    u = decoder(torch.randn(2, 1, disc["V"].num_dofs), {})["u"]
    assert (u[:, disc["V"].boundary_dofs("3")] == 2.5).all()
    assert (u == 2.5).sum() == 2 * len(disc["V"].boundary_dofs("3"))


def test_samples_of_a_batch_do_not_influence_one_another(disc: fem.Discretization):
    operator, fields = spon(disc), random_fields(disc, 4)
    together = operator(fields)["u"]
    alone = torch.cat([operator({name: value[i : i + 1] for name, value in fields.items()})["u"] for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("levels", [2, 3])
def test_an_untrained_cycle_is_multigrid(degree: int, levels: int):
    """One V-cycle with two damped Jacobi steps before and after contracts the error by a factor that does not depend on the mesh."""
    disc = discretization(4, degree, levels, torch.float64)
    hierarchy = disc.hierarchy(*disc.spaces)
    V = disc["V"]
    operators = LevelOperators(hierarchy, ("on_boundary",), length=1.0)
    cycle = VCycle(len(hierarchy), channels=1, pre=2, post=2, coarse=30).double()
    torch.manual_seed(0)
    u = torch.randn(V.num_dofs, 1, 1, dtype=torch.float64)
    u[V.boundary_dofs()] = 0
    factors = []
    with torch.no_grad():
        for _ in range(12):
            before = V.norm(u.flatten(), "H1")
            u = u - cycle(operators.stencil(0).K.on_nodes(u), operators)
            factors.append((V.norm(u.flatten(), "H1") / before).item())
    assert max(factors[4:]) < 0.35


def test_weights_serve_any_mesh_with_as_many_levels(disc: fem.Discretization):
    other = discretization(5, 2, 2)
    operator = spon(other)
    operator.load_state_dict(spon(disc).state_dict())
    fields = random_fields(other, 2)
    boundary = other["V"].boundary_dofs()
    assert torch.equal(operator(fields)["u"][:, boundary], fields["g"][:, boundary])


def test_gradients_reach_every_parameter(disc: fem.Discretization):
    operator = spon(disc)
    torch.nn.init.normal_(operator.processor.blocks[0].contract.weight)
    torch.nn.init.normal_(operator.processor.blocks[1].contract.weight)
    operator(random_fields(disc, 2))["u"].square().sum().backward()
    for name, parameter in operator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_an_operator_is_rebuilt_from_its_file(disc: fem.Discretization, tmp_path: Path):
    space = {"_space_": "V"}
    config = {
        "_target_": "thalweg.operators.SPON",
        "encoder": {"_target_": "thalweg.operators.InterpolationEncoder", "space": space, "fields": {"f": None}},
        "processor": {
            "_target_": "thalweg.operators.MultigridProcessor",
            "hierarchy": {"_hierarchy_": ["V", "V1"]},
            "in_channels": 1,
            "channels": 4,
        },
        "decoder": {"_target_": "thalweg.operators.PlainDecoder", "space": space, "field": "u"},
    }
    operator = build_operator(config, disc)
    operator.set_scales(random_fields(disc, 5))
    save_operator(tmp_path, operator)
    again = load_operator(tmp_path, disc)
    fields = random_fields(disc, 2)
    assert torch.equal(operator(fields)["u"], again(fields)["u"])
    with pytest.raises(FingerprintError):
        load_operator(tmp_path, discretization(5, 2, 1))


def test_parts_that_do_not_fit_are_refused(disc: fem.Discretization):
    V, V1 = disc["V"], disc["V1"]
    encoder = InterpolationEncoder(V, {"f": None})
    processor = MultigridProcessor(disc.hierarchy("V", "V1"), in_channels=2)
    with pytest.raises(InputError, match="maps 2 channels to 1, but the encoder gives 1"):
        SPON(encoder, processor, DirichletDecoder(V, "u"))
    with pytest.raises(InputError, match="must share the nodes of one element"):
        JointEncoder([encoder, InterpolationEncoder(V1, {"f": None})])
    with pytest.raises(InputError, match="needs the field 'f'"):
        encoder({"h": torch.zeros(1, V.num_dofs)})
    with pytest.raises(InputError, match=f"expected \\(batch, {V.num_dofs}\\)"):
        encoder({"f": torch.zeros(1, 7)})
    with pytest.raises(InputError, match="'9'"):
        DirichletDecoder(V, "u", tags="9")


def test_fields_that_are_none_are_refused(disc: fem.Discretization):
    V = disc["V"]
    encoder = JointEncoder([InterpolationEncoder(V, {name: None}) for name in ("f", "h")])
    spon = SPON(encoder, PointwiseProcessor(2, 1), DirichletDecoder(V, "u", "g"))
    f = torch.zeros(2, V.num_dofs)
    refused = {
        "no bare Tensor": lambda: spon(f),
        "is empty": lambda: spon({}),
        r"of torch.float64, the operator of torch.float32. Convert them by .to\(torch.float32\)": lambda: spon(
            {name: f.double() for name in "fgh"}
        ),
        "'f' is a ndarray": lambda: spon({"f": f.numpy(), "h": f, "g": f}),
        "of 2, 1 samples": lambda: spon({"f": f, "h": f[:1], "g": f}),
        "name, a dictionary": lambda: spon.set_scales(f),
        "this one is empty": lambda: spon.set_scales({}),
        "sample values of 'u' are the field 'u'": lambda: spon.set_scales({"f": f, "h": f, "g": f}),
    }
    for message, use in refused.items():
        with pytest.raises(InputError, match=message):
            use()


def test_scales_of_trajectories_are_those_of_their_frames():
    import firedrake as fd

    from thalweg.fem import export
    from thalweg.operators import DirichletDecoder, InterpolationEncoder, PointwiseProcessor

    V = export({"V": fd.FunctionSpace(fd.UnitSquareMesh(3, 3), "CG", 1)})["V"].float()
    spons = [
        SPON(InterpolationEncoder(V, {"u": None, "f": None}), PointwiseProcessor(2, 1), DirichletDecoder(V, "u"))
        for _ in range(2)
    ]
    u, f = torch.randn(4, 5, V.num_dofs), 3 * torch.randn(4, V.num_dofs)
    spons[0].set_scales({"u": u, "f": f})
    spons[1].set_scales({"u": u.flatten(0, 1), "f": f.repeat_interleave(5, 0)})
    assert torch.equal(spons[0].input_scale, spons[1].input_scale)
    assert torch.equal(spons[0].output_scale, spons[1].output_scale)
