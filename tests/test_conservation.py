"""Local mass conservation: exact in every cell, nearest to what came, and never further from a conservative flux."""

from copy import deepcopy

import firedrake as fd
import pytest
import torch

from thalweg.errors import InputError
from thalweg.fem import Discretization, FluxProjection, export
from thalweg.operators import ComposedDecoder, ConservationDecoder, DirichletDecoder, PositiveDecoder

ELEMENTS = {
    "triangles": (lambda: fd.UnitSquareMesh(6, 5), "RT", "DG", 1),
    "quadratic": (lambda: fd.UnitSquareMesh(4, 4), "RT", "DG", 2),
    "squares": (lambda: fd.UnitSquareMesh(5, 4, quadrilateral=True), "RTCF", "DQ", 1),
    "tetrahedra": (lambda: fd.UnitCubeMesh(2, 2, 2), "RT", "DG", 1),
}


@pytest.fixture(scope="module", params=ELEMENTS)
def disc(request: pytest.FixtureRequest) -> Discretization:
    mesh, flux, source, degree = ELEMENTS[request.param]
    mesh = mesh()
    spaces = {"S": fd.FunctionSpace(mesh, flux, degree), "Q": fd.FunctionSpace(mesh, source, degree - 1)}
    return export(spaces, derivatives=[("S", "Q")])


def draw(disc: Discretization, name: str) -> torch.Tensor:
    return torch.randn(3, disc[name].num_dofs, dtype=torch.float64, generator=torch.Generator().manual_seed(ord(name)))


def test_mass_is_conserved_in_every_cell_and_prescribed_fluxes_stay(disc: Discretization):
    project = FluxProjection(disc["S"], disc.derivative("S", "Q"), ("1",))
    sigma, f = draw(disc, "S"), draw(disc, "Q")
    projected = project(sigma, f)
    assert project.defect(projected, f).abs().max() < 1e-12 * project.defect(sigma, f).abs().max()
    tagged = disc["S"].boundary_dofs("1")
    assert torch.equal(projected[:, tagged], sigma[:, tagged])


def test_it_is_a_projection_that_approaches_every_conservative_flux(disc: Discretization):
    project = FluxProjection(disc["S"], disc.derivative("S", "Q"))
    sigma, f = draw(disc, "S"), draw(disc, "Q")
    projected = project(sigma, f)
    assert torch.allclose(project(projected, f), projected, atol=1e-10 * projected.abs().max())
    truth = project(2 * sigma.flip(0) - 1, f)
    weights = disc["S"].mass.diagonal()

    def distance(u: torch.Tensor) -> torch.Tensor:
        return ((u - truth).square() * weights).sum(-1)

    # Pythagoras: what is removed is orthogonal to what remains.
    removed = ((projected - sigma).square() * weights).sum(-1)
    assert torch.allclose(distance(sigma), distance(projected) + removed, rtol=1e-10)


def test_single_precision_conserves_to_its_rounding(disc: Discretization):
    project = deepcopy(FluxProjection(disc["S"], disc.derivative("S", "Q"))).float()
    sigma, f = draw(disc, "S").float(), draw(disc, "Q").float()
    assert project.defect(project(sigma, f), f).abs().max() < 1e-6 * project.defect(sigma, f).abs().max()


def test_the_decoder_takes_its_source_from_the_input_or_a_number(disc: Discretization):
    S, divergence = disc["S"], disc.derivative("S", "Q")
    sigma, f = draw(disc, "S"), draw(disc, "Q")
    decoded = ConservationDecoder(S, "sigma", divergence, data="f").enforce(sigma, {"f": f})
    assert torch.allclose(divergence(decoded), f, atol=1e-9 * divergence(sigma).abs().max())
    decoded = ConservationDecoder(S, "sigma", divergence, data=2.0).enforce(sigma, {})
    assert torch.allclose(divergence(decoded), torch.tensor(2.0).double(), atol=1e-9 * divergence(sigma).abs().max())
    with pytest.raises(InputError, match=r"the field 'f'.*got nothing"):
        ConservationDecoder(S, "sigma", divergence, data="f").enforce(sigma, {})


def test_conservation_composes_with_boundary_fluxes_only_if_it_holds_them(disc: Discretization):
    S, divergence = disc["S"], disc.derivative("S", "Q")
    boundary = DirichletDecoder(S, "sigma", data=0.0, tags=["1"])
    composed = ComposedDecoder([boundary, ConservationDecoder(S, "sigma", divergence, 1.0, ["1"])])
    decoded = composed.enforce(draw(disc, "S"), {})
    assert decoded[:, S.boundary_dofs("1")].abs().max() == 0
    with pytest.raises(InputError, match="would destroy the boundary values"):
        ComposedDecoder([boundary, ConservationDecoder(S, "sigma", divergence, 1.0)])
    with pytest.raises(InputError, match="would destroy the conservation"):
        ComposedDecoder([ConservationDecoder(S, "sigma", divergence, 1.0), boundary])


def test_sources_without_a_flux_are_refused(disc: Discretization):
    S, divergence = disc["S"], disc.derivative("S", "Q")
    with pytest.raises(InputError, match="prescribed on the whole boundary"):
        FluxProjection(S, divergence, ("on_boundary",))
    with pytest.raises(InputError, match="does not act on"):
        FluxProjection(disc["Q"], divergence)
    with pytest.raises(InputError, match="no positive function"):
        PositiveDecoder(S, "sigma")
