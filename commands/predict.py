"""``thalweg predict``: a trained operator on a user's inputs, or on a test sample, written to VTU."""

import logging

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ..data.source import read_source
from ..errors import InputError
from ..fem import Discretization
from ..visualization import write_vtu
from .run import Run

log = logging.getLogger("thalweg")


def run(config: DictConfig) -> None:
    trained = Run(config.run, config.device)
    disc = trained.meshes()
    operator = trained.operator(disc)
    spaces = trained.spaces()
    if config.inputs is None:
        fields = trained.sample(config.sample, disc)
    else:
        fields = _read(OmegaConf.to_container(config.inputs, resolve=True), spaces, disc)
        fields = {name: values.to(trained.device) for name, values in fields.items()}
    with torch.no_grad():
        prediction = operator(fields)
    shown = {name: values[0] for name, values in fields.items() if name not in prediction}
    for name, values in prediction.items():
        shown[name] = values[0]
        if name in fields:
            shown[f"{name}_reference"] = fields[name][0]
            shown[f"{name}_error"] = values[0] - fields[name][0]
    (space,) = {spaces[name] for name in prediction}
    same = {name: values for name, values in shown.items() if spaces.get(name, space) == space}
    write_vtu(config.output, disc[space], same)
    log.info("%s with %s", config.output, ", ".join(same))


def _read(sources: object, spaces: dict[str, str], disc: Discretization) -> dict[str, Tensor]:
    if not isinstance(sources, dict):
        raise InputError(f"inputs must be a mapping of fields, such as 'inputs={{f: \"sin(x)\"}}', not {sources!r}.")
    if unknown := [name for name in sources if name not in spaces]:
        raise InputError(f"The data have no field {', '.join(map(repr, unknown))}; they have {', '.join(map(repr, spaces))}.")
    return {name: read_source(source, name, disc[spaces[name]]).float()[None] for name, source in sources.items()}
