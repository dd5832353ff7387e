"""Fields of H(div) and H(curl) elements inside cells, found from what their dofs measure.

On a straight simplex, Piola's map takes the element's polynomials to polynomials of the same kind, so the field in a cell is the one
whose moments are the dofs. No basis functions are needed: a set of polynomials that spans the element, and the exported functionals.
"""

import math

import numpy as np
import scipy.sparse

from ..errors import InputError
from ..fem import Space
from ..fem.reference_cell import corner_points, polynomials, positions, simplex_exponents

_DIVERGENCE, _CURL = "contravariant piola", "covariant piola"


def piola_values(space: Space, dofs: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """The field at reference points ``lattice (n, tdim)`` of every cell: ``(num_cells, n, dim)``.

    Raviart-Thomas, Brezzi-Douglas-Marini and Nédélec's elements of both kinds, on straight triangles and tetrahedra.

    Raises:
        InputError: the element or the mesh is another.
    """
    mesh, element = space.mesh, space.element
    if element.mapping not in (_DIVERGENCE, _CURL) or space.dual is None or element.block_shape:
        raise InputError(
            f"Fields of {element} can be neither drawn nor written. Export a DG space of the same value shape and degree and "
            "the transfer into it, and draw or write the transferred field."
        )
    if mesh.cell_type not in ("triangle", "tetrahedron") or mesh.degree > 1:
        raise InputError(
            f"Fields of {element} can be drawn or written on straight triangles and tetrahedra only. Export a DG space of the "
            "same value shape and degree and the transfer into it, and draw or write the transferred field."
        )
    nodes = space.cell_nodes.cpu().numpy()
    corners = corner_points(mesh)
    centre, size = corners.mean(1), np.ptp(corners, axis=1).max(1)

    functionals = space.dual_matrix()[nodes.ravel()].tocoo()
    point, component = np.divmod(functionals.col, mesh.dim)
    cell = functionals.row // nodes.shape[1]
    places = (space.dual_points.cpu().double().numpy()[point] - centre[cell]) / size[cell, None]
    spanning = _spanning_set(places, space)[np.arange(len(places)), :, component]
    entries = scipy.sparse.csr_matrix(
        (functionals.data, (functionals.row, np.arange(len(places)))), shape=(nodes.size, len(places))
    )
    moments = (entries @ spanning).reshape(*nodes.shape, -1)
    # The set may be linearly dependent; the field it represents is unique all the same.
    coefficients = np.einsum("cbn,cn->cb", np.linalg.pinv(moments, rcond=1e-10), dofs[nodes])

    local = (positions(mesh, lattice) - centre[:, None]) / size[:, None, None]
    found = _spanning_set(local.reshape(-1, mesh.dim), space)
    return np.einsum("cnbd,cb->cnd", found.reshape(*local.shape[:2], *found.shape[1:]), coefficients)


def _spanning_set(x: np.ndarray, space: Space) -> np.ndarray:
    """Vector polynomials that span the element in a cell, at points ``(n, dim)`` relative to its centre: ``(n, m, dim)``."""
    dim, degree = x.shape[1], space.element.degree
    count = space.cell_nodes.shape[1]
    if count == dim * math.comb(degree + dim, dim):
        return _vectors(polynomials(x, simplex_exponents(dim, degree)), dim)
    lower = polynomials(x, simplex_exponents(dim, degree - 1))
    full = _vectors(lower, dim)
    if space.element.mapping == _DIVERGENCE:
        return np.concatenate([full, lower[..., None] * x[:, None]], axis=1)
    if dim == 2:
        turned = np.stack([-x[:, 1], x[:, 0]], axis=1)
        return np.concatenate([full, lower[..., None] * turned[:, None]], axis=1)
    return np.concatenate([full, np.cross(x[:, None], full)], axis=1)


def _vectors(scalars: np.ndarray, dim: int) -> np.ndarray:
    """Every scalar function in every component: ``(n, m) -> (n, m * dim, dim)``."""
    return np.einsum("nm,ij->nmij", scalars, np.eye(dim)).reshape(len(scalars), -1, dim)
