"""Products of spaces, whose fields are several: a velocity and a pressure, a flux and a potential."""

from collections.abc import Iterable, Sequence

import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import InputError
from .space import Element, Function, Space, root
from .sparse import SparseMatrix


class MixedElement(Element):
    """The product of several elements; ``family`` names them with their degrees."""

    def __str__(self) -> str:
        return f"{self.family} on {self.cell}"


class MixedSpace(Space):
    """The product of several spaces on one mesh; a field is the concatenation of its subspaces' dofs, in order.

    It is a space whose nodes are the dofs: ``points``, ``cell_nodes`` and the boundary nodes are those of the subspaces' dofs,
    one after the other. Its Gram matrices are block diagonal, so norms add up: ``‖(u, p)‖² = ‖u‖² + ‖p‖²``.

    Raises:
        InputError: the subspaces lie on several meshes.
    """

    def __init__(self, name: str, subspaces: Sequence[Space]):
        if len({id(space.mesh) for space in subspaces}) != 1:
            raise InputError(f"The subspaces of {name!r} must share one mesh.")
        sizes = [space.num_dofs for space in subspaces]
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        matrices = {
            key: SparseMatrix(
                scipy.sparse.block_diag([space.matrix(key).to_scipy() for space in subspaces]), subspaces[0].mass.val.dtype
            )
            for key in subspaces[0].matrices
            if all(key in space.matrices for space in subspaces)
        }
        super().__init__(
            name,
            subspaces[0].mesh,
            _mixed_element(subspaces),
            points=torch.cat([space.dof_points for space in subspaces]),
            cell_nodes=torch.cat([space.cell_dofs + start for space, start in zip(subspaces, starts, strict=True)], dim=1),
            boundary={
                tag: torch.cat([space.boundary_dofs(tag) + start for space, start in zip(subspaces, starts, strict=True)])
                for tag in subspaces[0].tags
            },
            matrices=matrices,
        )
        self._subspaces = nn.ModuleList(subspaces)
        self.sizes, self._starts = tuple(sizes), tuple(starts)

    @property
    def subspaces(self) -> tuple[Space, ...]:
        return tuple(space for space in self._subspaces if isinstance(space, Space))

    def split(self, z: Tensor) -> tuple[Tensor, ...]:
        """The fields of the subspaces, ``(..., dofs) -> (..., dofs of each)``; views, not copies."""
        self._check(z)
        return z.split(self.sizes, dim=-1)

    def merge(self, *fields: Tensor) -> Tensor:
        """The mixed field of one field for each subspace, ``(..., dofs of each) -> (..., dofs)``.

        Raises:
            InputError: a field has not as many dofs as its subspace.
        """
        found = tuple(u.shape[-1] for u in fields)
        if found != self.sizes:
            raise InputError(f"Mixed space {self.name!r} has fields of {self.sizes} dofs, but got {found}.")
        return torch.cat(fields, dim=-1)

    def sub_boundary_dofs(self, subspace: int, tags: str | Iterable[str]) -> Tensor:
        """Dofs of one subspace, numbered in the mixed space, on the boundary parts with these tags."""
        return self.subspaces[subspace].boundary_dofs(tags) + self._starts[subspace]

    def inner(self, u: Tensor, v: Tensor, norm: str | Sequence[str] = "L2") -> Tensor:
        """Inner product, the sum of those of the subspaces; ``norm`` is one for all or one for each: ``("H1", "L2")``.

        Raises:
            InputError: there are not as many norms as subspaces.
        """
        norms = [norm] * len(self.sizes) if isinstance(norm, str) else list(norm)
        if len(norms) != len(self.sizes):
            raise InputError(
                f"Mixed space {self.name!r} has {len(self.sizes)} subspaces, but {len(norms)} norms were named: {norms}."
            )
        parts = zip(self.subspaces, self.split(u), self.split(v), norms, strict=True)
        return torch.stack([space.inner(a, b, kind) for space, a, b, kind in parts]).sum(0)

    def norm(self, u: Tensor, norm: str | Sequence[str] = "L2") -> Tensor:
        """The norm of each field in a batch, ``(..., dofs) -> (...)``; ``norm`` is one for all subspaces or one for each."""
        return root(self.inner(u, u, norm))

    def interpolate(self, f: Function | Sequence[Function]) -> Tensor:
        """The interpolants of one function for each subspace, as one field; see :meth:`Space.interpolate`.

        Raises:
            InputError: there are not as many functions as subspaces.
        """
        if callable(f) or len(f) != len(self.sizes):
            raise InputError(f"Mixed space {self.name!r} needs a list of {len(self.sizes)} functions, one for each subspace.")
        return self.merge(*(space.interpolate(g) for space, g in zip(self.subspaces, f, strict=True)))

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *(f"  {space!r}" for space in self.subspaces)])


def _mixed_element(subspaces: Sequence[Space]) -> Element:
    elements = [space.element for space in subspaces]
    size = sum(element.value_size for element in elements)
    return MixedElement(
        family=" × ".join(f"{e.family} {e.degree}" for e in elements),
        degree=max(element.degree for element in elements),
        cell=elements[0].cell,
        value_shape=(size,),
        is_nodal=False,
    )
