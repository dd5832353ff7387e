"""Mass matrices inverted for batches of fields: ``MassSolver`` by sparse factors, as on CPUs, against its iterations, as on GPUs.

Where there are no times of factors, ``MassSolver`` takes iterations on a CPU as well.

    python benchmarks/mass.py --json mass.json
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import report
import torch

from thalweg import fem
from thalweg.fem.firedrake import firedrake


def masses(size: int, dtype: torch.dtype) -> Iterator[tuple[str, fem.SparseMatrix]]:
    """Linear elements, vectors of quadratic ones with as many nodes, and linear ones of a cube."""
    fd = firedrake()
    square, coarse, edge = fd.UnitSquareMesh(size, size), fd.UnitSquareMesh(size // 2, size // 2), round(size ** (2 / 3))
    spaces = {
        "CG1": fd.FunctionSpace(square, "CG", 1),
        "CG2, vectors": fd.VectorFunctionSpace(coarse, "CG", 2),
        "CG1, cube": fd.FunctionSpace(fd.UnitCubeMesh(edge, edge, edge), "CG", 1),
    }
    for name, V in spaces.items():
        yield name, fem.export({"V": V}, dtype=dtype)["V"].mass


def measure(name: str, mass: fem.SparseMatrix, batches: Sequence[int], seconds: float) -> Iterator[dict[str, Any]]:
    start = time.perf_counter()
    solver = fem.MassSolver(mass)
    setup = 1e3 * (time.perf_counter() - start)
    has_factors = "factors" in solver.extra_repr()
    for batch in batches:
        b = torch.randn(batch, mass.shape[0], dtype=mass.val.dtype)
        columns = b.T.reshape(-1, batch * solver.copies)
        yield {
            "mass matrix": name,
            "dofs": mass.shape[0],
            "precision": str(mass.val.dtype).removeprefix("torch."),
            "setup [ms]": setup,
            "batch": batch,
            "factors [ms]": report.milliseconds(lambda b=b: solver(b), seconds) if has_factors else "-",
            "iterations [ms]": report.milliseconds(lambda columns=columns: solver.iterate(columns), seconds),
            "iterations": solver.iterations,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[50, 200], help="cells along each side of the square")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64], help="fields at once")
    parser.add_argument("--seconds", type=float, default=0.5, help="time spent on each measurement")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sys.argv = sys.argv[:1]  # PETSc takes what is left for its own options
    rows = [
        row
        for dtype in (torch.float32, torch.float64)
        for size in arguments.size
        for name, mass in masses(size, dtype)
        for row in measure(name, mass, arguments.batch, arguments.seconds)
    ]
    report.print_table(f"Mass matrices inverted, {arguments.threads} thread(s)", rows)
    if arguments.json:
        report.write_json(arguments.json, "mass", {"seconds": arguments.seconds}, rows)


if __name__ == "__main__":
    main()
