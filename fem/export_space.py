"""A Firedrake function space as plain arrays and sparse matrices."""

from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .assembly import gram_matrices
from .export_mesh import base_element, continuous_counterpart, corners, degree_of, scalar_element
from .firedrake import firedrake
from .mesh import Mesh
from .space import WHOLE_BOUNDARY, Element, Space
from .sparse import SparseMatrix


def export_space(name: str, V: Any, mesh: Mesh, dtype: torch.dtype) -> Space:
    """The space ``V`` on the exported mesh, with its Gram matrices.

    Raises:
        InputError: ``V`` is not a finite-element space of functions on cells.
    """
    ufl_element = V.ufl_element()
    if ufl_element.family() in ("Real", "Quadrature"):
        raise InputError(
            f"Space {name!r} ({ufl_element}) is no finite-element space of functions on cells; it cannot be exported."
        )
    element = Element(
        family=ufl_element.family(),
        degree=degree_of(ufl_element),
        cell=mesh.cell_type,
        value_shape=tuple(V.value_shape),
        block_shape=tuple(V.shape),
        mapping=base_element(ufl_element).mapping().lower(),
        is_nodal=bool(scalar_element(V).has_pointwise_dual_basis),
    )
    boundary = {WHOLE_BOUNDARY: _boundary_nodes(V, WHOLE_BOUNDARY)}
    boundary.update((tag, _boundary_nodes(V, marker)) for tag, marker in mesh.markers.items())
    return Space(
        name,
        mesh,
        element,
        points=torch.from_numpy(node_points(V, element.is_nodal)),
        cell_nodes=torch.from_numpy(np.array(V.cell_node_list, dtype=np.int64)),
        boundary=boundary,
        matrices={key: SparseMatrix(matrix, dtype) for key, matrix in gram_matrices(V).items()},
    )


def _boundary_nodes(V: Any, marker: str | int) -> torch.Tensor:
    return torch.from_numpy(np.array(V.boundary_nodes(marker), dtype=np.int64))


def node_points(V: Any, is_nodal: bool) -> np.ndarray:
    """Coordinates of each node: its evaluation point, or the mid-point of the mesh entity it belongs to."""
    fd = firedrake()
    mesh = V.mesh()
    if is_nodal:
        X = fd.VectorFunctionSpace(mesh, base_element(V.ufl_element()), dim=mesh.geometric_dimension)
        points = fd.Function(X).interpolate(fd.SpatialCoordinate(mesh)).dat.data_ro
        return np.array(points, dtype=np.float64).reshape(-1, mesh.geometric_dimension)
    coordinates = mesh.coordinates.function_space()
    vertices = list(corners(continuous_counterpart(coordinates)))
    vertex_points = mesh.coordinates.dat.data_ro.reshape(-1, mesh.geometric_dimension)[coordinates.cell_node_list[:, vertices]]
    finat = scalar_element(V)
    topology = finat.cell.get_topology()
    mean = np.zeros((finat.space_dimension(), len(vertices)))
    for dimension, entities in finat.entity_dofs().items():
        for entity, dofs in entities.items():
            at = list(topology[dimension][entity])
            mean[np.ix_(dofs, at)] = 1 / len(at)
    points = np.empty((V.node_count, mesh.geometric_dimension))
    points[V.cell_node_list] = np.einsum("nv,cvd->cnd", mean, vertex_points)
    return points
