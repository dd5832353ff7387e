"""MgNO with operators that carry, and outputs that depart from a known flow: flow through bent channels."""

from dataclasses import replace
from itertools import pairwise

import firedrake as fd
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.fem.assembly import csr
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.export import export_operator, load_exported
from thalweg.operators.mgno import Architecture, ChannelFlow, ChannelVelocity, MgNO
from thalweg.operators.mgno.coefficient import streamline_diffusion
from thalweg.operators.mgno.cycle import Cycle
from thalweg.operators.mgno.grid_levels import grid_levels
from thalweg.operators.mgno.mapping import pulled_back
from thalweg.operators.mgno.pattern_product import pattern_product

CARRYING = Architecture(
    features=6,
    iterates=4,
    layers=2,
    operator=("coefficient",),
    source=("mass", "dx", "transport", "boundary"),
    coefficient="galerkin",
    mapped=True,
    peclet=(0.0, 50.0),
    convection=True,
    coarsest=(8, 4),
    levels=3,
)
WALLS = ("x0", "y0", "y1")


def bent(points: Tensor) -> Tensor:
    """A pipe along a curve: cells become parallelograms."""
    return torch.stack([points[0], points[1] + torch.sin(2 * points[0])])


def on_nodes(u: Tensor) -> Tensor:
    return u.flatten(2).permute(2, 0, 1)


def operators(levels, x: Tensor, c: Tensor) -> list:
    assert levels.coefficient is not None
    return levels.coefficient(torch.ones_like(x[..., 0]), pulled_back(levels.jacobians(x))[0], c=c)


