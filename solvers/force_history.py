"""Forces on a body in time, and the numbers that benchmarks take from them."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class ForceHistory:
    """Coefficients of drag and lift, and the pressure difference between front and back, at equally spaced times.

    ``shedding_unit`` is D/U, the time in which the flow passes the body: the Strouhal number is a frequency times it.
    """

    times: np.ndarray
    drag: np.ndarray
    lift: np.ndarray
    pressure_difference: np.ndarray
    shedding_unit: float

    def after(self, start: float) -> "ForceHistory":
        """The part from a time on."""
        late = self.times >= start - 1e-12
        return ForceHistory(
            self.times[late], self.drag[late], self.lift[late], self.pressure_difference[late], self.shedding_unit
        )

    def strouhal_number(self) -> float:
        """D / (U T), with the mean period T between the upward crossings of the middle of the lift's range.

        Raises:
            InputError: the lift has fewer than two of them.
        """
        lift = self.lift - (self.lift.max() + self.lift.min()) / 2
        i = np.flatnonzero((lift[:-1] < 0) & (lift[1:] >= 0))
        if len(i) < 2:
            raise InputError(f"The lift swings up {len(i)} times in this history; a period needs two. Take a longer one.")
        zeros = self.times[i] + (self.times[i + 1] - self.times[i]) * lift[i] / (lift[i] - lift[i + 1])
        return float(self.shedding_unit * (len(i) - 1) / (zeros[-1] - zeros[0]))


def maximum(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The largest value and its time, from the parabola through the largest sample and its neighbours."""
    i = int(np.argmax(values))
    if i in (0, len(values) - 1):
        return float(values[i]), float(times[i])
    left, top, right = values[i - 1 : i + 2]
    curvature = left - 2 * top + right
    offset = 0.0 if curvature == 0 else (left - right) / (2 * curvature)
    return float(top + (right - left) * offset / 4), float(times[i] + offset * (times[i + 1] - times[i]))
