"""Processors on dof graphs and hierarchies: what they reach, what they keep, and that their weights belong to no mesh."""

import firedrake as fd
import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.fem import Discretization, export
from thalweg.operators import (
    CoarseProcessor,
    GeometryEncoder,
    InterpolationEncoder,
    JointEncoder,
    MessagePassingProcessor,
    MultigridProcessor,
    PlainDecoder,
    PointwiseProcessor,
    SliceAttentionProcessor,
    build_operator,
    operator_on,
)
from thalweg.operators.graph import DofGraph


def square(cells: int, degree: int = 1) -> Discretization:
    """Lagrange elements of this degree on a unit square, and two coarser spaces of linear ones."""
    meshes = fd.MeshHierarchy(fd.UnitSquareMesh(cells // 4, cells // 4), 2)
    spaces = {"V": fd.FunctionSpace(meshes[2], "CG", degree), "V1": fd.FunctionSpace(meshes[1], "CG", 1)}
    spaces["V2"] = fd.FunctionSpace(meshes[0], "CG", 1)
    return export(spaces, [("V1", "V"), ("V2", "V1")]).float()


def processors(disc: Discretization) -> dict[str, torch.nn.Module]:
    """One of each kind, with random weights, a channel in and a channel out."""
    torch.manual_seed(0)
    levels = disc.hierarchy("V", "V1", "V2")
    coarse = MessagePassingProcessor(levels[2], 8, 8, channels=8, blocks=8)
    return {
        "message passing": MessagePassingProcessor(disc["V"], 1, 1, channels=8, blocks=2),
        "coarse": CoarseProcessor(levels, coarse, 1, 1),
        "attention": SliceAttentionProcessor(disc["V"], 1, 1, channels=16, blocks=2, slices=4),
        "pointwise": PointwiseProcessor(1, 1, channels=8),
    }


@pytest.mark.parametrize("degree", [1, 2])
def test_the_graph_is_the_sparsity_pattern_of_the_stiffness_matrix(degree: int):
    V = fd.FunctionSpace(fd.UnitSquareMesh(4, 3), "CG", degree)
    u, v = fd.TrialFunction(V), fd.TestFunction(V)
    rows, columns = fd.assemble(fd.inner(fd.grad(u), fd.grad(v)) * fd.dx).petscmat.getValuesCSR()[:2]
    graph = DofGraph(export({"V": V})["V"])
    pairs = set(zip(graph.target.tolist(), graph.source.tolist(), strict=True))
    allocated = {(i, int(j)) for i in range(V.node_count) for j in columns[rows[i] : rows[i + 1]]}
    assert pairs == {(i, j) for i, j in allocated if i != j}


def test_edges_through_the_seam_of_a_periodic_mesh_are_short():
    graph = DofGraph(export({"V": fd.FunctionSpace(fd.PeriodicRectangleMesh(5, 4, 5.0, 4.0), "CG", 1)})["V"])
    displacement = graph.features[:, :2]
    assert displacement.abs().max() < 1.01 * displacement[displacement.abs() > 0].min().abs() * 1.01
    assert graph.num_edges == 6 * 20
    # Each node sees the same surroundings.
    sums = graph.mean.on_nodes(graph.features)
    assert torch.allclose(sums, sums[:1].expand_as(sums), atol=1e-6)


@pytest.mark.parametrize("degree", [1, 2])
def test_edges_of_a_curved_periodic_mesh_are_those_of_their_cells(degree: int):
    flat = fd.PeriodicRectangleMesh(6, 5, 6.0, 5.0)
    x, y = fd.SpatialCoordinate(flat)
    bulge = fd.sin(2 * fd.pi * x / 6) * fd.cos(2 * fd.pi * y / 5)
    coordinates = fd.as_vector([x + 0.3 * bulge, y + 0.2 * bulge])
    quadratic, broken, nodal = (
        fd.FiniteElement(family, fd.triangle, k, variant="equispaced")
        for family, k in (("DG", 2), ("DG", degree), ("CG", degree))
    )
    mesh = fd.Mesh(fd.Function(fd.VectorFunctionSpace(flat, quadratic)).interpolate(coordinates))
    V, X = fd.FunctionSpace(mesh, nodal), fd.VectorFunctionSpace(mesh, broken)
    in_cells = fd.Function(X).interpolate(fd.SpatialCoordinate(mesh)).dat.data_ro[X.cell_node_list]
    displacement = {}
    for nodes, place in zip(V.cell_node_list.tolist(), in_cells, strict=True):
        displacement |= {(s, t): place[i] - place[j] for i, s in enumerate(nodes) for j, t in enumerate(nodes)}
    graph = DofGraph(export({"V": V})["V"])
    expected = np.array([displacement[edge] for edge in zip(graph.source.tolist(), graph.target.tolist(), strict=True)])
    expected /= np.linalg.norm(expected, axis=1).mean()
    assert np.abs(graph.features[:, :2].numpy() - expected).max() < 1e-6


def test_a_message_goes_one_cell_a_block_and_the_coarse_network_goes_everywhere():
    disc = square(8)
    node = int((disc["V"].points - 0.5).norm(dim=1).argmin())
    reached = {}
    for name, processor in processors(disc).items():
        x = torch.randn(1, 1, disc["V"].num_nodes, requires_grad=True)
        (influence,) = torch.autograd.grad(processor(x)[0, 0, node], x)
        distance = (disc["V"].points - disc["V"].points[node]).abs().amax(1)
        reached[name] = distance[influence[0, 0] != 0].max().item()
    assert reached["pointwise"] == 0
    assert reached["message passing"] == pytest.approx(2 / 8)
    assert reached["coarse"] == pytest.approx(1 / 2)
    assert reached["attention"] == pytest.approx(1 / 2)


def test_restriction_of_the_coarse_processor_keeps_constants():
    disc = square(8, degree=2)
    processor = processors(disc)["coarse"]
    h = torch.ones(disc["V"].num_nodes, 1)
    for restriction in processor.restrictions:
        h = restriction.on_nodes(h)
    assert torch.allclose(h, torch.ones_like(h), atol=1e-6)


@pytest.mark.parametrize("name", ["message passing", "attention", "pointwise"])
def test_translations_and_numberings_do_not_matter(name: str):
    mesh = fd.UnitSquareMesh(4, 4)
    moved = fd.Mesh(mesh.coordinates.copy(deepcopy=True))
    moved.coordinates.dat.data_wo[:] = mesh.coordinates.dat.data_ro + (3.0, -2.0)
    here, there = (export({"V": fd.FunctionSpace(m, "CG", 2)}).float() for m in (mesh, moved))

    def on(disc: Discretization) -> torch.nn.Module:
        torch.manual_seed(0)
        return {
            "message passing": lambda: MessagePassingProcessor(disc["V"], 2, 1, channels=8, blocks=2),
            "attention": lambda: SliceAttentionProcessor(disc["V"], 2, 1, channels=16, blocks=2, slices=4),
            "pointwise": lambda: PointwiseProcessor(2, 1),
        }[name]()

    x = torch.randn(3, 2, here["V"].num_nodes)
    points = there["V"].points - torch.tensor([3.0, -2.0])
    order = torch.cdist(points, here["V"].points).argmin(1)
    assert torch.allclose(on(there)(x[..., order]), on(here)(x)[..., order], atol=1e-5)


def test_slices_are_integrals_so_that_refinement_of_the_mesh_changes_little():
    outputs = []
    for cells in (8, 16, 32):
        disc = square(cells)
        V = disc["V"]
        processor = processors(disc)["attention"]
        u = V.interpolate(lambda x: torch.sin(3 * x[:, 0]) * x[:, 1]).float()
        corner = int((V.points - torch.tensor([0.25, 0.75])).norm(dim=1).argmin())
        outputs.append(processor(u[None, None])[0, 0, corner].item())
    assert abs(outputs[2] - outputs[1]) < 0.5 * abs(outputs[1] - outputs[0])


def config(processor: dict) -> dict:
    space = {"_space_": "V"}
    encoders = [
        {"_target_": "thalweg.operators.InterpolationEncoder", "space": space, "fields": {"f": None}},
        {"_target_": "thalweg.operators.GeometryEncoder", "space": space},
    ]
    return {
        "_target_": "thalweg.operators.SPON",
        "encoder": {"_target_": "thalweg.operators.JointEncoder", "encoders": encoders},
        "processor": processor,
        "decoder": {"_target_": "thalweg.operators.DirichletDecoder", "space": space, "field": "u"},
    }


MESSAGE_PASSING = {
    "_target_": "thalweg.operators.MessagePassingProcessor",
    "space": {"_space_": "V"},
    "in_channels": 2,
    "channels": 8,
    "blocks": 2,
}


def test_one_set_of_weights_works_on_two_meshes():
    here, there = square(8), square(12, degree=2)
    operator = build_operator(config(MESSAGE_PASSING), here)
    operator.set_scales({"f": torch.full((1, here["V"].num_dofs), 3.0), "u": torch.full((1, here["V"].num_dofs), 2.0)})
    twin = operator_on(operator, there)
    assert twin.fingerprint == there.fingerprint
    assert torch.equal(twin.input_scale, operator.input_scale)
    f = torch.randn(2, there["V"].num_dofs)
    twin({"f": f})["u"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in operator.parameters())
    with torch.no_grad():
        before = twin({"f": f})["u"]
        next(operator.processor.lift.parameters()).mul_(2)
        assert not torch.allclose(twin({"f": f})["u"], before)


def test_geometry_is_told_to_the_processor():
    V = square(8)["V"]
    encoder = JointEncoder([InterpolationEncoder(V, {"f": None}), GeometryEncoder(V, ["1", "2"], coordinates=True)])
    assert encoder.num_channels == 5
    channels = encoder({"f": torch.zeros(3, V.num_dofs)})
    assert channels.shape == (3, 5, V.num_nodes)
    assert torch.equal(channels[0, 1], (V.points[:, 0] == 0).float())
    assert torch.allclose(channels[2, 3:], V.points.T.float())


def test_wrong_input_is_explained():
    disc = square(4)
    with pytest.raises(InputError, match="as many channels in as out"):
        CoarseProcessor(disc.hierarchy("V", "V1"), PointwiseProcessor(2, 3), 1)
    with pytest.raises(InputError, match="two spaces or more"):
        CoarseProcessor(disc.hierarchy("V"), PointwiseProcessor(3, 3), 1)
    mesh = fd.UnitSquareMesh(2, 2)
    vectors = export({"V": fd.VectorFunctionSpace(mesh, "CG", 2), "V1": fd.VectorFunctionSpace(mesh, "CG", 1)}, [("V1", "V")])
    for make in (MultigridProcessor, lambda levels, _: CoarseProcessor(levels, PointwiseProcessor(2, 2), 2)):
        with pytest.raises(InputError, match=r"are scalar fields, but 'V' has values of shape \(2,\)"):
            make(vectors.hierarchy("V", "V1"), 2)
    for steps in ({"pre": 0}, {"post": -1}, {"coarse": 0}):
        with pytest.raises(InputError, match="A cycle begins with a smoothing step"):
            MultigridProcessor(disc.hierarchy("V", "V1"), 2, **steps)
    with pytest.raises(InputError, match="cannot be shared by 3 heads"):
        SliceAttentionProcessor(disc["V"], 1, channels=8, heads=3)
    with pytest.raises(InputError, match="tags or coordinates"):
        GeometryEncoder(disc["V"], [])
    operator = build_operator(config(MESSAGE_PASSING), disc)
    operator.config = None
    with pytest.raises(InputError, match="put together by hand"):
        operator_on(operator, disc)
    assert PlainDecoder(disc["V"], "u").num_channels == 1
