"""What a metric is, and how metrics of many batches become those of a data set, exactly, whatever the batches."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem.family import alike

Fields = Mapping[str, Tensor]

#: A metric of a data set: a number, or one for each frame.
Value = float | list[float]


def final(value: Value) -> float:
    """A metric as one number: that of the last frame where there is one for each."""
    return value[-1] if isinstance(value, list) else value


class Metric(nn.Module):
    """A number for every sample, ``each(prediction, truth) -> (batch,)``, and how numbers of many samples are joined into one.

    A metric may also give several numbers, ``(batch, k)``: one for each of its ``labels``, or, without labels, one for each frame of a
    trajectory.
    """

    reduction: Literal["mean", "max"] = "mean"
    labels: tuple[str, ...] | None = None

    @abstractmethod
    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        """The metric of every sample; ``truth`` holds the inputs, too."""

    def forward(self, prediction: Fields, truth: Fields) -> Tensor:
        values = self.each(prediction, truth)
        return values.mean() if self.reduction == "mean" else values.max()


class FieldMetric(Metric):
    """Base of metrics that compare one predicted field with the data's."""

    def __init__(self, field: str):
        super().__init__()
        self.field = field

    def pair(self, prediction: Fields, truth: Fields) -> tuple[Tensor, Tensor]:
        """The predicted field and the data's.

        Raises:
            InputError: one of them is missing, or their shapes differ.
        """
        u, v = predicted(prediction, self.field), given(truth, self.field)
        if u.shape != v.shape:
            raise InputError(
                f"The prediction of {self.field!r} has shape {tuple(u.shape)}, the data {tuple(v.shape)}. A single frame is not compared "
                "with a trajectory; roll the operator out."
            )
        return u, v


def predicted(prediction: Fields, name: str) -> Tensor:
    """A field of the prediction, or an :class:`InputError` if it has none of that name."""
    return _named(prediction, name, "prediction has")


def given(data: Fields, name: str) -> Tensor:
    """A field of the data, or an :class:`InputError` if they have none of that name."""
    return _named(data, name, "data have")


def _named(fields: Fields, name: str, owner: str) -> Tensor:
    if name not in fields:
        raise InputError(f"The {owner} no field {name!r}, only {', '.join(map(repr, fields)) or 'none'}.")
    return fields[name]


def in_double(*parts: Fields) -> list[dict[str, Tensor]]:
    """Fields in float64, for metrics and estimates that are held so; those that know their mesh still do."""
    return [alike(part, {name: value.double() for name, value in part.items()}) for part in parts]


def over_frames(values: Tensor) -> Tensor:
    """The mean over all axes but the first: one number for each sample of a batch of trajectories."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def accumulate(totals: Iterable[Tensor], metrics: Mapping[str, Metric], prediction: Fields, truth: Fields) -> list[Tensor]:
    """Fold a batch into running sums or maxima, one tensor for each metric, so that ragged batches give what one large batch gives.

    Args:
        totals: what the last call returned; ``torch.zeros(len(metrics))`` to begin with.
    """
    values = [metric.each(prediction, truth).double() for metric in metrics.values()]
    return [
        total + value.sum(0) if metric.reduction == "mean" else torch.maximum(total, value.amax(0))
        for total, value, metric in zip(totals, values, metrics.values(), strict=True)
    ]


def merge(parts: Iterable[Iterable[Tensor]], metrics: Mapping[str, Metric]) -> list[Tensor]:
    """What one process would have gathered, from what several did."""
    return [
        reduce(torch.add if metric.reduction == "mean" else torch.maximum, totals)
        for totals, metric in zip(zip(*parts, strict=True), metrics.values(), strict=True)
    ]


def finish(totals: Iterable[Tensor], metrics: Mapping[str, Metric], samples: int) -> dict[str, Value]:
    """The metrics over all samples, from what :func:`accumulate` gathered; labelled ones as ``name_label``."""
    result: dict[str, Value] = {}
    for (name, metric), total in zip(metrics.items(), totals, strict=True):
        value = (total / samples if metric.reduction == "mean" else total).tolist()
        if metric.labels is None:
            result[name] = value
        else:
            result |= {f"{name}_{label}": number for label, number in zip(metric.labels, value, strict=True)}
    return result
