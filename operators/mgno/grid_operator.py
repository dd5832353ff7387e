"""MgNO on uniform grids: named fields in, named fields out."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ...errors import InputError
from ...fem.uniform_grid import Grid
from ..encoders import Fields
from ..operator import Operator
from .architecture import Architecture
from .grid_levels import extended, grid_levels
from .levels import Levels
from .network import Network
from .reaction import Reaction
from .scaling import ChannelFields, Standardization


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
        boundary_values: there, a number or the input field, with the outputs' channels, that carries them.
        coefficient: the input field, positive and of one channel, that architectures with the stencil "coefficient" need. Features get
            its logarithm.
        reaction: the term b u of such architectures' operators, for those that have one; without a coefficient, a = 1.
        increment: the network gives the change of the inputs.
        domain: lengths of the box where the grid ends before its boundary, by up to one spacing, as data do that keep every n-th point;
            inputs are continued by their last values.

    Raises:
        InputError: the arguments do not fit each other or the grid.

    Example:
        >>> operator = MgNO(Grid((33, 33)), {"f": 1}, {"u": 1}, dirichlet=["x0", "x1", "y0", "y1"])
        >>> u = operator({"f": torch.randn(4, 1, 33, 33)})["u"]
        >>> u.shape, float(u[..., 0, :].abs().max())
        (torch.Size([4, 1, 33, 33]), 0.0)
        >>> operator({"f": torch.randn(4, 1, 65, 65)})["u"].shape  # the same weights
        torch.Size([4, 1, 65, 65])
    """

    coefficient_scale: Tensor
    output_scale: Tensor

    def __init__(
        self,
        grid: Grid,
        inputs: dict[str, int],
        outputs: dict[str, int],
        architecture: Architecture | None = None,
        *,
        dirichlet: Iterable[str] = (),
        boundary_values: str | float = 0.0,
        coefficient: str | None = None,
        reaction: Reaction | None = None,
        increment: bool = False,
        domain: Sequence[float] = (),
    ):
        super().__init__()
        self.grid, self.architecture = grid, architecture or Architecture()
        self.dirichlet, self.boundary_values = tuple(dirichlet), boundary_values
        self.coefficient, self.reaction, self.increment, self.domain = coefficient, reaction, increment, tuple(domain)
        self.fields = ChannelFields(inputs, outputs)
        in_channels, out_channels = self.fields.in_channels, self.fields.out_channels
        known = coefficient is not None or reaction is not None
        if known != (self.architecture.coefficient is not None) or (reaction is not None) != self.architecture.reaction:
            raise InputError(
                f"The field {coefficient!r} and the architecture's {self.architecture.coefficient!r} must both be given or not, and "
                f"so must {reaction} and the architecture's reaction={self.architecture.reaction}."
            )
        if reaction is not None and inputs.get(reaction.field) != 1:
            raise InputError(f"The reaction's {reaction.field!r} must be an input of one channel; the inputs are {inputs}.")
        if coefficient is not None and inputs.get(coefficient) != 1:
            raise InputError(f"The coefficient {coefficient!r} must be an input of one channel; the inputs are {inputs}.")
        if isinstance(boundary_values, str) and inputs.get(boundary_values) != out_channels:
            raise InputError(
                f"The boundary values {boundary_values!r} must be an input of {out_channels} channels, not of {inputs}."
            )
        if increment and in_channels != out_channels:
            raise InputError(f"The inputs {inputs} cannot be incremented to the outputs {outputs}: their channels differ.")
        before = list(inputs).index(coefficient) if coefficient is not None else 0
        self._coefficient_channel = sum(list(inputs.values())[:before])
        self.network = Network(in_channels, out_channels, self.architecture, grid.dim, sum(grid.periodic))
        self.input_scale = Standardization(in_channels, "channel", grid.shape)
        self.register_buffer("coefficient_scale", torch.ones(()))
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
        v = self._extended(u0)
        shape = v.shape[2:]
        features = _on_nodes(self.input_scale(self._by_logarithm(v)))
        u = self.network(features, levels, *self._coefficients(fields)).permute(1, 2, 0) * self.output_scale
        u = u.unflatten(2, shape)[tuple(slice(n) for n in (*u.shape[:2], *u0.shape[2:]))]
        if self.increment:
            u = u0 + u
        return self.fields.split(self._on_boundary(u, fields) if self.dirichlet else u)

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
        return a, b

    def _by_logarithm(self, u: Tensor) -> Tensor:
        """Inputs with the logarithm of the coefficient in its place: what matters of it are ratios, which may be large."""
        if self.coefficient is None:
            return u
        c = self._coefficient_channel
        return torch.cat([u[:, :c], u[:, c : c + 1].log(), u[:, c + 1 :]], dim=1)

    def _on_boundary(self, u: Tensor, fields: Fields) -> Tensor:
        """Prescribed values, bit for bit, on the Dirichlet sides that the grid reaches."""
        g = fields[self.boundary_values] if isinstance(self.boundary_values, str) else u.new_full((), self.boundary_values)
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
        self.input_scale.fit(self._by_logarithm(inputs))
        change = outputs - inputs if self.increment else outputs
        scale = change.double().square().mean((0, *range(2, change.ndim))).sqrt()
        self.output_scale.copy_(torch.where(scale > 0, scale, 1)[:, None])


def _on_nodes(u: Tensor) -> Tensor:
    """Fields ``(batch, channels, x, y)`` as features ``(nodes, batch, channels)``."""
    return u.flatten(2).permute(2, 0, 1).contiguous()
