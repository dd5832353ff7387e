"""Values on the command line of another kind than the configuration has: a word where a number belongs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

#: What is built from values of several kinds, such as a mesh from a number of cells or a file, and checked where it is built.
_CHECKED_ELSEWHERE = (
    "problem.",
    "operator.",
    "training.loss.",
    "training.objective.",
    "training.metrics.",
    "case.",
    "controls.",
    "inputs.",
)


def given_leaves(config: DictConfig, overrides: Iterable[str]) -> dict[str, str]:
    """The overrides that set a value, by their keys; the others choose a group's option, add or delete."""
    keys = {override.split("=", 1)[0]: override for override in overrides if "=" in override}
    return {key: text for key, text in keys.items() if key.replace(".", "_").isidentifier() and not _is_mapping(config, key)}


def misfit(before: DictConfig, after: DictConfig, keys: Iterable[str]) -> str | None:
    """What is wrong with the first value that is of another kind than that it replaces; None if they all fit."""
    for key in keys:
        expected, came = _select(before, key), _select(after, key)
        if expected is None or came is None or key.startswith(_CHECKED_ELSEWHERE):
            continue
        # Names may look like numbers.
        if _kind(expected) not in (_kind(came), "a word"):
            return f"{key} is {_kind(expected)}, such as {expected!r}, not {came!r}"
    return None


def _select(config: DictConfig, key: str) -> Any:
    try:
        value = OmegaConf.select(config, key)
    except OmegaConfBaseException:  # an interpolation that is not complete yet
        return None
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _is_mapping(config: DictConfig, key: str) -> bool:
    return isinstance(_select(config, key), Mapping)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, Sequence) and not isinstance(value, str) else "a word"
