"""A processor whose linear maps are multigrid cycles on a hierarchy of finite-element spaces (SPON-MG with MgNO's layers).

MgNO (He, Liu, Xu, ICLR 2024, arXiv 2310.19809) parametrises the linear operators between channels by V-cycles of convolutions. Here the
convolutions are sums of finite-element stencils, mass and stiffness, times channel mixings, and the transfers are those of the
spaces, so the weights belong to no mesh: they apply on any hierarchy with as many levels.
"""

from collections.abc import Iterable
from typing import cast

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space, SparseMatrix
from ..fem.hierarchy import Hierarchy

#: Damping of Jacobi smoothing that suits both linear and quadratic Lagrange elements.
JACOBI_DAMPING = 0.7


class Stencils(nn.Module):
    """Stiffness and mass matrix of one level, both divided by the diagonal of the stiffness matrix, without the rows of fixed dofs.

    Applied to node features ``(nodes, batch, channels)``. ``length`` makes the mass stencil dimensionless: for −Δ on a domain of that
    size both stencils are of one order on smooth fields.
    """

    def __init__(self, space: Space, dirichlet: tuple[str, ...], length: float):
        super().__init__()
        K, M = (matrix.to_scipy().astype("float64") for matrix in (space.stiffness, space.mass))
        scaling = scipy.sparse.diags(_free(space, dirichlet) / K.diagonal())
        eigenvalue = 2 * torch.pi**2 / length**2  # the smallest of -Δ on a square of this length
        self.K = SparseMatrix(scaling @ K, space.stiffness.val.dtype)
        self.M = SparseMatrix(eigenvalue * scaling @ M, space.stiffness.val.dtype)

    def mix(self, h: Tensor, A: Tensor) -> Tensor:
        """K h A_K + M h A_M for channel mixings ``A`` of shape ``(2, channels, channels)``."""
        return _add_product(self.K.on_nodes(h) @ A[0], self.M.on_nodes(h), A[1])

    def residual(self, f: Tensor, u: Tensor, A: Tensor) -> Tensor:
        """f − K u A_K − M u A_M."""
        return _add_product(_add_product(f, self.K.on_nodes(u), A[0], -1), self.M.on_nodes(u), A[1], -1)


class Level(nn.Module):
    """The learned part of one level: an operator A of stencils, and a smoother S for each smoothing step."""

    def __init__(self, channels: int, smoothings: int):
        super().__init__()
        identity = torch.eye(channels)
        self.A = nn.Parameter(torch.stack([identity, 0 * identity]))
        self.S = nn.Parameter(JACOBI_DAMPING * identity.repeat(smoothings, 1, 1))


class VCycle(nn.Module):
    """One multigrid V-cycle between channels, ``(nodes, batch, channels)`` of residuals to as many of corrections.

    u ← u + S(f − Au) smooths; residuals are restricted by the transposed prolongation in the scaling of the stencils. Untrained it is
    a V-cycle with damped Jacobi smoothing for the Laplacian, channel by channel.
    """

    def __init__(self, levels: int, channels: int, pre: int = 1, post: int = 1, coarse: int = 8):
        super().__init__()
        self.pre = pre
        counts = [pre + post] * (levels - 1) + [coarse]
        self.levels = nn.ModuleList(Level(channels, count) for count in counts)

    def forward(self, f: Tensor, operators: "LevelOperators", l: int = 0) -> Tensor:
        level, stencils = cast(Level, self.levels[l]), operators.stencil(l)
        first, *steps = level.S.unbind()
        coarsest = l == len(self.levels) - 1
        before = len(steps) if coarsest else self.pre - 1
        u = f @ first
        for S in steps[:before]:
            u = _add_product(u, stencils.residual(f, u, level.A), S)
        if coarsest:
            return u
        r = operators.restriction(l).on_nodes(stencils.residual(f, u, level.A))
        u = u + operators.prolongation(l).on_nodes(self(r, operators, l + 1))
        for S in steps[before:]:
            u = _add_product(u, stencils.residual(f, u, level.A), S)
        return u


def _add_product(u: Tensor, h: Tensor, W: Tensor, alpha: float = 1) -> Tensor:
    """u + α h W over the last axis, in one pass over memory."""
    return torch.addmm(u.flatten(0, 1), h.flatten(0, 1), W, alpha=alpha).view_as(u)


class MultigridBlock(nn.Module):
    """h ← h + W z + MLP(h, z) with z a V-cycle of a learned combination of stencils of h."""

    def __init__(self, levels: int, channels: int, pre: int, post: int, coarse: int):
        super().__init__()
        self.source = nn.Parameter(torch.randn(2, channels, channels) / (2 * channels) ** 0.5)
        self.cycle = VCycle(levels, channels, pre, post, coarse)
        self.linear = nn.Parameter(torch.randn(channels, channels) / channels**0.5)
        self.expand_h = nn.Linear(channels, 2 * channels)
        self.expand_z = nn.Linear(channels, 2 * channels, bias=False)
        self.contract = nn.Linear(2 * channels, channels)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, h: Tensor, operators: "LevelOperators") -> Tensor:
        z = self.cycle(operators.stencil(0).mix(h, self.source), operators)
        local = self.contract(nn.functional.gelu(self.expand_h(h) + self.expand_z(z)))
        return _add_product(h + local, z, self.linear)


