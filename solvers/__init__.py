"""Reference solvers and the problems they solve."""

from .navier_stokes import SteadyCylinderFlow
from .poisson import Poisson
from .problem import Problem
from .random_field import MaternField

__all__ = ["MaternField", "Poisson", "Problem", "SteadyCylinderFlow"]
