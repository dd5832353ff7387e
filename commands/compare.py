"""``thalweg compare``: runs side by side in one table and one picture, with the reference solver at lower resolutions."""

import json
import logging
import re
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from ..data.shards import read_provenance, shards
from ..errors import InputError
from ..storage import atomic
from ..training import evaluate
from ..training.evaluation import Result
from ..training.metrics.metric import final
from ..visualization.tradeoff import plot_tradeoff
from .run import Run
from .solver_levels import solver_levels
from .splits import shard_folders

log = logging.getLogger("thalweg")

#: Where runs may differ and still be one, repeated with another seed.
_REPEATS = ("seed", "name", "folder", "device", "resume", "overwrite", "data")

_COST = ("num_parameters", "seconds_train", "seconds_train_cpu", "seconds_per_sample_operator", "peak_memory_mib")
_NOT_METRICS = {*_COST, "samples_per_second", "seconds_per_step", "steps", "seconds_per_sample_solver", "num_samples"}

TIME = "seconds_per_sample_operator"


@dataclass
class Entry:
    """One row of the comparison: a run, several that differ in their seed, or a solver."""

    name: str
    folders: list[str]
    results: list[Result] = field(default_factory=list)

    def values(self, key: str) -> list[float]:
        """A metric of every run that has it, as one number each."""
        return [final(result[key]) for result in self.results if key in result]

    def mean(self, key: str) -> float:
        return statistics.fmean(self.values(key))

    def deviation(self, key: str) -> float | None:
        """The sample standard deviation over runs."""
        found = self.values(key)
        return statistics.stdev(found) if len(found) > 1 else None


def run(config: DictConfig) -> dict:
    """Evaluate all runs and the cheaper solvers; write the table and the picture; returns what ``compare.json`` holds."""
    runs = [Run(folder, config.device) for folder in _folders(config)]
    _require_same_data(runs, config.split)
    entries = _grouped(runs)
    by_folder = {str(run.folder): run for run in runs}
    for entry in entries:
        for folder in entry.folders:
            log.info("evaluating %s", folder)
            entry.results.append(_evaluate(by_folder[folder], config.split, config.batch_size))
    metrics = list(
        dict.fromkeys(key for entry in entries for result in entry.results for key in result if key not in _NOT_METRICS)
    )
    error = config.error or metrics[0]
    if error not in metrics:
        raise InputError(f"No run has a metric {error!r}; they have {', '.join(metrics)}.")
    levels = OmegaConf.to_container(config.solver, resolve=True)
    assert isinstance(levels, list)
    solvers = [Entry(name, [], [result]) for name, result in solver_levels(runs[0], levels, config.split, config.solver_samples)]

    folder = Path(config.output)
    # On a CPU it is that of this process, which has evaluated all of them.
    columns = [*metrics, *(key for key in _COST if key != "peak_memory_mib" or runs[0].device.type == "cuda")]
    rows = [_row(entry, columns) for entry in (*entries, *solvers)]
    content = _content(entries, solvers, config.split)
    with atomic(folder / "compare.json") as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
    with atomic(folder / "compare.md") as partial:
        partial.write_text(_markdown(columns, rows))
    reference = [t for entry in entries for t in entry.values("seconds_per_sample_solver")]
    plot_tradeoff(
        [_point(entry, error) for entry in entries if entry.values(error)],
        [_point(entry, error) for entry in solvers if entry.values(error)],
        folder / "compare.png",
        error=error,
        reference=reference[0] if reference else None,
    )
    _print(columns, rows, f"{config.split} split, {len(runs)} runs")
    log.info("compare.md, compare.json and compare.png in %s", folder)
    return content


def _folders(config: DictConfig) -> list[str]:
    runs = [config.runs] if isinstance(config.runs, str) else list(config.runs)
    if not runs or len(set(runs)) < len(runs):
        raise InputError(f"Name the folders of different runs, such as runs=[outputs/a,outputs/b], not {runs}.")
    return runs


