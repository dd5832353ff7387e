"""From Firedrake to torch: export function spaces, their matrices, boundary dofs and transfers, once."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..errors import InputError
from .discretization import Discretization
from .export_mesh import export_mesh
from .export_space import export_space
from .mesh import Mesh
from .sparse import SparseMatrix
from .transfer import interpolation


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
    if unfit := [name for name in spaces if not name.isidentifier()]:
        raise InputError(f"A space cannot be called {unfit[0]!r}: use letters, digits and underscores, as for a Python name.")
    meshes: dict[Any, Mesh] = {}
    exported = {}
    for name, V in spaces.items():
        if V.mesh() not in meshes:
            meshes[V.mesh()] = export_mesh(V.mesh())
        exported[name] = export_space(name, V, meshes[V.mesh()], dtype)
    matrices = {}
    for source, target in transfers:
        if missing := [name for name in (source, target) if name not in spaces]:
            raise InputError(f"The transfer {source}->{target} names unknown spaces: {', '.join(missing)}.")
        matrices[source, target] = SparseMatrix(interpolation(spaces[source], spaces[target]), dtype)
    return Discretization(exported, matrices)
