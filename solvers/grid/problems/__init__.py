"""Problems on uniform grids: published benchmarks of operator learning, and flows around random obstacles."""

from .cavity import StaggeredCavity
from .channel import RandomDiscs, StaggeredChannel
from .darcy import GridDarcy, MultiscaleTrigonometric, TwoPhase
from .inflow_channel import InflowChannel
from .moving_disc import MovingDisc
from .taylor_green import TaylorGreen
from .vorticity import VorticityFlow

__all__ = [
    "GridDarcy",
    "InflowChannel",
    "MovingDisc",
    "MultiscaleTrigonometric",
    "RandomDiscs",
    "StaggeredCavity",
    "StaggeredChannel",
    "TaylorGreen",
    "TwoPhase",
    "VorticityFlow",
]
