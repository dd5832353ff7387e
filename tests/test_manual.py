"""The manual stays true to the code: its commands compose, its links resolve, its pictures exist, its lists are complete."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from test_configurations import CONF, GROUPS
from thalweg.__main__ import VERBS, _with_runs

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What a command may be preceded by.
LAUNCHERS = (["torchrun", "--nproc-per-node"], ["mpiexec", "-n"])


def commands(page: Path) -> list[list[str]]:
    """The words of every command in the blocks of a page, comments left out, variables of the shell replaced."""
    lines = re.findall(r"^    (?! )(.*)$", re.sub(r"\\\n\s*", " ", page.read_text()), re.MULTILINE)
    variables: dict[str, str] = {}
    found = []
    for text in lines:
        for name, value in variables.items():
            text = text.replace(f"${name}", value)
        if assigned := re.fullmatch(r'(\w+)="(.*)"', text):
            variables[assigned[1]] = assigned[2]
        elif re.match(r"(\w+=\S+ )?(thalweg|python|torchrun|mpiexec|/tmp/peers) ?", text):
            found.append([word for word in shlex.split(text, comments=True) if not re.fullmatch(r"[A-Z_]+=\S+", word)])
    return found


def verbs(page: Path) -> list[list[str]]:
    """The commands of thalweg on a page, without ``thalweg`` and what starts several processes."""
    return [words[words.index("thalweg") + 1 :] for words in commands(page) if "thalweg" in words]


@pytest.fixture(scope="module", autouse=True)
def no_other_hydra():
    GlobalHydra.instance().clear()


def composed(verb: str, arguments: list[str]) -> None:
    """Compose a command's configuration; of a sweep, that of the first job."""
    overrides = []
    if "--config-dir" in arguments:
        at = arguments.index("--config-dir")
        overrides.append(f"hydra.searchpath=[file://{ROOT / 'examples' / arguments[at + 1]}]")
        arguments = arguments[:at] + arguments[at + 2 :]
    sweep = "-m" in arguments
    arguments = [word for word in arguments if word != "-m"]
    if verb == "compare":
        arguments = _with_runs(arguments)
    for override, text in zip(OverridesParser.create().parse_overrides(arguments), arguments, strict=True):
        assert sweep or not override.is_sweep_override(), f"{text} needs -m"
        key = override.get_key_element()
        overrides.append(f"{key}={next(override.sweep_string_iterator())}" if override.is_sweep_override() else text)
    assert compose(verb, overrides)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_thalweg_in_the_manual_composes(page: Path):
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        for verb, *arguments in verbs(page):
            assert verb in VERBS, f"{page.name}: thalweg {verb}"
            try:
                composed(verb, arguments)
            except Exception as error:
                raise AssertionError(f"{page.name}: thalweg {verb} {' '.join(arguments)}") from error


def test_the_commands_of_the_manual_are_found():
    """Lest the test above pass because it sees none."""
    assert ["generate", "experiment=quickstart"] in verbs(ROOT / "README.md")
    spread = [words for page in PAGES for words in verbs(page)]
    assert len(spread) > 100
    assert {words[0] for words in spread} == set(VERBS)
    sweeps = [words for words in verbs(ROOT / "docs/neuralstagger.md") if "-m" in words]
    (sweep,) = [words for words in sweeps if "experiment=neuralstagger_vorticity" in words]
    assert "training.loop.epochs=12" in sweep


def test_scripts_of_the_manual_exist_and_have_their_options():
    for page in PAGES:
        for words in commands(page):
            script = next((word for word in words if word.endswith(".py")), None)
            if "thalweg" in words or script is None:
                continue
            assert (ROOT / script).is_file(), f"{page.name}: {script}"
            text = (ROOT / script).read_text()
            for option in (word for word in words[words.index(script) :] if word.startswith("--")):
                assert f'"{option}"' in text, f"{page.name}: {script} has no {option}"
        for script in re.findall(r"(?:docs|examples|benchmarks)/\w+\.py", page.read_text()):
            assert (ROOT / script).is_file(), f"{page.name}: {script}"


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub and myst make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_and_picture_resolves():
    shown = set()
    for page in PAGES:
        prose = re.sub(r"```.*?```|^    .*?$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if target.startswith(("http:", "https:")):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(path), f"{page.name}: {target}"
            shown.add(path)
    pictures = set((ROOT / "docs/images").iterdir())
    assert pictures <= shown, f"no page shows {pictures - shown}"


def test_every_problem_is_in_the_list_of_problems():
    page = (ROOT / "docs/problems.md").read_text()
    listed = {name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(GROUPS["problem"])


def test_every_example_is_short_and_in_the_gallery_or_on_a_page():
    text = "".join(page.read_text() for page in PAGES)
    for example in (ROOT / "examples").glob("*.py"):
        assert len(example.read_text().splitlines()) < 120, example
        assert example.name in text, example


def test_every_public_name_is_in_the_reference():
    pages = (ROOT / "docs/reference").glob("*.md")
    text = "".join(page.read_text() for page in pages)
    reached = {public for name in re.findall(r"automodule:: (\S+)", text) for public in importlib.import_module(name).__all__}
    reached |= {name.rpartition(".")[2] for name in re.findall(r"autoclass:: (\S+)", text)}
    for folder in sorted(path.parent for path in ROOT.glob("*/**/__init__.py") if ".venv" not in path.parts):
        name = ".".join(["thalweg", *folder.relative_to(ROOT).parts])
        public = set(getattr(importlib.import_module(name), "__all__", ()))
        assert public <= reached, f"{name}: {public - reached}"


def test_every_experiment_of_control_is_on_its_page():
    page = (ROOT / "docs/control.md").read_text()
    assert all(f"`{name}`" in page or f"experiment={name}" in page for name in GROUPS["control"])
    assert (CONF / "control").is_dir()
