"""Reference solvers and the problems they solve."""

from .burgers import Burgers
from .cylinder_flow import CylinderFlow
from .darcy import Darcy
from .force_history import ForceHistory
from .helmholtz import Helmholtz
from .hyperelastic_beam import HyperelasticBeam
from .lid_cavity import LidCavity
from .mixed_darcy import MixedDarcy
from .nonlinear_diffusion import NonlinearDiffusion
from .poisson import Poisson
from .problem import Problem
from .random_field import MaternField
from .steady_cylinder import SteadyCylinderFlow
from .stokes import Stokes

__all__ = [
    "Burgers",
    "CylinderFlow",
    "Darcy",
    "ForceHistory",
    "Helmholtz",
    "HyperelasticBeam",
    "LidCavity",
    "MaternField",
    "MixedDarcy",
    "NonlinearDiffusion",
    "Poisson",
    "Problem",
    "SteadyCylinderFlow",
    "Stokes",
]
