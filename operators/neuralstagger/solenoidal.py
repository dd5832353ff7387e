"""The velocity of a predicted potential, as a further field."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ...errors import InputError
from ...solvers.grid.potentials import velocity_of


class SolenoidalVelocity(nn.Module):
    """Normal velocities at the cells' faces, ``velocity_x``, ``velocity_y``, ``velocity_z``, of a stream function or vector potential.

    Their discrete divergence is zero to rounding, whatever the potential is. For ``derived`` of :class:`NeuralStagger`.

    Args:
        spacings: of the cells along each axis.
        periodic: which axes are.
        potential: name of the stream function, or of the components of the vector potential; a single name in three dimensions is a field
            of three channels, in a box that is periodic along all axes.

    Raises:
        InputError: another number of axes or potentials.
    """

    def __init__(self, spacings: Sequence[float], periodic: Sequence[bool], potential: Sequence[str] = ("psi",)):
        super().__init__()
        dim = len(spacings)
        fits = len(potential) == (1 if dim == 2 else 3) or (dim == 3 and len(potential) == 1 and all(periodic))
        if isinstance(potential, str) or dim not in (2, 3) or len(periodic) != dim or not fits:
            raise InputError(
                f"Expected two or three spacings, as many periodicities, and a list of potentials that fits; got {spacings}, {periodic}, "
                f"{potential}."
            )
        self.spacings, self.periodic, self.potential = tuple(spacings), tuple(periodic), tuple(potential)

    def forward(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parts = tuple(fields[name] for name in self.potential)
        if len(self.spacings) == 3 and len(parts) == 1:
            parts = parts[0].split(1, -4)
        velocity = velocity_of(parts, self.spacings, self.periodic)
        return {f"velocity_{axis}": w for axis, w in zip("xyz", velocity, strict=False)}
