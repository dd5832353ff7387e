"""From Firedrake to torch: export function spaces, their matrices, boundary dofs and transfers, once."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from .assembly import derivative, product
from .discretization import Discretization
from .export_mesh import export_mesh
from .export_space import export_space
from .forms import compile_form
from .mesh import Mesh
from .observation import Observation
from .sparse import SparseMatrix
from .transfer import interpolation, point_evaluation

Pairs = Iterable[tuple[str, str]]


def export(
    spaces: Mapping[str, Any],
    transfers: Pairs = (),
    derivatives: Pairs = (),
    products: Pairs = (),
    observations: Mapping[str, tuple[str, Any]] | None = None,
    forms: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Discretization:
    """Export Firedrake function spaces under the names by which networks, data sets and configs will know them.

    Args:
        spaces: Firedrake function spaces by name, on one mesh or several; also mixed ones.
        transfers: pairs of names ``(source, target)``; for each, the interpolation matrix is exported (see
            :func:`interpolation`). The meshes may differ.
        derivatives: pairs of names for which the gradient, curl or divergence is exported (see :func:`derivative`).
        products: pairs of names for which the L2 products of the bases, or the weak divergence, are exported (see :func:`product`).
        observations: for each name, that of a space and points ``(n, dim)`` at which its fields are evaluated.
        forms: UFL forms by name, compiled into the discretization (see :func:`compile_form`).
        dtype: of the matrices and the compiled forms.

    Raises:
        InputError: a name is not an identifier or is taken, a pair names an unknown space, a space or mesh cannot be exported, no such
            matrix exists, or points lie outside the domain.

    Example:
        >>> import firedrake as fd
        >>> disc = export({"V": fd.FunctionSpace(fd.UnitSquareMesh(4, 4), "CG", 2)})
        >>> V = disc["V"]
        >>> V.num_dofs, V.boundary_dofs("1").numel()
        (81, 9)
        >>> u = V.interpolate(lambda x: x[:, 0] ** 2)
        >>> V.norm(u) ** 2, V.norm(u, "H1") ** 2  # ∫ x⁴, and ∫ x⁴ + 4x²
        (tensor(0.2000, dtype=torch.float64), tensor(1.5333, dtype=torch.float64))
    """
    transfers, derivatives, products = list(transfers), list(derivatives), list(products)
    observations, forms = observations or {}, forms or {}
    if not isinstance(spaces, Mapping) or not spaces:
        raise InputError(f'Spaces are exported by name, as in export({{"V": V}}); got {spaces!r}.')
    for name, V in spaces.items():
        if not hasattr(V, "ufl_element") or not hasattr(V, "cell_node_map"):
            raise InputError(
                f"{name!r} is a {type(V).__name__}; expected a Firedrake function space, such as FunctionSpace(mesh, 'CG', 1)."
            )
    if unfit := [name for name in (*spaces, *observations, *forms) if not name.isidentifier()]:
        raise InputError(f"A part cannot be called {unfit[0]!r}: use letters, digits and underscores, as for a Python name.")
    # Parts are kept in modules, whose own attributes are no names.
    if taken := [name for name in (*spaces, *observations, *forms) if hasattr(nn.ModuleDict, name) or name == "training"]:
        raise InputError(f"A part cannot be called {taken[0]!r}, which PyTorch's modules use themselves; choose another name.")
    used = {name for pair in transfers + derivatives + products for name in pair} | {of for of, _ in observations.values()}
    if missing := sorted(used - set(spaces)):
        raise InputError(f"There is no space {missing[0]!r} among the exported {', '.join(map(repr, spaces))}.")

    def matrices(pairs: Pairs, build: Callable[[Any, Any], Any]) -> dict[tuple[str, str], SparseMatrix]:
        return {(s, t): SparseMatrix(build(spaces[s], spaces[t]), dtype) for s, t in pairs}

    meshes: dict[Any, Mesh] = {}
    exported = {}
    for name, V in spaces.items():
        mesh = V.mesh().unique()
        if mesh not in meshes:
            meshes[mesh] = export_mesh(mesh)
        exported[name] = export_space(name, V, meshes[mesh], dtype)
    observed = {
        name: Observation(
            of, torch.as_tensor(points, dtype=torch.float64), SparseMatrix(point_evaluation(spaces[of], points), dtype)
        )
        for name, (of, points) in observations.items()
    }
    disc = Discretization(
        exported, matrices(transfers, interpolation), matrices(derivatives, derivative), matrices(products, product), observed
    )
    disc.sources.update(spaces)
    for name, form in forms.items():
        disc.forms[name] = compile_form(form, disc)
    return disc
