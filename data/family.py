"""Data sets over several discretizations: a folder ``mesh-000``, ``mesh-001``, ... for each, every one an ordinary data set."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from ..errors import FileError, InputError
from ..fem import Discretization, DiscretizationFamily, FieldsOnMesh, load
from .dataset import Dataset, Rows, require_batch_size
from .generation import generate
from .reading import row_numbers
from .shards import DISCRETIZATION, read_provenance, require_shards
from .streaming import open_dataset, read_ahead

if TYPE_CHECKING:
    from ..solvers.family import ProblemFamily

_MEMBER = re.compile(r"mesh-(\d+)")

_PREVIEWS = 3  # meshes whose first samples are drawn

_AHEAD = 2  # batches that are read while one is used, where they come from files


def generate_family(
    family: "ProblemFamily",
    folder: str | os.PathLike,
    num_members: int,
    samples_per_member: int,
    seed: int = 0,
    config: dict | None = None,
    preview: bool = True,
    **options: Any,
) -> Path:
    """Solve the problem on ``num_members`` domains, ``samples_per_member`` times each; resumable as :func:`generate`.

    ``options`` are those of :func:`generate`. Domain k depends on (seed, k) alone, and sample i on it on (seed, k, i).

    Raises:
        InputError: the seed is no whole number of 0 or more.
    """
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"A seed is a whole number of 0 or more, not {seed!r}.")
    for k in range(num_members):
        words = np.random.SeedSequence((seed, k)).generate_state(1)
        made = {**(config or {}), "member": k}
        own = {**options, "config": made, "preview": preview and k < _PREVIEWS}
        generate(family.member(seed, k), member_folder(folder, k), samples_per_member, int(words[0]), **own)
    return Path(folder)


def member_folder(folder: str | os.PathLike, k: int) -> Path:
    """Where the data set of domain ``k`` is."""
    return Path(folder) / f"mesh-{k:03d}"


def read_family(
    folder: str | os.PathLike, members: Iterable[int] | None = None, dtype: torch.dtype = torch.float32
) -> DiscretizationFamily:
    """The discretizations of some domains; of all by default.

    Raises:
        FileError: a domain is missing, or has no samples.
    """
    found = sorted(int(m[1]) for path in Path(folder).glob("mesh-*") if (m := _MEMBER.fullmatch(path.name)))
    numbers = tuple(found if members is None else members)
    missing = [k for k in numbers if k not in found]
    if missing or not numbers:
        raise FileError(
            f"{folder} has no data on domain {missing[0] if missing else 0}; it has {_listed(found)}. Make the others by "
            "running `thalweg generate` again; what is there is kept."
        )

    def read(k: int) -> Discretization:
        return load(member_folder(folder, k) / DISCRETIZATION, dtype=dtype)

    return DiscretizationFamily(
        {k: read_provenance(require_shards(member_folder(folder, k))[0]).fingerprint for k in numbers}, read
    )


def _listed(numbers: list[int]) -> str:
    return f"{len(numbers)} of them, {numbers[0]} to {numbers[-1]}" if numbers else "none"


class FamilyDataset(Dataset):
    """Samples on several discretizations, in batches that each come from one and know it (:class:`FieldsOnMesh`).

    Attributes:
        discretization: the discretizations by the numbers of their domains.
        members: a data set for each domain.
        numbers: of these domains. Splits are made of domains, so that unseen ones are unseen.

    Args:
        folder: that of the family.
        members: numbers of the domains to read; all by default.
        samples: the range to read of each; all by default.
        discretization: that of the family if it is known already; it may have more domains.
        read: from folder, samples and discretization to a data set; :func:`open_dataset` by default.

    Raises:
        FileError: a domain is missing.
        InputError: the domains have different fields.
    """

    picks_on_host = True
    discretization: DiscretizationFamily

    def __init__(
        self,
        folder: str | os.PathLike,
        members: Sequence[int] | None = None,
        samples: range | None = None,
        discretization: DiscretizationFamily | None = None,
        read: Callable[..., Dataset] = open_dataset,
    ):
        family = discretization or read_family(folder, members)
        self.numbers = tuple(members) if members is not None else family.numbers
        parts = [read(member_folder(folder, k), samples, family[k]) for k in self.numbers]
        self._join(family, parts)

    @classmethod
    def of(cls, discretization: DiscretizationFamily, members: dict[int, Dataset]) -> Self:
        """A data set of others, by the numbers of their discretizations."""
        self = cls.__new__(cls)
        self.numbers = tuple(members)
        self._join(discretization, list(members.values()))
        return self

    def each(self, change: Callable[[Dataset], Dataset]) -> Self:
        """The data set whose members are changed, for example into their time windows."""
        return self.of(self.discretization, {k: change(member) for k, member in zip(self.numbers, self.members, strict=True)})

    def _join(self, family: DiscretizationFamily, members: list[Dataset]) -> None:
        first = members[0]
        if any(member.spaces != first.spaces or member.trajectories != first.trajectories for member in members):
            raise InputError(
                f"The data sets of a family have different fields or spaces; the first has {first.spaces}. Generate them as one family."
            )
        self.discretization = family  # pyright: ignore[reportIncompatibleVariableOverride]
        self.members = tuple(members)
        self.spaces, self.times = first.spaces, first.times
        self.parameters = {name: np.concatenate([member.parameters[name] for member in members]) for name in first.parameters}
        self.starts = np.cumsum([0, *map(len, members)])
        self.samples = range(int(self.starts[-1]))

    @property
    def fields(self) -> FieldsOnMesh:
        """Those of the first domain."""
        return FieldsOnMesh(self.numbers[0], self.members[0].fields)

    @property
    def trajectories(self) -> tuple[str, ...]:
        return self.members[0].trajectories

    def place(self, rows: Rows) -> tuple[int, Tensor]:
        """The one member that some rows belong to, by its place in ``members``, and their rows in it.

        Raises:
            InputError: they belong to several members.
        """
        numbers = np.array(row_numbers(rows, len(self)))
        owner = np.searchsorted(self.starts, numbers, side="right") - 1
        if len(set(owner.tolist())) != 1:
            raise InputError(
                f"A batch must come from one domain, but these rows are of {sorted(set(owner.tolist()))}. Use orders."
            )
        return int(owner[0]), torch.from_numpy(numbers - self.starts[owner[0]])

    def batch(self, rows: Rows) -> FieldsOnMesh:
        """Fields of some samples of one domain."""
        member, own = self.place(rows)
        return FieldsOnMesh(self.numbers[member], self.members[member].batch(own))

    def window(self, rows: Rows, starts: Sequence[int] | Tensor, length: int) -> FieldsOnMesh:
        member, own = self.place(rows)
        return FieldsOnMesh(self.numbers[member], self.members[member].window(own, starts, length))

    def orders(self, batch_size: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """The rows of every batch of an epoch, none across domains.

        All samples are put in an order, at random with a generator; those of a domain are cut into batches in that order, and batches
        follow one another as their first samples do. With one domain these are the batches of an ordinary data set.
        """
        require_batch_size(batch_size)
        order = self._order(generator)
        owner = torch.from_numpy(np.searchsorted(self.starts, order.numpy(), side="right") - 1)
        places = torch.arange(len(self))
        batches = [part for k in range(len(self.members)) for part in places[owner == k].split(batch_size)]
        return [order[part] for part in sorted(batches, key=lambda part: int(part[0]))]

    def batches(self, order: Iterable[Rows]) -> Iterator[dict[str, Tensor]]:
        ahead = any(member.picks_on_host for member in self.members)
        return read_ahead(self.batch, order, _AHEAD) if ahead else super().batches(order)

    def to(self, device: torch.device | str) -> Self:
        self.discretization.to(device)
        for member in self.members:
            member.to(device)
        return self
