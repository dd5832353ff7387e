"""A processor for fields that few numbers decide: learned modes with coefficients by a small network, a reduced basis."""

import torch
from torch import Tensor, nn

from ..fem import Space


class ModalProcessor(nn.Module):
    """Σ_k c_k(z̄) φ_k with learned modes φ_k at the nodes and a network c of the channels' means z̄ over the domain.

    ``(batch, in_channels, nodes) -> (batch, out_channels, nodes)``. It suits families of a few parameters and little data, and belongs to
    its mesh. As in DeepONet (Lu et al., Nat. Mach. Intell. 3, 2021) with a trunk that is a table. Good values: 4 to 16 modes.

    Args:
        space: whose nodes the channels live on.
        modes: their number.
        width: of the network's two hidden layers.
        homogeneous: coefficients c(z̄) − c(0), so that zero gives zero, as a departure from what is without control should.
    """

    weights: Tensor

    def __init__(
        self, space: Space, in_channels: int, out_channels: int = 1, modes: int = 8, width: int = 32, homogeneous: bool = False
    ):
        super().__init__()
        self.in_channels, self.out_channels, self.homogeneous = in_channels, out_channels, homogeneous
        mass = space.mass.diagonal()[:: space.element.block_size]
        self.register_buffer("weights", (mass / mass.sum()).to(space.mass.val), persistent=False)
        self.network = nn.Sequential(
            nn.Linear(in_channels, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, modes)
        )
        self.modes = nn.Parameter(0.1 * torch.randn(modes, out_channels, space.num_nodes))

    def forward(self, channels: Tensor) -> Tensor:
        means = channels @ self.weights
        coefficients = self.network(means)
        if self.homogeneous:
            coefficients = coefficients - self.network(torch.zeros_like(means[:1]))
        return torch.einsum("bk,kcn->bcn", coefficients, self.modes)
