"""Finite-element fields as VTU files, for ParaView and everything else that reads VTK; and back."""

import os
from collections.abc import Mapping
from pathlib import Path

import meshio
import numpy as np
import scipy.spatial
import torch
from torch import Tensor

from ..errors import FileError, InputError
from ..fem import Space
from ..fem.reference_cell import basis_at, corner_points
from ..storage import atomic
from .evaluation import values
from .vtk_cells import VtkCells, is_continuous, vtk_cells

_TOLERANCE = 1e-5  # of the size of a cell


def write_vtu(
    path: str | os.PathLike, space: Space, fields: Mapping[str, Tensor | np.ndarray | tuple[Space, Tensor | np.ndarray]]
) -> None:
    """Write fields ``(num_dofs,)`` of a space by name, to be opened in ParaView or with meshio.

    Up to degree 2 the cells are VTK's linear or quadratic ones; beyond, linear cells between the nodes. Values at the nodes of a
    Lagrange space are its dofs, unchanged. If a field is discontinuous, every cell has its own points. Vectors get three components.

    Args:
        fields: instead of a field of ``space`` also a pair of another space on the same mesh and a field of that, as for a velocity
            and a pressure; the cells are those of the highest degree.

    Raises:
        InputError: a field is not one of its space or not finite, its dofs are not values, the meshes differ, or the file's name
            does not end in ``.vtu``.
        FileError: the file cannot be written.
    """
    if Path(path).suffix != ".vtu":
        raise InputError(f"A VTU file must be called something.vtu, not {Path(path).name!r}: ParaView goes by the suffix.")
    if not fields:
        raise InputError("There are no fields to write; pass at least one.")
    pairs = {name: field if isinstance(field, tuple) else (space, field) for name, field in fields.items()}
    if foreign := [name for name, (V, _) in pairs.items() if V.mesh is not space.mesh]:
        raise InputError(
            f"The fields {', '.join(map(repr, foreign))} are on another mesh than {space.name!r}; write a file for each mesh."
        )
    finest = max((V for V, _ in pairs.values()), key=lambda V: (V.element.degree, is_continuous(V)))
    layout = vtk_cells(finest, continuous=all(is_continuous(V) for V, _ in pairs.values()))
    mesh = meshio.Mesh(_three(layout.points), [(layout.cell_type, layout.cells)])
    mesh.point_data.update({name: _at_points(layout, V, u) for name, (V, u) in pairs.items()})
    with atomic(path) as partial:
        meshio.vtu.write(str(partial), mesh)


def read_vtu(path: str | os.PathLike) -> meshio.Mesh:
    """The points, cells and ``point_data`` of a VTU file as meshio has them.

    Raises:
        FileError: the file is missing, truncated or not a VTU file.
    """
    if not Path(path).is_file():
        raise FileError(f"The file {path} does not exist. Correct the path.")
    try:
        return meshio.vtu.read(str(path))
    # A damaged file fails in the XML parser, in zlib, in base64 or in numpy, each with errors of its own.
    except Exception as error:
        raise FileError(
            f"{path} cannot be read as a VTU file: it is truncated, damaged or of another format "
            f"({type(error).__name__}: {error}). Write it again."
        ) from error


def read_vtu_field(path: str | os.PathLike, name: str, space: Space) -> Tensor:
    """The dofs ``(num_dofs,)``, float64, of a field that a VTU file holds on the space's own mesh.

    Points are recognised by their coordinates; their order does not matter. A continuous Lagrange field needs a point at every node, so
    quadratic elements need a file with quadratic cells. For other fields the file must have the cells that :func:`write_vtu` writes.

    Raises:
        FileError: the file is missing or damaged.
        InputError: the element is not nodal, the file has no such field, or the points, components or jumps of the field do not
            fit the space.
    """
    if not space.element.is_nodal:
        raise InputError(
            f"The dofs of {space.element} are not values at points, so a file does not hold them. Read the field into a DG "
            "space and transfer it."
        )
    file = read_vtu(path)
    if name not in file.point_data:
        known = ", ".join(map(repr, file.point_data)) or "none"
        raise InputError(f"{path} has no point data {name!r}; it has {known}.")
    data = _components(np.asarray(file.point_data[name], dtype=np.float64), space, f"{name!r} in {path}")
    points = file.points[:, : space.mesh.dim]
    size = np.ptp(corner_points(space.mesh), axis=1).max()
    if is_continuous(space):
        wanted = space.points.cpu().double().numpy()
        dofs = data[_matches(points, wanted, size, f"{path}", space)]
        _check_single_valued(points, data, wanted, dofs, size, f"{name!r} in {path}")
        return torch.from_numpy(dofs.reshape(-1))
    cell_types = {block.type for block in file.cells}
    quadratic = vtk_cells(space, degree=2, continuous=False)
    layout = quadratic if quadratic.cell_type in cell_types else vtk_cells(space, continuous=False)
    cells = [block.data for block in file.cells if block.type == layout.cell_type]
    if not cells:
        raise InputError(
            f"{path} has no cells of type {layout.cell_type}, as a field of {space.element} needs; it has "
            f"{', '.join(sorted(cell_types))}. Write it with write_vtu on the same mesh."
        )
    which = _matches(_inner(points, np.concatenate(cells)), _inner(layout.points, layout.cells), size, f"{path}", space)
    return _from_lattice(data[which], layout, space, f"{name!r} in {path}")


