"""``thalweg predict``: a trained operator on a user's inputs, or on a test sample, written to a file; with a certificate if wanted."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ..data.shards import Spaces
from ..data.source import read_source
from ..errors import InputError
from ..fem.family import alike
from ..training.family import on_mesh_of
from ..training.objectives import Objective, rollout
from ..training.objectives.objective import Apply
from .certification import certify
from .prediction_file import write_prediction
from .refinement import refine
from .run import Run
from .stepwise_refinement import refine_steps

log = logging.getLogger("thalweg")


def run(config: DictConfig) -> None:
    trained = Run(config.run, config.device)
    disc = trained.discretization()
    operator, objective, spaces = trained.operator(disc), trained.objective(disc), trained.spaces()
    data = trained.data("test", disc)
    with torch.no_grad():
        if config.inputs is None:
            if config.steps is not None:
                raise InputError("A test sample is predicted to its end; steps=... is for inputs of your own, inputs={...}.")
            batch = trained.sample(config.sample, disc)
            prediction, reference = objective.predict(operator, batch)
            times = None if data.times is None else data.times
        else:
            like = trained.sample(config.sample, disc)  # of a family, it says which mesh
            read = _read(config.inputs, spaces, trained.place(disc, like))
            batch = alike(like, {name: values.to(trained.device) for name, values in read.items()})
            own, applied = on_mesh_of(objective, operator, batch)
            prediction, reference = _apply(own, applied, batch, config.steps), {}
            interval = 1.0 if data.times is None else float(data.times[1] - data.times[0])
            times = [interval * step for step in range((config.steps or 1) + 1)] if _states(own) else None
    if config.certify is not None:
        certify(trained, batch, prediction, config.certify)
    fields = {name: values[0] for name, values in batch.items() if name not in prediction}
    for name, values in prediction.items():
        fields[name] = values[0]
        if name in reference:
            fields[f"{name}_reference"] = reference[name][0]
            fields[f"{name}_error"] = values[0] - reference[name][0]
    if config.refine:
        solved = _solved(config, trained, objective, batch, prediction, times)
        fields |= {name: values[0] for name, values in solved.items()}
    disc = trained.place(disc, batch)
    where = {name: disc[spaces.get(name) or spaces[name.rsplit("_", 1)[0]]] for name in fields}
    path = write_prediction(config.output, trained.folder, where, fields, None if times is None else times[1:])
    log.info("%s with %s", path, ", ".join(fields))


def _states(objective: Objective) -> tuple[str, ...]:
    """The fields that the operator advances in time; none if it is applied once."""
    return getattr(objective, "states", ())


def _solved(
    config: DictConfig,
    trained: Run,
    objective: Objective,
    batch: dict[str, Tensor],
    prediction: dict[str, Tensor],
    times: Sequence[float] | np.ndarray | None,
) -> dict[str, Tensor]:
    """What the reference solver makes of the prediction, or of the predictions of one step after the other."""
    states = _states(objective)
    if not states or times is None:
        return refine(trained, batch, prediction, config.savings)
    if config.inputs is not None:
        batch = _started(batch, states)
    table = (Path(config.output) if config.output else trained.folder / "prediction").with_suffix(".steps.csv")
    return refine_steps(trained, objective, batch, list(map(float, times)), table, config.savings)


def _started(batch: dict[str, Tensor], states: tuple[str, ...]) -> dict[str, Tensor]:
    """Trajectories whose first frame is the states of a batch."""
    return {name: values[:, None] if name in states else values for name, values in batch.items()}


def _apply(objective: Objective, operator: Apply, batch: dict[str, Tensor], steps: int | None) -> dict[str, Tensor]:
    states = _states(objective)
    if not states:
        if steps is not None:
            raise InputError("This operator does not advance in time; leave out steps=...")
        return operator(batch)
    if steps is not None and (not isinstance(steps, int) or steps < 1):
        raise InputError(f"steps is the number of steps to predict, 1 or more, not {steps!r}.")
    if missing := [name for name in states if name not in batch]:
        raise InputError(
            f"The operator advances {', '.join(states)} in time; give {', '.join(missing)} at the start among the inputs."
        )
    return rollout(operator, _started(batch, states), states, steps or 1)


def _read(sources: object, spaces: dict[str, str], disc: Spaces) -> dict[str, Tensor]:
    sources = OmegaConf.to_container(sources, resolve=True) if isinstance(sources, DictConfig) else sources
    if not isinstance(sources, dict):
        raise InputError(f"inputs must be a mapping of fields, such as 'inputs={{f: \"sin(x)\"}}', not {sources!r}.")
    given = {str(name): source for name, source in sources.items()}
    if unknown := [name for name in given if name not in spaces]:
        raise InputError(f"The data have no field {', '.join(map(repr, unknown))}; they have {', '.join(map(repr, spaces))}.")
    return {name: read_source(source, name, disc[spaces[name]]).float()[None] for name, source in given.items()}
