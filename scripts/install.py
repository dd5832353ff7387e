"""Install thalweg with Firedrake into ``.venv``: ``python3 scripts/install.py``, or ``make install``.

Runs on a bare Python 3.11 with nothing but the standard library. Every step is skipped when its result is already there, so an
interrupted installation goes on where it stopped. Wheels that have to be compiled are kept under ``~/.cache/thalweg``.
"""

from __future__ import annotations  # lest an older Python fail before it is told that it is too old

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "thalweg-installed"
CONSTRAINTS = ROOT / "constraints.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "thalweg"
LOGS = CACHE / "logs"

MULTIARCH = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
HDF5_INCLUDE = "/usr/include/hdf5/openmpi"
HDF5_LIB = f"/usr/lib/{MULTIARCH}/hdf5/openmpi"

APT_PACKAGES = [
    "g++",
    "gfortran",
    "make",
    "bison",
    "flex",
    "ninja-build",
    "pkg-config",
    "patchelf",
    "zlib1g-dev",
    "libopenblas-dev",
    "libopenmpi-dev",
    "openmpi-bin",
    "libhdf5-openmpi-dev",
    "libmumps-dev",
    "libmumps-ptscotch-dev",
    "libmetis-dev",
    "libptscotch-dev",
    "libscalapack-openmpi-dev",
]

# gmsh looks for these when it is imported, with or without a window.
GMSH_LIBRARIES = ["libglu1-mesa", "libxrender1", "libxcursor1", "libxft2", "libxinerama1"]

PETSC_CONFIGURE_OPTIONS = " ".join(
    [
        "--with-c2html=0 --with-debugging=0 --with-fortran-bindings=0 --with-shared-libraries=1 --with-x=0",
        "--with-strict-petscerrorcode --with-metis --with-mumps --with-zlib",
        f"--with-hdf5-include={HDF5_INCLUDE} --with-hdf5-lib=[{HDF5_LIB}/libhdf5.so,{HDF5_LIB}/libhdf5_hl.so]",
        "--with-ptscotch --with-ptscotch-include=/usr/include/scotch",
        "--with-ptscotch-lib=[libptesmumps.so,libptscotch.so,libptscotcherr.so,libesmumps.so,libscotch.so,libscotcherr.so]",
        "--with-scalapack-lib=-lscalapack-openmpi",
    ]
)

NEEDED = 4e9  # bytes on the disk: .venv takes half of it, and what is compiled needs room

#: What the log of a failed step says, and what that means.
CAUSES = {
    r"No space left on device": "The disk is full.",
    r"Temporary failure|Name or service not known|Could not resolve|Network is unreachable|NewConnectionError|ConnectTimeout|ProxyError": (
        "The network could not be reached; a proxy is told by the variables http_proxy and https_proxy."
    ),
    r"CERTIFICATE_VERIFY_FAILED": "The network's certificate is not trusted; PIP_CERT names a file of certificates to pip.",
    r"Killed signal|signal 9": "The system ended it, most likely for lack of memory.",
    r"Could not get lock": "Another process is installing packages; wait for it.",
    r"command not found|No such file or directory: '(?:mpicc|gcc|gfortran|make)'": "A compiler or a tool of its is missing.",
}

# Where the shared libraries that Firedrake's extensions link against lie, from site-packages.
LIBRARY_DIRS = (
    "petsc/lib",
    "firedrake_rtree/firedrake_rtree",
    "firedrake_rtree/lib",
    "Rtree.libs",
    "rtree/lib",
    "libsupermesh/lib",
)


@dataclass(frozen=True)
class Source:
    """A package compiled here: its requirement, how long that takes on two cores, and what the build needs."""

    name: str
    version: str
    minutes: float
    env: dict[str, str] = field(default_factory=dict)
    isolated: bool = False  # build in pip's own environment instead of in .venv
    relocate: bool = False  # rewrite absolute library paths, so that the wheel works in any clone


