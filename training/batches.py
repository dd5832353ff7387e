"""The batches of an epoch: shuffled by (seed, epoch) alone, shared among processes, cut into parts whose gradients are added up."""

import hashlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..data import Dataset
from ..errors import FileError, ThalwegError
from .distributed import Processes
from .settings import Settings

#: Parts of a batch with their weights in its mean loss.
Parts = list[tuple[dict[str, Tensor], float]]


class Batches:
    """The training samples as the optimiser meets them.

    Args:
        data: the samples.
        settings: batch size, parts, and the seed of the order.
        processes: among which every batch is shared.
        device: of the batches.
    """

    def __init__(self, data: Dataset, settings: Settings, processes: Processes, device: torch.device):
        self.data, self.settings, self.processes = data, settings, processes
        self._index_device = torch.device("cpu") if data.picks_on_host else device

    def __len__(self) -> int:
        """Batches of one epoch."""
        return len(self.data.orders(self.settings.batch_size))

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[int, Parts]]:
        """Batches of an epoch from the ``first`` on: samples over all processes, and the parts of this one.

        Raises:
            FileError: the data cannot be read any more.
        """
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + number)
        batches = self._moved(self.data.orders(self.settings.batch_size, generator))[first:]
        plan = [self._parts(rows) for rows in batches]
        fields = iter(self.data.batches([rows for parts in plan for rows, _ in parts]))
        for rows, parts in zip(batches, plan, strict=True):
            try:
                yield len(rows), [(next(fields), weight) for _, weight in parts]
            except ThalwegError:
                raise
            except (RuntimeError, OSError, StopIteration) as error:
                raise FileError(
                    f"The training data could not be read on ({error or type(error).__name__}). Checkpoints written so far are "
                    "intact: see to the data in their folder, then go on with resume=true."
                ) from error

    def sample(self) -> dict[str, Tensor]:
        """A part of the usual size."""
        rows, *_ = self._moved(self.data.orders(self.settings.batch_size)[:1])
        return self.data.batch(self._parts(rows)[0][0])

    def _moved(self, batches: list[Tensor]) -> list[Tensor]:
        """Rows where they are looked up, moved all at once."""
        return list(torch.cat(batches).to(self._index_device).split([len(rows) for rows in batches]))

    def _parts(self, rows: Tensor) -> list[tuple[Tensor, float]]:
        own, weight = self.processes.share(rows)
        parts = own.split(math.ceil(len(own) / self.settings.accumulate))
        return [(part, weight * len(part) / len(own)) for part in parts]


def digest(data: Dataset) -> str:
    """A hash of the first, the middle and the last sample, which differ where data were generated otherwise."""
    hashed = hashlib.sha256()
    samples = [data.batch([row]) for row in (0, len(data) // 2, len(data) - 1)]
    for name in sorted(samples[0]):
        hashed.update(name.encode() + b"".join(fields[name].cpu().contiguous().numpy().tobytes() for fields in samples))
    return hashed.hexdigest()[:16]
