"""The grid solvers against others: vorticity against jax-cfd and torch-cfd, Darcy flow against Firedrake's LU and pyamg.

Vorticity: decaying turbulence in a periodic box, float32, dealiased, Crank-Nicolson with the fourth-order low-storage Runge-Kutta scheme
of Carpenter and Kennedy, the same steps from the same field; sample-steps per second. Darcy flow: a two-phase coefficient at the nodes,
samples per second, with all that a new coefficient needs. ``difference`` is relative to our solution, in the discrete L² norm. Packages
from PyPI run in a Python of their own, one at a time:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install jax-cfd torch-cfd pyamg
    python benchmarks/solvers.py --peers-python /tmp/peers/bin/python --json solvers.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch

from thalweg.allocator import keep_freed_memory
from thalweg.errors import MissingPackageError
from thalweg.solvers.grid import (
    ARK436,
    CNRK4,
    Darcy,
    NeumannField,
    Outflow,
    PeriodicField,
    Smoke,
    StaggeredFlow,
    VorticityEquation,
    Wall,
    threshold,
)
from thalweg.solvers.grid.potentials import velocity_of


def peer(python: str | None, package: str, data: dict[str, Any], threads: int, seconds: float) -> tuple[dict[str, Any], Any]:
    """What ``peers.py`` measured and its result; ``{"absent": why}`` if it could not."""
    if python is None:
        return {"absent": "no --peers-python"}, None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, threads=threads, **data)
        script = Path(__file__).with_name("peers.py")
        # XLA takes as many threads as the process may use cores.
        cores = sorted(os.sched_getaffinity(0))[:threads]
        run = subprocess.run(
            [python, str(script), package, str(path), "--seconds", str(seconds)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        if run.returncode:
            return {"absent": f"failed: {run.stderr.strip().splitlines()[-1]}"}, None
        found = json.loads(run.stdout.splitlines()[-1])
        if found.get("absent"):
            return {"absent": "not installed there"}, None
        return found, np.load(path.with_suffix(".npy"))


def rate_row(
    case: str, solver: str, batch: int, rate: float | None, ours: float, difference: float | None, note: str
) -> dict[str, Any]:
    return {
        "case": case,
        "solver": solver,
        "batch": batch,
        "per second": "-" if rate is None else rate,
        "ours / this": "-" if rate is None else ours / rate,
        "difference": "-" if difference is None else difference,
        "note": note,
    }


def relative(u: Any, reference: torch.Tensor) -> float:
    reference = reference.double().flatten(1)
    return float(((torch.as_tensor(np.asarray(u)).double().flatten(1) - reference).norm(dim=1) / reference.norm(dim=1)).max())


def vorticity(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    n, L, nu, dt, steps = arguments.size, 2 * pi, 1e-3, 1e-3, 50
    equation = VorticityEquation((n, n), (L, L), viscosity=nu)
    for batch in arguments.batch:
        w = PeriodicField((n, n), alpha=2.5, tau=7).sample(0, range(batch))
        w = w * (4 / w.square().mean().sqrt())
        results = {}
        for scheme, name in ((CNRK4, "CNRK4"), (ARK436, "ARK436")):
            with torch.inference_mode():
                ms = report.milliseconds(
                    lambda w=w, s=scheme: equation.solve(w, steps * dt, 1, dt=dt, scheme=s), arguments.seconds
                )
                results[name] = 1e3 * batch * steps / ms, equation.solve(w, steps * dt, 1, dt=dt, scheme=scheme)[:, 1]
        case, (ours, end) = f"vorticity {n}²", results["CNRK4"]
        yield rate_row(case, "thalweg, CNRK4", batch, ours, ours, 0.0, "5 evaluations a step")
        yield rate_row(
            case, "thalweg, ARK436", batch, results["ARK436"][0], ours, relative(results["ARK436"][1], end), "6 evaluations"
        )
        data = {"w": w[:, 0].numpy(), "steps": steps, "length": L, "viscosity": nu, "dt": dt}
        for package in ("jax-cfd", "torch-cfd"):
            found, result = peer(arguments.peers_python, package, data, arguments.threads, arguments.seconds)
            rate = batch * steps / found["seconds"] if "seconds" in found else None
            difference = relative(result, end) if rate else None
            yield rate_row(
                case, package, batch, rate, ours, difference, found.get("absent") or f"version {found['version']}, CN-RK4"
            )


def staggered(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Steps of three projected stages; beside a periodic box, which jax-cfd has with the same scheme, ours only."""
    yield from periodic(arguments)
    n = arguments.size
    solid = torch.zeros(n, n, dtype=torch.bool)
    solid[n // 4 : n // 4 + n // 8, n // 2 - n // 16 : n // 2 + n // 16] = True
    channel = {"x0": Wall(normal=1.0), "x1": Outflow(), "y0": Wall(), "y1": Wall()}
    cases = {
        "channel": {"sides": channel},
        "channel, obstacle": {"sides": channel, "solid": solid},
        "channel, obstacle, implicit viscosity": {"sides": channel, "solid": solid, "implicit_viscosity": True},
    }
    for name, options in cases.items():
        flow = StaggeredFlow((n, n), viscosity=1e-3, **options)
        for batch in arguments.batch:
            start, dt, steps = flow.at_rest(batch), 0.2 / n, 5
            with torch.inference_mode():
                ms = report.milliseconds(lambda f=flow, s=start: f.solve(s, steps * dt, 1, dt=dt), arguments.seconds)  # noqa: B023
            rate = 1e3 * batch * steps / ms
            yield rate_row(f"staggered {n}², {name}", "thalweg", batch, rate, rate, None, "3 stages a step, no peer")
    flow = StaggeredFlow((n, n), viscosity=1e-3)
    smoke = Smoke(flow, buoyancy=(0.0, 1.0))
    for batch in arguments.batch:
        c = torch.rand(batch, 1, n, n)
        with torch.inference_mode():
            ms = report.milliseconds(lambda c=c: smoke.solve(flow.at_rest(len(c)), c, 0.5 / n, 1, dt=0.1 / n), arguments.seconds)
        rate = 5e3 * batch / ms
        yield rate_row(f"smoke {n}², periodic", "thalweg", batch, rate, rate, None, "3 stages and 2 half steps, no peer")


def advanced(step: Callable[[tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]], state: Any, steps: int) -> Any:
    for _ in range(steps):
        state = step(state)
    return state


def periodic(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    n, L, nu, dt, steps = arguments.size, 2 * pi, 1e-3, 1e-3, 20
    flow = StaggeredFlow((n, n), (L, L), viscosity=nu)
    for batch in arguments.batch:
        start = velocity_of((PeriodicField((n, n), alpha=3.5, tau=7).sample(0, range(batch)),), flow.spacings, (True, True))
        largest = max(w.abs().max() for w in start)
        start = tuple(w / largest for w in start)
        with torch.inference_mode():
            ms = report.milliseconds(lambda s=start: flow.solve(s, steps * dt, 1, dt=dt), arguments.seconds)
            end = flow.solve(start, steps * dt, 1, dt=dt)
        ours, case = 1e3 * batch * steps / ms, f"staggered {n}², periodic"
        ours_end = torch.cat([end[0][:, 1, :, 1:], end[1][:, 1, :, :, 1:]], 1)
        yield rate_row(case, "thalweg", batch, ours, ours, 0.0, "3 stages a step")
        torch.compiler.reset()
        step = torch.compile(flow.step(dt), dynamic=False)
        with torch.inference_mode():
            ms = report.milliseconds(lambda s=start, step=step: advanced(step, s, steps), arguments.seconds)
            compiled = advanced(step, start, steps)
        compiled_end = torch.cat([compiled[0][:, :, 1:], compiled[1][:, :, :, 1:]], 1)
        rate = 1e3 * batch * steps / ms
        yield rate_row(
            case, "thalweg, compiled", batch, rate, ours, relative(compiled_end, ours_end), "torch.compile(flow.step(dt))"
        )
        u, v = start[0][:, 0, 1:].numpy(), start[1][:, 0, :, 1:].numpy()
        data = {"u": u, "v": v, "steps": steps, "length": L, "viscosity": nu, "dt": dt}
        found, result = peer(arguments.peers_python, "jax-cfd staggered", data, arguments.threads, arguments.seconds)
        rate = batch * steps / found["seconds"] if "seconds" in found else None
        difference = relative(result, ours_end) if rate else None
        note = found.get("absent") or f"version {found['version']}, the same scheme"
        yield rate_row(case, "jax-cfd", batch, rate, ours, difference, note)


def darcy(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    n, case = arguments.size + 1, f"Darcy {arguments.size}²"
    tolerance, count = 1e-8, max(arguments.batch)
    a = threshold(NeumannField((n - 1, n - 1), alpha=2, tau=3).sample(0, range(count)), above=12, below=3)
    solver = Darcy((n, n), tolerance=tolerance)
    rates = {}
    for batch in arguments.batch:
        with torch.inference_mode():
            rates[batch] = 1e3 * batch / report.milliseconds(lambda b=batch: solver.solve(a[:b]), arguments.seconds)
    ours = max(rates.values())
    for batch, rate in rates.items():
        yield rate_row(case, "thalweg", batch, rate, ours, 0.0, f"float32 data, tolerance {tolerance:.0e}")
    u, few = solver.solve(a), a[:4, 0].numpy()
    found, result = peer(
        arguments.peers_python, "pyamg", {"a": few, "nodes": n, "tolerance": tolerance}, arguments.threads, arguments.seconds
    )
    rate = len(few) / found["seconds"] if "seconds" in found else None
    difference = relative(result, u[: len(few)]) if rate else None
    yield rate_row(
        case, "pyamg", 1, rate, ours, difference, found.get("absent") or f"version {found['version']}, the same matrix"
    )
    try:
        rate, difference = firedrake_lu(few, u[: len(few)], arguments.seconds)
        yield rate_row(case, "Firedrake, LU", 1, rate, ours, difference, "bilinear elements, assembly, MUMPS")
    except MissingPackageError as error:
        yield rate_row(case, "Firedrake, LU", 1, None, ours, None, str(error).splitlines()[0])


def firedrake_lu(a: np.ndarray, u: torch.Tensor, seconds: float) -> tuple[float, float]:
    """Samples per second and the difference of the solutions, which is one of discretizations."""
    from thalweg.fem.firedrake import firedrake

    fd = firedrake()
    n = a.shape[-1]
    V = fd.FunctionSpace(fd.UnitSquareMesh(n - 1, n - 1, quadrilateral=True), "Q", 1)
    x, y = (fd.Function(V).interpolate(X).dat.data_ro for X in fd.SpatialCoordinate(V.mesh()))
    place = np.rint(x * (n - 1)).astype(int), np.rint(y * (n - 1)).astype(int)
    coefficient, solution = fd.Function(V), fd.Function(V)
    w, v = fd.TrialFunction(V), fd.TestFunction(V)
    problem = fd.LinearVariationalProblem(
        coefficient * fd.inner(fd.grad(w), fd.grad(v)) * fd.dx(degree=2),
        v * fd.dx,
        solution,
        bcs=fd.DirichletBC(V, 0, "on_boundary"),
        constant_jacobian=False,
    )
    options = {"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}
    solver = fd.LinearVariationalSolver(problem, solver_parameters=options)
    results = np.zeros_like(a, dtype=float)

    def run() -> None:
        for sample, result in zip(a, results, strict=True):
            coefficient.dat.data[:] = sample[place]
            solver.solve()
            result[place] = solution.dat.data_ro

    return 1e3 * len(a) / report.milliseconds(run, seconds), relative(results[:, None], u)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="points or cells along each side")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument(
        "--only", nargs="+", choices=["vorticity", "staggered", "darcy"], default=["vorticity", "staggered", "darcy"]
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch, cores of the others")
    parser.add_argument("--peers-python", metavar="PATH", help="a Python with jax-cfd, torch-cfd and pyamg")
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # else page faults of fresh outputs would be measured
    sys.argv = sys.argv[:1]  # PETSc takes what is left for its own options
    rows = [row for case in (vorticity, staggered, darcy) if case.__name__ in arguments.only for row in case(arguments)]
    report.print_table(f"sample-steps or samples per second on {arguments.threads} threads", rows)
    if arguments.json:
        settings = {"size": arguments.size, "seconds": arguments.seconds, "threads": arguments.threads}
        report.write_json(arguments.json, "solvers", settings, rows)


if __name__ == "__main__":
    main()
