"""The wheel is whole: installed in an empty environment far from the repository, every module imports and every YAML is there."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]

#: Imported only where the user asked for what needs them, with an error that names the install command.
OPTIONAL = {
    "firedrake",
    "pyop2",
    "finat",
    "tsfc",
    "gem",
    "ufl",
    "FIAT",
    "petsc4py",
    "mpi4py",
    "gmsh",
    "vtkmodules",  # comes with PyVista
    "loopy",
    "pyadjoint",
    "onnxscript",
}

IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys
import thalweg
folder = pathlib.Path(thalweg.__file__).parent
assert str(folder).startswith(sys.prefix), folder
names = [m.name for m in pkgutil.walk_packages(thalweg.__path__, "thalweg.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
assert "firedrake" not in sys.modules
print(len(names))
for path in sorted(folder.rglob("*")):
    if path.is_file() and path.suffix != ".pyc":
        print(path.relative_to(folder))
"""


def test_packages_are_imported_when_they_are_named():
    program = "import sys, thalweg; assert 'torch' not in sys.modules; print(thalweg.fem.load.__name__, *dir(thalweg))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.split() == [
        "load",
        "control",
        "data",
        "errors",
        "fem",
        "operators",
        "solvers",
        "training",
        "visualization",
    ]


def package_folders() -> list[Path]:
    return [ROOT.joinpath(*name.split(".")[1:]) for name in PACKAGES]


def sources() -> list[Path]:
    return [path for folder in package_folders() for path in folder.glob("*.py")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every file of thalweg in a fresh environment, after importing all of its modules there without the repository in sight."""
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools would ship what an earlier build left behind, and leave its own behind here.
    left_out = shutil.ignore_patterns(".*", "build", "dist", "outputs", "datasets", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, folder / "source"]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env")
    python = folder / "env/bin/python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel], check=True)
    # The dependencies come from this environment; the .pth files in it, the editable install's among them, are not read from here.
    (site,) = (folder / "env/lib").glob("python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done = subprocess.run([python, "-c", IMPORT_ALL], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_module_imports_without_firedrake_and_repository(installed: list[str]):
    subpackages = len(PACKAGES) - 1
    modules = [path for path in sources() if path.name not in ("__init__.py", "__main__.py")]
    assert int(installed[0]) == len(modules) + subpackages


def test_every_configuration_and_mesh_is_shipped(installed: list[str]):
    data = [path for pattern in ("conf/**/*.yaml", "data/meshes/*.msh") for path in ROOT.glob(pattern)]
    assert len(data) > 10
    assert {str(path.relative_to(ROOT)) for path in data} <= set(installed)


def test_nothing_but_the_package_is_shipped(installed: list[str]):
    folders = {line.split("/")[0] for line in installed[1:] if "/" in line}
    assert folders == {name.split(".")[1] for name in PACKAGES if "." in name}


def test_every_folder_with_code_is_listed_as_a_package():
    outside = {"tests", "examples", "benchmarks", "docs", "scripts", ".venv", "build", "outputs", "datasets"}
    listed = set(package_folders())
    for path in ROOT.rglob("*.py"):
        if not outside & set(path.relative_to(ROOT).parts):
            assert path.parent in listed, path


def test_every_import_is_a_declared_dependency():
    names = {"hydra-core": {"hydra", "omegaconf", "yaml"}, "pillow": {"PIL"}}
    declared: set[str] = set()
    for requirement in PROJECT["project"]["dependencies"]:
        name = re.split(r"[<>=!~\[ ]", requirement)[0]
        declared |= names.get(name, {name})
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported = [node.module or ""]
            for module in imported:
                top = module.split(".")[0]
                assert top in declared | OPTIONAL | set(sys.stdlib_module_names), f"{path} imports {top}"


def test_firedrake_is_imported_by_functions_only():
    for path in sources():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.names[0].name if isinstance(node, ast.Import) else "." * node.level + (node.module or "")
                assert module.split(".")[0] not in OPTIONAL, f"{path} imports {module} at its top"
