"""Training in several processes under ``torchrun``: one process a device, each with its share of every batch, or of every sample.

torchrun --nproc-per-node 4 --no-python thalweg train experiment=quickstart
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import InputError, LostProcessError
from ..operators import Operator
from ..operators.running_statistics import running_statistics

Result = TypeVar("Result")

#: What gloo and NCCL say of a process that no longer answers.
_LOST = ("closed by peer", "reset by peer", "remote process", "remote worker", "Broken pipe", "imed out", "timeout")


class Processes:
    """The processes that train together, numbered by ``rank`` below ``size``; by default this one alone.

    What they tell one another about the run, losses, metrics, requests to stop, goes over the CPU, so that it waits for no device.
    """

    def __init__(self, rank: int = 0, size: int = 1, group: Any = None):
        self.rank, self.size, self._group = rank, size, group

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    @property
    def stream(self) -> int:
        """The stream of random numbers of this process: each has its own samples, so its own numbers."""
        return self.rank

    def around(self, operator: Operator) -> "Processes":
        """These processes as they train an operator: with shares of every batch, unless it needs all of them for each sample."""
        return OneBatch(self.rank, self.size, self._group) if operator.spans_processes else self

    def share(self, rows: Tensor) -> tuple[Tensor, float]:
        """This process' rows of a batch and their weight in the mean over processes.

        Where there are fewer rows than processes, the others take the first row with weight zero: everyone joins in every step.
        """
        own = rows[self.rank :: self.size]
        return (own, self.size * len(own) / len(rows)) if len(own) else (rows[:1], 0.0)

    def own(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """Those of the batches to be validated that are this process'."""
        return batches[self.rank :: self.size]

    def totals(self, own: Result) -> list[Result]:
        """What all processes have found in their own batches."""
        return self.gather(own)

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over the processes, which all start from the first one's parameters."""
        if self.size == 1:
            return network
        # Buffers are the discretization, equal everywhere, or running statistics, for :meth:`equalise`; they would be sent in every step.
        buffers = [name for name, _ in network.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(network, buffers)
        # Fields are on their device already. Given device_ids, it would copy them into plain ones, which do not know their mesh.
        return DistributedDataParallel(network)

    def equalise(self, network: nn.Module) -> None:
        """Give all processes the running statistics that the first has found in its share of the batches, so that all judge one network."""
        if self.size > 1:
            for values in running_statistics(network).values():
                dist.broadcast(values, 0)

    def gather(self, value: Result) -> list[Result]:
        """Everyone's value, in the order of ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._group)
        return values

    def first(self, act: Callable[[], Result]) -> Result:
        """What ``act`` gives on the first process, on all of them; its error is raised on all, too."""
        result: Any = None
        error: Exception | None = None
        if self.is_first:
            try:
                result = act()
            except Exception as caught:  # raised below, here and everywhere
                error = caught
        result, error = self.gather((result, error))[0]
        if error is not None:
            raise error
        return result


class OneBatch(Processes):
    """Processes that share the work on every sample, so that all have all samples, losses and gradients, and the same random numbers."""

    @property
    def stream(self) -> int:
        return 0

    def share(self, rows: Tensor) -> tuple[Tensor, float]:
        return rows, 1.0

    def own(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        return batches

    def totals(self, own: Result) -> list[Result]:
        return [own]

    def parallel(self, network: nn.Module) -> nn.Module:
        return network


def unsynchronised(network: nn.Module) -> AbstractContextManager[None]:
    """A block whose backward passes leave the gradients of this process alone, for all but the last part of a batch."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()


@contextmanager
def processes(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that ``torchrun`` started, if it did; yields them and this one's device.

    Raises:
        InputError: there are more processes on this machine than CUDA devices.
        LostProcessError: within the block, another process was killed or its machine is gone.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Processes(), device
        return
    if device.type == "cuda":
        local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= found:
            raise InputError(
                f"torchrun started process {local + 1} on a machine with {found} CUDA devices; lower --nproc-per-node."
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    try:
        group: Any = dist.new_group(backend="gloo") if device.type == "cuda" else None
        yield Processes(dist.get_rank(), dist.get_world_size(), group), device
        # Gloo's threads drop the tensors of the last exchange a moment after it, which aborts an interpreter that ends by then.
        dist.barrier(group)
    except RuntimeError as error:
        if not any(part in str(error) for part in _LOST):
            raise
        time.sleep(1)  # for the same threads: there is nobody left to wait for
        raise LostProcessError(
            f"Another process of this training no longer answers ({str(error).splitlines()[0]}). It was killed, or ran out of memory, or "
            "its machine is gone. Checkpoints written so far are intact: start all processes again with resume=true."
        ) from error
    finally:
        dist.destroy_process_group()
