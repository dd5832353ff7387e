"""Metrics are what a hand computation gives, and do not depend on how samples are batched."""

import math

import firedrake as fd
import numpy as np
import pytest
import torch
from torch import Tensor

from thalweg import fem
from thalweg.data import FieldDataset
from thalweg.errors import InputError
from thalweg.fem.uniform_grid import Grid, Grids
from thalweg.operators import Operator
from thalweg.training import Rollout, evaluate
from thalweg.training.metrics import (
    VRMSE,
    BoundaryError,
    BoundaryErrors,
    DecorrelationTime,
    DivergenceNorm,
    ErrorOverTime,
    FunctionalError,
    IntegralError,
    MassDefect,
    MaximumError,
    Metric,
    RelativeNorm,
    SpectralError,
    accumulate,
    finish,
    merge,
)

GRID = Grid((12, 10), (2.0, 1.0), (True, True), "centre")


@pytest.fixture(scope="module")
def spaces():
    mesh = fd.UnitSquareMesh(4, 3)
    return {
        "V": fd.FunctionSpace(mesh, "CG", 2),
        "W": fd.VectorFunctionSpace(mesh, "CG", 2),
        "R": fd.FunctionSpace(mesh, "RT", 2),
        "Q": fd.FunctionSpace(mesh, "DG", 1),
    }


@pytest.fixture(scope="module")
def disc(spaces) -> fem.Discretization:
    mesh = spaces["V"].mesh()
    u, n = fd.Function(spaces["W"], name="u"), fd.FacetNormal(mesh)
    k = fd.Function(spaces["V"], name="k")
    outflow = k * fd.inner(u, n) * fd.ds(2)
    return fem.export(spaces, derivatives=[("R", "Q")], forms={"outflow": outflow})


def value(metric: Metric, u: Tensor, v: Tensor, **fields: Tensor) -> Tensor:
    return metric.each({"u": u}, {"u": v, **fields})


