"""Problems on uniform grids: published benchmarks of operator learning, and flows around random obstacles."""

from .burgers import PeriodicBurgers
from .cavity import StaggeredCavity
from .channel import RandomDiscs, StaggeredChannel
from .darcy import GridDarcy, LogNormal, MultiscaleTrigonometric, TwoPhase
from .inflow_channel import InflowChannel
from .moving_disc import MovingDisc
from .steered_smoke import SteeredSmoke
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
    "SteeredSmoke",
    "TaylorGreen",
    "TwoPhase",
    "VorticityFlow",
]
