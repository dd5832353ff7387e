"""A geometry, an equation and a question of your own, from nothing to predictions: how warm does a cooled plate get?

−ΔT = q in an L-shaped plate; T = 0 where it is clamped; −∂T/∂n = β(1 + T²)T on the rims of two cooling holes; no flux elsewhere. The
question: T for any source q. Run it by ``python examples/your_own_pde.py`` (three minutes on two cores), or from the command line by

    thalweg generate problem._target_=your_own_pde.CooledPlate ...

as the manual shows. Replace the geometry and the weak form by yours.
"""

from pathlib import Path

import firedrake as fd
import numpy as np
import torch

from thalweg import data, fem, operators, solvers, training
from thalweg.visualization import plot_comparison, write_vtu


def plate(gmsh) -> None:
    """An L of two unit squares' width with two holes; its boundary parts are called clamp, cooled and free."""
    occ = gmsh.model.occ
    square, corner = (2, occ.addRectangle(0, 0, 0, 2, 2)), (2, occ.addRectangle(1, 1, 0, 1, 1))
    holes = [(2, occ.addDisk(x, y, 0, 0.2, 0.2)) for x, y in ((0.5, 1.4), (1.3, 0.5))]
    metal, _ = occ.cut([square], [corner, *holes])
    occ.synchronize()
    names: dict[str, list[int]] = {"clamp": [], "cooled": [], "free": []}
    for _, tag in gmsh.model.getBoundary(metal, oriented=False):
        x, _, _ = occ.getCenterOfMass(1, tag)
        round_ = gmsh.model.getType(1, tag) in ("Circle", "Ellipse")
        names["cooled" if round_ else "clamp" if x < 1e-6 else "free"].append(tag)
    for name, tags in names.items():
        gmsh.model.addPhysicalGroup(1, tags, name=name)
    gmsh.model.addPhysicalGroup(2, [tag for _, tag in metal], name="metal")
    gmsh.option.setNumber("Mesh.MeshSizeFromCurvature", 14)  # edges on a circle


class CooledPlate(solvers.Problem):
    """The equation: spaces, weak form, random inputs, reference solution.

    Args:
        size: the longest edge of the coarse mesh.
        refinements: how often it is halved.
        cooling: β.
    """

    inputs, outputs, dirichlet = ("q",), ("T",), ("clamp",)

    def __init__(self, size: float = 0.2, refinements: int = 2, cooling: float = 5.0):
        meshes = fem.mesh_hierarchy(fem.gmsh_mesh(plate, size=size), refinements)
        self.spaces, self.transfers = solvers.lagrange_hierarchy(meshes, degree=1)
        self.fields = {"q": "V", "T": "V"}
        mesh, V = meshes[-1], self.spaces["V"]
        tags = fem.boundary_tags(mesh)

        self.q, self.T, v = fd.Function(V, name="q"), fd.Function(V, name="T"), fd.TestFunction(V)
        conduction = (fd.inner(fd.grad(self.T), fd.grad(v)) - self.q * v) * fd.dx
        self.residual = conduction + cooling * (1 + self.T**2) * self.T * v * fd.ds(tags["cooled"])
        clamped = fd.DirichletBC(V, 0, tags["clamp"])
        self.nonlinear_solver = fd.NonlinearVariationalSolver(fd.NonlinearVariationalProblem(self.residual, self.T, clamped))
        self.sources = solvers.MaternField(V, length=0.5, smoothness=1, deviation=5)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, fd.Function]:
        return {"q": self.sources.sample(rng)}

    def solve(self, inputs: dict[str, fd.Function]) -> dict[str, fd.Function]:
        self.q.assign(inputs["q"])
        self.T.assign(0)  # so that a solution depends on its input alone
        solvers.solve_or_explain(self.nonlinear_solver, "cooled plate")
        return {"T": self.T.copy(deepcopy=True)}


def main(size: float = 0.2, samples: int = 400, epochs: int = 30, folder: str = "outputs/your_own_pde") -> dict[str, float]:
    """Generate, train, evaluate on unseen samples, predict for a source of our own; returns the errors."""
    problem = CooledPlate(size)
    data.generate(problem, f"{folder}/data", samples)
    eighth = samples // 8
    splits = range(eighth), range(eighth, 2 * eighth), range(2 * eighth, samples)
    test, valid, train = (data.FieldDataset(f"{folder}/data", split) for split in splits)

    torch.manual_seed(0)
    disc = train.discretization
    V = disc["V"]
    # The source, and where the rims are: nothing else tells a network what happens there.
    encoder = operators.JointEncoder([operators.InterpolationEncoder(V, {"q": None}), operators.GeometryEncoder(V, ["cooled"])])
    levels = disc.hierarchy_below("V")
    processor = operators.MultigridProcessor(levels, in_channels=2, channels=8, blocks=3, dirichlet=["clamp"], length=2)
    spon = operators.SPON(encoder, processor, operators.DirichletDecoder(V, "T", tags=["clamp"]))
    spon.set_scales(train.fields)
    loss = training.RelativeNorm(V, "T", "H1")
    training.Trainer(spon, train, valid, loss, training.Settings(epochs, batch_size=8), folder).run()
    metrics = training.evaluate(spon, test, {"relative_l2": training.RelativeNorm(V, "T", "L2"), "relative_h1": loss})

    x, y = V.points.T
    q = 30 * torch.exp(-20 * ((x - 1.0) ** 2 + (y - 0.5) ** 2))  # a heater between the hole and the corner
    with torch.no_grad():
        T = spon({"q": q[None].float()})["T"][0]
    source = fd.Function(problem.spaces["V"])
    source.dat.data[:] = q
    reference = torch.from_numpy(problem.solve({"q": source})["T"].dat.data_ro.copy()).float()
    metrics["error_heater"] = (V.norm(T - reference, "L2") / V.norm(reference, "L2")).item()
    panels = {"source q": q, "reference T": reference, "prediction T": T, "error of T": T - reference}
    plot_comparison(V, panels, Path(folder) / "heater.png", columns=4)
    write_vtu(Path(folder) / "heater.vtu", V, {"q": q, "T": T})
    return metrics


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
