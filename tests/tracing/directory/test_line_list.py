import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.pseudonyms import pseudonym_of_citizen
from tests.keys.samples import SECRETS
from tracing.directory.line_list import DICTIONARY, ROWS_MAX, LineList, Person, parse
from tracing.line_files import QUOTE_FAULT, WrongHeader

KEY = SECRETS.pseudonym_key
YEAR = 2021
CITIZEN = "001201000001"
SUBJECT = "5f0c2a9be1d34c7788aa01b2c3d4e5f6"


def listed(text: str) -> LineList:
    return parse(text, KEY, YEAR)


def errors(text: str) -> list[tuple[int, str]]:
    return [(error.line, error.column) for error in listed(text).errors]


def test_the_dictionarys_example_is_a_good_line() -> None:
    text = ",".join(column.name for column in DICTIONARY) + "\n"
    text += ",".join(f'"{column.example}"' for column in DICTIONARY) + "\n"
    (entry,) = listed(text).entries
    assert entry.subject == pseudonym_of_citizen(CITIZEN, KEY)
    assert entry.person == Person(
        name="Nguyễn Văn An",
        phone="+84 24 3333 0000",
        address="Số 1, ngõ 2, phường Đồng Xuân, Hà Nội",
        birth_year=1985,
        citizen_number=CITIZEN,
    )


def test_columns_in_any_order_and_only_those_that_are_known() -> None:
    (entry,) = listed(f"\ufeffName, SUBJECT\r\nTrần Thị Bình,{SUBJECT}\r\n\r\n").entries
    assert (entry.line, entry.subject.hex(), entry.person) == (2, SUBJECT, Person(name="Trần Thị Bình"))


def test_a_name_in_pieces_is_put_together() -> None:
    """A decomposed name would differ from the same one composed: the import would not be safe to repeat."""
    (entry,) = listed(f"name,subject\nNguye\u0302\u0303n,{SUBJECT}\n").entries
    assert entry.person.name == "Nguyễn"


def test_an_apostrophe_before_a_formula_is_taken_off() -> None:
    (entry,) = listed(f"name,phone,subject\n'=An,'+84 24 3333 0000,{SUBJECT}\n").entries
    assert (entry.person.name, entry.person.phone) == ("=An", "+84 24 3333 0000")
    (entry,) = listed(f"name,subject\n'An,{SUBJECT}\n").entries
    assert entry.person.name == "'An"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must name"),
        ("name\n", "must name"),
        ("subject,phone\n", "must name"),
        ("name,subject,name\n", "twice"),
        ("name,subject,shoe size\n", "column 3"),
        ("name;subject\n", "commas"),
        ("name,subject\n" + f"A,{SUBJECT}\n" * (ROWS_MAX + 1), "more than"),
    ],
)
def test_a_header_that_is_none(text: str, reason: str) -> None:
    with pytest.raises(WrongHeader, match=reason):
        listed(text)


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        (f"An,,,,{CITIZEN},{SUBJECT}", "citizen_number"),
        ("An,,,,,", "citizen_number"),
        ("An,,,,12,", "citizen_number"),
        (f"An,,,,099{CITIZEN[3:]},", "citizen_number"),
        (f"An,,,,,{SUBJECT.upper()}", "subject"),
        (f",,,,,{SUBJECT}", "name"),
        (f"{'x' * 201},,,,,{SUBJECT}", "name"),
        (f"A\u202eB,,,,,{SUBJECT}", "name"),
        (f"An,call me,,,,{SUBJECT}", "phone"),
        (f"An,,{'x' * 501},,,{SUBJECT}", "address"),
        (f"An,,,1899,,{SUBJECT}", "birth_year"),
        (f"An,,,{YEAR + 1},,{SUBJECT}", "birth_year"),
        (f"An,,,85,,{SUBJECT}", "birth_year"),
        ("An", ""),
        (f"An,,,,,{SUBJECT},more", ""),
    ],
)
def test_a_wrong_line_is_told_by_line_and_column_and_the_others_are_taken(cells: str, column: str) -> None:
    text = f"name,phone,address,birth_year,citizen_number,subject\nBinh,,,,{CITIZEN},\n{cells}\nChi,,,,,{'0' * 32}\n"
    found = listed(text)
    assert [entry.person.name for entry in found.entries] == ["Binh", "Chi"]
    (error,) = found.errors
    assert (error.column, error.line) == (column, 3)
    for cell in cells.split(","):
        assert len(cell) < 3 or cell not in error.reason


def test_a_person_stands_once_in_a_list() -> None:
    subject = pseudonym_of_citizen(CITIZEN, KEY).hex()
    text = f"name,citizen_number,subject\nAn,{CITIZEN},\nBinh,,{SUBJECT}\nAn again,,{subject}\n"
    assert errors(text) == [(4, "")]


def test_a_quote_that_is_never_closed_spoils_its_own_line_alone() -> None:
    found = listed(f'name,subject\nAn,{SUBJECT}\n"Binh,{"0" * 32}\nChi,{"1" * 32}\nDũng,"{"2" * 32}\n"Em",{"3" * 32}\n')
    assert [(entry.line, entry.person.name) for entry in found.entries] == [(2, "An"), (4, "Chi"), (6, "Em")]
    assert [(error.line, error.column) for error in found.errors] == [(3, ""), (5, "")]
    assert {error.reason for error in found.errors} == {QUOTE_FAULT}


def test_no_cell_holds_a_line_break() -> None:
    found = listed(f'name,subject\n"A\nB",{SUBJECT}\nChi,{"1" * 32}\n')
    assert [error.line for error in found.errors] == [2, 3]
    assert [entry.line for entry in found.entries] == [4]


@given(st.text())
def test_no_text_at_all_breaks_it(text: str) -> None:
    for whole in (text, "name,subject\n" + text, f"name,phone,address,subject\n{text},{text},{text},{SUBJECT}\n"):
        with contextlib.suppress(WrongHeader):
            listed(whole)
