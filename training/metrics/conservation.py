"""How far predictions are from conserving what the equations conserve: divergence, mass in cells and in the domain, integrals."""

from typing import Literal

from torch import Tensor

from ...errors import InputError
from ...fem import Space, SparseMatrix
from ...fem.uniform_grid import Grid
from .metric import FieldMetric, Fields, Metric, given, over_frames, predicted


class DivergenceNorm(Metric):
    """‖div u‖ / ‖∇u‖ in L2 for a predicted velocity, exactly: zero for divergence-free fields, at most √d.

    Args:
        space: an H(div)-conforming or a vector-valued Lagrange space.
        field: the velocity's name among the outputs.
    """

    def __init__(self, space: Space, field: str):
        super().__init__()
        self.div, self.stiffness = space.matrix("div"), space.stiffness
        self.field = field

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u = predicted(prediction, self.field)
        squares = [(u * matrix(u)).sum(-1).clamp_min(0) for matrix in (self.div, self.stiffness)]
        return over_frames((squares[0] / squares[1]).sqrt())


class MassDefect(Metric):
    """What the flux u fails to balance: ∫_K (div u − f) for each cell K, or for the domain, relative to ∫ |f| or ∫ |div u|.

    ``"local"`` is Σ_K |∫_K (div u − f)|, ``"global"`` |∫_Ω (div u − f)|, both divided by Σ_K |∫_K f|; without a source they are absolute.

    Args:
        space: the discontinuous space of the divergence, DG k-1 for RT k.
        field: the flux's name among the outputs.
        divergence: from the flux's space into ``space`` (see :meth:`Discretization.derivative`).
        source: the name of f in the data, a field of ``space``; None for a divergence-free field.

    Raises:
        InputError: the divergence does not lead into the space; ``scope`` is neither local nor global.
    """

    def __init__(
        self,
        space: Space,
        field: str,
        divergence: SparseMatrix,
        source: str | None = None,
        scope: Literal["local", "global"] = "local",
    ):
        super().__init__()
        if divergence.shape[0] != space.num_dofs or space.element.value_shape or not space.element.is_nodal:
            raise InputError(
                f"A divergence of shape {divergence.shape} does not lead into {space.name!r} ({space.element}, {space.num_dofs} dofs). "
                'Export derivatives=[("R", "Q")] from RT k into DG k-1.'
            )
        if scope not in ("local", "global"):
            raise InputError(f'A mass defect is "local" or "global", not {scope!r}.')
        self.space, self.field, self.divergence, self.source, self.scope = space, field, divergence, source, scope

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        defect = self.divergence(predicted(prediction, self.field))
        if self.source is None:
            return over_frames(self._sum(defect))
        f = given(truth, self.source)
        return over_frames(self._sum(defect - f) / self._in_cells(f).abs().sum(-1))

    def _sum(self, q: Tensor) -> Tensor:
        cells = self._in_cells(q)
        return cells.abs().sum(-1) if self.scope == "local" else cells.sum(-1).abs()

    def _in_cells(self, q: Tensor) -> Tensor:
        """∫_K q, ``(..., dofs) -> (..., cells)``: the basis functions of a nodal element add up to one."""
        return self.space.mass(q)[..., self.space.cell_nodes].sum(-1)


class IntegralError(FieldMetric):
    """|∫ u − ∫ v| / ∫ |v| for each component, and their mean: the drift of a conserved quantity.

    The denominator is the integral of |v|'s interpolant, which does not vanish where positive and negative parts of v cancel.

    Args:
        space: nodal elements, or the grid.
        field: its name.

    Raises:
        InputError: components of the space's functions have no dofs of their own, as in Raviart-Thomas spaces.
    """

    def __init__(self, space: Space | Grid, field: str):
        super().__init__(field)
        if isinstance(space, Space) and not space.element.is_nodal:
            raise InputError(f"The components of {space.name!r} ({space.element}) have no dofs of their own, so no integrals.")
        self.space = space

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = self.pair(prediction, truth)
        return over_frames(self._integral(u - v).abs() / self._integral(v.abs()))

    def _integral(self, u: Tensor) -> Tensor:
        """∫ u of each component, ``(..., components)``."""
        if isinstance(self.space, Grid):
            return self.space.integral(u)
        moments = self.space.mass(u).unflatten(-1, (self.space.num_nodes, -1))
        return moments.sum(-2)
