"""A learned multigrid cycle between channels, on the levels of a grid or a mesh."""

from typing import Literal, cast

import torch
from torch import Tensor, nn

from .architecture import Architecture
from .coefficient import SampleMatrices
from .levels import Levels

#: Damping of Jacobi smoothing for Q1 and P1 elements, with which an untrained cycle starts.
JACOBI_DAMPING = 0.8

Kind = Literal["V", "W", "F", "full"]


class LevelWeights(nn.Module):
    """What is learned on one level: A, the smoothers S of each step, and the mixings of channels in transfers."""

    def __init__(self, architecture: Architecture, steps: int, coarsest: bool = False):
        super().__init__()
        channels = architecture.cycle_channels
        one = torch.eye(channels) if architecture.mixing == "full" else torch.ones(channels)
        principal = next((name for name in ("coefficient", "stiffness") if name in architecture.operator), architecture.operator[0])
        self.A = nn.Parameter(torch.stack([one * (name == principal) for name in architecture.operator]))
        smoother = torch.stack([one * (name == architecture.smoother[0]) for name in architecture.smoother])
        self.S = nn.Parameter(JACOBI_DAMPING * torch.stack([smoother] * steps))
        transfers = architecture.transfer_mixing and not coarsest
        self.R = nn.Parameter(one.clone()) if transfers else None
        self.P = nn.Parameter(one.clone()) if transfers else None


