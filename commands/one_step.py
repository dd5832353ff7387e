"""Errors of single steps of an operator that advances in time, from every frame of the data: what a rollout adds up."""

from torch import nn

from ..data import Dataset, TimeWindows
from ..training import RelativeNorm, validate
from ..training.evaluation import Result
from ..training.objectives import Rollout
from .run import Run


def one_step_metrics(trained: Run, operator: nn.Module, data: Dataset, batch_size: int) -> Result:
    """The run's relative norms as ``<name>_one_step``, means over all pairs of neighbouring frames; none for a run without rollouts."""
    objective = trained.objective(trained.discretization())
    if type(objective) is not Rollout or data.times is None:
        return {}
    metrics = {f"{name}_one_step": metric for name, metric in trained.metrics().items() if type(metric) is RelativeNorm}
    return validate(operator, TimeWindows(data), metrics, batch_size, objective.predict)
