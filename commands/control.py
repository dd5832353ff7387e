"""``thalweg control``: find the controls of a configured case, verify them in the reference solver, and tell in a table and pictures."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from ..configuration import build
from ..control import CONTROLS, HISTORY, ControlCase, Minimum, ReducedFunctional, TrainedOperator
from ..control.case import Panels, Values
from ..errors import InputError
from ..fem import DiscretizationFamily
from ..storage import atomic
from ..visualization import plot_comparison, plot_over_time
from ..visualization.curves import read_rows
from .field_pictures import FIELDS, is_long
from .run import Run, changes, require_own_folder, write_config

log = logging.getLogger("thalweg")

MODELS = ("firedrake", "torch", "operator")
#: What may change between an optimisation and its resumption.
_MAY_CHANGE = ("resume", "overwrite", "folder", "optimizer")


def run(config: DictConfig) -> dict[str, Any]:
    """Optimise as configured; returns what ``result.json`` holds."""
    if config.model not in MODELS:
        raise InputError(f"There is no model {config.model!r}; choose {', '.join(MODELS)}.")
    if (config.run is None) == (config.model == "operator"):
        raise InputError(
            "model=operator needs the folder of a training run, run=...; the other models take none. "
            f"Got model={config.model} and run={config.run}."
        )
    folder = Path(config.folder)
    resume = _prepare(folder, config)
    trained = Run(config.run, "cpu") if config.run else None
    case = _case(config, trained)
    case.require(config.model)
    settings: Any = OmegaConf.to_container(config.controls, resolve=True)
    functional = case.functional(config.model, case.controls(settings))
    found = _optimise(functional, build(OmegaConf.to_container(config.optimizer, resolve=True)), folder, resume)
    log.info(
        "found in %d iterations and %d evaluations, %.3g s: %s", found.iterations, found.evaluations, found.seconds, found.message
    )

    rows = _rows(case, config.model, found.controls)
    result = {
        "controls": {name: value.tolist() for name, value in found.controls.items()},
        "iterations": found.iterations,
        "evaluations": found.evaluations,
        "seconds": round(found.seconds, 3),
        "converged": found.converged,
        **rows,
    }
    with atomic(folder / "result.json") as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n")
    _print(rows, f"{config.folder}, by {config.model}")
    drawn = _draw(case, found.controls, folder)
    log.info("%s, %s, result.json, %s in %s", HISTORY, CONTROLS, ", ".join(drawn), folder)
    return result


def _optimise(functional: ReducedFunctional, optimise: Callable[..., Minimum], folder: Path, resume: bool) -> Minimum:
    try:
        return optimise(functional, folder=folder, resume=resume)
    except KeyboardInterrupt:
        if (folder / CONTROLS).exists():
            log.info("the controls of the last iteration are in %s; go on from them by resume=true", folder)
        raise


def _case(config: DictConfig, trained: Run | None) -> ControlCase:
    """The configured case; one that uses an operator has the problem of its run.

    Raises:
        InputError: the run has another kind of problem, or the case takes no operator, or not this one.
    """
    node = OmegaConf.to_container(config.case, resolve=True)
    assert isinstance(node, dict)
    if trained is not None and "problem" in node:
        problem = OmegaConf.to_container(trained.config.problem, resolve=True)
        assert isinstance(problem, dict)
        if problem["_target_"] != node["problem"]["_target_"]:
            raise InputError(
                f"The run in {trained.folder} is of {problem['_target_']}, the case of {node['problem']['_target_']}. Give the folder of a "
                "run on the case's problem."
            )
        node["problem"] = problem
    case = build(node)
    if not isinstance(case, ControlCase):
        raise InputError(f"case must describe a thalweg.control.ControlCase, not a {type(case).__name__}.")
    if trained is not None:
        case.require("operator")
        case.use_operator(trained_operator(trained))
    return case


def trained_operator(trained: Run) -> TrainedOperator:
    """What a case is given of a training run.

    Raises:
        InputError: the run is one on a family of meshes.
    """
    disc = trained.discretization(torch.float64)
    if isinstance(disc, DiscretizationFamily):
        raise InputError(f"{trained.folder} was trained on a family of meshes; control takes operators of one discretization.")
    operator = trained.operator(disc).double().eval().requires_grad_(False)
    where = {name: disc[space] for name, space in trained.spaces().items()}
    sample = {name: values.double() for name, values in trained.sample(0, disc).items()}
    return TrainedOperator(operator, disc, where, sample)


def _prepare(folder: Path, config: DictConfig) -> bool:
    """Make the folder ready; returns whether there is something to resume."""
    require_own_folder(folder, config)
    found = (folder / CONTROLS).exists()
    if found and not config.resume and not config.overwrite:
        raise InputError(
            f"{folder} already holds an optimisation. Go on with it by resume=true, start it anew by overwrite=true, or give this one "
            "another name by name=..."
        )
    if found and config.resume and (listed := changes(folder, config, _MAY_CHANGE)):
        raise InputError(
            f"The optimisation in {folder} was started with another configuration: {listed}. Resume it with the one it was started "
            "with, or start a new one by name=..."
        )
    if found and not config.resume:
        (folder / CONTROLS).unlink()  # or an interrupted start would be resumed from there
    write_config(folder, config)
    return found and config.resume


def _rows(case: ControlCase, model: str, found: Values) -> dict[str, dict[str, float]]:
    """Quantities without control and with it; with it also by a surrogate, if one was used."""
    reference = case.models[0]
    rows = {"uncontrolled": case.quantities(case.uncontrolled, reference)}
    if model != reference:
        rows["surrogate"] = case.quantities(found, model)
    return rows | {"reference": case.quantities(found, reference)}


def _print(rows: dict[str, dict[str, float]], title: str) -> None:
    table = Table("", *rows, title=title)
    for name in rows["reference"]:
        table.add_row(name, *(f"{row[name]:.5g}" if name in row else "" for row in rows.values()))
    Console().print(table)


def _draw(case: ControlCase, found: Values, folder: Path) -> list[str]:
    """The objective over the iterations, and what the case shows; returns the files' names."""
    rows = read_rows(folder / HISTORY)
    steps, values = [row["step"] for row in rows], [row["value"] for row in rows]
    plot_over_time({"objective": (steps, values)}, folder / "objective.png", label="objective", time="iteration")
    drawn = ["objective.png"]
    if panels := case.panels(found):
        plot_comparison(
            next(iter(panels.values()))[0], panels, folder / FIELDS, columns=_columns(panels), one_scale=case.one_scale
        )
        drawn.append(FIELDS)
    if curves := case.curves(found):
        plot_over_time(curves, folder / "history.png", label=case.curve, time=case.time)
        drawn.append("history.png")
    return drawn


def _columns(panels: Panels) -> int:
    """Panels in a row: long domains below one another, as far as there are few."""
    if len(panels) > 2:
        return 2 if is_long(panels) else 3
    return 1 if is_long(panels) else 2
