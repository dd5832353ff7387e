"""Finite-element spaces as torch sees them: exported from Firedrake once, then batched, differentiable and free of it."""

from .discretization import Discretization, load
from .export import boundary_tags, export, interpolation
from .mesh import Mesh
from .space import Element, Space
from .sparse import SparseMatrix

__all__ = ["Discretization", "Element", "Mesh", "Space", "SparseMatrix", "boundary_tags", "export", "interpolation", "load"]