def test_the_operator_that_carries_is_firedrakes_on_the_mapped_mesh():
    """∫ ∇u·∇v + c·∇u v on the mesh, and the streamline diffusion of its cells, to rounding."""
    cells, lengths = (12, 5), (3.0, 1.0)
    mesh = fd.RectangleMesh(*cells, *lengths, quadrilateral=True)
    grid = Grid((13, 6), lengths)
    points = mesh.coordinates.dat.data_ro.copy()
    index = (points / np.array(lengths) * np.array(cells)).round().astype(int)
    order = np.ravel_multi_index(tuple(index.T), grid.shape)
    # On the grid the form is that of the flow's contravariant components, |det J| = 1.
    V = fd.FunctionSpace(mesh, "CG", 1)
    u, v, c = fd.TrialFunction(V), fd.TestFunction(V), fd.Function(fd.VectorFunctionSpace(mesh, "CG", 1))
    values = np.random.default_rng(0).random((len(points), 2)) - 0.3
    c.dat.data[:] = values
    mean = fd.Function(fd.VectorFunctionSpace(mesh, "DG", 0)).interpolate(c)
    slope = fd.Function(fd.FunctionSpace(mesh, "DG", 0)).interpolate(
        fd.Function(V).interpolate(fd.sin(2 * fd.SpatialCoordinate(mesh)[0])).dx(0)
    )
    h = fd.as_vector([lengths[0] / cells[0], lengths[1] / cells[1]])
    tau = 0.5 / (abs(mean[0]) / h[0] + abs(mean[1]) / h[1])
    T = fd.as_matrix([[1, -slope], [-slope, 1 + slope**2]]) + tau * fd.outer(mean, mean)
    form = fd.inner(fd.dot(T, fd.grad(u)), fd.grad(v)) + fd.inner(mean, fd.grad(u)) * v
    expected = np.empty((len(points),) * 2)
    expected[np.ix_(order, order)] = csr(fd.assemble(form * fd.dx, mat_type="aij")).toarray()
    levels = grid_levels(grid, (), replace(CARRYING, coarsest=4), torch.float64)
    x = bent(grid.coordinates(torch.float64)).flatten(1).T[:, None]
    on_grid = torch.empty(len(points), 1, 2, dtype=torch.float64)
    on_grid[order, 0] = torch.from_numpy(values)
    found = operators(levels, x, on_grid)[0].on_nodes(torch.eye(len(points), dtype=torch.float64)[:, None])[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


def test_streamline_diffusion_along_an_axis_is_upwinding():
    """In one dimension c·∇u by central differences with c h/2 of diffusion is c (u_i − u_{i−1})/h; across, there is none."""
    c = torch.tensor([[[3.0, 0.0]], [[0.0, -2.0]], [[0.0, 0.0]]])
    found = streamline_diffusion(c, torch.tensor([0.5, 0.25]).expand(3, 1, 2))
    torch.testing.assert_close(found, torch.tensor([[[0.75, 0, 0]], [[0, 0.25, 0]], [[0, 0, 0]]]))


def test_a_product_of_a_pattern_has_its_derivatives():
    torch.manual_seed(0)
    crow, col = torch.tensor([0, 2, 5, 7]), torch.tensor([0, 1, 0, 1, 2, 1, 2])
    transpose = torch.tensor([0, 2, 1, 3, 5, 4, 6])
    val, x = torch.randn(7, dtype=torch.float64), torch.randn(3, 9, dtype=torch.float64)
    A = torch.sparse_csr_tensor(crow, col, val, (3, 3)).to_dense()
    for needed in (False, True):
        val.requires_grad_(needed)
        torch.testing.assert_close(pattern_product(crow, col, val, val[transpose], x), A @ x)

    def apply(val: Tensor, x: Tensor) -> Tensor:
        return pattern_product(crow, col, val, val[transpose], x)

    assert torch.autograd.gradcheck(apply, (val, x.requires_grad_()))
    assert torch.autograd.gradcheck(lambda x: apply(val.detach(), x), (x,))


@pytest.fixture(scope="module")
def pipe() -> tuple[Grid, Tensor]:
    """A pipe four times as long as wide, and its points."""
    grid = Grid((33, 17), (4.0, 1.0))
    X = grid.coordinates(torch.float64)
    return grid, torch.stack([X[0], X[1] + 0.3 * torch.sin(2 * X[0])])[None]


def test_cycles_solve_for_transport_and_the_coarsest_level_carries_downstream(pipe):
    grid, x = pipe
    architecture = replace(CARRYING, iterates=1, peclet=(200.0,), coarsest=(16, 8))
    levels, cycle = grid_levels(grid, WALLS, architecture, torch.float64), Cycle(architecture).double()
    A = operators(levels, on_nodes(x), 200 * on_nodes(ChannelVelocity()({"x": x}, grid)))
    # A load in the middle of the pipe.
    f = (levels[0].free[:, 0, 0] * (torch.arange(33 * 17) // 17 == 16))[:, None, None].double()
    u, sizes = None, []
    with torch.no_grad():
        for _ in range(20):
            u = cycle(f, levels, A, u)
            sizes.append(float((f - A[0].on_nodes(u)).norm()))
    assert sizes[-1] < 1e-6 * float(f.norm())
    assert max(b / a for a, b in pairwise(sizes)) < 0.6
    assert u is not None
    rms = u.view(33, 17).square().mean(1).sqrt()
    assert rms[12] < 0.02 * rms[16]
    assert rms[28] > 0.5 * rms[16]


def operator(grid: Grid, architecture: Architecture = CARRYING) -> MgNO:
    return MgNO(
        grid,
        {"x": 2},
        {"u": 1},
        architecture,
        coordinates="x",
        velocity=ChannelVelocity(),
        boundary_values=ChannelFlow("x"),
        dirichlet=WALLS,
    ).double()


def test_outputs_depart_from_a_flow_that_is_kept_at_the_inflow_and_the_walls(pipe):
    torch.manual_seed(0)
    grid, x = pipe
    mgno = operator(grid)
    flow = ChannelFlow("x")({"x": x}, grid)
    y = grid.coordinates(torch.float64)[1]
    torch.testing.assert_close(flow[0, 0], 4 * y * (1 - y))
    both = ChannelFlow("x", (0, 1))({"x": x}, grid)
    # The Piola transform: along the channel.
    slope = torch.gradient(x[0, 1, :, 0], spacing=4.0 / 32, edge_order=2)[0]
    torch.testing.assert_close(both[0, 1], slope[:, None] * both[0, 0])
    mgno.set_scales({"x": x.repeat(2, 1, 1, 1), "u": torch.cat([flow + 1, flow - 3])})
    torch.testing.assert_close(mgno.output_scale, torch.full_like(mgno.output_scale, 5**0.5))
    for parameter in mgno.parameters():
        nn.init.normal_(parameter, std=0.3)
    u = mgno({"x": x})["u"]
    for side in (u[..., 0, :] - flow[..., 0, :], u[..., 0] - flow[..., 0], u[..., -1] - flow[..., -1]):
        assert side.abs().max() == 0
    assert (u - flow)[..., 1:, 1:-1].abs().min() > 0
    u.square().sum().backward()
    assert [name for name, parameter in mgno.named_parameters() if parameter.grad is None] == []
    torch.testing.assert_close(mgno({"x": x + torch.tensor([3.0, -2.0]).view(1, 2, 1, 1)})["u"], u)
    fine = Grid((65, 33), (4.0, 1.0)).coordinates(torch.float64)[None]
    assert mgno({"x": fine})["u"].shape == (1, 1, 65, 33)


def test_an_operator_on_pipes_is_one_file_for_torch(pipe, tmp_path):
    grid, x = pipe
    fields = {"x": torch.cat([x, 2 * x])}
    torch.manual_seed(0)
    mgno = operator(grid, replace(CARRYING, layers=1, levels=2)).eval()
    export_operator(mgno, fields, tmp_path / "pipes.pt2")
    program, _ = load_exported(tmp_path / "pipes.pt2")
    torch.testing.assert_close(program({"x": x.repeat(3, 1, 1, 1)})["u"], mgno({"x": x})["u"].detach().expand(3, -1, -1, -1))


def test_the_shares_of_iterates_have_their_own_operators(pipe):
    """Without transport both halves are the same cycles for the same operator."""
    torch.manual_seed(0)
    grid, x = pipe
    split, whole = (MgNO(grid, {"x": 2}, {"u": 1}, replace(CARRYING, peclet=numbers, mixing="diagonal"), coordinates="x",
                         velocity=ChannelVelocity(), dirichlet=WALLS).double() for numbers in ((0.0, 0.0), (0.0,)))  # fmt: skip
    for layer, other in zip(split.network.layers, whole.network.layers, strict=True):
        for half in layer.cycle.cycles:
            half.load_state_dict({name: value.narrow(-1, 0, 2) for name, value in other.cycle.state_dict().items()})
    rest = {name: value for name, value in whole.state_dict().items() if ".cycle." not in name}
    assert split.load_state_dict(rest, strict=False).unexpected_keys == []
    torch.testing.assert_close(split({"x": x})["u"], whole({"x": x})["u"])


def test_wrong_transport_of_operators_is_named():
    with pytest.raises(InputError, match=r"an iterate each"):
        replace(CARRYING, iterates=1)
    with pytest.raises(InputError, match=r'needs the source "transport"'):
        replace(CARRYING, source=("mass",))
    with pytest.raises(InputError, match=r"one number or 2, one for each axis"):
        grid_levels(Grid((33, 17)), (), replace(CARRYING, coarsest=(8, 4, 2)))
    with pytest.raises(InputError, match=r"components 0 to 1"):
        ChannelFlow("x", (2,))({"x": torch.zeros(1, 2, 9, 9)}, Grid((9, 9)))
    with pytest.raises(InputError, match=r"not both"):
        MgNO(Grid((9, 9)), {"u": 1}, {"u": 1}, boundary_values=ChannelFlow("u"), increment=True)
