"""A scalar in a learned flow: what holds whatever the weights are, and what the steps of the vorticity can be."""

from itertools import pairwise

import pytest
import torch

from thalweg.errors import InputError
from thalweg.fem import Grid
from thalweg.operators import AdvectedScalar, DilatedResNet, VorticitySteps
from thalweg.solvers.grid.problems import SteeredSmoke

f64 = torch.float64


def vorticity_steps(problem: SteeredSmoke, steps: int = 2) -> VorticitySteps:
    torch.manual_seed(0)
    network = DilatedResNet(7, 1, width=4, blocks=1, dilations=[1])
    return VorticitySteps(problem.vertices, network, len(problem.times), steps).double()


def solved(problem: SteeredSmoke, samples: int = 3) -> dict[str, torch.Tensor]:
    inputs = {name: values.to(f64) for name, values in problem.random_inputs(0, range(samples)).items()}
    return problem.stored(inputs) | problem.solve(inputs)


def test_steps_of_the_vorticity_can_be_those_of_eulers_method():
    """With the equation's own coefficients they converge to the solver, with order one in the step."""
    problem = SteeredSmoke(16, 3, viscosity=0.01, frames=4)
    fields, found = solved(problem), []
    for steps in (16, 32, 64):
        operator = vorticity_steps(problem, steps)
        with torch.no_grad():
            for parameter in operator.parameters():
                parameter.zero_()
            # −u·∇ω + νΔω − Δψ
            operator.linear.weight[0, 4:, 1, 1] = torch.tensor([-1.0, problem.viscosity, 1.0])
            found.append(operator(fields)["stream"][:, -1])
    norm, exact = problem.vertices.norm, fields["stream"][:, -1]
    coarse, fine = (norm(u - v, "H1").mean() for u, v in pairwise(found))
    assert 1.8 < coarse / fine < 2.2
    # What is left is the difference of two schemes in space, of second order.
    assert (norm(found[-1] - exact, "H1") / norm(exact, "H1")).mean() < 0.05


def test_a_scalar_keeps_its_mass_and_its_bounds_whatever_the_weights_are():
    problem = SteeredSmoke(12, 2, frames=5)
    operator = AdvectedScalar(problem.grid, vorticity_steps(problem), steps=8).double()
    fields = {
        **solved(problem),
        "c0": (torch.rand(3, 1, 12, 12, dtype=f64, generator=torch.Generator().manual_seed(1)) > 0.5).to(f64),
    }
    operator.set_scales(fields)
    with torch.no_grad():
        found = operator(fields)
    c, start = found["c"], fields["c0"][:, None].expand_as(found["c"])
    assert (c - start).abs().max() > 0.1
    torch.testing.assert_close(problem.grid.integral(c), problem.grid.integral(start), atol=1e-14, rtol=0)
    assert c.min() > -1e-12
    assert c.max() < 1 + 1e-12
    walls = found["stream"].clone()
    walls[..., 1:-1, 1:-1] = 0
    assert walls.abs().max() == 0


def test_the_solvers_flow_carries_smoke_as_the_solver_does():
    """What is lost by frames, between which the velocity is linear in time, falls with their distance as its square."""
    errors = []
    for frames in (5, 10, 20):
        problem = SteeredSmoke(24, 3, frames=frames)
        fields = solved(problem, 2)
        carried = AdvectedScalar(problem.grid, vorticity_steps(problem), steps=200 // frames).carried
        off = carried(fields["c0"], fields["stream"])[:, -1] - fields["c"][:, -1]
        errors.append((problem.grid.norm(off) / problem.grid.norm(fields["c"][:, -1])).mean())
    assert errors[0] / errors[1] > 3
    assert errors[2] < 0.005


def test_wrong_fields_and_grids_are_explained():
    problem = SteeredSmoke(8, 2, frames=2)
    fields = solved(problem)
    flow = vorticity_steps(problem)
    with pytest.raises(InputError, match="'psi' has shape"):
        flow({"psi": fields["psi"][..., 1:]})
    with pytest.raises(InputError, match="needs the field 'psi'"):
        flow({})
    with pytest.raises(InputError, match="vertices of a rectangle"):
        VorticitySteps(problem.grid, flow.network, 2)
    operator = AdvectedScalar(problem.grid, flow)
    with pytest.raises(InputError, match="'c0' at time 0 has shape"):
        operator({"psi": fields["psi"]})
    with pytest.raises(InputError, match="not at the vertices"):
        AdvectedScalar(Grid((9, 9), location="centre"), flow).carried(fields["c0"], fields["stream"])
    with pytest.raises(InputError, match="cells of a rectangle"):
        AdvectedScalar(problem.vertices, flow)
