"""A compiled form is stored with its discretization and means the same where Firedrake is absent."""

import subprocess
import sys

import pytest
import torch

from forms_gallery import CASES
from test_forms import dofs, values
from thalweg import fem
from thalweg.errors import InputError

# Runs with every package of Firedrake made unimportable, as on a machine that only trains.
WITHOUT_FIREDRAKE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"firedrake", "tsfc", "gem", "finat", "FIAT", "ufl", "pyop2", "petsc4py", "loopy"}:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
import torch
from thalweg import fem
from thalweg.errors import InputError

for folder in sys.argv[1:]:
    disc = fem.load(f"{folder}/disc.h5", dtype=torch.float64)
    given = {name: value.requires_grad_() for name, value in torch.load(f"{folder}/given.pt").items()}
    residual = disc.form("residual")(**given)
    gradients = torch.autograd.grad(residual.square().sum(), list(given.values()))
    torch.save((residual.detach(), gradients), f"{folder}/results.pt")
"""


def test_stored_forms_are_the_same_without_firedrake(tmp_path):
    exact = {}
    for name in ("navier_stokes", "upwind_advection", "hexahedra"):
        case, folder = CASES[name](), tmp_path / name
        disc = fem.export(case.spaces, forms={"residual": case.form})
        given = {key: value.requires_grad_() for key, value in values(case).items()}
        expected = disc.form("residual")(**given)
        exact[folder] = expected, *torch.autograd.grad(expected.square().sum(), list(given.values()))
        folder.mkdir()
        disc.save(folder / "disc.h5")
        torch.save({key: value.detach() for key, value in given.items()}, folder / "given.pt")
    subprocess.run([sys.executable, "-c", WITHOUT_FIREDRAKE, *map(str, exact)], check=True)
    for folder, expected in exact.items():
        residual, gradients = torch.load(folder / "results.pt")
        for found, value in zip((residual, *gradients), expected, strict=True):
            assert torch.equal(found, value), folder.name


def test_loaded_form_has_the_precision_that_was_asked_for(tmp_path):
    case = CASES["curved_triangles"]()
    disc = fem.export(case.spaces, forms={"residual": case.form})
    disc.save(tmp_path / "disc.h5")
    form = fem.load(tmp_path / "disc.h5", dtype=torch.float32).form("residual")
    (u,) = case.form.coefficients()
    exact = disc.form("residual")(u=dofs(u))
    assert form.dtype == torch.float32
    torch.testing.assert_close(form(u=dofs(u).float()).double(), exact, rtol=0, atol=1e-5 * exact.abs().max().item())


def test_a_form_knows_its_arguments_after_loading(tmp_path):
    case = CASES["elasticity"]()
    disc = fem.export(case.spaces, forms={"stress": case.form})
    disc.save(tmp_path / "disc.h5")
    loaded = fem.load(tmp_path / "disc.h5")
    assert loaded.form("stress").arguments == disc.form("stress").arguments
    assert "stress" in repr(loaded)


def test_unnamed_form_is_explained(tmp_path):
    case = CASES["elasticity"]()
    disc = fem.export(case.spaces, forms={"stress": case.form})
    with pytest.raises(InputError, match=r"'strain'.*stress"):
        disc.form("strain")
