"""The log of a run: one JSON object a line, flushed as it is written, and cut back when a run resumes from an earlier step."""

import json
import os
from pathlib import Path

from ..storage import atomic, read_rows, unwritable


class MetricsLog:
    """Rows of ``metrics.jsonl``; every row carries the ``step`` after which it was written."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def start(self, step: int) -> None:
        """Keep the rows up to a step (none for step 0) and drop what came after it, or was cut off in writing."""
        kept = [row for row in self.rows() if row["step"] <= step] if step else []
        with atomic(self.path) as partial:
            partial.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: dict) -> None:
        """Append a row.

        Raises:
            FileError: the disk is full or the folder cannot be written.
        """
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from error

    def rows(self) -> list[dict]:
        """All complete rows; none where there is no file yet.

        Raises:
            FileError: a row is damaged.
        """
        return read_rows(self.path) if self.path.exists() else []
