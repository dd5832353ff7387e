"""MeshGraphNet (Pfaff et al., ICLR 2021, arXiv 2010.03409): messages along the edges of the graph of degrees of freedom."""

from itertools import pairwise

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import Space, SparseMatrix
from ...fem.space import WHOLE_BOUNDARY
from ..graph import DofGraph


def mlp(sizes: list[int], normalise: bool = True) -> nn.Sequential:
    """The paper's network: ReLU between linear layers, layer normalisation at the end."""
    parts: list[nn.Module] = []
    for a, b in pairwise(sizes):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1], *([nn.LayerNorm(sizes[-1])] if normalise else []))


class MessagePassing(nn.Module):
    """e ← e + f_e(e, h_sender, h_receiver), then h ← h + f_h(h, Σ e) over the edges into each node.

    The first layer of f_e is linear in its three arguments, so that those of nodes are mapped before they are copied to the edges.
    """

    def __init__(self, width: int):
        super().__init__()
        self.from_edge = nn.Linear(width, width)
        self.from_sender, self.from_receiver = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.edge = nn.Sequential(nn.ReLU(), *mlp([width, width, width]))
        self.node = mlp([2 * width, width, width, width])

    def forward(self, h: Tensor, e: Tensor, graph: "Graph") -> tuple[Tensor, Tensor]:
        message = (
            self.from_edge(e)
            + self.from_sender(h).index_select(0, graph.senders)
            + self.from_receiver(h).index_select(0, graph.receivers)
        )
        e = e + self.edge(message)
        return h + self.node(torch.cat([h, graph.incidence.on_nodes(e)], dim=-1)), e


class Graph(nn.Module):
    """The graph of a space's nodes: its edges, their sum at each node, and the geometry that enters as features.

    Attributes:
        edges: relative position of the receiver and its length, ``(edges, dim + 1)``, over the mean length.
        nodes: one for the interior and each part of the boundary that a node belongs to, ``(nodes, 2 + tags)``.
    """

    senders: Tensor
    receivers: Tensor
    edges: Tensor
    nodes: Tensor

    def __init__(self, space: Space):
        super().__init__()
        graph = DofGraph(space)
        kinds = torch.zeros(space.num_nodes, 1 + len(space.tags))
        for i, tag in enumerate(space.tags, start=1):
            kinds[space.boundary_nodes(tag).cpu(), i] = 1
        kinds[:, 0] = 1
        kinds[space.boundary_nodes(WHOLE_BOUNDARY).cpu(), 0] = 0
        edges = np.arange(graph.num_edges)
        shape = (space.num_nodes, graph.num_edges)
        sums = scipy.sparse.csr_matrix((np.ones(graph.num_edges), (graph.target.cpu().numpy(), edges)), shape=shape)
        self.incidence = SparseMatrix(sums)
        self.register_buffer("senders", graph.source, persistent=False)
        self.register_buffer("receivers", graph.target, persistent=False)
        self.register_buffer("edges", graph.features.float(), persistent=False)
        self.register_buffer("nodes", kinds, persistent=False)


class MeshGraphNet(nn.Module):
    """Encode nodes and edges, pass messages, decode the nodes: ``(batch, in_channels, nodes) -> (batch, out_channels, nodes)``.

    Edges carry the relative position of their ends, and no weight knows where a node is: the network commutes with translations. A message
    travels one cell a step, so that a mesh many times wider than ``steps`` cells is not seen as a whole. Good values: width
    128 and 15 steps in the paper; on two cores 32 and 8.

    Args:
        space: scalar Lagrange elements, whose nodes are the graph's.
        in_channels, out_channels: of the fields.
        width: features of a node and of an edge.
        steps: how often messages are passed.

    Raises:
        InputError: the dofs are not values at nodes.
    """

    def __init__(self, space: Space, in_channels: int, out_channels: int = 1, width: int = 128, steps: int = 15):
        super().__init__()
        if not space.element.is_nodal:
            raise InputError(
                f"The dofs of {space.name!r} ({space.element}) are not values at nodes, which a graph network needs."
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.graph = Graph(space)
        self.encode_nodes = mlp([in_channels + self.graph.nodes.shape[1], width, width, width])
        self.encode_edges = mlp([self.graph.edges.shape[1], width, width, width])
        self.steps = nn.ModuleList(MessagePassing(width) for _ in range(steps))
        self.decode = mlp([width, width, width, out_channels], normalise=False)

    def forward(self, channels: Tensor) -> Tensor:
        # Nodes and edges outermost, so that gathering and summing move contiguous rows: (nodes, batch, features).
        h = channels.permute(2, 0, 1)
        kinds = self.graph.nodes.to(h.dtype)[:, None].expand(-1, h.shape[1], -1)
        h = self.encode_nodes(torch.cat([h, kinds], dim=-1))
        e = self.encode_edges(self.graph.edges.to(h.dtype))[:, None].expand(-1, h.shape[1], -1)
        for step in self.steps:
            h, e = step(h, e, self.graph)
        return self.decode(h).permute(1, 2, 0)
