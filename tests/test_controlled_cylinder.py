"""A cylinder with actuators: its solver, its forces, the adjoint of its drag, and the operator that learns its mean flow."""

from copy import copy

import firedrake as fd
import numpy as np
import pytest
import torch

from thalweg import control
from thalweg.errors import DivergedError, InputError
from thalweg.operators import DepartureDecoder, DirichletDecoder, ModalProcessor
from thalweg.solvers import ControlledCylinderFlow
from thalweg.solvers.cylinder_actuators import force_weight
from thalweg.solvers.sbdf3 import SBDF3

#: A coarse mesh and short times; the flow is that of the first tenths of a second.
SHORT = {"refinements": 0, "dt": 2e-3, "spin_up": 0.2, "settle": 0.05, "average": 0.1, "ramp": 0.02}


@pytest.fixture(scope="module")
def flow() -> ControlledCylinderFlow:
    return ControlledCylinderFlow(**SHORT)


def test_the_rotation_is_tangential_and_the_jets_lose_no_mass(flow: ControlledCylinderFlow):
    disc = flow.export()
    n, ds = fd.FacetNormal(flow.channel.mesh), fd.ds(4, domain=flow.channel.mesh)
    for name, strength in (("swirl", 1.0), ("blowing", 0.0)):
        g = flow.surface(rotation=1.0)
        dofs = torch.from_numpy(g.dat.data_ro.reshape(1, -1).copy())
        assert disc.form(name)(g=dofs).item() == pytest.approx(strength, abs=2e-3)
    g = flow.surface(jets=1.0)
    through = fd.assemble(abs(fd.dot(g, n)) * ds)
    assert abs(fd.assemble(fd.dot(g, n) * ds)) < 1e-3 * through
    # ∫ cos²(πδ/width) over both jets is width · radius.
    assert through == pytest.approx(np.deg2rad(40) * 0.05, rel=0.05)
    with pytest.raises(InputError, match="rotation, jets, but no suction"):
        flow.surface(suction=1.0)


def test_an_actuator_without_a_range_works_in_no_sample(flow: ControlledCylinderFlow):
    jets = copy(flow)
    jets.ranges = {"jets": (0.0, 1.0)}
    swirl = flow.export().form("swirl")
    surfaces = [jets.random_inputs(np.random.default_rng(i))["g"] for i in range(4)]
    assert all(swirl(g=torch.from_numpy(g.dat.data_ro.reshape(1, -1).copy())).abs() < 2e-3 for g in surfaces)
    with pytest.raises(InputError, match="No actuator works"):
        ControlledCylinderFlow(**SHORT, rotation=None, jets=None)


def test_strengths_of_any_seed_are_spread_evenly_over_the_ranges(flow: ControlledCylinderFlow):
    disc = flow.export()

    def shares(seed: int, sample: int) -> tuple[float, float]:
        g = torch.from_numpy(flow.sample_inputs(seed, sample)["g"].dat.data_ro.reshape(1, -1).copy())
        of_unit = {name: torch.from_numpy(flow.surface(**{name: 1.0}).dat.data_ro.reshape(1, -1).copy()) for name in flow.ranges}
        forms = {"rotation": disc.form("swirl"), "jets": disc.form("blowing")}
        return tuple((forms[name](g=g) / forms[name](g=of_unit[name]) / high).item() for name, (_, high) in flow.ranges.items())

    for seed in range(3):
        drawn = np.array([shares(seed, sample) for sample in range(2, 8)])
        for strengths in (np.sort(of_one[of_one > 1e-6]) for of_one in drawn.T):
            assert len(strengths) == 3
            assert max(np.diff(strengths).max(), 1 - strengths[-1] + strengths[0]) < 0.383
    assert shares(0, 5) == shares(0, 5) != shares(1, 5)


def test_force_weights_are_unit_vectors_on_the_cylinder_without_divergence(flow: ControlledCylinderFlow):
    mesh = flow.channel.mesh
    for component, unit in enumerate(np.eye(2)):
        w = force_weight(mesh, component)
        assert fd.assemble(fd.div(w) ** 2 * fd.dx(mesh)) < 1e-20
        assert fd.assemble(fd.inner(w - fd.Constant(unit), w - fd.Constant(unit)) * fd.ds(4, domain=mesh)) < 1e-10
        assert fd.assemble(fd.inner(w, w) * fd.ds((1, 2, 3), domain=mesh)) == 0


