"""A decoder for creeping flows between walls: from what drives the flow to its stream function."""

from torch import Tensor

from ..fem import MassSolver, Residual, Space, StreamFunctionSolver
from ..fem.averages import root_mean_square
from ..fem.forms.sources import Sources, form_values, shared_sources
from .decoders import BOUNDARY_VALUES, Decoder
from .encoders import Fields
from .form_encoders import require_test_function


class StreamFunctionDecoder(Decoder):
    """The stream function of the Stokes flow that a given force and a learned rotation q drive: ν Δ²ψ = curl f + ν q.

    It vanishes on the boundary, and its flow meets the given velocity of the walls in the sense of :class:`StreamFunctionSolver`,
    whatever is learned. With q = 0 it is the mixed method's solution; a processor that starts at zero learns what that leaves, its error
    or the terms that the Stokes equations lack. A :class:`CurlDecoder` follows it.

    Args:
        space: of the stream function, scalar Lagrange elements.
        field: name of the output field.
        solver: on that space.
        circulation: compiled one-form ∫ f·curl φ / ν of the input fields.
        wall_velocity: compiled one-form ∫ g·t φ over the boundary.
        arguments: for arguments of the forms that are named otherwise than the fields, the field, or a number.
    """

    enforces = BOUNDARY_VALUES
    of_other_size = True

    def __init__(
        self,
        space: Space,
        field: str,
        solver: StreamFunctionSolver,
        circulation: Residual,
        wall_velocity: Residual,
        arguments: Sources | None = None,
    ):
        super().__init__(space, field)
        for form in (circulation, wall_velocity):
            require_test_function(form, space)
        self.solver, self.circulation, self.wall_velocity = solver, circulation, wall_velocity
        self.project = MassSolver(space.mass)
        self.sources = shared_sources([circulation, wall_velocity], arguments)

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        F, b = self._functionals(fields)
        return self.solver(F + self.space.mass(u), b)[0]

    def channel_scales(self, fields: Fields) -> Tensor:
        """Root mean square of the rotation that the force has inside of the domain."""
        F, _ = self._functionals(fields)
        return root_mean_square(self.space, self.project(F * self.solver.free)).expand(self.num_channels, 1)

    def _functionals(self, fields: Fields) -> tuple[Tensor, Tensor]:
        circulation, wall_velocity = (form_values(sources, fields) for sources in self.sources)
        return self.circulation(**circulation), self.wall_velocity(**wall_velocity)
