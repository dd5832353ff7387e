"""Mean and deviation of fields over a data set, in one pass that loses no digits, and in the norm of their spaces.

The mean of a finite-element field is ∫u dx / |Ω|, not the mean of its dofs, which counts refined parts of a mesh more. Moments of batches
are merged pairwise (Chan, Golub and LeVeque, Am. Stat. 37, 1983), never as E[u²] − E[u]².
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import FileError
from ..fem import Space
from ..fem.averages import constants
from ..fem.uniform_grid import Grid
from ..storage import atomic
from .dataset import Dataset


@dataclass(frozen=True)
class Moments:
    """Of a field: the ``count`` of frames, the mean of each component or channel, and M = Σ ∫|u − mean|² dx / (|Ω| components)."""

    count: int
    mean: tuple[float, ...]
    M: float

    @property
    def deviation(self) -> float:
        """Standard deviation, one number for all components, so that rotations of the frame commute with scaling by it."""
        return (self.M / self.count) ** 0.5

    @property
    def root_mean_square(self) -> float:
        return (self.M / self.count + sum(m * m for m in self.mean) / max(1, len(self.mean))) ** 0.5

    def merged(self, other: "Moments") -> "Moments":
        """The moments of both sets of frames together."""
        n = self.count + other.count
        steps = [b - a for a, b in zip(self.mean, other.mean, strict=True)]
        mean = tuple(a + d * other.count / n for a, d in zip(self.mean, steps, strict=True))
        between = sum(d * d for d in steps) * self.count * other.count / n / max(1, len(steps))
        return Moments(n, mean, self.M + other.M + between)


def moments(dataset: Dataset, batch_size: int = 64) -> dict[str, Moments]:
    """The moments of each field over all samples and frames.

    A field of a mixed space, of which constants have no meaning, has no mean; its M is taken in the dofs.
    """
    found: dict[str, Moments] = {}
    ones = {name: _constants(dataset.discretization[space]) for name, space in dataset.spaces.items()}
    for fields in dataset.batches(torch.arange(len(dataset)).split(batch_size)):
        for name, values in fields.items():
            now = _of_batch(dataset.discretization[dataset.spaces[name]], values.double(), ones[name])
            found[name] = found[name].merged(now) if name in found else now
    return found


def save_moments(path: str | os.PathLike, found: Mapping[str, Moments]) -> None:
    """Write moments to a JSON file, as part of a run."""
    with atomic(path) as partial:
        partial.write_text(json.dumps({name: asdict(m) for name, m in found.items()}, indent=2) + "\n")


def load_moments(path: str | os.PathLike) -> dict[str, Moments]:
    """Read what :func:`save_moments` wrote.

    Raises:
        FileError: the file is missing or damaged.
    """
    try:
        return {name: Moments(m["count"], tuple(m["mean"]), m["M"]) for name, m in json.loads(Path(path).read_text()).items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"The moments {path} cannot be read ({error}). Compute them again with data.moments.") from error


class Normaliser(nn.Module):
    """(u − mean) / deviation for each field, and back; mean and deviation are buffers, stored with the weights of a module that has it.

    Args:
        found: moments by field.
        spaces: the space or grid of each field.
        centred: whether the mean is taken off; without, homogeneous conditions and linearity survive.
    """

    def __init__(self, found: Mapping[str, Moments], spaces: Mapping[str, Space | Grid], centred: bool = True):
        super().__init__()
        self.names = tuple(found)
        for name, m in found.items():
            scale = m.deviation if centred else m.root_mean_square
            self.register_buffer(f"{name}_scale", torch.tensor(scale if scale > 0 else 1.0))
            self.register_buffer(f"{name}_shift", _constant(spaces[name], m.mean if centred else [0.0] * len(m.mean)))

    def forward(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Fields of mean zero and deviation one; those it does not know are left as they are."""
        return {name: self._scaled(name, u, inverse=False) if name in self.names else u for name, u in fields.items()}

    def inverse(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Normalised fields in their own units again."""
        return {name: self._scaled(name, u, inverse=True) if name in self.names else u for name, u in fields.items()}

    def _scaled(self, name: str, u: Tensor, inverse: bool) -> Tensor:
        scale, shift = self.get_buffer(f"{name}_scale"), self.get_buffer(f"{name}_shift")
        return u * scale + shift if inverse else (u - shift) / scale


def _of_batch(space: Space | Grid, u: Tensor, ones: Tensor | None) -> Moments:
    if isinstance(space, Grid):
        frames = u.reshape(-1, *u.shape[-space.dim - 1 :])
        volume = float(space.integral(torch.ones_like(frames[:1, :1])))
        mean = space.integral(frames).mean(0) / volume
        centred = frames - mean.reshape(-1, *[1] * space.dim)
        return Moments(len(frames), tuple(mean.tolist()), float(space.inner(centred, centred).sum()) / volume / len(mean))
    frames = u.flatten(0, -2)
    if ones is None:
        return Moments(len(frames), (), float(frames.square().mean(-1).sum()))
    ones = ones.to(u)
    weights = space.mass(ones).double()
    volume = (weights * ones).sum(-1)
    mean = (frames @ weights.T).mean(0) / volume
    centred = frames - mean @ ones
    total = (space.mass(centred) * centred).sum() / volume[0] / len(mean)
    return Moments(len(frames), tuple(mean.tolist()), float(total))


def _constants(space: Space | Grid) -> Tensor | None:
    return None if isinstance(space, Grid) else constants(space)


def _constant(space: Space | Grid, mean: Sequence[float]) -> Tensor:
    """The constant function of this mean, to be subtracted from dofs ``(..., dofs)`` or values ``(..., channel, x, ...)``."""
    if isinstance(space, Grid):
        return torch.tensor(mean).reshape(-1, *[1] * space.dim)
    ones = constants(space)
    return torch.zeros(()) if ones is None or not mean else (torch.tensor(mean).to(ones) @ ones).float()
