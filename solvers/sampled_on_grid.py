"""Problems that Firedrake solves on a box as problems on a uniform grid, for operators that know grids only."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..fem import grid_evaluation
from ..fem.firedrake import firedrake
from ..fem.grid import bounding_box
from ..fem.uniform_grid import Grid
from .grid.problem import GridProblem
from .problem import Problem


class SampledOnGrid(GridProblem):
    """The fields of a problem on a mesh of a box, ``(batch, component, x, y[, z])`` at the points of a uniform grid of its vertices.

    Inputs are drawn and solutions found in the problem's own spaces, sample by sample; what is stored are values of these finite-element
    functions at points. Sample i is that of the problem's own data set with the same seed.

    Args:
        problem: on a mesh that fills a box with its lowest corner at the origin.
        points: of the grid along each axis, those on the sides included.
        outputs: for each output that is stored, which of its components; all outputs by default.
        displacement: the input field that displaces the box into the true domain. It is stored as the displaced points ``x``, which
            is how published data describe a geometry.

    Raises:
        InputError: the mesh fills no such box, a field or component is unknown, the displacement is no input.
    """

    def __init__(
        self,
        problem: Problem,
        points: Sequence[int],
        outputs: Mapping[str, Sequence[int]] | None = None,
        displacement: str | None = None,
    ):
        self.problem, self.displacement = problem, displacement
        if unknown := {*(outputs or {})} - {*problem.outputs}:
            raise InputError(f"There is no output {min(unknown)!r}; the problem's outputs are {', '.join(problem.outputs)}.")
        if displacement is not None and displacement not in problem.inputs:
            raise InputError(f"There is no input {displacement!r}; the problem's inputs are {', '.join(problem.inputs)}.")
        self.outputs = tuple(outputs or problem.outputs)
        self.inputs = tuple("x" if name == displacement else name for name in problem.inputs)
        disc = problem.export()
        low, high = bounding_box(disc[problem.fields[self.outputs[0]]])
        if not np.allclose(low, 0):
            raise InputError(f"The lowest corner of the mesh is {low}; a grid begins at the origin. Move the mesh.")
        self.grid = Grid(tuple(points), tuple(float(length) for length in high))
        self._at_points = {}
        for name in (*problem.inputs, *self.outputs):
            space = disc[problem.fields[name]]
            matrix, inside = grid_evaluation(space, points)
            if not inside.all():
                raise InputError(
                    "Some points of the grid lie outside the mesh; only meshes of a whole box can be sampled on a grid."
                )
            size = space.element.block_size
            kept = list((outputs or {}).get(name, range(size)))
            if not kept or min(kept) < 0 or max(kept) >= size:
                raise InputError(f"The field {name!r} has components 0 to {size - 1}, not {kept}.")
            self._at_points[name] = matrix.to_scipy().astype(np.float64), size, kept

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        drawn = [self.problem.sample_inputs(seed, sample) for sample in samples]
        return {name: torch.stack([_dofs(inputs[name]) for inputs in drawn]) for name in self.problem.inputs}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows: dict[str, list[Tensor]] = {name: [] for name in self.outputs}
        for i in range(len(next(iter(inputs.values())))):
            solution = self.problem.solve({name: self._function(name, inputs[name][i]) for name in self.problem.inputs})
            for name, found in rows.items():
                found.append(_dofs(solution[name]))
        return {name: self._sampled(name, torch.stack(found)) for name, found in rows.items()}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        fields = {name: self._sampled(name, values) for name, values in inputs.items()}
        if self.displacement is not None:
            fields["x"] = fields.pop(self.displacement) + self.grid.coordinates(torch.float64)
        return fields

    def _sampled(self, name: str, dofs: Tensor) -> Tensor:
        matrix, size, kept = self._at_points[name]
        values = torch.from_numpy((matrix @ dofs.double().numpy().T).T.copy())
        return values.view(len(dofs), size, *self.grid.shape)[:, kept]

    def _function(self, name: str, dofs: Tensor) -> Any:
        made: Any = firedrake().Function(self.problem.spaces[self.problem.fields[name]], name=name)
        made.dat.data_wo[...] = dofs.double().numpy().reshape(made.dat.data_ro.shape)
        return made


def _dofs(function: Any) -> Tensor:
    return torch.from_numpy(np.array(function.dat.data_ro, dtype=np.float64).ravel())
