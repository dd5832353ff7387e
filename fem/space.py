"""A finite-element space as torch sees it: its dofs, where they lie, which are on the boundary, and its inner products."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import InputError
from .mesh import Mesh
from .sparse import SparseMatrix

#: The Gram matrices whose sum defines each norm. The H1 norm of a discontinuous space is the broken one.
NORMS = {"L2": ("mass",), "H1": ("mass", "stiffness"), "Hdiv": ("mass", "div"), "Hcurl": ("mass", "curl")}

#: The name under which every dof on the boundary is known, whatever its tags.
WHOLE_BOUNDARY = "on_boundary"

#: From points ``(n, dim)`` to values ``(..., n, *value_shape)``.
Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Element:
    """What UFL says of a finite element: ``Element("Lagrange", 2, "triangle")``.

    ``mapping`` is how its functions are pulled back; ``is_nodal`` whether a dof is the value at its point, so that interpolation
    is evaluation.
    """

    family: str
    degree: int
    cell: str
    value_shape: tuple[int, ...] = ()
    block_shape: tuple[int, ...] = ()
    mapping: str = "identity"
    is_nodal: bool = True

    @property
    def block_size(self) -> int:
        """Dofs at each node: 1 for a scalar or a vector-valued element, the number of components for a vector of scalar ones."""
        return math.prod(self.block_shape)

    @property
    def value_size(self) -> int:
        """Components of a function's value."""
        return math.prod(self.value_shape)

    def __str__(self) -> str:
        shape = f", shape {self.value_shape}" if self.value_shape else ""
        return f"{self.family} {self.degree} on {self.cell}{shape}"


