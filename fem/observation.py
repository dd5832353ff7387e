"""Fields observed at points: sensors, probes, the nodes of a picture."""

import torch
from torch import Tensor, nn

from ..errors import InputError
from .sparse import SparseMatrix


class Observation(nn.Module):
    """Evaluation of a space's fields at points: ``(..., dofs) -> (..., num_points * components)``, components innermost.

    Attributes:
        matrix: the values of the basis functions at the points.
        points: ``(num_points, dim)``.
        space: name of the space.
    """

    points: Tensor

    def __init__(self, space: str, points: Tensor, matrix: SparseMatrix):
        super().__init__()
        if matrix.shape[0] % len(points):
            raise InputError(f"A matrix of {matrix.shape[0]} rows cannot evaluate fields at {len(points)} points.")
        self.space, self.matrix = space, matrix
        self.register_buffer("points", points.to(torch.float64), persistent=False)

    @property
    def components(self) -> int:
        return self.matrix.shape[0] // len(self.points)

    def forward(self, u: Tensor) -> Tensor:
        return self.matrix(u)

    def __repr__(self) -> str:
        return f"Observation of {self.space} at {len(self.points)} points, {self.components} component(s) each"
