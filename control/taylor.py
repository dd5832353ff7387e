"""The Taylor test: whether a gradient is the gradient."""

from collections.abc import Mapping, Sequence

import numpy as np

from .functional import ReducedFunctional


def taylor_test(
    functional: ReducedFunctional,
    values: Mapping[str, np.ndarray],
    direction: Mapping[str, np.ndarray],
    steps: Sequence[float] = (1e-2, 5e-3, 2.5e-3, 1.25e-3),
) -> np.ndarray:
    """Rates at which |J(m + h δm) − J(m) − h dJ(m)δm| falls with h: 2 for a right gradient of a smooth J, 1 for a wrong one.

    Test at another point than the one at which a model was recorded; there, some wrong gradients are right. A J that is at most
    quadratic along the direction gives rate 2 exactly, or only rounding if it is linear: then all rates are infinite.

    Args:
        values: controls m.
        direction: δm, of a size such that m + h δm is a moderate change at the largest h.
        steps: falling values of h.

    Returns:
        The rate between each two steps.

    Example:
        >>> from thalweg.control import Control, TorchFunctional
        >>> functional = TorchFunctional(lambda c: c["m"].sin().sum(), [Control("m", 0.5)], torch.float64)
        >>> taylor_test(functional, {"m": np.array(0.5)}, {"m": np.array(1.0)}).round(1)
        array([2., 2., 2.])
    """
    J, gradient = functional.value_and_gradient(values)
    slope = sum(float(np.vdot(gradient[name], direction[name])) for name in values)
    moved = [{name: values[name] + h * direction[name] for name in values} for h in steps]
    remainders = np.array([abs(functional(m) - J - h * slope) for m, h in zip(moved, steps, strict=True)])
    rounding = 1e-13 * max(abs(J), abs(slope) * steps[0])
    if (remainders <= rounding).all():
        return np.full(len(steps) - 1, np.inf)
    return np.log(remainders[:-1] / remainders[1:]) / np.log(np.divide(steps[:-1], steps[1:]))
