"""Convolutions in three dimensions that are fast for one small box, too."""

import torch
from torch import Tensor, nn


class BoxConvolution(nn.Conv3d):
    """As ``Conv3d``, by oneDNN also for a single small box on a CPU, for which torch chooses kernels that are 5 to 10 times slower."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        single = input.dim() == 5 and len(input) == 1 and input.device.type == "cpu" and input.dtype == torch.float32
        if not single or isinstance(self.padding, str) or not torch.backends.mkldnn.is_available():
            return super()._conv_forward(input, weight, bias)
        padding = self.padding
        if self.padding_mode != "zeros":
            input = nn.functional.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0, 0, 0)
        return torch.mkldnn_convolution(input, weight, bias, padding, self.stride, self.dilation, self.groups)


def with_box_convolutions(network: nn.Module) -> nn.Module:
    """The network with its ``Conv3d`` layers, and their parameters, as :class:`BoxConvolution`."""
    for part in network.modules():
        if type(part) is nn.Conv3d:
            part.__class__ = BoxConvolution
    return network
