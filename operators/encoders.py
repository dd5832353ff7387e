"""Encoders: from named input fields to the channels that a processor works on, in one finite-element space."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import L2Projection, MassSolver, Observation, Space, SparseMatrix, grid_interpolation
from ..fem.averages import mean_squares
from ..fem.space import WHOLE_BOUNDARY

Fields = Mapping[str, Tensor]


class Encoder(nn.Module):
    """Base of all encoders: ``forward(fields) -> (batch, num_channels, nodes of space)``."""

    space: Space
    num_channels: int
    #: So many channels are the components of one vector, and share a scale.
    components: int = 1

    def forward(self, fields: Fields) -> Tensor:
        raise NotImplementedError

    def channel_squares(self, fields: Fields) -> Tensor:
        """The mean square of each channel over the domain, ``(batch, num_channels)``; of vectors, that of their components together."""
        squares = mean_squares(self.space, self(fields)).unflatten(1, (-1, self.components))
        return squares.mean(-1, keepdim=True).expand_as(squares).flatten(1)

    def field(self, fields: Fields, name: str) -> Tensor:
        """One input field, or an error that lists what came."""
        if name not in fields:
            raise InputError(f"The operator needs the field {name!r}, but was given {', '.join(map(repr, fields)) or 'none'}.")
        if not isinstance(fields[name], Tensor) and not callable(fields[name]):
            raise InputError(f"Field {name!r} is a {type(fields[name]).__name__}; expected a tensor (batch, dofs).")
        return fields[name]

    def channels(self, name: str, u: Tensor) -> Tensor:
        """Dofs ``(batch, nodes * components)`` as channels ``(batch, components, nodes)``.

        Raises:
            InputError: the field has another shape.
        """
        if u.ndim != 2 or u.shape[-1] != self.space.num_dofs:
            raise InputError(
                f"Field {name!r} has shape {tuple(u.shape)}; expected (batch, {self.space.num_dofs}), the dofs of space "
                f"{self.space.name!r}."
            )
        return u.unflatten(-1, (self.space.num_nodes, -1)).transpose(1, 2)


def require_named(fields: object) -> None:
    """Refuse what is no mapping of names to fields, or an empty one.

    Raises:
        InputError: see above.
    """
    if not isinstance(fields, Mapping):
        raise InputError(
            f'An operator takes its fields by name, a dictionary such as {{"f": f}}, and no bare {type(fields).__name__}.'
        )
    if not fields:
        raise InputError('An operator takes its fields by name, a dictionary such as {"f": f}; this one is empty.')


class FieldwiseEncoder(Encoder):
    """Base of encoders that map each field to dofs of its own; one with ``block_size`` components gives as many channels."""

    def __init__(self, space: Space, fields: Iterable[str]):
        super().__init__()
        self.space, self.names, self.components = space, tuple(fields), space.element.block_size
        self.num_channels = len(self.names) * self.components

    def encode(self, name: str, u: Tensor) -> Tensor:
        """One field as dofs of the space, ``(batch, ...) -> (batch, dofs)``."""
        raise NotImplementedError

    def forward(self, fields: Fields) -> Tensor:
        return torch.cat([self.channels(name, self.encode(name, self.field(fields, name))) for name in self.names], dim=1)


class InterpolationEncoder(FieldwiseEncoder):
    """Fields as their own dofs in ``space``; those of another space are interpolated by the given transfer.

    A field may also be a function ``points (n, dim) -> (batch, n, *value_shape)``: its interpolant is then the evaluation of the
    dual basis.

    Args:
        space: the processor's space.
        fields: for each field name, its transfer into ``space``, or None where it lives there already.
    """

    def __init__(self, space: Space, fields: Mapping[str, SparseMatrix | None]):
        super().__init__(space, fields)
        self.transfers = nn.ModuleDict({name: P for name, P in fields.items() if P is not None})

    def encode(self, name: str, u: Tensor) -> Tensor:
        if callable(u):
            return self.space.interpolate(u).to(self.space.mass.val)
        return self.transfers[name](u) if name in self.transfers else u


class GridEncoder(FieldwiseEncoder):
    """Data on a uniform grid, ``(batch, [components,] x, y[, z])``, interpolated into ``space`` (see :func:`grid_interpolation`).

    Args:
        space: the processor's space.
        fields: names of the fields.
        shape: grid points along each axis, the sides of the box included.
        box: lowest and highest corner of the grid; the bounding box of the mesh if not given.
    """

    def __init__(self, space: Space, fields: Iterable[str], shape: Sequence[int], box: Sequence[Sequence[float]] | None = None):
        super().__init__(space, fields)
        self.interpolate = grid_interpolation(space, shape, box)
        components = space.element.value_shape and (space.element.value_size,)
        self.shape = (*components, *shape)

    def encode(self, name: str, u: Tensor) -> Tensor:
        if tuple(u.shape[1:]) != self.shape:
            raise InputError(f"Field {name!r} has shape {tuple(u.shape)}; expected (batch, {', '.join(map(str, self.shape))}).")
        return self.interpolate(u.flatten(1))


class L2ProjectionEncoder(FieldwiseEncoder):
    """Fields of other spaces, projected into ``space`` in L2: no smoothness is asked of them, and integrals are kept.

    Args:
        space: the processor's space.
        fields: for each field name, the products of its space with ``space`` (see :meth:`Discretization.product`).
    """

    def __init__(self, space: Space, fields: Mapping[str, SparseMatrix]):
        super().__init__(space, fields)
        self.projections = nn.ModuleDict({name: L2Projection(space, B) for name, B in fields.items()})

    def encode(self, name: str, u: Tensor) -> Tensor:
        return self.projections[name](u)


class MomentEncoder(FieldwiseEncoder):
    """Moments ``∫ f φ_i`` of fields with the basis of ``space``: what a Galerkin method sees of its data.

    With these a linear processor can be an inverse stiffness matrix (Melchers et al., Neural Green's Operators, arXiv 2406.01857).

    Args:
        space: the processor's space.
        fields: for each field name, the products of its space with ``space``, or None where it lives there already.
    """

    def __init__(self, space: Space, fields: Mapping[str, SparseMatrix | None]):
        super().__init__(space, fields)
        self.products = nn.ModuleDict({name: space.mass if B is None else B for name, B in fields.items()})

    def encode(self, name: str, u: Tensor) -> Tensor:
        return self.products[name](u)

    def channel_squares(self, fields: Fields) -> Tensor:
        """Of the functions that have these moments, times the mean square of the moments of a constant."""
        moments = self(fields).unflatten(1, (-1, self.components)).transpose(2, 3).flatten(2)
        functions = MassSolver(self.space.mass)(moments).unflatten(-1, (-1, self.components)).transpose(2, 3)
        squares = mean_squares(self.space, functions.flatten(1, 2)).unflatten(1, (-1, self.components))
        one = self.space.mass(torch.ones(self.space.num_dofs).to(self.space.mass.val)).double()
        return squares.mean(-1, keepdim=True).expand_as(squares).flatten(1) * one.square().mean()


class ObservationEncoder(FieldwiseEncoder):
    """Values at points, ``(batch, num_points * components)``, as the smoothest field that has them.

    See :meth:`Observation.reconstruction` for the field. Fields given by their dofs are observed first, so that nothing but the values
    at the points reaches the processor.

    Args:
        space: the observed space, which is the processor's.
        fields: names of the fields.
        observation: the points.
        length: distance over which values are spread; good values: that between neighbouring points.
        noise: relative error of the values.
        given_dofs: whether the fields come as dofs.
    """

    lift: Tensor

    def __init__(
        self,
        space: Space,
        fields: Iterable[str],
        observation: Observation,
        length: float,
        noise: float = 1e-8,
        given_dofs: bool = False,
    ):
        super().__init__(space, fields)
        self.observe = observation if given_dofs else None
        self.register_buffer("lift", observation.reconstruction(space, length, noise), persistent=False)

    def encode(self, name: str, u: Tensor) -> Tensor:
        values = u if self.observe is None else self.observe(u)
        if values.ndim != 2 or values.shape[1] != self.lift.shape[1]:
            raise InputError(
                f"Field {name!r} has shape {tuple(values.shape)}; expected (batch, {self.lift.shape[1]}) observed values."
            )
        return values @ self.lift.T.to(values)


class TraceEncoder(Encoder):
    """Boundary values of one field: its dofs on the tagged boundary, zero elsewhere, so that other dofs cannot matter."""

    mask: Tensor

    def __init__(self, space: Space, field: str, tags: str | Iterable[str] = WHOLE_BOUNDARY):
        super().__init__()
        self.space, self.name = space, field
        self.num_channels = self.components = space.element.block_size
        mask = torch.zeros(space.num_dofs, dtype=torch.bool)
        mask[space.boundary_dofs(tags).cpu()] = True
        self.register_buffer("mask", mask.view(space.num_nodes, -1).T.clone(), persistent=False)

    def forward(self, fields: Fields) -> Tensor:
        return torch.where(self.mask, self.channels(self.name, self.field(fields, self.name)), 0)


class GeometryEncoder(Encoder):
    """What a mesh says of its nodes: one at the nodes of each tag and zero elsewhere, and coordinates if wanted. Fields are not read.

    Args:
        space: the processor's space.
        tags: boundary parts, a channel each.
        coordinates: whether coordinates are channels, too; without them an operator commutes with translations.

    Raises:
        InputError: there is nothing to encode, neither tags nor coordinates.
    """

    geometry: Tensor

    def __init__(self, space: Space, tags: Iterable[str] = (WHOLE_BOUNDARY,), coordinates: bool = False):
        super().__init__()
        self.space = space
        indicators = torch.zeros(0, space.num_nodes)
        for tag in tags:
            row = torch.zeros(1, space.num_nodes)
            row[0, space.boundary_nodes(tag).cpu()] = 1
            indicators = torch.cat([indicators, row])
        channels = torch.cat([indicators, space.points.cpu().T.to(indicators)]) if coordinates else indicators
        if not len(channels):
            raise InputError("A GeometryEncoder needs tags or coordinates=True.")
        self.register_buffer("geometry", channels.to(space.mass.val), persistent=False)
        self.num_channels = len(channels)

    def forward(self, fields: Fields) -> Tensor:
        return self.geometry.expand(next(iter(fields.values())).shape[0], -1, -1)


class JointEncoder(Encoder):
    """The channels of several encoders at the same nodes, one after the other: of one space, or of a space and vectors of its functions.

    Raises:
        InputError: the encoders lead into different spaces.
    """

    def __init__(self, encoders: Sequence[Encoder]):
        super().__init__()
        if len({nodes_of(encoder.space) for encoder in encoders}) != 1:
            raise InputError(
                "The encoders of a JointEncoder must share the nodes of one element; they have "
                + ", ".join(f"{encoder.space.name!r} ({encoder.space.element})" for encoder in encoders)
                + "."
            )
        self.encoders = nn.ModuleList(encoders)
        self.space = encoders[0].space
        self.num_channels = sum(encoder.num_channels for encoder in encoders)

    def forward(self, fields: Fields) -> Tensor:
        parts = [encoder(fields) for encoder in self.encoders]
        # An export would take the samples that it is shown for the only number of them.
        if not torch.compiler.is_compiling() and len({len(part) for part in parts}) > 1:
            raise InputError(
                f"The fields are of {', '.join(str(len(part)) for part in parts)} samples; a batch has as many of each."
            )
        return torch.cat(parts, dim=1)

    def channel_squares(self, fields: Fields) -> Tensor:
        parts = [encoder for encoder in self.encoders if isinstance(encoder, Encoder)]
        return torch.cat([encoder.channel_squares(fields) for encoder in parts], dim=1)


def nodes_of(space: Space) -> tuple[int, str, int]:
    """The same for two spaces whose functions are given by values at the same nodes: scalars and vectors of one element."""
    return id(space.mesh), space.element.family, space.element.degree
