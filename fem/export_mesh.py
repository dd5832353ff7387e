"""A Firedrake mesh as plain arrays."""

from typing import Any

import numpy as np

from ..errors import InputError
from .firedrake import firedrake
from .mesh import CELL_DIMENSION, Mesh

#: Families of the coordinates of periodic meshes.
DISCONTINUOUS = ("Discontinuous Lagrange", "DQ")


def boundary_tags(mesh: Any) -> dict[str, int]:
    """The boundary parts of a Firedrake mesh by name: those of its mesh file, else its integer markers as strings."""
    names = {marker: name for name, marker in getattr(mesh, "boundary_names", {}).items()}
    markers = sorted(int(marker) for marker in mesh.exterior_facets.unique_markers)
    # A periodic mesh keeps the markers of the box that it was made of, on facets that are now inside.
    return {names.get(marker, str(marker)): marker for marker in markers if len(tagged_facets(mesh, marker))}


def tagged_facets(mesh: Any, marker: int) -> np.ndarray:
    """Which of the exterior facets carry a marker, as indices."""
    from firedrake.cython.dmcommon import FACE_SETS_LABEL

    plex = mesh.topology_dm
    if not plex.getStratumSize(FACE_SETS_LABEL, marker):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.isin(mesh.exterior_facets.facets, plex.getStratumIS(FACE_SETS_LABEL, marker).indices))


def facet_nodes(mesh: Any, facets: np.ndarray, cell_nodes: np.ndarray, element: Any) -> np.ndarray:
    """Nodes ``(num_facets, nodes_per_facet)`` in the closure of exterior facets, for the cell-to-node map of an element."""
    closure = element.entity_closure_dofs()[mesh.topological_dimension - 1]
    columns = np.array([sorted(closure[i]) for i in sorted(closure)], dtype=np.int64)
    cell = np.asarray(mesh.exterior_facets.facet_cell).reshape(-1)[facets]
    local = mesh.exterior_facets.local_facet_dat.data_ro.reshape(-1)[facets]
    return cell_nodes[cell[:, None], columns[local]]


def export_mesh(mesh: Any) -> Mesh:
    """Points, cells and tagged boundary facets of a serial Firedrake mesh of simplices, quadrilaterals or hexahedra.

    Raises:
        InputError: the mesh is distributed, extruded, or made of other cells.
    """
    if mesh.comm.size > 1:
        raise InputError(
            f"The mesh {mesh.name!r} is distributed over {mesh.comm.size} processes; "
            "export from a serial mesh (comm=MPI.COMM_SELF)."
        )
    cell_type = mesh.ufl_cell().cellname
    if mesh.extruded or cell_type not in CELL_DIMENSION:
        raise InputError(
            f"The mesh {mesh.name!r} has {'extruded ' if mesh.extruded else ''}cells of type {cell_type!r}; "
            f"meshes of {', '.join(CELL_DIMENSION)} cells, not extruded, can be exported."
        )
    coordinates = _coordinates(mesh)
    X = coordinates.function_space()
    cells = np.array(X.cell_node_list, dtype=np.int64)
    element = continuous_counterpart(X)
    tags = boundary_tags(mesh)
    return Mesh(
        points=np.array(coordinates.dat.data_ro, dtype=np.float64).reshape(-1, mesh.geometric_dimension),
        cells=cells,
        cell_type=cell_type,
        degree=degree_of(X.ufl_element()),
        facets={tag: facet_nodes(mesh, tagged_facets(mesh, marker), cells, element) for tag, marker in tags.items()},
        markers=tags,
        vertices=corners(element),
    )


def _coordinates(mesh: Any) -> Any:
    """The coordinate field; if discontinuous, at equispaced nodes, of which some are the vertices."""
    import finat.ufl

    element = base_element(mesh.coordinates.ufl_element())
    if element.family() not in DISCONTINUOUS or element.variant() == "equispaced":
        return mesh.coordinates
    fd = firedrake()
    lattice = finat.ufl.FiniteElement(element.family(), element.cell, degree_of(element), variant="equispaced")
    return fd.Function(fd.VectorFunctionSpace(mesh, lattice, dim=mesh.geometric_dimension)).interpolate(mesh.coordinates)


def continuous_counterpart(X: Any) -> Any:
    """The continuous scalar element whose nodes are numbered like those of a coordinate space.

    Coordinates of periodic meshes are discontinuous; their nodes belong to no vertex or facet, but come in the same order.
    """
    import finat.ufl
    from finat.element_factory import create_element

    element = base_element(X.ufl_element())
    if element.family() not in DISCONTINUOUS:
        return X.finat_element
    return create_element(finat.ufl.FiniteElement("CG", element.cell, degree_of(element), variant="equispaced"))


def corners(element: Any) -> tuple[int, ...]:
    """The local nodes of a continuous element at the vertices of its cell."""
    vertex_dofs = element.entity_dofs()[0]
    return tuple(vertex_dofs[i][0] for i in sorted(vertex_dofs))


def physical_points(mesh: Any, reference: np.ndarray) -> np.ndarray:
    """Points of the reference cell ``(n, tdim)`` in every cell ``(num_cells, n, dim)``, on curved cells too."""
    import gem
    from finat.point_set import PointSet
    from gem.interpreter import evaluate

    X = mesh.coordinates.function_space()
    points = PointSet(reference)
    basis = X.finat_element.basis_evaluation(0, points)[(0,) * mesh.topological_dimension]
    node = X.finat_element.get_indices()
    (result,) = evaluate([gem.ComponentTensor(gem.Indexed(basis, node), (*node, *points.indices))])
    values = result.arr.reshape(-1, len(reference))
    nearest = np.round(values)
    values = np.where(abs(values - nearest) < 1e-13, nearest, values)  # so that vertices keep their coordinates to the last bit
    coordinates = mesh.coordinates.dat.data_ro.reshape(-1, mesh.geometric_dimension)
    return np.einsum("bn,cbd->cnd", values, coordinates[X.cell_node_list])


def base_element(ufl_element: Any) -> Any:
    """The scalar or vector-valued element that a vector or tensor element is made of."""
    import finat.ufl

    while isinstance(ufl_element, (finat.ufl.VectorElement, finat.ufl.TensorElement)):
        ufl_element = ufl_element.sub_elements[0]
    return ufl_element


def degree_of(ufl_element: Any) -> int:
    """The polynomial degree, the largest where it differs by direction."""
    degree = ufl_element.degree()
    return max(degree) if isinstance(degree, tuple) else degree
