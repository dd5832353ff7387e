"""Piecewise linear and multilinear interpolation from points along axes, as sparse matrices."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse


def interpolation(fine: np.ndarray, coarse: np.ndarray, periodic: bool) -> scipy.sparse.csr_matrix:
    """Piecewise linear functions on the coarse points at the fine ones; the last point of a periodic axis is the first."""
    x = fine[:-1] if periodic else fine
    cell = np.clip(np.searchsorted(coarse, x, side="right") - 1, 0, len(coarse) - 2)
    right = (x - coarse[cell]) / (coarse[cell + 1] - coarse[cell])
    columns = len(coarse) - periodic
    entries = (np.concatenate([1 - right, right]), (np.tile(np.arange(len(x)), 2), np.concatenate([cell, (cell + 1) % columns])))
    P = scipy.sparse.csr_matrix(entries, shape=(len(x), columns))
    P.data[np.abs(P.data) < 1e-12] = 0
    P.eliminate_zeros()
    return P


def box_interpolation(points: np.ndarray, box: np.ndarray, periodic: Sequence[bool], cells: int) -> scipy.sparse.csr_matrix:
    """Multilinear functions on ``cells`` boxes along each axis at points ``(n, dim)``; the constant for no boxes."""
    n = len(points)
    if not cells:
        return scipy.sparse.csr_matrix(np.ones((n, 1)))
    column, weight = np.zeros((n, 1), dtype=np.int64), np.ones((n, 1))
    functions = 1
    for axis, wraps in enumerate(periodic):
        place = (points[:, axis] - box[0, axis]) / (box[1, axis] - box[0, axis]) * cells
        cell = np.clip(np.floor(place).astype(np.int64), 0, cells - 1)
        count = cells + (not wraps)
        ends = np.stack([cell, (cell + 1) % count], axis=1)
        shares = np.stack([cell + 1 - place, place - cell], axis=1)
        column = (column[:, :, None] * count + ends[:, None]).reshape(n, -1)
        weight = (weight[:, :, None] * shares[:, None]).reshape(n, -1)
        functions *= count
    rows = np.arange(n).repeat(weight.shape[1])
    return scipy.sparse.csr_matrix((weight.ravel(), (rows, column.ravel())), shape=(n, functions))
