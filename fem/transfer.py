"""Transfers that Firedrake assembles for the export: interpolation on one mesh, between two, and along a hierarchy."""

from functools import reduce
from itertools import pairwise
from typing import Any

import scipy.sparse

from ..errors import InputError
from .assembly import petsc_csr
from .firedrake import firedrake

#: Entries of an interpolation matrix below this part of the largest are rounding errors of zeros.
ROUNDING = 1e-13


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
        return petsc_csr(assemble_prolongation_aij(source, target).petscmat, ROUNDING)
    try:
        matrix = fd.assemble(fd.interpolate(fd.TrialFunction(source), target), mat_type="aij")
    except fd.DofNotDefinedError as error:
        raise InputError(
            "The target mesh reaches beyond the source mesh, so there is nothing to interpolate there. "
            "Use meshes of one domain, or transfer the other way."
        ) from error
    return petsc_csr(matrix.petscmat, ROUNDING)
