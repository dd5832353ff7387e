"""Objectives: what they minimise, what they draw, and that they train what they promise."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from heat import GRID, Linear, advance, operator, trainer, trajectories
from thalweg import training
from thalweg.configuration import build
from thalweg.data import TimeWindows
from thalweg.errors import InputError
from thalweg.fem import compile_form, export
from thalweg.operators import Operator
from thalweg.training import (
    FormEnergy,
    FormResidual,
    Mixed,
    Objective,
    Pool,
    RelativeNorm,
    Rollout,
    SchemeResidual,
    WeightedSum,
    rollout,
)

L2 = RelativeNorm(GRID, "u", "L2")


def exact(fields: dict[str, Tensor]) -> dict[str, Tensor]:
    """The solution operator of one step."""
    return {"u": advance(fields["u"])}


def stepper() -> Operator:
    return operator(source="u")


class Recorder:
    """The exact operator, which remembers what it was given and whether gradients were wanted."""

    def __init__(self, factor: float = 1.0):
        self.given: list[Tensor] = []
        self.with_gradient: list[bool] = []
        self.factor = torch.tensor(factor, requires_grad=True)

    def __call__(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        self.given.append(fields["u"])
        self.with_gradient.append(torch.is_grad_enabled())
        return {"u": self.factor * advance(fields["u"])}


def one_step_residual(prediction: dict[str, Tensor], fields: dict[str, Tensor]) -> Tensor:
    return prediction["u"] - advance(fields["previous_u"])


def test_the_exact_operator_has_no_loss_under_any_objective():
    batch = trajectories(4, 8).batch(range(4))
    residual = SchemeResidual(one_step_residual)
    for objective in (
        Rollout(L2, ["u"], horizon=5, pushforward=2),
        Rollout(residual, ["u"], horizon=3),
        Pool(residual, ["u"], size=9, trajectories=True),
        Mixed({"data": Rollout(L2, ["u"]), "physics": Rollout(residual, ["u"])}, {"data": 1.0, "physics": 0.1}),
    ):
        objective.start(3)
        assert objective(exact, batch) < 1e-5


def test_a_rollout_feeds_back_its_states_and_takes_the_other_fields_from_the_data():
    u = trajectories(3, 6).fields["u"]
    force = torch.randn(3, 6, 1, 8, 8)
    given: list[Tensor] = []

    def step(fields: dict[str, Tensor]) -> dict[str, Tensor]:
        given.append(fields["force"])
        return {"u": fields["u"] + fields["force"]}

    predicted = rollout(step, {"u": u, "force": force, "constant": u[:, 0]}, ["u"], steps=4, start=1)["u"]
    torch.testing.assert_close(predicted, u[:, 1:2] + force[:, 1:5].cumsum(1))
    assert all(torch.equal(value, force[:, i + 1]) for i, value in enumerate(given))


def test_the_horizon_grows_by_one_up_to_its_end():
    objective = Rollout(L2, ["u"], horizon=3, grow_every=10)
    horizons = []
    for step in (0, 9, 10, 20, 100):
        objective.start(step)
        horizons.append(objective.current_horizon)
    assert horizons == [1, 1, 2, 3, 3]


def test_pushforward_steps_carry_no_gradient():
    objective, batch, recorder = Rollout(L2, ["u"], horizon=2, pushforward=3), trajectories(4, 8).batch(range(4)), Recorder(1.1)
    blind = set()
    for step in range(30):
        recorder.with_gradient.clear()
        objective.start(step)
        objective(recorder, batch).backward()
        assert recorder.with_gradient[-2:] == [True, True]
        assert not any(recorder.with_gradient[:-2])
        blind.add(len(recorder.with_gradient) - 2)
    assert blind == {0, 1, 2, 3}
    # The relative error after n blind steps and one more is 1.1^(n+1) − 1, its derivative with the blind steps fixed 1.1^n.
    single = Rollout(L2, ["u"], pushforward=3)
    single.start(0)
    recorder.with_gradient.clear()
    recorder.factor.grad = None
    loss = single(recorder, batch)
    loss.backward()
    n = len(recorder.with_gradient) - 1
    torch.testing.assert_close(loss, torch.tensor(1.1 ** (n + 1) - 1))
    torch.testing.assert_close(recorder.factor.grad, torch.tensor(1.1**n))


def test_noise_has_the_size_that_is_asked_for_and_leaves_targets_exact():
    batch = trajectories(256, 2).batch(range(256))
    recorder, objective = Recorder(), Rollout(L2, ["u"], noise=0.1)
    objective.start(0)
    objective(recorder, batch)
    noise = recorder.given[0] - batch["u"][:, 0]
    assert noise.std().item() == pytest.approx(0.1 * batch["u"][:, 0].square().mean().sqrt().item(), rel=0.05)
    assert torch.equal(batch["u"], trajectories(256, 2).fields["u"])


def test_draws_follow_from_seed_and_step_alone():
    batch = trajectories(4, 8).batch(range(4))

    def draws(step: int, seed: int, warm_up: int = 0) -> Tensor:
        objective, recorder = Rollout(L2, ["u"], pushforward=2, noise=0.1), Recorder()
        for other in range(warm_up):
            objective.start(other, seed)
            objective(recorder, batch)
        recorder.given.clear()
        objective.start(step, seed)
        objective(recorder, batch)
        return recorder.given[0]

    assert torch.equal(draws(5, seed=1), draws(5, seed=1, warm_up=5))
    assert not torch.equal(draws(5, seed=1), draws(6, seed=1))
    assert not torch.equal(draws(5, seed=1), draws(5, seed=2))


def test_a_pool_holds_states_that_the_operator_has_reached():
    batch = trajectories(4, 1).batch(range(4))
    start = {"u": batch["u"][:, 0]}
    objective, recorder = Pool(SchemeResidual(one_step_residual), ["u"], size=4, reset=0.0), Recorder()
    for step in range(6):
        objective.start(step)
        objective(recorder, start)
    # Every slot is served in every step, in random order: the sixth step starts from the states after five.
    after_five = advance(start["u"], 5)
    order = torch.cdist(recorder.given[-1].flatten(1), after_five.flatten(1)).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    torch.testing.assert_close(recorder.given[-1], after_five[order], atol=1e-5, rtol=0)


def test_a_step_begun_again_starts_from_the_same_pool():
    start = {"u": trajectories(4, 1).fields["u"][:, 0]}
    objective, recorder = Pool(SchemeResidual(one_step_residual), ["u"], size=8, reset=0.3), Recorder()
    for step in (0, 1, 2, 2):
        objective.start(step)
        objective(recorder, start)
    assert torch.equal(recorder.given[2], recorder.given[3])
    assert not torch.equal(recorder.given[1], recorder.given[2])


def test_a_pool_forgets_states_that_grow_without_bound():
    start = {"u": trajectories(4, 1).fields["u"][:, 0]}
    objective, recorder = Pool(SchemeResidual(one_step_residual), ["u"], size=4, reset=0.0, limit=50.0), Recorder(10.0)
    for step in range(9):
        objective.start(step)
        objective(recorder, start)
    largest = max(float(given.abs().max()) for given in recorder.given)
    assert 5 * start["u"].abs().max() < largest <= 50 * start["u"].abs().max()


def test_a_pool_reports_what_it_drops(caplog: pytest.LogCaptureFixture):
    start = {"u": trajectories(4, 1).fields["u"][:, 0]}
    growing, steady = (Pool(SchemeResidual(one_step_residual), ["u"], size=4, reset=0.0, limit=50.0) for _ in range(2))
    for objective, gain in ((growing, 10.0), (steady, 1.0)):
        recorder = Recorder(gain)
        for step in range(4):
            objective.start(step)
            objective(recorder, start)
    with caplog.at_level("WARNING", logger="thalweg"):
        assert Mixed({"physics": steady}, {"physics": 1.0}).report() == {"physics_pool_dropped": 0.0}
        assert not caplog.records
        dropped = growing.report()["pool_dropped"]
    # Tenfold in every step: all pass 50 in the second step, or in the third that started from nearly nothing, and begin anew.
    assert 0.25 <= dropped <= 0.75
    assert f"{round(16 * dropped)} of the pool's 16 states went beyond its limit" in caplog.text
    assert growing.report() == {"pool_dropped": 0.0}


def test_a_pool_keeps_states_that_started_at_rest_and_drops_what_is_not_finite():
    start = {"u": torch.zeros(4, 1, 8, 8)}
    for value, kept in ((1.0, True), (float("nan"), False), (float("inf"), False)):
        objective = Pool(lambda prediction, fields: prediction["u"].mean(), ["u"], size=4, reset=0.0)
        for step in range(3):
            objective.start(step)
            objective(lambda fields, value=value: {"u": fields["u"] + value}, start)
        state = objective.get_extra_state()
        assert bool(state["filled"].all()) is bool(state["filled"].any()) is kept
        if kept:
            assert torch.equal(state["slots"]["u"], torch.full((4, 1, 8, 8), 3.0))


def test_a_pool_trains_an_operator_without_data(tmp_path: Path):
    data = {"train": trajectories(40, 1), "valid": trajectories(10, 8, seed=1)}
    objective = Pool(SchemeResidual(one_step_residual), ["u"], size=64, reset=0.1, trajectories=True)
    untrained = training.validate(stepper(), data["valid"], {"l2": L2}, 8, objective.predict)["l2"]
    run = trainer(tmp_path, {"epochs": 30}, loss=objective, make_operator=stepper, **data)
    assert run.run()["best"] < 0.35 * untrained


def test_training_on_windows_sees_all_of_them(tmp_path: Path):
    windows = TimeWindows(trajectories(10, 6), history=1, horizon=2)
    run = trainer(
        tmp_path,
        {"epochs": 4},
        train=windows,
        valid=trajectories(4, 6),
        loss=Rollout(L2, ["u"], horizon=2),
        make_operator=stepper,
    )
    assert run.steps_per_epoch == 5  # 10 trajectories of 4 windows, 8 at a time
    untrained = training.validate(run.operator, run.valid, {"l2": L2}, 8, run.objective.predict)["l2"]
    assert run.run()["best"] < 0.8 * untrained


def test_weighted_sums_and_mixtures_are_the_sums_of_their_parts():
    batch = trajectories(4, 3).batch(range(4))
    step = operator(source="u")
    data, physics = L2, SchemeResidual(one_step_residual)
    parts = [Rollout(loss, ["u"])(step, batch) for loss in (data, physics)]
    weights = {"data": 1.0, "physics": 0.25}
    whole = Rollout(WeightedSum({"data": data, "physics": physics}, weights), ["u"])(step, batch)
    mixed = Mixed({"data": Rollout(data, ["u"]), "physics": Rollout(physics, ["u"])}, weights)
    mixed.start(0)
    torch.testing.assert_close(whole, parts[0] + 0.25 * parts[1])
    torch.testing.assert_close(mixed(step, batch), whole)


def test_wrong_batches_and_operators_are_explained():
    batch = trajectories(4, 3).batch(range(4))
    with pytest.raises(InputError, match="need 5 frames"):
        Rollout(L2, ["u"], horizon=4)(exact, batch)
    with pytest.raises(InputError, match="no state 'w'"):
        Rollout(L2, ["w"])(exact, batch)
    with pytest.raises(InputError, match="predicts 'v', not the state 'u'"):
        Rollout(L2, ["u"])(lambda fields: {"v": fields["u"]}, batch)
    with pytest.raises(InputError, match="pool of 2 slots"):
        Pool(L2, ["u"], size=2, trajectories=True)(exact, batch)
    with pytest.raises(InputError, match="a list of field names"):
        Rollout(L2, "u")


class Dofs(Linear):
    """The solution itself as parameters, one vector of dofs for the single sample."""

    def __init__(self, g: Tensor, free: Tensor):
        super().__init__()
        self.g, self.free = g, free
        self.factor = torch.nn.Parameter(torch.zeros_like(g))

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"u": self.g + self.free * self.factor}


def test_minimising_a_compiled_residual_solves_the_equation(dataset: Path):
    from thalweg.data import FieldDataset

    data = FieldDataset(dataset / "data", range(1), dtype=torch.float64)
    disc, batch = data.discretization, data.batch([0])
    tags = [tag for tag in disc["V"].tags if tag != "on_boundary"]
    free = torch.ones(disc["V"].num_dofs, dtype=torch.float64)
    free[disc["V"].boundary_dofs(tags)] = 0
    riesz = {"hierarchy": {"_hierarchy_": ["V", "V1", "V2"]}, "matrices": ["stiffness"], "dirichlet": tags, "cycles": 3}
    configured = {"residual": {"_form_": "residual"}, "riesz": {"_target_": "thalweg.fem.RieszMap"} | riesz}
    loss = build({"_target_": "thalweg.training.FormResidual"} | configured, disc)
    del batch["u"]  # the residual needs no solution
    solution = Dofs(batch["g"], free)
    objective, optimizer = Objective(loss), torch.optim.LBFGS(solution.parameters(), max_iter=120, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective(solution, batch)
        value.backward()
        return value

    optimizer.step(closure)
    with pytest.raises(InputError, match="needs the field 'f', but was given 'g', 'u'"):
        loss({"u": batch["g"]}, {"g": batch["g"]})
    u = data.batch([0])["u"]
    error = disc["V"].norm(solution(batch)["u"] - u, "H1") / disc["V"].norm(u, "H1")
    assert error < 1e-3


def test_the_energy_of_a_prediction_is_firedrakes():
    from thalweg.fem.firedrake import firedrake

    fd = firedrake()
    V = fd.FunctionSpace(fd.UnitSquareMesh(3, 3), "CG", 1)
    x, y = fd.SpatialCoordinate(V.mesh())
    u, f = fd.Function(V, name="u").interpolate(x * x + y), fd.Function(V, name="f").interpolate(1 + x * y)
    k = fd.Constant(2.0, name="k")
    energy = (k / 2 * fd.inner(fd.grad(u), fd.grad(u)) - f * u) * fd.dx
    disc = export({"V": V}, dtype=torch.float64)
    form = compile_form(energy, disc)
    loss = FormEnergy(form, {"f": "source", "k": 2.0})
    prediction, fields = {"u": torch.tensor(u.dat.data_ro)[None]}, {"source": torch.tensor(f.dat.data_ro)[None]}
    torch.testing.assert_close(loss(prediction, fields), torch.tensor(fd.assemble(energy), dtype=torch.float64))
    with pytest.raises(InputError, match="no argument 'kappa'; it depends on"):
        FormEnergy(form, {"kappa": 1.0})
    with pytest.raises(InputError, match="Use FormResidual"):
        FormEnergy(compile_form(fd.derivative(energy, u), disc))
    with pytest.raises(InputError, match="this one is a functional"):
        FormResidual(form, torch.nn.Identity())
