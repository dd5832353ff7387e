"""A learned multigrid cycle between channels, on the levels of a grid or a mesh."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from .architecture import Architecture
from .levels import Levels
from .sample_matrices import SampleMatrices
from .transport import transported

#: Damping of Jacobi smoothing for Q1 and P1 elements, with which an untrained cycle starts.
JACOBI_DAMPING = 0.8

#: p and q of S = p D⁻¹ + q D⁻¹ A D⁻¹, with which it starts where smoothers have the stencil of its operator: 1 − S A is the Chebyshev
#: polynomial of degree two that is at most 1/17 on [3/4, 3/2], where D⁻¹A of Q1 elements has its oscillating functions.
CHEBYSHEV = (32 / 17, -128 / 153)

Kind = Literal["V", "W", "F", "full"]


class LevelWeights(nn.Module):
    """What is learned on one level: A, the smoothers S of each step, and the mixings of channels in transfers.

    With diagonal mixing A's principal stencil has the weight one, and restriction none, for they would be scales of S and of prolongation.
    """

    def __init__(self, architecture: Architecture, steps: int):
        super().__init__()
        channels = architecture.iterates
        full = architecture.mixing == "full"
        one = torch.eye(channels) if full else torch.ones(channels)
        learned = [name for name in architecture.operator if full or name != architecture.principal]
        self.A = nn.ParameterDict({name: one * (name == architecture.principal) for name in learned})
        smoother = torch.stack([one * weight for weight in untrained_smoother(architecture)])
        self.S = nn.Parameter(torch.stack([smoother] * steps))
        self.R = nn.Parameter(one.clone()) if architecture.transfer_mixing and full else None
        self.P = nn.Parameter(one.clone()) if architecture.transfer_mixing else None


def untrained_smoother(architecture: Architecture) -> list[float]:
    """The weight of each stencil of the smoother: damped Jacobi, or a polynomial of the operator where its stencil is among them."""
    names, start = architecture.smoother, {architecture.smoother[0]: JACOBI_DAMPING}
    if names[0] == "jacobi" and architecture.principal in ("stiffness", "coefficient") and architecture.principal in names:
        start = {"jacobi": CHEBYSHEV[0], architecture.principal: CHEBYSHEV[1]}
    return [start.get(name, 0.0) for name in names]


class CoarsestWeights(nn.Module):
    """What is learned on the coarsest level: as on the others, or a mixing of the solution's channels."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        if architecture.coarse:
            level = LevelWeights(replace(architecture, transfer_mixing=False), architecture.coarse)
            self.A, self.S, self.solution = level.A, level.S, None
        else:
            channels = architecture.iterates
            self.solution = nn.Parameter(torch.eye(channels) if architecture.mixing == "full" else torch.ones(channels))


