"""Problems on uniform grids: published benchmarks of operator learning, and flows around random obstacles."""

from .channel import RandomDiscs, StaggeredChannel
from .darcy import GridDarcy, MultiscaleTrigonometric, TwoPhase
from .vorticity import VorticityFlow

__all__ = ["GridDarcy", "MultiscaleTrigonometric", "RandomDiscs", "StaggeredChannel", "TwoPhase", "VorticityFlow"]
