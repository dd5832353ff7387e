"""Divergence, pressure gradient and projection on a staggered grid with faces that do not move."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from .faces import Faces, Velocity
from .ghosts import pressure_with_ghosts
from .pressure import SelfAdjointSolver, box_poisson
from .sides import Periodic, Side, kinds_of


class Projection:
    """The nearest solenoidal velocity with the prescribed values: w − ∇φ at the faces that move freely, with div of it zero.

    Args:
        solid: obstacles ``(batch or 1, 1, x, y[, z])``; their cells have no pressure.
        tolerance, max_iterations: of conjugate gradients around obstacles.

    Raises:
        InputError: prescribed velocities let in more than they let out, and there is no outflow.
    """

    def __init__(
        self,
        cells: Sequence[int],
        spacings: Sequence[float],
        sides: Sequence[tuple[Side, Side]],
        faces: Faces,
        solid: Tensor | None,
        tolerance: float,
        max_iterations: int,
    ):
        self.spacings, self.sides, self.faces = spacings, sides, faces
        like = faces.open[0]
        self.fluid = None if solid is None else (~solid).to(like)
        #: Whether every face moves freely, so that nothing needs masks.
        self.all_open = all(bool((o == 1).all()) for o in faces.open)
        self._slopes = [o / h for o, h in zip(faces.open, spacings, strict=True)]
        box = box_poisson(tuple(cells), tuple(spacings), kinds_of(sides), like.dtype, like.device)
        if box.singular:
            self._require_balance()
        self._solver = SelfAdjointSolver(
            box,
            lambda p: -self.divergence(self.gradient(p)),
            self.fluid,
            singular=box.singular,
            tolerance=tolerance,
            max_iterations=max_iterations,
        )

    def divergence(self, velocity: Velocity) -> Tensor:
        dim = len(velocity)
        total = velocity[0].diff(dim=-dim) / self.spacings[0]
        for i in range(1, dim):
            total = torch.add(total, velocity[i].diff(dim=i - dim), alpha=1 / self.spacings[i])
        return total

    def gradient(self, p: Tensor) -> Velocity:
        """Pressure differences at the faces that move freely, zero at the others."""
        return tuple(slope * g for slope, g in zip(self._slopes, self.differences(p), strict=True))

    def differences(self, p: Tensor) -> Velocity:
        """Differences of the pressure beside all faces, not divided by the spacing."""
        dim = len(self.spacings)
        return tuple(pressure_with_ghosts(p, i - dim, *pair).diff(dim=i - dim) for i, pair in enumerate(self.sides))

    def held(self, velocity: Velocity) -> Velocity:
        """With the prescribed values at the faces that do not move freely."""
        if self.all_open:
            return velocity
        return tuple(torch.addcmul(v, o, w) for o, w, v in zip(self.faces.open, velocity, self.faces.prescribed, strict=True))

    def potential(self, velocity: Velocity) -> Tensor:
        """φ at the centres with div(w − ∇φ) = 0, for a velocity that has the prescribed values."""
        return self._solver(-self.divergence(velocity))

    def __call__(self, velocity: Velocity) -> Velocity:
        velocity = self.held(velocity)
        return self.corrected(velocity, self.potential(velocity))

    def corrected(self, velocity: Velocity, phi: Tensor) -> Velocity:
        """w − ∇φ, with the last face of a periodic axis the first, to the bit."""
        dim, parts = len(velocity), []
        for i, (w, g, pair) in enumerate(zip(velocity, self.differences(phi), self.sides, strict=True)):
            h, slope = self.spacings[i], self._slopes[i]
            part = torch.sub(w, g, alpha=1 / h) if self.all_open else torch.addcmul(w, slope, g, value=-1)
            if isinstance(pair[0], Periodic):
                part.select(i - dim, -1).copy_(part.select(i - dim, 0))
            parts.append(part)
        return tuple(parts)

    def _require_balance(self) -> None:
        prescribed = tuple(v.detach() for v in self.faces.prescribed)
        into = self.divergence(prescribed)
        total = (into if self.fluid is None else into * self.fluid).flatten(1).sum(1)
        scale = max(float(v.abs().sum() / h) for v, h in zip(prescribed, self.spacings, strict=True))
        if bool((total.abs() > 1e-5 * scale).any()):
            raise InputError("The prescribed normal velocities let in more than they let out, or less. Make one side an Outflow.")
