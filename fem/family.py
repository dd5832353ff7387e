"""One set of spaces on many meshes, and fields that know which of the meshes they live on."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Generic, NoReturn, Self, TypeVar

import torch
from torch import Tensor

from ..errors import FingerprintError, InputError
from .discretization import Discretization

Made = TypeVar("Made")


class FieldsOnMesh(dict[str, Tensor]):
    """Fields by name, ``(batch, ...)`` each, all on the mesh of this number in a family."""

    def __init__(self, mesh: int, fields: Mapping[str, Tensor]):
        super().__init__(fields)
        self.mesh = mesh


class DiscretizationFamily:
    """Discretizations with the same spaces by name, each on a mesh of its own: ``family[k]`` is that on mesh k.

    A discretization is loaded when it is first asked for, and kept on the device.

    Attributes:
        fingerprint: of all of them together.
        device: where they are kept.

    Args:
        fingerprints: those of the discretizations, by the number of the mesh.
        load: from a number to its discretization.

    Raises:
        InputError: there are no meshes.
    """

    def __init__(self, fingerprints: Mapping[int, str], load: Callable[[int], Discretization]):
        if not fingerprints:
            raise InputError("A family of discretizations needs a mesh at least.")
        self.fingerprints, self._load = dict(fingerprints), load
        self.fingerprint = hashlib.sha256("".join(self.fingerprints[k] for k in self.numbers).encode()).hexdigest()
        self._loaded: dict[int, Discretization] = {}
        self.device = torch.device("cpu")

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of the meshes, in increasing order."""
        return tuple(sorted(self.fingerprints))

    def __len__(self) -> int:
        return len(self.fingerprints)

    def __getitem__(self, number: int) -> Discretization:
        """The discretization on one mesh.

        Raises:
            InputError: the family has no mesh of this number, or a space was asked for.
            FingerprintError: another discretization was loaded than is known by this number.
        """
        if not isinstance(number, int):
            raise InputError(
                f"A family of meshes has its spaces on each of them: take family[k][{number!r}] instead of this one."
            )
        if number not in self.fingerprints:
            raise InputError(f"The family has no mesh {number}; it has {len(self)} from {self.numbers[0]} to {self.numbers[-1]}.")
        if number not in self._loaded:
            disc = self._load(number)
            disc.require_fingerprint(self.fingerprints[number], f"Mesh {number} of the family")
            self._loaded[number] = disc.to(self.device)
        return self._loaded[number]

    def of(self, fields: Mapping[str, Tensor]) -> Discretization:
        """The discretization that fields live on."""
        return self[mesh_of(fields)]

    def require_fingerprint(self, fingerprint: str, owner: str) -> None:
        """Refuse weights that were trained on another family.

        Raises:
            FingerprintError: the fingerprints differ.
        """
        if fingerprint != self.fingerprint:
            raise FingerprintError(
                f"{owner} belongs to another family of meshes: its fingerprint is {fingerprint[:12]}, that of these {len(self)} meshes is "
                f"{self.fingerprint[:12]}. Go back to the data and the splits it was trained with, or train again."
            )

    def to(self, device: torch.device | str) -> Self:
        """Keep the discretizations on a device."""
        self.device = torch.device(device)
        for disc in self._loaded.values():
            disc.to(device)
        return self


class OnEachMesh(Generic[Made]):
    """What ``make`` gives for the discretizations of a family: made for each when it is first met, and kept."""

    def __init__(self, make: Callable[[Discretization], Made], family: DiscretizationFamily):
        self.make, self.family = make, family
        self._made: dict[int, Made] = {}

    def __getitem__(self, number: int) -> Made:
        if number not in self._made:
            self._made[number] = self.make(self.family[number])
        return self._made[number]

    @property
    def first(self) -> Made:
        """That of the first mesh, which stands for all where they do not differ."""
        return self[self.family.numbers[0]]

    def of(self, fields: Mapping[str, Tensor]) -> Made:
        """That of the mesh which fields live on."""
        return self[mesh_of(fields)]

    def clear(self) -> None:
        self._made.clear()


def mesh_of(fields: Mapping[str, Tensor]) -> int:
    """The number of the mesh that fields live on.

    Raises:
        InputError: they do not know it.
    """
    return fields.mesh if isinstance(fields, FieldsOnMesh) else _unknown(fields)


def alike(fields: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values of fields on the mesh where ``fields`` are, if these know it."""
    return FieldsOnMesh(fields.mesh, values) if isinstance(fields, FieldsOnMesh) else dict(values)


def _unknown(fields: Mapping[str, Tensor]) -> NoReturn:
    raise InputError(
        f"The fields {', '.join(map(repr, fields))} do not say which mesh of the family they live on. Give FieldsOnMesh(number, fields)."
    )
