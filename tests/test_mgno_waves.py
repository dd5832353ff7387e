"""MgNO for waves: the operator −Δ − k² is indefinite, and two levels whose phases agree solve it."""

from dataclasses import replace

import pytest
import torch

from mgno_cycles import POISSON
from thalweg.errors import InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import Architecture, MgNO, time_harmonic
from thalweg.operators.mgno.cycle import Cycle
from thalweg.operators.mgno.grid_levels import grid_levels
from thalweg.operators.mgno.network import Network


def test_waves_are_solved_by_two_levels_whose_phases_agree():
    """−Δu − k²u, twelve points a wave, six below: cycles contract though the operator is indefinite, and far worse without lumping."""
    architecture = replace(
        POISSON,
        operator=("coefficient",),
        smoother=("jacobi", "coefficient"),
        coefficient="rediscretized",
        reaction=True,
        levels=2,
        coarsest=16,
    )
    levels, cycle = grid_levels(Grid((33, 33)), (), architecture, torch.float64), Cycle(architecture).double()
    lumping, factors = Network(1, 1, architecture, 2).lumping, {}
    assert levels.coefficient is not None
    assert lumping is not None
    a = torch.ones(33**2, 1, dtype=torch.float64)
    # k² away from eigenvalues π²(m² + n²) of the square.
    for name, share in (("lumped", lumping.detach().double()), ("consistent", torch.zeros(2, dtype=torch.float64))):
        matrices = levels.coefficient(a, None, -(14.5**2) * a, share)
        torch.manual_seed(0)
        e = torch.randn(33**2, 1, 1, dtype=torch.float64)
        with torch.no_grad():
            for _ in range(20):
                e = e - cycle(matrices[0].on_nodes(e), levels, matrices)
                factors[name], e = e.norm(), e / e.norm()
    assert factors["lumped"] < 0.3
    assert factors["consistent"] > 1


def test_an_operator_for_waves_learns_all_its_weights():
    architecture = Architecture(
        features=3,
        iterates=2,
        layers=2,
        operator=("coefficient",),
        smoother=("jacobi", "coefficient"),
        source=("mass", "boundary"),
        mixing="diagonal",
        coefficient="rediscretized",
        reaction=True,
        levels=2,
        coarsest=4,
    )
    torch.manual_seed(0)
    operator = MgNO(Grid((9, 9)), {"c": 1}, {"u": 1}, architecture, reaction=time_harmonic("c", 100.0)).double()
    operator({"c": 20 + torch.rand(2, 1, 9, 9, dtype=torch.float64)})["u"].square().sum().backward()
    assert [name for name, parameter in operator.named_parameters() if parameter.grad is None] == []
    with pytest.raises(InputError, match=r"reaction=True"):
        MgNO(Grid((9, 9)), {"c": 1}, {"u": 1}, architecture, coefficient="c")
    with pytest.raises(InputError, match=r"rediscretized"):
        replace(architecture, coefficient="galerkin")
