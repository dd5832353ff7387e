"""Batched solvers on uniform grids in torch, for the CPU and the GPU, without Firedrake. Arrays are ``(batch, channel, x, y[, z])``."""

from .forcings import diagonal_forcing, kolmogorov_forcing, taylor_green
from .random_fields import DirichletField, GaussianField, NeumannField, PeriodicField
from .runge_kutta import ARK436, ARS443, Tableau
from .vorticity import VorticityEquation

__all__ = [
    "ARK436",
    "ARS443",
    "DirichletField",
    "GaussianField",
    "NeumannField",
    "PeriodicField",
    "Tableau",
    "VorticityEquation",
    "diagonal_forcing",
    "kolmogorov_forcing",
    "taylor_green",
]
