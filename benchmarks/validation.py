"""Every reference solver against published, exact and analytic values, as one page of the documentation.

python benchmarks/validation.py --scale small       # minutes
python benchmarks/validation.py --json docs/validation.json --markdown docs/validation.md

At full size that takes hours on two cores. Cases that the JSON file holds already are kept, so it can be interrupted.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import report
import torch
import validation_elliptic
import validation_flow
import validation_grid

from thalweg.allocator import keep_freed_memory
from thalweg.storage import atomic

#: Headings and modules.
PARTS = {
    "Finite elements: elliptic problems, elasticity, Burgers": validation_elliptic,
    "Finite elements: flow": validation_flow,
    "Grids, batched in torch": validation_grid,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases only, such as flow.cavity")
    parser.add_argument("--large", action="store_true", help="with the Taylor-Green vortex at Re 1600 on 256³ cells")
    parser.add_argument(
        "--json", metavar="PATH", help="write the figures, the machine and the versions there, and go on from there"
    )
    parser.add_argument("--markdown", metavar="PATH", help="write the tables as a page")
    arguments = parser.parse_args()
    keep_freed_memory()
    found = _before(arguments.json, arguments.scale)
    for heading, module in PARTS.items():
        for case in (*module.CASES, *(getattr(module, "LARGE", ()) if arguments.large else ())):
            name = f"{module.__name__.removeprefix('validation_')}.{case.__name__}"
            if any(row["case"] == name for row in found) or (arguments.only and name not in arguments.only):
                continue
            start = time.perf_counter()
            with torch.no_grad():
                made = list(case(module.SCALES[arguments.scale]))
            found += [{"part": heading, "case": name, **row} for row in made]
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            if arguments.json:
                report.write_json(arguments.json, "validation", {"scale": arguments.scale}, found)
    report.print_table("reference solvers, validated", [_shown(row) for row in found])
    if arguments.markdown:
        with atomic(arguments.markdown) as partial:
            partial.write_text(page(found, arguments.scale))


def page(rows: list[dict[str, Any]], scale: str) -> str:
    """The tables in Markdown, a part after the other in their order."""
    lines = [
        "# Validation",
        "",
        "Every reference solver against published, exact or analytic values, made by",
        "",
        f"    python benchmarks/validation.py --scale {scale} --json docs/validation.json --markdown docs/validation.md",
        "",
        "Errors are relative to the reference, or absolute where that is zero. Smaller cases of the same claims are in the tests.",
        "The goals are 0.1 % for the cylinder 2D-1, 1 % for 2D-2, Ghia's tables within their accuracy, and three digits of Botella and",
        "Peyret's. Finite elements meet them all. The staggered grid meets Ghia's only: its cavity is 1.6 % off at 128², and its cylinder",
        "is a staircase of cells, whose drag converges with first order only.",
    ]
    for heading in PARTS:
        part = [row for row in rows if row["part"] == heading]
        if part:
            lines += ["", f"## {heading}", "", "| quantity | computed | reference | error | source |", "|---|---|---|---|---|"]
            lines += [_line(row) for row in part]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    numbers = f"{row['computed']:.7g} | {row['reference']:.7g} | {row['error']:.1e}"
    return f"| {_cell(row['quantity'])} | {numbers} | {_cell(row['source'])} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("quantity", "computed", "reference", "error", "source")}


def _before(path: str | None, scale: str) -> list[dict[str, Any]]:
    if path is None or not Path(path).exists():
        return []
    written = json.loads(Path(path).read_text())
    return written["rows"] if written["settings"] == {"scale": scale} else []


if __name__ == "__main__":
    main()
