"""What is optimised: named quantities with bounds, seen by an optimiser as one scaled vector."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError


class Control:
    """A quantity to be found: boundary values, jet speeds, a rotation, a force field, shape parameters.

    Args:
        name: under which the model is given it.
        initial: value to start from; its shape is the control's.
        low, high: bounds, which broadcast to that shape.
        scale: size of a typical change, broadcasts likewise. The optimiser works on value / scale, so that controls of different units
            meet on equal terms. For the dofs of a field, one over the square root of the lumped mass matrix makes the optimiser's
            inner product that of L2, and its iterations independent of the mesh.

    Raises:
        InputError: the initial value is outside of the bounds or not finite, or the scale is not positive.
    """

    def __init__(self, name: str, initial: ArrayLike, low: ArrayLike = -np.inf, high: ArrayLike = np.inf, scale: ArrayLike = 1.0):
        self.name = name
        self.initial = np.array(initial, dtype=np.float64)
        self.low, self.high, self.scale = (self._broadcast(value) for value in (low, high, scale))
        if not np.isfinite(self.initial).all() or (self.initial < self.low).any() or (self.initial > self.high).any():
            raise InputError(
                f"The initial value of control {name!r} must be finite and within its bounds, which are {low!r} and {high!r}."
            )
        if (self.scale <= 0).any():
            raise InputError(f"The scale of control {name!r} must be positive.")

    def _broadcast(self, value: ArrayLike) -> np.ndarray:
        try:
            return np.broadcast_to(np.asarray(value, dtype=np.float64), self.initial.shape)
        except ValueError as error:
            raise InputError(
                f"Bounds and scale of control {self.name!r} must broadcast to its shape {self.initial.shape}; got {np.shape(value)}."
            ) from error


class Controls:
    """Several controls as one vector ``x`` of their values by their scales.

    Raises:
        InputError: there are none.
    """

    def __init__(self, controls: Iterable[Control]):
        self._controls = {control.name: control for control in controls}
        if not self._controls:
            raise InputError("At least one control is needed.")

    def __iter__(self) -> Iterator[Control]:
        return iter(self._controls.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._controls)

    @property
    def initial(self) -> dict[str, np.ndarray]:
        return {control.name: control.initial for control in self}

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Bounds of each entry of the vector."""
        low, high = self.pack({c.name: c.low for c in self}), self.pack({c.name: c.high for c in self})
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def pack(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vector of these values.

        Raises:
            InputError: a control is missing, or has another shape.
        """
        for control in self:
            if control.name not in values or np.shape(values[control.name]) != control.initial.shape:
                raise InputError(
                    f"Control {control.name!r} of shape {control.initial.shape} is expected; got "
                    f"{ {name: np.shape(value) for name, value in values.items()} }."
                )
        return np.concatenate([(values[c.name] / c.scale).ravel() for c in self])

    def unpack(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The values of a vector."""
        ends = np.cumsum([control.initial.size for control in self])
        parts = np.split(np.asarray(x, dtype=np.float64), ends[:-1])
        return {c.name: part.reshape(c.initial.shape) * c.scale for c, part in zip(self, parts, strict=True)}

    def pack_gradient(self, gradient: Mapping[str, np.ndarray]) -> np.ndarray:
        """The derivative with respect to the vector, from those with respect to the values."""
        return np.concatenate([(np.asarray(gradient[c.name]) * c.scale).ravel() for c in self])