def fields(space, *shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, space.num_dofs, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


def function(V, dofs: Tensor):
    return fd.Function(V, dofs.numpy().reshape(V.dof_dset.layout_vec.getLocalSize() // V.block_size, -1).squeeze())


def test_relative_norms_are_firedrakes(spaces, disc: fem.Discretization):
    for name, norm in (("V", "L2"), ("V", "H1"), ("R", "Hdiv")):
        u, v = fields(disc[name], 2)
        error = value(RelativeNorm(disc[name], "u", norm), u, v)
        for i in range(2):
            expected = fd.errornorm(function(spaces[name], v[i]), function(spaces[name], u[i]), norm, degree_rise=0)
            expected /= fd.norm(function(spaces[name], v[i]), norm)
            assert error[i].item() == pytest.approx(expected, rel=1e-10)


def test_errors_of_trajectories_are_means_over_frames(disc: fem.Discretization):
    u, v = fields(disc["V"], 3, 4)
    over_time = value(ErrorOverTime(disc["V"], "u", "L2"), u, v)
    frames = torch.stack([value(RelativeNorm(disc["V"], "u", "L2"), u[:, t], v[:, t]) for t in range(4)], dim=1)
    torch.testing.assert_close(over_time, frames)
    torch.testing.assert_close(value(RelativeNorm(disc["V"], "u", "L2"), u, v), frames.mean(1))


def test_grids_play_the_part_of_spaces():
    x, y = GRID.coordinates(torch.float64)
    v = torch.stack([1 + x, y])[None]
    assert value(RelativeNorm(GRID, "u", "L2"), 1.5 * v, v).item() == pytest.approx(0.5)
    assert value(MaximumError("u"), v + 0.25 * (x > 1), v).item() == pytest.approx(0.25)
    assert value(MaximumError("u", relative=True), 2 * v, v).item() == 1


def test_errors_on_the_boundary_are_told_apart_by_tag(disc: fem.Discretization):
    V = disc["V"]
    v = torch.ones(1, V.num_dofs, dtype=torch.float64)
    u = V.interpolate(lambda x: 1 + 3 * (x[:, 0] > 1 - 1e-9)).double()[None]
    metric = BoundaryErrors(V, "u")
    assert metric.labels == ("1", "2", "3", "4")
    left, right, bottom, _ = value(metric, u, v)[0].tolist()
    assert (left, right) == (0, 3)
    # One of the nine nodes of the lower side lies on the right one.
    assert bottom == pytest.approx(3 / math.sqrt(9))
    assert value(BoundaryError(V, "u", "g", "2"), u, v, g=v).item() == 3
    grid = torch.zeros(1, 2, *GRID.shape)
    grid[:, :, 0] = 2
    assert value(BoundaryErrors(GRID, "u", ["x_low", "x_high"]), 1 + grid, torch.ones_like(grid)).tolist() == [[2, 0]]


def test_boundary_parts_have_whatever_names_their_mesh_gives_them():
    mesh = fd.UnitSquareMesh(1, 1)
    mesh.boundary_names = {"wall.left": 1, "wall.right": 2, "type": 3, "": 4}
    V = fem.export({"V": fd.FunctionSpace(mesh, "CG", 1)})["V"]
    metric = BoundaryErrors(V, "u")
    assert set(metric.labels or ()) == {"wall.left", "wall.right", "type", ""}
    v = torch.ones(1, V.num_dofs)
    assert value(metric, 1.5 * v, v).tolist() == [[0.5] * 4]


def test_vrmse_of_the_mean_is_one_whatever_the_units(disc: fem.Discretization):
    V, W = disc["V"], disc["W"]
    f = V.interpolate(lambda x: torch.sin(3 * x[:, 0]) + 5).double()
    mean = (V.mass(f).sum() * torch.ones_like(f))[None]
    assert value(VRMSE(V, "u", 0), mean, f[None]).item() == pytest.approx(1)
    vector = torch.stack([1e3 * f, f], dim=-1).flatten()[None]
    means = torch.stack([1e3 * mean[0], f], dim=-1).flatten()[None]
    assert value(VRMSE(W, "u", 0), means, vector).item() == pytest.approx(0.5)


def test_vrmse_on_grids_is_the_formula_of_the_well():
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 3, 4, 2, *GRID.shape, generator=generator, dtype=torch.float64)
    a, b = u.numpy(), v.numpy()
    expected = np.sqrt(((a - b) ** 2).mean((-2, -1)) / (b.var((-2, -1)) + 1e-7)).mean((1, 2))
    np.testing.assert_allclose(value(VRMSE(GRID, "u"), u, v).numpy(), expected, rtol=1e-12)


def test_the_divergence_of_linear_fields(disc: fem.Discretization):
    solenoidal = disc["W"].interpolate(lambda x: torch.stack([x[:, 1], x[:, 0]], dim=1)).double()
    radial = disc["W"].interpolate(lambda x: x).double()
    metric = DivergenceNorm(disc["W"], "u")
    both = torch.stack([solenoidal, radial])
    assert value(metric, both, both).tolist() == pytest.approx([0, math.sqrt(2)], abs=1e-7)


def test_local_and_global_mass_defects(spaces, disc: fem.Discretization):
    """div (x, 0) = 1; against the source f = 2 each of the cells lacks its area."""
    R, Q, D = disc["R"], disc["Q"], disc.derivative("R", "Q")
    mesh = spaces["R"].mesh()
    x = fd.SpatialCoordinate(mesh)
    u = torch.from_numpy(fd.project(fd.as_vector([x[0], 0 * x[0]]), spaces["R"]).dat.data_ro.copy())[None]
    f = torch.full((1, Q.num_dofs), 2.0, dtype=torch.float64)
    local, total = (MassDefect(Q, "u", D, "f", scope) for scope in ("local", "global"))
    assert value(local, u, u, f=f).item() == pytest.approx(0.5)
    assert value(total, u, u, f=f).item() == pytest.approx(0.5)
    # A source that is right in the mean: balanced as a whole, not in cells.
    s = torch.zeros(Q.num_dofs, dtype=torch.float64)
    s[Q.cell_nodes[::2].flatten()] = 2
    assert value(total, u, u, f=s[None]).item() == pytest.approx(0, abs=1e-7)
    assert value(local, u, u, f=s[None]).item() == pytest.approx(1)
    assert value(MassDefect(Q, "u", D), u, u).item() == pytest.approx(1)
    assert R.num_dofs == u.shape[1]


def test_integrals_drift(disc: fem.Discretization):
    v = disc["V"].interpolate(lambda x: x[:, 0]).double()[None]
    assert value(IntegralError(disc["V"], "u"), v + 0.1, v).item() == pytest.approx(0.2)
    ones = torch.ones(1, 2, *GRID.shape)
    assert value(IntegralError(GRID, "u"), ones * torch.tensor([1.5, 1.0])[:, None, None], ones).item() == pytest.approx(0.25)


def test_a_wave_is_an_error_of_its_band_and_bands_add_up():
    n = 32
    grid = Grid((n, n), (1.0, 1.0), (True, True), "centre")
    x, y = 2 * math.pi * grid.coordinates(torch.float64)
    v = torch.zeros(1, 1, n, n, dtype=torch.float64)
    waves = [2 * torch.sin(3 * x), 3 * torch.cos(4 * x + 3 * y), torch.sin(12 * y)]
    metric = SpectralError(grid, "u")
    assert metric.labels == ("k0_3", "k4_11", "k12_up")
    rms = [math.sqrt(2), 3 / math.sqrt(2), 1 / math.sqrt(2)]
    for i, wave in enumerate(waves):
        expected = [0.0] * 3
        expected[i] = rms[i]
        assert value(metric, v + wave, v)[0].tolist() == pytest.approx(expected, abs=1e-12)
    u = torch.randn(2, 1, n, n, dtype=torch.float64)
    torch.testing.assert_close(value(metric, u, v.expand_as(u)).square().sum(1), u.square().mean((1, 2, 3)))
    assert value(SpectralError(grid, "u", relative=True), 1.5 * v + 1.5 * sum(waves), v + sum(waves))[
        0
    ].tolist() == pytest.approx([0.5] * 3)


def test_the_correlation_falls_at_a_known_time(disc: fem.Discretization):
    """cos θ u + sin θ w with orthogonal u, w has correlation cos θ: 0.8 is passed after θ = 0.6435."""
    V = disc["V"]
    u = V.interpolate(lambda x: torch.cos(math.pi * x[:, 0])).double()
    w = V.interpolate(lambda x: torch.cos(math.pi * x[:, 1])).double()
    w = w * V.norm(u) / V.norm(w)
    angle = torch.arange(1, 9, dtype=torch.float64) * torch.tensor([[0.1], [0.3], [0.01]])
    prediction = 3 + angle.cos()[..., None] * u + angle.sin()[..., None] * w
    truth = u.expand(3, 8, -1) - 7
    assert value(DecorrelationTime(V, "u", 0.5), prediction, truth).tolist() == [3.5, 1.5, 4.0]
    assert value(DecorrelationTime(V, "u", range(8), threshold=0.99), prediction, truth).tolist() == [1, 0, 7]
    prediction[2, 5:] = math.nan
    assert value(DecorrelationTime(V, "u", 1.0), prediction, truth)[2].item() == 6


def test_grids_of_vertices_decorrelate_in_the_inner_product_of_their_functions():
    """Values at the sides count half: about the mean of the points the correlation would be another."""
    grid = Grid((5, 4))
    basis = [torch.ones(1, 5, 4, dtype=torch.float64)]
    for w in torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        w = w - sum(grid.inner(w, b) / grid.inner(b, b) * b for b in basis)
        basis.append(w / grid.norm(w))
    _, u, w = basis
    angles = torch.acos(torch.tensor([0.9, 0.8 + 1e-9, 0.8 - 1e-9, 0.5], dtype=torch.float64))[:, None, None, None]
    prediction = 3 + angles.cos() * u + angles.sin() * w
    assert value(DecorrelationTime(grid, "u", 1.0), prediction[None], (u - 7).expand_as(prediction)[None]).item() == 3


def test_functionals_of_frames_and_of_fields_that_do_not_move(spaces, disc: fem.Discretization):
    """∫ k u·n over the right side: 1/2 for u = (1, 0) and k = y."""
    k = disc["V"].interpolate(lambda x: x[:, 1]).double()
    u = disc["W"].interpolate(lambda x: torch.stack([1 + 0 * x[:, 0], 5 * x[:, 0]], dim=1)).double()
    metric = FunctionalError(disc.form("outflow"))
    assert metric.value({"u": u[None], "k": k[None]}).item() == pytest.approx(0.5)
    frames = torch.stack([u, 2 * u, 4 * u])[None]
    both = {"u": frames, "k": k[None]}
    assert metric.value(both)[0].tolist() == pytest.approx([0.5, 1, 2])
    assert value(metric, 1.5 * frames, frames, k=k[None]).item() == pytest.approx(0.5)
    absolute = FunctionalError(disc.form("outflow"), {"k": "viscosity"}, relative=False)
    assert value(absolute, 1.5 * frames, frames, viscosity=k[None]).item() == pytest.approx(3.5 / 6)


class Everything(Metric):
    """Two labelled numbers, one per frame, a mean or a maximum."""

    def __init__(self, reduction, labels=None):
        super().__init__()
        self.reduction, self.labels = reduction, labels

    def each(self, prediction, truth):
        return (prediction["u"] - truth["u"]).abs()


@pytest.mark.parametrize("size", [1, 3, 5, 11])
def test_ragged_batches_and_several_processes_give_what_one_batch_gives(size: int):
    u, v = torch.randn(2, 11, 2, generator=torch.Generator().manual_seed(0))
    metrics = {"mean": Everything("mean"), "max": Everything("max"), "each": Everything("mean", ("a", "b"))}
    parts = [list(torch.zeros(3, dtype=torch.float64)) for _ in range(3)]
    for i, rows in enumerate(torch.arange(11).split(size)):
        parts[i % 3] = accumulate(parts[i % 3], metrics, {"u": u[rows]}, {"u": v[rows]})
    result = finish(merge(parts, metrics), metrics, 11)
    error = (u - v).abs().double()
    assert result["mean"] == pytest.approx(error.mean(0).tolist())
    assert result["max"] == error.amax(0).tolist()
    assert [result["each_a"], result["each_b"]] == pytest.approx(error.mean(0).tolist())


class Decay(Operator):
    """u ← factor · u, whose rollout from u₀ is factorⁿ u₀."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))
        self.modes: list[bool] = []

    def forward(self, fields):
        self.modes.append(self.training)
        return {"u": self.factor * fields["u"]}


def test_evaluation_rolls_out_and_reports_the_error_of_every_frame():
    """Against frames 0.5ⁿ u₀, the operator 0.6 has the relative error 1.2ⁿ - 1 after n steps."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(7, 1, 1, *GRID.shape, generator=generator)
    frames = start * 0.5 ** torch.arange(5)[:, None, None, None]
    data = FieldDataset.of(Grids({"grid": GRID}), {"u": frames}, {"u": "grid"}, np.arange(5.0), {"seconds_solve": np.arange(7.0)})
    metrics = {"over_time": ErrorOverTime(GRID, "u", "L2"), "l2": RelativeNorm(GRID, "u", "L2")}
    operator = Decay(0.6)
    result = evaluate(operator, data, metrics, batch_size=3, objective=Rollout(metrics["l2"], ["u"]))
    expected = [1.2**n - 1 for n in range(1, 5)]
    assert result["over_time"] == pytest.approx(expected, rel=1e-5)
    assert result["l2"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert (result["steps"], result["num_samples"], result["num_parameters"]) == (4, 7, 1)
    assert result["seconds_per_step"] == result["seconds_per_sample_operator"] / 4
    assert result["seconds_per_sample_solver"] == 3.0
    assert result["peak_memory_mib"] > 10
    assert operator.training
    assert not any(operator.modes)


def test_metrics_say_what_is_wrong(disc: fem.Discretization):
    with pytest.raises(InputError, match="no boundary parts"):
        BoundaryErrors(disc["V"], "u", [])
    V = disc["V"]
    u, v = fields(V, 2)
    with pytest.raises(InputError, match="prediction has no field 'w', only 'u'"):
        RelativeNorm(V, "w").each({"u": u}, {"w": v})
    with pytest.raises(InputError, match="roll the operator out"):
        value(RelativeNorm(V, "u"), u, v[:, None])
    with pytest.raises(InputError, match="has no frames"):
        value(ErrorOverTime(V, "u"), u, v)
    with pytest.raises(InputError, match="There are 3 times for 2 predicted frames"):
        value(DecorrelationTime(V, "u", [1, 2, 3]), u[None], v[None])
    with pytest.raises(InputError, match="no dofs of their own"):
        VRMSE(disc["R"], "u")
    with pytest.raises(InputError, match="does not lead into 'V'"):
        MassDefect(V, "u", disc.derivative("R", "Q"))
    with pytest.raises(InputError, match="has no side 'left'"):
        BoundaryErrors(GRID, "u", ["left"])
    with pytest.raises(InputError, match="increasing positive wave numbers"):
        SpectralError(GRID, "u", (4, 2))
    with pytest.raises(InputError, match="no argument 'q'"):
        FunctionalError(disc.form("outflow"), {"q": "u"})
