"""Transfers that Firedrake assembles for the export: interpolation on one mesh, between two, along a hierarchy, and to points."""

from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse

from ..errors import InputError
from .assembly import ROUNDING, csr
from .firedrake import firedrake

#: How far outside every cell a point may lie and still be evaluated, in the coordinates of the reference cell.
ON_BOUNDARY = 1e-8


def interpolation(source: Any, target: Any) -> scipy.sparse.csr_matrix:
    """Matrix of the interpolation from one Firedrake space into another, on the same mesh or a different one.

    From a coarse to a finer level of one ``MeshHierarchy`` it is the prolongation along all levels in between, exact for
    functions of nested spaces. Between other meshes each target dof is evaluated in the source cell that contains its point;
    points that a curved boundary puts up to half a cell outside are extrapolated from the nearest cell. Where the source is
    discontinuous, the value on a facet is that of one of its cells.

    Raises:
        InputError: the values of the spaces have different shapes, or the target mesh leaves the source mesh.
    """
    if len(source) != len(target):
        raise InputError(f"A space of {len(source)} fields cannot be interpolated into one of {len(target)}.")
    if len(source) > 1:
        blocks = [interpolation(Vs, Vt) for Vs, Vt in zip(source, target, strict=True)]
        return scipy.sparse.csr_matrix(scipy.sparse.block_diag(blocks))
    if source.value_shape != target.value_shape:
        raise InputError(
            f"Values of shape {source.value_shape} cannot be interpolated into a space with values of shape {target.value_shape}."
        )
    spaces = _levels(source, target)
    return reduce(lambda P, Q: Q @ P, [_one_step(V, W) for V, W in pairwise(spaces)])


def _levels(source: Any, target: Any) -> list[Any]:
    """The spaces through which a refinement leads: the source's element on each level, the target's on its own."""
    if not (levels := _refinements(source.mesh(), target.mesh())):
        return [source, target]
    return [source, *(source.reconstruct(mesh=mesh) for mesh in levels[1:-1]), target]


def _refinements(source: Any, target: Any) -> list[Any]:
    """The meshes of a nested hierarchy from the source to a finer target; none where the one is no refinement of the other."""
    from firedrake.mg.utils import get_level

    hierarchy, coarse = get_level(source)
    other, fine = get_level(target)
    if hierarchy is None or fine is None or hierarchy is not other or not hierarchy.nested or coarse >= fine:
        return []
    steps = hierarchy.refinements_per_level
    return hierarchy._meshes[int(coarse * steps) : int(fine * steps) + 1]


def _one_step(source: Any, target: Any) -> scipy.sparse.csr_matrix:
    from firedrake.mg.interface import assemble_prolongation_aij

    fd = firedrake()
    if _refinements(source.mesh(), target.mesh()):
        return csr(assemble_prolongation_aij(source, target), ROUNDING)
    try:
        matrix = fd.assemble(fd.interpolate(fd.TrialFunction(source), target), mat_type="aij")
    except fd.DofNotDefinedError as error:
        raise InputError(
            "The target mesh reaches beyond the source mesh, so there is nothing to interpolate there. "
            "Use meshes of one domain, or transfer the other way."
        ) from error
    return csr(matrix, ROUNDING)


def point_evaluation(V: Any, points: Any, tolerance: float = ON_BOUNDARY) -> scipy.sparse.csr_matrix:
    """Matrix from the dofs of a Firedrake space to values at points, ``(num_points * components, dofs)``, components innermost.

    Where functions are discontinuous, the value on a facet is that of one of its cells.

    Args:
        points: ``(num_points, dim)``.
        tolerance: how far outside a cell a point may lie, as a part of the cell's size.

    Raises:
        InputError: points have another dimension, or lie outside the domain; the message lists those.
    """
    fd = firedrake()
    mesh = V.mesh().unique()
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != mesh.geometric_dimension or not len(points) or not np.isfinite(points).all():
        raise InputError(f"Points must be finite and have shape (n, {mesh.geometric_dimension}), n > 0; got {points.shape}.")
    if len(V) > 1:
        raise InputError("Evaluate the subspaces of a mixed space one by one: Z.sub(0), Z.sub(1), ...")
    before = mesh.tolerance
    try:
        mesh.tolerance = tolerance
        cells, _, _ = mesh.locate_cells_ref_coords_and_dists(points, tolerance)
        if (outside := np.flatnonzero(np.asarray(cells) < 0)).size:
            listed = ", ".join(f"{i}: {tuple(map(float, points[i]))}" for i in outside[:10])
            more = f" and {outside.size - 10} more" if outside.size > 10 else ""
            raise InputError(
                f"{outside.size} of {len(points)} points lie outside the domain: {listed}{more}. Move or remove them."
            )
        cloud = fd.VertexOnlyMesh(mesh, points, tolerance=tolerance)
        at, ordered = (fd.TensorFunctionSpace(m, "DG", 0, shape=V.value_shape) for m in (cloud, cloud.input_ordering))
        values = fd.assemble(fd.interpolate(fd.TrialFunction(V), at), mat_type="aij")
        permutation = fd.assemble(fd.interpolate(fd.TrialFunction(at), ordered), mat_type="aij")
    finally:
        mesh.tolerance = before
    return csr(permutation) @ csr(values, ROUNDING)
