"""Decoders whose functions keep a physical structure everywhere: a bound, an integral, a divergence."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import FluxProjection, Space, SparseMatrix
from .decoders import BOUNDARY_VALUES, CONSERVATION, DIVERGENCE, INTEGRAL, POSITIVITY, Decoder, gain
from .encoders import Fields


class PositiveDecoder(Decoder):
    """``u = minimum + scale softplus(x / scale)`` in every dof: u ≥ minimum everywhere, since the basis functions are positive.

    Args:
        space: Lagrange elements of degree 0 or 1, continuous or not: those of higher degrees take both signs between their nodes.
        field: name of the output field.
        minimum: lower bound of the field.
        scale: good values: the size that the field has above its minimum.

    Raises:
        InputError: the basis functions change sign; ``scale`` is not positive or ``minimum`` negative.
    """

    enforces = POSITIVITY
    _NONNEGATIVE_BASES = ("Lagrange", "Q", "Discontinuous Lagrange", "DQ")

    def __init__(self, space: Space, field: str, minimum: float = 0.0, scale: float = 1.0):
        super().__init__(space, field)
        element = space.element
        if element.family not in self._NONNEGATIVE_BASES or element.degree > 1 or not element.is_nodal:
            raise InputError(
                f"Positive dofs of {space.name!r} ({element}) are no positive function: its basis functions change sign. "
                "Use Lagrange elements of degree 1, or piecewise constants."
            )
        if scale <= 0 or minimum < 0:
            raise InputError(f"A positive field needs scale > 0 and minimum >= 0, not {scale} and {minimum}.")
        self.minimum, self.scale = minimum, scale

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return self.minimum + self.scale * nn.functional.softplus(u / self.scale)


class IntegralDecoder(Decoder):
    """A prescribed integral: the mass of a transported density, the zero mean of a pressure.

    The free dofs are shifted by one number, or, ``by_scaling``, multiplied by one, which keeps a positive field positive.

    Args:
        space: scalar elements.
        field: name of the output field.
        integral: a number, or the name of the input field, of this space, whose integral is kept.
        by_scaling: multiply instead of shifting; needs fields whose integrals cannot vanish.

    Example:
        >>> import firedrake as fd
        >>> from thalweg import fem
        >>> V = fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(4, 4), "CG", 1)})["V"]
        >>> p = IntegralDecoder(V, "p", 0.0)(torch.randn(2, 1, 25, dtype=torch.float64), {})["p"]
        >>> bool(V.inner(p, torch.ones_like(p)).abs().max() < 1e-12)
        True

    Raises:
        InputError: the space is not scalar, or an integral to scale to is not positive.
    """

    enforces = INTEGRAL
    weights: Tensor
    shift: Tensor

    def __init__(self, space: Space, field: str, integral: str | float, by_scaling: bool = False):
        super().__init__(space, field)
        if space.element.value_shape:
            raise InputError(
                f"{space.name!r} has values of shape {space.element.value_shape}; only scalar fields have one integral."
            )
        if by_scaling and not isinstance(integral, str) and integral <= 0:
            raise InputError(f"A positive field cannot be scaled to the integral {integral}.")
        self.integral, self.by_scaling = integral, by_scaling
        one = space.interpolate(lambda x: torch.ones_like(x[:, 0])).to(space.mass.val)
        self.register_buffer("weights", space.mass(one), persistent=False)
        self.register_buffer("shift", one / (self.weights @ one), persistent=False)

    def hold(self, fixed: Tensor) -> None:
        """Leave these dofs, a mask ``(dofs,)``, alone: their boundary values are prescribed.

        Raises:
            InputError: no dof is left to set the integral by.
        """
        free = torch.where(fixed, 0, self.shift)
        if not free.any():
            raise InputError(f"All dofs of {self.field!r} are prescribed; none is left to set its integral.")
        self.shift = free / (self.weights @ free)

    @property
    def keeps(self) -> set[str]:
        return {POSITIVITY} if self.by_scaling else {BOUNDARY_VALUES}

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        if isinstance(self.integral, str):
            target = (self.data(fields, self.integral, "integrals") * self.weights).sum(-1, keepdim=True)
        else:
            target = u.new_full((), self.integral)
        found = (u * self.weights).sum(-1, keepdim=True)
        return u * (target / found) if self.by_scaling else u + (target - found) * self.shift


class CurlDecoder(Decoder):
    """A divergence-free field as the curl of a learned potential: a stream function in the plane, a vector potential in space.

    ``div curl = 0`` holds exactly between the spaces of one discrete de Rham complex (Arnold, Falk, Winther, Acta Numerica 2006):
    ``CG k -> RT k`` or ``CG k -> BDM k-1`` in the plane, ``N1curl k -> RT k`` in space. On a domain without holes these are all
    divergence-free fields. Composed with a :class:`DirichletDecoder` for the potential, it prescribes the flux through the boundary: none
    where the potential vanishes.

    Args:
        potential: space of the potential, which is the processor's.
        space: the output's space, H(div).
        field: name of the output field.
        curl: the derivative from the one to the other (see :meth:`Discretization.derivative`).

    Example:
        >>> import firedrake as fd
        >>> from thalweg import fem
        >>> mesh = fd.UnitSquareMesh(4, 4)
        >>> spaces = {"W": fd.FunctionSpace(mesh, "CG", 1), "R": fd.FunctionSpace(mesh, "RT", 1), "D": fd.FunctionSpace(mesh, "DG", 0)}
        >>> disc = fem.export(spaces, derivatives=[("W", "R"), ("R", "D")])
        >>> decoder = CurlDecoder(disc["W"], disc["R"], "u", disc.derivative("W", "R"))
        >>> u = decoder(torch.randn(2, 1, 25, dtype=torch.float64), {})["u"]
        >>> bool(disc.derivative("R", "D")(u).abs().max() < 1e-12)  # its divergence
        True

    Raises:
        InputError: the curl does not lead from the potential into the space's divergence-free fields.
    """

    enforces = DIVERGENCE

    def __init__(self, potential: Space, space: Space, field: str, curl: SparseMatrix):
        super().__init__(space, field, potential)
        if curl.shape != (space.num_dofs, potential.num_dofs) or space.element.mapping != "contravariant piola":
            raise InputError(
                f"The curl of {potential.name!r} ({potential.element}) in {space.name!r} ({space.element}) is no divergence-free field: "
                'export derivatives=[("V", "R")] from CG k into RT k or BDM k-1 in the plane, from N1curl k into RT k in space.'
            )
        self.curl = curl

    @property
    def keeps(self) -> set[str]:
        return {BOUNDARY_VALUES}

    def channel_scales(self, fields: Fields) -> Tensor:
        """In the units of the potential."""
        return super().channel_scales(fields) / gain(self.curl, self.source, self.space)

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return self.curl(u)


class ConservationDecoder(Decoder):
    """A flux with ∇·σ = f in every cell, the nearest to the learned one (see :class:`FluxProjection`).

    Since the true flux is among those it chooses from, the projection brings the learned one nearer to it, trained or not.

    Args:
        space: the flux's, H(div) elements.
        field: name of the output field.
        divergence: from ``space`` onto its divergences (see :meth:`Discretization.derivative`).
        data: name of the input field f, which lives there, or a number.
        tags: boundary parts where the normal flux is prescribed: it is left as it comes, from a :class:`DirichletDecoder` before this one.
    """

    enforces = CONSERVATION

    def __init__(self, space: Space, field: str, divergence: SparseMatrix, data: str | float = 0.0, tags: Iterable[str] = ()):
        super().__init__(space, field)
        self.project = FluxProjection(space, divergence, tuple(tags))
        self.supply, self.tagged = data, bool(tuple(tags))

    @property
    def keeps(self) -> set[str]:
        return {BOUNDARY_VALUES} if self.tagged else set()

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        sources = self.project.divergence.shape[0]
        if not isinstance(self.supply, str):
            return self.project(u, torch.full((len(u), sources), self.supply, dtype=u.dtype, device=u.device))
        if self.supply not in fields or fields[self.supply].shape[-1] != sources:
            found = tuple(fields[self.supply].shape) if self.supply in fields else "nothing"
            raise InputError(
                f"The divergence of {self.field!r} is the field {self.supply!r} of shape (batch, {sources}); got {found}."
            )
        return self.project(u, fields[self.supply])
