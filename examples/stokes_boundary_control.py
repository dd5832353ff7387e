"""Boundary control of Stokes flow: the lid velocity that brings a cavity's flow closest to a wanted one.

Minimises ½‖u − u_d‖² + α/2 ‖g‖² over the tangential velocity g of the lid, by L-BFGS-B on Firedrake's adjoint. The problem is linear and
quadratic, so the optimum is known: with S the map from g to u, it solves (SᵀMS + αM_Γ) g = SᵀM u_d. Run it by
``python examples/stokes_boundary_control.py``.
"""

import firedrake as fd
import numpy as np
from scipy.sparse import csr_matrix

from thalweg import control

ALPHA = 1e-3


class LidDrivenStokes:
    """Stokes flow in the unit square with the lid's tangential velocity as the only datum."""

    def __init__(self, cells: int):
        mesh = fd.UnitSquareMesh(cells, cells)
        self.V, Q = fd.VectorFunctionSpace(mesh, "CG", 2), fd.FunctionSpace(mesh, "CG", 1)
        Z = self.V * Q
        self.g, self.z = fd.Function(self.V, name="g"), fd.Function(Z)
        (u, p), (v, q) = fd.TrialFunctions(Z), fd.TestFunctions(Z)
        self.a = (fd.inner(fd.grad(u), fd.grad(v)) - p * fd.div(v) - q * fd.div(u)) * fd.dx
        self.L = fd.inner(fd.Constant((0, 0)), v) * fd.dx
        self.bcs = [fd.DirichletBC(Z.sub(0), self.g, 4), fd.DirichletBC(Z.sub(0), 0, (1, 2, 3))]
        self.nullspace = fd.MixedVectorSpaceBasis(Z, [Z.sub(0), fd.VectorSpaceBasis(constant=True, comm=mesh.comm)])
        x, y = fd.SpatialCoordinate(mesh)
        self.wanted = fd.as_vector(
            [fd.sin(np.pi * x) ** 2 * fd.sin(2 * np.pi * y), -fd.sin(2 * np.pi * x) * fd.sin(np.pi * y) ** 2]
        )
        lid = self.V.boundary_nodes(4)
        inside = np.setdiff1d(lid, self.V.boundary_nodes((1, 2)))
        self.dofs = 2 * inside  # the tangential component

    def velocity(self):
        parameters = {"ksp_type": "gmres", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}
        fd.solve(self.a == self.L, self.z, bcs=self.bcs, nullspace=self.nullspace, solver_parameters=parameters)
        return fd.split(self.z)[0]

    def objective(self):
        u = self.velocity()
        return fd.assemble(
            0.5 * fd.inner(u - self.wanted, u - self.wanted) * fd.dx + ALPHA / 2 * fd.inner(self.g, self.g) * fd.ds(4)
        )


def known_optimum(flow: LidDrivenStokes) -> np.ndarray:
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
    H = S.T @ (M @ S) + ALPHA * M_lid[flow.dofs][:, flow.dofs].toarray()
    return np.linalg.solve(H, S.T @ b)


def csr(A) -> csr_matrix:
    indptr, indices, data = A.petscmat.getValuesCSR()
    return csr_matrix((data, indices, indptr), shape=A.petscmat.getSize())


def main(cells: int = 16, iterations: int = 60) -> dict[str, float]:
    """Return the objective without and with control, and the distance of the control from the known optimum."""
    flow = LidDrivenStokes(cells)
    start = control.Control("g", np.zeros(len(flow.dofs)), low=-5, high=5)
    functional = control.FiredrakeFunctional(flow.objective, {"g": flow.g}, [start], {"g": flow.dofs})
    found = control.minimize(functional, iterations)
    exact = known_optimum(flow)
    distance = np.linalg.norm(found.controls["g"] - exact) / np.linalg.norm(exact)
    print(f"J {found.initial_value:.6f} uncontrolled, {found.value:.6f} controlled, after {found.iterations} iterations")
    print(f"distance of the control from the known optimum: {distance:.1e}")
    return {"uncontrolled": found.initial_value, "controlled": found.value, "distance": float(distance)}


if __name__ == "__main__":
    main()
