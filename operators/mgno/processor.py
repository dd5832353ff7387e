"""MgNO on meshes: a processor of SPON, with the layers that grids have and the same weights."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import Hierarchy
from .architecture import Architecture
from .mesh_levels import mesh_levels
from .network import Network


class MgNOProcessor(nn.Module):
    """Layers of learned multigrid cycles, ``(batch, in_channels, nodes) -> (batch, out_channels, nodes)``, on any Lagrange spaces.

    Stencils are assembled from straight triangles, tetrahedra, parallelograms or parallelepipeds; prolongations are the hierarchy's. The
    weights belong to no mesh: ``load_state_dict`` takes those of another mesh with the same bounding box's bias functions, and those of
    :class:`MgNO`'s network on a grid, which is the case of a uniform mesh.

    Args:
        hierarchy: spaces from fine to coarse, scalar Lagrange elements.
        architecture: see :class:`Architecture`.
        dirichlet: boundary tags where the cycles' corrections vanish on every level; a decoder sets the values there.
        coefficient: number of the input channel with the coefficient, positive at the nodes, for architectures that need one. Its scale
            does not matter beside the weights. Features get its logarithm. A SPON gives it in physical units where iterates are
            ``in_units``, and takes the outputs so.

    Raises:
        InputError: spaces or cells that stencils are not made for, an unknown tag, a coefficient that is missing or not needed.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        in_channels: int,
        out_channels: int = 1,
        architecture: Architecture | None = None,
        dirichlet: Iterable[str] = (),
        coefficient: int | None = None,
    ):
        super().__init__()
        architecture = architecture or Architecture()
        if (coefficient is not None) != (architecture.coefficient is not None):
            raise InputError(
                f"The channel {coefficient} and the architecture's coefficient={architecture.coefficient!r} must both be given or not."
            )
        if architecture.reaction or architecture.mapped or architecture.transport:
            raise InputError(
                "On meshes an MgNO has the operator −∇·(a∇) of its samples, without a reaction, a map or transport; use MgNO on a grid "
                "for these."
            )
        if coefficient is not None and not 0 <= coefficient < in_channels:
            raise InputError(f"There is no input channel {coefficient} among {in_channels} to be the coefficient.")
        self.in_channels, self.out_channels, self.coefficient = in_channels, out_channels, coefficient
        # These iterates are of order one as they are.
        self.in_physical_units = architecture.in_units
        self.levels = mesh_levels(hierarchy, dirichlet, architecture, hierarchy[0].mass.val.dtype)
        self.network = Network(in_channels, out_channels, architecture, hierarchy[0].mesh.dim)

    def forward(self, channels: Tensor) -> Tensor:
        v, a, c = channels.permute(2, 0, 1).contiguous(), None, self.coefficient
        if c is not None:
            a = v[..., c]
            v = torch.cat([v[..., :c], a[..., None].log(), v[..., c + 1 :]], dim=-1)
        return self.network(v, self.levels, a).permute(1, 2, 0)
