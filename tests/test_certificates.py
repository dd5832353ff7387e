"""Certificates: the residual's dual norm is the error, and bounds hold as often as they say."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from small import configuration
from thalweg.commands import predict
from thalweg.commands.certification import certify
from thalweg.commands.run import Run
from thalweg.configuration import build
from thalweg.errors import FileError, InputError
from thalweg.training import Certificate, ResidualEstimate, calibrate
from thalweg.training.certificate import in_double


def test_the_residual_of_poissons_equation_is_the_error_in_the_energy_norm(trained: Path):
    run = Run(str(trained), "cpu")
    estimate = build(OmegaConf.to_container(run.config.training.certificate, resolve=True), run.discretization(torch.float64))
    assert isinstance(estimate, ResidualEstimate)
    disc = run.discretization()
    batch = run.data("test", disc).batch(slice(0, 12))
    with torch.no_grad():
        u, truth = in_double(run.operator(disc)(batch), batch)
    error = u["u"] - truth["u"]
    energy = (error * estimate.space.stiffness(error)).sum(-1).sqrt()
    # What is left is the distance of four V-cycles from an inverse matrix, and the rounding of the stored solutions.
    assert torch.allclose(estimate.residual_norm(u, truth), energy, rtol=0.02)
    assert torch.equal(estimate.error(u, truth), estimate.space.norm(error, "H1"))


def test_bounds_hold_for_samples_that_calibration_has_not_seen(trained: Path):
    run = Run(str(trained), "cpu")
    disc = run.discretization()
    estimate = build(OmegaConf.to_container(run.config.training.certificate, resolve=True), run.discretization(torch.float64))
    operator = run.operator(disc)
    certificate = calibrate(operator, run.data("valid", disc), estimate)
    batch = run.data("test", disc).batch(slice(0, 12))
    with torch.no_grad():
        u, truth = in_double(operator(batch), batch)
    bound = certificate.factor(0.9) * estimate.residual_norm(u, truth)
    assert (estimate.error(u, truth) <= 1.01 * bound).all()
    assert (bound <= 1.2 * estimate.error(u, truth)).all()


def test_the_coverage_of_conformal_bounds_is_the_promised_one():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2000, 20, generator=generator).exp()  # ratios of 19 calibration samples and a new one
    held = [new <= Certificate(tuple(sorted(rest))).factor(0.8) for *rest, new in draws.tolist()]
    assert sum(held) / len(held) == pytest.approx(0.8, abs=0.03)


def test_samples_that_chose_the_checkpoint_are_no_calibration_for_it():
    """Of 100 checkpoints of equal worth the one with the least error on 64 samples covers less than promised, calibrated on these."""
    generator = torch.Generator().manual_seed(0)
    held = {"the same": 0.0, "others": 0.0}
    for _ in range(200):
        errors = torch.randn(3, 100, 64, generator=generator).exp()
        chosen = int(errors[0].mean(1).argmin())
        for number, samples in enumerate(held):
            bound = Certificate(tuple(errors[number, chosen].sort().values.tolist())).factor(0.9)
            held[samples] += float((errors[2, chosen] <= bound).double().mean()) / 200
    assert held["others"] == pytest.approx(0.905, abs=0.015)
    assert held["the same"] < 0.84


def test_a_coverage_needs_enough_samples():
    certificate = Certificate(tuple(float(i) for i in range(1, 10)))
    assert certificate.factor(0.9) == 9
    assert certificate.factor(0.5) == 5
    with pytest.raises(InputError, match="needs 19 calibration samples or more; there are 9"):
        certificate.factor(0.95)
    with pytest.raises(InputError, match="between 0 and 1"):
        certificate.factor(1.0)


def test_a_prediction_is_certified_on_the_command_line(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", logger="thalweg"):
        predict.run(configuration("predict", tmp_path, f"run={trained}", f"output={tmp_path / 'u.vtu'}", "certify=0.8"))
    assert "the H1 error of u is at most" in caplog.text
    assert list(trained.glob("certificate-step-*.json"))
    run = Run(str(trained), "cpu")
    disc = run.discretization()
    batch = run.sample(0, disc)
    with torch.no_grad():
        prediction = run.operator(disc)(batch)
    again = certify(run, batch, prediction, 0.8)
    assert f"{again:.3g}" in caplog.text


def test_a_run_without_a_residual_says_so(trained: Path):
    run = Run(str(trained), "cpu")
    run.config.training.certificate = None
    with pytest.raises(InputError, match=r"no training\.certificate"):
        certify(run, {}, {}, 0.9)
    with pytest.raises(FileError, match="no certificate"):
        Certificate.load(trained / "none.json")
