"""Flow on staggered grids: divergence, exact solutions, budgets, the lid-driven cavity, obstacles, gradients."""

from math import exp, pi

import pytest
import torch

from thalweg.errors import DivergedError, InputError
from thalweg.solvers.grid import FreeSlip, Outflow, Periodic, StaggeredFlow, Wall, rigid_motion

f64 = torch.float64

#: Ghia, Ghia and Shin (J. Comput. Phys. 48, 1982): y and u on the vertical centre line of the cavity at Re 100.
GHIA_Y = (0.9766, 0.9688, 0.9609, 0.9531, 0.8516, 0.7344, 0.6172, 0.5, 0.4531, 0.2813, 0.1719, 0.1016, 0.0703, 0.0625, 0.0547)
GHIA_U = (
    *(0.84123, 0.78871, 0.73722, 0.68717, 0.23151, 0.00332, -0.13641, -0.20581, -0.21090),
    *(-0.15662, -0.10150, -0.06434, -0.04775, -0.04192, -0.03717),
)

BOXES = {
    "periodic": {},
    "cavity": {"x0": Wall(), "x1": Wall(), "y0": Wall(), "y1": Wall(tangential=1.0)},
    "channel": {"x0": Wall(normal=1.0), "x1": Outflow(), "y0": Wall(), "y1": FreeSlip()},
    "strip": {"y0": FreeSlip(), "y1": Wall()},
}


def faces(cells, lengths=(1.0, 1.0)):
    """Coordinates of the faces across x, then of those across y."""
    (nx, ny), (Lx, Ly) = cells, lengths
    x, y = torch.arange(nx + 1, dtype=f64) * Lx / nx, torch.arange(ny + 1, dtype=f64) * Ly / ny
    xc, yc = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
    return *torch.meshgrid(x, yc, indexing="ij"), *torch.meshgrid(xc, y, indexing="ij")


