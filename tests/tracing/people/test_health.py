"""The import of vaccinations and tests: every column's errors, by line, and records that replace themselves."""

import datetime

import pytest

from events.people import Finding, HealthKind
from storage.clickhouse import Store
from tracing.line_files import WrongHeader
from tracing.people.health import DICTIONARY, ROWS_MAX, HealthRecords, parse

TODAY = datetime.date(2021, 10, 21)
WHO = "00112233445566778899aabbccddeeff"
HEADER = "subject,kind,day,product,dose,result,source,record,withdrawn"
DOSE = f"{WHO},vaccination,2021-09-14,AZD1222,2,,hn-vaccinations,17,"
TEST = f"{WHO},test,2021-10-20,RT-PCR,,negative,hn-laboratory,18,no"


def errors(*lines: str) -> list[tuple[int, str]]:
    return [(error.line, error.column) for error in parse("\n".join([HEADER, *lines]), TODAY).errors]


def test_both_kinds_are_read() -> None:
    (dose, _), (test, withdrawn) = parse(f"\ufeff{HEADER}\r\n{DOSE}\r\n\r\n{TEST}\r\n", TODAY).records
    assert not withdrawn
    assert (dose.kind, dose.dose, dose.result, dose.record) == (HealthKind.VACCINATION, 2, None, "17")
    assert (test.kind, test.dose, test.result, test.day) == (HealthKind.TEST, None, Finding.NEGATIVE, "2021-10-20")


def test_the_dictionarys_own_example_is_read() -> None:
    text = ",".join(column.name for column in DICTIONARY) + "\n" + ",".join(column.example for column in DICTIONARY)
    parsed = parse(text, TODAY)
    assert (len(parsed.records), parsed.errors) == (1, [])


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("subject", "0011"),
        ("subject", WHO.upper()),
        ("kind", "dose"),
        ("day", "14/09/2021"),
        ("day", "20210914"),
        ("day", "2021-W37-2"),
        ("day", "2021-10-22"),
        ("day", "2019-01-01"),
        ("product", ""),
        ("product", "=HYPERLINK(1)"),
        ("dose", "0"),
        ("dose", "21"),
        ("dose", "²"),
        ("dose", ""),
        ("result", "negative"),
        ("source", ""),
        ("source", "a b"),
        ("record", "nguyễn"),
        ("withdrawn", "perhaps"),
    ],
)
def test_each_wrong_cell_is_told_by_line_and_column_and_never_quoted(column: str, cell: str) -> None:
    cells = dict(zip(HEADER.split(","), DOSE.split(","), strict=True)) | {column: cell}
    parsed = parse("\n".join([HEADER, TEST, ",".join(cells.values()), DOSE]), TODAY)
    assert [(error.line, error.column) for error in parsed.errors] == [(3, column)]
    assert len(cell) < 3 or cell not in parsed.errors[0].reason.split()
    assert len(parsed.records) == 2


def test_lines_of_another_length_and_open_quotes_are_told() -> None:
    assert errors("a,b") == [(2, "")]
    assert errors(DOSE, '"' + DOSE, TEST, '"' + TEST) == [(3, ""), (5, "")], "a quote left open swallows no other line"
    assert errors(TEST.replace("negative", "")) == [(2, "result")]
    assert errors(TEST.replace(",,negative", ",1,negative")) == [(2, "dose")]


@pytest.mark.parametrize(
    "header", ["", "subject,kind", HEADER + ",name", HEADER.replace("withdrawn", "day"), HEADER.replace(",", ";")]
)
def test_a_foreign_header_is_refused(header: str) -> None:
    with pytest.raises(WrongHeader):
        parse(f"{header}\n{DOSE}", TODAY)


def test_a_file_of_too_many_lines_is_refused() -> None:
    parse("\n".join([HEADER, *[DOSE] * ROWS_MAX]), TODAY)
    with pytest.raises(WrongHeader):
        parse("\n".join([HEADER, *[DOSE] * (ROWS_MAX + 1)]), TODAY)


def test_a_record_without_a_number_is_named_by_what_it_says() -> None:
    (one, _), (same, _), (other, _) = parse(
        "\n".join([HEADER, DOSE.replace(",17,", ",,"), DOSE.replace(",17,", ",,"), TEST.replace(",18,", ",,")]), TODAY
    ).records
    assert one.record == same.record != other.record


def test_imports_repeat_correct_and_withdraw(store: Store) -> None:
    records = HealthRecords(store)
    for imported in (1, 2):
        records.keep(parse("\n".join([HEADER, DOSE, TEST]), TODAY), imported)
    assert [record.record for record in records.of([WHO])[WHO]] == ["18", "17"]
    records.keep(parse(f"{HEADER}\n{TEST.replace('negative', 'positive')}", TODAY), 3)
    assert records.of([WHO])[WHO][0].result is Finding.POSITIVE
    records.keep(parse(f"{HEADER}\n{TEST.replace(',no', ',yes')}", TODAY), 4)
    assert [record.record for record in records.of([WHO, "f" * 32])[WHO]] == ["17"]


def test_of_two_lines_about_one_record_the_last_counts(store: Store) -> None:
    records = HealthRecords(store)
    taken_back = TEST.replace(",no", ",yes")
    records.keep(parse("\n".join([HEADER, taken_back, TEST]), TODAY), 1)
    assert [record.record for record in records.of([WHO])[WHO]] == ["18"]
    records.keep(parse("\n".join([HEADER, TEST, taken_back]), TODAY), 2)
    assert not records.of([WHO])
