"""Finite-element spaces as torch sees them: exported from Firedrake once, then batched, differentiable and free of it."""

from .block_tridiagonal import BlockTridiagonalSolver
from .conservation import FluxProjection
from .discretization import Discretization, load
from .export import export
from .export_mesh import boundary_tags
from .family import DiscretizationFamily, FieldsOnMesh
from .forms import Jacobian, Residual, ResidualLoss, compile_form
from .gmsh_geometry import gmsh_mesh
from .grid import grid_interpolation
from .grid_evaluation import grid_evaluation
from .hierarchy import Hierarchy
from .mesh import Mesh
from .mesh_file import mesh_hierarchy, read_mesh
from .mixed import MixedSpace
from .newton import NewtonStep
from .observation import Observation
from .projection import L2Projection, MassSolver
from .riesz import ProductRieszMap, RieszMap
from .saddle import SaddleSolver
from .smoothing import Smoothing
from .space import Element, Space
from .sparse import SparseMatrix
from .stream_function import StreamFunctionSolver
from .transfer import interpolation, point_evaluation
from .uniform_grid import Grid, Grids, load_grids

__all__ = [
    "BlockTridiagonalSolver",
    "Discretization",
    "DiscretizationFamily",
    "Element",
    "FieldsOnMesh",
    "FluxProjection",
    "Grid",
    "Grids",
    "Hierarchy",
    "Jacobian",
    "L2Projection",
    "MassSolver",
    "Mesh",
    "MixedSpace",
    "NewtonStep",
    "Observation",
    "ProductRieszMap",
    "Residual",
    "ResidualLoss",
    "RieszMap",
    "SaddleSolver",
    "Smoothing",
    "Space",
    "SparseMatrix",
    "StreamFunctionSolver",
    "boundary_tags",
    "compile_form",
    "export",
    "gmsh_mesh",
    "grid_evaluation",
    "grid_interpolation",
    "interpolation",
    "load",
    "load_grids",
    "mesh_hierarchy",
    "point_evaluation",
    "read_mesh",
]
