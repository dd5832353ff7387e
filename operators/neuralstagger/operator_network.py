"""Operators on named fields as networks on channels, so that NeuralStagger can wrap them, too."""

from collections.abc import Callable

from torch import Tensor, nn

from ..operator import Operator


class OperatorNetwork(nn.Module):
    """An operator on a grid, such as :class:`MgNO`, as ``(batch, in_channels, x, y[, z]) -> (batch, out_channels, x, y[, z])``.

    Its grid is that of the sub-grids: ``partial(OperatorNetwork, partial(MgNO, Grid((32, 32), periodic=True)))`` for 64² points and the
    factors (2, 2). Its scales stay 1, for what it sees is scaled already.

    Args:
        operator: from ``inputs`` and ``outputs``, channels by name, to an operator.
        in_channels, out_channels: of the fields.
    """

    def __init__(self, operator: Callable[..., Operator], in_channels: int, out_channels: int):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.operator = operator(inputs={"given": in_channels}, outputs={"change": out_channels})

    def forward(self, u: Tensor) -> Tensor:
        return self.operator({"given": u})["change"]
