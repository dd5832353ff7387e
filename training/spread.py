"""How far to trust the spread of a NeuralStagger's sub-grids: a factor and a bound from samples whose solutions are known."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from pathlib import Path

import torch
from torch import Tensor

from ..data import Dataset
from ..errors import FileError, InputError
from ..operators import NeuralStagger
from ..operators.neuralstagger import Ensemble
from ..storage import atomic
from .certificate import Certificate
from .objectives.trajectory import in_time, num_frames


class SubGridSpread:
    """The ensemble of all sub-grids in the last block of stored trajectories, from their first block on.

    Args:
        field: of the state, whose spread is looked at.
        periodic: which axes are, for interpolation.
    """

    def __init__(self, field: str, periodic: Sequence[bool]):
        self.field, self.periodic = field, tuple(periodic)

    @torch.no_grad()
    def ensemble(self, operator: NeuralStagger, data: Dataset, batch_size: int = 32) -> tuple[Ensemble, Tensor]:
        """Mean and spread ``(samples, s_t, channel, x, y[, z])``, and the reference's frames.

        Raises:
            InputError: the operator has one sub-grid only, or the trajectories have less than two blocks.
        """
        decomposition, names = operator.decomposition, tuple(operator.frames.state)
        if decomposition.num_sub_grids < 2:
            raise InputError(f"One sub-grid has no spread: {decomposition}.")
        s_t, dim, everywhere = decomposition.time, decomposition.dim, range(decomposition.num_sub_grids)
        parts, references = [], []
        for rows in torch.arange(len(data)).split(batch_size):
            batch = data.batch(rows)
            blocks = num_frames(batch, names, 2 * s_t) // s_t
            varying = in_time(batch, names)
            fields = {
                name: u[:, :s_t] if name in names else u[:, s_t : blocks * s_t] for name, u in batch.items() if name in varying
            }
            rolled = operator.coarse_rollout(batch | fields, blocks - 1, everywhere, range(s_t))[self.field]
            parts.append(rolled[:, :, :, -1].movedim(1, 2))
            references.append(batch[self.field][:, (blocks - 1) * s_t : blocks * s_t])
        reference = torch.cat(references)
        shape = reference.shape[-dim:]
        return Ensemble.of(torch.cat(parts, 1), decomposition, shape, self.periodic, everywhere), reference


@dataclass(frozen=True)
class SpreadCalibration:
    """What spreads are to be multiplied by, and how far errors exceed them, from n samples that were not trained on.

    Attributes:
        errors, spreads: root mean squares over the points of each sample: of the mean's error, and of the error that the spread
            predicts (see :meth:`Ensemble.predicted`).
    """

    errors: tuple[float, ...]
    spreads: tuple[float, ...]

    @classmethod
    def of(cls, ensemble: Ensemble, reference: Tensor) -> "SpreadCalibration":
        """From an ensemble ``(samples, ...)`` and what it should have met."""
        errors, spreads = ((u.square().flatten(1).mean(1).sqrt()) for u in (ensemble.mean - reference, ensemble.predicted))
        return cls(tuple(errors.tolist()), tuple(spreads.tolist()))

    @property
    def factor(self) -> float:
        """The geometric mean of error over spread, which a few samples that go astray do not decide."""
        return exp(sum(log(e / s) for e, s in zip(self.errors, self.spreads, strict=True)) / len(self.errors))

    def bound(self, coverage: float = 0.9) -> float:
        """How many root mean square spreads a new sample's root mean square error is at most, with this probability or more.

        By split conformal prediction, see :class:`Certificate`; it holds whatever the networks are.

        Raises:
            InputError: the coverage is not in (0, 1), or needs more samples.
        """
        return Certificate(tuple(sorted(e / s for e, s in zip(self.errors, self.spreads, strict=True)))).factor(coverage)

    def save(self, path: str | os.PathLike) -> None:
        """Write as JSON."""
        with atomic(path) as partial:
            partial.write_text(json.dumps(asdict(self)) + "\n")

    @staticmethod
    def load(path: str | os.PathLike) -> "SpreadCalibration":
        """Read what :meth:`save` wrote.

        Raises:
            FileError: the file is missing or damaged.
        """
        try:
            return SpreadCalibration(**{name: tuple(values) for name, values in json.loads(Path(path).read_text()).items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise FileError(
                f"There is no calibration of spreads in {path} ({error}). Delete the file; `thalweg evaluate` makes it anew."
            ) from error
