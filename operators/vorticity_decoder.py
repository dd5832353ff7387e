"""A decoder from a learned vorticity to the velocity without divergence that has it."""

import torch
from torch import Tensor

from ..errors import InputError
from ..fem import RieszMap, Space, SparseMatrix
from ..fem.averages import root_mean_square
from .encoders import Fields
from .structured_decoders import CurlDecoder


class VorticityDecoder(CurlDecoder):
    """The velocity of a learned vorticity in a domain of the plane: w = curl ψ with −Δψ = ω and ψ = 0 on the boundary.

    It has no divergence, and nothing flows through the boundary. All fields that a :class:`CurlDecoder` makes of such stream functions are
    reached, with other unknowns: an energy of second derivatives of ψ is one of values of ω, whose condition grows with the inverse of the
    cells' size, by the walls, and not with its fourth power; and what is rough in ω is smoothed.

    Args:
        potential: space of the vorticity and of the stream function, scalar Lagrange elements, which is the processor's.
        space: the output's space, H(div).
        field: name of the output field.
        curl: the derivative from the one to the other (see :meth:`Discretization.derivative`).
        poisson: ``(−Δ)⁻¹`` on ``potential``, a :class:`RieszMap` of its stiffness matrix; a few cycles of multigrid do.

    Raises:
        InputError: the curl does not lead from the potential into the space's divergence-free fields, or the Riesz map is of another space.
    """

    def __init__(self, potential: Space, space: Space, field: str, curl: SparseMatrix, poisson: RieszMap):
        super().__init__(potential, space, field, curl)
        if poisson.num_dofs != potential.num_dofs:
            raise InputError(
                f"The Riesz map is of a space with {poisson.num_dofs} dofs; that of the vorticity, {potential.name!r}, has "
                f"{potential.num_dofs}."
            )
        self.poisson = poisson

    @property
    def keeps(self) -> set[str]:
        return set()

    def channel_scales(self, fields: Fields) -> Tensor:
        """In units of the vorticity: of the constant one whose velocity is as large as those of the samples."""
        one = torch.ones(1, self.source.num_dofs).to(self.curl.val)
        return self.size(self.data(fields, self.field, "sample values")) / root_mean_square(self.space, self.enforce(one, {}))

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return self.curl(self.poisson(self.source.mass(u)))
