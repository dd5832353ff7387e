"""The weak divergence of velocities, which mixed methods make vanish: of predictions and of their references."""

import torch
from torch import Tensor

from ...errors import InputError
from ...fem import MassSolver, Space, SparseMatrix
from .metric import Fields, Metric, given, over_frames, predicted


class WeakDivergence(Metric):
    """‖P ∇·u‖ / ‖∇u‖ with the L2 projection P onto the pressures, the part of ∇·u that a mixed method sees: one for each of the two fields.

    Args:
        velocity: vector-valued elements.
        pressure: the space of pressures.
        divergence: the weak divergence, ``disc.product(velocity, pressure)``.
        field: the velocity's name.

    Raises:
        InputError: the divergence does not lead from the velocity's space to the pressure's.
    """

    labels = ("prediction", "reference")

    def __init__(self, velocity: Space, pressure: Space, divergence: SparseMatrix, field: str):
        super().__init__()
        if divergence.shape != (pressure.num_dofs, velocity.num_dofs):
            raise InputError(
                f"A divergence of shape {divergence.shape} does not lead from {velocity.name!r} to {pressure.name!r}."
            )
        self.divergence, self.stiffness, self.solve = divergence, velocity.stiffness, MassSolver(pressure.mass)
        self.field = field

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        both = predicted(prediction, self.field), given(truth, self.field)
        return torch.stack([over_frames(self._ratio(u)) for u in both], dim=1)

    def _ratio(self, u: Tensor) -> Tensor:
        d = self.divergence(u)
        squares = ((d * self.solve(d)).sum(-1), (u * self.stiffness(u)).sum(-1))
        return (squares[0].clamp_min(0) / squares[1]).sqrt()
