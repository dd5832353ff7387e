"""``thalweg generate``: make or extend a data set with a problem's reference solver."""

import logging

from omegaconf import DictConfig, OmegaConf

from ..configuration import build
from ..data import generate
from ..data.workers import workers
from ..errors import InputError
from ..solvers.grid.problem import GridProblem
from .run import choose_device

log = logging.getLogger("thalweg")


def run(config: DictConfig) -> None:
    data = config.data
    wanted = config.num_samples if config.num_samples is not None else sum(data.split.values())
    if not isinstance(wanted, int) or wanted < 1:
        raise InputError(f"num_samples must be a positive number of samples, not {wanted!r}.")
    resolved = OmegaConf.to_container(config.problem, resolve=True)
    assert isinstance(resolved, dict)
    problem = _build(resolved)
    if isinstance(problem, GridProblem):
        problem.to(choose_device(config.device))
    folder = generate(
        problem,
        data.folder,
        wanted,
        config.seed,
        data.samples_per_shard,
        resolved,
        data.dtype,
        attempts=config.attempts,
        batch_size=config.batch_size,
        preview=config.preview,
    )
    log.info("%d samples in %s", wanted, folder)


def _build(resolved: dict):
    """The problem; under ``mpiexec`` on meshes of this process alone."""
    if workers().size == 1:
        return build(resolved)
    from ..fem.communicator import ensemble_member

    with ensemble_member():
        return build(resolved)
