"""How incompressible flow is advanced in time: what all schemes have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import InputError

#: Called with a time, sets the function that holds the boundary values.
Boundary = Callable[[float], None]

#: Makes Dirichlet conditions of velocities, a component of a mixed space, from a function in V that holds their values.
Conditions = Callable[[Any, Any], list[Any]]


def unchanged(_: float) -> None:
    """Boundary values that are constant in time."""


class FlowScheme(ABC):
    """A scheme for u_t + (u·∇)u − ν Δu + ∇p = 0, ∇·u = 0 in a Taylor-Hood space.

    Schemes are made as ``Scheme(Z, viscosity, conditions, boundary_values, closed=False)``: with the space of (u, p), ν as a ``Constant``,
    the Dirichlet conditions and the function in V that holds their values; ``closed`` if those are the whole boundary's, so that the
    pressure has no level.

    Attributes:
        z, rate: the current state (u, p) and the time derivative of u that belongs to it.
        nonlinear_solver: of an implicit step; None where steps are linear.
    """

    z: Any
    rate: Any
    nonlinear_solver: Any = None

    @abstractmethod
    def march(
        self, u: Any, start: float, dt: float, steps: int, boundary: Boundary = unchanged, limit: float = np.inf
    ) -> Iterator[float]:
        """Advance from velocity ``u`` at time ``start``; yields the time after each step, when ``z`` and ``rate`` hold that state.

        Args:
            boundary: called before a step with the times whose values it needs, the last one at last.
            limit: of the velocity's components, beyond which it has blown up.

        Raises:
            DivergedError: a step failed or the velocity blew up; the message names the time.
        """

    def step(self, before: Any, t: float, dt: float, boundary: Boundary = unchanged, guess: Any = None, rate: Any = None) -> None:
        """One step from the velocity ``before`` to time ``t``, after which ``z`` and ``rate`` hold the state.

        Args:
            guess: of the velocity after the step; by default Newton's method begins at rest.
            rate: the time derivative before the step, if it is known, of use to what lies between.

        Raises:
            InputError: the steps of this scheme are linear.
            DivergedError: Newton's method does not converge.
        """
        raise InputError(
            f"{type(self).__name__} solves one linear system a step and iterates no further, so that a guess saves nothing. Generate "
            "and train with steps that are solved by Newton's method: problem.scheme._target_=thalweg.solvers.RadauIIA"
        )
