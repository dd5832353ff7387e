"""What all operators have in common."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from .encoders import Fields


class Samples(Protocol):
    """What operators know of a :class:`~thalweg.data.Dataset`."""

    times: Any

    @property
    def fields(self) -> Mapping[str, Tensor]: ...

    def orders(self, batch_size: int) -> list[Tensor]: ...

    def batches(self, order: Iterable[Any]) -> Iterator[dict[str, Tensor]]: ...


class Operator(nn.Module):
    """Base of all operators: ``forward(fields) -> fields``, dictionaries of tensors with a leading batch axis, in physical units.

    An operator made by :func:`~thalweg.operators.build_operator` knows the configuration it was built from and the fingerprint of
    its discretization; both go into its file and are checked when it is read back.
    """

    config: dict | None = None
    fingerprint: str | None = None
    #: Whether the processes of ``torchrun`` compute each application together; they must all be given the same fields then.
    spans_processes: bool = False

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        raise NotImplementedError

    def set_scales(self, fields: Fields) -> None:
        """Take the scales of inputs and outputs from sample fields ``(samples, ...)``; they are stored with the weights."""
        raise NotImplementedError

    def set_scales_from(self, dataset: Samples) -> None:
        """Take the scales from a data set: from the sample fields that it keeps in memory, or from all where one pass suffices."""
        self.set_scales(dataset.fields)