BUILD_TOOLS = ["pip", "setuptools>=77", "wheel", "numpy", "cython", "pybind11", "pkgconfig", "packaging"]

# In the order of their dependencies. What stands between two sources is installed, as wheels, before the second.
PETSC = Source("petsc", "3.26.0", 5, {"PETSC_CONFIGURE_OPTIONS": PETSC_CONFIGURE_OPTIONS})
PETSC4PY = Source("petsc4py", "3.26.0", 4, {"CC": "mpicc"}, relocate=True)
SUPERMESH = Source("libsupermesh", "2026.3", 0.5, isolated=True, relocate=True)
H5PY = Source("h5py", "3.16.0", 2, {"CC": "mpicc", "HDF5_MPI": "ON", "HDF5_INCLUDEDIR": HDF5_INCLUDE, "HDF5_LIBDIR": HDF5_LIB})
FIREDRAKE = Source("firedrake", "2026.10.0", 1.5, relocate=True)
SOURCES = (PETSC, PETSC4PY, SUPERMESH, H5PY, FIREDRAKE)

FIREDRAKE_WHEELS = [
    "cachetools",
    "decorator<=4.4.2",
    "fenics-ufl==2026.2",
    "firedrake-fiat==2026.10",
    "immutabledict",
    "loopy>2024.1",
    "progress",
    "pyadjoint-ad>=2026.10",
    "pycparser",
    "pytools[siphash]",
    "requests",
    "scipy",
    "sympy",
    "islpy<2026.2",
]


def say(text: str) -> None:
    print(text, flush=True)


def stop(text: str) -> NoReturn:
    sys.exit("\n" + textwrap.dedent(text).strip())


def run_logged(label: str, command: list[str | Path], minutes: float, env: dict[str, str] | None = None) -> None:
    """Run one step into a log file, saying every half minute that it is still at work."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (re.sub(r"[^\w.]+", "-", label.lower())[:60] + ".log")
    usual = f"about {minutes:g} min" if minutes >= 1 else f"about {60 * minutes:.0f} s"
    say(f"  {label} ({usual}; log: {log})")
    start = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(c) for c in command], stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, cwd=ROOT
        )
        try:
            while True:
                try:
                    code = process.wait(timeout=30)
                    break
                except subprocess.TimeoutExpired:
                    say(f"    ... {time.monotonic() - start:.0f} s")
        except KeyboardInterrupt:
            process.terminate()
            stop("Interrupted. What is finished is kept: start the same command again to go on.")
    if code:
        written = log.read_text(errors="replace")
        say("".join(written.splitlines(keepends=True)[-30:]))
        cause = "".join(f" {text}" for pattern, text in CAUSES.items() if re.search(pattern, written))
        stop(
            f"'{label}' failed (exit code {code}).{cause} The whole log is {log}. Start the same command again after mending it."
        )
    say(f"    done in {time.monotonic() - start:.0f} s")


def pip_install(label: str, minutes: float, *args: str | Path) -> None:
    run_logged(label, [PYTHON, "-m", "pip", "install", "-c", CONSTRAINTS, *args], minutes)


def can_import(python: str | Path, *modules: str) -> bool:
    if not Path(python).exists():
        return False
    code = "import " + ", ".join(modules)
    return subprocess.run([str(python), "-c", code], capture_output=True, cwd=Path.home()).returncode == 0


def missing_apt_packages(wanted: list[str]) -> list[str]:
    query = ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *wanted]
    listed = subprocess.run(query, capture_output=True, text=True).stdout.split("\n")
    installed = {line.split()[0] for line in listed if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def install_system_packages() -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-query") is None:
        stop("""
            Firedrake has to be compiled, and this machine has no apt to fetch what that needs. Install Firedrake 2026.10 by
            https://www.firedrakeproject.org/install, activate its environment (so that `python3 -c 'import firedrake'` works),
            and run the same command again: thalweg then uses that Firedrake.
        """)
    wanted = list(APT_PACKAGES)
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        wanted.append("python3-dev")
    missing = missing_apt_packages(wanted)
    if not missing:
        return
    if os.geteuid() != 0:
        stop(
            "Firedrake has to be compiled and needs system packages, which only root can install. Run\n\n"
            f"    sudo apt-get update && sudo apt-get install -y --no-install-recommends {' '.join(missing)}\n\n"
            "and then the same command again."
        )
    apt_install(missing)


def apt_install(packages: list[str]) -> None:
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run_logged("apt-get update", ["apt-get", "update"], 0.2, env)
    run_logged(
        "apt-get install " + " ".join(packages), ["apt-get", "install", "-y", "--no-install-recommends", *packages], 1, env
    )


def install_gmsh_libraries() -> None:
    """What gmsh needs of the system. It is an extra, so a machine where this cannot be had goes on without."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-query") is None:
        return
    missing = missing_apt_packages(GMSH_LIBRARIES)
    if missing and os.geteuid() == 0:
        apt_install(missing)
    elif missing:
        say(f"  gmsh will not import until these are there: sudo apt-get install -y {' '.join(missing)}")


