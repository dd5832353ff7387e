"""Batched solvers on uniform grids in torch, for the CPU and the GPU, without Firedrake. Arrays are ``(batch, channel, x, y[, z])``."""

from .burgers import BurgersEquation
from .coefficients import multiscale_trigonometric, threshold
from .darcy import Darcy
from .forcings import diagonal_forcing, kolmogorov_forcing, taylor_green
from .random_fields import DirichletField, GaussianField, NeumannField, PeriodicField
from .residuals import StaggeredResidual, VorticityResidual, residual_of
from .rigid_motion import rigid_motion
from .runge_kutta import ARK436, ARS443, CNRK4, LowStorage, Tableau
from .sides import FreeSlip, Outflow, Periodic, Wall
from .smoke import Smoke
from .staggered import StaggeredFlow
from .transport import Transport
from .vorticity import VorticityEquation

__all__ = [
    "ARK436",
    "ARS443",
    "CNRK4",
    "BurgersEquation",
    "Darcy",
    "DirichletField",
    "FreeSlip",
    "GaussianField",
    "LowStorage",
    "NeumannField",
    "Outflow",
    "Periodic",
    "PeriodicField",
    "Smoke",
    "StaggeredFlow",
    "StaggeredResidual",
    "Tableau",
    "Transport",
    "VorticityEquation",
    "VorticityResidual",
    "Wall",
    "diagonal_forcing",
    "kolmogorov_forcing",
    "multiscale_trigonometric",
    "residual_of",
    "rigid_motion",
    "taylor_green",
    "threshold",
]
