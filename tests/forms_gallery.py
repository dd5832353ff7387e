"""Variational forms from across the field, each on a small mesh with random fields: what a form compiler has to get right."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from firedrake import (
    And,
    CellDiameter,
    CellNormal,
    CellSize,
    CellVolume,
    Circumradius,
    Constant,
    FacetArea,
    FacetNormal,
    FiniteElement,
    Function,
    FunctionSpace,
    Identity,
    Mesh,
    Not,
    Or,
    PeriodicIntervalMesh,
    PeriodicUnitSquareMesh,
    RelabeledMesh,
    SpatialCoordinate,
    TensorFunctionSpace,
    TestFunction,
    TestFunctions,
    UnitCubeMesh,
    UnitDiskMesh,
    UnitIcosahedralSphereMesh,
    UnitIntervalMesh,
    UnitSquareMesh,
    VectorFunctionSpace,
    as_vector,
    asin,
    atan2,
    avg,
    conditional,
    cross,
    curl,
    det,
    diff,
    div,
    dot,
    dS,
    ds,
    dx,
    erf,
    exp,
    grad,
    inner,
    jump,
    ln,
    max_value,
    min_value,
    outer,
    sin,
    split,
    sqrt,
    sym,
    tan,
    tanh,
    tr,
    triangle,
    variable,
)


class Case(NamedTuple):
    form: object
    spaces: dict
    constants: Mapping = MappingProxyType({})


CASES: dict[str, Callable[[], Case]] = {}


def case(make):
    CASES[make.__name__] = make
    return make


def random(V, name, scale=1.0, shift=0.0):
    """A function with random dofs, the same at every call."""
    f = Function(V, name=name)
    rng = np.random.default_rng(len(name) + V.dim())
    for part in f.subfunctions:
        part.dat.data[...] = shift + scale * rng.uniform(-1, 1, part.dat.data.shape)
    return f


def skewed(mesh, degree=1, amount=0.04):
    """The mesh with its coordinate nodes moved at random; for degree 2 its cells are curved."""
    V = VectorFunctionSpace(mesh, mesh.coordinates.function_space().ufl_element().family(), degree)
    X = Function(V).interpolate(SpatialCoordinate(mesh))
    X.dat.data[...] += amount * np.random.default_rng(1).uniform(-1, 1, X.dat.data.shape)
    return Mesh(X)


TRIANGLES = skewed(UnitSquareMesh(3, 3))
TETS = skewed(UnitCubeMesh(2, 1, 1))
QUADS = skewed(UnitSquareMesh(3, 2, quadrilateral=True))


def space(family, degree, mesh=TRIANGLES):
    return FunctionSpace(mesh, family, degree)


@case
def poisson():
    V, P = space("CG", 2), space("CG", 1)
    u, f, v = random(V, "u"), random(P, "f"), TestFunction(V)
    return Case(inner(grad(u), grad(v)) * dx - f * v * dx, {"V": V, "P": P})


@case
def nonlinear_diffusion():
    V = space("CG", 2)
    u, v = random(V, "u"), TestFunction(V)
    x, y = SpatialCoordinate(TRIANGLES)
    return Case((inner((1 + u**2) * grad(u), grad(v)) - sin(x) * exp(y) * v) * dx(degree=4), {"V": V})


@case
def reaction_with_constants():
    V = space("CG", 1)
    u, v = random(V, "u"), TestFunction(V)
    k, b = Constant(0.7, name="k"), Constant([0.3, -1.2], name="b")
    form = (k * inner(grad(u), grad(v)) + dot(b, grad(u)) * v + Constant(2.0) * u**3 * v) * dx
    return Case(form, {"V": V}, {"k": 0.7, "b": [0.3, -1.2]})


@case
def helmholtz_with_robin_conditions():
    V = space("CG", 2)
    u, g, v, k = random(V, "u"), random(V, "g"), TestFunction(V), Constant(3.0, name="k")
    return Case((inner(grad(u), grad(v)) - k**2 * u * v) * dx + k * u * v * ds(1) - g * v * ds((2, 3)), {"V": V}, {"k": 3.0})


@case
def nitsche():
    V = space("CG", 2)
    u, g, v = random(V, "u"), random(V, "g"), TestFunction(V)
    n, h = FacetNormal(TRIANGLES), CellVolume(TRIANGLES) / FacetArea(TRIANGLES)
    boundary = -dot(grad(u), n) * v - (u - g) * dot(grad(v), n) + 10 / h * (u - g) * v
    return Case(inner(grad(u), grad(v)) * dx + boundary * ds, {"V": V})


@case
def symmetric_interior_penalty():
    V = space("DG", 1)
    u, v = random(V, "u"), TestFunction(V)
    n, h = FacetNormal(TRIANGLES), CellSize(TRIANGLES)
    a = inner(grad(u), grad(v)) * dx - inner(avg(grad(u)), jump(v, n)) * dS - inner(jump(u, n), avg(grad(v))) * dS
    return Case(a + 8 / avg(h) * inner(jump(u, n), jump(v, n)) * dS + 8 / h * u * v * ds, {"V": V})


@case
def upwind_advection():
    V, W = space("DG", 1), VectorFunctionSpace(TRIANGLES, "CG", 1)
    q, b, w, n = random(V, "q"), random(W, "b"), TestFunction(V), FacetNormal(TRIANGLES)
    outward = 0.5 * (dot(b, n) + abs(dot(b, n)))
    interior = (w("+") - w("-")) * (outward("+") * q("+") - outward("-") * q("-")) * dS
    inflow = conditional(dot(b, n) < 0, dot(b, n) * w, 0) * ds
    return Case(-q * div(w * b) * dx + interior + inflow, {"V": V, "W": W})


@case
def elasticity():
    V = VectorFunctionSpace(TRIANGLES, "CG", 2)
    u, v = random(V, "u"), TestFunction(V)
    mu, lmbda = Constant(1.3, name="mu"), Constant(0.8, name="lmbda")
    sigma = 2 * mu * sym(grad(u)) + lmbda * tr(sym(grad(u))) * Identity(2)
    return Case(inner(sigma, sym(grad(v))) * dx, {"V": V}, {"mu": 1.3, "lmbda": 0.8})


@case
def neo_hookean():
    V = VectorFunctionSpace(TETS, "CG", 1)
    u, v = random(V, "u", 0.05), TestFunction(V)
    F = variable(Identity(3) + grad(u))
    J = det(F)
    energy = 0.5 * (inner(F, F) - 3) - ln(J) + 0.5 * 10 * ln(J) ** 2
    return Case(inner(diff(energy, F), grad(v)) * dx(degree=2) - dot(as_vector([0, 0, -1]), v) * dx(degree=2), {"V": V})


@case
def neo_hookean_energy():
    V = VectorFunctionSpace(TRIANGLES, "CG", 2)
    u = random(V, "u", 0.02)
    F = Identity(2) + grad(u)
    J = det(F)
    return Case((0.5 * (tr(F.T * F) - 2) - ln(J) + (J - 1) ** 2) * dx(degree=4), {"V": V})


@case
def stokes():
    V, Q = VectorFunctionSpace(TRIANGLES, "CG", 2), space("CG", 1)
    Z = V * Q
    z = random(Z, "z")
    (u, p), (v, q) = split(z), TestFunctions(Z)
    return Case((inner(grad(u), grad(v)) - p * div(v) - q * div(u)) * dx, {"V": V, "Q": Q})


@case
def navier_stokes():
    V, Q = VectorFunctionSpace(TRIANGLES, "CG", 2), space("CG", 1)
    Z = V * Q
    z, Re, n = random(Z, "z"), Constant(40.0, name="Re"), FacetNormal(TRIANGLES)
    (u, p), (v, q) = split(z), TestFunctions(Z)
    form = (inner(grad(u), grad(v)) / Re + inner(dot(grad(u), u), v) - p * div(v) - q * div(u)) * dx + dot(p * n, v) * ds(2)
    return Case(form, {"Z": Z}, {"Re": 40.0})


@case
def mixed_darcy():
    S, D = space("RT", 2), space("DG", 1)
    W = S * D
    w, K = random(W, "w"), random(D, "K", 0.3, 1.0)
    (sigma, p), (tau, q) = split(w), TestFunctions(W)
    n = FacetNormal(TRIANGLES)
    return Case((dot(sigma, tau) / K - p * div(tau) + div(sigma) * q) * dx + p * dot(tau, n) * ds(1), {"S": S, "D": D})


@case
def brezzi_douglas_marini():
    V = space("BDM", 1)
    u, v = random(V, "u"), TestFunction(V)
    n = FacetNormal(TRIANGLES)
    return Case(inner(u, v) * dx + div(u) * div(v) * dx + inner(jump(u), jump(v)) * dS + dot(u, n) * dot(v, n) * ds, {"V": V})


@case
def maxwell():
    V = space("N1curl", 1, TETS)
    E, v, n = random(V, "E"), TestFunction(V), FacetNormal(TETS)
    return Case((inner(curl(E), curl(v)) - 2 * inner(E, v)) * dx + inner(cross(n, E), cross(n, v)) * ds, {"V": V})


@case
def burgers():
    mesh = PeriodicIntervalMesh(7, 2.0)
    V = space("CG", 2, mesh)
    u, w, v = random(V, "u"), random(V, "u_old", 0.5), TestFunction(V)
    nu, dt = Constant(0.01, name="nu"), Constant(0.1, name="dt")
    return Case(((u - w) / dt * v + u * u.dx(0) * v + nu * u.dx(0) * v.dx(0)) * dx, {"V": V}, {"nu": 0.01, "dt": 0.1})


@case
def interval_with_ends():
    mesh = skewed(UnitIntervalMesh(6))
    V = space("DG", 2, mesh)
    u, v, n = random(V, "u"), TestFunction(V), FacetNormal(mesh)
    return Case(u.dx(0) * v * dx - jump(u, n)[0] * avg(v) * dS + (u - 3) * n[0] * v * ds(1), {"V": V})


@case
def cahn_hilliard():
    V = space("CG", 1)
    W = V * V
    w, w0 = random(W, "w", 0.8), random(W, "w_old", 0.7)
    (c, mu), (c0, mu0), (q, v) = split(w), split(w0), TestFunctions(W)
    c = variable(c)
    f = 100 * c**2 * (1 - c) ** 2
    form = (c - c0) * q * dx + 1e-3 * dot(grad(0.5 * (mu + mu0)), grad(q)) * dx + (mu - diff(f, c)) * v * dx
    return Case(form - 1e-2 * dot(grad(c), grad(v)) * dx, {"V": V})


@case
def p_laplacian():
    V = space("CG", 1)
    u, v, p = random(V, "u"), TestFunction(V), Constant(3.5, name="p")
    return Case((1e-4 + inner(grad(u), grad(u))) ** ((p - 2) / 2) * inner(grad(u), grad(v)) * dx, {"V": V}, {"p": 3.5})


@case
def minimal_surface():
    V = space("CG", 2)
    u = random(V, "u")
    return Case(sqrt(1 + inner(grad(u), grad(u))) * dx(degree=3), {"V": V})


@case
def surface_tension():
    mesh = skewed(UnitDiskMesh(1), amount=0.02)
    V = VectorFunctionSpace(mesh, "CG", 2)
    u, v, n, x = random(V, "u", 0.1), TestFunction(V), FacetNormal(mesh), SpatialCoordinate(mesh)
    P = Identity(2) - outer(n, n)
    return Case(inner(P * grad(x + u), P * grad(v)) * ds + dot(u, n) * dot(v, n) * ds(degree=4), {"V": V})


@case
def quadrilaterals():
    V = space("Q", 2, QUADS)
    u, v, n = random(V, "u"), TestFunction(V), FacetNormal(QUADS)
    form = exp(u) * inner(grad(u), grad(v)) * dx(degree=4) + u * v * ds(3)
    return Case(form + avg(dot(grad(u), n)) * avg(v) * dS, {"V": V})


@case
def hexahedra():
    mesh = skewed(UnitCubeMesh(2, 1, 1, hexahedral=True))
    V = space("Q", 1, mesh)
    u, v = random(V, "u"), TestFunction(V)
    return Case(inner(grad(u), grad(v)) * (1 + u**2) * dx(degree=3) + u**2 * v * ds(1) + jump(u) * avg(v) * dS, {"V": V})


@case
def curved_triangles():
    mesh = skewed(UnitSquareMesh(2, 2), degree=2)
    V = space("CG", 2, mesh)
    u, v, n = random(V, "u"), TestFunction(V), FacetNormal(mesh)
    return Case((inner(grad(u), grad(v)) + u**2 * v) * dx(degree=4) + dot(grad(u), n) * v * ds(degree=4), {"V": V})


@case
def curved_tetrahedra():
    mesh = skewed(UnitCubeMesh(1, 1, 1), degree=2)
    V = space("CG", 1, mesh)
    u, v = random(V, "u"), TestFunction(V)
    return Case((inner(grad(u), grad(v)) + u**2 * v) * dx(degree=3), {"V": V})


@case
def fluxes_on_curved_triangles():
    mesh = skewed(UnitSquareMesh(2, 2), degree=2)
    V = space("RT", 1, mesh)
    u, v = random(V, "u"), TestFunction(V)
    return Case((inner(u, v) + div(u) * div(v)) * dx(degree=3), {"V": V})


@case
def periodic_square():
    mesh = PeriodicUnitSquareMesh(3, 3)
    V = space("CG", 1, mesh)
    u, b, v = random(V, "u"), random(VectorFunctionSpace(mesh, "CG", 1), "b"), TestFunction(V)
    return Case((inner(grad(u), grad(v)) + dot(b, grad(u)) * v) * dx, {"V": V, "B": b.function_space()})


@case
def surface_in_space():
    mesh = UnitIcosahedralSphereMesh(0)
    mesh.init_cell_orientations(SpatialCoordinate(mesh))
    V = space("CG", 1, mesh)
    u, v, k = random(V, "u"), TestFunction(V), CellNormal(mesh)
    return Case((inner(grad(u), grad(v)) + u * k[2] * v + dot(cross(k, grad(u)), grad(v * k[0]))) * dx(degree=2), {"V": V})


@case
def bubble_and_matrix_fields():
    V = FunctionSpace(TRIANGLES, FiniteElement("CG", triangle, 1) + FiniteElement("B", triangle, 3))
    T = TensorFunctionSpace(TRIANGLES, "CG", 1)
    u, A, v = random(V, "u"), random(T, "A"), TestFunction(V)
    return Case((inner(A * grad(u), grad(v)) + atan2(u, 2 + tr(A)) * v + max_value(u, 0.1) * v) * dx(degree=5), {"V": V, "T": T})


@case
def moments_of_a_symmetric_tensor():
    T = TensorFunctionSpace(TRIANGLES, "DG", 1, symmetry=True)
    A, B = random(T, "A"), TestFunction(T)
    return Case(inner(dot(A, A), B) * dx, {"T": T})


@case
def cell_geometry():
    V = space("DG", 0)
    u, v = random(V, "u"), TestFunction(V)
    h = CellDiameter(TRIANGLES) * Circumradius(TRIANGLES) / CellVolume(TRIANGLES)
    return Case(h * u * v * dx + FacetArea(TRIANGLES) * tanh(u) * v * ds, {"V": V})


@case
def elementary_functions():
    V = space("CG", 1)
    u, w, v = random(V, "u"), random(V, "w", 0.4, 1.0), TestFunction(V)
    x = SpatialCoordinate(TRIANGLES)
    smooth = erf(u) + tan(u) + asin(0.5 * u) + ln(w) + w**-0.5 + w**u + u / w
    cut = conditional(And(u > 0, Or(w < 1, Not(u < x[0]))), u * w, -w) + min_value(u, w) + conditional(x[0] < 0.5, u, sqrt(x[1]))
    return Case((smooth + cut) * v * dx(degree=4), {"V": V})


@case
def overlapping_tags():
    V = space("CG", 1)
    u, w, v = random(V, "u"), random(V, "w"), TestFunction(V)
    return Case(u * v * dx(degree=2) + u * v * ds + w * v * ds(1) + w * u * v * ds((1, 2)), {"V": V})


@case
def marked_cells():
    mesh = UnitSquareMesh(3, 3)
    x = SpatialCoordinate(mesh)
    left = Function(space("DG", 0, mesh)).interpolate(conditional(x[0] < 0.5, 1, 0))
    mesh = RelabeledMesh(mesh, [left], [7])
    V = space("CG", 1, mesh)
    u, v = random(V, "u"), TestFunction(V)
    return Case(u**2 * v * dx(7) + inner(grad(u), grad(v)) * dx, {"V": V})


@case
def beam():
    V = space("Hermite", 3, skewed(UnitIntervalMesh(5), amount=0.05))
    u, v = random(V, "u"), TestFunction(V)
    return Case((u.dx(0).dx(0) * v.dx(0).dx(0) + (1 + u**2) * v) * dx(degree=4) + u * v * ds(2), {"V": V})
