"""What a problem is: its spaces, its weak form, its random inputs and its reference solution, in one class."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import DivergedError, InputError
from ..fem import Discretization, boundary_tags, export
from ..fem.firedrake import firedrake
from ..random_numbers import sample_rng
from .interruption import finished_first


class Problem(ABC):
    """A PDE with random inputs, solved by Firedrake. One definition serves data generation, physics losses and evaluation.

    A subclass sets the attributes below and implements :meth:`random_inputs` and :meth:`solve`. Building the solver object is done once,
    in its ``__init__``; ``solve`` only assigns inputs and solves.

    Attributes:
        spaces: Firedrake function spaces by the names under which they are exported.
        transfers: pairs of those names between which interpolation is exported.
        derivatives: pairs of those names for which the gradient, curl or divergence is exported.
        products: pairs of those names for which L2 products, or the weak divergence, are exported.
        fields: the space of each field, inputs and outputs alike.
        inputs, outputs: names of the fields an operator is given, and of those it predicts.
        residual: the weak form as a UFL one-form in functions and constants named as the fields.
        dirichlet: tags of the boundary parts where values are prescribed.
        forms: further forms and functionals that are exported, such as an energy, by name.
        nonlinear_solver: the Firedrake solver whose Newton iterations :meth:`solve_from` saves; None if the problem is linear.
    """

    spaces: dict[str, Any]
    transfers: list[tuple[str, str]]
    derivatives: tuple[tuple[str, str], ...] = ()
    products: tuple[tuple[str, str], ...] = ()
    fields: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    residual: Any
    dirichlet: tuple[str, ...] = ()
    forms: Mapping[str, Any] = MappingProxyType({})
    nonlinear_solver: Any = None

    @abstractmethod
    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw the input fields, Firedrake functions, from the state of ``rng`` alone."""

    def sample_inputs(self, seed: int, sample: int, attempt: int = 0) -> dict[str, Any]:
        """The input fields of a numbered sample of a data set; a problem that spreads its samples evenly overrides it.

        Args:
            attempt: counts the draws of this sample whose solve failed.
        """
        return self.random_inputs(sample_rng(seed, sample, attempt))

    @abstractmethod
    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The output fields for given input functions.

        Raises:
            DivergedError: the solver did not converge; the message carries PETSc's reason.
        """

    def solve_from(self, inputs: Mapping[str, Any], guess: Mapping[str, Any]) -> dict[str, Any]:
        """The output fields, solved to the same tolerance, but from a guess of them, such as an operator's prediction.

        Raises:
            InputError: the problem is linear: its direct solver takes one step from anywhere.
            DivergedError: Newton's method does not converge from there.
        """
        raise InputError(f"{type(self).__name__} is solved directly, in one step; a guess saves nothing.")

    def step_from(
        self, inputs: Mapping[str, Any], state: Mapping[str, Any], guess: Mapping[str, Any], time: float
    ) -> dict[str, Any]:
        """The outputs one frame after their ``state`` at ``time``, an implicit step that is solved to tolerance from a guess of them.

        Args:
            guess: without outputs, the solver begins at rest.

        Raises:
            InputError: the problem has no such steps.
            DivergedError: Newton's method does not converge from there.
        """
        raise InputError(f"{type(self).__name__} has no time step that a guess could begin; leave out refine=true.")

    def export(self) -> Discretization:
        """The discretization that operators of this problem live in, with the weak form as ``disc.form("residual")``."""
        forms = {"residual": self.residual, **self.forms}
        return export(self.spaces, self.transfers, self.derivatives, self.products, forms=forms)


def lagrange_hierarchy(meshes: list[Any], degree: int, components: int = 1) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Spaces for a multigrid cycle on a hierarchy of meshes, coarse to fine.

    ``V`` has the given degree on the finest mesh; ``V1``, ``V2``, ... are the coarser spaces: linear elements on the finest mesh if
    ``degree`` > 1, then on each coarser mesh. With several ``components`` they are spaces of vectors. Returned with the transfers from
    each space to the next finer one.
    """
    fd = firedrake()

    def space(mesh: Any, degree: int) -> Any:
        if components == 1:
            return fd.FunctionSpace(mesh, "Lagrange", degree)
        return fd.VectorFunctionSpace(mesh, "Lagrange", degree, dim=components)

    spaces = [space(meshes[-1], degree)]
    if degree > 1:
        spaces.append(space(meshes[-1], 1))
    spaces.extend(space(mesh, 1) for mesh in reversed(meshes[:-1]))
    names = ["V"] + [f"V{i}" for i in range(1, len(spaces))]
    return dict(zip(names, spaces, strict=True)), list(zip(names[1:], names, strict=False))


def markers(mesh: Any, tags: Iterable[str]) -> tuple[int, ...]:
    """Firedrake's integer markers of named boundary parts.

    Raises:
        InputError: the mesh has no such tag; the message lists those it has.
    """
    known = boundary_tags(mesh)
    if unknown := [tag for tag in tags if tag not in known]:
        raise InputError(
            f"The mesh has no boundary tag {', '.join(map(repr, unknown))}; it has {', '.join(map(repr, known))}. "
            "Correct the tags in the problem's configuration, or name the boundaries in the mesh file."
        )
    return tuple(known[tag] for tag in tags)


def resolve_mesh(path: str) -> Path:
    """A mesh file by its path, or by the name of one of those that come with thalweg."""
    shipped = Path(__file__).resolve().parent.parent / "data" / "meshes" / path
    return shipped if shipped.is_file() and not Path(path).is_file() else Path(path)


def solve_or_explain(solver: Any, what: str) -> None:
    """Run a Firedrake solver to its end, even if interrupted; divergence becomes an error that says what to try."""
    fd = firedrake()
    try:
        with finished_first():
            solver.solve()
    except fd.ConvergenceError as error:
        raise DivergedError(
            f"The {what} solver diverged ({error}). The input may be too extreme: lower its amplitude, refine the mesh, "
            "or loosen the solver's settings."
        ) from error
