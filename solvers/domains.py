"""Domains with named boundary parts: mesh files, boxes and intervals, each with its uniform refinements, coarse to fine."""

from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..fem import mesh_hierarchy, read_mesh
from ..fem.communicator import communicator
from ..fem.firedrake import firedrake
from .problem import resolve_mesh

#: Firedrake's markers of the sides of intervals, rectangles and boxes, by dimension.
SIDES = {
    1: {"left": 1, "right": 2},
    2: {"left": 1, "right": 2, "bottom": 3, "top": 4},
    3: {"left": 1, "right": 2, "front": 3, "back": 4, "bottom": 5, "top": 6},
}


def domain(mesh: Any, refinements: int = 0, quadrilateral: bool = False) -> list[Any]:
    """The mesh of a file, a Firedrake mesh, or the unit square with ``mesh`` cells along each side; and its refinements.

    The sides of the square are called left, right, bottom and top. Squares are halved along the diagonal unless ``quadrilateral``.
    """
    if isinstance(mesh, str):
        return mesh_hierarchy(read_mesh(resolve_mesh(mesh)), refinements)
    if not isinstance(mesh, int):
        return mesh_hierarchy(mesh, refinements)
    return box((mesh, mesh), (1, 1), refinements, quadrilateral)


def box(cells: Sequence[int], lengths: Sequence[float], refinements: int = 0, quadrilateral: bool = False) -> list[Any]:
    """A rectangle or a box of triangles, quadrilaterals or tetrahedra with a corner at the origin.

    Raises:
        InputError: no cells, a side without length, or neither two nor three of them.
    """
    if len(cells) not in (2, 3) or len(lengths) != len(cells) or min(cells) < 1 or min(lengths) <= 0:
        raise InputError(
            f"A box has two or three sides of positive length and at least one cell along each; got cells {tuple(cells)} and "
            f"lengths {tuple(lengths)}."
        )
    if quadrilateral and len(cells) == 3:
        raise InputError("A box in three dimensions is made of tetrahedra; quadrilaterals are for rectangles.")
    fd = firedrake()
    options = {"quadrilateral": quadrilateral} if len(cells) == 2 else {}
    mesh = (fd.RectangleMesh if len(cells) == 2 else fd.BoxMesh)(*cells, *lengths, **options, comm=communicator())
    mesh.boundary_names = SIDES[len(cells)]
    return mesh_hierarchy(mesh, refinements)


def interval(cells: int, ends: tuple[float, float], refinements: int = 0, periodic: bool = False) -> list[Any]:
    """An interval with the ends left and right, or the same interval as a circle."""
    return [_interval(cells * 2**level, ends, periodic) for level in _levels(cells, refinements, ends[1] - ends[0])]


def periodic_square(cells: int, length: float, refinements: int = 0) -> list[Any]:
    """A square of triangles whose opposite sides are one."""
    fd = firedrake()
    levels = _levels(cells, refinements, length)
    return [fd.PeriodicSquareMesh(cells * 2**level, cells * 2**level, length, comm=communicator()) for level in levels]


def bounding_box(mesh: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lowest and highest coordinates of a mesh."""
    points = mesh.coordinates.dat.data_ro.reshape(-1, mesh.geometric_dimension)
    return tuple(points.min(0).tolist()), tuple(points.max(0).tolist())


def _interval(cells: int, ends: tuple[float, float], periodic: bool) -> Any:
    fd = firedrake()
    if not periodic:
        mesh = fd.IntervalMesh(cells, *ends, comm=communicator())
        mesh.boundary_names = SIDES[1]
        return mesh
    mesh = fd.PeriodicIntervalMesh(cells, ends[1] - ends[0], comm=communicator())
    mesh.coordinates.dat.data_wo[...] += ends[0]
    return mesh


def _levels(cells: int, refinements: int, length: float) -> range:
    if cells < 3 or refinements < 0 or length <= 0:
        raise InputError(
            f"A domain needs at least 3 cells, 0 or more refinements and a positive length; got {cells}, {refinements} and {length}."
        )
    return range(refinements + 1)
