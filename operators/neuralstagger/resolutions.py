"""Error against cost of running few sub-grids or all of them."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ..encoders import Fields
from .ensemble import Ensemble, interpolated
from .neuralstagger import NeuralStagger


@torch.no_grad()
def error_against_cost(
    operator: NeuralStagger,
    fields: Fields,
    reference: Tensor,
    name: str,
    steps: int,
    periodic: Sequence[bool],
    counts: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """One row for each number of sub-grids: subtasks, seconds of a rollout, and errors at its last frames against the reference.

    ``coarse_error`` is relative, on the sub-grids' own points. ``full_error`` is that on all points, of the mean of the interpolated
    sub-grids, or of the re-assembled field where all are run. With two sub-grids or more there is the calibration of their spread, see
    :meth:`Ensemble.calibration`. All time sequences are run.

    Args:
        fields: the first block, see :class:`NeuralStagger`.
        reference: the field's frames after ``steps`` blocks, ``(batch, s_t, channel, x, y[, z])``.
        name: of the field.
        steps: blocks to advance.
        periodic: which axes are, for interpolation.
        counts: numbers of sub-grids; by default 1, 2, 4, ... and all.

    Raises:
        InputError: a reference of another shape than the block.
    """
    decomposition = operator.decomposition
    dim, s_t, total = decomposition.dim, decomposition.time, decomposition.num_sub_grids
    given = fields[name] if fields[name].dim() == dim + 3 else fields[name][:, None]
    if reference.shape != given.shape:
        raise InputError(
            f"The reference has shape {tuple(reference.shape)}; expected {tuple(given.shape)}, the block after the rollout."
        )
    shape = reference.shape[-dim:]
    rows = []
    for count in counts or [*(2**i for i in range(total.bit_length()) if 2**i < total), total]:
        chosen = [i * total // count for i in range(count)]
        start = _now(reference)
        parts = operator.coarse_rollout(fields, steps, chosen, range(s_t))[name][:, :, :, -1]
        seconds = _now(parts) - start
        parts = parts.movedim(1, 2)  # (sub-grids, batch, s_t, channel, X, Y)
        truth = decomposition.split(reference)[chosen]
        row: dict[str, Any] = {"sub_grids": count, "subtasks": count * s_t, "seconds": seconds}
        row["coarse_error"] = _relative(parts, truth)
        if count == 1:
            full = interpolated(parts[0], decomposition, chosen[0], shape, periodic)
        else:
            ensemble = Ensemble.of(parts, decomposition, shape, periodic, chosen)
            full = ensemble.mean if count < total else decomposition.merge(parts, shape)
            row |= ensemble.calibration(reference)
        row["full_error"] = _relative(full, reference)
        rows.append(row)
    return rows


def _now(u: Tensor) -> float:
    """Seconds on a clock that has waited for the tensor's device."""
    if u.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def _relative(u: Tensor, v: Tensor) -> float:
    return float((u - v).square().sum().sqrt() / v.square().sum().sqrt())
