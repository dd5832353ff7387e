"""Random fields of the grid solvers on finite-element spaces: one (seed, sample) makes the same function for both."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..fem.firedrake import firedrake
from .grid import GaussianField


def seed_and_sample(rng: np.random.Generator) -> tuple[int, int]:
    """Two words that number a random function: those of ``default_rng(SeedSequence((seed, sample)))``, else the next two it draws.

    So a data set made of finite-element solutions has the random functions of the grid data set with its seed. A generator that has been
    drawn from is as good as any other.
    """
    bits, seed = rng.bit_generator, rng.bit_generator.seed_seq
    entropy = seed.entropy if isinstance(seed, np.random.SeedSequence) else None
    fresh = isinstance(bits, np.random.PCG64) and entropy and bits.state == np.random.PCG64(np.random.SeedSequence(entropy)).state
    first, second = (int(word) for word in rng.integers(2**32, size=2))
    if fresh and isinstance(entropy, tuple | list) and len(entropy) == 2 and max(entropy) < 2**32:
        return int(entropy[0]), int(entropy[1])
    return first, second


def node_points(V: Any) -> np.ndarray:
    """Where the degrees of freedom of a Lagrange space are: coordinates ``(nodes, dim)``."""
    import finat.ufl

    fd = firedrake()
    mesh, element = V.mesh(), V.ufl_element()
    if isinstance(element, finat.ufl.VectorElement):
        element = element.sub_elements[0]
    points = fd.Function(fd.VectorFunctionSpace(mesh, element)).interpolate(fd.SpatialCoordinate(mesh))
    return points.dat.data_ro.reshape(-1, mesh.geometric_dimension).copy()


class SpectralField:
    """Samples of a :class:`GaussianField` on a Firedrake Lagrange space, a scalar one or one of vectors with independent components.

    Args:
        V: the space, on a mesh inside the field's box.
        field: the Gaussian field.
        origin: the lowest corner of the box.
        transform: a function of the values, such as ``np.exp``.
    """

    def __init__(
        self,
        V: Any,
        field: GaussianField,
        origin: tuple[float, ...] | None = None,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.V, self.field, self.transform = V, field, transform
        self._points = torch.from_numpy(node_points(V) - np.asarray(origin if origin is not None else 0.0))

    def sample(self, rng: np.random.Generator) -> Any:
        """One field, a Firedrake ``Function``."""
        return self.numbered(*seed_and_sample(rng))

    def numbered(self, seed: int, sample: int) -> Any:
        """The field that the grid solvers draw for this seed and sample number."""
        function = firedrake().Function(self.V)
        values = [
            self.field.evaluate(self._points, seed, [sample], stream=component)[0].numpy()
            for component in range(self.V.block_size)
        ]
        stacked = np.stack(values, axis=-1).reshape(function.dat.data_ro.shape)
        function.dat.data_wo[...] = self.transform(stacked) if self.transform else stacked
        return function
