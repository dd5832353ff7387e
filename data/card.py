"""The card of a data set: what it holds and how it was made, for people (``README.md``) and for programs (``card.json``)."""

import inspect
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import FileError
from ..fem.uniform_grid import Grid, Grids
from ..hdf5 import read_text, reading_hdf5
from ..storage import atomic
from .shards import KIND, Shard, Spaces, h5_times, read_provenance, read_spaces, require_shards

CARD = "card.json"
README = "README.md"


def write_card(folder: str | os.PathLike, num_samples: int | None = None, description: str = "") -> dict[str, Any]:
    """Describe the data set in a folder, in its ``README.md`` and ``card.json``; returns the latter's content.

    The ranges of the fields come from the shards, which hold them, so this takes no pass over the data.

    Args:
        num_samples: those that were asked for; all that are there by default.
        description: prose on where the data come from, such as a problem's docstring.
    """
    folder = Path(folder)
    present = require_shards(folder)
    makings = [read_provenance(shard) for shard in present]
    first = makings[0]
    spaces = read_spaces(folder)
    card = {
        "name": folder.resolve().name,
        "description": _prose(description),
        "samples": sum(map(len, present)),
        "complete": num_samples is None or sum(map(len, present)) >= num_samples,
        "fields": _fields(present, spaces),
        "times": _times(present[0]),
        "seed": first.seed,
        "dtype": first.dtype,
        "problem": first.config,
        "failed_draws": [asdict(draw) for making in makings for draw in making.failed],
        "versions": first.versions,
        "fingerprint": first.fingerprint,
    }
    with atomic(folder / CARD) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    with atomic(folder / README) as partial:
        partial.write_text(_page(card, spaces, present))
    return card


def read_card(folder: str | os.PathLike) -> dict[str, Any]:
    """The card of a data set.

    Raises:
        FileError: there is none, or it is damaged.
    """
    path = Path(folder) / CARD
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FileError(f"The card {path} cannot be read ({error}). `thalweg generate` writes it anew.") from error


def _prose(docstring: str) -> str:
    """What a docstring says before it lists arguments, names without their marks."""
    text = inspect.cleandoc(docstring).split("\n\nArgs:")[0].split("\n\nAttributes:")[0]
    return re.sub(r"(?::\w+:)?`+~?([^`]*)`+", r"\1", text)


def _fields(present: list[Shard], spaces: Spaces) -> dict[str, dict[str, Any]]:
    """Space, shape of a sample, smallest and largest value of each field."""
    fields: dict[str, dict[str, Any]] = {}
    for shard in present:
        with reading_hdf5(shard.path, KIND) as file:
            for name, values in file["fields"].items():
                attrs, now = values.attrs, fields.setdefault(name, {})
                now.update(space=read_text(values, "space"), shape=list(values.shape[1:]))
                now["minimum"] = min(now.get("minimum", float("inf")), float(attrs["minimum"]))
                now["maximum"] = max(now.get("maximum", -float("inf")), float(attrs["maximum"]))
    for entry in fields.values():
        space = spaces[entry["space"]]
        entry["on"] = str(space if isinstance(space, Grid) else space.element)
    return fields


def _times(shard: Shard) -> list[float] | None:
    with reading_hdf5(shard.path, KIND) as file:
        times = h5_times(file)
    return None if times is None else times.tolist()


def _page(card: dict[str, Any], spaces: Spaces, present: list[Shard]) -> str:
    times = card["times"]
    axes = "(sample, time, channel, x, ...)" if isinstance(spaces, Grids) else "(sample, time, dofs)"
    rows = [
        f"| {name} | {' x '.join(map(str, f['shape']))} | {f['minimum']:.4g} | {f['maximum']:.4g} | {f['space']}: {f['on']} |"
        for name, f in card["fields"].items()
    ]
    failed = [f"- sample {d['sample']}, draw {d['attempt']}: {d['reason']}" for d in card["failed_draws"]]
    parts = [
        f"# {card['name']}",
        card["description"],
        f"{card['samples']} samples in {len(present)} files, seed {card['seed']}, {card['dtype']}"
        + (f", {len(times)} frames at times {times[0]:g} to {times[-1]:g}." if times else "."),
        f"Fields are `{axes}` in `/fields/<name>` of `samples-*.h5`:",
        "\n".join(["| field | shape of a sample | smallest | largest | space |", "|---|---|---|---|---|", *rows]),
        "![The first samples](preview.png)" if (present[0].path.parent / "preview.png").exists() else "",
        "Read them with `thalweg.data.FieldDataset(folder)`.",
        "## Draws that failed and were replaced\n\n" + "\n".join(failed) if failed else "",
        f"## How it was made\n\n```json\n{json.dumps({'problem': card['problem'], 'versions': card['versions']}, indent=2)}\n```",
        f"Fingerprint of the discretization: `{card['fingerprint']}`",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
