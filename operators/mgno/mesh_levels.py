"""The levels of a hierarchy of finite-element spaces on meshes."""

from collections.abc import Iterable

import numpy as np
import scipy.sparse
import torch

from ...fem import Hierarchy
from ...fem.grid_evaluation import locate
from .architecture import Architecture
from .elements import mesh_elements
from .levels import Levels


def mesh_levels(
    hierarchy: Hierarchy, dirichlet: Iterable[str], architecture: Architecture, dtype: torch.dtype = torch.float32
) -> Levels:
    """The levels of a hierarchy of Lagrange spaces, the prolongations its own.

    Args:
        dirichlet: boundary tags where values are fixed; natural conditions hold elsewhere.

    Raises:
        InputError: elements or cells that stencils are not made for, an unknown tag.
    """
    tags = list(dirichlet)
    spaces = [hierarchy[l] for l in range(len(hierarchy))]
    elements = [mesh_elements(space, architecture.all_stencils(space.mesh.dim)) for space in spaces]
    free = [np.ones(space.num_nodes, dtype=bool) for space in spaces]
    for space, unfixed in zip(spaces, free, strict=True):
        if tags:
            unfixed[space.boundary_nodes(tags).cpu().numpy()] = False
    maps = [scipy.sparse.csr_matrix(hierarchy.prolongation(l).to_scipy(), dtype=np.float64) for l in range(len(spaces) - 1)]
    parents = []
    if architecture.coefficient == "rediscretized":
        for fine, coarse in zip(elements, spaces[1:], strict=False):
            parents.append(locate(coarse, fine.points[fine.cell_nodes].mean(1))[0])
    points = spaces[0].mesh.points
    box = np.stack([points.min(0), points.max(0)])
    return Levels(elements, maps, free, architecture, box, [False] * spaces[0].mesh.dim, parents, dtype)
