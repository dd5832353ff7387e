"""A compiled form as a torch module: batches of fields in, batches of residuals out, with derivatives of every order torch has."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from .kernel import Kernel


@dataclass(frozen=True)
class Argument:
    """A field or a constant that a form depends on, or its test function.

    ``spaces`` are the names of the exported spaces, several for a mixed function; a constant has none. A field is a tensor
    ``(..., num_dofs)``, a constant one of ``(..., *shape)``.
    """

    name: str
    spaces: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def is_field(self) -> bool:
        return bool(self.spaces)

    def __str__(self) -> str:
        if self.is_field:
            return f"{self.name} (field in {' × '.join(self.spaces)}, shape (..., {self.shape[0]}))"
        axes = ", ".join(map(str, ("...", *self.shape)))
        return f"{self.name} (constant, shape ({axes}))"


class Residual(nn.Module):
    """The assembled form as a function of its coefficients and constants, which are passed by name.

    ``F(u=u, kappa=kappa)`` takes fields ``(..., dofs)`` and constants ``(..., *shape)``, whose leading axes are batch axes and broadcast
    against each other, and returns ``(..., dofs)`` for a form with a test function, ``(...)`` for a functional. A mixed function is
    one tensor of its subspaces' dofs, one after the other, and so is the residual of a mixed test function. A number may stand for a
    scalar constant. Everything is differentiable with respect to every argument, forwards and backwards.

    Raises:
        InputError: an argument is missing, unknown, or has the wrong shape or dtype.
    """

    def __init__(
        self, arguments: Sequence[Argument], test: Argument | None, kernels: Sequence[Kernel], arrays: Mapping[str, np.ndarray]
    ):
        super().__init__()
        self.arguments = {argument.name: argument for argument in arguments}
        self.test = test
        self.kernels = tuple(kernels)
        self.names = {name: f"_{name}" for name in arrays}
        for name, array in arrays.items():
            self.register_buffer(self.names[name], torch.from_numpy(array.copy()), persistent=False)
        self.register_buffer("_dtype", torch.zeros((), dtype=torch.float64), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the geometry and the tables, and so of the fields; change it with ``.to``."""
        return self.get_buffer("_dtype").dtype

    @property
    def device(self) -> torch.device:
        """Where the geometry and the tables are, and so the fields must be; change it with ``.to``."""
        return self.get_buffer("_dtype").device

    def forward(self, **values: Tensor | float) -> Tensor:
        fields, constants, batch_shape = self.columns(values)
        rows = self.test.shape[0] if self.test else 1
        result = self.get_buffer("_dtype").new_zeros(rows, math.prod(batch_shape))
        for kernel in self.kernels:
            result = kernel(fields, constants, self.array, result)
        return result.T.reshape(*batch_shape, rows) if self.test else result.reshape(batch_shape)

    def columns(self, values: Mapping[str, Tensor | float]) -> tuple[dict[str, Tensor], dict[str, Tensor], torch.Size]:
        """Fields ``(dofs, batch or 1)`` and constants ``(components, batch or 1)`` as the kernels take them, and the batch axes.

        Raises:
            InputError: the leading axes do not broadcast against each other.
        """
        tensors = self._checked(values)
        batch_shapes = {name: t.shape[: t.ndim - len(self.arguments[name].shape)] for name, t in tensors.items()}
        try:
            batch_shape = torch.broadcast_shapes(*batch_shapes.values())
        except RuntimeError as error:
            listed = ", ".join(f"{name}: {tuple(shape)}" for name, shape in batch_shapes.items())
            raise InputError(
                f"The leading axes of the arguments do not broadcast against each other: {listed}. Give every field and "
                "constant the same batch axes, or none."
            ) from error
        columns = {name: self._columns(name, t, batch_shapes[name], batch_shape) for name, t in tensors.items()}
        fields = {name: t for name, t in columns.items() if self.arguments[name].is_field}
        constants = {name: t for name, t in columns.items() if not self.arguments[name].is_field}
        return fields, constants, batch_shape

    def array(self, name: str) -> Tensor:
        """A table, a map or a piece of geometry, by the name that the kernels use."""
        return self.get_buffer(self.names[name])

    def _columns(self, name: str, value: Tensor, own: torch.Size, batch: torch.Size) -> Tensor:
        """``(components, batch or 1)``: the batch innermost, so that a gather copies whole rows."""
        size = math.prod(self.arguments[name].shape)
        if math.prod(own) == 1:
            return value.reshape(size, 1)
        return value.expand(*batch, *self.arguments[name].shape).reshape(-1, size).T.contiguous()

    def _checked(self, values: Mapping[str, Tensor | float]) -> dict[str, Tensor]:
        expected = "The form depends on " + ("; ".join(map(str, self.arguments.values())) or "nothing") + "."
        if unknown := [name for name in values if name not in self.arguments]:
            raise InputError(f"The form has no argument {', '.join(map(repr, unknown))}. {expected}")
        if missing := [name for name in self.arguments if name not in values]:
            raise InputError(f"No value was given for {', '.join(map(repr, missing))}. {expected} Pass each by its name.")
        tensors = {}
        for name, argument in self.arguments.items():
            value, rank = values[name], len(argument.shape)
            if not isinstance(value, Tensor):
                if rank or not isinstance(value, int | float):
                    raise InputError(f"{name!r} must be a tensor, but a {type(value).__name__} was given. {expected}")
                value = self.get_buffer("_dtype").new_full((), float(value))
            if value.shape[value.ndim - rank :] != argument.shape or value.ndim < rank:
                raise InputError(f"{name!r} has shape {tuple(value.shape)}, which does not end in {argument.shape}. {expected}")
            if value.dtype != self.dtype:
                raise InputError(
                    f"{name!r} is {value.dtype}, but the form is held in {self.dtype}. Convert the one with "
                    f"`{name}.to({self.dtype})` or the other with `.to({value.dtype})`."
                )
            if value.device != self.get_buffer("_dtype").device:
                here = self.get_buffer("_dtype").device
                raise InputError(f"{name!r} is on {value.device}, but the form is on {here}. Move one of them with `.to(...)`.")
            tensors[name] = value
        return tensors

    def extra_repr(self) -> str:
        kind = f"residual in {' × '.join(self.test.spaces)}" if self.test else "functional"
        return f"{kind} of {', '.join(map(str, self.arguments.values()))}; {len(self.kernels)} kernels"
