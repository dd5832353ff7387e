"""Element matrices of Lagrange elements, on boxes of cells and on meshes: what every stencil is assembled from.

A stencil basis has names. "mass" is ∫ φ_i φ_j, "stiffness" ∫ ∇φ_i · ∇φ_j, "dx" ∫ φ_i ∂_x φ_j, "dxdy" ∫ ∂_x φ_i ∂_y φ_j, and so on for
"dy", "dz", "dxdx"... "lumped" is the diagonal matrix of the row sums of mass, "boundary" ∫ φ_i φ_j over the boundary of a grid. The names
that :func:`stencil_names` gives for a box span all kernels of 3 points along each axis.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import factorial

import numpy as np
import scipy.sparse

from ...errors import InputError
from ...fem import Space
from ...fem.reference_cell import corner_points, cube_exponents, reference_nodes, reference_vertices, simplex_exponents

AXES = "xyz"

#: How far a cell may be from the affine image of its reference cell, as a part of its size.
AFFINE = 1e-8


@dataclass(frozen=True)
class Elements:
    """The cells of one level: their nodes ``(cells, k)``, and for each name their matrices ``(cells, k, k)``; points ``(nodes, dim)``."""

    points: np.ndarray
    cell_nodes: np.ndarray
    matrices: Mapping[str, np.ndarray]

    @property
    def num_nodes(self) -> int:
        return len(self.points)

    @property
    def volumes(self) -> np.ndarray:
        """Of the cells, ``(cells,)``."""
        return self.matrices["mass"].sum((1, 2))

    def slopes(self) -> np.ndarray:
        """The mean over each cell of the derivatives of its basis functions along each axis, ``(dim, cells, k)``."""
        # Basis functions add up to one, so that Σ_i ∫ φ_i ∂φ_j is the integral of the derivative.
        integrals = np.stack([self.matrices[f"d{axis}"].sum(1) for axis in AXES[: self.points.shape[1]]])
        return integrals / self.volumes[:, None]

    def assemble(self, name: str) -> scipy.sparse.csr_matrix:
        """The matrix ``(nodes, nodes)`` of a stencil."""
        k = self.cell_nodes.shape[1]
        rows, cols = self.cell_nodes.repeat(k, axis=1), np.tile(self.cell_nodes, (1, k))
        entries = (self.matrices[name].ravel(), (rows.ravel(), cols.ravel()))
        return scipy.sparse.csr_matrix(entries, shape=(self.num_nodes, self.num_nodes))


def check_names(names: Iterable[str], dim: int) -> None:
    """Refuse what is no stencil in this dimension.

    Raises:
        InputError: a name is unknown; the message lists the forms that are known.
    """
    axes = AXES[:dim]
    for name in names:
        kinds = f"mass|lumped|boundary|stiffness|d[{axes}](d[{axes}])?|tensor_[mdk]{{{dim}}}"
        if not re.fullmatch(kinds, name):
            raise InputError(
                f"There is no stencil {name!r} in {dim} dimensions; there are mass, lumped, stiffness, derivatives such as dx or dxdx "
                f"along the axes {', '.join(axes)}, and on grids boundary and products such as {stencil_names(dim)[1]}."
            )


def tensor_stencils(dim: int) -> list[tuple[str, ...]]:
    """Stencils whose sums are −∇·(T∇) for the entries of a symmetric tensor T: those of the diagonal, then those above it."""
    axes = AXES[:dim]
    diagonal = [(f"d{axis}d{axis}",) for axis in axes]
    return diagonal + [(f"d{a}d{b}", f"d{b}d{a}") for i, a in enumerate(axes) for b in axes[i + 1 :]]


def stencil_names(dim: int) -> list[str]:
    """The tensor products of mass (m), derivative (d) and stiffness (k) along each axis: a basis of all kernels of 3^dim points."""
    return [f"tensor_{''.join(letters)}" for letters in product("mdk", repeat=dim)]


def box_elements(axes: Sequence[np.ndarray], periodic: Sequence[bool], names: Iterable[str]) -> Elements:
    """Q1 elements on the product of axes, each given by its points; the last point of a periodic axis is the first.

    Nodes and cells are numbered with the last axis fastest, as in an array.
    """
    nodes, one = [], []
    for x, wraps in zip(axes, periodic, strict=True):
        h = np.diff(x)
        first = np.arange(len(h))
        nodes.append(np.stack([first, (first + 1) % (len(h) if wraps else len(h) + 1)], axis=1))
        one.append(_interval(h, wraps))
    names = list(names)
    check_names(names, len(axes))
    counts = [len(x) - wraps for x, wraps in zip(axes, periodic, strict=True)]
    cell_nodes = _flat_nodes(nodes, counts)
    matrices = {name: reduce(np.add, [_tensor(one, letters) for letters in _products(name, len(axes))]) for name in names}
    matrices |= {name: _lumped(matrices[name]) for name in names if name == "lumped"}
    grid = np.meshgrid(*(x[:n] for x, n in zip(axes, counts, strict=True)), indexing="ij")
    return Elements(np.stack([x.ravel() for x in grid], axis=1), cell_nodes, matrices)


def _lumped(mass: np.ndarray) -> np.ndarray:
    """Diagonal matrices of the row sums."""
    return mass.sum(2)[:, :, None] * np.eye(mass.shape[1])


def _interval(h: np.ndarray, periodic: bool) -> dict[str, np.ndarray]:
    """Mass, derivative and stiffness of linear elements on intervals of lengths h, each ``(cells, 2, 2)``; t is the transposed d.

    b has a one at each end of the axis that is on the boundary.
    """
    h = h[:, None, None]
    d = np.ones_like(h) * np.array([[-0.5, 0.5], [-0.5, 0.5]])
    b = np.zeros((len(h), 2, 2))
    b[0, 0, 0] = b[-1, 1, 1] = 0.0 if periodic else 1.0
    return {
        "b": b,
        "m": h / 6 * np.array([[2.0, 1.0], [1.0, 2.0]]),
        "d": d,
        "t": d.transpose(0, 2, 1),
        "k": np.array([[1.0, -1.0], [-1.0, 1.0]]) / h,
    }


def _products(name: str, dim: int) -> list[str]:
    """The products of one-dimensional matrices whose sum a stencil is: ``"stiffness" -> ["km", "mk"]``."""
    if name.startswith("tensor_"):
        return [name.removeprefix("tensor_")]
    if name in ("mass", "lumped"):
        return ["m" * dim]
    if name in ("stiffness", "boundary"):
        letter = "k" if name == "stiffness" else "b"
        return ["".join(letter if i == axis else "m" for i in range(dim)) for axis in range(dim)]
    letters = ["m"] * dim
    *test, trial = (AXES.index(axis) for axis in name.replace("d", ""))
    letters[trial] = "d"
    for axis in test:
        letters[axis] = "k" if axis == trial else "t"
    return ["".join(letters)]


def _tensor(one: Sequence[Mapping[str, np.ndarray]], letters: str) -> np.ndarray:
    """Element matrices of boxes as Kronecker products of those of intervals, ``(cells, 2^dim, 2^dim)``."""
    matrices = [axis[letter] for axis, letter in zip(one, letters, strict=True)]

    def kron(A: np.ndarray, B: np.ndarray) -> np.ndarray:
        k, m = A.shape[1] * B.shape[1], len(A) * len(B)
        return np.einsum("aij,bkl->abikjl", A, B).reshape(m, k, k)

    return reduce(kron, matrices)


def _flat_nodes(nodes: Sequence[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """Numbers of the nodes of every box ``(cells, 2^dim)`` from those along each axis."""

    def outer(a: np.ndarray, axis: int) -> np.ndarray:
        b = nodes[axis]
        both = a[:, None, :, None] * counts[axis] + b[None, :, None, :]
        return both.reshape(len(a) * len(b), -1)

    return reduce(outer, range(1, len(nodes)), nodes[0])


def mesh_elements(space: Space, names: Iterable[str]) -> Elements:
    """The element matrices of a scalar Lagrange space on straight simplices, parallelograms or parallelepipeds.

    Raises:
        InputError: another element, a curved or skewed mesh, an unknown name.
    """
    names, mesh = list(names), space.mesh
    if not space.element.is_nodal or space.element.value_shape or space.element.family not in ("Lagrange", "Q"):
        raise InputError(f"{space.name!r} ({space.element}) is not a scalar Lagrange space, which stencils are made for.")
    if any(name.startswith("tensor_") or name == "boundary" for name in names):
        raise InputError(
            "Stencils that are products along axes, or on the boundary, exist on grids only; on meshes use mass, stiffness, dx, dxdy, ..."
        )
    check_names(names, mesh.dim)
    corners = corner_points(mesh)
    vertices = reference_vertices(mesh.cell_type)
    tdim = vertices.shape[1]
    # Affine cells: the edges from the first vertex to those at the unit vectors are the columns of the Jacobian.
    at_units = [int(np.flatnonzero((vertices == unit).all(1))[0]) for unit in np.eye(tdim)]
    J = (corners[:, at_units] - corners[:, :1]).transpose(0, 2, 1)
    straight = corners[:, :1] + np.einsum("cdt,vt->cvd", J, vertices)
    if tdim != mesh.dim or np.abs(corners - straight).max() > AFFINE * np.abs(J).max() or mesh.degree > 1:
        raise InputError(
            f"The mesh of {space.name!r} has curved or skewed cells. Stencils are made for straight simplices and boxes."
        )
    cell_nodes = space.cell_nodes.cpu().numpy()
    points = space.points.cpu().double().numpy()
    reference = _reference_matrices(reference_nodes(points[cell_nodes], mesh), mesh.cell_type, space.element.degree)
    volume, inverse = np.abs(np.linalg.det(J)), np.linalg.inv(J)
    matrices = {name: _mapped(name, reference, volume, inverse) for name in names}
    return Elements(points, cell_nodes, matrices)


def _reference_matrices(nodes: np.ndarray, cell_type: str, degree: int) -> np.ndarray:
    """∫ ∂_α φ_i ∂_β φ_j on the reference cell, ``(1 + tdim, 1 + tdim, k, k)``; α = 0 is no derivative."""
    tdim = nodes.shape[1]
    simplex = cell_type in ("interval", "triangle", "tetrahedron")
    exponents = simplex_exponents(tdim, degree) if simplex else cube_exponents(tdim, degree)
    coefficients = np.linalg.inv((nodes[:, None] ** exponents).prod(-1))
    forms = [(np.ones(len(exponents)), exponents)]
    for axis in range(tdim):
        lowered = exponents - np.eye(tdim, dtype=int)[axis]
        forms.append((exponents[:, axis].astype(float), np.maximum(lowered, 0)))

    def integral(e: np.ndarray) -> float:
        if simplex:
            return float(np.prod([factorial(n) for n in e]) / factorial(int(e.sum()) + tdim))
        return float(1 / np.prod(e + 1))

    def gram(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        values = np.array([[integral(p + q) for q in b[1]] for p in a[1]])
        return coefficients.T @ (a[0][:, None] * values * b[0]) @ coefficients

    return np.array([[gram(a, b) for b in forms] for a in forms])


def _mapped(name: str, reference: np.ndarray, volume: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Element matrices of every cell: the gradient of a basis function is J⁻ᵀ times that on the reference cell."""
    if name in ("mass", "lumped"):
        mass = volume[:, None, None] * reference[0, 0]
        return _lumped(mass) if name == "lumped" else mass
    gradients = reference[1:, 1:]
    if name == "stiffness":
        return np.einsum("c,cad,cbd,abij->cij", volume, inverse, inverse, gradients)
    *test, trial = (AXES.index(axis) for axis in name.replace("d", ""))
    if not test:
        return np.einsum("c,cb,bij->cij", volume, inverse[:, :, trial], reference[0, 1:])
    return np.einsum("c,ca,cb,abij->cij", volume, inverse[:, :, test[0]], inverse[:, :, trial], gradients)
