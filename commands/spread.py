"""The calibration of the spread among sub-grids: fitted on the validation samples of a run, judged on others."""

from omegaconf import OmegaConf
from torch import nn

from ..configuration import build
from ..data import Dataset
from ..errors import InputError
from ..operators import NeuralStagger
from ..training import SpreadCalibration, SubGridSpread
from ..training.evaluation import Result
from .run import Run

_COVERAGE = 0.9


def spread_metrics(trained: Run, operator: nn.Module, data: Dataset) -> Result:
    """Metrics of the spread as it is and calibrated, if the run's configuration has a ``training.spread`` and there are sub-grids.

    The calibration is made once for a checkpoint and kept in the run's folder, as ``spread-<checkpoint>.json``. ``spread_within_bound``
    is the share of samples with an error below the bound of :meth:`SpreadCalibration.bound`, 0.9 or more in the mean, where there are
    enough validation samples for it.

    Raises:
        InputError: ``training.spread`` describes something else, or the operator is no NeuralStagger.
    """
    training = OmegaConf.to_container(trained.config.training, resolve=True)
    assert isinstance(training, dict)
    if not training.get("spread"):
        return {}
    spread = build(training["spread"])
    if not isinstance(spread, SubGridSpread) or not isinstance(operator, NeuralStagger):
        raise InputError(
            "training.spread is a thalweg.training.SubGridSpread of a NeuralStagger; here it is a "
            f"{type(spread).__name__} of a {type(operator).__name__}. Set training.spread=null."
        )
    if operator.decomposition.num_sub_grids == 1:
        return {}
    path = trained.folder / f"spread-{trained.checkpoint.name}.json"
    if path.exists():
        calibration = SpreadCalibration.load(path)
    else:
        valid = trained.data("valid", trained.discretization())
        calibration = SpreadCalibration.of(*spread.ensemble(operator, valid))
        calibration.save(path)
    ensemble, reference = spread.ensemble(operator, data)
    result: Result = {"spread_factor": calibration.factor}
    for suffix, judged in (("", ensemble), ("_calibrated", ensemble.scaled(calibration.factor))):
        result |= {_named(name) + suffix: value for name, value in judged.calibration(reference).items() if name != "correlation"}
    own = SpreadCalibration.of(ensemble, reference)
    if len(calibration.errors) + 1 >= 1 / (1 - _COVERAGE):
        bound = calibration.bound(_COVERAGE)
        within = [e <= bound * s for e, s in zip(own.errors, own.spreads, strict=True)]
        result |= {"spread_bound": bound, "spread_within_bound": sum(within) / len(within)}
    return result


def _named(name: str) -> str:
    return name if name.startswith("spread") else f"spread_{name}"
