"""Tables read back by those who read such files: pandas, pyarrow, openpyxl, LibreOffice."""

import csv
import io
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pandas
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from openpyxl.utils.escape import unescape

from tests.tracing.exports.samples import NASTY, answers, exported, known, registries, small, source_of
from tracing.answer import Answer
from tracing.exports import xlsx
from tracing.exports.cells import FORMULA_STARTS, plain_cell
from tracing.exports.formats import Format
from tracing.exports.lists import contacts, linelist
from tracing.exports.moments import iso
from tracing.exports.source import Known, Source
from tracing.exports.tables import Kind, Table
from tracing.exports.xml_text import visible

Rows = list[dict[str, Any]]
ALL_SHEETS = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
"""LibreOffice's filter: UTF-8, commas, a file for each sheet."""
NAMES = ("linelist", "contacts")
TABLES: dict[str, Callable[[Source], Table]] = {"linelist": linelist, "contacts": contacts}


def expected(source: Source, name: str) -> Rows:
    """A table's rows, times as Unix ms and as text."""
    table, rows = TABLES[name](source), []
    for row in table.rows():
        line: dict[str, Any] = {}
        for column, value in zip(table.columns, row, strict=True):
            if column.kind is Kind.TIME:
                line[f"{column.name}_ms"] = value
                line[column.name] = None if value is None else iso(int(value))
            else:
                line[column.name] = value
        rows.append(line)
    return rows


def wall(ms: int) -> datetime:
    """What a clock on a wall in Vietnam shows."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms, hours=7)).replace(tzinfo=None)


def text_columns(source: Source, name: str) -> set[str]:
    return {column.name for column in TABLES[name](source).columns if column.kind is Kind.TEXT}


def read_csv(data: bytes, source: Source, name: str) -> Rows:
    """As pandas reads it, cell by cell; numbers from their texts, since its own reading of them is not exact."""
    frame = pandas.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    rows: Rows = frame.to_dict("records")
    texts = text_columns(source, name)
    numbers = {column.name for column in TABLES[name](source).columns if column.kind is Kind.NUMBER}
    times = {column.name for column in TABLES[name](source).columns if column.kind is Kind.TIME}
    for row in rows:
        for column, cell in row.items():
            if column in texts:
                row[column] = plain_cell(cell) or None
            elif cell == "" or column in times:
                row[column] = cell or None
            else:
                row[column] = float(cell) if column in numbers else int(cell)
    return rows


@given(answers(), registries)
@settings(max_examples=30)
def test_csv_comes_back_from_pandas(saved: Answer, registry: Known) -> None:
    source = source_of(saved, registry)
    files, _ = exported(source, Format.CSV)
    for name in NAMES:
        assert read_csv(files[f"{name}.csv"], source, name) == expected(source, name)


@given(answers(), registries)
@settings(max_examples=30)
def test_csv_is_rfc_4180_and_holds_no_formula(saved: Answer, registry: Known) -> None:
    files, manifest = exported(source_of(saved, registry), Format.CSV)
    for listed in manifest["files"]:
        text = files[listed["name"]].decode()
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        assert len(rows) == listed["counts"]["rows"] + 1
        assert len({len(row) for row in rows}) == 1
        assert text.endswith("\r\n")
        assert not any(cell.lstrip(" ").startswith(FORMULA_STARTS) for row in rows for cell in row)


@given(answers(), registries)
@settings(max_examples=20)
def test_excel_in_vietnamese_finds_its_separators_dates_and_texts(saved: Answer, registry: Known) -> None:
    source = source_of(saved, registry)
    files, _ = exported(source, Format.CSV_EXCEL_VI)
    for name in NAMES:
        data = files[f"{name}.csv"]
        assert data.startswith(b"\xef\xbb\xbf")
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=";", strict=True))
        for row, wanted in zip(rows, expected(source, name), strict=True):
            for column, value in wanted.items():
                cell = row[column]
                if column in text_columns(source, name):
                    assert cell in (value or "", f"'{value}")
                elif isinstance(value, float):
                    assert "." not in cell
                    assert float(cell.replace(",", ".")) == value
                else:
                    assert cell == ("" if value is None else str(value))
                if column.endswith("_ms") and value is not None:
                    assert row[column.removesuffix("_ms") + "_local"] == wall(value).strftime("%d/%m/%Y %H:%M:%S")


@given(answers(), registries)
@settings(max_examples=15)
def test_parquet_comes_back_from_arrow_and_pandas(saved: Answer, registry: Known) -> None:
    source = source_of(saved, registry)
    files, _ = exported(source, Format.PARQUET)
    for name in NAMES:
        table = pyarrow.parquet.read_table(io.BytesIO(files[f"{name}.parquet"]))
        rows = table.to_pylist()
        for row in rows:
            for column, value in row.items():
                if isinstance(value, datetime):
                    row[column] = value.isoformat(timespec="milliseconds")
        assert rows == expected(source, name)
        assert all(field.metadata[b"meaning"] for field in table.schema)
        assert len(table.to_pandas()) == len(rows)


@given(answers(), registries)
@settings(max_examples=15)
def test_json_lines_come_back_from_pandas(saved: Answer, registry: Known) -> None:
    source = source_of(saved, registry)
    files, _ = exported(source, Format.JSONL)
    for name in NAMES:
        data, wanted = files[f"{name}.jsonl"], expected(source, name)
        frame = pandas.read_json(io.BytesIO(data), lines=True, dtype=False, precise_float=True)
        columns = list(wanted[0]) if wanted else []
        assert sorted(frame.columns) == sorted(columns)
        for column in text_columns(source, name) & set(columns):
            assert frame[column].fillna("").tolist() == [row[column] or "" for row in wanted]
        for column in {"depth", "seconds"} & set(columns):
            assert frame[column].fillna(-1).tolist() == [-1 if row[column] is None else row[column] for row in wanted]
    lines = files["answer.jsonl"].splitlines()
    assert len(lines) == 1 + len(saved.contacts)


def test_the_answer_in_json_lines_can_be_put_together_again() -> None:
    saved = small()
    files, _ = exported(source_of(saved), Format.JSONL)
    head, *rest = files["answer.jsonl"].splitlines()
    assert list(source_of(head[:-1] + b',"contacts":[' + b",".join(rest) + b"]}").contacts()) == list(saved.contacts)


def sheet_rows(book: Any, name: str) -> Rows:
    header, *lines = book[name].iter_rows(values_only=True)
    return [dict(zip(header, line, strict=True)) for line in lines]


@given(answers(), registries)
@settings(max_examples=15)
def test_a_workbook_comes_back_from_openpyxl(saved: Answer, registry: Known) -> None:
    source = source_of(saved, registry)
    files, _ = exported(source, Format.XLSX)
    book = openpyxl.load_workbook(io.BytesIO(files["trace.xlsx"]))
    assert book.sheetnames == ["linelist", "contacts", "question"]
    for name in NAMES:
        for row, wanted in zip(sheet_rows(book, name), expected(source, name), strict=True):
            for column, value in wanted.items():
                if column in text_columns(source, name) and value is not None:
                    assert same_text(row[column], value)
                else:
                    assert row[column] == value
                if column.endswith("_ms") and value is not None:
                    local = row[column.removesuffix("_ms") + "_local"]
                    assert abs(local - wall(value)) < timedelta(milliseconds=2)


def same_text(found: str | None, value: str) -> bool:
    """XML has no NUL, and reads each line break as one character; openpyxl leaves Excel's escapes to its caller."""
    return one_break(unescape(found or "")) == one_break(visible(value))


