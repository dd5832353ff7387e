"""A gmsh file with named boundaries: Poisson's equation on it, and pictures of the mesh and of the solution.

    python examples/mesh_from_gmsh_file.py [mesh.msh]

The file may be in gmsh's format 2.2 or 4.1; its physical groups name the boundary parts. The default is the plate with a hole that
comes with thalweg.
"""

import sys
from pathlib import Path

import firedrake as fd
import torch

import thalweg
from thalweg import fem, visualization

SHIPPED = Path(thalweg.__file__).parent / "data" / "meshes" / "plate_with_hole.msh"


def main(path=SHIPPED, folder="outputs/examples"):
    """Solve −Δu = 1 with u = 0 on the whole boundary, and return the largest value of u."""
    coarse, mesh = fem.mesh_hierarchy(fem.read_mesh(path), 1)
    print("boundary parts:", ", ".join(coarse.boundary_names))

    V = fd.FunctionSpace(mesh, "Lagrange", 2)
    u, v = fd.Function(V), fd.TestFunction(V)
    walls = fd.DirichletBC(V, 0, list(mesh.boundary_names.values()))
    fd.solve(fd.inner(fd.grad(u), fd.grad(v)) * fd.dx - v * fd.dx == 0, u, bcs=walls)

    space = fem.export({"V": V})["V"]
    dofs = torch.from_numpy(u.dat.data_ro.copy())
    visualization.plot_mesh(space.mesh, Path(folder) / "mesh.png")
    visualization.plot_comparison(space, {"solution u": dofs}, Path(folder) / "solution.png", columns=1)
    visualization.write_vtu(Path(folder) / "solution.vtu", space, {"u": dofs})
    print(f"largest value {dofs.max():.4f}; pictures and solution.vtu are in {folder}")
    return float(dofs.max())


if __name__ == "__main__":
    main(*sys.argv[1:2])
