"""The cells or facets that an integral runs over, and what TSFC's kernels are told of them. Needs Firedrake."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import InputError

#: Measures that have a batched counterpart, by UFL's name.
MEASURES = {"cell": "dx", "exterior_facet": "ds", "interior_facet": "dS"}


def entities(mesh: Any, integral_type: str, subdomain: Any, marked: tuple[int, ...], data: Any) -> np.ndarray:
    """Numbers of the cells or facets of a subdomain. ``marked`` are the ids that "otherwise" leaves out.

    Raises:
        InputError: the mesh has no such subdomain.
    """
    if data is not None:
        return np.asarray(data.indices)
    if not isinstance(subdomain, str) and subdomain not in (known := _known_tags(mesh, integral_type)):
        measure = MEASURES[integral_type]
        raise InputError(
            f"The form integrates over {measure}({subdomain}), but the mesh has no such tag. "
            f"It has {', '.join(map(str, known)) or 'none'} for {measure}."
        )
    subset = mesh.topology.measure_set(integral_type, subdomain, {integral_type: marked} if marked else None)
    indices = getattr(subset, "indices", None)
    return np.arange(subset.size) if indices is None else np.array(indices)


def _known_tags(mesh: Any, integral_type: str) -> Sequence[int]:
    if integral_type == "cell":
        label = "Cell Sets"
        dm = mesh.topology.topology_dm
        return list(dm.getLabelIdIS(label).indices) if dm.hasLabel(label) else []
    facets = mesh.exterior_facets if integral_type == "exterior_facet" else mesh.interior_facets
    return [int(marker) for marker in facets.unique_markers]


def node_map(V: Any, integral_type: str) -> np.ndarray:
    """Nodes of every cell or facet ``(entities, nodes)``; for interior facets those of the two cells, one after the other."""
    maps = {"cell": "cell_node_map", "exterior_facet": "exterior_facet_node_map", "interior_facet": "interior_facet_node_map"}
    return np.asarray(getattr(V, maps[integral_type])().values, dtype=np.int64)


class Bindings(dict):
    """Values of the variables in a kernel by TSFC's names, each ``(entities, size)``, read from the mesh when first asked for."""

    def __init__(self, mesh: Any, integral_type: str, which: np.ndarray):
        super().__init__()
        self.mesh, self.integral_type, self.which = mesh, integral_type, which

    def __missing__(self, name: str) -> np.ndarray:
        self[name] = self._read(name)
        return self[name]

    @property
    def sides(self) -> int:
        return 2 if self.integral_type == "interior_facet" else 1

    def restricted(self, which: np.ndarray) -> "Bindings":
        """The same for some of the entities only."""
        return Bindings(self.mesh, self.integral_type, self.which[which])

    def sorted(self) -> "Bindings":
        """The same in an order in which facets of one number in their first cell follow one another."""
        if self.integral_type == "cell":
            return self
        return self.restricted(np.argsort(self["facet_0"][:, 0], kind="stable"))

    def _read(self, name: str) -> np.ndarray:
        mesh = self.mesh
        match name:
            case "coords_0":
                return self._nodal(mesh.coordinates)
            case "cell_sizes_0":
                return self._nodal(mesh.cell_sizes)
            case "cell_orientations_0":
                return self._nodal(mesh.cell_orientations()).astype(np.int64)
            case "facet_0":
                return self._rows(self._facets.local_facet_dat)
            case "entity_orientations_0" if self.integral_type == "cell":
                return self._rows(mesh.local_cell_orientation_dat)
            case "entity_orientations_0":
                return self._rows(self._facets.local_facet_orientation_dat)
        raise InputError(f"The form needs {name!r}, which cannot be exported.")

    @property
    def _facets(self) -> Any:
        return self.mesh.exterior_facets if self.integral_type == "exterior_facet" else self.mesh.interior_facets

    def _nodal(self, function: Any) -> np.ndarray:
        V = function.function_space()
        nodes = node_map(V, self.integral_type)[self.which]
        return function.dat.data_ro.reshape(V.node_count, -1)[nodes].reshape(len(self.which), -1)

    def _rows(self, dat: Any) -> np.ndarray:
        values = np.asarray(dat.data_ro_with_halos)
        return values.reshape(len(values), -1)[self.which].astype(np.int64)
