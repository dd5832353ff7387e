"""Reference cells, and nodal elements on them, without Firedrake.

The reference cell is FIAT's: vertices at 0 and the unit vectors for simplices, at the corners of the unit square or cube in
lexicographic order for the others. Where an element's nodes lie in it is read off the exported node coordinates.
"""

from itertools import product

import numpy as np
import scipy.spatial
from numpy.polynomial.chebyshev import chebder, chebvander

from ..errors import InputError
from .mesh import CELL_DIMENSION, Mesh
from .space import Space

_SIMPLICES = ("interval", "triangle", "tetrahedron")
_SAMPLE = 256  # cells from which the reference nodes are estimated
_NEWTON_STEPS = 12
#: Edges from one vertex of a regular tetrahedron.
_REGULAR = np.array([[1, 0, 0], [1 / 2, 3**0.5 / 2, 0], [1 / 2, 3**0.5 / 6, (2 / 3) ** 0.5]])


def positions(mesh: Mesh, lattice: np.ndarray) -> np.ndarray:
    """Where the reference points lie in every cell, curved cells too: ``(num_cells, n, dim)``."""
    nodes = reference_nodes(mesh.points[mesh.cells], mesh)
    return np.einsum("nk,ckd->cnd", _evaluation(nodes, mesh.cell_type, mesh.degree, lattice), mesh.points[mesh.cells])


def jacobians(mesh: Mesh, lattice: np.ndarray) -> np.ndarray:
    """Derivatives of :func:`positions` by the reference coordinates: ``(num_cells, n, dim, tdim)``."""
    nodes = reference_nodes(mesh.points[mesh.cells], mesh)
    exponents = _spanning(mesh.cell_type, mesh.degree, len(nodes))
    table = polynomial_gradients(lattice, exponents) @ np.linalg.inv(polynomials(nodes, exponents))
    return np.einsum("tnk,ckd->cndt", table, mesh.points[mesh.cells])


def lattice_interpolation(cell_type: str, degree: int, lattice: np.ndarray) -> np.ndarray:
    """The matrix ``(n, m)`` from a polynomial's values at the ``m`` equispaced points of a degree to those at reference points."""
    return _evaluation(equispaced(cell_type, degree), cell_type, degree, lattice)


def basis_at(space: Space, lattice: np.ndarray) -> np.ndarray:
    """The element's basis functions ``(n, nodes_per_cell)`` at reference points."""
    nodes = reference_nodes(space.points.cpu().double().numpy()[space.cell_nodes.cpu().numpy()], space.mesh)
    return _evaluation(nodes, space.mesh.cell_type, space.element.degree, lattice)


