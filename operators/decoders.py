"""Decoders: from a processor's channels to output fields that have their structure exactly, trained or not."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space, SparseMatrix
from ..fem.averages import root_mean_square
from ..fem.space import WHOLE_BOUNDARY
from .encoders import Fields

#: Properties that decoders enforce and keep.
BOUNDARY_VALUES, POSITIVITY, INTEGRAL, DIVERGENCE = "boundary values", "positivity", "integral", "divergence"
CONSERVATION = "conservation"


class Decoder(nn.Module):
    """Base of all decoders: ``forward(channels (batch, num_channels, nodes), fields) -> {field: (batch, dofs)}``.

    A subclass overrides :meth:`enforce`. ``enforces`` names the property its output has; ``keeps`` those of its input that its output
    has too, which is what :class:`ComposedDecoder` goes by.

    Attributes:
        space: the output's space.
        source: the space of the dofs that are decoded; the same, unless the decoder leads from one space into another.
        of_other_size: whether the decoded dofs are no values of the output field, so that in a composition, too, their scale is this
            decoder's.
    """

    enforces: ClassVar[str | None] = None
    of_other_size: ClassVar[bool] = False
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

    def channel_scales(self, fields: Fields) -> Tensor:
        """Root mean square of the output field, ``(samples, [time,] dofs)``, over the domain, for each channel: ``(num_channels, 1)``."""
        return self.size(self.data(fields, self.field, "sample values"))

    def size(self, u: Tensor) -> Tensor:
        """Root mean square of functions of the output's space, ``(..., dofs)``, as ``(num_channels, 1)``."""
        return root_mean_square(self.space, u).expand(self.num_channels, 1)

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


class TransferDecoder(Decoder):
    """Dofs learned in the processor's space, interpolated into the output's: a pressure learned at the nodes of the velocity.

    Args:
        source: the processor's space.
        space: the output's space.
        field: name of the output field.
        transfer: from the one to the other (see :meth:`Discretization.transfer`).
    """

    def __init__(self, source: Space, space: Space, field: str, transfer: SparseMatrix):
        super().__init__(space, field, source)
        if transfer.shape != (space.num_dofs, source.num_dofs):
            raise InputError(f"The transfer of shape {transfer.shape} does not lead from {source.name!r} into {space.name!r}.")
        self.transfer = transfer

    def channel_scales(self, fields: Fields) -> Tensor:
        """In the units of the source's dofs, which those of moments are not."""
        return super().channel_scales(fields) / gain(self.transfer, self.source, self.space)

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return self.transfer(u)


class PlainDecoder(Decoder):
    """The channels are the dofs."""

    @property
    def keeps(self) -> set[str]:
        return {BOUNDARY_VALUES, POSITIVITY, INTEGRAL, DIVERGENCE, CONSERVATION}

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return u


class IncrementDecoder(Decoder):
    """A time step: what is learned is added to the field's last state, u ← u + Δ, at the scale of such increments.

    Args:
        space: the field's space.
        field: name of the state that the operator takes at one frame and returns at the next.
        base: name of a prediction of the next state, to which the learned correction is added instead.
    """

    of_other_size = True

    def __init__(self, space: Space, field: str, base: str | None = None):
        super().__init__(space, field)
        self.base = base

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return self.data(fields, self.base or self.field, "states") + u

    def channel_scales(self, fields: Fields) -> Tensor:
        """Root mean square of the increments of trajectories ``(samples, time, dofs)``, or of what a prediction leaves."""
        u = fields[self.field]
        if self.base:
            return self.size(u - fields[self.base])
        if u.ndim != 3:
            raise InputError(
                f"The increments of {self.field!r} are known from trajectories, not from fields of shape {tuple(u.shape)}."
            )
        return self.size(u.diff(dim=1))


class DirichletDecoder(Decoder):
    """Prescribed boundary values by dof elimination: tagged dofs are the data's, bit for bit, the others are learned.

    Args:
        space: the output's space.
        field: name of the output field.
        data: name of the input field that carries the boundary values, or a number.
        tags: the boundary parts with prescribed values.
        nonnegative: whether the data promise to be so; then positivity survives them. They are checked where that costs nothing, on a
            CPU: anywhere else every look at values waits for the device.

    Example:
        >>> import firedrake as fd
        >>> from thalweg import fem
        >>> V = fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(4, 4), "CG", 1)}, dtype=torch.float32)["V"]
        >>> decoder = DirichletDecoder(V, "u", data="g")
        >>> g = torch.randn(2, V.num_dofs)
        >>> u = decoder(torch.randn(2, 1, V.num_nodes), {"g": g})["u"]
        >>> on_boundary = V.boundary_dofs()
        >>> torch.equal(u[:, on_boundary], g[:, on_boundary])
        True
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
            return u.masked_fill(self.mask, self.boundary_data)
        g = self.data(fields, self.boundary_data, "boundary values")
        looks = self.nonnegative and g.device.type == "cpu" and not torch.compiler.is_compiling()
        if looks and (g[..., self.mask] < 0).any():
            raise InputError(f"The boundary values {self.boundary_data!r} of {self.field!r} are negative somewhere.")
        return torch.where(self.mask, g, u)


def gain(matrix: SparseMatrix, source: Space, space: Space) -> float:
    """Root mean square of what a matrix makes of a constant of size one, or, of a derivative, of a linear function of that size."""
    one = torch.ones(source.num_dofs).to(matrix.val)
    x = source.dof_points.to(matrix.val)
    x = (x - x.mean(0)).T
    constant, linear = (float(root_mean_square(space, matrix(u)) / root_mean_square(source, u)) for u in (one, x))
    return constant if constant > 1e-3 * linear else linear or 1.0
