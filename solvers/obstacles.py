"""Discs in a channel: checked, drawn at random, and meshed around."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem import gmsh_mesh


@dataclass(frozen=True)
class Disc:
    """A disc around (x, y)."""

    x: float
    y: float
    radius: float

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance of points from the disc's rim, negative inside."""
        return np.hypot(x - self.x, y - self.y) - self.radius


@dataclass(frozen=True)
class Channel:
    """The rectangle [0, length] × [0, height]; flow enters at the left and leaves at the right."""

    length: float = 4.0
    height: float = 1.0

    def check(self, discs: Sequence[Disc]) -> None:
        """Refuse discs that do not lie in the channel or that touch one another.

        Raises:
            InputError: with the discs and the gap between them.
        """
        for i, disc in enumerate(discs):
            if not disc.radius > 0:
                raise InputError(f"Obstacle {i}, {disc}, needs a positive radius.")
            if (gap := self._gap_to_boundary(disc)) <= 0:
                raise InputError(
                    f"Obstacle {i}, {disc}, reaches {-gap:.3g} beyond the channel [0, {self.length:g}] × [0, {self.height:g}]. Move it "
                    "inside or make it smaller."
                )
            for j, other in enumerate(discs[:i]):
                if (gap := _gap(disc, other)) <= 0:
                    raise InputError(
                        f"Obstacles {j} and {i}, {other} and {disc}, overlap by {-gap:.3g}. Move them apart or make them smaller."
                    )

    def random_discs(
        self, rng: np.random.Generator, number: tuple[int, int], radius: tuple[float, float], gap: float
    ) -> list[Disc]:
        """Discs in the second to fifth eighth of the channel, at least ``gap`` from walls and one another.

        Their number is drawn first, and discs that come too close are drawn again.

        Raises:
            InputError: so many discs of that size find no place in 10,000 draws.
        """
        wanted = int(rng.integers(number[0], number[1] + 1))
        discs: list[Disc] = []
        for _ in range(10_000):
            if len(discs) == wanted:
                return discs
            x, y = rng.uniform(self.length / 8, 5 * self.length / 8), rng.uniform(0, self.height)
            disc = Disc(float(x), float(y), float(rng.uniform(*radius)))
            if self._gap_to_boundary(disc) > gap and all(_gap(disc, other) > gap for other in discs):
                discs.append(disc)
        raise InputError(
            f"No place was found for {wanted} obstacles of radius {radius[0]:g} to {radius[1]:g} with gaps of {gap:g} in a channel of "
            f"height {self.height:g}. Ask for fewer or smaller ones."
        )

    def _gap_to_boundary(self, disc: Disc) -> float:
        return min(disc.x, self.length - disc.x, disc.y, self.height - disc.y) - disc.radius


def obstacle_mesh(channel: Channel, discs: Sequence[Disc], size: float, near: float | None = None) -> Any:
    """A mesh of triangles in the channel around the discs, with the tags inflow, outflow, walls and obstacles. Made by gmsh.

    Args:
        size: of cells away from the discs.
        near: of cells on their rims; a third of ``size`` by default.

    Raises:
        InputError: the discs overlap or leave the channel.
        MissingPackageError: gmsh is not installed.
    """
    channel.check(discs)
    near = size / 3 if near is None else near

    def channel_with_obstacles(gmsh: Any) -> None:
        occ, model = gmsh.model.occ, gmsh.model
        box = [(2, occ.addRectangle(0, 0, 0, channel.length, channel.height))]
        fluid, _ = occ.cut(box, [(2, occ.addDisk(d.x, d.y, 0, d.radius, d.radius)) for d in discs]) if discs else (box, None)
        occ.synchronize()
        parts: dict[str, list[int]] = {"inflow": [], "outflow": [], "walls": [], "obstacles": []}
        for _, curve in model.getBoundary(fluid, oriented=False):
            x, y, _ = occ.getCenterOfMass(1, curve)
            parts[_side(channel, x, y)].append(curve)
        for name, curves in parts.items():
            if curves:
                model.addPhysicalGroup(1, curves, name=name)
        model.addPhysicalGroup(2, [surface for _, surface in fluid], name="fluid")
        _refine(model.mesh.field, parts["obstacles"], near, size)
        for option in ("ExtendFromBoundary", "FromPoints", "FromCurvature"):
            gmsh.option.setNumber(f"Mesh.MeshSize{option}", 0)

    return gmsh_mesh(channel_with_obstacles, size=size)


def _refine(field: Any, curves: list[int], near: float, far: float) -> None:
    """Let the cells grow from ``near`` on the curves to ``far`` at ten times the difference away."""
    distance, threshold = field.add("Distance"), field.add("Threshold")
    field.setNumbers(distance, "CurvesList", curves)
    field.setNumber(distance, "Sampling", 200)
    sizes = {"InField": distance, "SizeMin": near, "SizeMax": far, "DistMin": 0, "DistMax": 10 * (far - near)}
    for key, value in sizes.items():
        field.setNumber(threshold, key, value)
    field.setAsBackgroundMesh(threshold)


def _side(channel: Channel, x: float, y: float) -> str:
    tolerance = 1e-6 * channel.height
    if x < tolerance:
        return "inflow"
    if x > channel.length - tolerance:
        return "outflow"
    return "walls" if y < tolerance or y > channel.height - tolerance else "obstacles"


def _gap(a: Disc, b: Disc) -> float:
    return float(np.hypot(a.x - b.x, a.y - b.y)) - a.radius - b.radius
