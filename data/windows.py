"""Windows of trajectories: a few frames of history and a few of horizon, as time steppers are trained on."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .dataset import Dataset, Rows
from .reading import row_numbers
from .streaming import StreamedDataset, read_ahead


class TimeWindows(Dataset):
    """All windows of ``history + horizon`` frames of a data set's trajectories, by sample and then by start.

    A batch has trajectories ``(windows, history + horizon, ...)`` and the other fields ``(windows, ...)``. Splits are made of samples
    before windows are cut, so no trajectory is in two of them. For whole rollouts, take the data set itself: its batches are whole
    trajectories, the first ``history`` frames of which start the rollout.

    Args:
        dataset: with at least one trajectory.
        history: frames that an operator is given.
        horizon: frames that follow, which it predicts.
        stride: frames between the starts of neighbouring windows.

    Raises:
        InputError: there are no trajectories, or they are shorter than a window.
    """

    def __init__(self, dataset: Dataset, history: int = 1, horizon: int = 1, stride: int = 1):
        if dataset.times is None or not dataset.trajectories:
            raise InputError("Time windows need a data set of trajectories; this one has a single frame of each field.")
        if min(history, horizon, stride) < 1 or history + horizon > len(dataset.times):
            raise InputError(
                f"Trajectories of {len(dataset.times)} frames have no windows of {history} + {horizon} frames at a stride of {stride}. "
                "All must be at least 1, and together no more than there are."
            )
        self.dataset, self.history, self.horizon, self.stride = dataset, history, horizon, stride
        self.length, self.picks_on_host = history + horizon, dataset.picks_on_host
        self.discretization, self.spaces, self.times = dataset.discretization, dataset.spaces, dataset.times
        self._each = len(range(0, len(dataset.times) - self.length + 1, stride))
        self.samples = range(len(dataset) * self._each)

    @property
    def parameters(self) -> dict[str, np.ndarray]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of each window's sample."""
        return {name: values.repeat(self._each) for name, values in self.dataset.parameters.items()}

    @property
    def fields(self) -> Mapping[str, Tensor]:
        """The underlying fields, trajectories cut into their frames as samples, other fields repeated."""
        fields, frames = self.dataset.fields, len(self.times) if self.times is not None else 1
        return {
            name: values.flatten(0, 1) if name in self.trajectories else values.repeat_interleave(frames, 0)
            for name, values in fields.items()
        }

    @property
    def trajectories(self) -> tuple[str, ...]:
        return self.dataset.trajectories

    def batch(self, rows: Rows) -> dict[str, Tensor]:
        samples, starts = self._place(rows)
        return self.dataset.window(samples, starts, self.length)

    def window(self, rows: Rows, starts: Iterable[int] | Tensor, length: int) -> dict[str, Tensor]:
        samples, first = self._place(rows)
        return self.dataset.window(samples, first + torch.as_tensor(starts, device=first.device), length)

    def batches(self, order: Iterable[Rows]) -> Iterator[dict[str, Tensor]]:
        if isinstance(self.dataset, StreamedDataset):
            return read_ahead(self.batch, order, self.dataset.ahead)
        return super().batches(order)

    def to(self, device: torch.device | str) -> Self:
        self.dataset.to(device)
        self.discretization = self.dataset.discretization
        return self

    def _place(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Samples and starts of some windows, on the device of the rows."""
        if not isinstance(rows, Tensor):
            rows = torch.tensor(row_numbers(rows, len(self)))
        return rows // self._each, rows % self._each * self.stride
