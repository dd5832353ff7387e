"""Residuals of variational forms, forward and backward: compiled forms against ``firedrake.ml.pytorch.fem_operator``.

Both evaluate the same form at the same quadrature points; ``fem_operator`` one sample at a time in float64, the only way it has.

    python benchmarks/forms.py --size 64 --json forms.json

On a GPU machine without Firedrake, with the folder made where Firedrake is:

    python benchmarks/forms.py --size 64 --keep forms
    python benchmarks/forms.py --size 64 --load forms --device cuda --json forms-gpu.json
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
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
    u = 0.1 / size * torch.rand(shape, generator=generator, dtype=torch.float64)
    return u.to(F.device, F.dtype).requires_grad_()


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


class Prepared(NamedTuple):
    """What a measurement needs of Firedrake: the compiled form, and how long ``fem_operator`` takes for a sample."""

    name: str
    form: fem.Residual
    baseline: float


def prepared(size: int, seconds: float, folder: Path | None) -> Iterator[Prepared]:
    """Compile every form and time ``fem_operator``; kept in a folder, if one is given, for machines without Firedrake."""
    baselines = {}
    for i, problem in enumerate(problems(size)):
        disc = fem.export(problem.spaces, forms={"residual": problem.form})
        F = disc.form("residual")
        baselines[problem.name] = theirs(problem, sample(F, 1, size), 2 * seconds)
        if folder:
            disc.save(folder / f"{i}.h5")
        yield Prepared(problem.name, F, baselines[problem.name])
    if folder:
        (folder / "fem_operator.json").write_text(json.dumps(baselines))


def loaded(folder: Path, device: str) -> Iterator[Prepared]:
    """What :func:`prepared` kept."""
    for i, (name, baseline) in enumerate(json.loads((folder / "fem_operator.json").read_text()).items()):
        yield Prepared(name, fem.load(folder / f"{i}.h5", device).form("residual"), baseline)


def measure(problem: Prepared, size: int, batches: list[int], compiled: bool, seconds: float) -> Iterator[dict[str, Any]]:
    F = problem.form.to(torch.float32)
    for batch in batches:
        u = sample(F, batch, size)
        eager = ours(F, u, seconds)
        row = {
            "problem": problem.name,
            "dofs": u.shape[1],
            "batch": batch,
            "fem_operator, ms": problem.baseline,
            "eager, ms": eager,
        }
        if compiled:
            torch.compiler.reset()
            row["compiled, ms"] = ours(torch.compile(F, fullgraph=True, dynamic=False), u, seconds)
        best = min(row.get("compiled, ms", eager), eager)
        yield {**row, "speed-up": problem.baseline / best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, help="cells along each side of the square")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep there what machines without Firedrake need")
    parser.add_argument("--load", metavar="FOLDER", type=Path, help="measure what --keep kept, without Firedrake")
    parser.add_argument("--device", default="cpu", help="with --load: cpu or cuda")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sys.argv = sys.argv[:1]  # PETSc takes what is left for its own options
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    found = (
        loaded(arguments.load, arguments.device)
        if arguments.load
        else prepared(arguments.size, arguments.seconds, arguments.keep)
    )
    rows = []
    for problem in found:
        rows += measure(problem, arguments.size, arguments.batch, not arguments.eager, arguments.seconds)
    report.print_table(f"ms per sample, forward and backward, {arguments.size}x{arguments.size} cells", rows)
    if arguments.json:
        report.write_json(arguments.json, "forms", {"size": arguments.size, "seconds": arguments.seconds}, rows)


if __name__ == "__main__":
    main()
