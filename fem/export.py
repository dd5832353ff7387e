"""From Firedrake to torch: export function spaces, their matrices, boundary dofs and transfers, once."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import scipy.sparse
import torch

from ..errors import InputError
from .discretization import Discretization
from .firedrake import firedrake
from .mesh import Mesh
from .space import WHOLE_BOUNDARY, Element, Space
from .sparse import SparseMatrix


def export(
    spaces: Mapping[str, Any], transfers: Iterable[tuple[str, str]] = (), dtype: torch.dtype = torch.float64
) -> Discretization:
    """Export Firedrake function spaces under the names by which networks, data sets and configs will know them.

    Args:
        spaces: Firedrake function spaces by name, on one mesh or several.
        transfers: pairs of names ``(source, target)``; for each, the interpolation matrix is exported. The meshes may differ.
        dtype: of the matrices.

    Raises:
        InputError: a name is not an identifier, a transfer names an unknown space, or Firedrake runs in parallel.
    """
    for name, V in spaces.items():
        if not name.isidentifier():
            raise InputError(f"A space cannot be called {name!r}: use letters, digits and underscores, as for a Python name.")
        if V.mesh().comm.size > 1:
            raise InputError(f"Space {name!r} is distributed over {V.mesh().comm.size} processes; export it from a serial mesh "
                             "(comm=MPI.COMM_SELF).")
    meshes: dict[Any, Mesh] = {}
    exported = {}
    for name, V in spaces.items():
        if V.mesh() not in meshes:
            meshes[V.mesh()] = _export_mesh(V.mesh())
        exported[name] = _export_space(name, V, meshes[V.mesh()], dtype)
    matrices = {}
    for source, target in transfers:
        if missing := [name for name in (source, target) if name not in spaces]:
            raise InputError(f"The transfer {source}->{target} names unknown spaces: {', '.join(missing)}.")
        matrices[source, target] = SparseMatrix(interpolation(spaces[source], spaces[target]), dtype)
    return Discretization(exported, matrices)


def csr(assembled: Any) -> scipy.sparse.csr_matrix:
    """A Firedrake matrix as scipy CSR, without the explicit zeros of its sparsity pattern."""
    indptr, indices, data = assembled.petscmat.getValuesCSR()
    matrix = scipy.sparse.csr_matrix((data, indices, indptr), shape=assembled.petscmat.getSize())
    matrix.eliminate_zeros()
    return matrix


def interpolation(source: Any, target: Any) -> scipy.sparse.csr_matrix:
    """Matrix of the interpolation from one function space into another, on the same mesh or a different one."""
    fd = firedrake()
    return csr(fd.assemble(fd.interpolate(fd.TrialFunction(source), target), mat_type="aij"))


def boundary_tags(mesh: Any) -> dict[str, int]:
    """The boundary parts of a Firedrake mesh by name: those of its mesh file, else its integer markers as strings."""
    markers = [int(marker) for marker in mesh.exterior_facets.unique_markers]
    names = {marker: name for name, marker in getattr(mesh, "boundary_names", {}).items()}
    return {names.get(marker, str(marker)): marker for marker in sorted(markers)}


def _export_mesh(mesh: Any) -> Mesh:
    X = mesh.coordinates.function_space()
    cell_nodes = np.asarray(X.cell_node_list, dtype=np.int64)
    element = _scalar_element(X)
    closure = element.entity_closure_dofs()[mesh.topological_dimension - 1]
    facet_columns = np.array([sorted(closure[i]) for i in sorted(closure)])
    facets = mesh.exterior_facets
    tags = boundary_tags(mesh)
    tagged = {}
    for tag, marker in tags.items():
        which = facets.subset(marker).indices
        cells = np.asarray(facets.facet_cell)[which].reshape(-1)
        local = np.asarray(facets.local_facet_dat.data_ro)[which].reshape(-1)
        tagged[tag] = cell_nodes[cells[:, None], facet_columns[local]]
    corners = element.entity_dofs()[0]
    return Mesh(
        points=np.array(mesh.coordinates.dat.data_ro, dtype=np.float64).reshape(-1, mesh.geometric_dimension),
        cells=cell_nodes.copy(),
        cell_type=mesh.ufl_cell().cellname,
        degree=_degree(X.ufl_element()),
        facets=tagged,
        markers=tags,
        vertices=tuple(corners[i][0] for i in sorted(corners)),
    )


def _export_space(name: str, V: Any, mesh: Mesh, dtype: torch.dtype) -> Space:
    ufl_element = V.ufl_element()
    element = Element(
        family=ufl_element.family(),
        degree=_degree(ufl_element),
        cell=mesh.cell_type,
        value_shape=tuple(V.value_shape),
        block_shape=tuple(V.shape),
        mapping=_base(ufl_element).mapping().lower(),
    )
    boundary = {WHOLE_BOUNDARY: _boundary_nodes(V, WHOLE_BOUNDARY)}
    boundary.update((tag, _boundary_nodes(V, marker)) for tag, marker in mesh.markers.items())
    return Space(
        name,
        mesh,
        element,
        points=torch.from_numpy(_node_points(V, element)),
        cell_nodes=torch.from_numpy(np.array(V.cell_node_list, dtype=np.int64)),
        boundary=boundary,
        matrices={key: SparseMatrix(matrix, dtype) for key, matrix in _gram_matrices(V).items()},
    )


def _gram_matrices(V: Any) -> dict[str, scipy.sparse.csr_matrix]:
    fd = firedrake()
    u, v, dx = fd.TrialFunction(V), fd.TestFunction(V), fd.dx(domain=V.mesh())
    forms = {"mass": fd.inner(u, v) * dx, "stiffness": fd.inner(fd.grad(u), fd.grad(v)) * dx}
    sobolev, dim = V.ufl_element(), V.mesh().geometric_dimension
    if V.value_shape == (dim,) and dim > 1:
        import ufl

        if sobolev in ufl.HDiv:
            forms["div"] = fd.div(u) * fd.div(v) * dx
        if sobolev in ufl.HCurl:
            curl = fd.curl if dim == 3 else fd.rot
            forms["curl"] = fd.inner(curl(u), curl(v)) * dx
    return {name: csr(fd.assemble(form, mat_type="aij")) for name, form in forms.items()}


def _boundary_nodes(V: Any, marker: str | int) -> torch.Tensor:
    return torch.from_numpy(np.array(V.boundary_nodes(marker), dtype=np.int64))


def _node_points(V: Any, element: Element) -> np.ndarray:
    """Coordinates of each node: its evaluation point, or the mid-point of the mesh entity it belongs to."""
    fd = firedrake()
    mesh = V.mesh()
    if element.is_nodal:
        X = fd.VectorFunctionSpace(mesh, _base(V.ufl_element()), dim=mesh.geometric_dimension)
        points = fd.Function(X).interpolate(fd.SpatialCoordinate(mesh)).dat.data_ro
        return np.array(points, dtype=np.float64).reshape(-1, mesh.geometric_dimension)
    coordinates = mesh.coordinates.function_space()
    corners = _scalar_element(coordinates).entity_dofs()[0]
    vertex_points = mesh.coordinates.dat.data_ro[coordinates.cell_node_list[:, [corners[i][0] for i in sorted(corners)]]]
    finat = _scalar_element(V)
    topology = finat.cell.get_topology()
    mean = np.zeros((finat.space_dimension(), vertex_points.shape[1]))
    for dimension, entities in finat.entity_dofs().items():
        for entity, dofs in entities.items():
            vertices = list(topology[dimension][entity])
            mean[np.ix_(dofs, vertices)] = 1 / len(vertices)
    points = np.empty((V.node_count, mesh.geometric_dimension))
    points[V.cell_node_list] = np.einsum("nv,cvd->cnd", mean, vertex_points)
    return points


def _base(ufl_element: Any) -> Any:
    """The scalar (or vector-valued) element that a vector or tensor element is made of."""
    return ufl_element.sub_elements[0] if ufl_element.num_sub_elements else ufl_element


def _scalar_element(V: Any) -> Any:
    return getattr(V.finat_element, "base_element", V.finat_element)


def _degree(ufl_element: Any) -> int:
    degree = ufl_element.degree()
    return max(degree) if isinstance(degree, tuple) else degree
