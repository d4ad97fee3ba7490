"""CSV that a spreadsheet cannot be tricked by."""

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

from tracing.exports.cells import safe_cell


def write_csv(output: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A header line and the rows, RFC 4180."""
    writer = csv.writer(output)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([safe_cell(value) for value in row])
