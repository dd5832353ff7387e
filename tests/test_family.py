"""One problem on many domains: members by (seed, number), batches of one mesh each, one operator for all of them."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from torch import Tensor

from test_resume import assert_same, assert_same_end, final_state
from thalweg.commands import compare, evaluate, export, generate, plot, predict, train
from thalweg.commands.run import Run
from thalweg.commands.splits import read_discretization, split_range
from thalweg.data import FamilyDataset, FieldDataset, TimeWindows, generate_family, read_family
from thalweg.errors import FileError, FingerprintError, InputError
from thalweg.fem import DiscretizationFamily, FieldsOnMesh, load
from thalweg.operators import (
    OperatorFamily,
    build_operator,
    load_exported,
    load_operator,
    load_weights,
    operator_on,
    save_operator,
)
from thalweg.solvers import Poisson
from thalweg.solvers.family import OnMeshes, OnPlatesWithHoles
from thalweg.training import (
    BoundaryError,
    MetricFamily,
    Objective,
    ObjectiveFamily,
    Pool,
    RelativeNorm,
    Rollout,
    Settings,
    Trainer,
    validate,
)
from thalweg.training import evaluate as judge
from thalweg.training.family import on_mesh_of
from thalweg.training.objectives import rollout

TAGS = ["sides", "holes"]
SPLIT = "data.split={test: 2, valid: 1, train: 2}"
V = {"_space_": "V"}

#: Message passing, whose weights belong to no mesh, with exact boundary values.
OPERATOR = {
    "_target_": "thalweg.operators.SPON",
    "encoder": {"_target_": "thalweg.operators.InterpolationEncoder", "space": V, "fields": {"f": None, "g": None}},
    "processor": {
        "_target_": "thalweg.operators.MessagePassingProcessor",
        "space": V,
        "in_channels": 2,
        "channels": 8,
        "blocks": 2,
    },
    "decoder": {"_target_": "thalweg.operators.DirichletDecoder", "space": V, "field": "u", "data": "g", "tags": TAGS},
}


def configuration(verb: str, *overrides: str) -> DictConfig:
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=list(overrides))


def of_family(folder: Path, *overrides: str) -> list[str]:
    coarse = ["problem.size=0.2", "problem.problem.refinements=0", "data.samples_per_mesh=4", SPLIT]
    return ["experiment=plates_with_holes", f"data.folder={folder}", *coarse, *overrides]


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five plates with four samples each, as the command makes them."""
    pytest.importorskip("gmsh", reason="gmsh makes the meshes", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("plates")
    generate.run(configuration("generate", *of_family(folder)))
    return folder


def norm(disc: Any, kind: str = "L2") -> RelativeNorm:
    return RelativeNorm(disc["V"], "u", kind)


def made_operator(disc: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build_operator(OPERATOR, disc)


def trainer(folder: Path, train: Any, valid: Any, loss: Any, metric: Any, scales: Any = None, **settings: Any) -> Trainer:
    operator = made_operator(train.discretization)
    operator.set_scales(scales or train.fields)
    chosen = Settings(**({"epochs": 3, "batch_size": 2, "seed": 4} | settings))
    return Trainer(operator, train, valid, loss, chosen, folder, metrics={"l2": metric})


def family_trainer(
    folder: Path, train: FamilyDataset, valid: FamilyDataset, make: Callable = Objective, **settings: Any
) -> Trainer:
    family = train.discretization
    objective = ObjectiveFamily(lambda disc: make(norm(disc)), family)
    return trainer(folder, train, valid, objective, MetricFamily(norm, family), **settings)


def same_weights(one: Path, other: Path) -> None:
    assert_same(final_state(one)[0], final_state(other)[0])


def test_members_have_meshes_of_their_own_and_the_same_fields(plates: Path):
    data = FamilyDataset(plates)
    assert len(data) == 20
    assert data.numbers == (0, 1, 2, 3, 4)
    assert len({member.discretization.fingerprint for member in data.members}) == 5
    for member in data.members:
        V = member.discretization["V"]
        assert set(TAGS) <= set(V.tags)
        holes = V.boundary_dofs("holes")
        assert torch.equal(member.fields["u"][:, holes], member.fields["g"][:, holes])
    assert not torch.equal(data.members[0].fields["f"][0, :50], data.members[1].fields["f"][0, :50])


def test_batches_come_from_one_member_and_cover_all(plates: Path):
    data = FamilyDataset(plates, members=[2, 0])
    orders = data.orders(3, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(orders).tolist()) == list(range(8))
    assert sorted(map(len, orders)) == [1, 1, 3, 3]
    for fields in data.batches(orders):
        assert fields.mesh in (0, 2)
        assert fields["u"].shape[1] == data.discretization.of(fields)["V"].num_dofs
    with pytest.raises(InputError, match="must come from one domain"):
        data.batch([3, 4])
    with pytest.raises(FileError, match="no data on domain 9; it has 5 of them, 0 to 4"):
        FamilyDataset(plates, members=[9])


def test_a_domain_depends_on_seed_and_number_alone():
    family = OnPlatesWithHoles(lambda mesh: mesh)
    drawn = []
    for seed, k in ((0, 0), (0, 0), (0, 1), (1, 0)):
        drawn.append(family.random_discs(np.random.default_rng(np.random.SeedSequence((seed, k)))).tolist())
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0] != drawn[3]


def test_mesh_files_are_a_family(tmp_path: Path):
    family = OnMeshes(partial(Poisson, dirichlet=["left"], degree=1, refinements=0), ["plate_with_hole.msh"])
    generate_family(family, tmp_path, 1, 2, preview=False)
    assert len(FamilyDataset(tmp_path)) == 2
    with pytest.raises(InputError, match="There is no mesh 1"):
        family.member(0, 1)


def test_a_family_of_one_mesh_is_trained_as_an_ordinary_data_set(plates: Path, tmp_path: Path):
    plain = FieldDataset(plates / "mesh-002", range(3)), FieldDataset(plates / "mesh-002", range(3, 4))
    trainer(tmp_path / "plain", *plain, norm(plain[0].discretization), norm(plain[1].discretization)).run()
    family = read_family(plates, [2])
    parts = [FamilyDataset(plates, [2], samples, family) for samples in (range(3), range(3, 4))]
    family_trainer(tmp_path / "family", *parts).run()
    same_weights(tmp_path / "family", tmp_path / "plain")


def test_a_family_of_equal_meshes_is_trained_as_all_its_samples_on_one(plates: Path, tmp_path: Path):
    """Of two meshes that are the same, the twins' gradients are those of one operator; only the order of the samples is the family's."""
    path = plates / "mesh-001"
    disc = load(path / "discretization.h5")
    family = DiscretizationFamily({0: disc.fingerprint, 1: disc.fingerprint}, lambda k: load(path / "discretization.h5"))
    halves = FamilyDataset.of(family, {k: FieldDataset(path, range(2 * k, 2 * k + 2), family[k]) for k in (0, 1)})
    assert family[0] is not family[1]
    whole = FieldDataset(path)
    whole.orders = halves.orders
    family_trainer(tmp_path / "family", halves, halves, batch_size=1, ema=0.9).run()
    metric = norm(whole.discretization)
    trainer(tmp_path / "plain", whole, whole, metric, metric, halves.fields, batch_size=1, ema=0.9).run()
    same_weights(tmp_path / "family", tmp_path / "plain")


def test_a_run_on_a_family_that_is_interrupted_ends_bit_for_bit_the_same(plates: Path, tmp_path: Path):
    class Fails(Objective):
        def forward(self, operator, batch):
            if self.step == 7:
                raise OSError("the lights go out")
            return super().forward(operator, batch)

    family = read_family(plates)

    def run(name: str, make: Callable = Objective) -> Trainer:
        parts = [FamilyDataset(plates, members, None, family) for members in ([2, 3, 4], [1])]
        return family_trainer(tmp_path / name, *parts, make, ema=0.9, accumulate=2, checkpoint_every=1)

    run("whole").run()
    with pytest.raises(OSError, match="lights"):
        run("halved", Fails).run()
    assert final_state(tmp_path / "halved")[1]["progress"]["step"] == 7
    run("halved").run(resume=True)
    assert_same_end(tmp_path / "halved", tmp_path / "whole")


def test_boundary_values_are_exact_on_every_mesh_for_any_weights(plates: Path):
    data = FamilyDataset(plates)
    operator = made_operator(data.discretization, seed=3)
    exact = MetricFamily(lambda disc: BoundaryError(disc["V"], "u", "g", TAGS), data.discretization)
    assert validate(operator, data, {"boundary": exact}, 3) == {"boundary": 0.0}


def test_metrics_of_a_family_are_means_over_the_samples_of_all_meshes(plates: Path):
    data = FamilyDataset(plates, [3, 1])
    operator = made_operator(data.discretization)
    metric = MetricFamily(norm, data.discretization)
    by_hand = []
    for k, member in zip(data.numbers, data.members, strict=True):
        prediction = made_operator(member.discretization)(member.fields)
        own = RelativeNorm(member.discretization["V"], "u", "L2").each(prediction, member.fields)
        by_hand += own.tolist()
        assert torch.equal(operator(FieldsOnMesh(k, member.fields))["u"], prediction["u"])
    mean = sum(by_hand) / len(by_hand)
    assert validate(operator, data, {"l2": metric}, 3)["l2"] == pytest.approx(mean, rel=1e-6)
    result = judge(operator, data, {"l2": metric}, 3, ObjectiveFamily(lambda disc: Objective(), data.discretization))
    assert result["l2"] == pytest.approx(mean, rel=1e-6)
    assert result["num_samples"] == 8


def test_weights_of_a_family_are_those_of_the_operator_on_any_mesh(plates: Path, tmp_path: Path):
    family = read_family(plates, [0, 1])
    operator = made_operator(family, seed=5)
    data = FamilyDataset(plates, [1], None, family)
    operator.set_scales(data.fields)
    save_operator(tmp_path, operator)
    unseen = FieldDataset(plates / "mesh-004")
    alone = build_operator(OPERATOR, unseen.discretization)
    load_weights(tmp_path, alone)
    again = load_operator(tmp_path, read_family(plates, [0, 1]))
    assert isinstance(again, OperatorFamily)
    assert torch.equal(again(data.batch([0]))["u"], operator(data.batch([0]))["u"])
    larger = OperatorFamily(operator.operator, read_family(plates), operator_on)
    assert torch.equal(alone(unseen.fields)["u"], larger(FieldsOnMesh(4, unseen.fields))["u"])
    with pytest.raises(FingerprintError, match="another family of meshes"):
        load_operator(tmp_path, read_family(plates, [0, 2]))


def test_rollouts_on_a_family_are_those_on_each_mesh(plates: Path):
    """The states that an operator is fed back know their mesh."""
    config = {**OPERATOR, "encoder": {**OPERATOR["encoder"], "fields": {"u": None, "g": None}}}
    family, members = read_family(plates, [0, 1]), {}
    for k in family.numbers:
        dofs = family[k]["V"].num_dofs
        fields = {"u": torch.randn(2, 4, dofs), "g": torch.randn(2, dofs)}
        members[k] = FieldDataset.of(family[k], fields, {"u": "V", "g": "V"}, np.arange(4.0))
    torch.manual_seed(0)
    operator = build_operator(config, family)
    assert isinstance(operator, OperatorFamily)
    objective = ObjectiveFamily(lambda disc: Rollout(norm(disc), ["u"], horizon=2, noise=0.1), family)
    data = FamilyDataset.of(family, members).each(lambda member: TimeWindows(member, horizon=2))
    for rows in data.orders(2):
        batch = data.batch(rows)
        objective.start(3, 1, 0)
        alone = Rollout(norm(family.of(batch)), ["u"], horizon=2, noise=0.1)
        alone.start(3, 1, 0)
        assert objective(operator, batch) == alone(operator.on(batch.mesh), dict(batch))
        own, applied = on_mesh_of(objective, operator, batch)
        assert isinstance(own, Rollout)
        predicted, expected = rollout(applied, batch, own.states, 2), rollout(operator.on(batch.mesh), dict(batch), ["u"], 2)
        assert predicted["u"].equal(expected["u"])
    with pytest.raises(InputError, match="keeps states between steps"):
        ObjectiveFamily(lambda disc: Pool(norm(disc), ["u"], size=4), family)


def test_what_does_not_know_its_mesh_is_refused(plates: Path):
    family = read_family(plates, [0, 1])
    with pytest.raises(InputError, match="do not say which mesh"):
        made_operator(family)({"f": torch.zeros(1, 3)})
    with pytest.raises(InputError, match="no mesh 7"):
        family[7]
    with pytest.raises(InputError, match=r"take family\[k\]\['V'\]"):
        family["V"]  # pyright: ignore[reportArgumentType]
    other = DiscretizationFamily({0: "another"}, lambda k: load(plates / "mesh-000" / "discretization.h5"))
    with pytest.raises(FingerprintError, match="Mesh 0 of the family"):
        other[0]


def test_an_operator_on_many_meshes_is_not_compiled(plates: Path, tmp_path: Path):
    data = FamilyDataset(plates, [0, 1])
    with pytest.raises(InputError, match="compile=null"):
        family_trainer(tmp_path, data, data, compile="default")


def test_no_mesh_is_in_two_splits(plates: Path, tmp_path: Path):
    config = configuration("train", *of_family(plates))
    splits = [split_range(config, split) for split in ("test", "valid", "train")]
    assert [list(split) for split in splits] == [[0, 1], [2], [3, 4]]
    family = read_discretization(config)
    assert isinstance(family, DiscretizationFamily)
    assert len(set(family.fingerprints.values())) == 5
    shutil.copytree(plates, tmp_path / "leaking")
    shutil.rmtree(tmp_path / "leaking/mesh-004")
    shutil.copytree(plates / "mesh-000", tmp_path / "leaking/mesh-004")
    with pytest.raises(InputError, match="Mesh 4 of the train split is mesh 0 of the test split"):
        read_discretization(configuration("train", *of_family(tmp_path / "leaking")))
    with pytest.raises(InputError, match="samples_per_mesh is for families"):
        generate.run(configuration("generate", *of_family(tmp_path / "other", "data.samples_per_mesh=null")))


@pytest.fixture(scope="module")
def trained(plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    small = ["training.loop.epochs=2", "operator=spon_message_passing", "operator.processor.channels=8", "device=cpu"]
    train.run(configuration("train", *of_family(plates), *small, f"folder={folder}"))
    return folder


def test_the_commands_judge_and_predict_on_unseen_meshes(trained: Path, plates: Path):
    run = Run(str(trained), "cpu")
    disc = run.discretization()
    data = run.data("test", disc)
    assert isinstance(data, FamilyDataset)
    assert data.numbers == (0, 1)
    result = evaluate.run(configuration("evaluate", f"run={trained}", "device=cpu"))
    operator, errors = run.operator(disc), []
    for k, member in zip(data.numbers, data.members, strict=True):
        with torch.no_grad():
            prediction = operator(FieldsOnMesh(k, member.fields))
        exact = load(plates / f"mesh-{k:03d}/discretization.h5", dtype=torch.float64)
        errors.append(norm(exact).each(_double(prediction), _double(member.fields)))
    assert result["relative_l2"] == pytest.approx(torch.cat(errors).mean().item(), rel=1e-5)
    assert result["boundary_error"] == 0
    assert json.loads((trained / "metrics.json").read_text())["num_samples"] == 8

    predict.run(
        configuration(
            "predict", f"run={trained}", "sample=6", "device=cpu", f"output={trained / 'own.h5'}", "inputs={f: x, g: y}"
        )
    )
    plot.run(configuration("plot", f"run={trained}", "sample=6", "device=cpu"))
    export.run(configuration("export", f"run={trained}", "sample=6", f"output={trained / 'operator.pt2'}"))
    program, _ = load_exported(trained / "operator.pt2")
    batch = data.batch([5, 6, 7])
    assert batch.mesh == 1
    with torch.no_grad():
        torch.testing.assert_close(program({"f": batch["f"], "g": batch["g"]})["u"], operator(batch)["u"], rtol=1e-4, atol=1e-5)


def test_runs_on_one_family_are_compared(trained: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "again")
    table = compare.run(
        configuration("compare", f"runs=[{trained},{tmp_path / 'again'}]", "device=cpu", f"output={tmp_path / 'table'}")
    )
    (entry,) = table["operators"]
    assert [run["num_samples"] for run in entry["runs"]] == [8, 8]
    assert entry["deviation"]["relative_l2"] == 0
    levels = configuration("compare", f"runs=[{trained}]", "device=cpu", f"output={tmp_path / 'table'}", "solver=[{size: 0.3}]")
    with pytest.raises(InputError, match="solver of a family"):
        compare.run(levels)


def test_bounds_of_errors_are_calibrated_on_all_validation_meshes(trained: Path):
    predict.run(configuration("predict", f"run={trained}", "sample=6", "device=cpu", "certify=0.7"))
    ratios = json.loads(next(trained.glob("certificate-*.json")).read_text())["ratios"]
    assert len(ratios) == 4
    assert ratios == sorted(ratios)


def _double(fields: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.double() for name, values in fields.items()}
