"""Fields of H(div) and H(curl) elements inside cells: Piola's maps of the reference cell's basis functions."""

import numpy as np

from ..errors import InputError
from ..fem import Space
from ..fem.reference_cell import jacobians, lattice_interpolation


def piola_values(space: Space, dofs: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """The field at reference points ``lattice (n, tdim)`` of every cell: ``(num_cells, n, dim)``.

    With the derivative J of the map from the reference cell, a basis function is J φ̂ / det J in H(div) and J⁻ᵀ φ̂ in H(curl), on straight
    and on curved cells.

    Raises:
        InputError: the element is another, or was exported without its basis.
    """
    element = space.element
    if space.reference_basis is None:
        raise InputError(
            f"Fields of {element} can be neither drawn nor written: the discretization does not hold its basis. Export it again; if that "
            "does not help, export a DG space and the transfer into it, and draw or write the transferred field."
        )
    table = np.einsum("nm,kmt->knt", lattice_interpolation(element.cell, element.degree, lattice), space.reference_basis)
    reference = np.einsum("knt,ck->cnt", table, dofs[space.cell_nodes.cpu().numpy()])
    jacobian = jacobians(space.mesh, lattice)
    if element.mapping == "contravariant piola":
        return np.einsum("cndt,cnt->cnd", jacobian, reference) / np.linalg.det(jacobian)[..., None]
    return np.einsum("cntd,cnt->cnd", np.linalg.inv(jacobian), reference)
