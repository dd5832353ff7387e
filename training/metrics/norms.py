"""Errors in the true norms of finite-element spaces and grids, at their worst, and on their boundaries."""

from collections.abc import Iterable
from math import prod

import torch
from torch import Tensor

from ...errors import InputError
from ...fem import Space
from ...fem.space import NORMS, WHOLE_BOUNDARY
from ...fem.uniform_grid import Grid
from .metric import FieldMetric, Fields, Metric, given, over_frames, predicted


class RelativeNorm(FieldMetric):
    """‖u − v‖ / ‖v‖ in the L2, H1, H(div) or H(curl) norm, exact through the space's Gram matrices; the mean over samples and frames.

    Args:
        space: the space of the field, or its grid.
        field: its name among the outputs and in the data.
        norm: "L2", "H1", "Hdiv" or "Hcurl".

    Example:
        >>> u = torch.rand(8, 1, 17, 17)
        >>> RelativeNorm(Grid((17, 17)), "u", "H1").each({"u": 1.1 * u}, {"u": u})[0]
        tensor(0.1000)

    Raises:
        InputError: there is no such norm.
    """

    def __init__(self, space: Space | Grid, field: str, norm: str = "H1"):
        super().__init__(field)
        if norm not in NORMS:
            raise InputError(f"Unknown norm {norm!r}; choose one of {', '.join(NORMS)}.")
        self.space, self.norm = space, norm

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        return over_frames(self.frames(prediction, truth))

    def frames(self, prediction: Fields, truth: Fields) -> Tensor:
        """The relative error of every sample, and of every frame of a trajectory: ``(batch, [time])``."""
        u, v = self.pair(prediction, truth)
        return self.space.norm(u - v, self.norm) / self.space.norm(v, self.norm)


class MaximumError(FieldMetric):
    """max |u − v| over dofs or grid points, frames and samples; over the largest |v| of each sample if ``relative``."""

    reduction = "max"

    def __init__(self, field: str, relative: bool = False):
        super().__init__(field)
        self.relative = relative

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = self.pair(prediction, truth)
        error = (u - v).abs().flatten(1).amax(1)
        return error / v.abs().flatten(1).amax(1) if self.relative else error


class BoundaryError(Metric):
    """Largest distance between a field's dofs on tagged boundary parts and prescribed values, over dofs, frames and samples.

    Args:
        space: the space of both fields.
        field: the predicted field.
        data: the input field with the prescribed values, or a number.
        tags: the boundary parts.
    """

    reduction = "max"
    dofs: Tensor

    def __init__(self, space: Space, field: str, data: str | float, tags: str | Iterable[str] = WHOLE_BOUNDARY):
        super().__init__()
        self.field, self.data = field, data
        self.register_buffer("dofs", space.boundary_dofs(tags), persistent=False)

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u = predicted(prediction, self.field)[..., self.dofs]
        if not isinstance(self.data, str):
            return (u - self.data).abs().flatten(1).amax(1)
        prescribed = given(truth, self.data)[..., self.dofs]
        # Data without an axis of time are the same in all frames.
        return (u - (prescribed if prescribed.ndim == u.ndim else prescribed.unsqueeze(1))).abs().flatten(1).amax(1)


class BoundaryErrors(FieldMetric):
    """Root mean square of u − v on each part of the boundary, over that of v in the whole domain: one number for each tag.

    Args:
        space: the field's space, whose tags name the parts; or its grid, whose sides are ``x_low``, ``x_high``, ``y_low``, ...
        field: its name.
        tags: the boundary parts; all of them by default.

    Raises:
        InputError: the grid has no such side, or the space no boundary.
    """

    def __init__(self, space: Space | Grid, field: str, tags: Iterable[str] | None = None):
        super().__init__(field)
        parts = _boundary_points(space)
        self.labels = tuple(parts if tags is None else tags)
        if isinstance(space, Grid):
            if unknown := [tag for tag in self.labels if tag not in parts]:
                raise InputError(f"A grid has no side {unknown[0]!r}; its sides are {', '.join(parts)}.")
            self.axes = space.dim
        else:
            parts = {tag: space.boundary_dofs(tag) for tag in self.labels}
            self.axes = 1
        if not self.labels:
            raise InputError("There are no boundary parts on which an error could be told; leave out this metric.")
        for i, tag in enumerate(self.labels):
            self.register_buffer(f"part_{i}", parts[tag], persistent=False)

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = self.pair(prediction, truth)
        error, size = (u - v).flatten(-self.axes), over_frames(v.square()).sqrt()
        numbers = (self.get_buffer(f"part_{i}") for i in range(len(self.labels or ())))
        parts = [over_frames(error[..., part].square()).sqrt() for part in numbers]
        return torch.stack(parts, dim=1) / size[:, None]


def _boundary_points(space: Space | Grid) -> dict[str, Tensor]:
    """Numbers of the points on each part of the boundary."""
    if isinstance(space, Space):
        return {tag: space.boundary_dofs(tag) for tag in space.tags if tag != WHOLE_BOUNDARY}
    numbers = torch.arange(prod(space.shape)).reshape(space.shape)
    sides = {}
    for axis, name in zip(range(space.dim), "xyz", strict=False):
        sides |= {f"{name}_low": numbers.select(axis, 0).flatten(), f"{name}_high": numbers.select(axis, -1).flatten()}
    return sides
