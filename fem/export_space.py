"""A Firedrake function space as plain arrays and sparse matrices."""

from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .assembly import ROUNDING, csr, gram_matrices
from .export_mesh import base_element, degree_of, facet_nodes, physical_points, tagged_facets
from .firedrake import firedrake
from .mesh import Mesh
from .mixed import MixedSpace
from .reference_cell import equispaced
from .space import WHOLE_BOUNDARY, Element, Space
from .sparse import SparseMatrix

#: Spaces whose functions are no piecewise smooth functions on cells.
UNFIT = ("Real", "Quadrature", "HDiv Trace")


def export_space(name: str, V: Any, mesh: Mesh, dtype: torch.dtype) -> Space:
    """The space ``V`` on the exported mesh, with its Gram matrices; a :class:`MixedSpace` if it has several fields.

    Raises:
        InputError: ``V`` is not a finite-element space of functions on cells.
    """
    if len(V) > 1:
        return MixedSpace(name, [export_space(W.name or f"{name}_{i}", W, mesh, dtype) for i, W in enumerate(V)])
    ufl_element = V.ufl_element()
    if ufl_element.family() in UNFIT:
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
        is_nodal=bool(V.finat_element.has_pointwise_dual_basis),
    )
    dual_points, dual = _dual_basis(V, element)
    return Space(
        name,
        mesh,
        element,
        points=torch.from_numpy(dual_points if dual is None else _entity_mid_points(V)),
        cell_nodes=torch.from_numpy(np.array(V.cell_node_list, dtype=np.int64)),
        boundary={tag: torch.from_numpy(nodes) for tag, nodes in _boundary_nodes(V, mesh).items()},
        matrices={key: SparseMatrix(matrix, dtype) for key, matrix in gram_matrices(V).items()},
        dual_points=None if dual is None else torch.from_numpy(dual_points),
        dual=None if dual is None else SparseMatrix(dual, dtype),
        reference_basis=_reference_basis(V, element),
    )


def _boundary_nodes(V: Any, mesh: Mesh) -> dict[str, np.ndarray]:
    facets = {WHOLE_BOUNDARY: np.arange(len(V.mesh().exterior_facets.facets))}
    facets.update((tag, tagged_facets(V.mesh(), marker)) for tag, marker in mesh.markers.items())
    cell_nodes = np.array(V.cell_node_list, dtype=np.int64)
    return {tag: np.unique(facet_nodes(V.mesh(), which, cell_nodes, V.finat_element)) for tag, which in facets.items()}


def _dual_basis(V: Any, element: Element) -> tuple[np.ndarray, Any]:
    """Where the dofs evaluate a function, and the matrix from values there to dofs; no matrix for nodal elements."""
    fd = firedrake()
    try:
        _, point_set = V.finat_element.dual_basis
    except NotImplementedError:
        return _entity_mid_points(V), None
    in_cells = physical_points(V.mesh(), np.asarray(point_set.points))
    if element.is_nodal:
        points = np.empty((V.node_count, in_cells.shape[-1]))
        points[V.cell_node_list] = in_cells
        return points, None
    Q = V.quadrature_space()
    points = np.empty((Q.node_count, in_cells.shape[-1]))
    points[Q.cell_node_list] = in_cells
    matrix = fd.assemble(fd.interpolate(fd.TrialFunction(Q), V), mat_type="aij")
    return points, csr(matrix, ROUNDING)


def _reference_basis(V: Any, element: Element) -> np.ndarray | None:
    """The basis functions that Piola's maps take to the cells, at the equispaced points of the reference cell."""
    if "piola" not in element.mapping or element.block_shape:
        return None
    lattice = equispaced(element.cell, element.degree)
    (table,) = V.finat_element.fiat_equivalent.tabulate(0, lattice).values()
    return np.ascontiguousarray(np.moveaxis(table, 1, 2)) if table.ndim == 3 else None


def _entity_mid_points(V: Any) -> np.ndarray:
    """The mid-point of the mesh entity that each node belongs to."""
    finat = V.finat_element
    vertices = np.array(finat.cell.get_vertices())
    topology = finat.cell.get_topology()
    reference = np.empty((finat.space_dimension(), vertices.shape[1]))
    for dimension, entities in finat.entity_dofs().items():
        for entity, dofs in entities.items():
            reference[dofs] = vertices[list(topology[dimension][entity])].mean(0)
    in_cells = physical_points(V.mesh(), reference)
    points = np.empty((V.node_count, in_cells.shape[-1]))
    points[V.cell_node_list] = in_cells
    return points
