"""Physics losses: residuals of compiled forms, measured in the norm in which they are functionals."""

from torch import Tensor, nn

from ...errors import InputError
from .residual import Residual


class ResidualLoss(nn.Module):
    """``‖F(u)‖²`` in a dual norm, for each sample.

    The Euclidean norm of an assembled residual depends on the mesh and weighs rough errors far above smooth ones; the dual norm of the test
    space does neither: for the Poisson equation with the inner product ``("stiffness",)`` it is the error in the energy norm,
    ``‖F(u)‖² = ‖∇(u − u_h)‖²``. Prescribed values need no penalty: the Riesz map eliminates their dofs from the residual, and a
    decoder (or the user) puts them into u. An energy needs no class of its own: it is a compiled functional.

    Args:
        residual: a compiled one-form.
        riesz: maps residuals ``(..., dofs)`` to their representatives: :class:`fem.RieszMap`, :class:`fem.ProductRieszMap`, or
            :class:`fem.MassSolver` for the L² norm of the residual as a function.

    Raises:
        InputError: the form is a functional.
    """

    def __init__(self, residual: Residual, riesz: nn.Module):
        super().__init__()
        if residual.test is None:
            raise InputError(
                "A residual loss needs a form with a test function, but this one is a functional. Minimise its values directly."
            )
        self.residual, self.riesz = residual, riesz

    def forward(self, **values: Tensor | float) -> Tensor:
        """The squared dual norm ``(...)`` for arguments of the form, ``(..., dofs)`` each; see :class:`Residual`."""
        r = self.residual(**values)
        return (r * self.riesz(r)).sum(-1)
