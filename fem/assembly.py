"""Matrices that Firedrake assembles for the export: Gram matrices of one space, products and derivatives of two."""

import math
from typing import Any

import numpy as np
import scipy.sparse

from ..errors import InputError
from .export_mesh import base_element
from .firedrake import firedrake

#: Entries of an interpolation matrix below this part of the largest are rounding errors of zeros.
ROUNDING = 1e-13

#: A derivative that leaves its target space misses it by far more than this part of its norm.
INEXACT = 1e-8


def csr(assembled: Any, rounding: float = 0.0) -> scipy.sparse.csr_matrix:
    """A Firedrake matrix as scipy CSR without zeros; entries up to ``rounding`` times the largest one are taken for zeros."""
    indptr, indices, data = assembled.petscmat.getValuesCSR()
    A = scipy.sparse.csr_matrix((data, indices, indptr), shape=assembled.petscmat.getSize())
    if A.nnz:
        A.data[abs(A.data) <= rounding * abs(A.data).max()] = 0
    A.eliminate_zeros()
    return A


def gram_matrices(V: Any) -> dict[str, scipy.sparse.csr_matrix]:
    """``mass`` and ``stiffness``, and for vector fields the ``div`` and ``curl`` products that their element has.

    A stiffness matrix of a discontinuous or a merely H(div)- or H(curl)-conforming space is the broken one, cell by cell.
    """
    import ufl

    fd = firedrake()
    element, dim = V.ufl_element(), V.mesh().geometric_dimension
    copies = math.prod(V.value_shape)
    if 1 < copies == V.block_size:
        # Components do not interact: one scalar kernel serves them all, and compiles several times faster.
        scalar = gram_matrices(fd.FunctionSpace(V.mesh(), base_element(element)))
        one = scipy.sparse.identity(copies)
        matrices = {name: scipy.sparse.csr_matrix(scipy.sparse.kron(A, one, format="coo")) for name, A in scalar.items()}
    else:
        u, v, dx = fd.TrialFunction(V), fd.TestFunction(V), fd.dx(domain=V.mesh())
        matrices = {"mass": csr(fd.assemble(fd.inner(u, v) * dx, mat_type="aij"))}
        # UFL knows the gradient of piecewise constants to be zero and leaves no form to assemble.
        constant = element.embedded_superdegree == 0
        matrices["stiffness"] = (
            scipy.sparse.csr_matrix((V.dim(), V.dim()))
            if constant
            else csr(fd.assemble(fd.inner(fd.grad(u), fd.grad(v)) * dx, mat_type="aij"))
        )
    if V.value_shape == (dim,) and dim > 1:
        u, v, dx = fd.TrialFunction(V), fd.TestFunction(V), fd.dx(domain=V.mesh())
        curl = fd.curl if dim == 3 else fd.rot
        if element in ufl.HDiv:
            matrices["div"] = csr(fd.assemble(fd.inner(fd.div(u), fd.div(v)) * dx, mat_type="aij"))
        if element in ufl.HCurl:
            matrices["curl"] = csr(fd.assemble(fd.inner(curl(u), curl(v)) * dx, mat_type="aij"))
    return matrices


def product(source: Any, target: Any) -> scipy.sparse.csr_matrix:
    """``∫ φ_i ψ_j`` for the bases φ of ``target`` and ψ of ``source``; on two meshes, exactly on their common refinement.

    From vectors into scalars on one mesh it is the weak divergence, ``∫ φ_i ∇·ψ_j``.

    Raises:
        InputError: the values have different shapes otherwise.
    """
    fd = firedrake()
    same_mesh = source.mesh() is target.mesh()
    if same_mesh and source.value_shape == (source.mesh().geometric_dimension,) and target.value_shape == ():
        u, q = fd.TrialFunction(source), fd.TestFunction(target)
        return csr(fd.assemble(fd.inner(fd.div(u), q) * fd.dx, mat_type="aij"))
    if source.value_shape != target.value_shape:
        raise InputError(f"There is no product of values of shapes {source.value_shape} and {target.value_shape}.")
    if same_mesh:
        u, v = fd.TrialFunction(source), fd.TestFunction(target)
        return csr(fd.assemble(fd.inner(u, v) * fd.dx, mat_type="aij"))
    from firedrake.supermeshing import assemble_mixed_mass_matrix

    indptr, indices, data = assemble_mixed_mass_matrix(source, target).getValuesCSR()
    return scipy.sparse.csr_matrix((data, indices, indptr), shape=(target.dim(), source.dim()))


def derivative(source: Any, target: Any) -> scipy.sparse.csr_matrix:
    """The matrix of the gradient, curl or divergence of functions of ``source`` in the basis of ``target``.

    Which one follows from the spaces: from scalars into H(curl) or into vectors the gradient, in two dimensions into H(div) the
    rotated gradient (∂₂ψ, -∂₁ψ); in three dimensions from H(curl) into H(div) the curl; from vectors into scalars the
    divergence, in two dimensions from H(curl) the rotation ∂₁u₂ - ∂₂u₁. With the spaces of one discrete de Rham complex,
    ``CG k, N1curl k, RT k, DG k-1``, the products of neighbours vanish (Arnold, Falk, Winther, Acta Numerica 2006).

    Raises:
        InputError: no derivative leads from the one space to the other, or derivatives of the one are not functions of the other.
    """
    fd = firedrake()
    if source.mesh() is not target.mesh():
        raise InputError("A derivative leads from one space into another on the same mesh.")
    apply = _operator(source, target)
    matrix = fd.assemble(fd.interpolate(apply(fd.TrialFunction(source)), target), mat_type="aij")
    D = csr(matrix, ROUNDING)
    random = np.random.default_rng(0).standard_normal(source.dim())
    coefficients = D @ random
    u, du = fd.Function(source, random), fd.Function(target, coefficients)
    M = csr(fd.assemble(fd.inner(fd.TrialFunction(target), fd.TestFunction(target)) * fd.dx, mat_type="aij"))
    missed, size = fd.norm(apply(u) - du), math.sqrt(coefficients @ M @ coefficients)
    if missed > INEXACT * size:
        raise InputError(
            f"Derivatives of functions of {source.ufl_element()} are not functions of {target.ufl_element()}: "
            f"the interpolant misses a random one by {missed / size:.1%}. "
            "Take neighbours of one complex: CG k, N1curl k, RT k, DG k-1."
        )
    return D


def _operator(source: Any, target: Any) -> Any:
    import ufl

    fd = firedrake()
    dim = source.mesh().geometric_dimension
    domain, range_ = source.ufl_element(), target.ufl_element()
    if source.value_shape == () and target.value_shape == (dim,):
        rotated = dim == 2 and range_ in ufl.HDiv and range_ not in ufl.HCurl
        return (lambda u: fd.as_vector([u.dx(1), -u.dx(0)])) if rotated else fd.grad
    if source.value_shape == (dim,) == target.value_shape and dim == 3 and domain in ufl.HCurl:
        return fd.curl
    if source.value_shape == (dim,) and target.value_shape == ():
        rotation = dim == 2 and domain in ufl.HCurl and domain not in ufl.HDiv
        return fd.rot if rotation else fd.div
    raise InputError(f"No gradient, curl or divergence leads from {domain} to {range_}.")