def test_steps_are_of_third_order_in_time(flow: ControlledCylinderFlow):
    fixed, fine = flow._stepper.fixed, 2.5e-4
    boundary = flow._inflow

    def march(dt: float, states: tuple, steps: int) -> list[np.ndarray]:
        stepper, path = SBDF3(flow.channel.Z, 1e-3, dt, fixed), []
        for _ in range(steps):
            u = stepper.step(states, boundary)[: len(states[0])]
            states = (u, *states[:2])
            path.append(u)
        return path

    path = march(fine, flow.street, 200)
    errors = []
    for every in (4, 8):
        start = tuple(path[i] for i in (99, 99 - every, 99 - 2 * every))
        last = march(every * fine, start, 96 // every)[-1]
        errors.append(np.abs(last - path[99 + 96]).max())
    assert np.log2(errors[1] / errors[0]) > 2.7


def test_the_mean_drag_is_the_drag_of_the_mean_flow_and_its_acceleration(flow: ControlledCylinderFlow):
    g = flow.surface(rotation=1.0)
    means = flow.solve({"g": g})
    disc = flow.export()
    fields = {name: torch.from_numpy(f.dat.data_ro.reshape(1, -1).copy()) for name, f in means.items()}
    # The window is no period, so the mean acceleration does not vanish.
    rate = sum(
        weight * sum(a * u for a, u in zip(flow._stepper.rate, (flow._split(z)[0], *before), strict=True)) / flow.dt
        for (z, before), weight in flow._weighted(g)
        if weight
    )
    flow._state.assign(0)
    flow._rate.dat.data_wo[...] = rate.reshape(-1, 2)
    inertia = fd.assemble(flow._coefficients[0])
    stressless = disc.form("drag")(**fields | {"r": 0 * fields["r"]}).item()
    drag = disc.form("drag")(**fields).item()
    assert drag + inertia == pytest.approx(flow.mean_drag(g), rel=2e-4)
    assert abs(drag - stressless) > 2e-3


def test_the_adjoint_of_the_drag_passes_the_taylor_test(flow: ControlledCylinderFlow):
    functional = control.CylinderDrag(flow, ["rotation", "jets"], effort=0.1).functional("firedrake")
    at, direction = {"rotation": np.array(1.0), "jets": np.array(0.3)}, {"rotation": np.array(5.0), "jets": np.array(-3.0)}
    assert control.taylor_test(functional, at, direction).min() > 1.99
    assert functional(at) == pytest.approx(functional.value_and_gradient(at)[0], rel=1e-12)


def test_strengths_beyond_the_time_step_are_an_explained_error(flow: ControlledCylinderFlow):
    with pytest.raises(DivergedError, match="blew up at t = "):
        flow.mean_drag(flow.surface(rotation=50.0))
    with pytest.raises(InputError, match="distance of averaged states"):
        ControlledCylinderFlow(**SHORT | {"average": 0.01})


def test_a_departure_decoder_keeps_boundary_values_and_learns_at_the_departures_scale(flow: ControlledCylinderFlow):
    disc = flow.export()
    V = disc["V"]
    torch.manual_seed(0)
    g, base, u = torch.zeros(3, V.num_dofs), torch.randn(3, V.num_dofs), torch.randn(3, V.num_dofs)
    surface = V.boundary_dofs("cylinder")
    g[:, surface], base[:, surface] = torch.randn(3, len(surface)), 0
    decoder = DepartureDecoder(DirichletDecoder(V, "u", "g", flow.dirichlet), "u_base")
    predicted = decoder(torch.randn(3, 2, V.num_nodes), {"g": g, "u_base": base})["u"]
    assert torch.equal(predicted[:, surface], g[:, surface])
    assert torch.equal(predicted[:, V.boundary_dofs("inflow")], base[:, V.boundary_dofs("inflow")])
    scales = decoder.channel_scales({"u": base + 1e-3 * u, "u_base": base})
    one = torch.ones(V.num_dofs)
    assert scales == pytest.approx(1e-3 * (V.inner(u, u).mean() / V.inner(one, one)).sqrt().item(), rel=1e-3)
    with pytest.raises(InputError, match="base values of 'u' are the field 'u_base'"):
        decoder(torch.randn(3, 2, V.num_nodes), {"g": g})


def test_modes_are_combined_by_the_means_of_the_channels(flow: ControlledCylinderFlow):
    space = flow.export()["S"]
    torch.manual_seed(0)
    processor = ModalProcessor(space, in_channels=2, out_channels=3, modes=2).double()
    numbers = torch.randn(5, 2, dtype=torch.float64)
    out = processor(numbers[..., None].expand(-1, -1, space.num_nodes))
    assert out.shape == (5, 3, space.num_nodes)
    assert torch.linalg.matrix_rank(out.flatten(1), rtol=1e-5) == 2
    coefficients = processor.network(numbers)
    assert torch.allclose(out, torch.einsum("bk,kcn->bcn", coefficients, processor.modes), atol=1e-5)


def test_modes_of_a_departure_vanish_without_control(flow: ControlledCylinderFlow):
    space = flow.export()["S"]
    torch.manual_seed(0)
    processor = ModalProcessor(space, in_channels=2, modes=3, homogeneous=True).double()
    out = processor(torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1).expand(-1, 2, space.num_nodes))
    assert out[0].abs().max() < 1e-15 < 0.01 < out[1].abs().max()
