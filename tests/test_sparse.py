"""Sparse products: equal to scipy's in both layouts, linear in every mode of differentiation, whole under vmap and compile."""

import numpy as np
import pytest
import scipy.sparse
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from thalweg.errors import InputError
from thalweg.fem import SparseMatrix

ROWS, COLUMNS = 30, 20


def matrix(rows=ROWS, columns=COLUMNS, density=0.2):
    rng = np.random.default_rng(0)
    entries = int(density * rows * columns)
    at = rng.integers(rows, size=entries), rng.integers(columns, size=entries)
    return scipy.sparse.csr_matrix((rng.standard_normal(entries), at), shape=(rows, columns))


@pytest.fixture
def A():
    return SparseMatrix(matrix(), torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(COLUMNS,), (1, COLUMNS), (7, COLUMNS), (3, 5, COLUMNS), (0, COLUMNS)])
def test_product_equals_scipy_on_the_last_axis(dtype, shape):
    S = matrix()
    u = torch.randn(shape, dtype=dtype)
    expected = (u.double().reshape(-1, COLUMNS).numpy() @ S.T).reshape(*shape[:-1], ROWS)
    v = SparseMatrix(S, dtype)(u)
    assert v.dtype == dtype
    np.testing.assert_allclose(v, expected, atol=1e-5 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", [(), (1,), (8,), (17,), (4, 65)])
def test_product_equals_scipy_on_the_first_axis(dtype, features):
    S = matrix()
    h = torch.randn(COLUMNS, *features, dtype=dtype)
    expected = (S @ h.double().reshape(COLUMNS, -1).numpy()).reshape(ROWS, *features)
    np.testing.assert_allclose(SparseMatrix(S, dtype).on_nodes(h), expected, atol=1e-5 if dtype == torch.float32 else 1e-14)


def test_threaded_product_equals_scipy():
    S, threads = matrix(5000, 4000, 0.005), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-12)):
            h = torch.randn(4000, 24, dtype=dtype)
            np.testing.assert_allclose(SparseMatrix(S, dtype).on_nodes(h), S @ h.double().numpy(), atol=tolerance)
    finally:
        torch.set_num_threads(threads)


def test_empty_rows_columns_and_matrices_give_zeros():
    for S in (scipy.sparse.csr_matrix((ROWS, COLUMNS)), scipy.sparse.eye(ROWS, COLUMNS, k=3)):
        np.testing.assert_array_equal(SparseMatrix(S)(torch.ones(9, COLUMNS))[0], S @ np.ones(COLUMNS))


def test_transpose_shares_storage_and_is_an_involution(A):
    assert A.T.T.val.data_ptr() == A.val.data_ptr()
    u, v = torch.randn(COLUMNS, dtype=torch.float64), torch.randn(ROWS, dtype=torch.float64)
    torch.testing.assert_close(A(u) @ v, u @ A.T(v))


def test_first_and_second_derivatives(A):
    u = torch.randn(3, COLUMNS, dtype=torch.float64, requires_grad=True)
    h = torch.randn(COLUMNS, 2, dtype=torch.float64, requires_grad=True)
    for function, x in ((A, u), (A.on_nodes, h), (lambda x: A(x) ** 3, u)):
        assert gradcheck(function, x, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(function, x)


def test_gradient_in_single_precision_is_the_transposed_product():
    A, u = SparseMatrix(matrix()), torch.randn(16, COLUMNS, requires_grad=True)
    (gradient,) = torch.autograd.grad(A(u).sum(), u)
    torch.testing.assert_close(gradient, A.T(torch.ones(16, ROWS)))


def test_forward_mode_is_the_product_with_the_tangent(A):
    u, du = torch.randn(2, 4, COLUMNS, dtype=torch.float64)
    for function in (A, lambda x: A.on_nodes(x.T).T):
        torch.testing.assert_close(torch.func.jvp(function, (u,), (du,)), (A(u), A(du)))
    with forward_ad.dual_level():
        torch.testing.assert_close(forward_ad.unpack_dual(A(forward_ad.make_dual(u, du))).tangent, A(du))


def test_the_adjoint_on_nodes_is_the_product_with_the_transpose(A):
    g = torch.randn(ROWS, 4, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(A.adjoint_on_nodes(g), A.T.on_nodes(g))
    h = torch.randn(COLUMNS, 4, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((A.adjoint_on_nodes(g) * h).sum(), g)
    torch.testing.assert_close(gradient, A.on_nodes(h))
    with pytest.raises(InputError, match=f"first axis must have {ROWS} nodes"):
        A.adjoint_on_nodes(torch.ones(ROWS + 1, 2))


def test_vmap_is_the_batched_product(A):
    u = torch.randn(5, 4, COLUMNS, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(A)(u), A(u))
    torch.testing.assert_close(torch.vmap(torch.vmap(A))(u), A(u))
    torch.testing.assert_close(torch.vmap(A.on_nodes, in_dims=2, out_dims=2)(u.permute(2, 0, 1)), A.on_nodes(u.permute(2, 0, 1)))


def test_function_transforms_compose(A):
    u = torch.randn(COLUMNS, dtype=torch.float64)
    dense = torch.from_numpy(A.to_scipy().toarray())

    def energy(x):
        return (A(x) ** 2).sum() / 2

    torch.testing.assert_close(torch.func.jacrev(A)(u), dense)
    torch.testing.assert_close(torch.func.jacfwd(A)(u), dense)
    torch.testing.assert_close(torch.func.hessian(energy)(u), dense.T @ dense)
    torch.testing.assert_close(torch.vmap(torch.func.grad(energy))(u.expand(3, -1)), (dense.T @ dense @ u).expand(3, -1))


def test_compiled_product_is_one_graph_with_its_gradient():
    A, u = SparseMatrix(matrix()), torch.randn(16, COLUMNS, requires_grad=True)

    def loss(x):
        return A(torch.sin(x)).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(u), loss(u))
    torch.testing.assert_close(torch.autograd.grad(compiled(u), u), torch.autograd.grad(loss(u), u))


def test_operator_meets_the_contract_of_custom_operators(A):
    x = torch.randn(COLUMNS, 3, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.thalweg.spmm.default, (*A.arrays, x))


def test_wrong_shapes_are_refused_with_both_sizes(A):
    for call in (lambda: A(torch.ones(2, 7)), lambda: A.on_nodes(torch.ones(7, 2)), lambda: A(torch.tensor(1.0))):
        with pytest.raises(InputError, match="20"):
            call()
