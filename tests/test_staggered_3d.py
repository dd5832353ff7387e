"""Flow on staggered grids in three dimensions: as in two where nothing depends on the third axis, and what is new there."""

from math import exp, pi, prod

import pytest
import torch

from thalweg.errors import InputError
from thalweg.solvers.grid import FreeSlip, Outflow, Periodic, StaggeredFlow, Wall

f64 = torch.float64

BOXES = {
    "periodic": {},
    "cavity": {f"{axis}{end}": Wall() for axis in "xyz" for end in (0, 1)} | {"z1": Wall(tangential=(1.0, 0.5))},
    "duct": {"x0": Wall(normal=1.0), "x1": Outflow(), "y0": Wall(), "y1": Wall(), "z0": FreeSlip(), "z1": Wall()},
}


def noise(flow: StaggeredFlow, batch: int = 2):
    generator = torch.Generator().manual_seed(0)
    velocity = tuple(torch.randn(w.shape, dtype=f64, generator=generator) for w in flow.at_rest(batch))
    for axis, w in enumerate(velocity):
        if isinstance(flow.sides[axis][0], Periodic):
            w.select(axis + 2, -1).copy_(w.select(axis + 2, 0))
    return velocity


def block(cells) -> torch.Tensor:
    solid = torch.zeros(cells, dtype=torch.bool)
    solid[2:4, 2:4, 2:5] = True
    return solid


def taylor_green_3d(flow: StaggeredFlow):
    """(sin x cos y cos z, −cos x sin y cos z, 0), at the faces of a periodic box of side 2π."""
    n, h = flow.cells[0], flow.spacings[0]
    faces, centres = torch.arange(n + 1, dtype=f64) * h, (torch.arange(n, dtype=f64) + 0.5) * h
    x, y, z = torch.meshgrid(faces, centres, centres, indexing="ij")
    u = x.sin() * y.cos() * z.cos()
    u[-1] = u[0]
    return u[None, None], -u.transpose(0, 1)[None, None], torch.zeros(1, 1, n, n, n + 1, dtype=f64)


def energy(flow: StaggeredFlow, velocity) -> torch.Tensor:
    """Mean of ½|u|² over a periodic box, by the faces."""
    return sum(w.narrow(i - 3, 0, n).square().mean() / 2 for i, (w, n) in enumerate(zip(velocity, flow.cells, strict=True)))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("obstacle", [False, True])
def test_projection_removes_the_divergence(box, obstacle):
    cells = (6, 7, 8)
    solid = block(cells) if obstacle else None
    flow = StaggeredFlow(cells, (1.0, 2.0, 1.5), viscosity=0.1, sides=BOXES[box], solid=solid, tolerance=1e-12, dtype=f64)
    velocity = noise(flow)
    assert flow.divergence(velocity).abs().max() > 1
    projected = flow.project(velocity)
    assert flow.divergence(projected).abs().max() < 1e-9
    for once, twice in zip(projected, flow.project(projected), strict=True):
        torch.testing.assert_close(once, twice, atol=1e-9, rtol=0)


@pytest.mark.parametrize("third", [0, 1, 2])
@pytest.mark.parametrize("implicit", [False, True])
def test_a_flow_that_does_not_depend_on_one_axis_is_the_flow_in_two_dimensions(third, implicit):
    """The channel with an obstacle and a lid, in each orientation."""
    cells, lengths, solid = [8, 6], [1.3, 1.0], torch.zeros(8, 6, dtype=torch.bool)
    solid[2:4, 2:4] = True
    inflow = torch.linspace(0.5, 1.0, 6, dtype=f64)
    options = {"viscosity": 0.05, "implicit_viscosity": implicit, "tolerance": 1e-12, "dtype": f64}
    sides = {"x0": Wall(normal=inflow), "x1": Outflow(), "y0": Wall(), "y1": Wall(tangential=1.0)}
    flat = StaggeredFlow(cells, lengths, sides=sides, solid=solid, **options)
    flat_end = [w[:, 1] for w in flat.solve(flat.at_rest(), 0.1, 1, dt=0.02)]

    a, b = (axis for axis in range(3) if axis != third)
    cells.insert(third, 4)
    lengths.insert(third, 0.7)
    lid = [0.0, 0.0]
    lid[a - (a > b)] = 1.0
    wide = (inflow[:, None] if third > b else inflow[None]).expand(*(n for i, n in enumerate(cells) if i != a))
    x, y = "xyz"[a], "xyz"[b]
    sides = {f"{x}0": Wall(normal=wide), f"{x}1": Outflow(), f"{y}0": Wall(), f"{y}1": Wall(tangential=lid)}
    deep = StaggeredFlow(cells, lengths, sides=sides, solid=solid.unsqueeze(third).expand(cells), **options)
    deep_end = [w[:, 1] for w in deep.solve(deep.at_rest(), 0.1, 1, dt=0.02)]
    for axis, expected in zip((a, b), flat_end, strict=True):
        expected = expected.unsqueeze(third + 2).expand_as(deep_end[axis])
        torch.testing.assert_close(deep_end[axis], expected, atol=1e-9, rtol=0)
    assert deep_end[third].abs().max() < 1e-9
    drag = deep.force_on(deep_end)[:, [a, b]] / lengths[third]
    torch.testing.assert_close(drag, flat.force_on(flat_end), atol=1e-7, rtol=0)


