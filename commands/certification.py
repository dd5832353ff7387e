"""The certificate of a prediction: a bound on its error from its residual, calibrated on the validation samples of its run."""

import logging

import torch
from omegaconf import OmegaConf
from torch import Tensor

from ..configuration import build
from ..errors import InputError
from ..training.certificate import Certificate, ResidualEstimate, calibrate, in_double
from .run import Run

log = logging.getLogger("thalweg")


def certify(trained: Run, fields: dict[str, Tensor], prediction: dict[str, Tensor], coverage: float) -> float:
    """Tell a bound that the error stays below with probability ``coverage``; returns it.

    The calibration is made once for a checkpoint and kept in the run's folder.

    Raises:
        InputError: the run's configuration has no ``training.certificate``, or too few validation samples for the coverage.
    """
    node = OmegaConf.to_container(trained.config.training, resolve=True)
    assert isinstance(node, dict)
    if not node.get("certificate"):
        raise InputError(
            "This run has no certificate: its configuration has no training.certificate, which says how the residual of its equation is "
            "measured. conf/training/default.yaml has one for Poisson's equation."
        )
    estimate = build(node["certificate"], trained.discretization(torch.float64))
    if not isinstance(estimate, ResidualEstimate):
        raise InputError(
            f"training.certificate must describe a thalweg.training.ResidualEstimate, not a {type(estimate).__name__}."
        )
    estimate = estimate.to(trained.device)
    path = trained.folder / f"certificate-{trained.checkpoint.name}.json"
    if path.exists():
        certificate = Certificate.load(path)
    else:
        disc = trained.discretization()
        certificate = calibrate(trained.operator(disc), trained.data("valid", disc), estimate)
        certificate.save(path)
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
