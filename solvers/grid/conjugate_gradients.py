"""Preconditioned conjugate gradients for a batch of symmetric positive definite systems, each with its own step and its own end."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import DivergedError


def conjugate_gradients(
    A: Callable[[Tensor], Tensor], b: Tensor, M: Callable[[Tensor], Tensor], tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    """Solve A x = b to ‖b − Ax‖ ≤ tolerance ‖b‖ for each sample of ``(batch, ...)``; M approximates A⁻¹.

    The coefficients are those of Polak and Ribière, which forgive an M that is symmetric to rounding only. A sample that has converged
    stands still; the iteration looks at the residuals, and so waits for a GPU, once a step.

    Returns:
        The solution, and the iterations that each sample took, ``(batch,)``.

    Raises:
        DivergedError: a sample has not converged after ``max_iterations``, or has left the finite numbers.
    """

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (u * v).flatten(1).sum(1).reshape(-1, *[1] * (b.dim() - 1))

    x, r = torch.zeros_like(b), b
    target = tolerance**2 * dot(b, b)
    z = M(r)
    p, rz = z, dot(r, z)
    iterations = torch.zeros_like(rz)
    active = ~(dot(r, r) <= target)  # true for NaN, too
    for _ in range(max_iterations):
        if not bool(active.any()):
            return x, iterations.flatten().long()
        Ap = A(p)
        alpha = torch.where(active, rz / dot(p, Ap), 0.0)
        x = torch.addcmul(x, alpha, p)
        previous, r = r, torch.addcmul(r, alpha, Ap, value=-1)
        z = M(r)
        beta = torch.where(active, dot(r - previous, z) / rz, 0.0)
        rz = torch.where(active, dot(r, z), rz)
        p = torch.addcmul(z, beta, p)
        iterations = iterations + active
        active = active & ~(dot(r, r) <= target)
    if bool(active.any()):
        relative = (dot(r, r) / dot(b, b)).sqrt().flatten()
        worst = int(relative.nan_to_num(torch.inf).argmax())
        raise DivergedError(
            f"{int(active.sum())} of {len(b)} samples have not converged after {max_iterations} iterations of conjugate gradients; "
            f"sample {worst} is worst with a relative residual of {float(relative[worst]):.2g}, {tolerance:.2g} was asked for. "
            "Loosen the tolerance, allow more iterations, or use a coefficient of lower contrast."
        )
    return x, iterations.flatten().long()
