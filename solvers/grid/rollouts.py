"""Advancing a state from frame to frame, with a check at each, and with segments of steps recomputed for gradients instead of stored."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...errors import InputError

State = tuple[Tensor, ...]


def uniform_intervals(interval: float, frames: int) -> list[float]:
    """As many equal intervals as frames after the first.

    Raises:
        InputError: an interval that is not positive, or no frame.
    """
    if not interval > 0 or frames < 1:
        raise InputError(f"Expected a positive interval and a frame or more; got {interval} and {frames}.")
    return [interval] * frames


def intervals_between(times: Sequence[float]) -> list[float]:
    """The intervals between increasing times.

    Raises:
        InputError: fewer than two times, or times that do not increase.
    """
    # Rounded, so that intervals that are meant to be equal are.
    intervals = [float(f"{end - start:.12g}") for start, end in pairwise(times)]
    if not intervals or not all(interval > 0 for interval in intervals):
        raise InputError(f"Frames need two or more increasing times; got {list(times)}.")
    return intervals


def rollout(
    stepper: Callable[[float], Callable[[State], State]],
    state: State,
    intervals: Sequence[float],
    *,
    dt: float,
    segment: int | None = None,
    check: Callable[[State, float], None],
) -> list[State]:
    """The state now and after each interval.

    Args:
        stepper: gives the step of a length; asked once for each length.
        intervals: between frames; each takes equal steps, the fewest that are no longer than ``dt``.
        segment: with gradients, only every so-manieth state is stored, and the steps between are taken again on the way back
            (``torch.utils.checkpoint``): memory for ``steps / segment`` states and the inside of ``segment`` steps, for one
            more forward pass. A good value is the root of the number of steps. Without it, the inside of every step is stored.
        check: called with each frame but the last and the length of the steps that follow; raises what is wrong.

    Raises:
        InputError: a ``dt`` or a segment that is not positive.
    """
    if not dt > 0 or (segment is not None and segment < 1):
        raise InputError(f"Expected a positive dt and segments of a step or more; got {dt} and {segment}.")
    steppers: dict[float, Callable[[State], State]] = {}
    frames = [state]
    for interval in intervals:
        steps = ceil(interval / dt * (1 - 1e-12))
        h = interval / steps
        if h not in steppers:
            steppers[h] = stepper(h)
        check(state, h)
        state = _advanced(steppers[h], state, steps, segment)
        frames.append(state)
    return frames


def _advanced(step: Callable[[State], State], state: State, steps: int, segment: int | None) -> State:
    def several(count: int, *state: Tensor) -> State:
        for _ in range(count):
            state = step(state)
        return state

    if segment is None:
        return several(steps, *state)
    for first in range(0, steps, segment):
        state = checkpoint(several, min(segment, steps - first), *state, use_reentrant=False, preserve_rng_state=False)
    return state
