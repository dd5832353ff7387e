"""Losses in the true norms of finite-element spaces."""

from collections.abc import Mapping

from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space
from ..fem.space import NORMS


class RelativeNorm(nn.Module):
    """Mean over a batch of ‖u − v‖ / ‖v‖ in the L2, H1, H(div) or H(curl) norm, exact through the space's Gram matrices.

    Args:
        space: the space of the field.
        field: its name among the outputs and in the data.
        norm: "L2", "H1", "Hdiv" or "Hcurl".
    """

    def __init__(self, space: Space, field: str, norm: str = "H1"):
        super().__init__()
        if norm not in NORMS:
            raise InputError(f"Unknown norm {norm!r}; choose one of {', '.join(NORMS)}.")
        self.space, self.field, self.norm = space, field, norm

    def forward(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        return self.each(prediction, truth).mean()

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        """The relative error of every sample, ``(batch,)``."""
        u, v = prediction[self.field], truth[self.field]
        return self.space.norm(u - v, self.norm) / self.space.norm(v, self.norm)
