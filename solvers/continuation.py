"""Steps towards a full load or through time that are halved where a solver fails."""

from collections.abc import Callable
from typing import Any

from ..errors import DivergedError


def advance_in_steps(solve: Callable[[float, float], None], state: Any, first: float = 1.0, smallest: float = 1 / 64) -> int:
    """Go from 0 to 1 by calls of ``solve(start, stop)``; a failed one is undone and tried with half the step, twice the last one else.

    Args:
        solve: advances ``state`` and raises DivergedError where it cannot.
        state: the Firedrake function that is kept at its last good value.
        first, smallest: steps; none is larger than the first.

    Returns:
        How many steps were taken.

    Raises:
        DivergedError: the smallest step fails.
    """
    before = state.copy(deepcopy=True)
    load, step, taken = 0.0, first, 0
    while load < 1:
        stop = min(1.0, load + step)
        try:
            solve(load, stop)
        except DivergedError as error:
            state.assign(before)
            step /= 2
            if step < smallest:
                raise DivergedError(f"No step of {2 * step:g} of the way could be made at {load:g} of it. {error}") from error
            continue
        load, step, taken = stop, min(2 * step, first), taken + 1
        before.assign(state)
    return taken
