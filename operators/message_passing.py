"""Message passing on the graph of the degrees of freedom, the processor of the first SPON (Bouziani and Boullé, arXiv 2410.01065)."""

from itertools import pairwise

from torch import Tensor, nn

from ..fem import Space
from .graph import DofGraph


class MessageBlock(nn.Module):
    """h_i ← h_i + MLP(h_i, mean_j m_ij), m_ij = W gelu(A h_i + B h_j + C e_ij + d), on features ``(nodes, batch, channels)``.

    A and B act on nodes, and W after the mean, so that an edge costs a sum and an activation.
    """

    def __init__(self, channels: int, edge_features: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.at_target = nn.Linear(channels, channels)
        self.at_source = nn.Linear(channels, channels, bias=False)
        self.at_edge = nn.Linear(edge_features, channels, bias=False)
        self.own = nn.Linear(channels, 2 * channels)
        self.message = nn.Linear(channels, 2 * channels, bias=False)
        self.contract = nn.Linear(2 * channels, channels)

    def forward(self, h: Tensor, graph: DofGraph) -> Tensor:
        z = self.norm(h)
        along = self.at_source(z)[graph.source] + self.at_target(z)[graph.target] + self.at_edge(graph.features)[:, None]
        messages = graph.mean.on_nodes(nn.functional.gelu(along))
        return h + self.contract(nn.functional.gelu(self.own(z) + self.message(messages)))


class MessagePassingProcessor(nn.Module):
    """Blocks of message passing, ``(batch, in_channels, nodes) -> (batch, out_channels, nodes)``.

    Information moves one cell a block: for elliptic problems give it as many blocks as the mesh has cells across, or use
    :class:`CoarseProcessor`. Weights belong to no mesh. Good values: 32 to 128 channels, 6 to 15 blocks.

    Args:
        space: whose nodes the channels live on.
    """

    def __init__(self, space: Space, in_channels: int, out_channels: int = 1, channels: int = 64, blocks: int = 8):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.graph = DofGraph(space)
        self.lift = nn.Linear(in_channels, channels)
        self.blocks = nn.ModuleList(MessageBlock(channels, self.graph.features.shape[1]) for _ in range(blocks))
        self.project = nn.Linear(channels, out_channels)

    def forward(self, channels: Tensor) -> Tensor:
        h = self.lift(channels.permute(2, 0, 1).contiguous())
        for block in self.blocks:
            h = block(h, self.graph)
        return self.project(h).permute(1, 2, 0)


class PointwiseProcessor(nn.Module):
    """One network at every node, ``(batch, in_channels, nodes) -> (batch, out_channels, nodes)``: for local laws, and as a lower bar.

    Good values: 64 channels, 3 layers.
    """

    def __init__(self, in_channels: int, out_channels: int = 1, channels: int = 64, layers: int = 3):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        widths = [in_channels, *[channels] * layers]
        hidden = [part for i, o in pairwise(widths) for part in (nn.Linear(i, o), nn.GELU())]
        self.network = nn.Sequential(*hidden, nn.Linear(widths[-1], out_channels))

    def forward(self, channels: Tensor) -> Tensor:
        return self.network(channels.transpose(1, 2)).transpose(1, 2)
