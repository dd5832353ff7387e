"""Mixed precision: the operator in bfloat16 or TF32, everything that measures or must be exact in float32.

Only the application of the operator runs under autocast. Its outputs come back in the precision of its inputs, so losses, norms and
residuals never see less. Inside it, sparse finite-element products are computed in the precision of their matrices, and so are the
encoder and the decoder of a SPON, which makes what these enforce exact. Weights, gradients and the optimiser's state stay in float32.
bfloat16 has float32's exponents, so gradients need no scaling.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .settings import Precision


class Autocast(nn.Module):
    """An operator whose matrix products and convolutions run in bfloat16; fields come and go in their own precision."""

    def __init__(self, operator: nn.Module):
        super().__init__()
        self.operator = operator

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        like = next(iter(fields.values()))
        with torch.autocast(like.device.type, torch.bfloat16):
            prediction = self.operator(fields)
        return {name: values.to(like.dtype) for name, values in prediction.items()}


def in_precision(operator: nn.Module, precision: Precision) -> nn.Module:
    """The operator as it is to be applied in training."""
    return Autocast(operator) if precision == "bfloat16" else operator


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Let CUDA use TF32 in products and convolutions, or forbid it: "float32" means float32."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
