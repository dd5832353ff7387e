"""The settings of the published experiments, as keyword arguments of :class:`PublishedMgNO`: ``PublishedMgNO(grid, ..., **DARCY_ROUGH)``.

From the paper's code (He, Liu, Xu, arXiv 2310.19809, github.com/xlliu2017/MgNO).
"""

from typing import Any

#: 211 x 211 points, piecewise constant coefficients 12 and 3: 678 093 weights.
DARCY_SMOOTH: dict[str, Any] = {"layers": 5, "channels": 24, "smoothing": [(1, 0)] * 5 + [(2, 0)], "standardize": "point"}

#: 256 x 256 points, coefficients 12 and 2: 572 661 weights.
DARCY_ROUGH: dict[str, Any] = {
    "layers": 4,
    "channels": 24,
    "smoothing": [(1, 0)] * 5 + [(2, 0)],
    "standardize": "channel",
    "standardize_inputs": False,
}

#: 256 x 256 points, trigonometric coefficients of six scales: 572 661 weights.
DARCY_MULTISCALE: dict[str, Any] = {"layers": 4, "channels": 24, "smoothing": [(1, 0)] * 5 + [(2, 0)], "standardize": "channel"}

#: Vorticity at viscosity 1e-5 on 64 x 64 points, one unit of time ahead: 2 885 194 weights.
NAVIER_STOKES: dict[str, Any] = {
    "layers": 5,
    "channels": 32,
    "smoothing": [(1, 0)] * 3 + [(2, 0)] * 2,
    "padding": "circular",
    "bias": True,
    "skip": False,
    "normalize": "cycle",
    "increment": True,
}

#: Wave speed to wave on 101 x 101 points: 5 340 565 weights, and in the authors' code 11 241 more that are never used.
HELMHOLTZ: dict[str, Any] = {
    "layers": 4,
    "channels": 20,
    "smoothing": [(1, 0)] * 4 + [(2, 0)],
    "padding": "reflect",
    "bias": True,
    "skip": False,
    "normalize": "layer",
    "growing": True,
    "head": "cycle",
    "standardize": "point",
}

#: Coordinates of a pipe to velocity on 128 x 128 points: 783 876 weights.
PIPE: dict[str, Any] = {"layers": 5, "channels": 24, "smoothing": [(1, 0)] * 4 + [(1, 1), (2, 0)]}
