"""Reference solvers and the problems they solve."""

from .bdf2 import BDF2
from .burgers import Burgers
from .channel_flow import ChannelFlow
from .controlled_cylinder import ControlledCylinderFlow
from .cylinder_flow import CylinderFlow
from .darcy import Darcy
from .flow_channel import FlowChannel
from .flow_scheme import FlowScheme
from .force_history import ForceHistory
from .helmholtz import Helmholtz
from .hyperelastic_beam import HyperelasticBeam
from .lid_cavity import LidCavity
from .mixed_darcy import MixedDarcy
from .nonlinear_diffusion import NonlinearDiffusion
from .obstacle_flow import ObstacleFlow
from .obstacle_wake import ObstacleWake, OnRandomObstacles
from .obstacles import Channel, Disc, obstacle_mesh
from .pipe_flow import PipeFlow
from .poisson import Poisson
from .problem import Problem, lagrange_hierarchy, solve_or_explain
from .radau import RadauIIA
from .random_field import MaternField
from .sampled_on_grid import SampledOnGrid
from .solenoidal_stokes import SolenoidalStokes
from .steady_cylinder import SteadyCylinderFlow
from .stokes import Stokes

__all__ = [
    "BDF2",
    "Burgers",
    "Channel",
    "ChannelFlow",
    "ControlledCylinderFlow",
    "CylinderFlow",
    "Darcy",
    "Disc",
    "FlowChannel",
    "FlowScheme",
    "ForceHistory",
    "Helmholtz",
    "HyperelasticBeam",
    "LidCavity",
    "MaternField",
    "MixedDarcy",
    "NonlinearDiffusion",
    "ObstacleFlow",
    "ObstacleWake",
    "OnRandomObstacles",
    "PipeFlow",
    "Poisson",
    "Problem",
    "RadauIIA",
    "SampledOnGrid",
    "SolenoidalStokes",
    "SteadyCylinderFlow",
    "Stokes",
    "lagrange_hierarchy",
    "obstacle_mesh",
    "solve_or_explain",
]
