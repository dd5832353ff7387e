"""Matrices that Firedrake assembles for the export: Gram matrices of one space, and products of two."""

from typing import Any

import scipy.sparse

from .firedrake import firedrake


def csr(assembled: Any) -> scipy.sparse.csr_matrix:
    """A Firedrake matrix as scipy CSR, without the explicit zeros of its sparsity pattern."""
    return petsc_csr(assembled.petscmat)


def petsc_csr(matrix: Any, rounding: float = 0.0) -> scipy.sparse.csr_matrix:
    """A PETSc matrix as scipy CSR; entries up to ``rounding`` times the largest one are taken for zeros."""
    indptr, indices, data = matrix.getValuesCSR()
    A = scipy.sparse.csr_matrix((data, indices, indptr), shape=matrix.getSize())
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
    u, v, dx = fd.TrialFunction(V), fd.TestFunction(V), fd.dx(domain=V.mesh())
    forms = {"mass": fd.inner(u, v) * dx, "stiffness": fd.inner(fd.grad(u), fd.grad(v)) * dx}
    element, dim = V.ufl_element(), V.mesh().geometric_dimension
    if V.value_shape == (dim,) and dim > 1:
        if element in ufl.HDiv:
            forms["div"] = fd.inner(fd.div(u), fd.div(v)) * dx
        if element in ufl.HCurl:
            curl = fd.curl if dim == 3 else fd.rot
            forms["curl"] = fd.inner(curl(u), curl(v)) * dx
    return {name: csr(fd.assemble(form, mat_type="aij")) for name, form in forms.items()}
