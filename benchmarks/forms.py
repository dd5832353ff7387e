"""Residuals of variational forms, forward and backward: compiled forms against ``firedrake.ml.pytorch.fem_operator``.

Both evaluate the same form at the same quadrature points; ``fem_operator`` one sample at a time in float64, the only way it has.

    python benchmarks/forms.py --size 64 --json forms.json
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import report
import torch

from thalweg import fem
from thalweg.fem.firedrake import firedrake


class Problem(NamedTuple):
    """A form in one unknown, and the spaces it needs exported."""

    name: str
    form: Any
    unknown: Any
    spaces: dict[str, Any]


def problems(size: int) -> Iterator[Problem]:
    fd = firedrake()
    mesh = fd.UnitSquareMesh(size, size)
    for degree in (1, 2):
        V = fd.FunctionSpace(mesh, "CG", degree)
        u, v = fd.Function(V, name="u"), fd.TestFunction(V)
        dx = fd.dx(degree=2 * degree)
        form = (1 + u**2) * fd.inner(fd.grad(u), fd.grad(v)) * dx - fd.Constant(1.0) * v * dx
        yield Problem(f"nonlinear diffusion, CG{degree}", form, u, {"V": V})
    W, Q = fd.VectorFunctionSpace(mesh, "CG", 2), fd.FunctionSpace(mesh, "CG", 1)
    Z = W * Q
    z = fd.Function(Z, name="u")
    (u, p), (v, q) = fd.split(z), fd.TestFunctions(Z)
    flow = 0.01 * fd.inner(fd.grad(u), fd.grad(v)) + fd.inner(fd.dot(fd.grad(u), u), v) - p * fd.div(v) - q * fd.div(u)
    yield Problem("Navier-Stokes, Taylor-Hood", flow * fd.dx(degree=5), z, {"W": W, "Q": Q})
    u, v = fd.Function(W, name="u"), fd.TestFunction(W)
    F = fd.variable(fd.Identity(2) + fd.grad(u))
    energy = 0.5 * (fd.inner(F, F) - 2) - fd.ln(fd.det(F)) + 5 * fd.ln(fd.det(F)) ** 2
    yield Problem("neo-Hookean, CG2", fd.inner(fd.diff(energy, F), fd.grad(v)) * fd.dx(degree=4), u, {"W": W})


def sample(F: fem.Residual, batch: int, size: int) -> torch.Tensor:
    """Random fields, small against the cells, so that as a displacement they turn none inside out."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, *F.arguments["u"].shape)
    return (0.1 / size * torch.rand(shape, generator=generator, dtype=torch.float64)).to(F.dtype).requires_grad_()


def ours(F: Any, u: torch.Tensor, seconds: float) -> float:
    """Milliseconds per sample, forward and backward."""

    def call() -> None:
        u.grad = None
        F(u=u).square().sum().backward()

    return report.milliseconds(call, seconds) / len(u)


def theirs(problem: Problem, u: torch.Tensor, seconds: float) -> float:
    from firedrake.adjoint import Control, ReducedFunctional, continue_annotation, get_working_tape, pause_annotation
    from firedrake.ml.pytorch import fem_operator

    get_working_tape().clear_tape()
    continue_annotation()
    operator = fem_operator(ReducedFunctional(firedrake().assemble(problem.form), Control(problem.unknown)))
    pause_annotation()

    def call() -> None:
        u.grad = None
        operator(u).square().sum().backward()

    return report.milliseconds(call, seconds)


def measure(problem: Problem, size: int, batches: list[int], compiled: bool, seconds: float) -> Iterator[dict[str, Any]]:
    disc = fem.export(problem.spaces, dtype=torch.float64)
    F = fem.compile_form(problem.form, disc)
    u = sample(F, 1, size)
    baseline = theirs(problem, u, 2 * seconds)
    F = F.to(torch.float32)
    for batch in batches:
        u = sample(F, batch, size)
        eager = ours(F, u, seconds)
        row = {"problem": problem.name, "dofs": u.shape[1], "batch": batch, "fem_operator, ms": baseline, "eager, ms": eager}
        if compiled:
            torch.compiler.reset()
            row["compiled, ms"] = ours(torch.compile(F, fullgraph=True, dynamic=False), u, seconds)
        best = min(row.get("compiled, ms", eager), eager)
        yield {**row, "speed-up": baseline / best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, help="cells along each side of the square")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sys.argv = sys.argv[:1]  # PETSc takes what is left for its own options
    rows = []
    for problem in problems(arguments.size):
        rows += measure(problem, arguments.size, arguments.batch, not arguments.eager, arguments.seconds)
    report.print_table(f"ms per sample, forward and backward, {arguments.size}x{arguments.size} cells", rows)
    if arguments.json:
        report.write_json(arguments.json, "forms", {"size": arguments.size, "seconds": arguments.seconds}, rows)


if __name__ == "__main__":
    main()
