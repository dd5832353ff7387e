"""What channels are scaled by: root mean squares of functions over the domain, whatever the mesh and the elements, and over all samples."""

from pathlib import Path

import firedrake as fd
import numpy as np
import pytest
import torch

from thalweg import data, fem, operators
from thalweg.fem import DiscretizationFamily, FieldsOnMesh
from thalweg.fem.averages import mean_squares, root_mean_square
from thalweg.operators.mgno.scaling import Standardization

f64 = torch.float64


def graded(cells: int) -> fd.Mesh:
    """The unit square with most cells at the left: an average of dofs would be one of that side."""
    mesh = fd.UnitSquareMesh(cells, cells)
    mesh.coordinates.dat.data_wo[:, 0] **= 3
    return mesh


@pytest.fixture(scope="module")
def spaces() -> dict[str, fd.FunctionSpace]:
    mesh = graded(6)
    return {
        "V": fd.FunctionSpace(mesh, "CG", 2),
        "U": fd.VectorFunctionSpace(mesh, "CG", 1),
        "Q": fd.FunctionSpace(mesh, "DG", 0),
        "R": fd.FunctionSpace(mesh, "RT", 2),
        "N": fd.FunctionSpace(mesh, "N1curl", 1),
    }


@pytest.fixture(scope="module")
def disc(spaces: dict) -> fem.Discretization:
    return fem.export(spaces, products=[("Q", "V")])


def function(space: fd.FunctionSpace, number: int) -> fd.Function:
    x, y = fd.SpatialCoordinate(space.mesh())
    s = fd.exp(x * number) * fd.cos(3 * y) + number
    return fd.Function(space).interpolate(s if not space.value_shape else fd.as_vector([s, x - number * y]))


def dofs(functions: list[fd.Function]) -> torch.Tensor:
    return torch.from_numpy(np.stack([u.dat.data_ro.ravel() for u in functions]))


@pytest.mark.parametrize("name", ["V", "U", "Q", "R", "N"])
def test_mean_squares_are_firedrakes_integrals(spaces: dict, disc: fem.Discretization, name: str):
    """Per component, in the units of the dofs: 1 where they are values, else the mean square of the dofs of unit vectors."""
    functions = [function(spaces[name], n) for n in (1, 2, 3)]
    exact = np.mean([fd.assemble(fd.inner(u, u) * fd.dx) for u in functions]) / max(1, len(spaces[name].value_shape) * 2)
    units = 1.0
    if name in "RN":
        constants = [fd.Function(spaces[name]).interpolate(fd.as_vector(e)).dat.data_ro for e in ((1, 0), (0, 1))]
        units = np.mean(sum(c**2 for c in constants))
    u = dofs(functions)
    assert root_mean_square(disc[name], u).item() ** 2 == pytest.approx(exact * units, rel=1e-12)
    assert u.square().mean().item() != pytest.approx(exact * units, rel=0.02)


def test_a_channel_is_one_component(spaces: dict, disc: fem.Discretization):
    u = function(spaces["U"], 2)
    found = mean_squares(disc["U"], dofs([u]).unflatten(1, (-1, 2)).transpose(1, 2))
    exact = [fd.assemble(u[i] ** 2 * fd.dx) for i in (0, 1)]
    assert found[0].tolist() == pytest.approx(exact, rel=1e-12)


def spon(encoder: operators.Encoder, decoder: operators.Decoder) -> operators.SPON:
    return operators.SPON(encoder, operators.PointwiseProcessor(encoder.num_channels, decoder.num_channels), decoder).double()


