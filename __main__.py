"""The command line: ``thalweg VERB [key=value ...]``, each verb a Hydra application over ``thalweg.conf``."""

import math
import os
import re
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

VERBS = {
    "generate": "make a data set with a problem's reference solver",
    "train": "train an operator on a data set, or resume",
    "evaluate": "judge a trained operator on unseen samples",
    "predict": "apply a trained operator to inputs of your own, and write VTU",
    "plot": "draw what a run has to show",
    "report": "write all that is known of a run into one HTML file",
    "control": "find the controls of a flow or the parameters of a model",
    "compare": "set runs side by side: errors, parameters, times, and the solver at lower resolutions",
    "export": "write a trained operator to one file that torch alone can run",
}

#: Flags of Hydra that are followed by a value.
_TAKE_VALUES = ("-c", "--cfg", "-p", "--package", "-i", "--info", "-cn", "--config-name", "-cd", "--config-dir")

#: What a verb cannot do without.
_START = {
    "generate": "Choose an experiment, such as experiment=quickstart, or a problem, such as problem=darcy_rough. ",
    "train": "Choose an experiment, such as experiment=quickstart. ",
    "compare": "Give the folders of runs: thalweg compare outputs/a outputs/b. ",
    "predict": "Give the folder of a run and inputs: run=outputs/quickstart 'inputs={f: \"sin(x)\"}'. ",
} | dict.fromkeys(("evaluate", "plot", "report", "export"), "Give the folder of a run, such as run=outputs/quickstart. ")

#: Values that Hydra's grammar takes as they are, and those that are more than one word to it.
_PLAIN = re.compile(r"[\w/\-\\+.$%*@?|:=~ ]*", re.ASCII)
_STRUCTURE = re.compile(r"""['"{}\[\](),]|\\$""")

_QUOTES = """Put a value with special characters in quotes of both kinds, 'inputs={f: "x>0.5"}'. """

USAGE = (
    "usage: thalweg VERB [key=value ...]\n\n"
    + "\n".join(f"  {verb:10s}{text}" for verb, text in VERBS.items())
    + """

  thalweg VERB --help      what the verb does, its configuration groups and every key with its value
  thalweg VERB --cfg job   only the configuration that the given overrides make
  thalweg VERB -m key=a,b  a sweep: one job for each of the values, or for each of their combinations

Start with
  thalweg generate experiment=quickstart
  thalweg train experiment=quickstart
  thalweg evaluate run=outputs/quickstart
"""
)


def main() -> None:
    """Run the verb in ``sys.argv``.

    Exit codes: 0 done, 1 an error that is explained, 2 wrong usage, 130 interrupted, 141 nobody reads what is printed any more.
    """
    try:
        try:
            _run([argument for argument in sys.argv[1:] if argument])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # as in `thalweg train --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        sys.exit(141)
    except KeyboardInterrupt:  # while the configuration is read; the verbs have their own answer
        print("thalweg: interrupted", file=sys.stderr)
        sys.exit(130)


