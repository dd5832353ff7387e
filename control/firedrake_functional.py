"""Objectives through Firedrake's solvers, differentiated by the adjoint equations that pyadjoint derives (Farrell et al., 2013)."""

import gc
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import DivergedError, InputError
from ..fem.firedrake import firedrake
from .controls import Control, Controls
from .functional import ReducedFunctional


class FiredrakeFunctional(ReducedFunctional):
    """J(m) of a Firedrake model, recorded once and replayed with its adjoint.

    Two traps. Boundary values as a control need ``solve(F == 0, ...)`` or linear solvers: with a ``NonlinearVariationalSolver`` the
    gradient is wrong. And a model that chooses its steps by the values of the controls is replayed with the steps of the recording.
    :func:`taylor_test` finds both.

    Args:
        model: solves and returns J, a number that pyadjoint has followed; it is called once, with annotation switched on.
        functions: Firedrake functions by the controls' names, as ``model`` uses them.
        controls: one for each function; of its dofs, or of those in ``dofs``.
        dofs: numbers of the dofs that a control sets, for controls that are parts of a field, such as its boundary values.

    Raises:
        InputError: controls and functions do not match.
    """

    def __init__(
        self,
        model: Callable[[], Any],
        functions: Mapping[str, Any],
        controls: list[Control],
        dofs: Mapping[str, np.ndarray] | None = None,
    ):
        adjoint = _adjoint()
        self.controls = Controls(controls)
        if set(functions) != set(self.controls.names):
            raise InputError(
                f"Functions {sorted(functions)} and controls {sorted(self.controls.names)} must have the same names."
            )
        self._functions = {name: functions[name] for name in self.controls.names}
        self._dofs = {name: np.asarray(indices) for name, indices in (dofs or {}).items()}
        for control in self.controls:
            expected = len(self._dofs[control.name]) if control.name in self._dofs else _flat(self._functions[control.name]).size
            if control.initial.size != expected:
                raise InputError(
                    f"Control {control.name!r} has {control.initial.size} entries; its function has {expected} dofs to set."
                )
        self._assign(self._functions, self.controls.initial)
        adjoint.set_working_tape(adjoint.Tape())
        adjoint.continue_annotation()
        try:
            J = model()
        finally:
            adjoint.pause_annotation()
        if not hasattr(J, "block_variable"):
            raise InputError(
                f"The model returned {J!r}, which does not depend on its controls through Firedrake. Return assemble(...)."
            )
        self._reduced = adjoint.ReducedFunctional(J, [adjoint.Control(f) for f in self._functions.values()])

    def value_and_gradient(self, values: Mapping[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        J = self(values)
        derivatives = self._reduced.derivative()
        gradient = {}
        for control, derivative in zip(self.controls, derivatives, strict=True):
            flat = _flat(derivative)
            part = flat[self._dofs[control.name]] if control.name in self._dofs else flat
            gradient[control.name] = part.reshape(control.initial.shape).copy()
        # Cycles of Python objects keep PETSc's alive, which only this frees.
        gc.collect()
        firedrake().PETSc.garbage_cleanup(firedrake().COMM_WORLD)
        return J, gradient

    def __call__(self, values: Mapping[str, np.ndarray]) -> float:
        fd = firedrake()
        copies = {name: function.copy(deepcopy=True) for name, function in self._functions.items()}
        self._assign(copies, values)
        try:
            J = float(self._reduced(list(copies.values())))
        except fd.ConvergenceError as error:
            raise DivergedError(f"The model's solver diverged ({error}). Bound the controls more tightly.") from error
        if not np.isfinite(J):
            raise DivergedError(f"The objective became {J}. Bound the controls more tightly.")
        return J

    def _assign(self, functions: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> None:
        for name, function in functions.items():
            flat = _flat(function).copy()
            flat[self._dofs.get(name, slice(None))] = np.ravel(values[name])
            function.dat.data_wo[...] = flat.reshape(function.dat.data_ro.shape)


def _adjoint() -> Any:
    """The module; ``firedrake.adjoint`` as an attribute is a function."""
    firedrake()
    return import_module("firedrake.adjoint")


def _flat(function: Any) -> np.ndarray:
    return np.asarray(function.dat.data_ro).reshape(-1)