class Cycle(nn.Module):
    """Functionals to functions, ``(nodes, batch, channels) -> (nodes, batch, channels)``, by one cycle from zero.

    u ← u + S(f − Au) smooths, residuals are restricted by the transposed prolongation, corrections are interpolated. Untrained it is
    the textbook cycle with damped Jacobi smoothing for the stiffness matrix, or the coefficient's operator, in every channel.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        steps = architecture.pre if architecture.symmetric else architecture.pre + architecture.post
        sets = 1 if architecture.shared else architecture.levels - 1
        self.weights = nn.ModuleList(LevelWeights(architecture, steps) for _ in range(sets))
        self.coarsest = LevelWeights(architecture, architecture.coarse, coarsest=True)
        self.scales = nn.Parameter(torch.ones(architecture.levels - 1)) if architecture.shared else None

    def forward(self, f: Tensor, levels: Levels, coefficient: list[SampleMatrices] | None = None) -> Tensor:
        return Sweep(self, levels, coefficient).run(f)

    def at(self, l: int, num_levels: int) -> tuple[LevelWeights, Tensor | None]:
        """Weights of a level, counted from the coarsest, and the scale of its smoothers where weights are shared."""
        if l == num_levels - 1:
            return self.coarsest, None
        index = max(0, l + self.architecture.levels - num_levels)
        return cast(LevelWeights, self.weights[0 if self.architecture.shared else index]), self._scale(index)

    def _scale(self, index: int) -> Tensor | None:
        return None if self.scales is None else self.scales[index]


class Sweep:
    """One application of a cycle: its weights on the levels of one hierarchy, with the coefficients of one batch."""

    def __init__(self, cycle: Cycle, levels: Levels, coefficient: list[SampleMatrices] | None):
        self.architecture, self.levels, self.coefficient = cycle.architecture, levels, coefficient
        self.weights = [cycle.at(l, len(levels)) for l in range(len(levels))]

    def run(self, f: Tensor) -> Tensor:
        kind = self.architecture.cycle
        return self.full(0, f) if kind == "full" else self.correct(0, f, None, kind)

    def full(self, l: int, f: Tensor) -> Tensor:
        """Full multigrid: the coarser levels' solution of the restricted problem is where a V-cycle starts."""
        if l == len(self.levels) - 1:
            return self.correct(l, f, None, "V")
        return self.correct(l, f, self.prolong(l, self.full(l + 1, self.restrict(l, f))), "V")

    def correct(self, l: int, f: Tensor, u: Tensor | None, kind: Kind) -> Tensor:
        """A cycle from level ``l`` down; ``u`` None is zero."""
        S = self.weights[l][0].S
        if l == len(self.levels) - 1:
            return self.smooth(l, f, u, range(len(S)))
        pre = range(self.architecture.pre)
        u = self.smooth(l, f, u, pre)
        r = self.restrict(l, self.residual(l, f, u))
        e = self.correct(l + 1, r, None, kind)
        if kind != "V" and l + 2 < len(self.levels):
            e = self.correct(l + 1, r, e, "W" if kind == "W" else "V")
        u = u + self.prolong(l, e)
        if self.architecture.symmetric:
            return self.smooth(l, f, u, reversed(pre), transposed=True) if self.architecture.post else u
        return self.smooth(l, f, u, range(self.architecture.pre, len(S)))

    def smooth(self, l: int, f: Tensor, u: Tensor | None, steps: "range | reversed[int]", transposed: bool = False) -> Tensor:
        """u ← u + S_i (f − Au) for each step i."""
        for i in steps:
            u = self.apply_smoother(l, i, f if u is None else self.residual(l, f, u), u, transposed)
        assert u is not None
        return u

    def residual(self, l: int, f: Tensor, u: Tensor) -> Tensor:
        """f − Au."""
        for name, W in zip(self.architecture.operator, self.weights[l][0].A.unbind(), strict=True):
            f = add_mixed(f, self.stencil(l, name, u), W, -1)
        return f

    def apply_smoother(self, l: int, i: int, r: Tensor, u: Tensor | None, transposed: bool) -> Tensor:
        """u + S_i r, or u + S_iᵀ r."""
        weights, scale = self.weights[l]
        Ws = weights.S[i] if scale is None else scale * weights.S[i]
        D = self.inverse_diagonal(l)
        for name, W in zip(self.architecture.smoother, Ws.unbind(), strict=True):
            if transposed:
                s = D * self.filtered(l, name, r, transposed)
                u = add_mixed(u, s, W.mT if W.ndim == 2 else W)
            else:
                u = add_mixed(u, self.filtered(l, name, D * r, transposed), W)
        assert u is not None
        return u

    def filtered(self, l: int, name: str, r: Tensor, transposed: bool) -> Tensor:
        """The stencil of a smoother, or nothing for Jacobi's."""
        if name == "jacobi":
            return r
        if name == "coefficient":
            K, D = self.stencil, self.inverse_diagonal(l)
            return K(l, name, D * r) if transposed else D * K(l, name, r)
        B = self.levels[l].smoother(name)
        return (B.T if transposed else B).on_nodes(r)

    def stencil(self, l: int, name: str, u: Tensor) -> Tensor:
        if name == "coefficient":
            assert self.coefficient is not None
            return self.coefficient[l].on_nodes(u)
        return self.levels[l].stencil(name).on_nodes(u)

    def inverse_diagonal(self, l: int) -> Tensor:
        return self.levels[l].inverse_diagonal if self.coefficient is None else self.coefficient[l].inverse_diagonal

    def restrict(self, l: int, r: Tensor) -> Tensor:
        r, W = self.levels.restrict(l, r), self.weights[l][0].R
        return r if W is None else mixed(r, W)

    def prolong(self, l: int, e: Tensor) -> Tensor:
        W = self.weights[l][0].P
        return self.levels.prolong(l, e if W is None else mixed(e, W))


def mixed(h: Tensor, W: Tensor) -> Tensor:
    """h W over channels, for a matrix or a diagonal W."""
    return h @ W if W.ndim == 2 else h * W


def add_mixed(u: Tensor | None, h: Tensor, W: Tensor, alpha: int = 1) -> Tensor:
    """u + α h W in one pass over memory; u None is zero."""
    if u is None:
        return mixed(h, W)
    if W.ndim == 1:
        return torch.addcmul(u, h, W, value=alpha)
    return torch.addmm(u.flatten(0, 1), h.flatten(0, 1), W, alpha=alpha).view_as(u)
