"""Learned multigrid cycles for a problem's own weak form, whatever its terms and its natural boundary conditions are."""

import logging
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Hierarchy, Jacobian, Residual
from ..fem.forms.sources import Sources, form_sources, form_values
from ..fem.full_precision import full_precision
from .encoders import Fields, require_named
from .form_levels import FixedMatrix, FormLevels
from .mgno.architecture import Architecture
from .mgno.cycle import Cycle
from .mgno.levels import Levels
from .mgno.sample_matrices import SampleMatrices
from .minimal_residual import MinimalResidual
from .operator import Operator

log = logging.getLogger("thalweg")

#: Samples on which an untrained operator is tried, and the share of the residual's norm from which on it is said not to converge.
_TRIED, _POOR = 8, 0.5


class FormMultigrid(Operator):
    """u with F(u; v) = 0 for all v in a few learned cycles for ∂F/∂u, ``forward(fields) -> {field: (batch, dofs)}``.

    Everything that a form says is in its residual and its derivative: Robin and impedance conditions, coefficients in any space,
    convection, coupled components. Cycles are those of MgNO (He, Liu, Xu, ICLR 2024, arXiv 2310.19809) with several iterates side by
    side, for the derivative at the sample's own inputs, on coarser levels its Galerkin products. What each cycle gives is a
    direction, and the solution is the combination of all directions with the least residual (:class:`MinimalResidual`). So cycles
    for indefinite forms, which diverge alone, converge, provided that the coarsest level resolves the waves by six nodes or so. Untrained
    it is the method of generalized conjugate residuals with multigrid; training fits the smoothers and the weights of transfers
    to the inputs at hand, so that fewer cycles suffice.

    A form that is linear in u is solved in one step; else each is a step of Newton's method, of a learned length, from u = 0.
    Prescribed values are exact. Weights belong to no mesh. Good values: 4 to 6 cycles, 4 iterates; for nonlinear forms 2 cycles and 3 to
    5 steps. Near a resonance give more cycles: there training gains nothing, and at rates above 1e-3 it loses.

    Args:
        form: a compiled one-form whose unknown and test function are of the hierarchy's first space.
        hierarchy: spaces from fine to coarse, of scalars or vectors; the coarsest is solved on by dense inverses.
        field: the unknown.
        dirichlet: tags of the boundary parts with prescribed values.
        data: name of the input field that carries them, or a number.
        cycles: in each step, each with weights of its own.
        iterates: that a cycle advances side by side.
        steps: of Newton's method.
        pre, post: smoothing steps before and after the coarse correction.
        arguments: for arguments of the form that are named otherwise than the fields, the field, or a number. In an implicit time step
            the state before goes by the name of the unknown, as ``{"before": "u"}``.

    Raises:
        InputError: the form has no such unknown in that space, its derivative is singular, its coarsest level too large or its only one;
            numbers below one; in use, a field is missing.
    """

    def __init__(
        self,
        form: Residual,
        hierarchy: Hierarchy,
        field: str = "u",
        dirichlet: Iterable[str] = (),
        data: str | float = 0.0,
        cycles: int = 4,
        iterates: int = 4,
        steps: int = 1,
        pre: int = 1,
        post: int = 1,
        arguments: Sources | None = None,
    ):
        super().__init__()
        if min(cycles, iterates, steps) < 1:
            raise InputError(
                f"There are one cycle, iterate and step or more, not cycles={cycles}, iterates={iterates}, steps={steps}."
            )
        if len(hierarchy) < 2:
            raise InputError(
                "A cycle needs two levels or more. Export coarser spaces with transfers, as solvers.lagrange_hierarchy makes them."
            )
        jacobian, space = Jacobian(form, field), hierarchy[0]
        if jacobian.shape != (space.num_dofs, space.num_dofs):
            raise InputError(
                f"The Jacobian in {field!r} has shape {jacobian.shape}; on {space.name!r} it is {space.num_dofs} x {space.num_dofs}. "
                "Give the hierarchy below the space of the unknown."
            )
        self.form, self.field, self.data = form, field, data
        # The unknown is no source: a time step reads the field of its name as the state before.
        self.sources = {name: source for name, source in form_sources(form, arguments).items() if name != field}
        self.levels = FormLevels(jacobian, hierarchy, tuple(dirichlet))
        self.linear = field not in jacobian.depends_on
        architecture = Architecture(
            iterates=iterates,
            layers=cycles,
            operator=("coefficient",),
            mixing="diagonal",
            coefficient="galerkin",
            levels=len(hierarchy),
            pre=pre,
            post=post,
        )
        self.steps = nn.ModuleList(nn.ModuleList(Cycle(architecture) for _ in range(cycles)) for _ in range(steps))
        # Iterates begin as one correction in different scales, which the head joins to it again.
        self.lift = nn.Parameter(torch.randn(steps, cycles, 1, iterates))
        self.head = nn.Parameter((self.lift / self.lift.square().sum((2, 3), keepdim=True)).detach().mT.clone())
        self.length = None if self.linear else nn.Parameter(torch.ones(steps))

    def set_scales(self, fields: Fields) -> None:
        """There are none: everything is in the units of the form. Says whether the untrained cycles converge on a few of the samples."""
        few = {name: (values[:, 0] if values.ndim == 3 else values)[:_TRIED] for name, values in fields.items()}
        left = self._left(few)
        if left > _POOR:
            log.warning(
                "Untrained, the cycles of the FormMultigrid leave %.2g of the residual, which training may not mend. Give a hierarchy "
                "with fewer levels or a finer coarsest mesh, where the form has waves or layers; or more cycles.",
                left,
            )

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        require_named(fields)
        with full_precision(self.lift):
            given = form_values(self.sources, fields)
            u, matrices = self._first(fields), None
            for k in range(len(self.steps)):
                values = {**given, self.field: u}
                if matrices is None or not self.linear:
                    matrices = self.levels.at(values)
                correction = self._solved(k, self._residual(values), matrices).x[..., 0].T
                u = u + (correction if self.length is None else self.length[k] * correction)
        return {self.field: u}

    def _solved(self, k: int, f: Tensor, matrices: list[FixedMatrix] | list[SampleMatrices]) -> MinimalResidual:
        """The correction for a residual ``(dofs, batch, 1)`` by the cycles of step ``k``."""
        solution = MinimalResidual(matrices[0].on_nodes, matrices[0].inverse_diagonal, f)
        for i, cycle in enumerate(cast(nn.ModuleList, self.steps[k])):
            z = cycle(solution.residual * self.lift[k, i], cast(Levels, self.levels), cast(list[SampleMatrices], matrices))
            solution.add(z @ self.head[k, i])
        return solution

    def _residual(self, values: dict[str, Tensor | float]) -> Tensor:
        """−F, zero where values are prescribed, ``(dofs, batch, 1)``."""
        return (-self.form(**values) * self.levels.free).T[..., None].contiguous()

    def _first(self, fields: Fields) -> Tensor:
        """What the first step starts from, with the prescribed values."""
        like = next(iter(fields.values()))
        u = self.lift.new_zeros(like.shape[0], len(self.levels.free))
        if not isinstance(self.data, str):
            return torch.where(self.levels.free, u, self.data)
        if self.data not in fields or fields[self.data].shape != u.shape:
            came = "was not given" if self.data not in fields else f"has shape {tuple(fields[self.data].shape)}"
            raise InputError(
                f"The prescribed values {self.data!r} of {self.field!r} have shape {tuple(u.shape)}; the field {came}."
            )
        return torch.where(self.levels.free, u, fields[self.data])

    @torch.no_grad()
    def _left(self, fields: Fields) -> float:
        """The share of the residual that the cycles of the first step leave."""
        values = {**form_values(self.sources, fields), self.field: self._first(fields)}
        f, matrices = self._residual(values), self.levels.at(values)
        D = matrices[0].inverse_diagonal
        left, all_of_it = ((D * r * r).sum(0).sqrt().mean().item() for r in (self._solved(0, f, matrices).residual, f))
        return left / all_of_it if all_of_it > 0 else 0.0