def test_scales_are_root_mean_squares_of_all_samples_in_files_too(disc: fem.Discretization, tmp_path: Path):
    """One pass over shards gives what is in memory, bit for bit, and what ``data.moments`` says of the fields."""
    V, U = disc["V"], disc["U"]
    generator = torch.Generator().manual_seed(0)
    x = V.points[:, 0]
    f = 1e4 + torch.randn(150, 1, dtype=f64, generator=generator) * x
    u = torch.randn(150, U.num_dofs, dtype=f64, generator=generator)
    data.FieldArrays(disc, {"f": f.numpy(), "u": u.numpy()}, {"f": "V", "u": "U"}).store(
        tmp_path, samples_per_shard=40, preview=False, dtype="float64"
    )
    memory = data.FieldDataset(tmp_path, discretization=disc, dtype=f64)
    streamed = data.StreamedDataset(tmp_path, discretization=disc, dtype=f64, scale_samples=3)
    transfer = operators.InterpolationEncoder(V, {"f": None})
    made = [spon(transfer, operators.PlainDecoder(V, "f")) for _ in range(3)]
    made[0].set_scales(memory.fields)
    made[1].set_scales_from(memory)
    made[2].set_scales_from(streamed)
    for one in made[1:]:
        assert torch.equal(one.input_scale, made[0].input_scale)
        assert torch.equal(one.output_scale, made[0].output_scale)
    found = data.moments(streamed, batch_size=17)
    assert made[0].input_scale.item() == pytest.approx(found["f"].root_mean_square, rel=1e-12)
    assert operators.PlainDecoder(U, "u").channel_scales({"u": u})[0].item() == pytest.approx(
        found["u"].root_mean_square, rel=1e-12
    )


def test_components_share_a_scale_and_nothing_is_left_as_it_is(disc: fem.Discretization):
    U = disc["U"]
    u = torch.randn(4, U.num_nodes, 2, dtype=f64) * torch.tensor([1.0, 10.0])
    operator = spon(operators.InterpolationEncoder(U, {"u": None, "zero": None}), operators.PlainDecoder(U, "zero"))
    operator.set_scales({"u": u.flatten(1), "zero": torch.zeros(4, U.num_dofs, dtype=f64)})
    scales = operator.input_scale.flatten()
    assert scales[0] == scales[1]
    assert scales[2:].tolist() == [1, 1]
    assert operator.output_scale.flatten().tolist() == [1, 1]


def test_moments_are_scaled_as_those_of_a_constant(disc: fem.Discretization):
    V, Q = disc["V"], disc["Q"]
    encoder = operators.MomentEncoder(V, {"f": disc.product("Q", "V")})
    f = torch.full((2, Q.num_dofs), -3.0, dtype=f64)
    squares = encoder.channel_squares({"f": f})
    torch.testing.assert_close(squares, encoder({"f": f}).square().mean(-1))


def test_every_mesh_of_a_family_counts(tmp_path: Path):
    """A field of value k on mesh k, whose finer mesh has more dofs but no more samples: the mean square is that of 1, 2 and 2."""
    discs = {k: fem.export({"V": fd.FunctionSpace(graded(3 * k), "CG", 1)}) for k in (1, 2)}
    family = DiscretizationFamily({k: disc.fingerprint for k, disc in discs.items()}, discs.__getitem__)
    config = {
        "_target_": "thalweg.operators.SPON",
        "encoder": {"_target_": "thalweg.operators.InterpolationEncoder", "space": {"_space_": "V"}, "fields": {"f": None}},
        "processor": {"_target_": "thalweg.operators.PointwiseProcessor", "in_channels": 1, "out_channels": 1},
        "decoder": {"_target_": "thalweg.operators.PlainDecoder", "space": {"_space_": "V"}, "field": "u"},
    }
    operator = operators.build_operator(config, family)
    parts = {}
    for k, samples in ((1, 70), (2, 140)):
        values = torch.full((samples, discs[k]["V"].num_dofs), float(k))
        parts[k] = data.FieldDataset.of(discs[k], {"f": values, "u": 3 * values}, {"f": "V", "u": "V"})
    dataset = data.FamilyDataset.of(family, parts)
    operator.set_scales_from(dataset)
    assert operator.operator.input_scale.item() == pytest.approx(3**0.5)
    assert operator.operator.output_scale.item() == pytest.approx(3 * 3**0.5)
    operator.set_scales(FieldsOnMesh(2, parts[2].fields))
    assert operator.operator.input_scale.item() == pytest.approx(2)


def test_one_sample_is_standardized_by_itself():
    scale = Standardization(2, "point", (3, 4))
    u = torch.rand(1, 2, 3, 4)
    scale.fit(u)
    torch.testing.assert_close(scale(u), torch.zeros_like(u))
    torch.testing.assert_close(scale.inverse(torch.ones_like(u)), u)
