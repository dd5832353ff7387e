"""A Firedrake mesh as plain arrays."""

from typing import Any

import numpy as np

from ..errors import InputError
from .mesh import CELL_DIMENSION, Mesh


def boundary_tags(mesh: Any) -> dict[str, int]:
    """The boundary parts of a Firedrake mesh by name: those of its mesh file, else its integer markers as strings."""
    markers = [int(marker) for marker in mesh.exterior_facets.unique_markers]
    names = {marker: name for name, marker in getattr(mesh, "boundary_names", {}).items()}
    return {names.get(marker, str(marker)): marker for marker in sorted(markers)}


def export_mesh(mesh: Any) -> Mesh:
    """Points, cells and tagged boundary facets of a serial Firedrake mesh of simplices, quadrilaterals or hexahedra.

    Raises:
        InputError: the mesh is distributed, extruded, or made of other cells.
    """
    if mesh.comm.size > 1:
        raise InputError(
            f"The mesh {mesh.name!r} is distributed over {mesh.comm.size} processes; export from a serial mesh "
            "(comm=MPI.COMM_SELF)."
        )
    cell_type = mesh.ufl_cell().cellname
    if mesh.extruded or cell_type not in CELL_DIMENSION:
        raise InputError(
            f"The mesh {mesh.name!r} has {'extruded ' if mesh.extruded else ''}cells of type {cell_type!r}; "
            f"meshes of {', '.join(CELL_DIMENSION)} cells, not extruded, can be exported."
        )
    X = mesh.coordinates.function_space()
    cells = np.array(X.cell_node_list, dtype=np.int64)
    element = continuous_counterpart(X)
    closure = element.entity_closure_dofs()[mesh.topological_dimension - 1]
    facet_columns = np.array([sorted(closure[i]) for i in sorted(closure)])
    facets, tags = mesh.exterior_facets, boundary_tags(mesh)
    facet_cell, local_facet = np.asarray(facets.facet_cell).reshape(-1), facets.local_facet_dat.data_ro.reshape(-1)
    tagged = {}
    for tag, marker in tags.items():
        which = facets.subset(marker).indices
        tagged[tag] = cells[facet_cell[which][:, None], facet_columns[local_facet[which]]]
    return Mesh(
        points=np.array(mesh.coordinates.dat.data_ro, dtype=np.float64).reshape(-1, mesh.geometric_dimension),
        cells=cells,
        cell_type=cell_type,
        degree=degree_of(X.ufl_element()),
        facets=tagged,
        markers=tags,
        vertices=corners(element),
    )


def continuous_counterpart(X: Any) -> Any:
    """The continuous scalar element whose nodes are numbered like those of a coordinate space.

    Coordinates of periodic meshes are discontinuous; their nodes belong to no vertex or facet, but come in the same order.
    """
    import finat.ufl
    from finat.element_factory import create_element

    element = base_element(X.ufl_element())
    if element.family() not in ("Discontinuous Lagrange", "DQ"):
        return scalar_element(X)
    return create_element(finat.ufl.FiniteElement("CG", element.cell, degree_of(element)))


def corners(element: Any) -> tuple[int, ...]:
    """The local nodes of a continuous element at the vertices of its cell."""
    vertex_dofs = element.entity_dofs()[0]
    return tuple(vertex_dofs[i][0] for i in sorted(vertex_dofs))


def base_element(ufl_element: Any) -> Any:
    """The scalar or vector-valued element that a vector or tensor element is made of."""
    import finat.ufl

    while isinstance(ufl_element, (finat.ufl.VectorElement, finat.ufl.TensorElement)):
        ufl_element = ufl_element.sub_elements[0]
    return ufl_element


def scalar_element(V: Any) -> Any:
    """The FInAT element at one component of each node."""
    return getattr(V.finat_element, "base_element", V.finat_element)


def degree_of(ufl_element: Any) -> int:
    """The polynomial degree, the largest where it differs by direction."""
    degree = ufl_element.degree()
    return max(degree) if isinstance(degree, tuple) else degree
