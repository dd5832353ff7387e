"""Finite-element fields at points of the reference cell, in every cell at once."""

import numpy as np
import torch

from ..errors import InputError
from ..fem import MixedSpace, Space
from ..fem.reference_cell import basis_at
from .piola import piola_values


def values(space: Space, u: torch.Tensor | np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """A field at reference points ``lattice (n, tdim)`` of every cell: ``(num_cells, n)``, with the components of a vector last.

    Raises:
        InputError: the field is not one of the space or not finite, or it is one of an element that cannot be evaluated.
    """
    dofs = _checked(space, u)
    if isinstance(space, MixedSpace):
        raise InputError(
            f"{space.name!r} is a product of spaces. Take its fields apart, space.split(u), and pass each with its space "
            "out of space.subspaces."
        )
    if not space.element.is_nodal:
        return piola_values(space, dofs, lattice)
    blocks = dofs.reshape(space.num_nodes, -1)[space.cell_nodes.cpu().numpy()]
    found = np.einsum("nk,ckb->cnb", basis_at(space, lattice), blocks)
    return found if space.element.block_shape else found[..., 0]


def magnitude(found: np.ndarray) -> np.ndarray:
    """Scalars as they are, Euclidean norms of vectors and tensors: ``(num_cells, n, ...)`` to ``(num_cells, n)``."""
    return found if found.ndim == 2 else np.sqrt((found.reshape(*found.shape[:2], -1) ** 2).sum(-1))


def _checked(space: Space, u: torch.Tensor | np.ndarray) -> np.ndarray:
    dofs = torch.as_tensor(u).detach().cpu().double().numpy()
    if dofs.shape != (space.num_dofs,):
        raise InputError(
            f"One field of space {space.name!r} has shape ({space.num_dofs},), but {tuple(dofs.shape)} came. "
            "Choose one sample, time and channel of a batch."
        )
    if not np.isfinite(dofs).all():
        raise InputError(
            f"{int((~np.isfinite(dofs)).sum())} of the field's {dofs.size} dofs are not finite; there is no picture of it."
        )
    return dofs
