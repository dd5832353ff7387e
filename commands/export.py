"""``thalweg export``: a trained operator as one file that needs torch alone."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ..fem.family import mesh_of
from ..operators import OperatorFamily
from ..operators.export import export_operator
from .run import Run, require_sample

log = logging.getLogger("thalweg")


def run(config: DictConfig) -> dict[str, Any]:
    """Export the best operator of a run; returns the description that the file carries."""
    trained = Run(config.run, config.device)
    disc = trained.discretization()
    operator, data = trained.operator(disc), trained.data("test", disc)
    require_sample(config.sample, data)
    # Of a family one mesh is exported. Two samples are enough to trace a batch.
    batch = data.batch([config.sample, config.sample])
    disc = trained.place(disc, batch)
    if isinstance(operator, OperatorFamily):
        operator = operator.on(mesh_of(batch))
    # An operator that steps in time takes single frames.
    fields = {name: u[:, 0] if name in data.trajectories else u for name, u in batch.items()}
    description = export_operator(operator, fields, config.output, trained.spaces(), disc)
    size = Path(config.output).stat().st_size / 2**20
    inputs, outputs = (", ".join(description[kind]) for kind in ("inputs", "outputs"))
    log.info("%s: %s to %s, %.1f MiB", config.output, inputs, outputs, size)
    return description