def test_taylor_green_loses_energy_at_the_analytic_rate_at_first():
    """E = e^{−6νt}/8 as long as nothing but the wave number √3 is there; convection alone does no work."""
    nu, errors = 0.05, []
    for n in (8, 16):
        flow = StaggeredFlow((n, n, n), (2 * pi,) * 3, viscosity=nu, dtype=f64)
        velocity = flow.project(taylor_green_3d(flow))
        assert abs(energy(flow, velocity) - 1 / 8) < 1e-12
        after = tuple(w[:, 1] for w in flow.solve(velocity, 0.1, 1, dt=0.05))
        errors.append(abs(energy(flow, after) - exp(-6 * nu * 0.1) / 8))
    assert errors[1] < 5e-4 / 8
    assert (errors[0] / errors[1]).log2() > 1.5


def test_convection_does_no_work_and_viscosity_dissipates():
    flow = StaggeredFlow((6, 7, 8), (1.0, 2.0, 1.5), viscosity=1e-15, dtype=f64)
    velocity = flow.project(noise(flow))
    parts = [(w * k).narrow(i - 3, 0, flow.cells[i]) for i, (w, k) in enumerate(zip(velocity, flow.rate(velocity), strict=True))]
    work = torch.cat([part.flatten() for part in parts])
    assert abs(work.sum()) < 1e-12 * work.abs().sum()


def test_the_momentum_budget_closes():
    cells = (7, 6, 8)
    push = tuple(torch.tensor(f, dtype=f64) for f in (0.7, -0.3, 0.2))
    flow = StaggeredFlow(cells, viscosity=0.05, solid=block(cells), force=push, tolerance=1e-13, dtype=f64)
    velocity = flow.project(noise(flow))
    rate, gradient = flow.rate(velocity), flow.projection.gradient(flow.pressure(velocity))
    volume = prod(flow.spacings)
    force = flow.force_on(velocity)
    for axis, f in enumerate(push):
        gained = (rate[axis] - gradient[axis]).narrow(axis - 3, 0, cells[axis]).sum((1, 2, 3, 4)) * volume
        given = f * flow.faces.open[axis].narrow(axis - 3, 0, cells[axis]).sum() * volume
        torch.testing.assert_close(gained, given - force[:, axis], atol=1e-9, rtol=0)


def test_a_square_duct_has_the_known_flow_rate():
    """Mean velocity 0.035144 G a²/ν in a square duct of side a (White, Viscous Fluid Flow, eq. 3-48)."""
    walls = {name: Wall() for name in ("y0", "y1", "z0", "z1")}
    means = []
    for n in (8, 16):
        push = (torch.tensor(1.0), torch.tensor(0.0), torch.tensor(0.0))
        flow = StaggeredFlow((4, n, n), viscosity=1.0, sides=walls, force=push, implicit_viscosity=True, dtype=f64)
        u, _, _ = flow.solve(flow.at_rest(), 0.6, 1, dt=0.02)
        means.append(u[0, 1, 0, 0].mean())
    assert abs((4 * means[1] - means[0]) / 3 - 0.0351443) < 2e-5


def test_gradients_match_finite_differences():
    cells = (4, 5, 4)
    solid = torch.zeros(cells, dtype=torch.bool)
    solid[1, 2, 1] = True
    flow = StaggeredFlow(cells, viscosity=0.05, sides=BOXES["duct"], solid=solid, tolerance=1e-13, dtype=f64)
    velocity = tuple((0.2 * w).requires_grad_() for w in noise(flow, 1))
    assert torch.autograd.gradcheck(lambda *w: flow.solve(w, 0.1, 1, dt=0.05), velocity, fast_mode=True)


def test_gradients_reach_inflow_and_lid():
    def final(inflow: torch.Tensor, lid: torch.Tensor) -> torch.Tensor:
        sides = BOXES["duct"] | {"x0": Wall(normal=inflow), "z1": Wall(tangential=(lid, 0.5))}
        flow = StaggeredFlow((4, 5, 4), viscosity=0.05, sides=sides, dtype=f64)
        return flow.solve(flow.at_rest(), 0.1, 1, dt=0.05)[0]

    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(shape, dtype=f64, generator=generator, requires_grad=True) for shape in ((5, 4), (4, 5))]
    assert torch.autograd.gradcheck(final, inputs, fast_mode=True)


def test_wrong_walls_are_explained():
    for wall in (
        Wall(tangential=1.0),
        Wall(tangential=(1.0, 0.0, 0.0)),
        Wall(normal=torch.ones(5)),
        Wall(normal=torch.ones(4, 5)),
    ):
        with pytest.raises(InputError):
            StaggeredFlow((4, 5, 6), viscosity=0.1, sides={"x0": wall, "x1": Outflow()})
    with pytest.raises(InputError, match="z0 and z1"):
        StaggeredFlow((4, 5, 6), viscosity=0.1, sides={"z0": Wall()})
