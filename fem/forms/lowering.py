"""From UFL to GEM with TSFC's form compiler, stopped where fields and test functions would be tabulated. Needs Firedrake."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import InputError
from .entities import MEASURES


@dataclass(frozen=True)
class Placeholder:
    """A field, a test function or a constant in an integrand, where TSFC would have put its tabulation.

    ``owner`` is the name of the field or constant ("" for the test function), ``block`` the subspace of a mixed function it lies in;
    ``terminal`` and ``config`` are what TSFC needs to tabulate it. The shape is that of its value on the reference cell, or of
    the derivative of the given order.
    """

    kind: str
    owner: str
    block: int = 0
    restriction: str | None = None
    derivatives: int = 0
    shape: tuple[int, ...] = ()
    terminal: Any = field(default=None, compare=False)
    config: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        return f"{self.kind} {self.owner} {self.block} {self.restriction or ''} {self.derivatives}"


@dataclass
class Integrand:
    """A sum of GEM expressions to be integrated by one quadrature rule over one set of cells or facets.

    The placeholders are known by the names of their variables.
    """

    mesh: Any
    integral_type: str
    subdomains: tuple
    data: Any
    rule: Any
    expressions: list[Any] = field(default_factory=list)
    placeholders: dict[str, Placeholder] = field(default_factory=dict)


def integrands(form: Any, names: Mapping[Any, str]) -> tuple[list[Integrand], Mapping[str, tuple[int, ...]]]:
    """The integrands of a form, those of all blocks of a mixed test function over one set of entities together.

    Args:
        form: of rank zero or one.
        names: of its coefficients, and of those constants that are arguments of the compiled form.

    Returns:
        The integrands, and for each integral type the subdomain ids that "otherwise" leaves out.
    """
    from firedrake.formmanipulation import split_form

    found: dict[tuple, Integrand] = {}
    marked: dict[str, set[int]] = defaultdict(set)
    for block in split_form(form) if form.arguments() else [((0,), form)]:
        (index,), part = block
        if part.empty():
            continue
        for form_data, integral, builder, rule, expression in _preprocessed(part):
            kind = integral.integral_type
            data = _subdomain_data(part, integral)
            marked[kind].update(i for i in integral.subdomain_id if i != "otherwise")
            key = (kind, integral.subdomain_id, id(data), id(rule))
            target = found.setdefault(key, Integrand(integral.domain, kind, integral.subdomain_id, data, rule))
            _translate(expression, builder, rule, index, _owners(form_data, names), target)
    return list(found.values()), {kind: tuple(sorted(ids)) for kind, ids in marked.items()}


def _preprocessed(form: Any) -> Iterator[tuple[Any, Any, Any, Any, Any]]:
    """What :func:`tsfc.driver.compile_integral` prepares for each integral, up to the translation of its integrand."""
    from finat.ufl import MixedElement
    from firedrake.parameters import parameters
    from tsfc import driver
    from tsfc.kernel_interface.common import set_quad_rule
    from tsfc.kernel_interface.firedrake_loopy import KernelBuilder
    from tsfc.ufl_utils import compute_form_data

    options = driver.preprocess_parameters(parameters["form_compiler"].copy())
    mixed = tuple(c for c in form.coefficients() if type(c.ufl_element()) is MixedElement)
    data: Any = compute_form_data(form, coefficients_to_split=mixed, complex_mode=False)
    mesh: Any = form.ufl_domain()
    arguments = data.preprocessed_form.arguments()
    integral: Any
    for integral in data.integral_data:
        if integral.integral_type not in MEASURES:
            raise InputError(
                f"The form has an integral over {integral.integral_type!r}; those that can be compiled are over "
                f"{', '.join(MEASURES.values())}."
            )
        info = driver.TSFCIntegralDataInfo(
            domain=mesh,
            integral_type=integral.integral_type,
            subdomain_id=integral.subdomain_id,
            domain_number=0,
            domain_integral_type_map={mesh: integral.integral_type},
            arguments=arguments,
            coefficients=[],
            coefficient_split={},
            coefficient_numbers=[],
        )
        builder = KernelBuilder(info, options["scalar_type"])
        for setter in ("entity_numbers", "entity_orientations", "coordinates", "cell_orientations", "cell_sizes"):
            getattr(builder, f"set_{setter}")([mesh])
        for term in integral.integrals:
            options_here = {**options, **dict(term.metadata() or {})}
            functions = [*arguments, builder.coordinate(mesh), *integral.integral_coefficients]
            set_quad_rule(options_here, mesh.ufl_cell(), integral.integral_type, functions)
            yield data, integral, builder, options_here["quadrature_rule"], term.integrand()


def _owners(data: Any, names: Mapping[Any, str]) -> dict[Any, tuple[str, int]]:
    """Name and block of the coefficients that preprocessing has put in place of those of the form, and of the constants."""
    owners: dict[Any, tuple[str, int]] = {}
    for original, replaced in data.function_replace_map.items():
        for block, part in enumerate(data.coefficient_split.get(replaced, (replaced,))):
            owners[part] = (names[original], block)
    owners.update((constant, (names[constant], 0)) for constant in data.constants if constant in names)
    return owners


def _subdomain_data(form: Any, integral: Any) -> Any:
    given = form.subdomain_data().get(integral.domain, {}).get(integral.integral_type, ())
    data = [item for item in given if item is not None]
    if len(data) > 1:
        raise InputError(
            "The form has integrals with different subdomain_data of one measure. Compile each as a form of its own."
        )
    return data[0] if data else None


def _translate(
    expression: Any, builder: Any, rule: Any, block: int, owners: Mapping[Any, tuple[str, int]], target: Integrand
) -> None:
    import gem
    from tsfc import fem
    from tsfc.modified_terminals import analyse_modified_terminal
    from tsfc.ufl_utils import TSFCConstantMixin, simplify_abs
    from ufl.classes import Argument, Coefficient, QuadratureWeight
    from ufl.corealg.map_dag import map_expr_dag

    config = {**builder.fem_config(), "quadrature_rule": rule}

    class Translator(fem.Translator):
        """TSFC's translation, except that fields and test functions stay symbols and the weights go into the tables."""

        def modified_terminal(self, o: Any) -> Any:
            mt = analyse_modified_terminal(o)
            terminal = mt.terminal
            if isinstance(terminal, QuadratureWeight):
                return gem.Literal(1.0)
            if isinstance(terminal, Argument):
                return self.symbol("test", "", block, mt)
            if isinstance(terminal, TSFCConstantMixin):
                if terminal in owners:
                    return self.symbol("constant", owners[terminal][0], 0, mt)
                return gem.Literal(_value(terminal))
            if isinstance(terminal, Coefficient) and terminal in owners:
                return self.symbol("field", *owners[terminal], mt)
            return super().modified_terminal(o)

        def symbol(self, kind: str, owner: str, part: int, mt: Any) -> Any:
            restriction = mt.restriction if kind != "constant" else None
            symbol = Placeholder(kind, owner, part, restriction, mt.local_derivatives, mt.expr.ufl_shape, mt.terminal, config)
            target.placeholders.setdefault(symbol.name, symbol)
            return gem.Variable(symbol.name, symbol.shape)

        def cell_avg(self, o: Any) -> Any:
            raise InputError(
                "Averages over cells and facets (cell_avg, facet_avg) cannot be compiled. Interpolate or project the "
                "quantity into a space of degree 0, and pass that function."
            )

        facet_avg = cell_avg

    translated = map_expr_dag(Translator(fem.PointSetContext(**config)), simplify_abs(expression, False))
    target.expressions.append(translated)


def _value(constant: Any) -> np.ndarray:
    return np.reshape(constant.dat.data_ro, constant.ufl_shape)


def tabulation(symbol: Placeholder) -> tuple[Any, tuple]:
    """The values of all basis functions of a placeholder's space at the quadrature points: a GEM tensor, and its basis indices."""
    import ufl
    from finat.element_factory import create_element
    from gem.optimise import constant_fold_zero
    from tsfc import fem
    from tsfc.modified_terminals import ModifiedTerminal
    from ufl.domain import extract_unique_domain

    space = ufl.FunctionSpace(extract_unique_domain(symbol.terminal), symbol.terminal.ufl_element())
    basis = ufl.Argument(space, 0)
    mt = ModifiedTerminal(None, basis, symbol.derivatives, symbol.restriction, True)
    multiindex = create_element(space.ufl_element()).get_indices()
    context = fem.PointSetContext(**symbol.config, argument_multiindices=(multiindex,))
    return constant_fold_zero([fem.translate_argument(basis, mt, context)])[0], multiindex
