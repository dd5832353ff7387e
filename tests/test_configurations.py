"""Every configuration composes, and says what is wrong with it; :mod:`test_devices` makes what experiments describe."""

from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from small import configuration
from thalweg.configuration import build
from thalweg.data.dataset import DISCRETIZATION
from thalweg.errors import InputError
from thalweg.fem import Grid, load
from thalweg.fem.uniform_grid import Grids
from thalweg.operators import SPON, build_operator
from thalweg.training import Settings

CONF = Path(__file__).resolve().parent.parent / "conf"
VERBS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "base")
GROUPS = {
    str(path.parent.relative_to(CONF)): sorted(p.stem for p in path.parent.glob("*.yaml"))
    for path in CONF.rglob("*.yaml")
    if path.parent != CONF and "hydra" not in path.parts
}
#: Those that training knows, but for experiments, which have tests of their own.
OPTIONS = {group: options for group, options in GROUPS.items() if not group.startswith(("experiment", "control"))}
#: Others refer to these, or are subgroups of them, so that their options are composed one by one.
ALONE = ("problem", "training")
TOGETHER = {group: options for group, options in OPTIONS.items() if group not in ALONE}
#: Of the rest the first option of each group at once, the second of each, and so on.
CHOICES = [{group: option} for group in ALONE for option in OPTIONS[group]] + [
    {group: options[i % len(options)] for group, options in TOGETHER.items()} for i in range(max(map(len, TOGETHER.values())))
]
EXPERIMENTS = GROUPS["experiment"]


@cache
def composed(verb: str, *overrides: str) -> DictConfig:
    """A configuration, which must not be changed: composing takes a tenth of a second, and tests share it."""
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=list(overrides))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_composes(verb: str):
    assert composed(verb)


@pytest.mark.parametrize("chosen", CHOICES, ids=lambda chosen: "-".join(chosen.values()))
def test_every_option_of_every_group_composes(chosen: dict[str, str]):
    config = composed("train", "experiment=quickstart", *(f"{group}={option}" for group, option in chosen.items()))
    for group in chosen:
        node = config if group == "scale" else OmegaConf.select(config, group.replace("/", "."), throw_on_missing=True)
        OmegaConf.to_container(node, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_has_two_scales_and_the_command_line_wins(experiment: str):
    small = composed("train", f"experiment={experiment}")
    paper = composed("train", f"experiment={experiment}", "scale=paper", "training.loop.epochs=7", "data.split.valid=5")
    assert (small.scale, paper.scale) == ("small", "paper")
    assert small.name != paper.name
    assert small.data.split.train < paper.data.split.train
    assert (paper.training.loop.epochs, paper.data.split.valid) == (7, 5)
    Settings(seed=0, **paper.training.loop)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_schedules_with_an_end_end_low(schedule: str):
    config = composed("train", "experiment=quickstart", f"training/schedule={schedule}")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = build(OmegaConf.to_container(config.training.schedule))(optimizer, total_steps=100)
    for _ in range(100):
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr()[0] < 0.01


@pytest.fixture
def operator_config(dataset: Path) -> dict:
    config = OmegaConf.to_container(configuration("train", dataset).operator, resolve=True)
    assert isinstance(config, dict)
    return config


def test_an_operator_knows_its_configuration(dataset: Path, operator_config: dict):
    disc = load(dataset / "data" / DISCRETIZATION)
    operator = build_operator(operator_config, disc)
    assert isinstance(operator, SPON)
    assert operator.config == operator_config
    assert operator.fingerprint == disc.fingerprint


def test_wrong_targets_and_arguments_are_named(dataset: Path, operator_config: dict):
    disc = load(dataset / "data" / DISCRETIZATION)
    operator_config["processor"]["chanels"] = 3
    with pytest.raises(InputError, match=r"MultigridProcessor does not accept .*chanels"):
        build_operator(operator_config, disc)
    operator_config["_target_"] = "thalweg.operators.SPOON"
    del operator_config["processor"]["chanels"]
    with pytest.raises(InputError, match=r"thalweg\.operators\.SPOON' does not exist"):
        build_operator(operator_config, disc)
    with pytest.raises(InputError, match=r"'W'.*'V', 'V1', 'V2'"):
        build({"space": {"_space_": "W"}}, disc)
    with pytest.raises(InputError, match=r"_spacings_: V stands for no part of the data's Discretization"):
        build({"spacings": {"_spacings_": "V"}}, disc)
    with pytest.raises(InputError, match=r"_hierarchy_: V stands for no part of the data's Grids"):
        build({"processor": {"hierarchy": {"_hierarchy_": "V"}}}, Grids({"grid": Grid((8, 8))}))
