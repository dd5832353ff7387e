"""The problems beside flow against published and exact values: one row a quantity, with its reference, source and error."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import firedrake as fd
import numpy as np
import torch
from validation_grid import bound, row

from thalweg.solvers import Darcy, HyperelasticBeam, exact_burgers, exact_elliptic
from thalweg.solvers.buckling import critical_compression, euler_compression
from thalweg.solvers.grid import Darcy as GridDarcy
from thalweg.solvers.spectral_field import node_points

EXACT = "exact solution"


class Scale(NamedTuple):
    """Cells a side: of the sequences whose order is fitted, of the Helmholtz cavity, of the wave at ν = 0.01/π, along the beam."""

    cells: tuple[int, ...]
    centre: int
    cavity: tuple[int, ...]
    darcy: tuple[int, ...]
    wave: int
    wave_step: float
    beam: int


SCALES = {
    "small": Scale((8, 16, 32), 32, (20, 40, 80), (16, 32), 256, 4e-3, 16),
    "full": Scale((16, 32, 64, 128), 128, (100, 200, 400), (32, 64, 128, 256), 1024, 1e-3, 64),
}


def poisson(scale: Scale) -> Iterator[dict[str, Any]]:
    computed = exact_elliptic.centre_value(scale.centre)
    yield row(f"Poisson, unit square, {scale.centre}² CG2: centre value", computed, 0.0736713532, "Fourier series")


def darcy(scale: Scale) -> Iterator[dict[str, Any]]:
    for degree in (1, 2):
        errors = [exact_elliptic.darcy_error(n, degree) for n in scale.cells]
        yield from orders(f"Darcy, CG{degree}", ["u"], scale.cells, [errors], [degree + 1])
    yield row(
        "Darcy, smooth coefficient: order at which finite elements and volumes meet",
        fitted(scale.darcy, [distance_to_volumes(n) for n in scale.darcy]),
        2,
        "second order of both",
    )


def distance_to_volumes(cells: int) -> float:
    """Relative l² distance at the nodes of the finite-element solution from the finite-volume one, for one smooth coefficient."""
    problem = Darcy(cells, "log_normal", refinements=0, log_normal={"length": 0.5})
    V = problem.spaces["V"]
    x, y = fd.SpatialCoordinate(V.mesh())
    a = fd.Function(V).interpolate(fd.exp(fd.sin(3 * x + 1) * fd.cos(2 * y)))
    u = problem.solve({"a": a})["u"].dat.data_ro
    i, j = np.rint(cells * node_points(V)).astype(int).T
    on_grid = torch.zeros(1, 1, cells + 1, cells + 1, dtype=torch.float64)
    on_grid[0, 0, i, j] = torch.from_numpy(a.dat.data_ro.copy())
    volumes = GridDarcy((cells + 1, cells + 1)).solve(on_grid)[0, 0].numpy()[i, j]
    return float(np.linalg.norm(u - volumes) / np.linalg.norm(u))


def mixed_darcy(scale: Scale) -> Iterator[dict[str, Any]]:
    for degree in (1, 2):
        flux, pressure, lost = zip(*(exact_elliptic.mixed_darcy_errors(n, degree) for n in scale.cells), strict=True)
        yield from orders(
            f"mixed Darcy, RT{degree}", ["the flux", "the pressure"], scale.cells, [flux, pressure], [degree, degree]
        )
        yield bound(f"mixed Darcy, RT{degree}: largest mass lost in a cell", max(lost), 1e-13, "∇·σ = f")


def nonlinear_diffusion(scale: Scale) -> Iterator[dict[str, Any]]:
    errors = [exact_elliptic.nonlinear_diffusion_error(n) for n in scale.cells]
    yield from orders("nonlinear diffusion, CG2", ["u"], scale.cells, [errors], [3])


def helmholtz(scale: Scale) -> Iterator[dict[str, Any]]:
    errors = [exact_elliptic.helmholtz_error(n) for n in scale.cavity]
    yield from orders("Helmholtz, Q1, k = 10", ["u"], scale.cavity, [errors], [2])
    for degree, cells in ((1, scale.cavity), (2, scale.cavity[:2])):
        for n in cells:
            error = exact_elliptic.helmholtz_error(n, 1000.0, degree)
            yield row(f"Helmholtz, Q{degree} {n}², k = 50: error of the field", error, 0.0, EXACT, error)


def stokes(scale: Scale) -> Iterator[dict[str, Any]]:
    velocity, pressure, mean = zip(*(exact_elliptic.stokes_errors(n) for n in scale.cells), strict=True)
    yield from orders("Stokes, Taylor-Hood", ["the velocity", "the pressure"], scale.cells, [velocity, pressure], [3, 2])
    yield bound("Stokes: mean pressure", max(mean), 1e-12, "∫p = 0")


def burgers(scale: Scale) -> Iterator[dict[str, Any]]:
    steps = (0.1, 0.05, 0.025, 0.0125)
    in_time = [exact_burgers.burgers_error(64, 4, dt) for dt in steps]
    yield from orders("Burgers, in dt", ["u"], [1 / dt for dt in steps], [in_time], [2])
    cells = (8, 16, 32)
    in_space = [exact_burgers.burgers_error(n, 2, 1e-3) for n in cells]
    yield from orders("Burgers, CG2, in h", ["u"], cells, [in_space], [3])
    slope = exact_burgers.steepest_slope(scale.wave, time_step=scale.wave_step)
    name = f"Burgers, ν = 0.01/π, {scale.wave} cells CG4: slope at x = 0, πt = 1.6037"
    yield row(name, slope, exact_burgers.STEEPEST_SLOPE, "Basdevant et al., Comput. Fluids 14, 1986")


def beam(scale: Scale) -> Iterator[dict[str, Any]]:
    for slenderness in (0.1, 0.05, 0.025):
        cells = (scale.beam, max(1, round(scale.beam * slenderness)))
        name = f"beam, H/L = {slenderness:g}: compression at which it buckles"
        yield row(name, critical_compression(slenderness, cells, 10), euler_compression(slenderness), "Euler, without shear")
    problem = HyperelasticBeam((scale.beam, scale.beam // 8), (1.0, 0.1), poisson_ratio=0.0, refinements=0)
    u = problem.solve({"g": problem.shortening(0.02)})["u"]
    x, _ = fd.SpatialCoordinate(u.function_space().mesh())
    yield bound(
        "beam: error of a homogeneous deformation", fd.errornorm(fd.as_vector([-0.02 * x, 0]), u, "H1"), 1e-9, "patch test"
    )


def fitted(cells: Sequence[float], errors: Sequence[float]) -> float:
    return -float(np.polyfit(np.log(cells), np.log(errors), 1)[0])


def orders(
    name: str, fields: Sequence[str], cells: Sequence[float], errors: Sequence[Sequence[float]], expected: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Fitted orders of convergence; the error is the part of the expected order that is missing."""
    for field, column, order in zip(fields, errors, expected, strict=True):
        found = fitted(cells, column)
        yield row(f"{name}: order of {field}", found, order, EXACT, max(0.0, 1 - found / order))


CASES: tuple[Callable[[Scale], Iterator[dict[str, Any]]], ...] = (
    poisson,
    darcy,
    mixed_darcy,
    nonlinear_diffusion,
    helmholtz,
    stokes,
    burgers,
    beam,
)