def noise(flow: StaggeredFlow, batch: int = 2, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    u, v = (torch.randn(w.shape, dtype=f64, generator=generator) for w in flow.at_rest(batch))
    for axis, w in ((2, u), (3, v)):
        if isinstance(flow.sides[axis - 2][0], Periodic):
            w.select(axis, -1).copy_(w.select(axis, 0))
    return u, v


def cylinder(n: int) -> torch.Tensor:
    x = (torch.arange(2 * n, dtype=f64) + 0.5) / n
    y = (torch.arange(n, dtype=f64) + 0.5) / n
    return (x[:, None] - 0.6) ** 2 + (y - 0.5) ** 2 < 0.15**2


@pytest.mark.parametrize("box", BOXES)
def test_projection_removes_the_divergence_to_rounding(box):
    flow = StaggeredFlow((12, 10), (1.0, 2.0), viscosity=0.1, sides=BOXES[box], dtype=f64)
    velocity = noise(flow)
    assert flow.divergence(velocity).abs().max() > 1
    projected = flow.project(velocity)
    assert flow.divergence(projected).abs().max() < 1e-11
    for once, twice in zip(projected, flow.project(projected), strict=True):
        torch.testing.assert_close(once, twice, atol=1e-12, rtol=0)


@pytest.mark.parametrize("box", BOXES)
def test_projection_around_obstacles_meets_its_tolerance(box):
    solid = torch.zeros(12, 10, dtype=torch.bool)
    solid[3:6, 4:7] = True
    flow = StaggeredFlow((12, 10), viscosity=0.1, sides=BOXES[box], solid=solid, tolerance=1e-10, dtype=f64)
    u, v = flow.project(noise(flow))
    assert flow.divergence((u, v)).abs().max() < 1e-7
    assert u[..., 3:7, 4:7].count_nonzero() == v[..., 3:6, 4:8].count_nonzero() == 0


def test_iterations_around_obstacles_do_not_grow_with_the_grid():
    for n in (16, 32, 64):
        flow = StaggeredFlow((2 * n, n), (2.0, 1.0), viscosity=0.1, sides=BOXES["channel"], solid=cylinder(n), tolerance=1e-8,
                             max_iterations=16, dtype=f64)  # fmt: skip
        flow.project(noise(flow))


def test_taylor_green_is_approached_with_order_two():
    nu, errors = 0.1, []
    for n in (16, 32):
        L = (2 * pi, 2 * pi)
        xu, yu, xv, yv = faces((n, n), L)
        u, v = xu.cos() * yu.sin(), -xv.sin() * yv.cos()
        u[-1], v[:, -1] = u[0], v[:, 0]
        flow = StaggeredFlow((n, n), L, viscosity=nu, dtype=f64)
        w, _ = flow.solve((u[None, None], v[None, None]), 1.0, 1, dt=0.25 * 16 / n * 0.4)
        errors.append((w[0, 1, 0] - u * exp(-2 * nu)).abs().max())
    assert (errors[0] / errors[1]).log2() > 1.9


def test_the_decaying_vortex_between_free_slip_walls_has_order_two():
    nu, errors, sides = 0.1, [], dict.fromkeys(("x0", "x1", "y0", "y1"), FreeSlip())
    for n in (8, 16):
        xu, yu, xv, yv = faces((n, n), (pi, pi))
        u, v = xu.sin() * yu.cos(), -xv.cos() * yv.sin()
        flow = StaggeredFlow((n, n), (pi, pi), viscosity=nu, sides=sides, dtype=f64)
        w, _ = flow.solve((u[None, None], v[None, None]), 1.0, 1, dt=0.1)
        errors.append((w[0, 1, 0] - u * exp(-2 * nu)).abs().max())
    assert (errors[0] / errors[1]).log2() > 1.9


def test_convection_does_no_work():
    flow = StaggeredFlow((12, 10), (1.0, 2.0), viscosity=1e-15, dtype=f64)
    velocity = flow.project(noise(flow))
    rate = flow.rate(velocity)
    work = torch.cat([(w * k)[..., : flow.cells[0], : flow.cells[1]].flatten() for w, k in zip(velocity, rate, strict=True)])
    assert abs(work.sum()) < 1e-12 * work.abs().sum()


def test_couette_flow_is_exact():
    flow = StaggeredFlow((4, 6), viscosity=0.5, sides={"y0": Wall(tangential=-1.0), "y1": Wall(tangential=1.0)}, dtype=f64)
    u, v = flow.solve(flow.at_rest(), 4.0, 1, dt=0.01)
    _, y, *_ = faces((4, 6))
    torch.testing.assert_close(u[0, 1, 0], 2 * y - 1, atol=1e-6, rtol=0)
    assert v.abs().max() < 1e-12


def test_a_driven_channel_balances_force_and_friction():
    force, errors = (torch.tensor(1.0), torch.tensor(0.0)), []
    for n in (6, 12):
        flow = StaggeredFlow((4, n), viscosity=1.0, sides={"y0": Wall(), "y1": Wall()}, force=force, dtype=f64)
        u, _ = flow.solve(flow.at_rest(), 1.0, 1, dt=0.4 / n**2)
        _, y, *_ = faces((4, n))
        errors.append((u[0, 1, 0] - y * (1 - y) / 2).abs().max())
    assert (errors[0] / errors[1]).log2() > 1.9


def test_flow_leaves_a_channel_as_it_entered():
    n, nu = 8, 0.1
    y = (torch.arange(n, dtype=f64) + 0.5) / n
    sides = {"x0": Wall(normal=4 * y * (1 - y)), "x1": Outflow(), "y0": Wall(), "y1": Wall()}
    flow = StaggeredFlow((3 * n, n), (3.0, 1.0), viscosity=nu, sides=sides, dtype=f64)
    u, v = flow.solve(flow.at_rest(), 4.0, 1, dt=0.02)
    assert (u[0, 1, 0, -1] - 4 * y * (1 - y)).abs().max() < 0.02
    torch.testing.assert_close(u[0, 1, 0].sum(1), u[0, 1, 0, 0].sum().expand(3 * n + 1))
    assert v[0, 1, 0, -4:].abs().max() < 1e-3


def test_the_lid_driven_cavity_agrees_with_ghia_at_reynolds_100():
    n = 32
    flow = StaggeredFlow((n, n), viscosity=0.01, sides=BOXES["cavity"])
    u, _ = flow.solve(flow.at_rest(), 15.0, 1, dt=0.018)
    profile = torch.cat([torch.zeros(1), u[0, 1, 0, n // 2], torch.ones(1)])
    y = torch.cat([torch.zeros(1), (torch.arange(n) + 0.5) / n, torch.ones(1)])
    at, reference = torch.tensor(GHIA_Y), torch.tensor(GHIA_U)
    right = torch.searchsorted(y, at)
    part = (at - y[right - 1]) / (y[right] - y[right - 1])
    assert (profile[right - 1] * (1 - part) + profile[right] * part - reference).abs().max() < 0.005


def test_samples_of_a_batch_do_not_touch_each_other():
    flow = StaggeredFlow((12, 10), viscosity=0.05, sides=BOXES["channel"], dtype=f64)
    u, v = noise(flow, 3)
    together, alone = flow.solve((u, v), 0.05, 1, dt=0.01), flow.solve((u[1:2], v[1:2]), 0.05, 1, dt=0.01)
    torch.testing.assert_close(together[0][1:2], alone[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("obstacle", [False, True])
def test_gradients_match_finite_differences(obstacle, implicit):
    solid = torch.zeros(6, 5, dtype=torch.bool)
    solid[2, 2] = True
    flow = StaggeredFlow(
        (6, 5),
        viscosity=0.05,
        sides=BOXES["channel"],
        solid=solid if obstacle else None,
        implicit_viscosity=implicit,
        tolerance=1e-13,
        dtype=f64,
    )
    u, v = (w.requires_grad_() for w in noise(flow, 1))
    assert torch.autograd.gradcheck(lambda u, v: flow.solve((u, v), 0.1, 1, dt=0.05), (u, v), fast_mode=True)


def test_gradients_reach_inflow_lid_and_force():
    def final(inflow: torch.Tensor, lid: torch.Tensor, force: torch.Tensor) -> torch.Tensor:
        sides = {"x0": Wall(normal=inflow), "x1": Outflow(), "y0": Wall(), "y1": Wall(tangential=lid)}
        flow = StaggeredFlow((6, 5), viscosity=0.05, sides=sides, force=(force, torch.zeros(())), dtype=f64)
        return flow.solve(flow.at_rest(), 0.1, 1, dt=0.05)[0]

    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(n, dtype=f64, generator=generator, requires_grad=True) for n in (5, 6, 5)]
    assert torch.autograd.gradcheck(final, inputs, fast_mode=True)


def block(cells, low, high) -> torch.Tensor:
    solid = torch.zeros(cells, dtype=torch.bool)
    solid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return solid


def test_a_channel_walled_by_obstacles_is_the_channel_between_walls():
    force, obstacles = (torch.tensor(1.0, dtype=f64), torch.tensor(0.0)), torch.zeros(5, 10, dtype=torch.bool)
    obstacles[:, :2] = obstacles[:, -2:] = True
    walled = StaggeredFlow((5, 6), (1.0, 0.6), viscosity=0.1, sides={"y0": Wall(), "y1": Wall()}, force=force, dtype=f64)
    filled = StaggeredFlow((5, 10), viscosity=0.1, solid=obstacles, force=force, dtype=f64)
    u, _ = walled.solve(walled.at_rest(), 0.5, 1, dt=0.02)
    w, _ = filled.solve(filled.at_rest(), 0.5, 1, dt=0.02)
    torch.testing.assert_close(w[..., 2:-2], u, atol=1e-10, rtol=0)


@pytest.mark.parametrize("turning", [0.0, 3.0])
def test_the_momentum_budget_closes(turning):
    cells, lengths = (14, 12), (1.4, 1.0)
    solid = block(cells, (3, 4), (6, 8)) | block(cells, (9, 2), (12, 5))
    motion = rigid_motion(cells, lengths, centre=(0.45, 0.5), angular_velocity=turning)
    flow = StaggeredFlow(cells, lengths, viscosity=0.05, solid=solid, solid_velocity=motion if turning else None,
                         force=(torch.tensor(0.7, dtype=f64), torch.tensor(-0.3, dtype=f64)), tolerance=1e-13, dtype=f64)  # fmt: skip
    velocity = flow.project(noise(flow))
    rate, gradient = flow.rate(velocity), flow.projection.gradient(flow.pressure(velocity))
    cell = flow.spacings[0] * flow.spacings[1]
    drag = flow.force_on(velocity)
    parts = [flow.force_on(velocity, body) for body in (block(cells, (3, 4), (6, 8)), block(cells, (9, 2), (12, 5)))]
    torch.testing.assert_close(sum(parts), drag, atol=1e-11, rtol=0)
    for axis, pushed in enumerate((0.7, -0.3)):
        inside = (slice(None), slice(None), slice(0, 14), slice(0, 12))
        gained = (rate[axis] - gradient[axis])[inside].sum((1, 2, 3)) * cell
        given = pushed * flow.faces.open[axis][inside].sum() * cell
        torch.testing.assert_close(gained, given - drag[:, axis], atol=1e-10, rtol=0)


def test_the_force_on_the_walls_of_a_steady_channel_is_that_which_drives_it():
    solid = block((6, 10), (0, 0), (6, 2))
    flow = StaggeredFlow((6, 10), viscosity=1.0, solid=solid, force=(torch.tensor(2.0), torch.tensor(0.0)), dtype=f64)
    u, v = flow.solve(flow.at_rest(), 1.5, 1, dt=4.5e-3)
    torch.testing.assert_close(flow.force_on((u[:, 1], v[:, 1])), torch.tensor([[2.0 * 0.8, 0.0]], dtype=f64), atol=1e-6, rtol=0)


def test_every_sample_may_have_its_own_obstacle_inflow_and_viscosity():
    cells, y = (12, 10), torch.arange(10, dtype=f64) / 10
    solids = torch.stack([block(cells, (3, 4), (6, 7)), block(cells, (5, 2), (7, 5)), torch.zeros(cells, dtype=torch.bool)])
    inflow, nu = torch.stack([y, 1 - y, 0 * y + 1]), torch.tensor([0.05, 0.1, 0.02], dtype=f64)
    turning = torch.tensor([0.0, 2.0, 0.0], dtype=f64).reshape(3, 1, 1, 1)
    motion = rigid_motion(cells, (1.0, 1.0), centre=(0.5, 0.35), angular_velocity=turning)

    def flow(solid, inflow, nu, motion):
        sides = {"x0": Wall(normal=inflow), "x1": Outflow(), "y0": Wall(), "y1": Wall()}
        return StaggeredFlow(cells, viscosity=nu, sides=sides, solid=solid, solid_velocity=motion, tolerance=1e-12, dtype=f64)

    together = flow(solids, inflow, nu, motion)
    u, _ = together.solve(together.at_rest(), 0.2, 1, dt=0.02)
    for i in range(3):
        alone = flow(solids[i], inflow[i], float(nu[i]), [w[i] if w.dim() == 4 else w for w in motion])
        w, _ = alone.solve(alone.at_rest(), 0.2, 1, dt=0.02)
        torch.testing.assert_close(u[i : i + 1], w, atol=1e-9, rtol=0)


def test_a_turning_cylinder_in_a_turning_box_turns_the_fluid_with_it():
    n = 16
    x = (torch.arange(n, dtype=f64) + 0.5) / n - 0.5
    radius = (x[:, None] ** 2 + x**2).sqrt()
    cells, omega = (n, n), 2.0
    motion = rigid_motion(cells, (1.0, 1.0), centre=(0.5, 0.5), angular_velocity=omega)
    flow = StaggeredFlow(cells, viscosity=0.1, solid=(radius < 0.15) | (radius > 0.4), solid_velocity=motion,
                         implicit_viscosity=True, dtype=f64)  # fmt: skip
    u, v = flow.solve(flow.at_rest(), 1.0, 1, dt=0.05)
    for w, expected in zip((u, v), motion, strict=True):  # to first order, by the stairs
        free = flow.faces.open[0 if w is u else 1][0, 0] > 0
        assert (w[0, 1, 0] - expected)[free].abs().max() < 0.07 * omega * 0.4


@pytest.mark.parametrize("box", BOXES)
def test_implicit_viscosity_solves_the_same_equations_with_order_two_in_time(box):
    def end(implicit: bool, dt: float) -> torch.Tensor:
        flow = StaggeredFlow((10, 8), viscosity=0.1, sides=BOXES[box], implicit_viscosity=implicit, dtype=f64)
        velocity = flow.project(tuple(0.05 * w + r for w, r in zip(noise(flow, 1), flow.at_rest(), strict=True)))
        smooth, _ = StaggeredFlow((10, 8), viscosity=0.1, sides=BOXES[box], dtype=f64).solve(velocity, 0.1, 1, dt=5e-3), None
        return torch.cat([w[:, 1].flatten() for w in flow.solve(tuple(w[:, 1] for w in smooth), 0.2, 1, dt=dt)])

    exact = end(False, 2e-3)
    errors = [(end(True, dt) - exact).norm() for dt in (0.02, 0.01)]
    assert errors[1] < 2e-3 * exact.norm()
    assert (errors[0] / errors[1]).log2() > 1.7


def test_implicit_viscosity_around_obstacles_allows_steps_beyond_the_explicit_limit():
    solid, sides = block((12, 10), (3, 4), (6, 7)), BOXES["channel"]
    options = {"viscosity": 0.5, "sides": sides, "solid": solid, "tolerance": 1e-11, "dtype": f64}
    explicit, implicit = StaggeredFlow((12, 10), **options), StaggeredFlow((12, 10), **options, implicit_viscosity=True)
    with pytest.raises(DivergedError, match="implicit_viscosity"):
        explicit.solve(explicit.at_rest(), 0.4, 1, dt=0.02)
    u, v = implicit.solve(implicit.at_rest(), 0.4, 1, dt=0.02)
    w, _ = explicit.solve(explicit.at_rest(), 0.4, 1, dt=5e-3)
    assert (u[:, 1] - w[:, 1]).abs().max() < 2e-3
    assert implicit.divergence((u[:, 1], v[:, 1])).abs().max() < 1e-7


@pytest.mark.parametrize("implicit", [False, True])
def test_checkpointed_segments_give_the_same_gradients_with_less_memory(implicit):
    flow = StaggeredFlow((8, 6), viscosity=0.05, sides=BOXES["cavity"], implicit_viscosity=implicit, dtype=f64)
    velocity = tuple(w.requires_grad_() for w in noise(flow, 1))
    stored, gradients = [], []
    for segment in (None, 5):
        count = [0]

        def pack(t: torch.Tensor, count: list[int] = count) -> torch.Tensor:
            count[0] += t.numel()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            u, v = flow.solve(velocity, 0.5, 2, dt=0.02, segment=segment)
        stored.append(count[0])
        gradients.append(torch.autograd.grad(u.square().sum() + v.square().sum(), velocity))
    assert stored[1] < stored[0] / 10
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_a_step_without_obstacles_is_one_graph():
    flow = StaggeredFlow((8, 6), viscosity=0.05, sides=BOXES["channel"], dtype=f64)
    state, step = flow.start(flow.project(flow.at_rest(2))), flow.step(0.02)
    torch.compiler.reset()
    compiled = torch.compile(step, backend="eager", fullgraph=True, dynamic=False)
    for w, expected in zip(compiled(state), step(state), strict=True):
        torch.testing.assert_close(w, expected)


def test_frames_at_given_times_are_those_of_equal_intervals():
    flow = StaggeredFlow((8, 6), viscosity=0.05, sides=BOXES["cavity"], dtype=f64)
    u, _ = flow.solve(flow.at_rest(), 0.1, 5, dt=0.02)
    w, _ = flow.solve_at(flow.at_rest(), (2.0, 2.1, 2.3, 2.5), dt=0.02)
    torch.testing.assert_close(w, u[:, [0, 1, 3, 5]], atol=1e-12, rtol=0)


def test_gradients_reach_moving_obstacles_and_their_drag():
    cells, solid = (6, 5), block((6, 5), (2, 2), (4, 4))

    def drag(angular_velocity: torch.Tensor, nu: torch.Tensor) -> torch.Tensor:
        motion = rigid_motion(cells, (1.0, 1.0), centre=(0.5, 0.6), angular_velocity=angular_velocity.reshape(-1, 1, 1, 1))
        flow = StaggeredFlow(cells, viscosity=nu, sides=BOXES["channel"], solid=solid, solid_velocity=motion,
                             tolerance=1e-13, dtype=f64)  # fmt: skip
        u, v = flow.solve(flow.at_rest(), 0.1, 1, dt=0.05)
        return flow.force_on((u[:, 1], v[:, 1]))

    omega, nu = (
        torch.tensor([1.0, -2.0], dtype=f64, requires_grad=True),
        torch.tensor([0.05, 0.02], dtype=f64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(drag, (omega, nu))


def test_wrong_input_and_divergence_are_explained():
    for wrong in (
        {"sides": {"x0": Wall()}},
        {"sides": {"left": Wall()}},
        {"sides": {"x0": Wall(normal=1.0), "x1": Wall(), "y0": Wall(), "y1": Wall()}},
        {"sides": {"x0": Wall(normal=torch.ones(5)), "x1": Outflow()}},
        {"solid": torch.zeros(8, 8)},
        {"force": (torch.zeros(8, 6), torch.zeros(()))},
        {"force": (torch.zeros(()),)},
        {"solid_velocity": (0.0, 0.0)},
        {"solid": torch.ones(8, 6, dtype=torch.bool)},
        {"solid": torch.zeros(8, 6, dtype=torch.bool), "solid_velocity": (torch.zeros(8, 6), 0.0)},
        {"viscosity": -0.1},
        {"viscosity": torch.tensor(0.1, requires_grad=True), "implicit_viscosity": True},
    ):
        with pytest.raises(InputError):
            StaggeredFlow((8, 6), **{"viscosity": 0.1, **wrong})
    flow = StaggeredFlow((8, 6), viscosity=0.1, dtype=f64)
    u, v = noise(flow)
    for velocity in ((v, u), (u.float(), v), (u + torch.arange(9.0)[:, None], v)):
        with pytest.raises(InputError):
            flow.solve(velocity, 1.0, 1, dt=0.1)
    for times in ((0.0,), (0.0, 1.0, 1.0)):
        with pytest.raises(InputError, match="times"):
            flow.solve_at((u, v), times, dt=0.1)
    with pytest.raises(InputError, match="no obstacle"):
        flow.force_on((u, v))
    with pytest.raises(DivergedError, match="explicit viscosity"):
        flow.solve((u, v), 100.0, 1, dt=10.0)
    with pytest.raises(DivergedError, match="convection is stable up to"):
        flow.solve((1e4 * u, 1e4 * v), 1.0, 1, dt=0.02)
