"""What a form's spaces, coefficients and constants are called, and which forms can be compiled at all. Needs Firedrake."""

from typing import TYPE_CHECKING, Any

from ...errors import InputError

if TYPE_CHECKING:
    from ..discretization import Discretization


def check_form(form: Any) -> None:
    """Refuse what is not a real zero- or one-form on one mesh.

    Raises:
        InputError: with what came, and what to do.
    """
    import ufl
    from ufl.equation import Equation

    if not isinstance(form, ufl.Form):
        hint = " Of an equation, pass the left-hand side minus the right-hand side." if isinstance(form, Equation) else ""
        raise InputError(
            f"Only a ufl.Form, a sum of integrals, can be compiled, not an object of type {type(form).__name__}.{hint}"
        )
    _check_integrals(form)


def _check_integrals(form: Any) -> None:
    from firedrake.utils import complex_mode
    from ufl.algorithms.analysis import extract_type
    from ufl.classes import BaseFormOperator, ComplexValue, Imag
    from ufl.domain import extract_domains

    arguments = form.arguments()
    if len(arguments) > 1:
        raise InputError(
            f"The form has {len(arguments)} arguments: it stands for a matrix, but only forms with one test function and "
            "functionals can be compiled. Replace the trial function by a coefficient (ufl.action(form, u)); the action of a "
            "Jacobian is torch.func.jvp of the compiled residual."
        )
    if complex_mode or extract_type(form, ComplexValue) or extract_type(form, Imag):
        raise InputError(
            "The form has complex values, but compiled forms are real. Split it into its real and its imaginary part."
        )
    if operators := extract_type(form, BaseFormOperator):
        raise InputError(
            f"The form contains the operator {type(next(iter(operators))).__name__}, which cannot be compiled. "
            "Interpolate first, and pass the result as a coefficient."
        )
    meshes = list(extract_domains(form) or ())
    if len(meshes) > 1:
        raise InputError(
            f"The form lives on {len(meshes)} meshes, but its fields must share one. "
            "Interpolate the fields of other meshes with a transfer first."
        )
    if getattr(meshes[0], "extruded", False):
        raise InputError(
            "The form lives on an extruded mesh, but forms can be compiled on interval, triangle, quadrilateral, tetrahedron "
            "and hexahedron meshes only."
        )


def named_coefficients(form: Any) -> dict[Any, str]:
    """The coefficients of a form, and its constants that were given a name, by the keyword that stands for them.

    Raises:
        InputError: two of them share a name.
    """
    from tsfc.ufl_utils import extract_firedrake_constants

    named = {c: c.name() for c in form.coefficients()}
    named.update({c: c.name for c in extract_firedrake_constants(form) if c.name != f"constant_{c.count()}"})
    names = list(named.values())
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"Several coefficients of the form are called {', '.join(map(repr, repeated))}. Give each a name of its own: "
            "Function(V, name=...), Constant(value, name=...)."
        )
    return named


class SpaceNames:
    """Names under which Firedrake spaces were exported."""

    def __init__(self, disc: "Discretization"):
        self.sources = dict(disc.sources)

    def of(self, V: Any, owner: str) -> tuple[str, ...]:
        """Name of a space, or names of the subspaces of a mixed one.

        Raises:
            InputError: it was not exported.
        """
        if (name := self._name(V)) is not None:
            return (name,)
        parts = tuple(V.subspaces) if len(V) > 1 else (V,)
        names = tuple(self._name(part) for part in parts)
        missing = [str(part.ufl_element()) for part, name in zip(parts, names, strict=True) if name is None]
        if missing:
            raise InputError(
                f"The space of {owner}, {', '.join(missing)}, was not exported with this discretization, which has "
                f"{', '.join(map(repr, self.sources)) or 'no spaces that Firedrake still knows (it was loaded from a file)'}. "
                "Pass it to fem.export under a name of its own, and compile the form with the discretization that this returns."
            )
        return tuple(name for name in names if name is not None)

    def _name(self, V: Any) -> str | None:
        for name, source in self.sources.items():
            if _same(source, V):
                return name
        for name, source in self.sources.items():
            for i, part in enumerate(source.subspaces if len(source) > 1 else ()):
                if _same(part, V):
                    return f"{name}_{i}"
        return None


def _same(V: Any, W: Any) -> bool:
    """Whether two spaces number their dofs alike."""
    return V.mesh() == W.mesh() and V.ufl_element() == W.ufl_element()