def make_venv() -> None:
    if can_import(PYTHON, "pip"):
        return
    if VENV.exists():
        shutil.rmtree(VENV)
    say("  virtual environment .venv")
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        said = (made.stdout + made.stderr).strip()
        if "ensurepip" not in said:
            stop(f"{sys.executable} -m venv {VENV} failed:\n\n{said}")
        if os.geteuid() == 0 and shutil.which("apt-get"):
            apt_install(["python3-venv"])
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        else:
            stop(f"""
                {sys.executable} cannot make virtual environments. Run

                    sudo apt-get install -y python3-venv

                and then the same command again.
            """)


def wheel_folder() -> Path:
    """The cache folder of this recipe on this kind of machine and Python."""
    recipe = json.dumps([asdict(source) for source in SOURCES], sort_keys=True).encode()
    tag = f"{sys.implementation.cache_tag}-{platform.system().lower()}-{platform.machine()}"
    return CACHE / "wheels" / f"{tag}-{hashlib.sha256(recipe).hexdigest()[:12]}"


def relocate(wheel: Path) -> None:
    """Make the shared libraries in a wheel find one another relative to themselves, whatever the environment's path."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([PYTHON, "-m", "wheel", "unpack", "-d", folder, wheel], check=True, stdout=subprocess.DEVNULL)
        (tree,) = Path(folder).iterdir()
        for library in tree.rglob("*.so*"):
            up = "/".join([".."] * (len(library.relative_to(tree).parts) - 1)) or "."
            rpath = ":".join(f"$ORIGIN/{up}/{directory}" for directory in LIBRARY_DIRS)
            subprocess.run(["patchelf", "--set-rpath", rpath, str(library)], check=True)
        subprocess.run([PYTHON, "-m", "wheel", "pack", "-d", wheel.parent, tree], check=True, stdout=subprocess.DEVNULL)


def built_wheel(source: Source) -> Path:
    """The cached wheel of a source, compiled first if it is not there."""
    folder = wheel_folder()
    pattern = f"{source.name}-{source.version}-*.whl"
    if found := sorted(folder.glob(pattern)):
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        requirement = f"{source.name}=={source.version}"
        command = [
            PYTHON,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-cache-dir",
            "--no-binary",
            source.name,
            "-w",
            partial,
            requirement,
        ]
        if not source.isolated:
            command.append("--no-build-isolation")
        env = dict(source.env)
        if can_import(PYTHON, "petsc"):
            locate = [str(PYTHON), "-c", "import petsc; print(petsc.get_petsc_dir())"]
            env["PETSC_DIR"] = subprocess.run(locate, capture_output=True, text=True, check=True, cwd=Path.home()).stdout.strip()
            env["PETSC_ARCH"] = ""
        run_logged(f"{source.name} {source.version}, compiled", command, source.minutes, env)
        (wheel,) = Path(partial).glob("*.whl")
        if source.relocate:
            relocate(wheel)
        return Path(shutil.move(wheel, folder / wheel.name))


def install_source(source: Source) -> None:
    marker = list((VENV / "lib").glob(f"python3*/site-packages/{source.name}-{source.version}.dist-info"))
    if not marker:
        pip_install(f"{source.name} {source.version}, installed", 0.2, "--no-deps", built_wheel(source))


def keep_to_own_petsc() -> None:
    """Where PETSc lies is written into petsc4py's wheel, which may have been built for another clone."""
    for written in (VENV / "lib").glob("python3*/site-packages/petsc4py/lib/petsc.cfg"):
        written.write_text(f"PETSC_DIR  = {written.parents[2] / 'petsc'}\nPETSC_ARCH = \n")


