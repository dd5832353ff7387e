"""Drag and lift of predicted flows past a body, and the frequency of their vortices, against the reference's."""

import torch
from torch import Tensor

from ...errors import InputError
from ...fem import Residual, Space
from .metric import Fields, Metric, given, predicted

#: Frames whose forms are evaluated at once.
_AT_ONCE = 32


class BodyForces(Metric):
    """Relative errors of the mean drag, of the lift's amplitude and of the Strouhal number over a trajectory, the mean over samples.

    The forces are those of the volume formula, the momentum residual tested with a velocity that is one at the body's nodes (Babuška and
    Miller, 1984; John and Matthies, 2001), of the predicted and of the reference's fields alike; the time derivative in it is a
    difference of second order between frames. A trajectory whose lift does not swing up twice has a Strouhal number of zero.

    Args:
        velocity: vector-valued Lagrange elements.
        force: compiled functional of ``z`` = (u, p), ``u_t``, the direction ``w`` and ``viscosity``, such as ``disc.form("force")``.
        mean_inflow: compiled functional of ``g``, the mean velocity that coefficients go by.
        viscosity: ν.
        interval: time between frames.
        diameter: of the body.
        tag: its boundary.
        names: of the predicted velocity and pressure.
    """

    labels = ("mean_drag", "lift_amplitude", "strouhal")
    directions: Tensor

    def __init__(
        self,
        velocity: Space,
        force: Residual,
        mean_inflow: Residual,
        viscosity: float,
        interval: float,
        diameter: float,
        tag: str = "cylinder",
        names: tuple[str, str] = ("u", "p"),
    ):
        super().__init__()
        if wrong := [form for form in (force, mean_inflow) if form.test is not None]:
            raise InputError(f"Forces are functionals, but a form has a test function: {wrong[0].extra_repr()}.")
        self.force, self.mean_inflow = force, mean_inflow
        self.viscosity, self.interval, self.diameter, self.names = viscosity, interval, diameter, tuple(names)
        size = velocity.element.block_size
        directions = torch.zeros(size, velocity.num_nodes, size, dtype=velocity.mass.val.dtype)
        for component in range(size):
            directions[component, velocity.boundary_nodes(tag).cpu(), component] = 1
        self.register_buffer("directions", directions.flatten(1), persistent=False)

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        inputs = {name: values for name, values in truth.items() if name not in self.names}
        found = self.summary(inputs | {name: predicted(prediction, name) for name in self.names})
        exact = self.summary(inputs | {name: given(truth, name) for name in self.names})
        return torch.where(found == exact, 0, (found - exact).abs() / exact.abs())

    def summary(self, fields: Fields) -> Tensor:
        """Mean drag coefficient, amplitude of the lift coefficient, Strouhal number of each sample: ``(batch, 3)``."""
        drag, lift = self.coefficients(fields).unbind(1)
        amplitude = (lift.amax(1) - lift.amin(1)) / 2
        strouhal = frequency(lift, self.interval) * self.diameter / self.mean_inflow(g=given(fields, "g"))
        return torch.stack([drag.mean(1), amplitude, strouhal], dim=1)

    def coefficients(self, fields: Fields) -> Tensor:
        """Drag and lift coefficients 2F / (U² D) of each frame, ``(batch, 2, time)``.

        Raises:
            InputError: the fields are no trajectories of three frames or more.
        """
        u, p = (fields[name] for name in self.names)
        if u.ndim != 3 or u.shape[1] < 3:
            raise InputError(f"Forces need trajectories of three frames or more, not velocities of shape {tuple(u.shape)}.")
        (rate,) = torch.gradient(u, spacing=self.interval, dim=1, edge_order=2)
        z = torch.cat([u, p], dim=-1).flatten(0, 1)
        parts = zip(z.split(_AT_ONCE), rate.flatten(0, 1).split(_AT_ONCE), strict=True)
        forces = torch.cat(
            [
                torch.stack([self.force(z=a, u_t=b, w=w, viscosity=self.viscosity) for w in self.directions[:2]], dim=-1)
                for a, b in parts
            ]
        )
        U = self.mean_inflow(g=given(fields, "g"))
        return (2 / (U.square() * self.diameter))[:, None, None] * forces.unflatten(0, u.shape[:2]).transpose(1, 2)


def frequency(signals: Tensor, interval: float) -> Tensor:
    """One over the mean time between upward passages of each signal ``(batch, time)`` through its middle; 0 with less than two of them."""
    middle = (signals.amax(1, keepdim=True) + signals.amin(1, keepdim=True)) / 2
    before, after = (signals - middle)[:, :-1], (signals - middle)[:, 1:]
    up = (before < 0) & (after >= 0)
    zeros = torch.arange(before.shape[1], device=signals.device) + before / torch.where(up, before - after, -1)
    first = torch.where(up, zeros, torch.inf).amin(1)
    last = torch.where(up, zeros, -torch.inf).amax(1)
    swings = up.sum(1)
    return torch.where(swings > 1, (swings - 1) / ((last - first) * interval), 0.0)
