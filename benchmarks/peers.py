"""Other packages on the problems of ``solvers.py``, in a Python that need not have thalweg.

Started by ``solvers.py``, which passes the data in a file and reads one line of JSON.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np


def best(call: Callable[[], Any], seconds: float) -> float:
    """Shortest wall time of a call, after one that is not timed."""
    call()
    shortest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or shortest == float("inf"):
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def jax_cfd(data: dict[str, Any], seconds: float) -> dict[str, Any]:
    """``spectral.equations.NavierStokes2D`` with ``crank_nicolson_rk4``, dealiased, compiled by XLA."""
    import jax
    import jax.numpy as jnp
    from jax_cfd.base import grids
    from jax_cfd.spectral import equations, time_stepping

    w, steps = jnp.asarray(data["w"]), int(data["steps"])
    n, L = w.shape[-1], float(data["length"])
    equation = equations.NavierStokes2D(float(data["viscosity"]), grids.Grid((n, n), domain=((0, L), (0, L))), smooth=True)
    step = time_stepping.crank_nicolson_rk4(equation, float(data["dt"]))

    def many(w: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, w: step(w), w)

    spectra = jnp.fft.rfftn(w, axes=(-2, -1)) * equation.filter_
    run = jax.jit(jax.vmap(many) if len(w) > 1 else lambda spectra: many(spectra[0])[None])
    elapsed = best(lambda: run(spectra).block_until_ready(), seconds)
    return {"seconds": elapsed, "result": np.asarray(jnp.fft.irfftn(run(spectra), axes=(-2, -1)))}


def jax_cfd_staggered(data: dict[str, Any], seconds: float) -> dict[str, Any]:
    """``equations.semi_implicit_navier_stokes`` with central convection and the scheme of Shu and Osher."""
    import jax
    import jax.numpy as jnp
    from jax_cfd.base import advection, boundaries, equations, grids, initial_conditions, time_stepping

    velocity, steps = (jnp.asarray(data["u"]), jnp.asarray(data["v"])), int(data["steps"])
    n, L = velocity[0].shape[-1], float(data["length"])
    grid = grids.Grid((n, n), domain=((0, L), (0, L)))
    periodic = boundaries.periodic_boundary_conditions(2)
    tableau = time_stepping.ButcherTableau(a=[[1], [1 / 4, 1 / 4]], b=[1 / 6, 1 / 6, 2 / 3])
    step = equations.semi_implicit_navier_stokes(
        density=1.0,
        viscosity=float(data["viscosity"]),
        dt=float(data["dt"]),
        grid=grid,
        convect=advection.convect_linear,
        time_stepper=lambda equation, dt: time_stepping.navier_stokes_rk(tableau, equation, dt),
    )

    def many(u: Any, v: Any) -> Any:
        start = initial_conditions.wrap_variables((u, v), grid, (periodic, periodic))
        end = jax.lax.fori_loop(0, steps, lambda _, state: step(state), start)
        return end[0].data, end[1].data

    run = jax.jit(jax.vmap(many) if len(velocity[0]) > 1 else lambda u, v: [w[None] for w in many(u[0], v[0])])
    elapsed = best(lambda: jax.block_until_ready(run(*velocity)), seconds)
    return {"seconds": elapsed, "result": np.stack(run(*velocity), 1)}


def torch_cfd(data: dict[str, Any], seconds: float) -> dict[str, Any]:
    """``NavierStokes2DSpectral`` with ``RK4CrankNicolsonStepper``, dealiased, eager."""
    import torch
    from torch_cfd.grids import Grid
    from torch_cfd.spectral import NavierStokes2DSpectral, RK4CrankNicolsonStepper

    torch.set_num_threads(int(data["threads"]))
    w, steps = torch.from_numpy(data["w"]), int(data["steps"])
    n, L = w.shape[-1], float(data["length"])
    grid = Grid(shape=(n, n), domain=((0, L), (0, L)))
    equation = NavierStokes2DSpectral(float(data["viscosity"]), grid, smooth=True, step_fn=RK4CrankNicolsonStepper())
    spectra = torch.fft.rfft2(w) * equation.filter

    def run() -> torch.Tensor:
        with torch.no_grad():
            return equation(spectra, float(data["dt"]), steps=steps)[0]

    return {"seconds": best(run, seconds), "result": torch.fft.irfft2(run()).numpy()}


def pyamg(data: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Ruge-Stüben multigrid with conjugate gradients, set-up included, on the same matrix; one sample at a time."""
    import pyamg as amg
    import scipy.sparse as sparse

    n = int(data["nodes"])
    free = np.zeros((n, n), bool)
    free[1:-1, 1:-1] = True
    index, matrices = np.arange(n * n).reshape(n, n), []
    for a in data["a"]:
        i, j, v = [], [], []
        for p, q, w in ((index[:-1], index[1:], (a[:-1] + a[1:]) / 2), (index[:, :-1], index[:, 1:], (a[:, :-1] + a[:, 1:]) / 2)):
            p, q, w = p.ravel(), q.ravel(), w.ravel().astype(float)
            i, j, v = [*i, p, q, p, q], [*j, p, q, q, p], [*v, w, w, -w, -w]
        A = sparse.coo_matrix((np.concatenate(v), (np.concatenate(i), np.concatenate(j)))).tocsr()
        matrices.append(A[free.ravel()][:, free.ravel()])
    b = np.full(int(free.sum()), 1 / (n - 1) ** 2)

    def solve(A: Any) -> np.ndarray:
        return amg.ruge_stuben_solver(A).solve(b, tol=float(data["tolerance"]), accel="cg")

    elapsed = best(lambda: [solve(A) for A in matrices], seconds)
    result = np.zeros((len(matrices), n, n))
    result[:, free] = [solve(A) for A in matrices]
    return {"seconds": elapsed, "result": result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", choices=["jax-cfd", "jax-cfd staggered", "torch-cfd", "pyamg"])
    parser.add_argument("data", help="an .npz file; the result is written beside it")
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    try:
        version = metadata.version(arguments.package.split()[0])
    except metadata.PackageNotFoundError:
        print(json.dumps({"absent": True}))
        return
    with np.load(arguments.data) as file:
        data = dict(file)
    found = globals()[arguments.package.replace("-", "_").replace(" ", "_")](data, arguments.seconds)
    np.save(arguments.data.replace(".npz", ".npy"), found.pop("result"))
    print(json.dumps({**found, "version": version}))


if __name__ == "__main__":
    main()
