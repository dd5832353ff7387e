"""Sweeps, ``thalweg train -m seed=0,1,2``: a run folder for each job, and jobs that fail without taking the others with them."""

import hashlib
import re
from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

FLAGS = ("-m", "--multirun")


def enter_job(config: DictConfig, given: Sequence[str]) -> str | None:
    """The name of the job that is running, whose run folder becomes ``<folder>_sweep/<job>``; None outside of a sweep.

    The name is made of the overrides that differ between jobs, those with several values among the ``given`` arguments.
    """
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    swept = {override.get_key_element() for override in _parsed(given) if override.is_sweep_override()}
    own = [override for override in hydra.overrides.task if override.split("=", 1)[0] in swept]
    name = re.sub(r"[^\w.,=+-]", "_", ",".join(own)) or f"job={hydra.job.num}"
    if len(name) > 150:
        name = f"{name[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    if "folder" in config:
        config.folder = f"{config.folder}_sweep/{name}"
    return name


def first_job(overrides: list[str]) -> list[str]:
    """The overrides of a sweep's first job, by which the sweep can be checked before it starts."""
    try:
        parsed = _parsed(overrides)
    except HydraException:
        return overrides  # composing them will say what is wrong
    return [
        f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}" if override.is_discrete_sweep() else text
        for override, text in zip(parsed, overrides, strict=True)
    ]


def _parsed(arguments: Sequence[str]) -> list[Override]:
    """Flags and their values, such as the folder after ``--config-dir``, are no overrides."""
    overrides = [a for a in arguments if not a.startswith("-") and ("=" in a or a.startswith("~"))]
    return OverridesParser.create().parse_overrides(overrides)
