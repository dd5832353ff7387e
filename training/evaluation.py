"""Evaluation of a trained operator on unseen samples: metrics, cost, and both beside the reference solver."""

import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ..data import FieldDataset
from .metrics import Metric, accumulate, finish


@torch.no_grad()
def evaluate(
    operator: nn.Module, data: FieldDataset, metrics: Mapping[str, Metric], batch_size: int = 32
) -> dict[str, float | int]:
    """Metrics over all samples, and the operator's and the reference solver's cost for each.

    Predictions are made in the operator's precision and judged in that of the metrics' spaces, so build those in float64. The operator's
    time is the median over batches of ``batch_size``, after one that is not counted; the solver's is the median over samples, as
    recorded when the data were generated, without what it sets up once.
    """
    device = next(operator.parameters()).device
    totals = torch.zeros(len(metrics), dtype=torch.float64, device=device)
    seconds = []
    operator(data.batch(slice(0, batch_size)))
    for rows in torch.arange(len(data)).split(batch_size):
        fields = data.batch(rows)
        start = _now(device)
        prediction = operator(fields)
        seconds.append((_now(device) - start) / len(rows))
        exact = [{name: value.double() for name, value in part.items()} for part in (prediction, fields)]
        totals = accumulate(totals, metrics, *exact)
    result: dict[str, float | int] = dict(finish(totals, metrics, len(data)))
    result["seconds_per_sample_operator"] = float(np.median(seconds))
    if "seconds_solve" in data.parameters:
        result["seconds_per_sample_solver"] = float(np.median(data.parameters["seconds_solve"]))
    result["num_parameters"] = sum(parameter.numel() for parameter in operator.parameters())
    result["num_samples"] = len(data)
    return result


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
