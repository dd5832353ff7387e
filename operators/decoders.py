"""Decoders: from a processor's channels to output fields that have their structure exactly, trained or not."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space, SparseMatrix
from ..fem.space import WHOLE_BOUNDARY
from .encoders import Fields

BOUNDARY_VALUES, POSITIVITY, INTEGRAL, DIVERGENCE = "boundary values", "positivity", "integral", "divergence"


class Decoder(nn.Module):
    """Base of all decoders: ``forward(channels (batch, num_channels, nodes), fields) -> {field: (batch, dofs)}``.

    A subclass overrides :meth:`enforce`. ``enforces`` names the property its output has; ``keeps`` those of its input that its output
    has too, which is what :class:`ComposedDecoder` goes by.

    Attributes:
        space: the output's space.
        source: the space of the dofs that are decoded; the same, unless the decoder leads from one space into another.
    """

    enforces: ClassVar[str | None] = None
    space: Space
    source: Space
    field: str

    def __init__(self, space: Space, field: str, source: Space | None = None):
        super().__init__()
        self.space, self.field, self.source = space, field, source or space

    @property
    def num_channels(self) -> int:
        return self.source.element.block_size

    @property
    def keeps(self) -> set[str]:
        return set()

    def forward(self, channels: Tensor, fields: Fields) -> dict[str, Tensor]:
        return {self.field: self.enforce(self.dofs(channels), fields)}

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        """Any dofs to dofs with the property, ``(batch, dofs of source) -> (batch, dofs of space)``."""
        raise NotImplementedError

    def dofs(self, channels: Tensor) -> Tensor:
        """Channels ``(batch, components, nodes)`` as dofs ``(batch, nodes * components)``."""
        return channels.transpose(1, 2).flatten(1)

    def data(self, fields: Fields, name: str, what: str) -> Tensor:
        """An input field of the output's space, or an error that says what it is for."""
        if name not in fields:
            raise InputError(
                f"The {what} of {self.field!r} are the field {name!r}, but the operator was given "
                f"{', '.join(map(repr, fields)) or 'none'}."
            )
        if fields[name].shape[-1] != self.space.num_dofs:
            raise InputError(
                f"The {what} of {self.field!r} come from {name!r} of shape {tuple(fields[name].shape)}; expected "
                f"(batch, {self.space.num_dofs}), the dofs of space {self.space.name!r}."
            )
        return fields[name]


class PlainDecoder(Decoder):
    """The channels are the dofs."""

    @property
    def keeps(self) -> set[str]:
        return {BOUNDARY_VALUES, POSITIVITY, INTEGRAL, DIVERGENCE}

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return u


class DirichletDecoder(Decoder):
    """Prescribed boundary values by dof elimination: tagged dofs are the data's, bit for bit, the others are learned.

    Args:
        space: the output's space.
        field: name of the output field.
        data: name of the input field that carries the boundary values, or a number.
        tags: the boundary parts with prescribed values.
        nonnegative: whether the data promise to be so; then they are checked, and positivity survives them.
    """

    enforces = BOUNDARY_VALUES
    mask: Tensor

    def __init__(
        self,
        space: Space,
        field: str,
        data: str | float = 0.0,
        tags: str | Iterable[str] = WHOLE_BOUNDARY,
        nonnegative: bool = False,
    ):
        super().__init__(space, field)
        self.boundary_data, self.nonnegative = data, nonnegative
        if nonnegative and not isinstance(data, str) and data < 0:
            raise InputError(f"The boundary value {data} of {field!r} is negative, but was said not to be.")
        mask = torch.zeros(space.num_dofs, dtype=torch.bool)
        mask[space.boundary_dofs(tags).cpu()] = True
        self.register_buffer("mask", mask, persistent=False)

    @property
    def keeps(self) -> set[str]:
        return {POSITIVITY} if self.nonnegative else set()

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        if not isinstance(self.boundary_data, str):
            return torch.where(self.mask, torch.as_tensor(self.boundary_data).to(u), u)
        g = self.data(fields, self.boundary_data, "boundary values")
        if self.nonnegative and not torch.compiler.is_compiling() and (g[..., self.mask] < 0).any():
            raise InputError(f"The boundary values {self.boundary_data!r} of {self.field!r} are negative somewhere.")
        return torch.where(self.mask, g, u)