def _require_same_data(runs: list[Run], split: str) -> None:
    """Errors are compared on the same samples of the same data only."""
    made = []
    for run in runs:
        makings = [read_provenance(found[0]) for folder in shard_folders(run.config) if (found := shards(folder))]
        made.append([(making.fingerprint, making.seed, making.config) for making in makings])
    for run, making in zip(runs, made, strict=True):
        if making != made[0]:
            raise InputError(
                f"{runs[0].folder} and {run.folder} were trained on different data ({runs[0].config.data.folder}, "
                f"{run.config.data.folder}), so their errors cannot be compared. Compare runs on one data set."
            )
        if run.config.data.split[split] != runs[0].config.data.split[split]:
            raise InputError(
                f"The {split} splits of {runs[0].folder} and {run.folder} have {runs[0].config.data.split[split]} and "
                f"{run.config.data.split[split]} samples. Compare them on a split that is the same."
            )


def _grouped(runs: list[Run]) -> list[Entry]:
    """Runs with one configuration but for the seed in one entry each, in the order of the first of them."""
    groups: dict[str, Entry] = {}
    names: dict[str, str] = {}
    for run in runs:
        nodes = OmegaConf.to_container(run.config, resolve=True)
        assert isinstance(nodes, dict)
        key = json.dumps({name: node for name, node in nodes.items() if name not in _REPEATS}, sort_keys=True)
        names.setdefault(key, str(run.config.name))
        # Sweeps name their folders by what varies.
        swept = re.sub(r",?seed=\d+,?", "", run.folder.name)
        groups.setdefault(key, Entry(swept or names[key], [])).folders.append(str(run.folder))
    shared = Counter(entry.name for entry in groups.values())
    for key, entry in groups.items():
        if shared[entry.name] > 1 and entry.name != names[key]:
            entry.name = f"{names[key]}, {entry.name}"
    return list(groups.values())


def _evaluate(run: Run, split: str, batch_size: int) -> Result:
    disc = run.discretization()
    result = evaluate(run.operator(disc), run.data(split, disc), run.metrics(), batch_size, run.objective(disc))
    return result | run.training_seconds()


def _row(entry: Entry, columns: list[str]) -> list[str]:
    seeds = f" ({len(entry.results)} seeds)" if len(entry.results) > 1 else ""
    return [entry.name + seeds, *(_cell(entry, column) for column in columns)]


def _heading(column: str) -> str:
    """Times are those of operators and of solvers."""
    return column.removesuffix("_operator")


def _cell(entry: Entry, column: str) -> str:
    if not entry.values(column):
        return ""
    mean, deviation = entry.mean(column), entry.deviation(column)
    text = str(round(mean)) if column == "num_parameters" else f"{mean:.4g}"
    return f"{text} ± {deviation:.2g}" if deviation else text


def _point(entry: Entry, error: str) -> tuple[str, float, float, float]:
    return entry.name, entry.mean(TIME), entry.mean(error), entry.deviation(error) or 0.0


def _content(entries: list[Entry], solvers: list[Entry], split: str) -> dict:
    def described(entry: Entry) -> dict:
        keys = dict.fromkeys(key for result in entry.results for key in result)
        return {
            "name": entry.name,
            "runs": [{"folder": folder, **result} for folder, result in zip(entry.folders, entry.results, strict=True)],
            "mean": {key: entry.mean(key) for key in keys},
            "deviation": {key: entry.deviation(key) for key in keys if entry.deviation(key) is not None},
        }

    measured = [{"name": entry.name} | {_heading(key): value for key, value in entry.results[0].items()} for entry in solvers]
    return {"split": split, "operators": [described(entry) for entry in entries], "solvers": measured}


def _markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [["run", *map(_heading, columns)], ["---"] * (len(columns) + 1), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _print(columns: list[str], rows: list[list[str]], title: str) -> None:
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_column(row[0], overflow="fold")
    for i, column in enumerate(columns, start=1):
        table.add_row(_heading(column), *(row[i] for row in rows))
    Console().print(table)
