"""How far a prediction is from the solution, told from its residual alone and calibrated where solutions are known."""

import itertools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data import Dataset
from ..errors import FileError, InputError
from ..fem import Space
from ..storage import atomic
from .losses import FormResidual
from .metrics.metric import in_double


class ResidualEstimate(nn.Module):
    """The two sides of a residual-based error estimate: ‖F(u)‖ in the dual norm, and the error ‖u − u_h‖ that it stands for.

    For a well-posed linear problem ``‖F(u)‖ / C ≤ ‖u − u_h‖ ≤ ‖F(u)‖ / c`` with the constants of the form; for a nonlinear one that holds
    near the solution.

    Args:
        residual: the weak form, measured in the dual of the norm below.
        space, field, norm: the predicted field whose error is estimated, and the norm.
    """

    def __init__(self, residual: FormResidual, space: Space, field: str, norm: str = "H1"):
        super().__init__()
        self.residual, self.space, self.field, self.norm = residual, space, field, norm

    def residual_norm(self, prediction: Mapping[str, Tensor], fields: Mapping[str, Tensor]) -> Tensor:
        """The dual norm of each sample's residual, ``(batch,)``. It needs inputs, not solutions."""
        return self.residual.each(prediction, fields).clamp_min(0).sqrt()

    def error(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        """‖u − u_h‖ of each sample, ``(batch,)``."""
        return self.space.norm(prediction[self.field] - truth[self.field], self.norm)

    def size(self, prediction: Mapping[str, Tensor]) -> Tensor:
        """‖u‖ of each prediction, ``(batch,)``, by which an absolute bound becomes a relative one."""
        return self.space.norm(prediction[self.field], self.norm)


@dataclass(frozen=True)
class Certificate:
    """Bounds on errors with a stated coverage, by split conformal prediction (Papadopoulos et al., ECML 2002).

    ``ratios`` are error over residual norm on n calibration samples, sorted. A new sample drawn as these were has an error of at most
    ``factor(coverage) · residual norm`` with at least that probability, whatever the operator is and however badly it was trained.
    """

    ratios: tuple[float, ...]

    def factor(self, coverage: float = 0.9) -> float:
        """The ⌈(n + 1) · coverage⌉-th smallest ratio.

        Raises:
            InputError: the coverage is not in (0, 1), or needs more calibration samples than there were.
        """
        if not 0 < coverage < 1:
            raise InputError(f"A coverage lies between 0 and 1, as 0.9 does; got {coverage}.")
        rank = math.ceil((len(self.ratios) + 1) * coverage)
        if rank > len(self.ratios):
            needed = next(n for n in itertools.count(1) if math.ceil((n + 1) * coverage) <= n)
            raise InputError(
                f"A coverage of {coverage} needs {needed} calibration samples or more; there are {len(self.ratios)}. Keep as many for "
                f"it, data.split.calibration={needed}, or ask for less."
            )
        return self.ratios[rank - 1]

    def save(self, path: str | os.PathLike) -> None:
        """Write as JSON."""
        with atomic(path) as partial:
            partial.write_text(json.dumps({"ratios": self.ratios}) + "\n")

    @staticmethod
    def load(path: str | os.PathLike) -> "Certificate":
        """Read what :meth:`save` wrote.

        Raises:
            FileError: the file is missing or damaged.
        """
        try:
            return Certificate(tuple(json.loads(Path(path).read_text())["ratios"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(
                f"There is no certificate in {path} ({error}). Delete the file; `thalweg predict certify=0.9` makes it anew."
            ) from error


@torch.no_grad()
def calibrate(operator: nn.Module, data: Dataset, estimate: ResidualEstimate, batch_size: int = 32) -> Certificate:
    """The certificate of an operator from samples it was not trained on.

    Predictions are made in the operator's precision; build ``estimate`` in float64, so that rounding stays out of the residuals.
    """
    ratios = []
    for rows in data.orders(batch_size):
        prediction, fields = in_double(operator(batch := data.batch(rows)), batch)
        ratios.append(estimate.error(prediction, fields) / estimate.residual_norm(prediction, fields))
    return Certificate(tuple(torch.cat(ratios).sort().values.tolist()))
