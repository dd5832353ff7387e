"""Reference solvers and the problems they solve."""

from .cylinder_flow import CylinderFlow
from .force_history import ForceHistory
from .lid_cavity import LidCavity
from .poisson import Poisson
from .problem import Problem
from .random_field import MaternField
from .steady_cylinder import SteadyCylinderFlow

__all__ = ["CylinderFlow", "ForceHistory", "LidCavity", "MaternField", "Poisson", "Problem", "SteadyCylinderFlow"]
