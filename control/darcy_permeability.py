"""The inverse problem of Darcy flow: a permeability from pressures at a few points, with noise."""

from collections.abc import Callable
from copy import copy
from math import pi

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..fem import Grid
from ..solvers.grid import Darcy
from ..solvers.grid.problems import LogNormal
from .case import ControlCase, Panels, TrainedOperator, Values
from .controls import Control
from .functional import ReducedFunctional
from .torch_functional import TorchFunctional


class DarcyObservations:
    """From modes of the log-permeability to pressures at ``sensors`` × ``sensors`` points of the unit square, nodes of the grid.

    −div(a grad u) = 1, u = 0 at the boundary; log a = Σ_k √λ_k ξ_k φ_k, ξ_k ~ N(0, 1), with the largest λ_k of the prior
    (Karhunen-Loève). The prior is :class:`~thalweg.solvers.grid.problems.LogNormal`.

    Attributes:
        field: log a with all its modes.
        pressure: from a to u, ``(batch, 1, x, y)`` both: the solver, or what takes its place.
    """

    pressure: Callable[[Tensor], Tensor]
    sensors: tuple[Tensor, ...]

    def __init__(self, cells: int, modes: int, sensors: int):
        self.field, self.pressure = LogNormal().logarithm(cells + 1), Darcy((cells + 1, cells + 1)).solve
        variances, order = self.field.eigenvalues.flatten().sort(descending=True)
        k, x = [m.flatten()[order[:modes]] for m in self.field.modes], torch.linspace(0, 1, cells + 1, dtype=torch.float64)
        cosines = [torch.where(n > 0, 2**0.5, 1.0)[:, None] * (pi * n[:, None] * x).cos() for n in k]
        self.basis = torch.einsum("k,kx,ky->kxy", variances[:modes].sqrt(), *cosines)
        at = torch.arange(1, sensors + 1) * cells // (sensors + 1)
        self.sensors = torch.meshgrid(at, at, indexing="ij")

    def refined(self) -> "DarcyObservations":
        """The same observations on a grid twice as fine, at the same points."""
        cells, modes, sensors = 2 * (len(self.basis[0]) - 1), len(self.basis), len(self.sensors[0])
        fine = DarcyObservations(cells, modes, sensors)
        fine.sensors = tuple(2 * at for at in self.sensors)
        return fine

    def log_a(self, xi: Tensor) -> Tensor:
        """``(batch, modes)`` to ``(batch, 1, x, y)``."""
        return torch.einsum("bk,kxy->bxy", xi, self.basis)[:, None]

    def observe(self, log_a: Tensor) -> Tensor:
        """Pressures at the sensors, ``(batch, sensors²)``."""
        return self.pressure(log_a.exp())[:, 0][:, *self.sensors].flatten(1)

    def posterior(self, y: Tensor, noise: float, controls: list[Control]) -> TorchFunctional:
        """−log of the posterior's density of the control "xi" given observations y with this noise, but for a constant."""

        def objective(m: dict[str, Tensor]) -> Tensor:
            misfit = self.observe(self.log_a(m["xi"][None]))[0] - y
            return 0.5 * (misfit / noise).square().sum() + 0.5 * m["xi"].square().sum()

        return TorchFunctional(objective, controls, torch.float64)


class DarcyPermeability(ControlCase):
    """The maximum a posteriori of the modes "xi" of a log-permeability, from pressures of :class:`DarcyObservations` with noise.

    The truth has all the modes of a grid twice as fine, where the observations are made. No control is the prior's mean. An operator takes
    the solver's place if it maps ``a`` to ``u`` on the same grid.

    Args:
        cells: of the grid, along each side.
        modes: of the log-permeability.
        sensors: along each side.
        noise: its standard deviation; the pressure averages 0.045.
        truth: number of the random truth.

    Raises:
        InputError: a number of cells, modes or sensors, or the noise, is out of its range.
    """

    models = ("torch", "operator")

    def __init__(self, cells: int = 32, modes: int = 40, sensors: int = 7, noise: float = 1e-3, truth: int = 0):
        if min(modes, sensors) < 1 or modes > cells**2 or sensors >= cells or noise <= 0:
            raise InputError(f"No inverse problem has cells={cells}, modes={modes}, sensors={sensors} and noise={noise}.")
        observations = DarcyObservations(cells, modes, sensors)
        self._observations, self.noise, self.shapes = {"torch": observations}, noise, {"xi": (modes,)}
        fine = observations.refined()
        log_a = fine.field.sample(seed=truth, samples=range(1), dtype=torch.float64)
        y = fine.observe(log_a)[0]
        self._y = y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(truth), dtype=y.dtype)
        self._grid, self._truth = Grid((cells + 1, cells + 1)), log_a[0, :, ::2, ::2]

    def use_operator(self, trained: TrainedOperator) -> None:
        """An operator from ``a`` to ``u``, trained on log-normal coefficients of the prior.

        Raises:
            InputError: the operator lives on another grid.
        """
        trained.require("a", "u")
        if trained.where["a"] != self._grid or trained.where["u"] != self._grid:
            raise InputError(
                f"The case lives on {self._grid.shape} points of the unit square, the operator's coefficient and pressure on "
                f"{trained.where['a']} and {trained.where['u']}. Set case.cells, or train on that grid."
            )
        observations = copy(self._observations["torch"])
        observations.pressure = lambda a: trained.operator({"a": a})["u"]
        self._observations["operator"] = observations

    def functional(self, model: str, controls: list[Control] | None = None) -> ReducedFunctional:
        return self._by(model).posterior(self._y, self.noise, self.controls() if controls is None else controls)

    def quantities(self, values: Values, model: str) -> dict[str, float]:
        log_a = self._log_a(values)
        with torch.no_grad():
            misfit = (self._by(model).observe(log_a[None])[0] - self._y).square().mean().sqrt() / self.noise
        error = self._grid.norm(log_a[None] - self._truth[None], "L2") / self._grid.norm(self._truth[None], "L2")
        objective = self.functional(model)(values)
        return {"objective": objective, "misfit by noise": misfit.item(), "error of log a": error.item()}

    def panels(self, values: Values) -> Panels:
        log_a = self._log_a(values)
        shown = {"reference log a": self._truth, "prediction log a": log_a, "error of log a": log_a - self._truth}
        return {title: (self._grid, field) for title, field in shown.items()}

    def _by(self, model: str) -> DarcyObservations:
        self.require(model)
        if model not in self._observations:
            raise InputError("There is no operator to compute the pressure by; give the folder of a training run by run=...")
        return self._observations[model]

    def _log_a(self, values: Values) -> Tensor:
        return self._observations["torch"].log_a(torch.from_numpy(np.asarray(values["xi"]))[None])[0]
