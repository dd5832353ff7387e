"""A sequence of spaces from fine to coarse with the prolongations between neighbours: what multigrid needs."""

from collections.abc import Sequence

from torch import nn

from ..errors import InputError
from .projection import L2Projection
from .space import Space
from .sparse import SparseMatrix


class Hierarchy(nn.Module):
    """Spaces ``fine, ..., coarse`` and prolongations; ``prolongation(l)`` maps level ``l + 1`` to level ``l``, its transpose restricts.

    The spaces may differ in mesh, in degree, or in both: they only need an exported transfer from each to the next finer one.

    Raises:
        InputError: prolongations are too few, too many, or do not lead from each space to the next.
    """

    def __init__(self, spaces: Sequence[Space], prolongations: Sequence[SparseMatrix]):
        super().__init__()
        if len(prolongations) != len(spaces) - 1:
            raise InputError(
                f"A hierarchy of {len(spaces)} spaces needs {len(spaces) - 1} prolongations, not {len(prolongations)}."
            )
        for fine, coarse, P in zip(spaces, spaces[1:], prolongations, strict=False):
            if P.shape != (fine.num_dofs, coarse.num_dofs):
                raise InputError(
                    f"The prolongation from {coarse.name!r} ({coarse.num_dofs} dofs) to {fine.name!r} ({fine.num_dofs} dofs) "
                    f"has shape {P.shape}."
                )
        self.spaces = nn.ModuleList(spaces)
        self.prolongations = nn.ModuleList(prolongations)

    def __len__(self) -> int:
        return len(self.spaces)

    def __getitem__(self, level: int) -> Space:
        space = self.spaces[level]
        assert isinstance(space, Space)
        return space

    def require_scalar(self, what: str) -> None:
        """Refuse spaces of vectors for what takes several fields as channels at each node.

        Raises:
            InputError: a space has values that are no numbers.
        """
        for space in (self[level] for level in range(len(self))):
            if space.element.value_shape:
                raise InputError(
                    f"The channels of {what} are scalar fields, but {space.name!r} has values of shape {space.element.value_shape}. Pass "
                    "the scalar spaces with the same nodes."
                )

    def prolongation(self, level: int) -> SparseMatrix:
        """From level ``level + 1`` to the finer ``level``."""
        P = self.prolongations[level]
        assert isinstance(P, SparseMatrix)
        return P

    def restriction(self, level: int) -> SparseMatrix:
        """Of functionals, such as residuals, from ``level`` to the coarser ``level + 1``: the transposed prolongation."""
        return self.prolongation(level).T

    def l2_restriction(self, level: int) -> L2Projection:
        """Of functions from ``level`` to the coarser ``level + 1``: M_c⁻¹ Pᵀ M_f, the L2 projection where the spaces are nested."""
        P, M = self.prolongation(level), self[level].mass
        return L2Projection(self[level + 1], SparseMatrix(P.to_scipy().T @ M.to_scipy(), P.val.dtype))

    @property
    def grid_complexity(self) -> float:
        """Dofs on all levels over dofs on the finest."""
        return sum(self[level].num_dofs for level in range(len(self))) / self[0].num_dofs

    @property
    def operator_complexity(self) -> float:
        """Nonzeros of the stiffness matrices on all levels over those on the finest; of mass matrices for piecewise constants."""
        nonzeros = [self[level].stiffness.nnz or self[level].mass.nnz for level in range(len(self))]
        return sum(nonzeros) / nonzeros[0]

    def __repr__(self) -> str:
        rows = [
            f"  {level}: {self[level].name:8s} {self[level].num_dofs:8d} dofs  {self[level].element}"
            for level in range(len(self))
        ]
        head = (
            f"Hierarchy of {len(self)} levels, grid complexity {self.grid_complexity:.2f}, "
            f"operator complexity {self.operator_complexity:.2f}"
        )
        return "\n".join([head, *rows])