def link_firedrake(python: str) -> None:
    """Let .venv see the site-packages of an environment that already has Firedrake."""
    code = "import site, sys; print('\\n'.join(p for p in sys.path if p.endswith('-packages')))"
    paths = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    (target,) = (VENV / "lib").glob("python3*/site-packages")
    (target / "firedrake-environment.pth").write_text(paths)


def install_firedrake() -> None:
    if can_import(PYTHON, "firedrake"):
        return
    if can_import(sys.executable, "firedrake"):
        say(f"  using the Firedrake of {sys.executable}")
        link_firedrake(sys.executable)
        if can_import(PYTHON, "firedrake"):
            return
    install_system_packages()
    pip_install("build-tools", 0.3, "-U", *BUILD_TOOLS)
    install_source(PETSC)
    install_source(PETSC4PY)
    pip_install("mpi-wheels", 0.2, "mpi4py", "rtree>=1.2", "firedrake-rtree>=2026.3.0", "petsctools")
    install_source(SUPERMESH)
    install_source(H5PY)
    pip_install("firedrake-wheels", 0.5, *FIREDRAKE_WHEELS)
    install_source(FIREDRAKE)
    if not can_import(PYTHON, "firedrake"):
        stop(f"""
            Firedrake was installed but does not import. This says why:

                {PYTHON} -c 'import firedrake'

            Removing {wheel_folder()} and .venv and running the same command again compiles everything anew.
        """)


def fingerprint() -> str:
    files = [Path(__file__), CONSTRAINTS, ROOT / "pyproject.toml"]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def require_space() -> None:
    if (free := shutil.disk_usage(ROOT).free) < NEEDED:
        stop(f"The installation needs {NEEDED / 1e9:.0f} GB of disk; {ROOT} has {free / 1e9:.1f} GB left. Free some space first.")


def main() -> None:
    try:
        install()
    except OSError as error:
        stop(
            f"{error.filename or 'A file'} cannot be used ({error.strerror or error}). Mend that, and start the same command again."
        )


def install() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  this script runs before anything has checked the version
        stop(
            f"thalweg needs Python 3.11 or newer; this is {platform.python_version()} ({sys.executable}). Where there is another, name it: "
            "make run PYTHON=python3.12."
        )
    if STAMP.exists() and STAMP.read_text() == fingerprint() and PYTHON.exists():
        return
    if not PYTHON.exists():
        require_space()
    start = time.monotonic()
    say("Installing thalweg and Firedrake into .venv (about 15 min the first time on a machine, 2 min after that)")
    make_venv()
    install_firedrake()
    keep_to_own_petsc()
    install_gmsh_libraries()
    pip_install("thalweg and what it needs", 1, "-e", f"{ROOT}[dev]")
    STAMP.write_text(fingerprint())
    say(f"Installed in {time.monotonic() - start:.0f} s.")


if __name__ == "__main__":
    main()
