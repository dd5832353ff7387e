"""Structure that is kept: over a thousand steps in single precision, and by the operators for mixed Darcy and Stokes flow."""

from itertools import pairwise

import firedrake as fd
import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from manufactured import fields, order, tensor
from thalweg.errors import InputError
from thalweg.fem import Discretization, MassSolver, RieszMap, StreamFunctionSolver, export
from thalweg.operators import (
    SPON,
    AverageEncoder,
    ComposedDecoder,
    ConservationDecoder,
    CurlDecoder,
    Decoder,
    DiffusionProcessor,
    DirichletDecoder,
    FormEncoder,
    IntegralDecoder,
    InterpolationEncoder,
    JointEncoder,
    MessagePassingProcessor,
    PositiveDecoder,
    PotentialEncoder,
    StartEncoder,
    StreamFunctionDecoder,
    TransferDecoder,
    VorticityDecoder,
)
from thalweg.random_numbers import sample_rng
from thalweg.solvers import MixedDarcy, SolenoidalStokes

STEPS = 1000
SINGLE = torch.finfo(torch.float32).eps


@pytest.fixture(scope="module")
def square() -> Discretization:
    mesh = fd.UnitSquareMesh(6, 5)
    elements = {"V": ("CG", 1), "R": ("RT", 1), "Q": ("DG", 0)}
    spaces = {name: fd.FunctionSpace(mesh, *element) for name, element in elements.items()}
    spaces["U"] = fd.VectorFunctionSpace(mesh, "CG", 1)
    derivatives, products = [("V", "R"), ("R", "Q")], [("Q", "V")]
    return export(spaces, [("R", "U"), ("U", "R")], derivatives, products).float()


class Bounded(MessagePassingProcessor):
    """Random weights would let a state grow without end."""

    def forward(self, channels: Tensor) -> Tensor:
        return torch.tanh(super().forward(channels))


@torch.no_grad()
def iterate(disc: Discretization, encoder, decoder: Decoder, state: Tensor, **given: Tensor) -> Tensor:
    """The state u after a thousand steps of a SPON with random weights."""
    torch.manual_seed(0)
    spon = SPON(encoder, Bounded(disc["V"], encoder.num_channels, decoder.num_channels, 8, 1), decoder)
    u = state
    for _ in range(STEPS):
        u = spon({"u": u, **given})["u"]
    assert u.dtype == torch.float32
    assert (u - state).abs().max() > 0.1 * state.abs().max()
    return u


def random(disc: Discretization, name: str, seed: int = 0) -> Tensor:
    return torch.randn(2, disc[name].num_dofs, generator=torch.Generator().manual_seed(seed))


def mass(disc: Discretization, u: Tensor) -> Tensor:
    return torch.from_numpy(disc["V"].mass.to_scipy().astype("float64") @ u.double().numpy().T).sum(0)


def test_mass_is_kept_over_a_thousand_steps_with_boundary_values(square: Discretization):
    V, state, g = square["V"], 1 + random(square, "V"), random(square, "V", 1)
    decoder = ComposedDecoder([DirichletDecoder(V, "u", "g", ["1", "2"]), IntegralDecoder(V, "u", "u")])
    encoder = InterpolationEncoder(V, {"u": None, "g": None})
    last = iterate(square, encoder, decoder, state, g=g)
    boundary = V.boundary_dofs(["1", "2"])
    assert torch.equal(last[:, boundary], g[:, boundary])
    assert (mass(square, last) - mass(square, state)).abs().max() < 100 * SINGLE * mass(square, state.abs()).max()


def test_positive_mass_is_kept_over_a_thousand_steps(square: Discretization):
    V, state = square["V"], random(square, "V").abs()
    decoder = ComposedDecoder([PositiveDecoder(V, "u"), IntegralDecoder(V, "u", "u", by_scaling=True)])
    last = iterate(square, InterpolationEncoder(V, {"u": None}), decoder, state)
    assert last.min() > 0
    assert (mass(square, last) / mass(square, state) - 1).abs().max() < 100 * SINGLE


def test_a_flow_has_no_divergence_after_a_thousand_steps(square: Discretization):
    V, R = square["V"], square["R"]
    curl = CurlDecoder(V, R, "u", square.derivative("V", "R"))
    decoder = ComposedDecoder([DirichletDecoder(V, "u"), curl])
    encoder = InterpolationEncoder(square["U"], {"u": square.transfer("R", "U")})
    last = iterate(square, encoder, decoder, curl.enforce(random(square, "V"), {}))
    D = square.derivative("R", "Q")
    size = D(last.abs()).abs().max()
    assert D(last).abs().max() < 10 * SINGLE * size
    assert last[:, R.boundary_dofs()].abs().max() < 10 * SINGLE * last.abs().max()


