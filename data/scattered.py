"""Values at points, in any order, brought into an exported space: at its nodes, or anywhere in the domain."""

import os
import xml.etree.ElementTree
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from ..errors import FileError, InputError
from ..fem import Space

_SAME = 1e-6  # of the size of the domain: points that close are one
_FLAT = 1e-12  # least of the principal moments of neighbours, relative to the largest


def at_nodes(points: np.ndarray, values: np.ndarray, space: Space) -> np.ndarray:
    """Values at the nodes of a Lagrange space, given in any order, as its dofs; unchanged.

    Args:
        points: ``(n, dim)``, among them each node of the space.
        values: ``(..., n)``, or ``(..., n, components)`` for a vector field.

    Returns:
        ``(..., num_dofs)``.

    Raises:
        InputError: the dofs are not values at points, a node is not among the points, or the shapes do not fit.
    """
    if not space.element.is_nodal:
        raise InputError(f"The dofs of {space.element} are not values at points. Use data.scattered, or a Lagrange space.")
    points, values = _checked(points, values, space)
    distances, which = KDTree(points).query(space.points.double().cpu().numpy())
    size = np.ptp(space.mesh.points, axis=0).max()
    if (missing := np.flatnonzero(distances > _SAME * size)).size:
        where = space.points[int(missing[0])].tolist()
        raise InputError(
            f"{missing.size} of the {space.num_nodes} nodes of {space.name!r} are not among the points, for instance {where}. If "
            "the values are elsewhere in the domain, use data.scattered."
        )
    return values[..., which, :].reshape(*values.shape[:-2], -1)


def scattered(points: np.ndarray, values: np.ndarray, space: Space, neighbours: int = 30, smoothing: float = 0.0) -> np.ndarray:
    """Values at any points of the domain, interpolated into a space by thin-plate splines through the nearest of them.

    Linear functions are met exactly. Where a field of the space is sought that fits the values best in the least-squares sense, export
    an observation at the points and use :meth:`fem.Observation.reconstruction`.

    Args:
        points: ``(n, dim)``.
        values: ``(..., n)``, or ``(..., n, components)`` for a vector field.
        neighbours: points that each value is made of.
        smoothing: of noisy values; 0 goes through them.

    Returns:
        ``(..., num_dofs)``.

    Raises:
        InputError: too few points or neighbours, neighbours on one line or in one plane, or the shapes do not fit.
    """
    points, values = _checked(points, values, space)
    neighbours, where = min(neighbours, len(points)), space.dual_points.double().cpu().numpy()
    if neighbours < space.mesh.dim + 1:
        raise InputError(f"{neighbours} points do not determine a linear function in {space.mesh.dim} dimensions; give more.")
    _require_spread(points, where, neighbours)
    lead, components = values.shape[:-2], values.shape[-1]
    columns = np.moveaxis(values, -2, 0).reshape(len(points), -1)
    try:
        found = RBFInterpolator(points, columns, neighbors=neighbours, smoothing=smoothing)(where)
    except np.linalg.LinAlgError as error:
        raise InputError(
            f"The points do not determine a field ({error}): some of them coincide. Leave out those that are there twice."
        ) from error
    at_points = torch.from_numpy(np.moveaxis(found.reshape(-1, *lead, components), 0, -2).copy())
    shaped = at_points.reshape(*lead, -1, *space.element.value_shape)
    return space.interpolate(lambda _: shaped.to(space.mass.val)).double().cpu().numpy()


def read_pvd(path: str | os.PathLike) -> tuple[np.ndarray, list[Path]]:
    """Times and files of a ParaView collection (``.pvd``).

    Raises:
        FileError: it is missing or not a collection.
    """
    path = Path(path)
    try:
        entries = xml.etree.ElementTree.parse(path).getroot().findall("./Collection/DataSet")
        times = np.array([float(entry.attrib["timestep"]) for entry in entries])
        files = [path.parent / entry.attrib["file"] for entry in entries]
    except (OSError, xml.etree.ElementTree.ParseError, KeyError, ValueError) as error:
        raise FileError(f"{path} cannot be read as a ParaView collection ({error}). Correct the path.") from error
    if not files:
        raise FileError(f"The ParaView collection {path} lists no files.")
    return times, files


def vtu_series(files: Iterable[str | os.PathLike], name: str, space: Space) -> np.ndarray:
    """Dofs ``(file, num_dofs)`` of a field in VTU files on the space's own mesh, such as those of :func:`read_pvd`.

    Raises:
        FileError, InputError: as for :func:`visualization.read_vtu_field`.
    """
    from ..visualization import read_vtu_field

    return np.stack([read_vtu_field(path, name, space).numpy() for path in files])


def _require_spread(points: np.ndarray, where: np.ndarray, neighbours: int) -> None:
    """Refuse points whose neighbours lie on one line, or in one plane, up to rounding: splines through them are noise beside it."""
    _, near = KDTree(points).query(where, neighbours)
    offsets = points[near] - points[near].mean(axis=1, keepdims=True)
    spread = np.linalg.eigvalsh(np.swapaxes(offsets, 1, 2) @ offsets)
    if (flat := np.flatnonzero(spread[:, 0] <= _FLAT * spread[:, -1])).size:
        raise InputError(
            f"The {neighbours} points nearest to {where[flat[0]].tolist()} lie on one line or in one plane, and determine no linear "
            "function. Give more neighbours, or points that fill the domain."
        )


def _checked(points: np.ndarray, values: np.ndarray, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, the values as ``(..., n, components)``."""
    points, values = np.asarray(points, dtype=np.float64), np.asarray(values, dtype=np.float64)
    shape, n = space.element.value_shape, len(points)
    expected = (n, space.element.value_size) if shape else (n,)
    if points.ndim != 2 or points.shape[1] != space.mesh.dim or tuple(values.shape[values.ndim - len(expected) :]) != expected:
        raise InputError(
            f"Points have shape {points.shape} and values {values.shape}; expected (n, {space.mesh.dim}) and "
            f"(..., {', '.join(map(str, expected))}) for space {space.name!r}."
        )
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise InputError("Points or values contain NaN or infinity. Leave those points out, for instance by numpy.isfinite.")
    return points, values if shape else values[..., None]
