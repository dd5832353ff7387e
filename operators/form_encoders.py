"""Encoders that evaluate compiled forms: what a weak form says of the input fields, at the nodes or as numbers."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..errors import InputError
from ..fem import MassSolver, Residual, Space, SparseMatrix
from ..fem.forms.sources import Sources, form_sources, form_values, shared_sources
from ..fem.smoothing import smoothing_matrix
from .encoders import Encoder, Fields


def require_test_function(form: Residual, space: Space) -> None:
    """Refuse a form whose test function is no function of a space."""
    if form.test is None or form.test.shape != (space.num_dofs,):
        raise InputError(f"The form's test function is no function of {space.name!r}: {form.extra_repr()}.")


class FormEncoder(Encoder):
    """The function that represents a weak form in L2: a with ∫ a·v = F(u; v) for all v that vanish on tagged parts of the boundary.

    With the transport terms of a flow, ``(u·∇)u − ν Δu``, it tells a time stepper what the discretization itself knows of the next
    step; the operator learns what is missing, the pressure and the errors of a large step.

    Args:
        space: the processor's space, nodal elements, which is the form's.
        form: a compiled one-form, such as ``disc.form("transport")``.
        arguments: for arguments of the form that are named otherwise than the fields, the field, or a number.
        tags: boundary parts where a vanishes, those with prescribed values.

    Raises:
        InputError: the form has no test function in the space, or ``arguments`` names none of its arguments.
    """

    free: Tensor

    def __init__(self, space: Space, form: Residual, arguments: Sources | None = None, tags: Iterable[str] = ()):
        super().__init__()
        require_test_function(form, space)
        self.space, self.form = space, form
        self.num_channels = self.components = space.element.block_size
        self.sources = form_sources(form, arguments)
        M, free = smoothing_matrix(space, 0.0, tuple(tags))
        self.solve = MassSolver(SparseMatrix(M, space.mass.val.dtype))
        self.register_buffer("free", torch.from_numpy(free).to(space.mass.val), persistent=False)

    def forward(self, fields: Fields) -> Tensor:
        moments = self.form(**form_values(self.sources, fields))
        return self.channels("the form", self.solve(moments * self.free))


class FunctionalEncoder(Encoder):
    """Numbers that functionals give of the input fields, as constant channels: a mean inflow, a total load.

    Args:
        space: the processor's space.
        functionals: compiled zero-forms.
        arguments: for arguments that are named otherwise than the fields, the field, or a number.

    Raises:
        InputError: a form has a test function, or ``arguments`` names an argument of none of them.
    """

    def __init__(self, space: Space, functionals: Iterable[Residual], arguments: Sources | None = None):
        super().__init__()
        self.functionals = torch.nn.ModuleList(functionals)
        if not len(self.functionals) or any(form.test is not None for form in self._forms()):
            raise InputError(
                "A FunctionalEncoder needs functionals, forms without a test function. Use a FormEncoder for others."
            )
        self.space, self.num_channels = space, len(self.functionals)
        self.sources = shared_sources(self._forms(), arguments)

    def forward(self, fields: Fields) -> Tensor:
        numbers = [form(**form_values(sources, fields)) for form, sources in zip(self._forms(), self.sources, strict=True)]
        return torch.stack(numbers, dim=-1).unsqueeze(-1).expand(-1, -1, self.space.num_nodes)

    def _forms(self) -> list[Residual]:
        return [form for form in self.functionals if isinstance(form, Residual)]