def _run(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        sys.exit(0 if arguments else 2)
    verb, *overrides = arguments
    if verb not in VERBS:
        guess = get_close_matches(verb, VERBS, 1)
        hint = f" Did you mean {guess[0]!r}?" if guess else ""
        print(f"thalweg: there is no verb {verb!r}.{hint}\n\n{USAGE}", file=sys.stderr)
        sys.exit(2)
    from omegaconf.errors import OmegaConfBaseException

    from .commands.sweep import FLAGS

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    sys.path.append(os.getcwd())  # noqa: PTH109, problems of the user's own are modules there
    overrides = _with_runs(overrides) if verb == "compare" else _with_name(overrides) if verb == "generate" else overrides
    overrides.sort(key=lambda argument: argument not in FLAGS)  # which Hydra does not find between keys
    overrides = [_quoted(override) for override in overrides]
    _check(verb, overrides)
    sys.argv = [f"thalweg {verb}", *overrides]
    failed: list[str] = []
    try:
        _application(verb, failed)()
    except OmegaConfBaseException as error:  # of Hydra's own keys, which it resolves before the verb is called
        _stop_incomplete(verb, error)
    if failed:
        print(f"thalweg {verb}: {len(failed)} of the sweep's jobs failed: {'; '.join(failed)}", file=sys.stderr)
        sys.exit(1)


def _with_runs(arguments: list[str]) -> list[str]:
    """``outputs/a outputs/b`` as ``runs=['outputs/a','outputs/b']``; a sweep's folders have = and commas in their names."""
    pairs = list(zip(["", *arguments], arguments, strict=False))
    bare = [a for flag, a in pairs if a[0] != "-" and flag not in _TAKE_VALUES and ("=" not in a or os.path.isdir(a))]  # noqa: PTH112
    quoted = ",".join("'" + folder.replace("'", "\\'") + "'" for folder in bare)
    return [f"runs=[{quoted}]", *(a for a in arguments if a not in bare)] if bare else arguments


def _with_name(arguments: list[str]) -> list[str]:
    """Data of a problem are named after it, where neither a name nor an experiment, which has one, is given."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    problem = given.get("problem", "")
    has_name = not problem or "," in problem or given.keys() & {"name", "experiment"}
    return arguments if has_name else [*arguments, f"name={problem}"]


def _quoted(argument: str) -> str:
    """``folder=läufe`` as ``folder='läufe'``: Hydra reads letters beyond ASCII, &, ! and the like in quotes only."""
    key, equals, value = argument.partition("=")
    if not equals or argument.startswith("-") or _PLAIN.fullmatch(value) or _STRUCTURE.search(value):
        return argument
    return f"{key}='{value}'"


def _application(verb: str, failed: list[str]):
    """The verb under Hydra. Jobs of a sweep that fail with an explained error are added to ``failed``, and the others go on."""
    import hydra
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    from .commands.sweep import enter_job
    from .errors import ThalwegError

    arguments = sys.argv[1:]

    @hydra.main(version_base="1.3", config_path="pkg://thalweg.conf", config_name=verb)
    def application(config: DictConfig):
        job = enter_job(config, arguments)
        sys.argv = sys.argv[:1]  # PETSc takes what it finds there for options of its own
        try:
            _name_by_text(config)
            return import_module(f"thalweg.commands.{verb}").run(config)
        except ThalwegError as error:
            if job is None:
                _stop(verb, str(error))
            print(f"thalweg {verb}: {job}: {error}", file=sys.stderr)
            failed.append(job)
            return math.inf  # the worst metric
        except OmegaConfBaseException as error:
            _stop_incomplete(verb, error)
        except KeyboardInterrupt:
            print(f"thalweg {verb}: interrupted", file=sys.stderr)
            sys.exit(130)

    return application


def _name_by_text(config: Any) -> None:
    """Files and folders are text, also if their names look like numbers.

    Raises:
        InputError: one is a list or a mapping.
    """
    from omegaconf import OmegaConf

    from .errors import InputError

    for key in ("run", "folder", "output", "init", "data.folder"):
        value = OmegaConf.select(config, key)
        if isinstance(value, int | float):
            OmegaConf.update(config, key, str(value))
        elif OmegaConf.is_config(value) or isinstance(value, bool):
            raise InputError(f"{key} is the name of a file or a folder, not {value}.")


def _check(verb: str, arguments: list[str]) -> None:
    """Compose the configuration once, so that a misspelt key is answered in one paragraph instead of a traceback."""
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from .commands.sweep import FLAGS, first_job
    from .commands.values import given_leaves, misfit

    if any(argument in ("--help", "-h", "--hydra-help") for argument in arguments):
        return
    pairs = zip(["", *arguments], arguments, strict=False)
    overrides = [argument for before, argument in pairs if not argument.startswith("-") and before not in _TAKE_VALUES]
    if any(argument in FLAGS for argument in arguments):
        overrides = first_job(overrides)
    if (own := _own_configurations(arguments)) and not os.path.isdir(own):  # noqa: PTH112
        _stop(verb, f"The folder of configurations {own} does not exist. Correct what follows --config-dir.")
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        if verb == "control" and not any(override.startswith("experiment=") for override in overrides):
            _stop(verb, f"Choose an experiment by experiment=...: {', '.join(_experiments_of_control())}.")
        try:
            config = compose(verb, overrides=[*overrides, *_search_path(arguments)])
            leaves = given_leaves(config, overrides)
            others = [override for override in overrides if override not in leaves.values()]
            wrong = misfit(compose(verb, overrides=[*others, *_search_path(arguments)]), config, leaves)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            text = str(error).split("Config search path")[0]
            lines = [line.strip().rstrip(".:") for line in text.splitlines() if line.strip() and "append" not in line]
            said = ": ".join([*lines[:2], ", ".join(lines[2:])][: len(lines)])
            hint = _QUOTES if "override_grammar" in text else _option(text) or _suggestion(verb, overrides)
            _stop(verb, f"{said}. {hint}`thalweg {verb} --help` shows every key.")
    if wrong:
        _stop(verb, f"{wrong}. `thalweg {verb} --help` shows every key.")


def _experiments_of_control() -> list[str]:
    from hydra.core.global_hydra import GlobalHydra

    return GlobalHydra.instance().config_loader().get_group_options("control")


def _own_configurations(arguments: list[str]) -> str:
    """The user's own folder of configurations, given by ``--config-dir``."""
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=False):
        name, _, joined = flag.partition("=")
        if name in ("-cd", "--config-dir"):
            return os.path.abspath(joined or value)  # noqa: PTH100
    return ""


