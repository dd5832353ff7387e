"""``thalweg plot``: the pictures of a run."""

import logging

import torch
from omegaconf import DictConfig
from torch import Tensor

from ..fem import Space
from ..visualization import plot_comparison, plot_losses
from .run import Run

log = logging.getLogger("thalweg")


def run(config: DictConfig) -> None:
    trained = Run(config.run, config.device)
    disc = trained.meshes()
    fields = trained.sample(config.sample, disc)
    with torch.no_grad():
        prediction = trained.operator(disc)(fields)
    spaces = trained.spaces()
    panels: dict[str, tuple[Space, Tensor]] = {}
    for name, values in fields.items():
        space = disc[spaces[name]]
        if name not in prediction:
            panels[_input_title(name, values[0], space)] = (space, values[0])
    for name, values in prediction.items():
        space, reference = disc[spaces[name]], fields[name][0]
        panels[f"reference {name}"] = (space, reference)
        panels[f"prediction {name}"] = (space, values[0])
        panels[f"error of {name}"] = (space, values[0] - reference)
    first = next(iter(panels.values()))[0]
    plot_comparison(first, panels, trained.folder / "fields.png")
    plot_losses(trained.folder / "metrics.jsonl", trained.folder / "loss.png")
    log.info("fields.png and loss.png in %s", trained.folder)


def _input_title(name: str, values: Tensor, space: Space) -> str:
    """A field that vanishes inside the domain carries boundary values."""
    inside = values.clone()
    inside[space.boundary_dofs()] = 0
    return f"input {name}" if inside.any() else f"input {name} (boundary)"