def reference_nodes(nodes: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Where the nodes ``(num_cells, n, dim)`` of an element lie in the reference cell, ``(n, tdim)``.

    The median over cells is exact as long as most cells are straight.
    """
    chosen = np.unique(np.linspace(0, mesh.num_cells - 1, _SAMPLE).astype(int))
    corners = corner_points(mesh)[chosen]
    return np.median(pull_back(corners, nodes[chosen], mesh.cell_type), axis=0)


def corner_points(mesh: Mesh) -> np.ndarray:
    """Vertices of every cell ``(num_cells, num_vertices, dim)``, in the reference cell's order."""
    return mesh.points[mesh.cells[:, list(mesh.vertices)]]


def reference_vertices(cell_type: str) -> np.ndarray:
    """The vertices ``(num_vertices, tdim)`` of FIAT's reference cell."""
    dim = CELL_DIMENSION[cell_type]
    if cell_type in _SIMPLICES:
        return np.concatenate([np.zeros((1, dim)), np.eye(dim)])
    return np.array(list(product((0.0, 1.0), repeat=dim)))


def equispaced(cell_type: str, degree: int) -> np.ndarray:
    """All points of the reference cell whose coordinates are multiples of 1/degree."""
    dim = CELL_DIMENSION[cell_type]
    grid = np.array(list(product(range(degree + 1), repeat=dim)))
    if cell_type in _SIMPLICES:
        grid = grid[grid.sum(1) <= degree]
    return grid / degree


def subcells(cell_type: str, points: np.ndarray) -> np.ndarray:
    """Simplices ``(m, tdim + 1)`` between points of the reference cell that fill their hull; the interval's are its pieces."""
    if CELL_DIMENSION[cell_type] == 1:
        order = np.argsort(points[:, 0])
        return np.stack([order[:-1], order[1:]], axis=1)
    # Of a regular tetrahedron, so that neighbouring cells divide the face they share in the same way.
    shape = _REGULAR if cell_type == "tetrahedron" else np.eye(points.shape[1])
    cells = scipy.spatial.Delaunay(points @ shape).simplices
    volume = np.abs(np.linalg.det(points[cells[:, 1:]] - points[cells[:, :1]]))
    return cells[volume > 1e-6 * volume.max()]


def pull_back(corners: np.ndarray, points: np.ndarray, cell_type: str) -> np.ndarray:
    """Reference coordinates of points, by Newton's method on the map that the vertices define."""
    xi = np.full((*points.shape[:2], CELL_DIMENSION[cell_type]), 1 / 3)
    steps = 1 if cell_type in _SIMPLICES else _NEWTON_STEPS
    for _ in range(steps):
        shape, gradient = _vertex_functions(cell_type, xi)
        residual = points - np.einsum("cnv,cvd->cnd", shape, corners)
        jacobian = np.einsum("cnvt,cvd->cndt", gradient, corners)
        xi = xi + np.einsum("cntd,cnd->cnt", np.linalg.pinv(jacobian), residual)
    return xi


def _vertex_functions(cell_type: str, xi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The (multi)linear vertex functions ``(..., v)`` and their gradients ``(..., v, tdim)``."""
    if cell_type in _SIMPLICES:
        dim = xi.shape[-1]
        gradient = np.concatenate([-np.ones((1, dim)), np.eye(dim)])
        shape = np.concatenate([1 - xi.sum(-1, keepdims=True), xi], axis=-1)
        return shape, np.broadcast_to(gradient, (*xi.shape[:-1], dim + 1, dim))
    signs = 2 * reference_vertices(cell_type) - 1
    factors = np.where(signs > 0, xi[..., None, :], 1 - xi[..., None, :])
    gradients = [np.delete(factors, t, axis=-1).prod(-1) * signs[:, t] for t in range(xi.shape[-1])]
    return factors.prod(-1), np.stack(gradients, axis=-1)


def _evaluation(nodes: np.ndarray, cell_type: str, degree: int, lattice: np.ndarray) -> np.ndarray:
    """Lagrange basis functions of the nodes at the lattice, through the polynomials that span the element."""
    exponents = _spanning(cell_type, degree, len(nodes))
    vandermonde = polynomials(nodes, exponents)
    table = np.linalg.solve(vandermonde.T, polynomials(lattice, exponents).T).T
    # At a node one function is one and the others vanish; without round-off, dofs reach pictures and files bit by bit.
    whole = np.round(table)
    return np.where(np.abs(table - whole) < 1e-12, whole, table)


def _spanning(cell_type: str, degree: int, count: int) -> np.ndarray:
    """Exponents of the polynomials that span an element with this many nodes."""
    dim = CELL_DIMENSION[cell_type]
    for candidate in (simplex_exponents(dim, degree), cube_exponents(dim, degree)):
        if len(candidate) == count:
            return candidate
    raise InputError(
        f"An element of degree {degree} with {count} nodes on a {cell_type} is neither P{degree} nor Q{degree}. "
        "Transfer the field to a Lagrange space to draw or write it."
    )


def simplex_exponents(dim: int, degree: int) -> np.ndarray:
    """Exponents ``(n, dim)`` of the polynomials up to a total degree."""
    grid = cube_exponents(dim, degree)
    return grid[grid.sum(1) <= degree]


def cube_exponents(dim: int, degree: int) -> np.ndarray:
    """Exponents ``(n, dim)`` of the polynomials up to a degree in each variable."""
    return np.array(list(product(range(degree + 1), repeat=dim)))


def polynomials(points: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Products of Chebyshev polynomials on [0, 1], ``(num_points, n)``: they span what monomials do, and are well conditioned."""
    factors = chebvander(2 * points - 1, int(exponents.max()))
    return factors[:, np.arange(points.shape[1]), exponents].prod(-1)


def polynomial_gradients(points: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Derivatives of :func:`polynomials` by each variable: ``(dim, num_points, n)``."""
    highest, dim = int(exponents.max()), points.shape[1]
    values = chebvander(2 * points - 1, highest)
    slopes = 2 * values[..., :-1] @ chebder(np.eye(highest + 1))
    chosen = [np.where(np.arange(dim)[:, None] == t, slopes, values) for t in range(dim)]
    return np.stack([factors[:, np.arange(dim), exponents].prod(-1) for factors in chosen])