class LevelOperators(nn.Module):
    """The fixed matrices of a cycle: stencils of each level, prolongations and scaled restrictions between them."""

    def __init__(self, hierarchy: Hierarchy, dirichlet: tuple[str, ...], length: float):
        super().__init__()
        levels = range(len(hierarchy))
        self.stencils = nn.ModuleList(Stencils(hierarchy[l], dirichlet, length) for l in levels)
        pairs = [_scaled_transfers(hierarchy, l, dirichlet) for l in levels[:-1]]
        self.prolongations = nn.ModuleList(P for P, _ in pairs)
        self.restrictions = nn.ModuleList(R for _, R in pairs)

    def stencil(self, l: int) -> Stencils:
        return cast(Stencils, self.stencils[l])

    def prolongation(self, l: int) -> SparseMatrix:
        """From level ``l + 1`` to ``l``."""
        return cast(SparseMatrix, self.prolongations[l])

    def restriction(self, l: int) -> SparseMatrix:
        """From level ``l`` to ``l + 1``."""
        return cast(SparseMatrix, self.restrictions[l])


class MultigridProcessor(nn.Module):
    """Blocks of learned V-cycles and pointwise networks on a hierarchy, ``(batch, in_channels, nodes) -> (batch, out_channels, nodes)``.

    Good values: 8 to 32 channels, 2 to 6 blocks; ``length`` the size of the domain.

    Args:
        hierarchy: spaces from fine to coarse, scalar Lagrange elements; the first is the encoder's and the decoder's.
        dirichlet: tags of the boundary where corrections vanish on every level.
        pre, post, coarse: smoothing steps before (one or more) and after the coarse correction, and on the coarsest level (one or more).
        start_at_zero: whether it gives zero until it is trained, for corrections of a prediction.

    Raises:
        InputError: there is no hierarchy, or one of vectors, or no such tag; no channels, blocks or smoothing steps.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        in_channels: int,
        out_channels: int = 1,
        channels: int = 16,
        blocks: int = 4,
        dirichlet: Iterable[str] = (),
        pre: int = 1,
        post: int = 1,
        coarse: int = 8,
        length: float = 1.0,
        start_at_zero: bool = False,
    ):
        super().__init__()
        if not isinstance(hierarchy, Hierarchy):
            raise InputError(
                f'A multigrid cycle needs a hierarchy of spaces, as disc.hierarchy("V", "V1") gives, not a {type(hierarchy).__name__}.'
            )
        hierarchy.require_scalar("a MultigridProcessor")
        if min(channels, blocks) < 1:
            raise InputError(
                f"A multigrid processor has one channel and one block or more, not channels={channels} and blocks={blocks}."
            )
        if min(pre, coarse) < 1 or post < 0:
            raise InputError(
                "A cycle begins with a smoothing step, and takes one or more on the coarsest level; there are none with "
                f"pre={pre}, post={post} and coarse={coarse}."
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        levels = len(hierarchy)
        self.operators = LevelOperators(hierarchy, tuple(dirichlet), length)
        self.lift = nn.Linear(in_channels, channels, bias=False)
        self.blocks = nn.ModuleList(MultigridBlock(levels, channels, pre, post, coarse) for _ in range(blocks))
        self.project = nn.Linear(channels, out_channels, bias=False)
        if start_at_zero:
            nn.init.zeros_(self.project.weight)

    def forward(self, channels: Tensor) -> Tensor:
        # Features innermost: sparse products and channel mixings then both run on contiguous memory.
        h = self.lift(channels.permute(2, 0, 1).contiguous())
        for block in self.blocks:
            h = block(h, self.operators)
        return self.project(h).permute(1, 2, 0)


def _free(space: Space, dirichlet: tuple[str, ...]) -> np.ndarray:
    """One for the nodes that are learned, zero for those with prescribed values."""
    free = np.ones(space.num_nodes)
    if dirichlet:
        free[space.boundary_nodes(dirichlet).cpu()] = 0
    return free


def _scaled_transfers(hierarchy: Hierarchy, l: int, dirichlet: tuple[str, ...]) -> tuple[SparseMatrix, SparseMatrix]:
    """Prolongation P that keeps fixed dofs at zero, and D_c⁻¹ Pᵀ D_f, which restricts residuals divided by the stiffness diagonals D."""
    fine, coarse = hierarchy[l], hierarchy[l + 1]
    D_f, D_c = (space.stiffness.to_scipy().astype("float64").diagonal() for space in (fine, coarse))
    P = scipy.sparse.diags(_free(fine, dirichlet)) @ hierarchy.prolongation(l).to_scipy().astype("float64")
    R = scipy.sparse.diags(_free(coarse, dirichlet) / D_c) @ P.T @ scipy.sparse.diags(D_f)
    dtype = hierarchy.prolongation(l).val.dtype
    return SparseMatrix(P, dtype), SparseMatrix(R, dtype)