class Cycle(nn.Module):
    """u ↦ u + cycle(f − Au) between channels, functionals f and functions u ``(nodes, batch, iterates)``; u is zero if it is None.

    u ← u + S(f − Au) smooths, residuals are restricted by the transposed prolongation, corrections are interpolated. Untrained it is
    the textbook cycle for the stiffness matrix, or the coefficient's operator, in every channel, with damped Jacobi smoothing or, where
    smoothers have that matrix's stencil, a Chebyshev polynomial of it.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        steps = architecture.pre if architecture.symmetric else architecture.pre + architecture.post
        sets = 1 if architecture.shared else architecture.levels - 1
        self.weights = nn.ModuleList(LevelWeights(architecture, steps) for _ in range(sets))
        self.coarsest = CoarsestWeights(architecture)
        self.scales = nn.Parameter(torch.ones(architecture.levels - 1)) if architecture.shared else None

    def forward(
        self,
        f: Tensor,
        levels: Levels,
        coefficient: list[SampleMatrices] | None = None,
        u: Tensor | None = None,
        velocities: list[Tensor] | None = None,
    ) -> Tensor:
        return Sweep(self, levels, coefficient, velocities).run(f, u)

    def at(self, l: int, num_levels: int) -> tuple[LevelWeights, Tensor | None]:
        """Weights of a level, counted from the coarsest, and the scale of its smoothers where weights are shared."""
        index = max(0, l + self.architecture.levels - num_levels)
        scale = None if self.scales is None else self.scales[index]
        return cast(LevelWeights, self.weights[0 if self.architecture.shared else index]), scale


class SplitCycle(nn.Module):
    """Cycles side by side, each for an operator of its own on its share of the iterates; as :class:`Cycle` otherwise."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        numbers, count = architecture.peclet, architecture.iterates
        self.shares = [(i + 1) * count // len(numbers) - i * count // len(numbers) for i in range(len(numbers))]
        self.cycles = nn.ModuleList(Cycle(replace(architecture, iterates=n, peclet=(0.0,))) for n in self.shares)

    def forward(
        self,
        f: Tensor,
        levels: Levels,
        operators: Sequence[list[SampleMatrices]],
        u: Tensor | None = None,
        velocities: list[Tensor] | None = None,
    ) -> Tensor:
        us = [None] * len(self.shares) if u is None else u.split(self.shares, -1)
        parts = zip(self.cycles, f.split(self.shares, -1), operators, us, strict=True)
        return torch.cat([cycle(g.contiguous(), levels, A, w, velocities) for cycle, g, A, w in parts], -1)


class Sweep:
    """One application of a cycle: its weights on the levels of one hierarchy, with the coefficients and velocities of one batch."""

    def __init__(
        self, cycle: Cycle, levels: Levels, coefficient: list[SampleMatrices] | None, velocities: list[Tensor] | None = None
    ):
        self.architecture, self.levels, self.coefficient = cycle.architecture, levels, coefficient
        self.velocities = velocities
        self.coarsest = cycle.coarsest
        self.weights = [cycle.at(l, len(levels)) for l in range(len(levels) - 1)]
        # The mixings of transfers multiply from level to level: as many of them at every resolution keep amplitudes the same.
        self.unmixed = range(len(levels) - cycle.architecture.levels)
        if cycle.coarsest.solution is None:
            self.weights.append((cast(LevelWeights, cycle.coarsest), None))

    def run(self, f: Tensor, u: Tensor | None) -> Tensor:
        kind = self.architecture.cycle
        if kind != "full":
            return self.correct(0, f, u, kind)
        return self.full(0, f) if u is None else u + self.full(0, self.residual(0, f, u))

    def full(self, l: int, f: Tensor) -> Tensor:
        """Full multigrid: the coarser levels' solution of the restricted problem is where a V-cycle starts."""
        if l == len(self.levels) - 1:
            return self.correct(l, f, None, "V")
        return self.correct(l, f, self.prolong(l, self.full(l + 1, self.restrict(l, f))), "V")

    def correct(self, l: int, f: Tensor, u: Tensor | None, kind: Kind) -> Tensor:
        """A cycle from level ``l`` down; ``u`` None is zero."""
        if l == len(self.levels) - 1:
            return self.solve(f, u)
        pre, steps = range(self.architecture.pre), len(self.weights[l][0].S)
        u = self.smooth(l, f, u, pre)
        r = self.restrict(l, f if self.architecture.restricted == "source" else self.residual(l, f, u))
        e = self.correct(l + 1, r, None, kind)
        if kind != "V" and l + 2 < len(self.levels):
            e = self.correct(l + 1, r, e, "W" if kind == "W" else "V")
        u = u + self.prolong(l, e)
        if self.architecture.symmetric:
            return self.smooth(l, f, u, reversed(pre), transposed=True) if self.architecture.post else u
        return self.smooth(l, f, u, range(self.architecture.pre, steps))

    def solve(self, f: Tensor, u: Tensor | None) -> Tensor:
        """On the coarsest level."""
        l, W = len(self.levels) - 1, self.coarsest.solution
        if W is None:
            return self.smooth(l, f, u, range(self.architecture.coarse))
        # Whatever u was, the solution replaces it.
        if self.coefficient is None:
            return mixed((self.levels.coarsest_inverse @ f.flatten(1)).view_as(f), W)
        return mixed(self.coefficient[l].solve(f), W)

    def smooth(self, l: int, f: Tensor, u: Tensor | None, steps: Iterable[int], transposed: bool = False) -> Tensor:
        """u ← u + S_i (f − Au) for each step i."""
        for i in steps:
            u = self.apply_smoother(l, i, f if u is None else self.residual(l, f, u), u, transposed)
        return cast(Tensor, u)

    def residual(self, l: int, f: Tensor, u: Tensor) -> Tensor:
        """f − Au."""
        A = self.weights[l][0].A
        for name in self.architecture.operator:
            Bu = self.stencil(l, name, u)
            f = add_mixed(f, Bu, A[name], -1) if name in A else f - Bu
        return f

    def apply_smoother(self, l: int, i: int, r: Tensor, u: Tensor | None, transposed: bool) -> Tensor:
        """u + S_i r, or u + S_iᵀ r."""
        weights, scale = self.weights[l]
        Ws = weights.S[i] if scale is None else scale * weights.S[i]
        D = self.inverse_diagonal(l)
        for name, W in zip(self.architecture.smoother, Ws.unbind(), strict=True):
            if transposed:
                u = add_mixed(u, D * self.filtered(l, name, r, transposed), W.mT if W.ndim == 2 else W)
            else:
                u = add_mixed(u, self.filtered(l, name, D * r, transposed), W)
        return cast(Tensor, u)

    def filtered(self, l: int, name: str, r: Tensor, transposed: bool) -> Tensor:
        """The stencil of a smoother, or nothing for Jacobi's."""
        if name == "jacobi":
            return r
        if name == "coefficient":
            K, D = self.stencil, self.inverse_diagonal(l)
            return K(l, name, D * r) if transposed else D * K(l, name, r)
        B = self.levels[l].smoother(name)
        return B.adjoint_on_nodes(r) if transposed else B.on_nodes(r)

    def stencil(self, l: int, name: str, u: Tensor) -> Tensor:
        if name == "coefficient":
            return cast(list[SampleMatrices], self.coefficient)[l].on_nodes(u)
        if name == "transport":
            return transported(self.levels[l].derivatives(), cast(list[Tensor], self.velocities)[l], u)
        return self.levels[l].stencil(name).on_nodes(u)

    def inverse_diagonal(self, l: int) -> Tensor:
        return self.levels[l].inverse_diagonal if self.coefficient is None else self.coefficient[l].inverse_diagonal

    def restrict(self, l: int, r: Tensor) -> Tensor:
        r, W = self.levels.restrict(l, r), self.weights[l][0].R
        return r if W is None or l in self.unmixed else mixed(r, W)

    def prolong(self, l: int, e: Tensor) -> Tensor:
        W = self.weights[l][0].P
        return self.levels.prolong(l, e if W is None or l in self.unmixed else mixed(e, W))


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
