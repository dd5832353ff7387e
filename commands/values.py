"""Values on the command line that do not fit the configuration: a word where a number belongs, or a list that is too short."""

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
    """The overrides that set a value, by their keys; the others choose a group's option, an experiment, add or delete."""
    keys = {override.split("=", 1)[0]: override for override in overrides if "=" in override}
    known = {key: text for key, text in keys.items() if key.replace(".", "_").isidentifier()}
    return {key: text for key, text in known.items() if not isinstance(_select(config, key), Mapping | None)}


def misfit(before: DictConfig, after: DictConfig, keys: Iterable[str]) -> str | None:
    """What is wrong with the first value that is of another kind than that it replaces; None if they all fit."""
    for key in keys:
        expected, came = _select(before, key), _select(after, key)
        if expected is None or came is None or key.startswith(_CHECKED_ELSEWHERE):
            continue
        # Names may look like numbers.
        if _kind(expected) not in (_kind(came), "a word"):
            return f"{key} is {_kind(expected)}, such as {expected!r}, not {came!r}"
        if _kind(expected) == "a list" and len(came) != len(expected) and _entries_used(after, key):
            return f"{key} has {len(expected)} values, such as {_plain(expected)}, not {len(came)}: {_plain(came)}"
    return None


def _entries_used(config: DictConfig, key: str) -> bool:
    """Whether other values are taken from single entries of a list."""
    return f"${{{key}[" in OmegaConf.to_yaml(config, resolve=False)


def _plain(values: Sequence[Any]) -> str:
    return f"[{','.join(map(str, values))}]"


def _select(config: DictConfig, key: str) -> Any:
    try:
        value = OmegaConf.select(config, key)
    except OmegaConfBaseException:  # an interpolation that is not complete yet
        return None
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, Sequence) and not isinstance(value, str) else "a word"
