"""``thalweg evaluate``: metrics of a trained operator on unseen samples, as a table and as ``metrics.json``."""

import json

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from ..storage import atomic
from ..training import MetricsLog, evaluate
from .run import Run


def run(config: DictConfig) -> dict[str, float | int]:
    """Evaluate and write ``metrics.json`` into the run's folder."""
    trained = Run(config.run, config.device)
    disc = trained.discretization()
    data = trained.data(config.split, disc)
    result = evaluate(trained.operator(disc), data, trained.metrics(), config.batch_size)
    if rows := MetricsLog(trained.folder / "metrics.jsonl").rows():
        result["seconds_train"] = rows[-1]["seconds"]
    with atomic(trained.folder / "metrics.json") as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n")
    _print(result, f"{config.run}, {config.split} split")
    return result


def _print(result: dict[str, float | int], title: str) -> None:
    table = Table("metric", "value", title=title)
    for name, value in result.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)
