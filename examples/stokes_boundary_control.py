"""Boundary control of Stokes flow: the lid velocity that brings a cavity's flow closest to a wanted one.

Minimises ½‖u − u_d‖² + α/2 ‖g‖² over the tangential velocity g of the lid, by L-BFGS-B on Firedrake's adjoint. The problem is linear and
quadratic, so the optimum is known: with S the map from g to u, it solves (SᵀMS + αM_Γ) g = SᵀM u_d. Run it by
``python examples/stokes_boundary_control.py``.
"""

from pathlib import Path

import firedrake as fd
import numpy as np
from scipy.sparse import csr_matrix

from thalweg import control
from thalweg.visualization import plot_comparison


def known_optimum(flow: control.StokesLid) -> np.ndarray:
    """The lid's dofs from the normal equations, with one solve for each of them."""
    v, u = fd.TestFunction(flow.V), fd.TrialFunction(flow.V)
    M, M_lid = (csr(fd.assemble(fd.inner(u, v) * measure)) for measure in (fd.dx, fd.ds(4)))
    columns = []
    for dof in flow.dofs:
        flow.g.assign(0)
        flow.g.dat.data_wo[dof // 2, 0] = 1
        flow.velocity()
        columns.append(flow.z.subfunctions[0].dat.data_ro.ravel().copy())
    S = np.stack(columns, axis=1)
    b = fd.assemble(fd.inner(flow.wanted, v) * fd.dx).dat.data_ro.ravel()
    H = S.T @ (M @ S) + flow.alpha * M_lid[flow.dofs][:, flow.dofs].toarray()
    return np.linalg.solve(H, S.T @ b)


def csr(A) -> csr_matrix:
    indptr, indices, data = A.petscmat.getValuesCSR()
    return csr_matrix((data, indices, indptr), shape=A.petscmat.getSize())


def main(cells: int = 16, iterations: int = 60, folder: str = "outputs/examples") -> dict[str, float]:
    """Return the objective without and with control, and the distance of the control from the known optimum."""
    flow = control.StokesLid(cells)
    functional = flow.functional("firedrake", flow.controls({"g": {"low": -5, "high": 5}}))
    found = control.minimize(functional, iterations)
    exact = known_optimum(flow)
    distance = np.linalg.norm(found.controls["g"] - exact) / np.linalg.norm(exact)
    print(f"J {found.initial_value:.6f} uncontrolled, {found.value:.6f} controlled, after {found.iterations} iterations")
    print(f"distance of the control from the known optimum: {distance:.1e}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    panels = flow.panels(found.controls)
    plot_comparison(next(iter(panels.values()))[0], panels, Path(folder) / "stokes_boundary_control.png")
    return {"uncontrolled": found.initial_value, "controlled": found.value, "distance": float(distance)}


if __name__ == "__main__":
    main()
