"""Incompressible flow in time by third-order backward differences with extrapolated convection, and the adjoint of a step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import splu

from ..fem.firedrake import firedrake
from .navier_stokes import convection, measure, stokes


class SBDF3:
    """u_t + (u·∇)u − ν Δu + ∇p = 0, ∇·u = 0 by SBDF3 (Ascher, Ruuth and Wetton, SIAM J. Numer. Anal. 32, 1995):

        (11/6 uⁿ⁺¹ − 3 uⁿ + 3/2 uⁿ⁻¹ − 1/3 uⁿ⁻²) / dt − ν Δuⁿ⁺¹ + ∇pⁿ⁺¹ = −(w·∇)w,   w = 3uⁿ − 3uⁿ⁻¹ + uⁿ⁻²,   ∇·uⁿ⁺¹ = 0.

    The matrix is factorised once. Unlike BDF2's, its region of stability holds a part of the imaginary axis, so convection without
    much viscosity allows larger steps. States are vectors of dofs: velocities ``(dofs of V,)``, newest first, and (u, p) ``(dofs of Z,)``.

    Args:
        Z: Taylor-Hood space of (u, p).
        viscosity: ν.
        dt: time step.
        fixed: numbers of the velocity's dofs with prescribed values.
    """

    #: Weights of the velocities at n + 1, n, n − 1, n − 2 in dt times the time derivative, and of the last three in w.
    rate = (11 / 6, -3.0, 3 / 2, -1 / 3)
    extrapolation = (3.0, -3.0, 1.0)

    def __init__(self, Z: Any, viscosity: float, dt: float, fixed: np.ndarray):
        # Not public in Firedrake: assembles again without analysing the form again.
        from firedrake.assemble import get_assembler

        fd = firedrake()
        V = Z.sub(0).collapse()
        (u, p), (v, q), dx = fd.TrialFunctions(Z), fd.TestFunctions(Z), measure(Z)
        A: Any = _matrix(self.rate[0] / dt * fd.inner(u, v) * dx + stokes(u, p, v, q, viscosity) * dx)
        u, v = fd.TrialFunction(V), fd.TestFunction(V)
        self._mass = _matrix(fd.inner(u, v) * dx) / dt
        self._size, self.dt, self.fixed = V.dof_count, dt, fixed
        self._free = np.setdiff1d(np.arange(A.shape[0]), fixed)
        self._lifting = A[self._free][:, fixed]
        self._lu = splu(A[self._free][:, self._free].tocsc())
        self._w, self._adjoint = fd.Function(V), fd.Function(V)
        self._transport = get_assembler(fd.inner(convection(self._w), v) * dx)
        self._pulled = get_assembler(fd.derivative(fd.inner(convection(self._w), self._adjoint) * dx, self._w))

    def step(self, states: Sequence[np.ndarray], boundary: np.ndarray) -> np.ndarray:
        """(u, p) after the next step, with these values at the fixed dofs."""
        b = np.zeros(len(self._free) + len(self.fixed))
        _write(self._w, combined(self.extrapolation, states))
        b[: self._size] = -self._mass @ combined(self.rate[1:], states) - _read(self._transport.assemble())
        z = np.empty_like(b)
        z[self.fixed] = boundary
        z[self._free] = self._lu.solve(b[self._free] - self._lifting @ boundary)
        return z

    def adjoint(self, states: Sequence[np.ndarray], r: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Derivatives of a number with respect to a step's boundary values and its states, from that with respect to its (u, p)."""
        inside = self._lu.solve(r[self._free], trans="T")
        multiplier = np.zeros_like(r)
        multiplier[self._free] = inside
        multiplier = multiplier[: self._size]
        _write(self._w, combined(self.extrapolation, states))
        _write(self._adjoint, multiplier)
        inertia, transport = self._mass.T @ multiplier, _read(self._pulled.assemble())
        before = [-(a * inertia + e * transport) for a, e in zip(self.rate[1:], self.extrapolation, strict=True)]
        return r[self.fixed] - self._lifting.T @ inside, before


def combined(weights: Sequence[float], states: Sequence[np.ndarray]) -> np.ndarray:
    """Σ a_k u_k."""
    return sum((a * u for a, u in zip(weights, states, strict=True)), np.zeros_like(states[0]))


def _matrix(form: Any) -> scipy.sparse.csr_matrix:
    A = firedrake().assemble(form, mat_type="aij").petscmat
    indptr, indices, data = A.getValuesCSR()
    return scipy.sparse.csr_matrix((data, indices, indptr), shape=A.getSize())


def _write(function: Any, dofs: np.ndarray) -> None:
    function.dat.data_wo[...] = dofs.reshape(function.dat.data_ro.shape)


def _read(function: Any) -> np.ndarray:
    return np.asarray(function.dat.data_ro).ravel()
