"""One HTML file with everything in it: tables, pictures and films embedded, nothing fetched from elsewhere."""

import base64
import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..errors import FileError
from ..storage import atomic


@dataclass(frozen=True)
class Picture:
    """A PNG or GIF file and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Part:
    """A section of a report: prose in paragraphs, pictures, a table and a text that unfolds, each if there is one."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    listing: str = ""
    summary: str = "show"


def write_report(path: str | os.PathLike, title: str, lead: str, parts: Sequence[Part]) -> None:
    """Write a self-contained HTML page.

    Args:
        lead: the line below the title.
        parts: its sections, in order.

    Raises:
        FileError: a picture cannot be read, or the page cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("thalweg.visualization", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(title=title, lead=lead, parts=parts, embedded=_embedded)
    with atomic(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _embedded(path: Path) -> str:
    """A picture as a URL that holds its bytes."""
    try:
        content = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise FileError(f"The picture {path} cannot be read ({error}). Draw it again.") from error
    return f"data:{mimetypes.guess_type(path)[0]};base64,{content}"