class PositiveDecoder(Decoder):
    """``u = minimum + scale softplus(x / scale)`` in every dof: u ≥ minimum everywhere, since the basis functions are positive.

    Args:
        space: Lagrange elements of degree 0 or 1, continuous or not: those of higher degrees take both signs between their nodes.
        field: name of the output field.
        minimum: lower bound of the field.
        scale: good values: the size that the field has above its minimum.
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
        """Leave these dofs, a mask ``(dofs,)``, alone: their boundary values are prescribed."""
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
            target = torch.as_tensor(self.integral).to(u)
        found = (u * self.weights).sum(-1, keepdim=True)
        return u * (target / found) if self.by_scaling else u + (target - found) * self.shift


class CurlDecoder(Decoder):
    """A divergence-free field as the curl of a learned potential: a stream function in the plane, a vector potential in space.

    ``div curl = 0`` holds exactly between the spaces of one discrete de Rham complex (Arnold, Falk, Winther, Acta Numerica 2006):
    ``CG k -> RT k`` in the plane, ``N1curl k -> RT k`` in space. On a domain without holes these are all divergence-free fields. Composed
    with a :class:`DirichletDecoder` for the potential, it prescribes the flux through the boundary: none where the potential vanishes.

    Args:
        potential: space of the potential, which is the processor's.
        space: the output's space, H(div).
        field: name of the output field.
        curl: the derivative from the one to the other (see :meth:`Discretization.derivative`).
    """

    enforces = DIVERGENCE

    def __init__(self, potential: Space, space: Space, field: str, curl: SparseMatrix):
        super().__init__(space, field, potential)
        if curl.shape != (space.num_dofs, potential.num_dofs) or space.element.mapping != "contravariant piola":
            raise InputError(
                f"The curl of {potential.name!r} ({potential.element}) in {space.name!r} ({space.element}) is no divergence-free field: "
                'export derivatives=[("V", "R")] from CG k into RT k in the plane, from N1curl k in space.'
            )
        self.curl = curl

    @property
    def keeps(self) -> set[str]:
        return {BOUNDARY_VALUES}

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return self.curl(u)


class ComposedDecoder(Decoder):
    """Several decoders, one after the other, where each keeps what those before it enforce.

    Boundary values after positivity (if they are nonnegative), an integral after boundary values (by a shift of the other dofs) or after
    positivity (by scaling), a curl after boundary values of its potential.

    Raises:
        InputError: a decoder would destroy a property that an earlier one enforces, or takes dofs of another space.
    """

    def __init__(self, decoders: Iterable[Decoder]):
        steps = list(decoders)
        if not steps:
            raise InputError("A ComposedDecoder needs at least one decoder.")
        super().__init__(steps[-1].space, steps[-1].field, steps[0].source)
        self.steps = nn.ModuleList(steps)
        for i, later in enumerate(steps):
            if i and later.source is not steps[i - 1].space:
                raise InputError(
                    f"{type(later).__name__} takes dofs of {later.source.name!r}, but {type(steps[i - 1]).__name__} gives those of "
                    f"{steps[i - 1].space.name!r}."
                )
            for earlier in steps[:i]:
                if earlier.enforces and earlier.enforces not in later.keeps:
                    raise InputError(
                        f"{type(later).__name__} after {type(earlier).__name__} would destroy the {earlier.enforces} of "
                        f"{earlier.field!r}. Change their order or their options, or do without one of them."
                    )
            if isinstance(later, IntegralDecoder) and not later.by_scaling:
                for earlier in steps[:i]:
                    if isinstance(earlier, DirichletDecoder):
                        later.hold(earlier.mask)

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        for step in self.steps:
            assert isinstance(step, Decoder)
            u = step.enforce(u, fields)
        return u
