"""Validation: metrics over a whole data set, the same for any batch size and any number of processes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..data import Dataset
from .distributed import Processes
from .metrics import Metric, accumulate, finish, merge
from .metrics.metric import Value
from .trial import evaluating

#: From an operator and a batch to its prediction and the fields it is judged against.
Predict = Callable[[nn.Module, dict[str, Tensor]], tuple[dict[str, Tensor], dict[str, Tensor]]]


def apply_once(operator: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return operator(batch), batch


@torch.no_grad()
def validate(
    operator: nn.Module,
    data: Dataset,
    metrics: Mapping[str, Metric],
    batch_size: int,
    predict: Predict = apply_once,
    processes: Processes | None = None,
) -> dict[str, Value]:
    """Metrics over all samples.

    Args:
        operator: in evaluation mode while it is judged.
        predict: how it is applied; see :meth:`Objective.predict`.
        processes: those among which the batches are shared.
    """
    processes = processes or Processes()
    totals = list(torch.zeros(len(metrics), dtype=torch.float64, device=next(operator.parameters()).device))
    own = processes.own(data.orders(batch_size))
    with evaluating(operator):
        for fields in data.batches(own):
            totals = accumulate(totals, metrics, *predict(operator, fields))
    parts = processes.totals([total.cpu() for total in totals])
    return finish(merge(parts, metrics), metrics, len(data))


@torch.no_grad()
def judge_one(operator: nn.Module, data: Dataset, metrics: Mapping[str, Metric], predict: Predict = apply_once) -> None:
    """Judge the first sample alone, for the errors of :func:`validate` without its time."""
    with evaluating(operator):
        prediction, fields = predict(operator, data.batch(data.orders(1)[0]))
        for metric in metrics.values():
            metric.each(prediction, fields)
