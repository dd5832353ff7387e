"""The installer says exactly what to run where it cannot go on by itself, and rebuilds nothing it has."""

import ast
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


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("error: [Errno 28] No space left on device", r"\. The disk is full\. The whole log"),
        ("NewConnectionError: [Errno -3] Temporary failure in name resolution", "network could not be reached"),
        ("Err:1 http://deb.debian.org/debian Could not resolve 'deb.debian.org'", "network could not be reached"),
        ("make[2]: gfortran: command not found", "compiler or a tool of its is missing"),
        ("gcc: fatal error: Killed signal terminated program cc1", "lack of memory"),
        ("a cause that nobody knows", r"\(exit code 1\)\. The whole log"),
    ],
)
def test_usual_causes_are_named(said: str, cause: str, installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(installer, "LOGS", tmp_path)
    with pytest.raises(SystemExit, match=cause):
        installer.run_logged("step", [sys.executable, "-c", f"raise SystemExit({said!r})"], 0.1)


def test_an_older_python_is_told_that_it_is_too_old(installer: ModuleType, monkeypatch: pytest.MonkeyPatch):
    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    assert installer.run_logged.__annotations__["minutes"] == "float"  # not evaluated, as it could not be there
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer.*PYTHON="):
        installer.main()


def test_a_place_that_cannot_be_written_or_is_too_small_is_named(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "file").touch()
    for name, path in (("STAMP", "stamp"), ("PYTHON", "bin/python"), ("VENV", "file/.venv"), ("LOGS", "file/logs")):
        monkeypatch.setattr(installer, name, tmp_path / path)
    with pytest.raises(SystemExit, match=r"file/\.venv failed:"):
        installer.main()
    with pytest.raises(NotADirectoryError, match="file/logs"):
        installer.run_logged("step", [sys.executable, "-c", ""], 0.1)
    monkeypatch.setattr(installer, "make_venv", lambda: installer.run_logged("step", ["true"], 0.1))
    with pytest.raises(SystemExit, match=r"file/logs cannot be used \(Not a directory\)"):
        installer.main()
    monkeypatch.setattr(installer, "NEEDED", 1e18)
    with pytest.raises(SystemExit, match=r"needs 1000000000 GB of disk; .* GB left"):
        installer.main()


def test_a_clone_uses_its_own_petsc(installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(installer, "VENV", tmp_path)
    installer.keep_to_own_petsc()
    packages = tmp_path / "lib/python3.11/site-packages"
    (packages / "petsc4py/lib").mkdir(parents=True)
    (packages / "petsc4py/lib/petsc.cfg").write_text("PETSC_DIR  = /another/clone\nPETSC_ARCH = \n")
    installer.keep_to_own_petsc()
    assert (packages / "petsc4py/lib/petsc.cfg").read_text() == f"PETSC_DIR  = {packages}/petsc\nPETSC_ARCH = \n"
