"""The installer says exactly what to run where it cannot go on by itself, and rebuilds nothing it has."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "install.py"


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("installer", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "installer", module)
    spec.loader.exec_module(module)
    return module


def test_without_root_it_says_what_to_run(installer: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installer, "missing_apt_packages", lambda wanted: ["gfortran", "libmumps-dev"])
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"sudo apt-get update && sudo apt-get install .* gfortran libmumps-dev"):
        installer.install_system_packages()


def test_without_apt_it_says_what_to_do(installer: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"(?s)no apt.*firedrakeproject\.org/install"):
        installer.install_system_packages()


def test_packages_are_asked_of_dpkg(installer: ModuleType):
    if shutil.which("dpkg-query") is None:
        pytest.skip("this machine has no dpkg")
    assert installer.missing_apt_packages(["dpkg", "no-such-package-anywhere"]) == ["no-such-package-anywhere"]


def test_a_cached_wheel_is_not_built_again(installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(installer, "CACHE", tmp_path)
    monkeypatch.setattr(installer, "run_logged", lambda *a, **k: pytest.fail("built again"))
    wheel = installer.wheel_folder() / "petsc-3.26.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    assert installer.built_wheel(installer.PETSC) == wheel


def test_another_recipe_has_another_cache(installer: ModuleType, monkeypatch: pytest.MonkeyPatch):
    before = installer.wheel_folder()
    monkeypatch.setattr(installer, "SOURCES", installer.SOURCES[1:])
    assert installer.wheel_folder() != before


def test_a_failing_step_shows_its_end_and_its_log(installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    monkeypatch.setattr(installer, "LOGS", tmp_path)
    command = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]
    with pytest.raises(SystemExit, match=r"'petsc, compiled' failed \(exit code 3\)"):
        installer.run_logged("petsc, compiled", command, 0.1)
    assert "the reason" in capsys.readouterr().out
    assert (tmp_path / "petsc-compiled.log").exists()
