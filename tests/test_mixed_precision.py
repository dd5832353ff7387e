"""In bfloat16 only the processor is in bfloat16: what encoders evaluate and decoders enforce holds to the rounding of float32."""

import firedrake as fd
import pytest
import torch

from thalweg.fem import Discretization, Grid, SaddleSolver, export
from thalweg.operators import SPON, FormEncoder, MgNO, PointwiseProcessor, SolenoidalDecoder
from thalweg.operators.mgno import Architecture
from thalweg.training.precision import Autocast


@pytest.fixture(scope="module")
def channel() -> Discretization:
    """Taylor and Hood's elements in a box, and the weak form of transport."""
    mesh = fd.UnitSquareMesh(6, 6)
    V, Q = fd.VectorFunctionSpace(mesh, "CG", 2), fd.FunctionSpace(mesh, "CG", 1)
    u, v = fd.Function(V, name="u"), fd.TestFunction(V)
    transport = (fd.inner(fd.dot(fd.grad(u), u), v) + fd.inner(fd.grad(u), fd.grad(v))) * fd.dx
    return export({"V": V, "Q": Q}, products=[("V", "Q")], forms={"transport": transport}).float()


def test_projections_and_forms_are_as_exact_as_in_single_precision(channel: Discretization):
    V, Q, B = channel["V"], channel["Q"], channel.product("V", "Q")
    solver = SaddleSolver(V, Q, B, ("1", "3", "4"))
    encoder = FormEncoder(V, channel.form("transport"))
    torch.manual_seed(0)
    spon = SPON(encoder, PointwiseProcessor(2, 2, 16), SolenoidalDecoder(V, "u", solver))
    x, y = V.points.float().T
    u = torch.stack([y * (1 - y), x * 0], dim=-1).flatten()[None]
    fields = {"u": torch.cat([u, 2 * u])}
    dtypes = []
    spon.processor.register_forward_hook(lambda module, inputs, output: dtypes.extend((inputs[0].dtype, output.dtype)))
    with torch.no_grad():
        exact, low = spon(fields)["u"], Autocast(spon)(fields)["u"]
    assert dtypes == [torch.float32, torch.float32, torch.float32, torch.bfloat16]
    assert not torch.equal(exact, low)
    divergence = [B(w).norm() / B(w.abs()).norm() for w in (exact, low)]
    assert divergence[1] < 3 * divergence[0] < 1e-5


@pytest.mark.parametrize("mixing", ["diagonal", "full"])
def test_cycles_for_the_coefficient_of_each_sample_run_in_bfloat16(mixing: str):
    torch.manual_seed(0)
    architecture = Architecture(operator=("coefficient",), coefficient="galerkin", mixing=mixing, closure=8)
    operator = MgNO(Grid((17, 17)), {"a": 1}, {"u": 1}, architecture, dirichlet=["x0", "x1", "y0", "y1"], coefficient="a")
    fields = {"a": 0.5 + torch.rand(2, 1, 17, 17)}
    exact, low = operator(fields)["u"], Autocast(operator)(fields)["u"]
    assert 0 < (low - exact).norm() < 0.03 * exact.norm()
    gradients = [torch.autograd.grad(u.square().mean(), operator.network.head)[0] for u in (exact, low)]
    assert (gradients[1] - gradients[0]).norm() < 0.1 * gradients[0].norm()
