"""The certificate of a prediction: a bound on its error from its residual, calibrated on samples its run was not trained on."""

import logging
from collections.abc import Callable

import torch
from omegaconf import OmegaConf
from torch import Tensor

from ..configuration import build
from ..data import FamilyDataset
from ..data.shards import Spaces
from ..errors import InputError
from ..fem import DiscretizationFamily
from ..operators import OperatorFamily
from ..training.certificate import Certificate, ResidualEstimate, calibrate, in_double
from .run import Run
from .splits import calibration_split

log = logging.getLogger("thalweg")


def certify(trained: Run, fields: dict[str, Tensor], prediction: dict[str, Tensor], coverage: float) -> float:
    """Tell a bound that the error stays below with probability ``coverage``; returns it.

    The calibration is made once for a checkpoint and kept in the run's folder.

    Raises:
        InputError: the run's configuration has no ``training.certificate``, or too few samples for the coverage.
    """
    node = OmegaConf.to_container(trained.config.training, resolve=True)
    assert isinstance(node, dict)
    if not node.get("certificate"):
        raise InputError(
            "This run has no certificate: its configuration has no training.certificate, which says how the residual of its equation is "
            "measured. conf/training/default.yaml has one for Poisson's equation."
        )
    exact = trained.discretization(torch.float64)

    def estimate_on(disc: Spaces) -> ResidualEstimate:
        estimate = build(node["certificate"], disc)
        if not isinstance(estimate, ResidualEstimate):
            raise InputError(
                f"training.certificate must describe a thalweg.training.ResidualEstimate, not a {type(estimate).__name__}."
            )
        return estimate.to(trained.device)

    path = trained.folder / f"certificate-{trained.checkpoint.name}.json"
    if path.exists():
        certificate = Certificate.load(path)
    else:
        certificate = _calibrated(trained, exact, estimate_on)
        certificate.save(path)
    estimate = estimate_on(trained.place(exact, fields))
    u, inputs = in_double(prediction, fields)
    bound = certificate.factor(coverage) * estimate.residual_norm(u, inputs)[0].item()
    relative = bound / estimate.size(u)[0].item()
    log.info(
        "the %s error of %s is at most %.3g (%.3g of its norm) with probability %g",
        estimate.norm,
        estimate.field,
        bound,
        relative,
        coverage,
    )
    return bound


def _calibrated(
    trained: Run, exact: Spaces | DiscretizationFamily, estimate_on: Callable[[Spaces], ResidualEstimate]
) -> Certificate:
    """The certificate from the samples kept for it or those of validation, of a family from those on all of its meshes."""
    disc = trained.discretization()
    operator, data = trained.operator(disc), trained.data(calibration_split(trained.config), disc)
    if not isinstance(data, FamilyDataset) or not isinstance(exact, DiscretizationFamily):
        return calibrate(operator, data, estimate_on(trained.place(exact, {})))
    assert isinstance(operator, OperatorFamily)
    parts = [
        calibrate(operator.on(k), member, estimate_on(exact[k])) for k, member in zip(data.numbers, data.members, strict=True)
    ]
    return Certificate(tuple(sorted(ratio for part in parts for ratio in part.ratios)))
