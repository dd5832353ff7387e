"""From a UFL form to a compiled one: checks what came, lowers it, folds the geometry, and tabulates. Needs Firedrake."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..firedrake import firedrake
from .entities import Bindings, entities
from .lowering import integrands
from .naming import SpaceNames, check_form, named_coefficients
from .pointwise import build_kernel
from .residual import Argument, Residual
from .tables import ArrayPool

if TYPE_CHECKING:
    from ..discretization import Discretization


def compile_form(form: Any, disc: "Discretization") -> Residual:
    """A UFL form as a batched, differentiable torch function, equal to ``firedrake.assemble`` up to rounding.

    The form may have cell, exterior-facet and interior-facet integrals over any subdomains, with any coefficients in exported spaces,
    and is a functional or linear in one test function. Its arguments are the ``name()`` of each coefficient and the ``name``
    of each :class:`firedrake.Constant`; a constant without a name keeps the value it has now. The integrand is that of TSFC
    [1]: same pullbacks, same estimated quadrature degrees, same points.

    Args:
        form: a :class:`ufl.Form` with at most one argument.
        disc: the discretization of the spaces in the form, as :func:`fem.export` returned it. A mixed space needs no name of its own if
            each of its subspaces has one.

    Returns:
        The compiled form, in the dtype and on the device of the discretization's matrices.

    Raises:
        InputError: the form has two arguments, complex values, a coefficient in a space that was not exported, two coefficients of one
            name, or a subdomain that the mesh lacks.

    References:
        [1] Homolya, Mitchell, Luporini, Ham (2018), TSFC: a structure-preserving form compiler, SIAM J. Sci. Comput. 40(3).

    Example:
        >>> import firedrake as fd
        >>> from thalweg import fem
        >>> V = fd.FunctionSpace(fd.UnitSquareMesh(4, 4), "CG", 1)
        >>> disc = fem.export({"V": V})
        >>> u, v = fd.Function(V, name="u"), fd.TestFunction(V)
        >>> F = compile_form(fd.inner(fd.grad(u), fd.grad(v)) * fd.dx, disc)
        >>> x = disc["V"].points.double()[:, 0]
        >>> r = F(u=torch.stack([x, 2 * x]))  # (batch, dofs): ∂u/∂n on the boundary, zero inside for linear u
        >>> inside = torch.ones(25, dtype=bool).index_fill(0, disc["V"].boundary_dofs(), False)
        >>> r.shape, bool(r[:, inside].abs().max() < 1e-14)
        (torch.Size([2, 25]), True)
    """
    firedrake()
    check_form(form)
    names = SpaceNames(disc)
    named = named_coefficients(form)
    spaces = {name: c.function_space() for c, name in named.items() if c.function_space() is not None}
    arguments = [
        Argument(name, names.of(spaces[name], f"the coefficient {name!r}"), (spaces[name].dim(),))
        if name in spaces
        else Argument(name, (), c.ufl_shape)
        for c, name in named.items()
    ]
    test = None
    if form.arguments():
        spaces[""] = form.arguments()[0].function_space()
        test = Argument("test function", names.of(spaces[""], "the test function"), (spaces[""].dim(),))
    pool = ArrayPool()
    parts, marked = integrands(form, named)
    kernels = []
    for part in parts:
        kind = part.integral_type
        which = np.concatenate([entities(part.mesh, kind, s, marked[kind], part.data) for s in part.subdomains])
        if len(which):
            kernels.append(build_kernel(part, Bindings(part.mesh, kind, which).sorted(), spaces, pool))
    residual = Residual(arguments, test, [kernel for kernel in kernels if kernel], pool.arrays)
    like = disc[next(iter(disc.spaces))].mass.val
    return residual.to(device=like.device, dtype=like.dtype)
