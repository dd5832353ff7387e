"""``thalweg generate``: make or extend a data set with a problem's reference solver."""

import logging

from omegaconf import DictConfig, OmegaConf

from ..configuration import build
from ..data import generate
from ..data.family import generate_family
from ..data.workers import workers
from ..errors import InputError
from ..fem.communicator import ensemble_member
from ..solvers.family import ProblemFamily
from ..solvers.grid.problem import GridProblem
from .run import choose_device

log = logging.getLogger("thalweg")


def run(config: DictConfig) -> None:
    if workers().rank:
        log.setLevel(logging.WARNING)  # the first process speaks for all
    data = config.data
    splits = sum(data.split.values())
    each = splits if data.samples_per_mesh is None else data.samples_per_mesh
    wanted = config.num_samples if config.num_samples is not None else each
    if not isinstance(wanted, int) or wanted < 1:
        raise InputError(f"num_samples must be a positive number of samples, not {wanted!r}.")
    resolved = OmegaConf.to_container(config.problem, resolve=True)
    assert isinstance(resolved, dict)
    options = {
        "seed": config.seed,
        "samples_per_shard": data.samples_per_shard,
        "config": resolved,
        "dtype": data.dtype,
        "attempts": config.attempts,
        "batch_size": config.batch_size,
        "preview": config.preview,
    }
    # Under mpiexec every process solves samples of its own, on meshes of its own.
    with ensemble_member():
        problem = build(resolved)
        is_family = isinstance(problem, ProblemFamily)
        if is_family != (data.samples_per_mesh is not None):
            raise InputError(
                "data.samples_per_mesh is for families of meshes: give it, such as data.samples_per_mesh=16, and the numbers of meshes in "
                f"data.split for one of them, and null otherwise. The problem is {resolved.get('_target_')}, it is {data.samples_per_mesh}."
            )
        if is_family:
            folder = generate_family(problem, data.folder, splits, wanted, **options)
        else:
            if isinstance(problem, GridProblem):
                problem.to(choose_device(config.device))
            folder = generate(problem, data.folder, wanted, **options)
    log.info("%d samples%s in %s", wanted, f" on each of {splits} meshes" if is_family else "", folder)
