"""Operators built from configurations, and their files: safetensors for the weights, JSON for everything else."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..configuration import build
from ..errors import FileError, InputError
from ..fem import Discretization, DiscretizationFamily
from ..fem.uniform_grid import Grids
from ..storage import atomic
from .family import OperatorFamily
from .operator import Operator

WEIGHTS = "weights.safetensors"
CONFIG = "operator.json"


def build_operator(config: Mapping, disc: Discretization | Grids | DiscretizationFamily) -> Operator:
    """The operator that a configuration describes; it knows its configuration and the discretization's fingerprint.

    On a family of meshes it is an :class:`OperatorFamily`.

    Raises:
        InputError: as :func:`build`, or the configuration describes something else.
    """
    if isinstance(disc, DiscretizationFamily):
        return OperatorFamily(build_operator(config, disc[disc.numbers[0]]), disc, operator_on)
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
    except (OSError, ValueError, KeyError, TypeError) as error:
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


def load_operator(folder: str | os.PathLike, disc: Discretization | Grids | DiscretizationFamily) -> Operator:
    """Rebuild a saved operator on its discretization, or on its family of them.

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


def operator_on(operator: Operator, disc: Discretization | Grids) -> Operator:
    """The same operator on another discretization: rebuilt there, sharing these weights, so that training one trains the other.

    Raises:
        InputError: the operator was put together by hand, or its weights belong to one mesh.
    """
    if operator.config is None:
        raise InputError(
            "The operator was put together by hand, so it cannot be rebuilt elsewhere. Make it by build_operator(config, disc), from a "
            "configuration such as those of conf/operator, or put it together again on the other spaces and load_state_dict."
        )
    # Its own random weights are thrown away; the random numbers of a training run do not depend on when that happens.
    with torch.random.fork_rng(devices=[]):
        twin = build_operator(operator.config, disc)
    if differences := _differences(twin.state_dict(), operator.state_dict()):
        raise InputError(f"The operator's weights belong to its mesh: {'; '.join(differences[:3])}.")
    modules = dict(operator.named_modules())
    for path, module in twin.named_modules():
        for kind in ("_parameters", "_buffers"):
            own, shared = getattr(module, kind), getattr(modules[path], kind)
            own.update({name: shared[name] for name in own if name not in module._non_persistent_buffers_set})
    return twin.train(operator.training)


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    rows = [f"{name} is missing" for name in expected if name not in found]
    rows += [f"{name} is not a weight of this operator" for name in found if name not in expected]
    rows += [
        f"{name} has shape {tuple(found[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]
    return rows