def one_break(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def test_no_cell_of_a_workbook_is_a_formula() -> None:
    registry = known(market=NASTY[0], row=NASTY[1], mall=NASTY[2])
    files, _ = exported(source_of(small(), registry), Format.XLSX)
    book = openpyxl.load_workbook(io.BytesIO(files["trace.xlsx"]))
    kinds = {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row}
    assert "f" not in kinds
    assert {row["place_name"] for row in sheet_rows(book, "contacts")} == set(NASTY[:3])


def test_a_sheet_that_is_full_goes_on_in_a_further_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "ROWS_A_SHEET_MAX", 3)
    source = source_of(small())
    files, _ = exported(source, Format.XLSX)
    book = openpyxl.load_workbook(io.BytesIO(files["trace.xlsx"]))
    assert book.sheetnames[:2] == ["linelist", "linelist 2"]
    rows = [*sheet_rows(book, "linelist"), *sheet_rows(book, "linelist 2")]
    assert [row["id"] for row in rows] == [row["id"] for row in expected(source, "linelist")]


def test_a_text_too_long_for_a_cell_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "CELL_CHARACTERS_MAX", 20)
    files, _ = exported(source_of(small()), Format.XLSX)
    book = openpyxl.load_workbook(io.BytesIO(files["trace.xlsx"]))
    assert sheet_rows(book, "linelist")[0]["id"] == "f" * 13 + xlsx.CUT


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed (libreoffice-calc-nogui)")
def test_libreoffice_opens_the_workbook(tmp_path: Path) -> None:
    source = source_of(small(), known(market=NASTY[0]))
    files, _ = exported(source, Format.XLSX)
    (tmp_path / "trace.xlsx").write_bytes(files["trace.xlsx"])
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    call = ["soffice", profile, "--headless", "--convert-to", ALL_SHEETS, "--outdir", str(tmp_path)]
    subprocess.run([*call, str(tmp_path / "trace.xlsx")], check=True, capture_output=True, timeout=300)
    with (tmp_path / "trace-linelist.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [row["id"] for row in expected(source, "linelist")]
    with (tmp_path / "trace-contacts.csv").open(encoding="utf-8", newline="") as file:
        assert NASTY[0] in {row["place_name"] for row in csv.DictReader(file)}


def test_the_question_is_told_parameter_by_parameter() -> None:
    files, _ = exported(source_of(small()), Format.CSV)
    lines = csv.DictReader(io.StringIO(files["question.csv"].decode()))
    rows = {row["parameter"]: row["number"] or row["text"] for row in lines}
    assert (rows["min_seconds"], rows["rule"], rows["lag_seconds"]) == ("900.5", "total", "900")
    assert rows["fingerprint"] == "0f" * 32
