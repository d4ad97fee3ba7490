"""CSV that a spreadsheet cannot be tricked by.

A name that begins like a formula ran code at a health office once. Such cells get an apostrophe in front, which
spreadsheets show as text (OWASP, CSV injection); numbers are written by this program and stay numbers.
"""

import csv
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # full-width forms count too
APOSTROPHE: Final = "'"


def safe_cell(value: object) -> str:
    """The value as a cell's text; None is an empty cell."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    text = str(value)
    return APOSTROPHE + text if text.lstrip(" ").startswith(FORMULA_STARTS) else text


def plain_cell(text: str) -> str:
    """What `safe_cell` was given: the apostrophe that it put in front is taken off again."""
    bare = text.removeprefix(APOSTROPHE)
    return bare if bare != text and safe_cell(bare) == text else text


def write_csv(output: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A header line and the rows, RFC 4180."""
    writer = csv.writer(output)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([safe_cell(value) for value in row])
