"""The choices that make an MgNO, each an ingredient that can be switched."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import InputError
from .coefficient import Coarsening, Mean


@dataclass(frozen=True)
class Architecture:
    """Layers whose linear maps are multigrid cycles between channels; the defaults are the recommended ones.

    Args:
        features: channels that the activation acts on.
        iterates: channels that cycles act on, layer after layer, as an iterative solver does.
        layers: how many, each with one cycle.
        operator: stencils of which A, on each level, is a learned combination: "mass", "stiffness", "dx", "dxdx", ..., or "coefficient",
            the operator −∇·(a∇), or −∇·(a∇) + b, of the sample's own coefficients, or "transport", c·∇ with the sample's own velocity c.
        smoother: of which S is a learned combination: "jacobi", the inverse diagonal, or it followed by one of the stencils.
        source: stencils by which features become the right-hand side of a cycle.
        mixing: of iterates within a cycle, by "full" matrices, or "diagonal", so that they interact through the features only.
        cycle: "V", "W", "F", or "full" multigrid, which starts on the coarsest level.
        pre, post: smoothing steps before and after the coarse correction.
        coarse: smoothing steps on the coarsest level; 0 to solve there, with the coefficient's operator or the stiffness matrix.
        restricted: to coarser levels, the "residual" f − Au, or the "source" f as in the published network.
        transfers: restriction by the "adjoint" of prolongation, or by "injection" of the values at coarse nodes, which is no adjoint.
        symmetric: smooth after the correction with the transposes of the smoothers before it.
        levels: sets of weights, the last for the coarsest level. Levels beyond them, on a finer grid, share the smoothers of the finest,
            and their transfers mix nothing.
        max_levels: of the hierarchy of a grid; as many as there are for None.
        coarsest: cells along each axis at which a grid is not coarsened further, one number or one for each axis.
        shared: one set of weights for all levels but the coarsest, with scales of their own.
        transfer_mixing: learned mixings of channels in restriction and prolongation.
        coefficient: how coarse levels get −∇·(a∇), by "galerkin" products or "rediscretized"; None without a coefficient.
        reaction: whether the sample's operator has the term b u. Its mass matrix is lumped by a learned share on each level, at first so
            that waves have the length on coarse levels that they have on the finest.
        mapped: whether the grid is mapped to a domain of each sample's own, where the coefficient's operator is: a tensor on the grid.
        mean: of coefficients over a cell, "arithmetic" or "harmonic".
        normalized: solve for coefficients of geometric mean one, and divide the solution by the mean: for equations whose solution is
            inverse to the coefficient, −∇·(a∇u) = f with zero boundary values, and coefficients of very different size.
        in_units: with that, iterates are in units of the solution for a constant f, as one more cycle finds it, and features see their
            inverse hyperbolic sine: for very rough coefficients, whose small values in pockets make some solutions far larger than
            others, and larger in the pocket than elsewhere.
        peclet: the numbers Pe of operators −∇·(a∇) + Pe c·∇ with the sample's own velocity c, upwinded. Iterates are divided among them,
            each share with cycles for its own operator; () where no operator carries.
        convection: whether the velocity of the source's transport is corrected in each layer by a learned mixing of the features, so that
            what was found carries, as in (u·∇)u.
        closure: width of a network that makes the coefficient of each cell a tensor, from the inputs nearby; 0 for none.
        bias_cells: cells along each axis of the bias functions, which are multilinear; 0 for constants.
    """

    features: int = 16
    iterates: int = 8
    layers: int = 4
    operator: tuple[str, ...] = ("stiffness", "mass")
    smoother: tuple[str, ...] = ("jacobi",)
    source: tuple[str, ...] = ("mass",)
    mixing: Literal["full", "diagonal"] = "full"
    cycle: Literal["V", "W", "F", "full"] = "V"
    pre: int = 1
    post: int = 1
    coarse: int = 0
    restricted: Literal["residual", "source"] = "residual"
    transfers: Literal["adjoint", "injection"] = "adjoint"
    symmetric: bool = False
    levels: int = 4
    max_levels: int | None = None
    coarsest: int | Sequence[int] = 8
    shared: bool = False
    transfer_mixing: bool = True
    coefficient: Coarsening | None = None
    reaction: bool = False
    mapped: bool = False
    mean: Mean = "arithmetic"
    normalized: bool = False
    in_units: bool = False
    peclet: tuple[float, ...] = ()
    convection: bool = False
    closure: int = 0
    bias_cells: int = 4

    def __post_init__(self):
        for name in ("operator", "smoother", "source", "peclet"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.coarsest, int):
            object.__setattr__(self, "coarsest", tuple(self.coarsest))
        positive = {"features": self.features, "iterates": self.iterates, "layers": self.layers, "levels": self.levels - 1}
        positive |= {"coarse": self.coarse + 1, "coarsest": min(self.coarsest_cells(1)) - 1, "bias_cells": self.bias_cells + 1}
        positive |= {"pre": self.pre, "post": self.post + 1, "closure": self.closure + 1}
        if wrong := [name for name, value in positive.items() if value < 1]:
            raise InputError(f"An MgNO with {wrong[0]} = {getattr(self, wrong[0])} cannot be built; it must be larger.")
        if self.mixing not in ("full", "diagonal") or self.cycle not in ("V", "W", "F", "full"):
            raise InputError(
                f'Mixing is "full" or "diagonal", a cycle "V", "W", "F" or "full"; got {self.mixing!r} and {self.cycle!r}.'
            )
        if self.restricted not in ("residual", "source") or self.transfers not in ("adjoint", "injection"):
            raise InputError(
                'What is restricted is the "residual" or the "source", transfers are by "adjoint" or "injection"; got '
                f"{self.restricted!r} and {self.transfers!r}."
            )
        if self.symmetric and self.post not in (0, self.pre):
            raise InputError(
                f"A symmetric cycle smooths as often after the correction as before, not {self.post} and {self.pre} times."
            )
        if ("coefficient" in {*self.operator, *self.smoother, *self.source}) != (self.coefficient is not None):
            raise InputError(
                'The stencil "coefficient" and the option coefficient="galerkin" or "rediscretized" belong together; '
                f"got {self.operator}, {self.smoother}, {self.source} and {self.coefficient!r}."
            )
        if self.normalized and self.coefficient is None:
            raise InputError('Coefficients are normalized where there is one; normalized=True needs the stencil "coefficient".')
        if self.in_units and not self.normalized:
            raise InputError("Iterates have units where coefficients are normalized; in_units=True needs normalized=True.")
        if self.closure and self.coefficient is None:
            raise InputError('A closure corrects the coefficient; it needs the stencil "coefficient".')
        if self.mapped and self.coefficient is None:
            raise InputError('A map changes the coefficient\'s operator; mapped=True needs the stencil "coefficient".')
        if self.peclet and (self.coefficient != "galerkin" or self.reaction or self.iterates < len(self.peclet)):
            raise InputError(
                'Operators that carry have coefficient="galerkin", no reaction, and an iterate each; got '
                f"{self.coefficient!r}, reaction={self.reaction}, and {self.iterates} iterates for the Péclet numbers {self.peclet}."
            )
        if self.tensor and (self.coefficient, self.mean) == ("rediscretized", "harmonic"):
            raise InputError(
                'The tensors of a closure or a map have no harmonic mean over cells; coarsen their operator by "galerkin".'
            )
        if "transport" in self.smoother or self.operator == ("transport",):
            raise InputError('The stencil "transport" is one of an operator with others, or of a source, but none of a smoother.')
        if self.convection and "transport" not in self.source:
            raise InputError(
                'Convection corrects the velocity of the source\'s transport; convection=True needs the source "transport".'
            )
        if self.reaction and (self.coefficient, self.mean) != ("rediscretized", "arithmetic"):
            raise InputError(
                'With a reaction, coarse levels get their operator by coefficient="rediscretized" and mean="arithmetic"; got '
                f"{self.coefficient!r} and {self.mean!r}."
            )
        if not self.operator or not self.smoother or not self.source:
            raise InputError("An MgNO needs at least one stencil in its operator, its smoother and its source.")

    @property
    def principal(self) -> str:
        """The stencil that cycles are untrained multigrid for."""
        fixed = [name for name in self.operator if name != "transport"]
        return next((name for name in ("coefficient", "stiffness") if name in fixed), fixed[0])

    @property
    def tensor(self) -> bool:
        """Whether the coefficient is one on the cells of the grid."""
        return self.mapped or self.closure > 0 or bool(self.peclet)

    @property
    def transport(self) -> bool:
        """Whether samples have a velocity of their own."""
        return "transport" in (*self.operator, *self.source) or bool(self.peclet)

    def coarsest_cells(self, dim: int) -> tuple[int, ...]:
        """The cells of the coarsest level along each axis."""
        return (self.coarsest,) * dim if isinstance(self.coarsest, int) else tuple(self.coarsest)

    def fixed_stencils(self, dim: int) -> tuple[str, ...]:
        """Stencils of operator and source that do not depend on a sample."""
        used = tuple(name for name in (*self.operator, *self.source) if name not in ("coefficient", "transport"))
        return tuple(dict.fromkeys(used + ("mass",) * self.in_units + _derivatives(dim) * self.transport))

    def all_stencils(self, dim: int) -> tuple[str, ...]:
        """Every stencil whose element matrices are needed."""
        used = (*self.operator, *self.smoother, *self.source)
        if self.tensor or self.transport:
            used += _derivatives(dim)
        if self.tensor:
            used += tuple(a + b for a in _derivatives(dim) for b in _derivatives(dim))
        used += ("lumped",) if self.reaction else ()
        of_samples = ("jacobi", "coefficient", "transport")
        return tuple(dict.fromkeys(["mass", "stiffness", *(name for name in used if name not in of_samples)]))


def _derivatives(dim: int) -> tuple[str, ...]:
    return tuple(f"d{axis}" for axis in "xyz"[:dim])
