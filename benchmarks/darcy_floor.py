"""How well can any operator do that sees a coefficient at every second node only? A bound from below, measured.

Data of two-phase Darcy flow are solved on a grid, and every second node of coefficient and solution is kept. An operator is given the
kept coefficient; what it cannot know is the coefficient between. Let a' be another coefficient with the same kept values, drawn from
its distribution given them, and u' its solution: alike to u in distribution, given those values. Then for every operator û of them

- E‖u − û‖ ≥ ½ E‖u − u'‖, by the triangle inequality,
- E‖u − û‖² ≥ ½ E‖u − u'‖², for the right-hand side is the conditional variance of u less the covariance of u and u', which is not negative.

a' is drawn exactly: the Gaussian field at the kept nodes by sweeps of Gibbs sampling under its signs, begun at the field of the sample
itself, which is a draw already; and the field between them by kriging. Sweeps, in a new random order each time, move u' further from u and
raise the bounds; their number is even, so that they are the square of a self-adjoint operator, and the covariance is not negative.

    python benchmarks/darcy_floor.py --samples 32 --sweeps 0 16 64
    python benchmarks/darcy_floor.py --samples 32 --sweeps 0 16 64 --runs outputs/mgno_darcy_rough

The second has the errors of trained operators beside the bounds, on the very same samples.
"""

import argparse
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import report
import scipy.linalg
import scipy.special
import torch

from thalweg.commands.run import Run
from thalweg.fem.uniform_grid import Grid
from thalweg.solvers.grid import NeumannField
from thalweg.solvers.grid.darcy import Darcy
from thalweg.solvers.grid.problem import every_nth, take_every_nth

ALPHA, TAU, ABOVE, BELOW = 2.0, 5.0, 12.0, 2.0  # rough


