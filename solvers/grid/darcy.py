"""Darcy flow, −div(a grad u) = f, on a box grid by conjugate gradients with multigrid, differentiable by its adjoint equation."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from ...errors import InputError
from .conductances import Conductances, Mean, apply, conductances, control_volumes, interior
from .conjugate_gradients import conjugate_gradients
from .multigrid import Multigrid


class Darcy:
    """−div(a grad u) = f in a box, u = 0 on the named sides and ∂u/∂n = 0 on the others.

    Second-order finite volumes around the nodes, boundary included: the 5-point scheme (7-point in three dimensions), where the
    coefficient between two nodes is the mean of its values there. Arithmetic is the published data's; harmonic conserves
    the flux through jumps. Fields are ``(batch, 1, x[, y[, z]])`` at the nodes.

    Solutions are found in double precision, with a preconditioner in the precision of the input, and returned in that precision. They are
    differentiable in ``a`` and ``f``, also twice, at the price of one more solve each time.

    Good values, those of the Darcy benchmark of Li et al. (ICLR 2021, arXiv 2010.08895): ``Darcy((421, 421))``, f = 1, and
    ``a = threshold(NeumannField((420, 420), alpha=2, tau=3).sample(seed, samples), above=12, below=3)``.

    Args:
        nodes: nodes along each axis, two or three axes of at least 3.
        lengths: sides of the box; 1 each by default.
        mean: of neighbouring coefficients, ``"arithmetic"`` or ``"harmonic"``.
        dirichlet: sides with u = 0, at least one of ``"x0", "x1", "y0", "y1", ...``; all by default.
        tolerance: of the residual, relative to f's, for each sample.
        max_iterations: about 7 are needed for smooth coefficients, 9 for jumps of 12 to 3, 25 for 100 to 1, whatever the grid. Spacings
            should be about equal: a ratio of 8 needs 40.

    Raises:
        InputError: too small a grid, an unknown mean or side.

    Example:
        >>> one = torch.ones(1, 1, 65, 65, dtype=torch.float64)
        >>> round(Darcy((65, 65)).solve(one).max().item(), 4)  # 0.07367 in the middle of the square
        0.0737
    """

    def __init__(
        self,
        nodes: Sequence[int],
        lengths: Sequence[float] | None = None,
        mean: Mean = "arithmetic",
        *,
        dirichlet: Sequence[str] | None = None,
        tolerance: float = 1e-8,
        max_iterations: int = 100,
    ):
        self.nodes = tuple(nodes)
        self.lengths = tuple(lengths) if lengths is not None else (1.0,) * len(self.nodes)
        if len(self.nodes) not in (2, 3) or min(self.nodes) < 3 or len(self.lengths) != len(self.nodes) or min(self.lengths) <= 0:
            raise InputError(
                f"Darcy flow needs two or three axes of at least 3 nodes and as many positive lengths; got nodes {self.nodes} and "
                f"lengths {self.lengths}."
            )
        if mean not in ("arithmetic", "harmonic"):
            raise InputError(f"The mean of neighbouring coefficients is 'arithmetic' or 'harmonic', not {mean!r}.")
        sides = tuple(f"{axis}{end}" for axis in "xyz"[: len(self.nodes)] for end in (0, 1))
        self.dirichlet = tuple(dirichlet) if dirichlet is not None else sides
        if not self.dirichlet:
            raise InputError("Without a Dirichlet side the solution is determined up to a constant only. Name at least one.")
        self.mean: Mean = mean
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self._free = interior(self.nodes, self.dirichlet, torch.zeros((), dtype=torch.float64))
        self._volumes = control_volumes(self.nodes, self.lengths, self._free)

    def solve(self, a: Tensor, f: Tensor | float = 1.0) -> Tensor:
        """The solution for a coefficient ``a > 0`` and a source ``f``, a number or a field of the same shape.

        Raises:
            InputError: a wrong shape or dtype, a coefficient that is not positive.
            DivergedError: the tolerance is not reached.
        """
        u, _ = self._solve(a, f)
        return u

    def iterations(self, a: Tensor, f: Tensor | float = 1.0) -> Tensor:
        """The iterations that each sample takes, ``(batch,)``; otherwise as :meth:`solve`."""
        with torch.no_grad():
            _, system = self._solve(a, f)
        return system.iterations

    def _solve(self, a: Tensor, f: Tensor | float) -> tuple[Tensor, "System"]:
        f = self._source(a, f)
        network = conductances(a.double(), self.lengths, self.mean)
        system = System(self._free.to(a.device), a.dtype, self.tolerance, self.max_iterations)
        source = f.double() * (self._volumes * self._free).to(a.device)
        return cast(Tensor, NetworkSolve.apply(system, source, *network)).to(a.dtype), system

    def residual(self, u: Tensor, a: Tensor, f: Tensor | float = 1.0) -> Tensor:
        """f + div(a grad u) at each free node, zero at the others; differentiable."""
        f = self._source(a, f)
        self._check(a, u)
        free, volumes = (t.to(a) for t in (self._free, self._volumes))
        return free * (f - apply(conductances(a, self.lengths, self.mean), free * u) / volumes)

    def _source(self, a: Tensor, f: Tensor | float) -> Tensor:
        f = f if isinstance(f, Tensor) else torch.full_like(a, f)
        self._check(a, f)
        return f

    def _check(self, a: Tensor, f: Tensor) -> None:
        for field in (a, f):
            if field.dim() != len(self.nodes) + 2 or tuple(field.shape[1:]) != (1, *self.nodes) or field.shape != a.shape:
                raise InputError(
                    f"Fields have shapes {tuple(a.shape)} and {tuple(field.shape)}; expected (batch, 1, "
                    f"{', '.join(map(str, self.nodes))}) for both."
                )
            if field.dtype not in (torch.float32, torch.float64) or field.dtype != a.dtype:
                raise InputError(f"Fields are {a.dtype} and {field.dtype}; expected torch.float32 or torch.float64 for both.")
            if not bool(torch.isfinite(field).all()):
                raise InputError("A field has values that are not finite. Look for them with torch.isfinite.")
        if not bool((a > 0).all()):
            raise InputError("The coefficient has values that are not positive; −div(a grad u) is then no elliptic equation.")


class System:
    """How the systems of a batch are solved: the free nodes, the preconditioner's precision, tolerance and iterations allowed."""

    iterations: Tensor

    def __init__(self, free: Tensor, precision: torch.dtype, tolerance: float, max_iterations: int):
        self.free, self.precision, self.tolerance, self.max_iterations = free, precision, tolerance, max_iterations
        self.multigrid: Multigrid | None = None

    def solve(self, b: Tensor, network: Conductances) -> Tensor:
        """A⁻¹ b on the free nodes; the preconditioner is built once and kept for the adjoint equation."""
        if self.multigrid is None:
            self.multigrid = Multigrid(tuple(w.to(self.precision) for w in network), self.free.to(self.precision))
        cycle = self.multigrid

        def A(u: Tensor) -> Tensor:
            return self.free * apply(network, u)

        def M(r: Tensor) -> Tensor:
            # Scaled to one, so that single precision does not underflow near the end.
            size = r.flatten(1).abs().amax(1).clamp_min(torch.finfo(r.dtype).tiny).reshape(-1, *[1] * (r.dim() - 1))
            return cycle((r / size).to(self.precision)).to(r.dtype) * size

        x, self.iterations = conjugate_gradients(A, self.free * b, M, self.tolerance, self.max_iterations)
        return x


class NetworkSolve(torch.autograd.Function):
    """u = A(w)⁻¹ b. Backward solves Aλ = ∂J/∂u, whence ∂J/∂b = λ, and ∂J/∂w = −δλ δu for each edge with differences δ."""

    @staticmethod
    def forward(ctx: FunctionCtx, system: System, b: Tensor, *network: Tensor) -> Tensor:
        u = system.solve(b, network)
        ctx.save_for_backward(u, *network)
        cast(Any, ctx).system = system
        return u

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        u, *network = ctx.saved_tensors
        adjoint = cast(Tensor, NetworkSolve.apply(ctx.system, grad_outputs[0], *network))
        edges = [-(adjoint.diff(dim=axis + 2) * u.diff(dim=axis + 2)) for axis in range(len(network))]
        return None, adjoint, *edges
