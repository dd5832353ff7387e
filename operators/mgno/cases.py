"""Architectures of MgNO that were found good, for the equations they are named after."""

from .architecture import Architecture

#: −∇·(a∇u) = f with rough coefficients, on grids that do not resolve them.
DARCY = Architecture(
    features=16,
    iterates=8,
    layers=4,
    operator=("coefficient",),
    source=("mass",),
    mixing="diagonal",
    coefficient="galerkin",
    closure=16,
)
