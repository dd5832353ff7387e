"""``thalweg report``: all that is known of a run in one HTML file that can be sent to somebody."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..data.card import read_card
from ..errors import FileError
from ..training import MetricsLog
from ..training.environment import recorded
from ..visualization.curves import quantity
from ..visualization.report import Part, Picture, write_report
from . import evaluate, plot
from .run import Run

log = logging.getLogger("thalweg")

#: Rows of the table of epochs.
_EPOCHS = 12

_CAPTIONS = {
    "fields": "A test sample that training has not seen: inputs, reference, prediction and error.",
    "render": "The same in three dimensions, with the corner next to the eye taken out.",
    "loss": "The course of training.",
    "rollout": "The same sample over time.",
    "error_over_time": "Error of the rollout against time.",
    "drag": "Its drag coefficient.",
    "lift": "Its coefficient of lift.",
    "spectrum": "Energy by wave number, of the last frame.",
}


def run(config: DictConfig) -> Path:
    """Evaluate the run if that was not done since its best checkpoint was written, draw its pictures, write the page; returns its path."""
    trained = Run(config.run, config.device)
    metrics = trained.folder / "metrics.json"
    if not metrics.exists() or metrics.stat().st_mtime < trained.checkpoint.stat().st_mtime:
        wanted = {key: config[key] for key in ("run", "split", "batch_size", "device")}
        evaluate.run(OmegaConf.create({**wanted, "data": {"folder": None}}))
    try:
        result = json.loads(metrics.read_text())
    except ValueError as error:
        raise FileError(f"{metrics} is damaged ({error}). Delete it; it is computed again.") from error
    drawn = plot.run(config)
    parts = [
        _summary(trained, result),
        Part("Pictures", pictures=[Picture(path, _caption(path)) for path in drawn]),
        _training(trained),
        _data(Path(trained.config.data.folder)),
        _environment(trained.folder),
        Part("Configuration", listing=OmegaConf.to_yaml(trained.config), summary="everything the run was started with"),
    ]
    output = Path(config.output)
    write_report(output, f"thalweg: {trained.config.name}", _lead(trained, result), parts)
    log.info("%s", output)
    return output


def _lead(trained: Run, result: dict[str, Any]) -> str:
    operator = trained.config.operator["_target_"].rpartition(".")[2]
    problem = trained.config.problem["_target_"].rpartition(".")[2]
    samples = result["num_samples"]
    return f"{operator} with {result['num_parameters']:,} weights for {problem}, judged on {samples} unseen sample{'s' * (samples > 1)}."


def _summary(trained: Run, result: dict[str, Any]) -> Part:
    rows = [(quantity(name), evaluate.shown(value)) for name, value in result.items()]
    return Part("Errors and cost", header=("metric", "value"), rows=rows, text=f"Best checkpoint: {trained.checkpoint.name}.")


def _training(trained: Run) -> Part:
    """Epochs from the first to the last, evenly spaced."""
    rows = MetricsLog(trained.folder / "metrics.jsonl").rows()
    if not rows:
        return Part("Training", text="The run has not finished an epoch.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    last, count = len(rows) - 1, min(len(rows), _EPOCHS)
    chosen = sorted({round(i * last / max(count - 1, 1)) for i in range(count)})
    table = [[evaluate.shown(rows[i][name]) if name in rows[i] else "" for name in names] for i in chosen]
    return Part("Training", header=[quantity(name) for name in names], rows=table)


def _data(folder: Path) -> Part:
    try:
        card = read_card(folder)
    except FileError as error:
        return Part("Data", text=str(error))
    rows = [
        (name, field["on"], " × ".join(map(str, field["shape"])), f"{field['minimum']:.4g} to {field['maximum']:.4g}")
        for name, field in card["fields"].items()
    ]
    text = f"{card['name']}: {card['samples']} samples, seed {card['seed']}.\n\n{card['description']}"
    return Part("Data", text=text, header=("field", "on", "shape", "range"), rows=rows)


def _environment(folder: Path) -> Part:
    """Versions and machine, of every start of the run."""
    rows = []
    for number, start in enumerate(recorded(folder), start=1):
        versions = ", ".join(f"{name} {version}" for name, version in start["versions"].items())
        rows += [
            (f"start {number}", versions),
            ("", f"{start['device']}, {start['system']}, {start['threads']} thread{'s' * (start['threads'] > 1)}"),
        ]
    return Part("Machine and versions", rows=rows)


def _caption(path: Path) -> str:
    return next((text for stem, text in _CAPTIONS.items() if path.stem.startswith(stem)), path.stem.replace("_", " "))
