"""One problem on many domains: families whose members are problems, each with a mesh of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem import gmsh_mesh, read_mesh
from .problem import Problem, resolve_mesh


class ProblemFamily(ABC):
    """Problems that differ by their domain; their fields and spaces have the same names.

    An operator that works on any mesh is trained on some members and judged on others.
    """

    @abstractmethod
    def member(self, seed: int, k: int) -> Problem:
        """The problem on domain ``k``, which depends on (seed, k) alone."""


class OnMeshes(ProblemFamily):
    """A problem on each of several mesh files; the seed does not matter.

    Args:
        problem: makes the problem from a mesh, such as ``partial(Poisson, dirichlet=["hole"])``.
        meshes: the files, or names of those that come with thalweg.
    """

    def __init__(self, problem: Callable[..., Problem], meshes: Sequence[str]):
        self.problem, self.meshes = problem, tuple(meshes)

    def member(self, seed: int, k: int) -> Problem:
        if not 0 <= k < len(self.meshes):
            raise InputError(
                f"There is no mesh {k}; the family has {len(self.meshes)}. List more of them, or ask for fewer members."
            )
        return self.problem(read_mesh(resolve_mesh(self.meshes[k])))


class OnPlatesWithHoles(ProblemFamily):
    """A problem on rectangles with random circular holes that do not touch; the boundary parts are sides and holes. Meshed by gmsh.

    Good values: the defaults, meshes of about 500 cells.

    Args:
        problem: makes the problem from a mesh, such as ``partial(Poisson, degree=1)``.
        dirichlet: the boundary parts, of sides and holes, where the problem prescribes values.
        lengths: sides of the rectangle.
        holes: range of their number.
        radii: range of their radii.
        gap: the least distance between holes, and between holes and sides.
        size: the largest edge of a cell.

    Raises:
        InputError: the ranges are empty.
    """

    def __init__(
        self,
        problem: Callable[..., Problem],
        dirichlet: Sequence[str] = ("sides", "holes"),
        lengths: Sequence[float] = (1.0, 1.0),
        holes: Sequence[int] = (1, 3),
        radii: Sequence[float] = (0.08, 0.15),
        gap: float = 0.06,
        size: float = 0.08,
    ):
        if not (0 <= holes[0] <= holes[1] and 0 < radii[0] <= radii[1] and min(lengths) > 0):
            raise InputError(f"Holes need ranges of numbers and of positive radii; got {tuple(holes)} and {tuple(radii)}.")
        self.problem, self.dirichlet = problem, tuple(dirichlet)
        self.lengths, self.holes = tuple(lengths), tuple(holes)
        self.radii, self.gap, self.size = tuple(radii), gap, size

    def member(self, seed: int, k: int) -> Problem:
        discs = self.random_discs(np.random.default_rng(np.random.SeedSequence((seed, k))))
        mesh = gmsh_mesh(lambda gmsh: self._plate(gmsh, discs), self.size)
        return self.problem(mesh, dirichlet=self.dirichlet)

    def random_discs(self, rng: np.random.Generator) -> np.ndarray:
        """Centres and radii ``(holes, 3)``.

        Raises:
            InputError: so many holes of that size find no place in 10,000 draws.
        """
        wanted = int(rng.integers(self.holes[0], self.holes[1] + 1))
        discs = np.empty((0, 3))
        for _ in range(10_000):
            if len(discs) == wanted:
                return discs
            radius = float(rng.uniform(self.radii[0], self.radii[1]))
            margin = radius + self.gap
            x, y = rng.uniform(size=2) * (np.array(self.lengths) - 2 * margin) + margin
            apart = np.hypot(discs[:, 0] - x, discs[:, 1] - y) > discs[:, 2] + margin
            if apart.all() and 2 * margin < min(self.lengths):
                discs = np.vstack([discs, (x, y, radius)])
        raise InputError(f"No place was found for {wanted} holes of radius {self.radii}. Ask for fewer or smaller ones.")

    def _plate(self, gmsh: Any, discs: np.ndarray) -> None:
        occ, model = gmsh.model.occ, gmsh.model
        plate = [(2, occ.addRectangle(0, 0, 0, *self.lengths))]
        holes = [(2, occ.addDisk(x, y, 0, r, r)) for x, y, r in discs.tolist()]
        domain = occ.cut(plate, holes)[0] if holes else plate
        occ.synchronize()
        curves = [curve for _, curve in model.getBoundary(domain, oriented=False)]
        sides = [curve for curve in curves if model.getType(1, curve) == "Line"]
        model.addPhysicalGroup(1, sides, name="sides")
        if holes:
            model.addPhysicalGroup(1, [curve for curve in curves if curve not in sides], name="holes")
        model.addPhysicalGroup(2, [surface for _, surface in domain], name="domain")
