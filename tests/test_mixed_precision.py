"""In bfloat16 only the processor is in bfloat16: what encoders evaluate and decoders enforce holds to the rounding of float32."""

import firedrake as fd
import pytest
import torch

from thalweg.fem import Discretization, SaddleSolver, export
from thalweg.operators import SPON, FormEncoder, PointwiseProcessor, SolenoidalDecoder
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
