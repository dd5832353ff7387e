"""A mesh from any program that meshio reads: here a VTU file of quadrilaterals whose boundary edges carry numbers.

    python examples/mesh_from_other_formats.py

Formats with named sets (Abaqus .inp) keep the names; formats with numbers only (.vtu, .vtk, .xdmf, ...) keep the numbers.
"""

from pathlib import Path

import firedrake as fd
import meshio
import numpy as np

from thalweg import fem


def write_channel(path, n=12):
    """A channel that narrows in the middle, 4n x n quadrilaterals, with edges marked 1 (inflow), 2 (outflow) and 3 (walls)."""
    s, t = np.meshgrid(np.linspace(0, 4, 4 * n + 1), np.linspace(-0.5, 0.5, n + 1), indexing="ij")
    points = np.stack([s, t * (1 - 0.4 * np.exp(-4 * (s - 2) ** 2)), 0 * s], axis=-1).reshape(-1, 3)
    number = np.arange(s.size).reshape(s.shape)
    quads = np.stack([number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], axis=-1).reshape(-1, 4)
    sides = {1: [number[0]], 2: [number[-1]], 3: [number[:, 0], number[:, -1]]}
    edges = {tag: np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines]) for tag, lines in sides.items()}
    blocks = [("quad", quads), *(("line", members) for members in edges.values())]
    tags = [np.zeros(len(quads), dtype=int), *(np.full(len(members), tag) for tag, members in edges.items())]
    meshio.Mesh(points, blocks, cell_data={"tag": tags}).write(path)


def main(folder="outputs/examples"):
    """Return the area of the channel."""
    path = Path(folder) / "channel.vtu"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_channel(path)

    mesh = fem.read_mesh(path)
    V = fem.export({"V": fd.FunctionSpace(mesh, "Lagrange", 2)})["V"]
    area = fd.assemble(1.0 * fd.dx(domain=mesh))
    print(V.mesh)
    print(f"{len(V.boundary_dofs('1'))} dofs on the inflow, {len(V.boundary_dofs('3'))} on the walls; area {area:.4f}")
    return area


if __name__ == "__main__":
    main()
