"""A geometry built in Python and meshed by gmsh (pip install gmsh): a pipe with a ball in it, in three dimensions.

python examples/mesh_with_gmsh.py
"""

from pathlib import Path

import firedrake as fd

from thalweg import fem, visualization


def pipe_with_ball(gmsh):
    """A pipe of length 3 and radius 1/2 along x around a ball of radius 0.2; inflow, outflow, wall and ball have names."""
    occ = gmsh.model.occ
    pipe = [(3, occ.addCylinder(0, 0, 0, 3, 0, 0, 0.5))]
    fluid, _ = occ.cut(pipe, [(3, occ.addSphere(1, 0.1, 0, 0.2))])
    occ.synchronize()
    middles = {tag: occ.getCenterOfMass(2, tag) for _, tag in gmsh.model.getBoundary(fluid, oriented=False)}
    inflow = min(middles, key=lambda tag: middles[tag][0])
    outflow = max(middles, key=lambda tag: middles[tag][0])
    ball = min(middles, key=lambda tag: occ.getMass(2, tag))
    wall = next(tag for tag in middles if tag not in (inflow, outflow, ball))
    for name, tag in {"inflow": inflow, "outflow": outflow, "ball": ball, "wall": wall}.items():
        gmsh.model.addPhysicalGroup(2, [tag], name=name)
    gmsh.model.addPhysicalGroup(3, [tag for _, tag in fluid], name="fluid")


def main(folder="outputs/examples", size=0.2):
    """Return the volume of the fluid."""
    mesh = fem.gmsh_mesh(pipe_with_ball, size=size)
    V = fd.FunctionSpace(mesh, "Lagrange", 2)
    space = fem.export({"V": V})["V"]
    volume = fd.assemble(1.0 * fd.dx(domain=mesh))
    print(f"{space.mesh}; volume {volume:.4f}")

    _, y, z = space.points.T
    visualization.write_vtu(Path(folder) / "pipe.vtu", space, {"profile": 1 - 4 * (y**2 + z**2)})
    return volume


if __name__ == "__main__":
    main()
