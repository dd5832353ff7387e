"""Losses and metrics in the true norms of finite-element spaces, and on their boundaries."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space
from ..fem.space import NORMS, WHOLE_BOUNDARY


class Metric(nn.Module):
    """A number for every sample, ``each(prediction, truth) -> (batch,)``, and how numbers of many samples are joined into one."""

    reduction: Literal["mean", "max"] = "mean"

    @abstractmethod
    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        """The metric of every sample; ``truth`` holds the inputs, too."""

    def forward(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        values = self.each(prediction, truth)
        return values.mean() if self.reduction == "mean" else values.max()


class RelativeNorm(Metric):
    """‖u − v‖ / ‖v‖ in the L2, H1, H(div) or H(curl) norm, exact through the space's Gram matrices; the mean over samples.

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

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        u, v = prediction[self.field], truth[self.field]
        return self.space.norm(u - v, self.norm) / self.space.norm(v, self.norm)


class BoundaryError(Metric):
    """Largest distance between a field's dofs on tagged boundary parts and prescribed values, over dofs and samples.

    Args:
        space: the space of both fields.
        field: the predicted field.
        data: the input field with the prescribed values.
        tags: the boundary parts.
    """

    reduction = "max"
    dofs: Tensor

    def __init__(self, space: Space, field: str, data: str, tags: str | Iterable[str] = WHOLE_BOUNDARY):
        super().__init__()
        self.field, self.data = field, data
        self.register_buffer("dofs", space.boundary_dofs(tags), persistent=False)

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        return (prediction[self.field] - truth[self.data])[..., self.dofs].abs().amax(-1)


def accumulate(
    totals: Tensor, metrics: Mapping[str, Metric], prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]
) -> Tensor:
    """Fold a batch into running sums or maxima ``(metrics,)``, so that ragged batches give what one large batch gives."""
    values = [metric.each(prediction, truth).double() for metric in metrics.values()]
    joined = [
        total + value.sum() if metric.reduction == "mean" else torch.maximum(total, value.max())
        for total, value, metric in zip(totals, values, metrics.values(), strict=True)
    ]
    return torch.stack(joined)


def finish(totals: Tensor, metrics: Mapping[str, Metric], samples: int) -> dict[str, float]:
    """The metrics over all samples, from what :func:`accumulate` gathered."""
    rows = zip(metrics.items(), totals.tolist(), strict=True)
    return {name: total / samples if metric.reduction == "mean" else total for (name, metric), total in rows}
