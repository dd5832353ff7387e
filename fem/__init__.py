"""Finite-element spaces as torch sees them: exported from Firedrake once, then batched, differentiable and free of it."""

from .discretization import Discretization
from .discretization_file import load
from .export import export
from .export_mesh import boundary_tags
from .mesh import Mesh
from .mesh_file import mesh_hierarchy, read_mesh
from .space import Element, Space
from .sparse import SparseMatrix
from .transfer import interpolation

__all__ = [
    "Discretization",
    "Element",
    "Mesh",
    "Space",
    "SparseMatrix",
    "boundary_tags",
    "export",
    "interpolation",
    "load",
    "mesh_hierarchy",
    "read_mesh",
]