class Space(nn.Module):
    """A finite-element space with ``num_dofs`` degrees of freedom; its fields are tensors ``(..., num_dofs)``.

    Attributes:
        points: node coordinates ``(num_nodes, dim)``; for dofs that are moments, the mid-point of their mesh entity.
        cell_nodes: nodes of each cell ``(num_cells, nodes_per_cell)`` in Firedrake's order.
        matrices: Gram matrices by name: ``mass``, ``stiffness``, and for vector fields ``div`` and ``curl``.
        dual_points: where a function must be known to be interpolated, ``(num_dual_points, dim)``; ``points`` if nodal.
        dual: the matrix from values at those points, components innermost, to dofs; None if they are the dofs.
        reference_basis: of an element whose functions Piola's maps take to the cells, the basis of the reference cell at its
            equispaced points of the element's degree, which determine it: ``(nodes_per_cell, n, tdim)``. Else None.

    A vector or tensor dof is ``node * block_size + component``. All tensors are non-persistent buffers: they move with ``.to``
    and are not stored in an operator's checkpoint, which carries the discretization's fingerprint instead.
    """

    points: Tensor
    cell_nodes: Tensor
    dual_points: Tensor
    dual: SparseMatrix | None

    def __init__(
        self,
        name: str,
        mesh: Mesh,
        element: Element,
        points: Tensor,
        cell_nodes: Tensor,
        boundary: Mapping[str, Tensor],
        matrices: Mapping[str, SparseMatrix],
        dual_points: Tensor | None = None,
        dual: SparseMatrix | None = None,
        reference_basis: np.ndarray | None = None,
    ):
        super().__init__()
        self.name, self.mesh, self.element, self.reference_basis = name, mesh, element, reference_basis
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("cell_nodes", cell_nodes, persistent=False)
        self.register_buffer("dual_points", points if dual_points is None else dual_points, persistent=False)
        self.dual = dual
        self._tags = {tag: f"_boundary_{i}" for i, tag in enumerate(boundary)}
        for tag, buffer in self._tags.items():
            self.register_buffer(buffer, boundary[tag], persistent=False)
        self.matrices = nn.ModuleDict(matrices)

    @property
    def num_nodes(self) -> int:
        return self.points.shape[0]

    @property
    def num_dofs(self) -> int:
        return self.num_nodes * self.element.block_size

    @property
    def cell_dofs(self) -> Tensor:
        """Cell-to-dof map ``(num_cells, nodes_per_cell * block_size)``, components innermost."""
        return self._dofs(self.cell_nodes).flatten(1)

    @property
    def dof_points(self) -> Tensor:
        """Coordinates of every dof ``(num_dofs, dim)``."""
        return self.points.repeat_interleave(self.element.block_size, dim=0)

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self._tags)

    @property
    def mass(self) -> SparseMatrix:
        return self.matrix("mass")

    @property
    def stiffness(self) -> SparseMatrix:
        return self.matrix("stiffness")

    def boundary_nodes(self, tags: str | Iterable[str] = WHOLE_BOUNDARY) -> Tensor:
        """Sorted nodes on the boundary parts with these tags.

        Raises:
            InputError: a tag is not one of the mesh's; the message lists those.
        """
        wanted = [tags] if isinstance(tags, str) else list(tags)
        if unknown := [tag for tag in wanted if tag not in self._tags]:
            raise InputError(
                f"Unknown boundary tag {', '.join(map(repr, unknown))} in space {self.name!r}. "
                f"Its mesh has the tags {', '.join(map(repr, self._tags))}."
            )
        return torch.cat([self.cell_nodes.new_empty(0), *(self.get_buffer(self._tags[tag]) for tag in wanted)]).unique()

    def boundary_dofs(self, tags: str | Iterable[str] = WHOLE_BOUNDARY) -> Tensor:
        """Sorted dofs on the boundary parts with these tags; errors as for :meth:`boundary_nodes`."""
        return self._dofs(self.boundary_nodes(tags)).flatten()

    def interpolate(self, f: Function) -> Tensor:
        """The interpolant of a function, by evaluating the dofs on it: ``f(points (n, dim)) -> (..., n, *value_shape)``.

        Raises:
            InputError: the values have another shape, or the element's dofs cannot be evaluated at points.
        """
        self._require_dual()
        values = f(self.dual_points)
        n, shape = len(self.dual_points), self.element.value_shape
        if tuple(values.shape[values.ndim - 1 - len(shape) :]) != (n, *shape):
            raise InputError(f"The function's values have shape {tuple(values.shape)}; {self.name!r} needs (..., {n}, *{shape}).")
        values = values.reshape(*values.shape[: values.ndim - 1 - len(shape)], n * self.element.value_size)
        return values if self.dual is None else self.dual(values)

    def dual_matrix(self) -> scipy.sparse.csr_matrix:
        """Matrix from values at the dual points, components innermost, to dofs; the identity for nodal elements.

        Raises:
            InputError: the element's dofs cannot be evaluated at points.
        """
        self._require_dual()
        return scipy.sparse.csr_matrix(scipy.sparse.eye(self.num_dofs)) if self.dual is None else self.dual.to_scipy()

    def _require_dual(self) -> None:
        if not self.element.is_nodal and self.dual is None:
            raise InputError(
                f"Functions cannot be interpolated into {self.name!r} ({self.element}). Interpolate them into a Lagrange "
                "space, and transfer or project from there."
            )
        if self.dual is None and self.element.block_size != self.element.value_size:
            raise InputError(f"Functions cannot be interpolated into {self.name!r}, whose values are symmetric tensors.")

    def inner(self, u: Tensor, v: Tensor, norm: str = "L2") -> Tensor:
        """Inner product that belongs to a norm, ``(..., dofs), (..., dofs) -> (...)``.

        Raises:
            InputError: there is no such norm; a field has another number of dofs.
        """
        if norm not in NORMS:
            raise InputError(f"Unknown norm {norm!r}; choose one of {', '.join(NORMS)}.")
        self._check(u)
        self._check(v)
        return torch.stack([(self.matrix(name)(u) * v).sum(-1) for name in NORMS[norm]]).sum(0)

    def norm(self, u: Tensor, norm: str = "L2") -> Tensor:
        """The norm of each field in a batch, ``(..., dofs) -> (...)``, exact for functions of the space.

        Its gradient at zero is zero, one of the norm's subgradients there.

        Raises:
            InputError: the field has another number of dofs, or the space has no such norm.
        """
        return root(self.inner(u, u, norm))

    def matrix(self, name: str) -> SparseMatrix:
        """A Gram matrix by name; :class:`InputError` if the space has none of that name."""
        if name not in self.matrices:
            raise InputError(f"Space {self.name!r} ({self.element}) has no {name} matrix; it has {', '.join(self.matrices)}.")
        matrix = self.matrices[name]
        assert isinstance(matrix, SparseMatrix)
        return matrix

    def _dofs(self, nodes: Tensor) -> Tensor:
        size = self.element.block_size
        return nodes.unsqueeze(-1) * size + torch.arange(size, device=nodes.device)

    def _check(self, u: Tensor) -> None:
        if u.shape[-1] != self.num_dofs:
            raise InputError(
                f"Space {self.name!r} has {self.num_dofs} dofs, but the field has shape {tuple(u.shape)}; "
                "its last axis must be the dofs."
            )

    def __repr__(self) -> str:
        tags = ", ".join(tag for tag in self._tags if tag != WHOLE_BOUNDARY) or "none"
        return f"{type(self).__name__} {self.name}: {self.element}, {self.num_dofs} dofs, tags: {tags}"


def root(square: Tensor) -> Tensor:
    """The square root, zero with its gradient where rounding has left nothing positive."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1).sqrt(), 0)