def test_cells_balance_their_sources_after_a_thousand_steps(square: Discretization):
    R, D = square["R"], square.derivative("R", "Q")
    f = random(square, "Q")
    walls = DirichletDecoder(R, "u", 0.0, "3")
    flux = TransferDecoder(square["U"], R, "u", square.transfer("U", "R"))
    decoder = ComposedDecoder([flux, walls, ConservationDecoder(R, "u", D, "f", ["3"])])
    encoder = InterpolationEncoder(square["U"], {"u": square.transfer("R", "U")})
    last = iterate(square, encoder, decoder, random(square, "R"), f=f)
    rounding = SINGLE * (abs(D.to_scipy()).max() * last.abs().max())
    assert (D(last) - f).abs().max() < 20 * rounding
    assert not last[:, R.boundary_dofs("3")].any()


def test_averages_stay_within_bounds(square: Discretization):
    a = torch.rand(3, square["Q"].num_dofs) + 0.5
    encoder = AverageEncoder(square["V"], {"a": square.product("Q", "V")}, power=-1.0)
    averages = encoder({"a": a})
    assert averages.shape == (3, 1, square["V"].num_nodes)
    assert averages.min() >= (1 / a).min() * (1 - 1e-5)
    assert averages.max() <= (1 / a).max() * (1 + 1e-5)
    torch.testing.assert_close(encoder({"a": torch.full_like(a, 4.0)}), torch.full_like(averages, 0.25))
    logarithm = AverageEncoder(square["V"], {"a": square.product("Q", "V")}, power=0)
    torch.testing.assert_close(logarithm({"a": a}), -logarithm({"a": 1 / a}))
    with pytest.raises(InputError, match="no weights of an average"):
        AverageEncoder(square["Q"], {"a": square.product("Q", "V")})


def test_channels_have_the_units_of_the_processors_space(square: Discretization):
    """Dofs of a flux are integrals over edges; a constant vector has the size of its components, a stream function that of its slope."""
    uniform = torch.ones(1, square["U"].num_dofs)
    sigma = square.transfer("U", "R")(uniform)
    vectors = TransferDecoder(square["U"], square["R"], "u", square.transfer("U", "R"))
    torch.testing.assert_close(vectors.channel_scales({"u": 3 * sigma}).flatten(), torch.full((2,), 3.0).double())
    x = square["V"].points.float()
    stream = CurlDecoder(square["V"], square["R"], "u", square.derivative("V", "R"))
    potential = (x[:, 0] - 0.5)[None]
    scale = stream.channel_scales({"u": stream.enforce(potential, {})})
    assert scale.item() == pytest.approx(potential.square().mean().sqrt().item(), rel=0.2)


# Mixed Darcy


