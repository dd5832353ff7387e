"""The operators that others compare with, as their papers have them: networks on grids, on points and on graphs of degrees of freedom."""

from .deeponet import DeepONet
from .factorized_fno import FactorizedFNO
from .fno import FNO
from .fourier import SpectralConvolution
from .grid_operator import GridOperator
from .meshgraphnet import MeshGraphNet
from .on_grid import OnGrid
from .transolver import Transolver
from .unet import UNet

__all__ = [
    "FNO",
    "DeepONet",
    "FactorizedFNO",
    "GridOperator",
    "MeshGraphNet",
    "OnGrid",
    "SpectralConvolution",
    "Transolver",
    "UNet",
]