def _search_path(arguments: list[str]) -> list[str]:
    """That folder as an override."""
    own = _own_configurations(arguments)
    return [f"hydra.searchpath=['file://{own}']"] if own else []


def _option(message: str) -> str:
    """The option of a group nearest to one that Hydra's message says is not there."""
    from hydra.core.global_hydra import GlobalHydra

    if not (missing := re.search(r"Could not find '(.+)/([^/']+)'", message)):
        return ""
    guess = get_close_matches(missing[2], GlobalHydra.instance().config_loader().get_group_options(missing[1]), 1)
    return f"Did you mean {guess[0]!r}? " if guess else ""


def _suggestion(verb: str, overrides: list[str]) -> str:
    """The existing key or group nearest to the first override that names none."""
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig

    def keys(node: DictConfig, prefix: str = "") -> list[str]:
        names = []
        for key in node:
            child = node._get_node(key)
            names.append(f"{prefix}{key}")
            if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
                names += keys(child, f"{prefix}{key}.")
        return names

    loader = GlobalHydra.instance().config_loader()
    groups = [group for group in loader.list_groups("") if group != "hydra"]
    groups += [f"{group}/{inner}" for group in groups for inner in loader.list_groups(group) if group != "experiment"]
    try:
        config = compose(verb, overrides=[override for override in overrides if override.split("=", 1)[0] in groups])
    except HydraException:
        config = compose(verb)
    known = {*keys(config), *groups}
    for override in overrides:
        key = override.split("=", 1)[0].lstrip("+~").split("@")[0]
        if key not in known and (guess := get_close_matches(key, known, 1)):
            return f"Did you mean {guess[0]!r}? "
    return ""


def _stop_incomplete(verb: str, error: Exception) -> NoReturn:
    said = str(error).splitlines()[0]
    hint = _START.get(verb, "") if "Missing mandatory value" in said else ""
    if said.startswith("Interpolation key"):
        said += f", but {getattr(error, 'full_key', 'another')} refers to it"
        hint = "Give the latter a value of its own, or set what it belongs to to null. "
    _stop(verb, f"The configuration is not complete or not consistent: {said}. {hint}`thalweg {verb} --help` shows every key.")


def _stop(verb: str, message: str) -> NoReturn:
    print(f"thalweg {verb}: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
