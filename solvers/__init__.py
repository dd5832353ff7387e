"""Reference solvers and the problems they solve."""

from .poisson import Poisson
from .problem import Problem
from .random_field import MaternField
from .steady_cylinder import SteadyCylinderFlow

__all__ = ["MaternField", "Poisson", "Problem", "SteadyCylinderFlow"]
