"""Exported operators run where only torch and h5py are, for any batch size, and give what the operator gives."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import firedrake as fd
import h5py
import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

from small import configuration
from thalweg import fem
from thalweg.commands import export, train
from thalweg.commands.run import Run
from thalweg.errors import FileError, InputError, MissingPackageError
from thalweg.fem import SparseMatrix
from thalweg.fem.portable_matrix import PortableMatrix, portable
from thalweg.fem.uniform_grid import Grid, Grids
from thalweg.operators import (
    SPON,
    InterpolationEncoder,
    L2ProjectionEncoder,
    MeshGraphNet,
    Operator,
    PlainDecoder,
    build_operator,
)
from thalweg.operators.export import export_operator, load_exported

ELSEWHERE = """
    import sys

    class Nothing:
        def find_spec(self, name, path=None, target=None):
            top = name.split(".")[0]
            if top in ("thalweg", "firedrake", "hydra", "omegaconf", "scipy", "safetensors", "meshio", "matplotlib", "rich"):
                raise ImportError(f"{name} is not here")

    sys.meta_path.insert(0, Nothing())
    import json
    import h5py
    import torch

    extra = {"thalweg.json": ""}
    operator = torch.export.load("operator.pt2", extra_files=extra).module()
    description = json.loads(extra["thalweg.json"])
    with h5py.File("inputs.h5") as file:
        fields = {name: torch.from_numpy(file[name][()]) for name in description["inputs"]}
    with torch.no_grad(), h5py.File("outputs.h5", "w") as file:
        for name, values in operator(fields).items():
            file[name] = values.numpy()
    assert not any(name.split(".")[0] == "thalweg" for name in sys.modules)
