"""L2 projections: mass matrices inverted in batches on any device, by conjugate gradients."""

import torch
from torch import Tensor, nn

from ..errors import InputError
from .space import Space
from .sparse import SparseMatrix

#: Relative residual that the iterations reach, by the precision of the matrix.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6}

#: No conforming mass matrix on a shape-regular mesh comes near it.
MAX_ITERATIONS = 200


class MassSolver(nn.Module):
    """``M⁻¹ b`` for batches ``(..., dofs)``, differentiable in every mode, for a symmetric positive definite M.

    Conjugate gradients preconditioned by the diagonal. The condition number of a mass matrix scaled by its diagonal depends on the
    element and on the shape of the cells, not on their size (Wathen, IMA J. Numer. Anal. 7, 1987), so that the number of iterations is
    a constant of the space: it is counted once, on a random right-hand side, and then fixed. About 10 to 40 reach 1e-13. Derivatives are
    solves with M too, not derivatives of the iteration.

    Raises:
        InputError: the iteration does not converge, so M is not positive definite or its cells are degenerate.
    """

    inverse_diagonal: Tensor

    def __init__(self, mass: SparseMatrix):
        super().__init__()
        self.mass = mass
        self.register_buffer("inverse_diagonal", 1 / mass.diagonal(), persistent=False)
        self.iterations = MAX_ITERATIONS
        self.iterations = self._count(TOLERANCE.get(mass.val.dtype, 1e-6))

    def forward(self, b: Tensor) -> Tensor:
        if b.shape[-1] != self.mass.shape[0]:
            raise InputError(
                f"The mass matrix has {self.mass.shape[0]} dofs, but the right-hand side has shape {tuple(b.shape)}."
            )
        columns = b.reshape(-1, b.shape[-1]).T.to(self.mass.val.dtype).contiguous()
        solve = self.iterate if torch.compiler.is_compiling() else self._differentiable
        return solve(columns).T.reshape(b.shape).to(b.dtype)

    def _differentiable(self, b: Tensor) -> Tensor:
        return _Solve.apply(self, b)

    def iterate(self, b: Tensor) -> Tensor:
        """The solution for columns ``(dofs, batch)`` by the fixed number of iterations."""
        x, r, D = torch.zeros_like(b), b, self.inverse_diagonal[:, None]
        p = z = D * r
        rho = (r * z).sum(0)
        for _ in range(self.iterations):
            q = self.mass.on_nodes(p)
            alpha = _ratio(rho, (p * q).sum(0))
            x, r = torch.addcmul(x, alpha, p), torch.addcmul(r, alpha, q, value=-1)
            z = D * r
            rho, before = (r * z).sum(0), rho
            p = torch.addcmul(z, _ratio(rho, before), p)
        return x

    @torch.no_grad()
    def _count(self, tolerance: float) -> int:
        """The iterations that reduce the residual of a random right-hand side, measured by M⁻¹'s diagonal, by the tolerance."""
        if self.mass.shape[0] == 0 or not (self.inverse_diagonal > 0).all():
            raise InputError("A mass matrix must have a positive diagonal.")
        generator = torch.Generator().manual_seed(0)
        b = torch.randn(self.mass.shape[0], 1, generator=generator, dtype=torch.float64).to(self.mass.val)
        self.iterations = 1
        while self.iterations < MAX_ITERATIONS:
            r = b - self.mass.on_nodes(self.iterate(b))
            if r.norm() <= tolerance * b.norm():
                return self.iterations
            self.iterations += 1 + self.iterations // 8
        raise InputError(
            f"{MAX_ITERATIONS} iterations do not invert the mass matrix to {tolerance:g}. Check the mesh for degenerate cells."
        )

    def extra_repr(self) -> str:
        return f"{self.iterations} iterations"


class L2Projection(nn.Module):
    """``M⁻¹ B u``: the function of a space with the same moments as u, ``(..., source dofs) -> (..., dofs)``.

    Args:
        space: the space to project to.
        product: ``B_ij = ∫ φ_i ψ_j``, see :meth:`Discretization.product`.

    Raises:
        InputError: the products do not lead into the space.
    """

    def __init__(self, space: Space, product: SparseMatrix):
        super().__init__()
        if product.shape[0] != space.num_dofs:
            raise InputError(f"The products have {product.shape[0]} rows, but space {space.name!r} has {space.num_dofs} dofs.")
        self.product, self.solver = product, MassSolver(space.mass)

    def forward(self, u: Tensor) -> Tensor:
        return self.solver(self.product(u))


class _Solve(torch.autograd.Function):
    """M⁻¹ b as a linear map of b; M is symmetric, so that it is its own transpose."""

    generate_vmap_rule = True

    @staticmethod
    def forward(solver: MassSolver, b: Tensor) -> Tensor:
        return solver.iterate(b)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.solver = inputs[0]

    @staticmethod
    def backward(ctx, *gradients):
        return None, _Solve.apply(ctx.solver, gradients[0])

    @staticmethod
    def jvp(ctx, *tangents):
        return _Solve.apply(ctx.solver, tangents[1])


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and zero where a column has converged to the last bit."""
    return torch.where(b > 0, a / torch.where(b > 0, b, torch.ones_like(b)), torch.zeros_like(a))