class Conditional:
    """The field at all nodes given the signs at every second node along each axis."""

    def __init__(self, nodes: int, every: int):
        self.field = NeumannField((nodes - 1, nodes - 1), alpha=ALPHA, tau=TAU)
        self.shape = (nodes, nodes)
        kept = np.zeros(self.shape, dtype=bool)
        kept[::every, ::every] = True
        self.kept = np.flatnonzero(kept)
        k = np.arange(nodes)
        cosines = np.cos(math.pi * np.outer(np.linspace(0, 1, nodes), k)) * np.where(k == 0, 1, math.sqrt(2))
        self.cosines, self.eigenvalues = cosines, self.field.eigenvalues.numpy()
        seen = cosines[::every]
        # Covariance of the kept values: Σ_k λ_k φ_k(x) φ_k(y), axis by axis.
        n = len(seen)
        products = seen[:, None] * seen[None]
        K = np.einsum("ack,kl,bdl->abcd", products, self.eigenvalues, products, optimize=True).reshape(n * n, n * n)
        # The field has no constant mode, so its mean by the trapezoidal rule is zero: one linear constraint on the kept values.
        ends = np.ones(n)
        ends[[0, -1]] = 0.5
        self.mean = np.outer(ends, ends).ravel()
        K += K.trace() / n**2 * np.outer(self.mean, self.mean) / (self.mean @ self.mean)
        self.cholesky = scipy.linalg.cho_factor(K, lower=True)
        self.precision = scipy.linalg.cho_solve(self.cholesky, np.eye(n * n))

    def sample(self, kept: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """Fields ``(batch, nodes, nodes)`` with these values at the kept nodes, from draws without conditions."""
        found = fresh.reshape(len(fresh), -1)[:, self.kept]
        weights = scipy.linalg.cho_solve(self.cholesky, (kept - found).T).T
        at_nodes = np.zeros_like(fresh)
        at_nodes.reshape(len(fresh), -1)[:, self.kept] = weights
        modes = self.eigenvalues * (self.cosines.T @ at_nodes @ self.cosines)
        return fresh + self.cosines @ modes @ self.cosines.T

    def sweep(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Kept values ``(batch, n)`` after each of them has moved once, together with another one that keeps the mean where it is."""
        Q, z, sign = self.precision, z.copy(), np.where(z >= 0, 1.0, -1.0)
        force = z @ Q
        order = rng.permutation(z.shape[1])
        for i, j in zip(order[::2].tolist(), order[1::2].tolist(), strict=False):
            # Along e_i / w_i − e_j / w_j the density is a normal one, cut off where one of the two changes its sign.
            a, b = 1 / self.mean[i], -1 / self.mean[j]
            deviation = (a * a * Q[i, i] + 2 * a * b * Q[i, j] + b * b * Q[j, j]) ** -0.5
            mean = -(a * force[:, i] + b * force[:, j]) * deviation**2
            ends = np.stack([-z[:, i] / a, -z[:, j] / b])
            rises = np.stack([sign[:, i] * a > 0, sign[:, j] * b > 0])
            low, high = np.where(rises, ends, -np.inf).max(0), np.where(rises, np.inf, ends).min(0)
            below, above = (scipy.special.ndtr((end - mean) / deviation) for end in (low, high))
            t = mean + deviation * scipy.special.ndtri(below + (above - below) * rng.uniform(size=len(z)))
            # In the far tails, where the distribution function is flat, the pair stays where it is.
            t = np.where(np.isfinite(t) & (t >= low) & (t <= high), t, 0)
            z[:, i] += a * t
            z[:, j] += b * t
            force += np.outer(t, a * Q[i] + b * Q[j])
        return z


def coefficient(fields: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.where(fields >= 0, ABOVE, BELOW))[:, None].float()


def prediction(folder: str, a: torch.Tensor) -> torch.Tensor:
    """What the operator of a run makes of coefficients at its points."""
    run = Run(folder, "cpu")
    operator = run.operator(run.discretization()).eval()
    with torch.no_grad():
        return torch.cat([operator({"a": part})["u"] for part in a.split(10)]).double()


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    nodes, every = options.nodes, 2
    conditional, solver = Conditional(nodes, every), Darcy((nodes, nodes), tolerance=1e-8)
    grid = every_nth(Grid((nodes, nodes)), every)
    samples = range(options.samples)
    z = conditional.field.sample(options.seed, samples, dtype=torch.float64)[:, 0].numpy()
    fresh = conditional.field.sample(options.seed + 1, samples, dtype=torch.float64)[:, 0].numpy()

    def solution(fields: np.ndarray) -> torch.Tensor:
        return torch.cat([take_every_nth(solver.solve(a), every) for a in coefficient(fields).split(10)]).double()

    def relative(difference: torch.Tensor, share: float = 1.0) -> dict[str, float]:
        """Mean and root mean square of the relative errors, the one times a share, the squares of the other likewise."""
        columns = {}
        for norm in ("L2", "H1"):
            errors = grid.norm(difference, norm) / grid.norm(u, norm)
            columns |= {f"{norm}: mean": float(share * errors.mean())}
            columns |= {f"{norm}: root mean square": float((share * errors.square().mean()).sqrt())}
        return columns

    u, kept, done = solution(z), z.reshape(len(z), -1)[:, conditional.kept], 0
    for run in options.runs:
        yield {"of": run, **relative(prediction(run, take_every_nth(coefficient(z), every)) - u)}
    rng = np.random.default_rng(options.seed)
    for sweeps in sorted(options.sweeps):
        for _ in range(done, sweeps):
            kept = conditional.sweep(kept, rng)
        done = sweeps
        other = conditional.sample(kept, fresh)
        assert ((other >= 0) == (z >= 0))[:, ::every, ::every].mean() > 0.9999
        yield {"of": f"any operator, {sweeps} sweeps", **relative(solution(other) - u, share=0.5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=127, help="of the solver along each axis")
    parser.add_argument("--samples", type=int, default=32, help="the first of the data set of that seed, those of testing")
    parser.add_argument("--sweeps", type=int, nargs="+", default=[0, 16, 64])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--runs", nargs="*", default=[], help="folders of training runs on the kept nodes, judged on the same samples"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    options = parser.parse_args()
    if any(sweeps % 2 for sweeps in options.sweeps):
        parser.error("the bound on mean squares holds for even numbers of sweeps")
    rows = list(measure(options))
    report.print_table("relative errors of operators of the kept coefficient, and bounds from below", rows)
    if options.json:
        report.write_json(options.json, "darcy_floor", {k: v for k, v in vars(options).items() if k != "json"}, rows)


if __name__ == "__main__":
    main()
