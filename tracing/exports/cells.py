"""Cells that a spreadsheet cannot be tricked by, nor be too clever about.

A name that begins like a formula ran code at a health office once. Such cells get an apostrophe in front, which
spreadsheets show as text (OWASP, CSV injection); numbers are written by this program and stay numbers.
"""

import re
from typing import Final

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # full-width forms count too
APOSTROPHE: Final = "'"
_FORMULA: Final = rf"[ ']*[{re.escape(''.join(FORMULA_STARTS))}]"
_UNQUOTED: Final = re.compile(rf"(^|[,;])(?={_FORMULA})")
_QUOTED: Final = re.compile(rf"(^|[,;])'(?={_FORMULA})")
"""Behind a comma or a semicolon, too: a spreadsheet of another country parts the cells there, whatever the quotes say.
"""
_MAY_BE_A_NUMBER: Final = re.compile(r"\s*\d[\d\s\-/:.,%+]*(?:[A-Za-z]{1,9}[\d\s\-/:.,%+]*)?")
"""Digits and what stands between them in a number, a date or a time, with at most one word: an `e`, a month, `pm`."""


def safe_cell(value: object) -> str:
    """The value as a cell's text; None is an empty cell."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    # What has an apostrophe of its own before a formula gets a second one: `plain_cell` takes off the right one.
    return _UNQUOTED.sub(rf"\1{APOSTROPHE}", str(value))


def plain_cell(text: str) -> str:
    """What `safe_cell` was given: every apostrophe that it put in is taken out again."""
    return _QUOTED.sub(r"\1", text)


def literal_cell(text: str) -> str:
    """A text that Excel opens as that text, from CSV.

    Without the apostrophe a place called `3-4` would become the 3rd of April, and a pseudonym whose digits happen to
    make a number (about one in a million does) would be rounded to 15 digits.
    """
    safe = safe_cell(text)
    return APOSTROPHE + safe if _MAY_BE_A_NUMBER.fullmatch(text) and not safe.startswith(APOSTROPHE) else safe
