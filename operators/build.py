"""Operators from plain configurations, and their files: safetensors for the weights, JSON for everything else."""

import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import FileError, InputError
from ..fem import Discretization
from ..storage import atomic
from .operator import Operator

WEIGHTS = "weights.safetensors"
CONFIG = "operator.json"

#: Nodes that stand for parts of the discretization.
_REFERENCES: dict[str, Callable[[Discretization, Any], Any]] = {
    "_space_": lambda disc, name: disc[name],
    "_hierarchy_": lambda disc, names: disc.hierarchy(*names),
    "_transfer_": lambda disc, names: disc.transfer(*names),
}


def build(config: Any, disc: Discretization) -> Any:
    """Make what a configuration describes: ``{"_target_": "thalweg.operators.SPON", "encoder": {...}, ...}``.

    ``_target_`` names a class or function that is called with the node's other entries, built first. ``{"_space_": "V"}``,
    ``{"_hierarchy_": ["V", "V1"]}`` and ``{"_transfer_": ["Q", "V"]}`` stand for parts of the discretization.

    Raises:
        InputError: the target does not exist or does not take these arguments, or a reference names nothing.
    """
    if isinstance(config, list):
        return [build(node, disc) for node in config]
    if not isinstance(config, Mapping):
        return config
    if len(config) == 1 and (reference := _REFERENCES.get(next(iter(config)))):
        return reference(disc, next(iter(config.values())))
    arguments = {key: build(node, disc) for key, node in config.items() if key != "_target_"}
    if "_target_" not in config:
        return arguments
    target = config["_target_"]
    module, _, name = target.rpartition(".")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"The configuration's _target_ {target!r} does not exist ({error}). Give the full name of a class, such as "
            "thalweg.operators.SPON."
        ) from error
    try:
        return factory(**arguments)
    except TypeError as error:
        raise InputError(f"{target} does not accept the configured arguments {', '.join(arguments)} ({error}).") from error


def build_operator(config: Mapping, disc: Discretization) -> Operator:
    """The operator that a configuration describes; it knows its configuration and the discretization's fingerprint.

    Raises:
        InputError: as :func:`build`, or the configuration describes something else.
    """
    operator = build(config, disc)
    if not isinstance(operator, Operator):
        raise InputError(
            f"The operator's configuration gives a {type(operator).__name__}, which is no operator of thalweg.operators."
        )
    operator.config, operator.fingerprint = dict(config), disc.fingerprint
    return operator


def save_operator(folder: str | os.PathLike, operator: Operator) -> None:
    """Write ``weights.safetensors`` and ``operator.json`` (configuration and fingerprint) into a folder."""
    folder = Path(folder)
    with atomic(folder / WEIGHTS) as partial:
        save_file({name: value.contiguous() for name, value in operator.state_dict().items()}, partial)
    with atomic(folder / CONFIG) as partial:
        partial.write_text(json.dumps({"config": operator.config, "fingerprint": operator.fingerprint}, indent=2))


def read_identity(folder: str | os.PathLike) -> tuple[dict | None, str | None]:
    """Configuration of a saved operator and fingerprint of its discretization, as far as it knew them."""
    path = Path(folder) / CONFIG
    try:
        content = json.loads(path.read_text())
        return content["config"], content["fingerprint"]
    except (OSError, ValueError, KeyError) as error:
        raise FileError(
            f"There is no readable operator in {folder} ({error}). Give the folder of a checkpoint, or train first."
        ) from error


def load_weights(folder: str | os.PathLike, operator: nn.Module) -> None:
    """Read the weights of an operator that was built already.

    Raises:
        FileError: the file is missing or damaged.
        InputError: the weights are those of another operator; the message names the first differences.
    """
    path = Path(folder) / WEIGHTS
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FileError(f"The weights {path} cannot be read ({error}). Use an earlier checkpoint, or train again.") from error
    if differences := _differences(operator.state_dict(), weights):
        raise InputError(
            f"The checkpoint {folder} holds the weights of another operator: {'; '.join(differences[:3])}. "
            "Use the configuration it was trained with, or start a new run under another name."
        )
    operator.load_state_dict(weights)


def load_operator(folder: str | os.PathLike, disc: Discretization) -> Operator:
    """Rebuild a saved operator on its discretization.

    Raises:
        FileError, InputError: as :func:`read_identity` and :func:`load_weights`; or the operator was not built from a configuration.
        FingerprintError: the operator was trained on another discretization.
    """
    config, fingerprint = read_identity(folder)
    if config is None or fingerprint is None:
        raise InputError(
            f"The operator in {folder} was put together by hand, so its file cannot tell how to rebuild it. Make the same "
            "operator and read its weights by load_weights."
        )
    disc.require_fingerprint(fingerprint, f"The operator in {folder}")
    operator = build_operator(config, disc)
    load_weights(folder, operator)
    operator.eval()
    return operator


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    rows = [f"{name} is missing" for name in expected if name not in found]
    rows += [f"{name} is not a weight of this operator" for name in found if name not in expected]
    rows += [
        f"{name} has shape {tuple(found[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]
    return rows
