"""What scalar elliptic problems with a random source and random boundary values share."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem.firedrake import firedrake
from .domains import domain
from .problem import Problem, lagrange_hierarchy, markers
from .random_field import MaternField


class DirichletProblem(Problem):
    """Source ``f`` and boundary values ``g`` to solution ``u``, all in ``V``, Lagrange elements of the given degree.

    Both inputs are Matérn fields drawn on the mesh; the dofs of g away from the tagged parts are zero. A subclass makes its solver from
    the functions ``_f``, ``_g``, ``_u`` and the condition ``_bc`` that u = g on the tagged parts.

    Raises:
        InputError: no tag, or one that the mesh does not have.
    """

    inputs = ("f", "g")
    outputs = ("u",)

    def __init__(
        self,
        mesh: Any,
        dirichlet: Iterable[str],
        degree: int,
        refinements: int,
        source: Mapping[str, float],
        boundary: Mapping[str, float] | None,
    ):
        fd = firedrake()
        self.dirichlet = tuple(dirichlet)
        if not self.dirichlet:
            raise InputError(
                "Without a Dirichlet condition there is no solution unless the source has mean zero. Name at least one tag."
            )
        meshes = domain(mesh, refinements)
        self.spaces, self.transfers = lagrange_hierarchy(meshes, degree)
        self.fields = dict.fromkeys(("f", "g", "u"), "V")
        V = self.spaces["V"]
        self._f, self._g, self._u = (fd.Function(V, name=name) for name in ("f", "g", "u"))
        self._bc = fd.DirichletBC(V, self._g, markers(meshes[-1], self.dirichlet))
        self._source = MaternField(V, **source)
        self._boundary = MaternField(V, **(boundary or {"length": 0.6}))
        self._interior = np.setdiff1d(np.arange(V.node_count), self._bc.nodes)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        f, g = self._source.sample(rng), self._boundary.sample(rng)
        g.dat.data_wo[self._interior] = 0
        return {"f": f, "g": g}

    def _set_inputs(self, inputs: Mapping[str, Any], part: float = 1.0) -> None:
        self._f.assign(part * inputs["f"])
        self._g.assign(part * inputs["g"])
