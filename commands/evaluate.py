"""``thalweg evaluate``: metrics of a trained operator on unseen samples, as a table and as ``metrics.json``."""

import json
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from ..storage import atomic
from ..training import evaluate
from ..training.evaluation import Result
from .one_step import one_step_metrics
from .run import Run
from .spread import spread_metrics

#: Frames of an error over time that a table shows.
_SHOWN = 5


def run(config: DictConfig) -> Result:
    """Evaluate and write ``metrics.json`` into the run's folder; ``metrics_<folder>.json`` for another data set's folder."""
    elsewhere = config.data.folder
    trained = Run(config.run, config.device, elsewhere)
    disc = trained.discretization()
    data = trained.data(config.split, disc)
    operator = trained.operator(disc)
    result = evaluate(operator, data, trained.metrics(), config.batch_size, trained.objective(disc))
    result |= spread_metrics(trained, operator, data)
    result |= one_step_metrics(trained, operator, data, config.batch_size)
    result |= trained.training_seconds()
    with atomic(trained.folder / f"metrics{f'_{Path(elsewhere).name}' if elsewhere else ''}.json") as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n")
    _print(result, f"{config.run}, {config.split} split{f' of {elsewhere}' if elsewhere else ''}")
    return result


def _print(result: Result, title: str) -> None:
    table = Table("metric", "value", title=title)
    for name, value in result.items():
        table.add_row(name, shown(value))
    Console().print(table)


def shown(value: float | list[float]) -> str:
    """Four digits of a number; of an error over time, those of a few frames from the first to the last."""
    if isinstance(value, list):
        chosen = sorted({round(i * (len(value) - 1) / (_SHOWN - 1)) for i in range(_SHOWN)})
        return ", ".join(f"{i + 1}: {value[i]:.4g}" for i in chosen)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
