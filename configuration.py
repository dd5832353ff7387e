"""Objects from plain configurations: how YAML becomes problems, operators, losses and optimisers."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import InputError, ThalwegError

if TYPE_CHECKING:
    from .fem import Discretization
    from .fem.uniform_grid import Grids

#: Nodes that stand for parts of the discretization.
_REFERENCES: dict[str, Callable[[Any, Any], Any]] = {
    "_space_": lambda disc, name: disc[name],
    "_mass_": lambda disc, name: disc[name].mass,
    "_hierarchy_": lambda disc, names: disc.hierarchy_below(names) if isinstance(names, str) else disc.hierarchy(*names),
    "_transfer_": lambda disc, names: disc.transfer(*names),
    "_derivative_": lambda disc, names: disc.derivative(*names),
    "_product_": lambda disc, names: disc.product(*names),
    "_spacings_": lambda disc, name: disc[name].spacings,
    "_observation_": lambda disc, name: disc.observation(name),
    "_form_": lambda disc, name: disc.form(name),
}


def build(config: Any, disc: "Discretization | Grids | None" = None) -> Any:
    """Make what a configuration describes: ``{"_target_": "thalweg.operators.SPON", "encoder": {...}, ...}``.

    ``_target_`` names a class or function that is called with the node's other entries, built first; with ``_partial_: true`` the
    call is left to the receiver, who adds arguments. ``{"_space_": "V"}``, ``{"_hierarchy_": ["V", "V1"]}`` (``{"_hierarchy_": "V"}``
    for all levels below V), ``{"_transfer_": ["Q", "V"]}``, and likewise ``_mass_``, ``_derivative_``, ``_product_``, ``_spacings_``
    (of a grid), ``_observation_`` and ``_form_``, stand for parts of the discretization.

    Raises:
        InputError: the target does not exist or does not take these arguments or their values, or a reference names nothing.
    """
    if isinstance(config, list):
        return [build(node, disc) for node in config]
    if not isinstance(config, Mapping):
        return config
    if len(config) == 1 and (kind := next(iter(config))) in _REFERENCES:
        return _part(disc, kind, config[kind])
    arguments = {key: build(node, disc) for key, node in config.items() if key not in ("_target_", "_partial_")}
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
        inspect.signature(factory).bind_partial(**arguments)
    except TypeError as error:
        raise InputError(f"{target} does not accept the configured arguments {', '.join(arguments)} ({error}).") from error
    if config.get("_partial_"):
        return partial(factory, **arguments)
    try:
        return factory(**arguments)
    except ThalwegError:
        raise
    # What a value of another kind leads to, a word where a number belongs.
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        plain = {key: value for key, value in arguments.items() if isinstance(value, str | int | float)}
        values = ", ".join(f"{key}={value!r}" for key, value in plain.items())
        raise InputError(f"{target} cannot be made of the configured values {values or 'it has'} ({error}).") from error


def _part(disc: Any, kind: str, named: Any) -> Any:
    """What a reference stands for."""
    try:
        return _REFERENCES[kind](disc, named)
    except (AttributeError, TypeError) as error:
        raise InputError(
            f"{kind}: {named} stands for no part of the data's {type(disc).__name__} ({error}). Grids have only _space_ and _spacings_, "
            "which spaces of finite elements do not have; _transfer_, _derivative_ and _product_ take two names. Choose an operator and "
            "training for this kind of data."
        ) from error
