"""Problems on uniform grids: published benchmarks of operator learning, and flows around random obstacles."""

from .burgers import PeriodicBurgers
from .cavity import StaggeredCavity
from .channel import RandomDiscs, StaggeredChannel
from .darcy import GridDarcy, LogNormal, MultiscaleTrigonometric, TwoPhase
from .inflow_channel import InflowChannel
from .moving_disc import MovingDisc
from .taylor_green import TaylorGreen
from .vorticity import VorticityFlow

__all__ = [
    "GridDarcy",
    "InflowChannel",
    "LogNormal",
    "MovingDisc",
    "MultiscaleTrigonometric",
    "PeriodicBurgers",
    "RandomDiscs",
    "StaggeredCavity",
    "StaggeredChannel",
    "TaylorGreen",
    "TwoPhase",
    "VorticityFlow",
]
