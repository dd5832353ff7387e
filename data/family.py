"""Data sets over several discretizations: a folder ``mesh-000``, ``mesh-001``, ... for each, every one an ordinary data set."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from ..errors import FileError, InputError
from .dataset import Dataset
from .generation import generate
from .streaming import open_dataset

if TYPE_CHECKING:
    from ..solvers.family import ProblemFamily

_MEMBER = re.compile(r"mesh-(\d+)")


def generate_family(
    family: "ProblemFamily",
    folder: str | os.PathLike,
    num_members: int,
    samples_per_member: int,
    seed: int = 0,
    config: dict | None = None,
    **options,
) -> Path:
    """Solve the problem on ``num_members`` domains, ``samples_per_member`` times each; resumable as :func:`generate`.

    ``options`` are those of :func:`generate`. Domain k depends on (seed, k) alone, and sample i on it on (seed, k, i).
    """
    for k in range(num_members):
        words = np.random.SeedSequence((seed, k)).generate_state(1)
        made = {**(config or {}), "member": k}
        generate(family.member(seed, k), member_folder(folder, k), samples_per_member, int(words[0]), config=made, **options)
    return Path(folder)


def member_folder(folder: str | os.PathLike, k: int) -> Path:
    """Where the data set of domain ``k`` is."""
    return Path(folder) / f"mesh-{k:03d}"


class FamilyDataset:
    """Samples on several discretizations, in batches that each come from one.

    Attributes:
        members: a data set for each domain.
        numbers: of these domains. Splits are made of domains, so that unseen ones are unseen.

    Args:
        folder: that of the family.
        members: numbers of the domains to read; all by default.
        samples: the range to read of each; all by default.
        read: from folder and samples to a data set; :func:`open_dataset` by default.

    Raises:
        FileError: a domain is missing.
        InputError: the domains have different fields.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        members: Sequence[int] | None = None,
        samples: range | None = None,
        read: Callable[..., Dataset] = open_dataset,
    ):
        found = sorted(int(m[1]) for path in Path(folder).glob("mesh-*") if (m := _MEMBER.fullmatch(path.name)))
        self.numbers = tuple(members) if members is not None else tuple(found)
        missing = [k for k in self.numbers if k not in found]
        if missing or not self.numbers:
            raise FileError(
                f"{folder} has no data on domain {missing[0] if missing else 0}; it has {found or 'none'}. Generate them."
            )
        self.members = tuple(read(member_folder(folder, k), samples) for k in self.numbers)
        if len({tuple(sorted(member.spaces.items())) for member in self.members}) > 1:
            raise InputError(f"The data sets in {folder} have different fields or spaces; a family has the same on every domain.")
        self.starts = np.cumsum([0, *map(len, self.members)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def place(self, rows: Sequence[int] | Tensor) -> tuple[int, Tensor]:
        """The one member that some rows belong to, by its place in ``members``, and their rows in it.

        Raises:
            InputError: they belong to several members.
        """
        numbers = torch.as_tensor(rows).cpu()
        owner = np.searchsorted(self.starts, numbers.numpy(), side="right") - 1
        if len(set(owner.tolist())) != 1:
            raise InputError(
                f"A batch must come from one domain, but these rows are of {sorted(set(owner.tolist()))}. Use orders."
            )
        return int(owner[0]), numbers - int(self.starts[owner[0]])

    def batch(self, rows: Sequence[int] | Tensor) -> dict[str, Tensor]:
        """Fields of some samples of one member, which :meth:`place` tells."""
        member, own = self.place(rows)
        return self.members[member].batch(own)

    def orders(self, batch_size: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """The rows of every batch of an epoch, none across members; shuffled within members and among batches with a generator."""
        batches: list[Tensor] = []
        for start, member in zip(self.starts.tolist(), self.members, strict=False):
            rows = torch.randperm(len(member), generator=generator) if generator else torch.arange(len(member))
            batches.extend((rows + start).split(batch_size))
        order = torch.randperm(len(batches), generator=generator).tolist() if generator else range(len(batches))
        return [batches[i] for i in order]

    def batches(self, orders: Sequence[Tensor]) -> Iterator[tuple[Dataset, dict[str, Tensor]]]:
        """For each batch the member it comes from, whose ``discretization`` its fields live on, and the fields."""
        for rows in orders:
            member, own = self.place(rows)
            yield self.members[member], self.members[member].batch(own)

    def to(self, device: torch.device | str) -> Self:
        for member in self.members:
            member.to(device)
        return self
