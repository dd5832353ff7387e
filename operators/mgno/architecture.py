"""The choices that make an MgNO, each an ingredient that can be switched."""

from dataclasses import dataclass
from typing import Literal

from ...errors import InputError
from .coefficient import Coarsening, Mean


@dataclass(frozen=True)
class Architecture:
    """Layers whose linear maps are multigrid cycles between channels; the defaults are the recommended ones.

    Args:
        channels: of each layer.
        cycle_channels: of the cycle within a layer, which is where most of the work is.
        layers: how many.
        operator: stencils of which A, on each level, is a learned combination: "mass", "stiffness", "dx", "dxdx", ..., or "coefficient",
            the operator −∇·(a∇) of the sample's own coefficient.
        smoother: of which S is a learned combination: "jacobi", the inverse diagonal, or it followed by one of the stencils.
        source: stencils by which a layer's input becomes the right-hand side of its cycle.
        mixing: of channels within the cycle, "full" matrices or a "diagonal", so that channels interact between cycles only.
        cycle: "V", "W", "F", or "full" multigrid, which starts on the coarsest level.
        pre, post, coarse: smoothing steps before and after the coarse correction, and on the coarsest level.
        symmetric: smooth after the correction with the transposes of the smoothers before it.
        levels: sets of weights, the last for the coarsest level. Levels beyond them, on a finer grid, share those of the finest.
        max_levels: of the hierarchy of a grid; as many as there are for None.
        coarsest: cells along each axis at which a grid is not coarsened further.
        shared: one set of weights for all levels but the coarsest, with scales of their own.
        transfer_mixing: learned mixings of channels in restriction and prolongation.
        coefficient: how coarse levels get −∇·(a∇), by "galerkin" products or "rediscretized"; None without a coefficient.
        mean: of coefficients over a cell, "arithmetic" or "harmonic".
        closure: width of a network that corrects the coefficient of every cell and direction from the inputs nearby; 0 for none.
        bias_cells: cells along each axis of the bias functions, which are multilinear.
        linear_share: share of the channels that the activation leaves alone.
    """

    channels: int = 24
    cycle_channels: int = 8
    layers: int = 4
    operator: tuple[str, ...] = ("stiffness", "mass")
    smoother: tuple[str, ...] = ("jacobi",)
    source: tuple[str, ...] = ("mass", "stiffness")
    mixing: Literal["full", "diagonal"] = "full"
    cycle: Literal["V", "W", "F", "full"] = "V"
    pre: int = 1
    post: int = 1
    coarse: int = 4
    symmetric: bool = False
    levels: int = 5
    max_levels: int | None = None
    coarsest: int = 2
    shared: bool = False
    transfer_mixing: bool = True
    coefficient: Coarsening | None = None
    mean: Mean = "arithmetic"
    closure: int = 0
    bias_cells: int = 4
    linear_share: float = 0.5

    def __post_init__(self):
        for name in ("operator", "smoother", "source"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        positive = {"channels": self.channels, "cycle_channels": self.cycle_channels, "layers": self.layers, "levels": self.levels - 1, "coarse": self.coarse}
        positive |= {"coarsest": self.coarsest - 1, "bias_cells": self.bias_cells, "pre": self.pre, "post": self.post + 1}
        if wrong := [name for name, value in positive.items() if value < 1]:
            raise InputError(f"An MgNO with {wrong[0]} = {getattr(self, wrong[0])} cannot be built; it must be larger.")
        if self.mixing not in ("full", "diagonal") or self.cycle not in ("V", "W", "F", "full"):
            raise InputError(f'Mixing is "full" or "diagonal", a cycle "V", "W", "F" or "full"; got {self.mixing!r} and {self.cycle!r}.')
        if self.symmetric and self.post not in (0, self.pre):
            raise InputError(f"A symmetric cycle smooths as often after the correction as before, not {self.post} and {self.pre} times.")
        if not 0 <= self.linear_share < 1:
            raise InputError(f"The linear share of channels is at least 0 and less than 1, not {self.linear_share}.")
        if ("coefficient" in {*self.operator, *self.smoother, *self.source}) != (self.coefficient is not None):
            raise InputError(
                'The stencil "coefficient" and the option coefficient="galerkin" or "rediscretized" belong together; '
                f"got {self.operator}, {self.smoother}, {self.source} and {self.coefficient!r}."
            )
        if self.closure and self.coefficient is None:
            raise InputError("A closure corrects the coefficient; it needs the stencil \"coefficient\".")
        if not self.operator or not self.smoother or not self.source:
            raise InputError("An MgNO needs at least one stencil in its operator, its smoother and its source.")

    @property
    def fixed_stencils(self) -> tuple[str, ...]:
        """Stencils of operator and source that do not depend on a sample."""
        return tuple(dict.fromkeys(name for name in (*self.operator, *self.source) if name != "coefficient"))

    def all_stencils(self, dim: int) -> tuple[str, ...]:
        """Every stencil whose element matrices are needed."""
        used = (*self.operator, *self.smoother, *self.source)
        if self.closure:
            used += tuple(name for axis in "xyz"[:dim] for name in (f"d{axis}", f"d{axis}d{axis}"))
        return tuple(dict.fromkeys(["mass", "stiffness", *(name for name in used if name not in ("jacobi", "coefficient"))]))
