"""Natural boundary conditions: sound of a loudspeaker in a room whose walls absorb, through air of uneven temperature.

−Δp − k²(1 + m)p = 0 for the complex pressure p. The loudspeaker drives, ∂p/∂n = g; the walls absorb, ∂p/∂n = ikβp; a pillar reflects,
∂p/∂n = 0. No value is prescribed anywhere. The question: p for any medium m and any drive g. Run it by ``python
examples/sound_in_a_room.py`` (a minute on two cores), or from the command line with the configurations in ``examples/conf``.
"""

from pathlib import Path

import firedrake as fd
import numpy as np
import torch

from thalweg import data, fem, operators, solvers, training
from thalweg.visualization import plot_comparison


def room(gmsh) -> None:
    """A room of 2 by 1 with a round pillar; the boundary parts are called loudspeaker, walls and pillar."""
    occ = gmsh.model.occ
    box, pillar = (2, occ.addRectangle(0, 0, 0, 2, 1)), (2, occ.addDisk(1.2, 0.55, 0, 0.18, 0.18))
    air, _ = occ.cut([box], [pillar])
    occ.synchronize()
    names: dict[str, list[int]] = {"loudspeaker": [], "walls": [], "pillar": []}
    for _, tag in gmsh.model.getBoundary(air, oriented=False):
        x, _, _ = occ.getCenterOfMass(1, tag)
        straight = gmsh.model.getType(1, tag) == "Line"
        names["pillar" if not straight else "loudspeaker" if x < 1e-6 else "walls"].append(tag)
    for name, tags in names.items():
        gmsh.model.addPhysicalGroup(1, tags, name=name)
    gmsh.model.addPhysicalGroup(2, [tag for _, tag in air], name="air")
    gmsh.option.setNumber("Mesh.MeshSizeFromCurvature", 14)


class Room(solvers.Problem):
    """The equation in real numbers: p is a vector field, its components the real and the imaginary part.

    Args:
        size: the longest edge of the coarse mesh, on which a wave needs six nodes.
        refinements: how often it is halved.
        wavenumber: k.
        absorption: β; 1 swallows waves that come straight at a wall.
    """

    inputs, outputs = ("m", "g"), ("p",)

    def __init__(self, size: float = 0.14, refinements: int = 2, wavenumber: float = 8.0, absorption: float = 0.5):
        meshes = fem.mesh_hierarchy(fem.gmsh_mesh(room, size=size), refinements)
        self.spaces, self.transfers = solvers.lagrange_hierarchy(meshes, degree=1, components=2)
        mesh, V = meshes[-1], self.spaces["V"]
        S = self.spaces["S"] = fd.FunctionSpace(mesh, "CG", 1)
        self.fields = {"m": "S", "g": "S", "p": "V"}
        tags, k = fem.boundary_tags(mesh), wavenumber

        self.m, self.g, self.p = fd.Function(S, name="m"), fd.Function(S, name="g"), fd.Function(V, name="p")
        q, v = fd.TrialFunction(V), fd.TestFunction(V)
        times_i = fd.as_vector([-q[1], q[0]])
        a = (fd.inner(fd.grad(q), fd.grad(v)) - k**2 * (1 + self.m) * fd.inner(q, v)) * fd.dx
        a -= k * absorption * fd.inner(times_i, v) * fd.ds(tags["walls"])
        drive = self.g * v[0] * fd.ds(tags["loudspeaker"])
        self.residual = fd.action(a, self.p) - drive
        equation = fd.LinearVariationalProblem(a, drive, self.p, constant_jacobian=False)
        self.solver = fd.LinearVariationalSolver(equation, solver_parameters={"ksp_type": "preonly", "pc_type": "lu"})
        self.media = solvers.MaternField(S, length=0.4, smoothness=1, deviation=0.15)
        self.drives = solvers.MaternField(S, length=0.3, smoothness=1, deviation=1)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, fd.Function]:
        return {"m": self.media.sample(rng), "g": self.drives.sample(rng)}

    def solve(self, inputs: dict[str, fd.Function]) -> dict[str, fd.Function]:
        self.m.assign(inputs["m"])
        self.g.assign(inputs["g"])
        solvers.solve_or_explain(self.solver, "room")
        return {"p": self.p.copy(deepcopy=True)}


def main(size: float = 0.14, samples: int = 160, epochs: int = 5, folder: str = "outputs/sound_in_a_room") -> dict[str, float]:
    """Generate, train, evaluate on unseen samples; returns the errors before and after training."""
    data.generate(Room(size), f"{folder}/data", samples)
    quarter = samples // 4
    splits = range(quarter), range(quarter, quarter + quarter // 2), range(quarter + quarter // 2, samples)
    test, valid, train = (data.FieldDataset(f"{folder}/data", split) for split in splits)

    torch.manual_seed(0)
    disc = train.discretization
    V, S = disc["V"], disc["S"]
    # Cycles for the weak form itself: its boundary terms, its coefficient and its indefinite sign are all in its derivative.
    operator = operators.FormMultigrid(disc.form("residual"), disc.hierarchy_below("V"), "p", cycles=3)
    operator.set_scales(train.fields)
    loss = training.RelativeNorm(V, "p", "H1")
    metrics = {"untrained_h1": training.evaluate(operator, test, {"h1": loss})["h1"]}
    training.Trainer(operator, train, valid, loss, training.Settings(epochs, batch_size=8), folder).run()
    metrics |= training.evaluate(operator, test, {"relative_l2": training.RelativeNorm(V, "p", "L2"), "relative_h1": loss})

    with torch.no_grad():
        p = operator({name: test.fields[name][:1] for name in ("m", "g")})["p"][0]
    real, reference = (field.view(-1, 2)[:, 0] for field in (p, test.fields["p"][0]))
    panels = {"medium m": test.fields["m"][0], "reference Re p": reference, "prediction Re p": real, "error": real - reference}
    plot_comparison(S, panels, Path(folder) / "sound.png", columns=2)
    return metrics


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
