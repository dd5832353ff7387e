"""MgNO on uniform grids: named fields in, named fields out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from ...errors import InputError
from ...fem.uniform_grid import Grid
from ..encoders import Fields
from ..operator import Operator
from .architecture import Architecture
from .grid_levels import extended, grid_levels
from .levels import Levels
from .lifting import Lifting
from .mapping import jacobian_on_grid, piola
from .network import Network
from .reaction import Reaction
from .scaling import ChannelFields, Standardization
from .transport import Velocity


class MgNO(Operator):
    """Multigrid neural operator in the multilinear functions of a grid; fields are ``(batch, channels, x[, y[, z]])``.

    As in He, Liu and Xu (ICLR 2024, arXiv 2310.19809) a layer is σ(linear + bias function), the linear part a multigrid cycle, here in
    the sense of finite elements: residuals are restricted by the adjoint of interpolation, stencils are those of forms, boundary conditions
    hold in the space of every level. Weights belong to no resolution: other grids of the same box can be given at any time, and build
    their levels at first use.

    Good values: 16 features, 8 iterates, 4 layers; for −∇·(a∇u) = f the architecture ``thalweg.operators.mgno.cases.DARCY``.

    Args:
        grid: of inputs and outputs, values at vertices.
        inputs, outputs: for each field, its number of channels.
        architecture: see :class:`Architecture`.
        dirichlet: sides where outputs are prescribed, ``"x0", "x1", "y0", ...``; natural conditions hold on the others.
        boundary_values: there, a number, or the input field, with the outputs' channels, that carries them, or a
            :class:`~thalweg.operators.mgno.Lifting` such as ``ChannelFlow("x")``, a function in the whole domain that outputs are
            departures from.
        coefficient: the input field, positive and of one channel, that architectures with the stencil "coefficient" need. Features get
            its logarithm.
        reaction: the term b u of such architectures' operators, for those that have one; without a coefficient, a = 1.
        coordinates: the input field, with a channel for each axis, of the points that the grid is mapped to in each sample, for
            architectures that are ``mapped``. The coefficient's operator is then that of the domain, where a = 1 without a coefficient.
            Features get the derivatives of the points in their place, which do not change where the domain is moved, and where there is a
            velocity, that velocity in the domain.
        velocity: of transport, in the coordinates of the grid, for architectures with the stencil or with Péclet numbers: a
            :class:`~thalweg.operators.mgno.Velocity` such as ``VorticityVelocity("w")``.
        increment: the network gives the change of the inputs that outputs have the names of; of their last channels where they have more,
            as histories do, whose last frame comes last.
        recent: of inputs that are histories, how many of their last channels are features; all of them by default. The velocity is
            told of all.
        domain: lengths of the box where the grid ends before its boundary, by up to one spacing, as data do that keep every n-th point;
            inputs are continued by their last values.

    Raises:
        InputError: the arguments do not fit each other or the grid.

    Example:
        >>> operator = MgNO(Grid((33, 33)), {"f": 1}, {"u": 1}, dirichlet=["x0", "x1", "y0", "y1"])
        >>> u = operator({"f": torch.randn(4, 1, 33, 33)})["u"]
        >>> u.shape, u[..., 0, :].abs().max().item()
        (torch.Size([4, 1, 33, 33]), 0.0)
        >>> operator({"f": torch.randn(4, 1, 65, 65)})["u"].shape  # the same weights
        torch.Size([4, 1, 65, 65])
    """

    coefficient_scale: Tensor
    velocity_scale: Tensor
    output_scale: Tensor

    def __init__(
        self,
        grid: Grid,
        inputs: dict[str, int],
        outputs: dict[str, int],
        architecture: Architecture | None = None,
        *,
        dirichlet: Iterable[str] = (),
        boundary_values: str | float | Lifting = 0.0,
        coefficient: str | None = None,
        reaction: Reaction | None = None,
        coordinates: str | None = None,
        velocity: Velocity | None = None,
        increment: bool = False,
        recent: Mapping[str, int] | None = None,
        domain: Sequence[float] = (),
    ):
        super().__init__()
        self.grid, self.architecture = grid, architecture or Architecture()
        self.dirichlet, self.boundary_values = tuple(dirichlet), boundary_values
        self.coefficient, self.reaction, self.increment, self.domain = coefficient, reaction, increment, tuple(domain)
        self.coordinates, self.velocity, self.recent = coordinates, velocity, dict(recent or {})
        self.fields = ChannelFields(inputs, outputs)
        out_channels = self.fields.out_channels
        known = coefficient is not None or reaction is not None or coordinates is not None
        if known != (self.architecture.coefficient is not None) or (reaction is not None) != self.architecture.reaction:
            raise InputError(
                f"The field {coefficient!r} and the architecture's {self.architecture.coefficient!r} must both be given or not, and "
                f"so must {reaction} and the architecture's reaction={self.architecture.reaction}."
            )
        if (coordinates is not None) != self.architecture.mapped or (velocity is not None) != self.architecture.transport:
            raise InputError(
                f"The coordinates {coordinates!r} and the architecture's mapped={self.architecture.mapped} must both be given or not, and "
                f'so must the velocity {velocity} and the stencil "transport" or Péclet numbers.'
            )
        if coordinates is not None and (inputs.get(coordinates) != grid.dim or any(grid.periodic) or any(extended(grid, domain))):
            raise InputError(
                f"The coordinates {coordinates!r} must be an input of {grid.dim} channels, on a grid that reaches all of its sides and is "
                f"not periodic; the inputs are {inputs}."
            )
        if reaction is not None and inputs.get(reaction.field) != 1:
            raise InputError(f"The reaction's {reaction.field!r} must be an input of one channel; the inputs are {inputs}.")
        if coefficient is not None and inputs.get(coefficient) != 1:
            raise InputError(f"The coefficient {coefficient!r} must be an input of one channel; the inputs are {inputs}.")
        if isinstance(boundary_values, str) and inputs.get(boundary_values) != out_channels:
            raise InputError(
                f"The boundary values {boundary_values!r} must be an input of {out_channels} channels, not of {inputs}."
            )
        self.lifting = None if isinstance(boundary_values, (str, int, float)) else boundary_values
        if increment:
            self.fields.require_increments()
            if self.lifting is not None:
                raise InputError("Outputs are changes of the inputs or departures from a lifting, not both; give one of them.")
        if wrong := [name for name, n in self.recent.items() if not 1 <= n <= inputs.get(name, 0) or name == coordinates]:
            raise InputError(
                f"Of {wrong[0]!r} {self.recent[wrong[0]]} channels cannot be the recent ones: it must be a history among the inputs "
                f"{inputs}, with as many channels or more."
            )
        self._channels = self.fields.inputs | self.recent
        features = sum(self._channels.values())
        if coordinates is not None:
            features += grid.dim**2 - grid.dim + (0 if velocity is None else grid.dim)
        self.network = Network(features, out_channels, self.architecture, grid.dim, sum(grid.periodic))
        self.input_scale = Standardization(features, "channel", grid.shape)
        self.register_buffer("coefficient_scale", torch.ones(()))
        if velocity is not None:
            self.register_buffer("velocity_scale", torch.ones(()))
        self.register_buffer("output_scale", torch.ones(out_channels, 1))
        self._extra = extended(grid, self.domain)
        self._levels: dict[tuple, Levels] = {}
        self.levels(grid.shape)

    def levels(self, shape: tuple[int, ...]) -> Levels:
        """The levels of a grid of the same box with this many points, kept for later calls."""
        key = (tuple(shape), self.output_scale.device, self.output_scale.dtype)
        if key not in self._levels:
            grid = Grid(shape, self.grid.lengths, self.grid.periodic, self.grid.location)
            # Kept for later calls, which may be in training.
            with torch.inference_mode(False):
                self._levels[key] = grid_levels(grid, self.dirichlet, self.architecture, key[2], self.domain).to(key[1])
        return self._levels[key]

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        u0 = self.fields.join(fields)
        if u0.ndim != self.grid.dim + 2:
            raise InputError(f"Fields have shape {tuple(u0.shape)}; expected (batch, channels) and {self.grid.dim} axes.")
        levels = self.levels(tuple(u0.shape[2:]))
        v = self._extended(self._features(fields))
        shape = v.shape[2:]
        a, b = self._coefficients(fields)
        x = None if self.coordinates is None else _on_nodes(fields[self.coordinates])
        features = _on_nodes(self.input_scale(v))
        speed = None if self.velocity is None else self.velocity_scale
        u = self.network(features, levels, a, b, x, self._velocity(fields), speed).permute(1, 2, 0) * self.output_scale
        u = u.unflatten(2, shape)[tuple(slice(n) for n in (*u.shape[:2], *u0.shape[2:]))]
        if self.increment:
            u = self.fields.incremented(fields) + u
        lifted = None if self.lifting is None else self.lifting(fields, self.grid)
        u = u if lifted is None else lifted + u
        return self.fields.split(self._on_boundary(u, fields, lifted) if self.dirichlet else u)

    def _extended(self, u: Tensor) -> Tensor:
        """Inputs continued by one point along the axes where the domain goes on."""
        for axis, extra in enumerate(self._extra, start=2):
            if extra:
                u = torch.cat([u, u.narrow(axis, u.shape[axis] - 1, 1)], dim=axis)
        return u

    def _coefficients(self, fields: Fields) -> tuple[Tensor | None, Tensor | None]:
        """a and b of −∇·(a∇) + b at the nodes, ``(nodes, batch)``, in units of the coefficient's scale."""
        a = b = None
        if self.coefficient is not None:
            a = _on_nodes(self._extended(fields[self.coefficient]))[..., 0] / self.coefficient_scale
        if self.reaction is not None:
            b = _on_nodes(self._extended(self.reaction(fields[self.reaction.field])))[..., 0] / self.coefficient_scale
            a = torch.ones_like(b) if a is None else a
        if self.coordinates is not None and a is None:
            a = torch.ones_like(_on_nodes(fields[self.coordinates])[..., 0])
        return a, b

    def _velocity(self, fields: Fields) -> Tensor | None:
        """``(nodes, batch, dim)`` in units of the velocity's scale."""
        if self.velocity is None:
            return None
        return _on_nodes(self._extended(self.velocity(fields, self.grid))) / self.velocity_scale

    def _features(self, fields: Fields) -> Tensor:
        """Inputs with the logarithm of the coefficient in its place, for what matters of it are ratios, which may be large; and with
        derivatives in the place of coordinates."""
        parts = []
        for name, channels in self._channels.items():
            u = fields[name][:, -channels:]
            if name == self.coefficient:
                u = u.log()
            elif name == self.coordinates:
                J = jacobian_on_grid(u, self.grid.lengths)
                u = J.flatten(1, 2)
                if self.velocity is not None:
                    u = torch.cat([u, piola(J, self.velocity(fields, self.grid))], dim=1)
            parts.append(u)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _on_boundary(self, u: Tensor, fields: Fields, lifted: Tensor | None) -> Tensor:
        """Prescribed values, bit for bit, on the Dirichlet sides that the grid reaches."""
        g = lifted
        if g is None:
            given = cast(str | float, self.boundary_values)
            g = fields[given] if isinstance(given, str) else u.new_full((), given)
        for side in self.dirichlet:
            axis, end = "xyz".index(side[0]), side[1] == "1"
            if end and self._extra[axis]:
                continue
            n = u.shape[axis + 2]
            at = torch.arange(n, device=u.device).view(-1, *[1] * (self.grid.dim - 1 - axis)) == (n - 1 if end else 0)
            u = torch.where(at, g, u)
        return u

    @torch.no_grad()
    def set_scales(self, fields: Fields) -> None:
        inputs, outputs = self.fields.pairs(fields, self.grid.dim)
        if self.coefficient is not None:
            a = fields[self.coefficient]
            if not bool((a > 0).all()):
                raise InputError(
                    f"The coefficient {self.coefficient!r} is not positive somewhere: −∇·(a∇u) = f is no elliptic equation."
                )
            self.coefficient_scale.copy_(a.double().mean())
        given = self.fields.named(inputs)
        self.input_scale.fit(self._features(given))
        if self.coordinates is not None:
            self._scale_derivatives(self.coordinates)
        if self.velocity is not None:
            self.velocity_scale.copy_(self.velocity(given, self.grid).double().square().mean().sqrt())
        change = outputs
        if self.increment:
            change = outputs - self.fields.incremented(given)
        if self.lifting is not None:
            change = outputs - self.lifting(given, self.grid)
        scale = change.double().square().mean((0, *range(2, change.ndim))).sqrt()
        self.output_scale.copy_(torch.where(scale > 0, scale, 1)[:, None])

    def _scale_derivatives(self, coordinates: str) -> None:
        """One deviation for all derivatives of the coordinates: some may vary by rounding only."""
        before = list(self._channels).index(coordinates)
        first = sum(list(self._channels.values())[:before])
        own = self.input_scale.deviation[first : first + self.grid.dim**2]
        own.copy_(own.double().square().mean().sqrt().expand_as(own))


def _on_nodes(u: Tensor) -> Tensor:
    """Fields ``(batch, channels, x, y)`` as features ``(nodes, batch, channels)``."""
    return u.flatten(2).permute(2, 0, 1).contiguous()