"""


def test_a_trained_operator_predicts_where_only_torch_and_h5py_are(dataset: Path, tmp_path: Path):
    small = ["operator.processor.blocks=1", "+operator.processor.coarse=2", "training.loop.epochs=1"]
    train.run(configuration("train", dataset, *small, f"folder={tmp_path / 'run'}"))
    description = export.run(configuration("export", tmp_path, f"run={tmp_path / 'run'}", f"output={tmp_path / 'operator.pt2'}"))
    run = Run(str(tmp_path / "run"), "cpu")
    disc = run.discretization()
    fields = run.data("test", disc).batch(slice(0, 5))
    with h5py.File(tmp_path / "inputs.h5", "w") as file:
        for name in ("f", "g"):
            file[name] = fields[name].numpy()
    subprocess.run([sys.executable, "-c", textwrap.dedent(ELSEWHERE)], check=True, cwd=tmp_path)
    with torch.no_grad():
        expected = run.operator(disc)(fields)["u"].numpy()
    with h5py.File(tmp_path / "outputs.h5") as file:
        u = np.asarray(file["u"])
    np.testing.assert_allclose(u, expected, rtol=0, atol=1e-5 * abs(expected).max())
    boundary = disc["V"].boundary_dofs()
    assert np.array_equal(u[:, boundary], fields["g"][:, boundary].numpy())

    assert list(description["inputs"]) == ["f", "g"]
    assert description["outputs"]["u"] == {"shape": ["batch", disc["V"].num_dofs], "dtype": "float32", "space": "V"}
    assert np.array_equal(description["spaces"]["V"]["points"], disc["V"].points.numpy())
    _, again = load_exported(tmp_path / "operator.pt2")
    assert again == json.loads(json.dumps(description))
    # Nothing that the program does not need, such as the Gram matrices: 4 bytes for every nonzero and column that it does.
    assert (tmp_path / "operator.pt2").stat().st_size < 6e6


@pytest.mark.parametrize("primitive", ["embedding_bag", "index_add"])
def test_portable_products_are_the_products(primitive):
    A = scipy.sparse.random(30, 20, 0.2, random_state=0, format="csr")
    empty_row = scipy.sparse.diags((np.arange(30) != 4).astype(float))
    matrix = SparseMatrix(empty_row @ A, torch.float64)
    same = PortableMatrix.of(matrix, primitive)
    h = torch.randn(20, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(same.on_nodes(h), matrix.on_nodes(h))
    torch.testing.assert_close(same.T.on_nodes(same.on_nodes(h)), matrix.T.on_nodes(matrix.on_nodes(h)))
    torch.testing.assert_close(same.adjoint_on_nodes(same.on_nodes(h)), matrix.T.on_nodes(matrix.on_nodes(h)))
    torch.testing.assert_close(same(h[..., 0].T.float()), matrix(h[..., 0].T.float()))
    pair = portable(nn.ModuleList([matrix, nn.ModuleDict({"again": matrix})]), primitive)
    assert isinstance(pair[0], PortableMatrix)
    assert pair[0] is pair[1]["again"]


@pytest.fixture(scope="module")
def disc() -> fem.Discretization:
    mesh = fd.UnitSquareMesh(3, 3)
    spaces = {"V": fd.FunctionSpace(mesh, "CG", 1), "Q": fd.FunctionSpace(mesh, "DG", 0)}
    return fem.export(spaces, products=[("Q", "V")], dtype=torch.float32)


def test_a_graph_network_behind_a_projection_is_exported(disc: fem.Discretization, tmp_path: Path):
    """Conjugate gradients, gathers and sums over edges, in the trace."""
    V = disc["V"]
    encoder = L2ProjectionEncoder(V, {"q": disc.product("Q", "V")})
    operator = SPON(encoder, MeshGraphNet(V, 1, width=8, steps=1), PlainDecoder(V, "u")).eval()
    fields = {"q": torch.randn(3, disc["Q"].num_dofs), "unused": torch.randn(3, 2)}
    description = export_operator(operator, fields, tmp_path / "graph.pt2")
    assert list(description["inputs"]) == ["q"]
    program, _ = load_exported(tmp_path / "graph.pt2")
    one = {"q": fields["q"][:1]}
    torch.testing.assert_close(program(one)["u"], operator(one)["u"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["FNO", "UNet", "Transolver"])
def test_baselines_on_grids_are_exported(name: str, tmp_path: Path):
    small = {"FNO": {"modes": [3, 3], "width": 4, "layers": 1}, "UNet": {"width": 4, "levels": 1}}
    small |= {"Transolver": {"space": {"_space_": "grid"}, "width": 8, "layers": 1, "heads": 2}}
    network = {"_target_": f"thalweg.operators.{name}", "in_channels": 2, "out_channels": 1, **small[name]}
    grids = Grids({"grid": Grid((9, 8), (1.0, 2.0))})
    config = {
        "_target_": "thalweg.operators.GridOperator",
        "grid": {"_space_": "grid"},
        "network": network,
        "inputs": {"a": 2},
        "outputs": {"u": 1},
    }
    operator = build_operator(config, grids).eval()
    operator.set_scales({"a": 3 + torch.randn(5, 2, 9, 8), "u": torch.randn(5, 1, 9, 8)})
    a = torch.randn(2, 2, 9, 8)
    description = export_operator(operator, {"a": a}, tmp_path / "grid.pt2", {"a": "grid", "u": "grid"}, grids)
    assert description["spaces"]["grid"]["lengths"] == (1.0, 2.0)
    assert description["operator"] == config
    program, _ = load_exported(tmp_path / "grid.pt2")
    torch.testing.assert_close(program({"a": a[:1]})["u"], operator({"a": a[:1]})["u"], rtol=1e-4, atol=1e-5)


def test_multigrid_for_the_coefficients_of_each_sample_is_exported(tmp_path: Path):
    """Their matrices are as many as samples, which an exported program does not know."""
    grids = Grids({"grid": Grid((17, 17))})
    architecture = {"_target_": "thalweg.operators.mgno.Architecture", "features": 2, "iterates": 1, "layers": 1}
    architecture |= {"operator": ["coefficient"], "source": ["mass"], "mixing": "diagonal", "coefficient": "galerkin"}
    config = {"_target_": "thalweg.operators.MgNO", "grid": {"_space_": "grid"}, "inputs": {"a": 1}, "outputs": {"u": 1}}
    config |= {"architecture": architecture, "dirichlet": ["x0", "x1", "y0", "y1"], "coefficient": "a"}
    operator = build_operator(config, grids).eval()
    fields = {"a": 1 + torch.rand(2, 1, 17, 17)}
    export_operator(operator, fields, tmp_path / "mgno.pt2")
    called = {str(node.target) for node in torch.export.load(tmp_path / "mgno.pt2").graph.nodes if node.op == "call_function"}
    assert not [name for name in called if name.startswith("thalweg")]
    program, _ = load_exported(tmp_path / "mgno.pt2")
    five = {"a": 1 + torch.rand(5, 1, 17, 17)}
    torch.testing.assert_close(program(five)["u"], operator(five)["u"], rtol=1e-4, atol=1e-6)


def test_an_operator_in_training_is_exported_as_it_will_be_used_and_stays_as_it_is(tmp_path: Path):
    grids = Grids({"grid": Grid((8, 8))})
    network = {"_target_": "thalweg.operators.UNet", "in_channels": 1, "out_channels": 1, "width": 4, "levels": 1}
    config = {"_target_": "thalweg.operators.GridOperator", "grid": {"_space_": "grid"}, "network": network}
    operator = build_operator(config | {"inputs": {"a": 1}, "outputs": {"u": 1}}, grids).train()
    operator({"a": 3 + torch.randn(4, 1, 8, 8)})
    before = {name: values.clone() for name, values in operator.state_dict().items()}
    a = torch.randn(2, 1, 8, 8)
    export_operator(operator, {"a": a}, tmp_path / "unet.pt2")
    assert operator.training
    assert all(parameter.requires_grad for parameter in operator.parameters())
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(values, before[name]) for name, values in operator.state_dict().items())
    program, _ = load_exported(tmp_path / "unet.pt2")
    torch.testing.assert_close(program({"a": a})["u"], operator.eval()({"a": a})["u"], rtol=1e-4, atol=1e-5)


class Hiding(Operator):
    """An operator whose matrix is in a list, where nobody looks for it."""

    def __init__(self):
        super().__init__()
        self.matrices = [SparseMatrix(scipy.sparse.eye(5).tocsr())]

    def forward(self, fields):
        return {"u": self.matrices[0](fields["u"])}


class Looking(Operator):
    """An operator that decides by a value."""

    def forward(self, fields):
        return {"u": fields["u"] if fields["u"].sum() > 0 else -fields["u"]}


def test_what_cannot_be_exported_is_said(disc: fem.Discretization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    V = disc["V"]
    operator = SPON(InterpolationEncoder(V, {"f": None}), MeshGraphNet(V, 1, width=4, steps=1), PlainDecoder(V, "u"))
    f = {"f": torch.zeros(2, V.num_dofs)}
    with pytest.raises(InputError, match=r"something\.pt2 or something\.onnx, not 'a\.pth'"):
        export_operator(operator, f, tmp_path / "a.pth")
    with pytest.raises(InputError, match="at least two samples"):
        export_operator(operator, {"f": f["f"][:1]}, tmp_path / "a.pt2")
    with pytest.raises(InputError, match=r"calls thalweg\.spmm\.default, which torch alone does not have"):
        export_operator(Hiding(), {"u": torch.zeros(2, 5)}, tmp_path / "a.pt2")
    with pytest.raises(InputError, match="must not depend on the values of fields"):
        export_operator(Looking(), {"u": f["f"]}, tmp_path / "a.pt2")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'thalweg\[onnx\]'"):
        export_operator(operator, f, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.pt2").write_bytes(b"nothing")
    with pytest.raises(FileError, match="Export it again"):
        load_exported(tmp_path / "b.pt2")


def test_an_onnx_file_gives_what_the_operator_gives(disc: fem.Discretization, tmp_path: Path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    V = disc["V"]
    operator = SPON(InterpolationEncoder(V, {"f": None}), MeshGraphNet(V, 1, width=4, steps=1), PlainDecoder(V, "u")).eval()
    export_operator(operator, {"f": torch.randn(2, V.num_dofs)}, tmp_path / "a.onnx")
    f = torch.randn(5, V.num_dofs)
    (u,) = runtime.InferenceSession(tmp_path / "a.onnx").run(None, {"f": f.numpy()})
    np.testing.assert_allclose(u, operator({"f": f})["u"].detach().numpy(), rtol=1e-4, atol=1e-5)
