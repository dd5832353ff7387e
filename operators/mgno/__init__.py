"""MgNO, multigrid neural operators (He, Liu, Xu, arXiv 2310.19809): as published, and as multigrid, on grids and on meshes."""

from .architecture import Architecture
from .diffusion import DiffusionProcessor
from .grid_operator import MgNO
from .lifting import ChannelFlow, Lifting
from .processor import MgNOProcessor
from .published import PublishedMgNO
from .reaction import Reaction, time_harmonic
from .transport import ChannelVelocity, Velocity, VorticityVelocity

__all__ = [
    "Architecture",
    "ChannelFlow",
    "ChannelVelocity",
    "DiffusionProcessor",
    "Lifting",
    "MgNO",
    "MgNOProcessor",
    "PublishedMgNO",
    "Reaction",
    "Velocity",
    "VorticityVelocity",
    "time_harmonic",
]
