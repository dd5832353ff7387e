"""Evaluation of a trained operator on unseen samples: metrics, cost, and both beside the reference solver."""

import resource
import statistics
import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..data.dataset import Dataset
from .metrics import Metric, accumulate, finish
from .metrics.metric import Value, in_double
from .objectives import Objective
from .trial import evaluating

Result = dict[str, Value]


@torch.no_grad()
def evaluate(
    operator: nn.Module, data: Dataset, metrics: Mapping[str, Metric], batch_size: int = 32, objective: Objective | None = None
) -> Result:
    """Metrics over all samples, and the operator's and the reference solver's cost for each.

    Predictions are made in the operator's precision and judged in that of the metrics' spaces, so build those in float64. How they are made
    is the objective's matter: a :class:`Rollout` unrolls the operator from the first frame of every stored trajectory to its last. The
    operator's time is the median over the largest batches, full ones if there are any, after one on each mesh that is not counted; the
    solver's is the median over samples, as recorded when the data were generated, without what it sets up once on a mesh.

    Returns:
        The metrics; ``seconds_per_sample_operator`` and ``samples_per_second``; ``seconds_per_step`` and ``steps`` where there are several;
        ``seconds_per_sample_solver`` if the data have it; ``peak_memory_mib``, of the device on a GPU, of the process on a CPU;
        ``num_parameters``, ``num_samples``.
    """
    device = next(operator.parameters()).device
    predict = (objective or Objective()).predict
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    totals: list[Tensor] = list(torch.zeros(len(metrics), dtype=torch.float64, device=device))
    seconds: list[float] = []
    steps = 1
    orders = data.orders(batch_size)
    met = set()
    with evaluating(operator):
        for rows in orders:
            batch = data.batch(rows)
            if (mesh := getattr(batch, "mesh", None)) not in met:
                predict(operator, batch)
                met.add(mesh)
            start = _now(device)
            prediction, fields = predict(operator, batch)
            seconds.append((_now(device) - start) / len(rows))
            steps = _steps(prediction, fields, data)
            totals = accumulate(totals, metrics, *in_double(prediction, fields))
    result: Result = finish(totals, metrics, len(data))
    largest = max(map(len, orders))
    result["seconds_per_sample_operator"] = statistics.median(
        each for each, rows in zip(seconds, orders, strict=True) if len(rows) == largest
    )
    result["samples_per_second"] = 1 / result["seconds_per_sample_operator"]
    if steps > 1:
        result |= {"seconds_per_step": result["seconds_per_sample_operator"] / steps, "steps": steps}
    if "seconds_solve" in data.parameters:
        result["seconds_per_sample_solver"] = statistics.median(data.parameters["seconds_solve"].tolist())
    result["peak_memory_mib"] = _peak_memory(device) / 2**20
    result["num_parameters"] = sum(parameter.numel() for parameter in operator.parameters())
    result["num_samples"] = len(data)
    return result


def _steps(prediction: Mapping[str, Tensor], fields: Mapping[str, Tensor], data: Dataset) -> int:
    """Frames that were predicted one after the other."""
    frames = [
        values.shape[1] for name, values in prediction.items() if name in data.trajectories and values.ndim == fields[name].ndim
    ]
    return max(frames, default=1)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_memory(device: torch.device) -> float:
    """Bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