@pytest.fixture(scope="module")
def darcy() -> tuple[Discretization, dict[str, Tensor]]:
    """Two samples of flow above impermeable bedrock, and the discretization."""
    field = {"length": 0.3}
    problem = MixedDarcy(3, "log_normal", {"bottom": 0.0}, 1, 1, field, field, field)
    samples = []
    for sample in range(2):
        inputs = problem.random_inputs(sample_rng(0, sample))
        samples.append(fields(inputs | problem.solve(inputs)))
    return problem.export(), {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def darcy_operator(disc: Discretization, cycles: int) -> SPON:
    V, S, D = disc["V"], disc["S"], disc.derivative("S", "Q")
    conserve = ConservationDecoder(S, "sigma", D, "f", ["bottom"])
    processor = DiffusionProcessor(disc.hierarchy_below("V"), "a", -1.0, ["bottom"], cycles).double()
    curl = TransferDecoder(V, S, "sigma", disc.derivative("V", "S"))
    decoder = ComposedDecoder([curl, DirichletDecoder(S, "sigma", 0.0, ["bottom"]), conserve])
    encoder = StartEncoder(conserve, FormEncoder(V, disc.form("circulation"), tags=["bottom"]))
    return SPON(encoder, processor, decoder).double()


def test_the_reference_is_a_conservative_flux_plus_a_curl(darcy):
    disc, given = darcy
    start = ConservationDecoder(disc["S"], "sigma", disc.derivative("S", "Q"), "f", ["bottom"])
    missing = given["sigma"] - start.enforce(torch.zeros_like(given["sigma"]), given)
    C = disc.derivative("V", "S").to_scipy().toarray()
    psi, *_ = np.linalg.lstsq(C, missing.numpy().T, rcond=None)
    assert np.abs(C @ psi - missing.numpy().T).max() < 1e-12 * float(missing.abs().max())


def test_untrained_cycles_converge_to_the_reference(darcy):
    disc, given = darcy
    with torch.no_grad():
        errors = [disc["S"].norm(darcy_operator(disc, n)(given)["sigma"] - given["sigma"]).max().item() for n in (2, 4, 8, 16)]
    assert errors[-1] < 1e-5 * disc["S"].norm(given["sigma"]).min().item()
    assert max(b / a for a, b in pairwise(errors)) < 0.3


def test_the_flux_is_linear_in_source_and_pressure_and_conservative_with_any_weights(darcy):
    disc, given = darcy
    spon = darcy_operator(disc, 2)
    with torch.no_grad():
        for parameter in spon.parameters():
            parameter.normal_(std=0.5)
        sigma = spon(given)["sigma"]
        other = {**given, "f": given["f"].flip(0), "g": given["g"].flip(0)}
        both = {**given, "f": given["f"] + 2 * other["f"], "g": given["g"] + 2 * other["g"]}
        combined = sigma + 2 * spon(other)["sigma"]
        assert (spon(both)["sigma"] - combined).abs().max() < 1e-11 * combined.abs().max()
    defect = disc.derivative("S", "Q")(sigma) - given["f"]
    assert defect.abs().max() < 1e-11 * disc.derivative("S", "Q")(sigma.abs()).abs().max()
    assert not sigma[:, disc["S"].boundary_dofs("bottom")].any()
    assert disc["S"].norm(sigma - given["sigma"]).min() > 1e-3 * disc["S"].norm(given["sigma"]).max()
    with pytest.raises(InputError, match=r"one value a cell.*got nothing"):
        spon.processor(torch.zeros(2, 1, disc["V"].num_nodes).double(), {})


# Stokes


def test_projected_velocities_are_nearest_and_converge():
    """Second order, for the flow of the stream function sin 2x cos 3y, which passes the boundary."""
    errors, cells = [], [4, 8, 16]
    for n in cells:
        problem = SolenoidalStokes(n, refinements=0)
        x, y = fd.SpatialCoordinate(problem.meshes[-1])
        stream = fd.sin(2 * x) * fd.cos(3 * y)
        exact = fd.as_vector([stream.dx(1), -stream.dx(0)])
        V = problem.spaces["V"]
        force = fd.Function(V).interpolate(-fd.div(fd.grad(exact)))
        outputs = problem.solve({"f": force, "g": fd.Function(V).interpolate(exact)})
        errors.append(fd.errornorm(exact, outputs["w"], "L2"))
    assert order(errors, [1 / n for n in cells]) > 1.9
    disc, u, w = problem.export(), tensor(outputs["u"]), tensor(outputs["w"])
    D = disc.derivative("S", "D")
    # The quadratic interpolant of the boundary velocity lets through a little more than it takes in, the same for all cells.
    assert (D(w) - D(w).mean()).abs().max() < 1e-11 * D(w.abs()).abs().max()
    assert D(w).mean().abs() < 1e-5
    # What the projection removes is orthogonal to the curls of all stream functions that vanish on the boundary.
    phi = fd.TestFunction(problem.spaces["W"])
    removed = fd.inner(outputs["u"] - outputs["w"], fd.as_vector([phi.dx(1), -phi.dx(0)])) * fd.dx
    residual = fd.assemble(removed, bcs=fd.DirichletBC(problem.spaces["W"], 0, "on_boundary")).dat.data_ro
    assert np.abs(residual).max() < 1e-12
    assert u.abs().max() > 1


def test_the_flow_of_a_stream_function_ignores_gradients():
    """Of the force only its rotation drives an incompressible flow: exactly, with any weights."""
    problem = SolenoidalStokes(3, refinements=1)
    inputs = problem.random_inputs(sample_rng(0, 0))
    disc, V = problem.export(), problem.spaces["V"]
    x, y = fd.SpatialCoordinate(V.mesh())
    gradient = tensor(fd.Function(V).interpolate(fd.grad(50 * x**2 * y - 20 * y**3)))[None]
    given = {name: u[None] for name, u in fields(inputs).items()}
    W = disc["W"]
    rotation = FormEncoder(W, disc.form("circulation"), tags=["on_boundary"])
    potentials = PotentialEncoder(rotation, RieszMap(disc.hierarchy_below("W"), ["stiffness"], ["on_boundary"], cycles=8))
    encoder = JointEncoder([potentials, InterpolationEncoder(disc["V"], {"g": None})])
    curl = CurlDecoder(W, disc["S"], "w", disc.derivative("W", "S"))
    decoder = ComposedDecoder([DirichletDecoder(W, "w"), curl])
    torch.manual_seed(0)
    spon = SPON(encoder, MessagePassingProcessor(W, 4, 1, 8, 2), decoder).double()
    with torch.no_grad():
        w, moved = (spon(case)["w"] for case in (given, {**given, "f": given["f"] + gradient}))
    assert disc["S"].norm(w).item() > 1e-2
    assert (w - moved).abs().max() < 1e-9 * w.abs().max()
    assert disc.derivative("S", "D")(w).abs().max() < 1e-11 * disc.derivative("S", "D")(w.abs()).abs().max()
    # Twice the inverse Laplacian of the rotation is what it says.
    channels = potentials(given)
    K, M, inside = W.stiffness, W.mass, torch.ones(W.num_dofs, dtype=torch.bool)
    inside[W.boundary_dofs()] = False
    residual = K(channels[:, 0]) - disc.form("circulation")(f=given["f"])
    assert residual[:, inside].abs().max() < 1e-3 * K(channels[:, 0]).abs().max()
    assert (K(channels[:, 1]) - M(channels[:, 0]))[:, inside].abs().max() < 1e-3 * M(channels[:, 0]).abs().max()


def test_stream_functions_between_moving_walls_converge():
    """At second order in velocity, for a flow that no wall lets through and every wall drags along."""
    errors, cells = [], [2, 4, 8]
    for n in cells:
        problem = SolenoidalStokes(n, viscosity=0.5, refinements=1)
        disc, V = problem.export(), problem.spaces["V"]
        x, y = fd.SpatialCoordinate(V.mesh())
        stream = fd.sin(fd.pi * x) * fd.sin(fd.pi * y) * fd.exp(x)
        exact = fd.as_vector([stream.dx(1), -stream.dx(0)])
        force = tensor(fd.Function(V).interpolate(-0.5 * fd.div(fd.grad(exact))))[None]
        walls = tensor(fd.Function(V).interpolate(exact))[None]
        solver = StreamFunctionSolver(disc.hierarchy_below("W"), cycles=25, direct=300)  # by multigrid on the finest mesh
        F, b = disc.form("circulation")(f=force), disc.form("wall_velocity")(g=walls)
        psi, omega = solver(F, b)
        W, inside = disc["W"], solver.free > 0
        assert not psi[:, ~inside].any()
        # All equations of the mixed method hold.
        assert (W.mass(omega) - W.stiffness(psi) - b).abs().max() < 1e-9 * b.abs().max()
        assert (W.stiffness(omega) - F)[:, inside].abs().max() < 1e-9 * F.abs().max()
        w = fd.Function(problem.spaces["S"])
        w.dat.data_wo[...] = disc.derivative("W", "S")(psi)[0].numpy().reshape(w.dat.data_ro.shape)
        errors.append(fd.errornorm(exact, w, "L2"))
    assert order(errors, [1 / n for n in cells]) > 1.7
    still = torch.zeros(1, disc["S"].num_dofs).double()
    slip, rest = (disc.form("slip")(w=v, g=walls).item() for v in (disc.derivative("W", "S")(psi), still))
    assert slip < 1e-3 * rest


def test_learned_rotations_start_from_the_mixed_method_and_keep_the_walls():
    problem = SolenoidalStokes(2, refinements=1)
    disc, given = problem.export(), {name: u[None] for name, u in fields(problem.random_inputs(sample_rng(0, 0))).items()}
    W, solver = disc["W"], StreamFunctionSolver(disc.hierarchy_below("W"), cycles=25)
    decoder = StreamFunctionDecoder(W, "psi", solver, disc.form("circulation"), disc.form("wall_velocity"))
    q = torch.randn(1, 1, W.num_nodes, generator=torch.Generator().manual_seed(0)).double()
    F, b = disc.form("circulation")(f=given["f"]), disc.form("wall_velocity")(g=given["g"])
    torch.testing.assert_close(decoder(0 * q, given)["psi"], solver(F, b)[0])
    psi = decoder(100 * q, given)["psi"]
    assert (psi - solver(F, b)[0]).abs().max() > 0.1 * psi.abs().max()
    # Harmonic functions do not see the rotation, so that their moments with the vorticity are those of the walls.
    omega = solver(F + 100 * W.mass(q[:, 0]), b)[1]
    torch.testing.assert_close(W.mass(omega) @ solver.harmonic, b @ solver.harmonic, atol=1e-9, rtol=0)
    with pytest.raises(InputError, match="needs the field 'g'"):
        decoder(q, {"f": given["f"]})
    # Rotations are learned in units of the force's, which those of the stream function and of its velocity are not.
    size = decoder.channel_scales(given)
    flow = ComposedDecoder([decoder, CurlDecoder(W, disc["S"], "w", disc.derivative("W", "S"))])
    assert torch.equal(flow.channel_scales({**given, "w": disc.derivative("W", "S")(psi)}), size)
    assert size > 100 * psi.abs().max()


def test_the_velocity_of_a_vorticity_converges():
    """At second order, for a flow within walls that it slips along."""
    errors, cells = [], [2, 4, 8]
    for n in cells:
        problem = SolenoidalStokes(n, refinements=1)
        disc, S, W = problem.export(), problem.spaces["S"], problem.spaces["W"]
        x, y = fd.SpatialCoordinate(S.mesh())
        stream = fd.sin(fd.pi * x) * fd.sin(fd.pi * y) * fd.exp(x)
        omega = tensor(fd.Function(W).interpolate(-fd.div(fd.grad(stream))))
        poisson = RieszMap(disc.hierarchy_below("W"), ["stiffness"], ["on_boundary"], cycles=10)
        decoder = VorticityDecoder(disc["W"], disc["S"], "w", disc.derivative("W", "S"), poisson)
        found = decoder(omega[None, None], {})["w"]
        w = fd.Function(S)
        w.dat.data_wo[...] = found[0].numpy().reshape(w.dat.data_ro.shape)
        errors.append(fd.errornorm(fd.as_vector([stream.dx(1), -stream.dx(0)]), w, "L2"))
        assert disc.derivative("S", "D")(found).abs().max() < 1e-11 * disc.derivative("S", "D")(found.abs()).abs().max()
        assert found[:, disc["S"].boundary_dofs()].abs().max() < 1e-12 * found.abs().max()
    assert order(errors, [1 / n for n in cells]) > 1.7
    one = torch.ones(1, 1, disc["W"].num_nodes).double()
    given = {"w": decoder(3 * one, {})["w"]}
    torch.testing.assert_close(decoder.channel_scales(given), 3 * one[:, 0, :1])
    coarser = RieszMap(disc.hierarchy_below("W1"), ["stiffness"], ["on_boundary"])
    with pytest.raises(InputError, match="The Riesz map is of a space with"):
        VorticityDecoder(disc["W"], disc["S"], "w", disc.derivative("W", "S"), coarser)


def test_the_dissipation_is_well_conditioned_in_the_vorticity():
    """As a function of the stream function it is of fourth order; as one of the vorticity it is the identity, but for the walls."""
    conditions = []
    for n in (2, 4):
        disc = SolenoidalStokes(n, refinements=1).export()
        W, S, curl = disc["W"], disc["S"], disc.derivative("W", "S")
        poisson = RieszMap(disc.hierarchy_below("W"), ["stiffness"], ["on_boundary"], cycles=25)
        stream = ComposedDecoder([DirichletDecoder(W, "psi"), CurlDecoder(W, S, "w", curl)])
        found = []
        for decoder in (stream, VorticityDecoder(W, S, "w", curl, poisson)):
            w = decoder(torch.eye(W.num_dofs).double()[:, None], {})["w"]
            moments = disc.form("vorticity")(w=w, g=torch.zeros(1, disc["V"].num_dofs).double())
            energy, M = (moments @ MassSolver(W.mass)(moments).T).numpy(), W.mass.to_scipy().toarray()
            eigenvalues = scipy.linalg.eigvalsh(energy, M)
            found.append(eigenvalues[eigenvalues > 1e-9 * eigenvalues[-1]])
        conditions.append([eigenvalues[-1] / eigenvalues[0] for eigenvalues in found])
        ones = np.isclose(found[1], 1).mean()
    assert ones > 0.7
    (coarse, coarse_vorticity), (fine, fine_vorticity) = conditions
    assert fine > 10 * coarse
    assert fine_vorticity < 2.5 * coarse_vorticity < 50