def _at_points(layout: VtkCells, space: Space, u: Tensor | np.ndarray) -> np.ndarray:
    found = values(space, u, layout.lattice)
    data = np.empty((len(layout.points), *found.shape[2:]))
    data[layout.lattice_points] = found
    shape = space.element.value_shape
    if shape and max(shape) <= 3:
        data = np.pad(data.reshape(-1, *shape), [(0, 0)] + [(0, 3 - n) for n in shape]).reshape(len(data), -1)
    return data


def _three(points: np.ndarray) -> np.ndarray:
    return np.pad(points, ((0, 0), (0, 3 - points.shape[1])))


def _components(data: np.ndarray, space: Space, origin: str) -> np.ndarray:
    """The components of the space, ``(n, block_size)``, out of padded ones."""
    shape = space.element.block_shape
    data = data.reshape(len(data), -1)
    if data.shape[1] == space.element.block_size:
        return data
    padded = (3,) * len(shape)
    if shape and max(shape) <= 3 and data.shape[1] == np.prod(padded):
        full = data.reshape(-1, *padded)
        kept = full[(slice(None), *(slice(n) for n in shape))]
        if np.isclose((full**2).sum(), (kept**2).sum(), rtol=1e-12):
            return kept.reshape(len(data), -1)
    raise InputError(
        f"{origin} has {data.shape[1]} components, but space {space.name!r} ({space.element}) has "
        f"{space.element.block_size}. Read it into a space of the same value shape."
    )


def _matches(points: np.ndarray, wanted: np.ndarray, size: float, origin: str, space: Space) -> np.ndarray:
    """Which point is at each wanted place."""
    distance, which = scipy.spatial.KDTree(points).query(wanted)
    missing = distance > _TOLERANCE * size
    if missing.any():
        place = ", ".join(f"{x:.4g}" for x in wanted[np.flatnonzero(missing)[0]])
        raise InputError(
            f"{origin} has no point at {int(missing.sum())} of the {len(wanted)} nodes of space {space.name!r} "
            f"({space.element}), the first at ({place}). It was written for another mesh or another degree; sample the "
            "field at the nodes, space.points, and write it again."
        )
    return np.asarray(which)


def _check_single_valued(
    points: np.ndarray, data: np.ndarray, wanted: np.ndarray, dofs: np.ndarray, size: float, origin: str
) -> None:
    """A field whose cells have points of their own may jump between them; a continuous space cannot hold it."""
    distance, node = scipy.spatial.KDTree(wanted).query(points)
    here, node = distance <= _TOLERANCE * size, np.asarray(node)
    scale = np.abs(data).max() if data.size else 0.0
    jumps = np.abs(data[here] - dofs[node[here]]).max(1) > 1e-6 * scale
    if jumps.any():
        raise InputError(
            f"{origin} jumps between cells at {int(jumps.sum())} points, so it is no field of a continuous space. "
            "Read it into a discontinuous one."
        )


def _inner(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The points drawn towards the cells they belong to, so that points at one place but of different cells differ."""
    centres = points[cells].mean(1)
    count = np.bincount(cells.reshape(-1), minlength=len(points)).clip(1)
    sums = [np.bincount(cells.reshape(-1), weights=c.repeat(cells.shape[1]), minlength=len(points)) for c in centres.T]
    return 0.75 * points + 0.25 * np.stack(sums, axis=1) / count[:, None]


def _from_lattice(data: np.ndarray, layout: VtkCells, space: Space, origin: str) -> Tensor:
    """Dofs from values at the lattice of every cell."""
    table = basis_at(space, layout.lattice)
    cell_values = data[layout.lattice_points]
    blocks = np.einsum("kn,cnb->ckb", np.linalg.pinv(table), cell_values)
    dofs = np.empty((space.num_nodes, space.element.block_size))
    dofs[space.cell_nodes.cpu().numpy()] = blocks
    again = np.einsum("nk,ckb->cnb", table, dofs[space.cell_nodes.cpu().numpy()])
    if np.abs(again - cell_values).max() > 1e-6 * max(np.abs(cell_values).max(), 1e-300):
        raise InputError(
            f"{origin} is not a field of space {space.name!r} ({space.element}): no dofs give its values. Read it into "
            "a space of higher degree or fewer constraints between cells."
        )
    return torch.from_numpy(dofs.reshape(-1))
