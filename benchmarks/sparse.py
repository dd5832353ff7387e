"""Batched products with finite-element matrices: ``SparseMatrix`` against scipy and against the bandwidth of the memory.

The bound is the time to read the matrix and the input and to write the output once, at the bandwidth that a triad reaches in the same
run. ``on_nodes`` has the features innermost, ``last axis`` the dofs; scipy works on the layout of the first.

    python benchmarks/sparse.py --json sparse.json
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import report
import torch

from thalweg import fem
from thalweg.allocator import keep_freed_memory
from thalweg.fem.firedrake import firedrake

TRIAD = 20_000_000  # entries of each of its three arrays, far more than caches hold


def bandwidth(seconds: float) -> float:
    """Bytes per second of ``c = a + s b``, reading two arrays and writing one."""
    a, b, c = (torch.rand(TRIAD) for _ in range(3))
    return 3 * a.nbytes / (1e-3 * report.milliseconds(lambda: torch.add(a, b, alpha=2.0, out=c), seconds))


def matrices(size: int) -> Iterator[tuple[str, fem.SparseMatrix]]:
    """Stiffness matrices of linear and quadratic elements with the same dofs, and the prolongation between two meshes."""
    fd = firedrake()
    for degree in (1, 2):
        V = fd.FunctionSpace(fd.UnitSquareMesh(size // degree, size // degree), "CG", degree)
        yield f"CG{degree} stiffness", fem.export({"V": V}, dtype=torch.float32)["V"].stiffness
    coarse, fine = (fd.FunctionSpace(mesh, "CG", 1) for mesh in fd.MeshHierarchy(fd.UnitSquareMesh(size // 2, size // 2), 1))
    yield "CG1 prolongation", fem.SparseMatrix(fem.interpolation(coarse, fine))


def measure(name: str, A: fem.SparseMatrix, features: int, bytes_per_second: float, seconds: float) -> dict[str, Any]:
    rows, columns = A.shape
    h = torch.randn(columns, features)
    u = h.T.contiguous()
    S, x = A.to_scipy(), h.numpy()
    moved = 4 * (rows + columns) * features + 8 * A.nnz + 4 * rows
    bound = 1e3 * moved / bytes_per_second
    ours, last = report.milliseconds(lambda: A.on_nodes(h), seconds), report.milliseconds(lambda: A(u), seconds)
    return {
        "matrix": name,
        "rows": rows,
        "nonzeros": A.nnz,
        "features": features,
        "bound [ms]": bound,
        "on_nodes [ms]": ours,
        "last axis [ms]": last,
        "scipy [ms]": report.milliseconds(lambda: S @ x, seconds),
        "on_nodes / bound": ours / bound,
        "last axis / bound": last / bound,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=220, help="dofs along each side of the square")
    parser.add_argument("--features", type=int, nargs="+", default=[8, 32, 512])
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # else page faults of fresh outputs would be measured
    sys.argv = sys.argv[:1]  # PETSc takes what is left for its own options
    found = bandwidth(arguments.seconds)
    rows = [
        measure(name, A, features, found, arguments.seconds)
        for name, A in matrices(arguments.size)
        for features in arguments.features
    ]
    report.print_table(f"float32 products; the triad moves {found / 1e9:.1f} GB/s on {arguments.threads} threads", rows)
    if arguments.json:
        settings = {"size": arguments.size, "seconds": arguments.seconds, "triad [GB/s]": found / 1e9}
        report.write_json(arguments.json, "sparse", settings, rows)


if __name__ == "__main__":
    main()
