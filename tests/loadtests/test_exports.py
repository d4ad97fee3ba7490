"""The export of a million contacts, made smaller: memory does not grow with them, and every row comes back."""

from pathlib import Path

import pytest

from loadtests.exports import CHECKED, check, exported_apart, write_answer
from tracing.exports.formats import Format
from tracing.exports.parquet import ROWS_A_GROUP

MANY = 50_000
FEW = {Format.CSV: 5_000, Format.PARQUET: ROWS_A_GROUP}
"""Parquet's memory holds a group of rows, however many there are."""
GROWTH_MB_MAX = 24
"""A little more than the noise of an allocator; the rows that come to it are 50 MB, as Python's objects 150 MB."""


@pytest.mark.parametrize("format", CHECKED)
def test_memory_is_flat_and_all_rows_come_back(tmp_path: Path, format: Format) -> None:
    peaks = {}
    for contacts in (FEW[format], MANY):
        answer, archive = tmp_path / f"{contacts}.json", tmp_path / f"{contacts}.zip"
        write_answer(answer, contacts)
        peaks[contacts] = exported_apart(answer, format, archive, contacts).peak_mb
    assert peaks[MANY] - peaks[FEW[format]] <= GROWTH_MB_MAX, peaks
    check(tmp_path / f"{MANY}.zip", format, MANY)


@pytest.mark.parametrize("format", CHECKED)
def test_a_row_that_differs_is_found(tmp_path: Path, format: Format) -> None:
    write_answer(tmp_path / "answer.json", 30)
    exported_apart(tmp_path / "answer.json", format, tmp_path / "a.zip", 30)
    check(tmp_path / "a.zip", format, 30)
    with pytest.raises(ValueError, match="row 31"):
        check(tmp_path / "a.zip", format, 29)
