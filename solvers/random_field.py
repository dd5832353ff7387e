"""Gaussian random fields drawn on a mesh: Whittle-Matérn fields as solutions of an elliptic equation with white noise.

Lindgren, Rue and Lindström (J. R. Stat. Soc. B 73, 2011): a Matérn field of smoothness ν in d dimensions solves
(κ² − Δ)^((ν + d/2)/2) u = τ W. White noise on the mesh is sampled exactly through the Cholesky factors of the cells' mass
matrices (Croci, Giles, Rognes, Farrell, SIAM/ASA J. Uncertain. Quantif. 6, 2018).
"""

from math import gamma, pi, sqrt
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem.firedrake import firedrake


class MaternField:
    """Samples of a stationary Gaussian field with Matérn covariance on a Firedrake Lagrange space.

    Natural boundary conditions raise the variance within a correlation length of the boundary, by up to a factor of two on a
    straight side. Good values: ``length`` between two cells and the size of the domain.

    Args:
        V: scalar Firedrake function space.
        length: distance at which the correlation has fallen to about 0.1.
        smoothness: ν; with it, ν + d/2 must be an even integer 2, 4, ... (in 2D: 1, 3, ...).
        deviation: standard deviation in the interior.
        mean: constant that is added.

    Raises:
        InputError: length or deviation is not positive; smoothness + dimension/2 is not 2, 4, 6, ...
    """

    def __init__(self, V: Any, length: float, smoothness: float = 1.0, deviation: float = 1.0, mean: float = 0.0):
        fd = firedrake()
        from firedrake.adjoint.covariance_operator import WhiteNoiseGenerator

        dim = V.mesh().geometric_dimension
        power = (smoothness + dim / 2) / 2
        if length <= 0 or deviation <= 0:
            raise InputError(f"A Matérn field needs a positive length and deviation, not {length} and {deviation}.")
        if power < 1 or power != int(power):
            raise InputError(
                f"smoothness {smoothness} in {dim} dimensions needs a fractional power of the operator; "
                f"choose one with smoothness + {dim}/2 = 2, 4, 6, ..."
            )
        self.V, self.power, self.mean = V, int(power), mean
        kappa = sqrt(8 * smoothness) / length
        variance = gamma(smoothness) / (gamma(smoothness + dim / 2) * (4 * pi) ** (dim / 2) * kappa ** (2 * smoothness))
        self._scale = deviation / sqrt(variance)
        u, v, dx = fd.TrialFunction(V), fd.TestFunction(V), fd.dx
        operator = fd.assemble((kappa**2 * u * v + fd.inner(fd.grad(u), fd.grad(v))) * dx)
        self._solver = fd.LinearSolver(operator, solver_parameters={"ksp_type": "preonly", "pc_type": "cholesky"})
        self._mass = fd.assemble(u * v * dx)
        self._noise = WhiteNoiseGenerator(V)

    def sample(self, rng: np.random.Generator) -> Any:
        """One field, a Firedrake ``Function``; it depends on the state of ``rng`` only."""
        fd = firedrake()
        generator = fd.RandomGenerator(fd.PCG64(seed=int(rng.integers(2**63)), comm=self.V.comm))
        white = fd.Cofunction(self.V.dual())
        self._noise.sample(rng=generator, tensor=white)
        white.assign(self._scale * white)
        field = fd.Function(self.V)
        self._solver.solve(field, white)
        for _ in range(self.power - 1):
            self._solver.solve(field, fd.assemble(fd.action(self._mass, field)))
        if self.mean:
            field += self.mean
        return field
