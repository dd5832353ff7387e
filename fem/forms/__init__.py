"""Variational forms as batched, differentiable torch functions: compiled from UFL once, then free of Firedrake."""

from .compilation import compile_form
from .jacobian import Jacobian
from .loss import ResidualLoss
from .residual import Argument, Residual

__all__ = ["Argument", "Jacobian", "Residual", "ResidualLoss", "compile_form"]
