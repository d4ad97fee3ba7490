import csv
import io
from itertools import count

import pytest

from app.csv_output import write_csv
from app.place_file import COLUMNS, FileRefused, change, read_places
from events.places import Category, Place, PlaceTree
from tracing.exports.cells import plain_cell, safe_cell

EMPTY = PlaceTree([])


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def errors_of(text: str, registered: PlaceTree = EMPTY) -> list[tuple[int, str]]:
    with pytest.raises(FileRefused) as caught:
        change(read_places(lines(text)), registered, count(1).__next__)
    return [(error.line, error.text) for error in caught.value.errors]


def test_parents_may_come_in_any_order() -> None:
    text = "id,name,parent\nseat,Seat,bus\nbus,Bus,depot\ndepot,Depot,\n"
    planned = change(read_places(lines(text)), EMPTY, count(1).__next__)
    assert [(place.id, place.number) for place in planned.new] == [("depot", 1), ("bus", 2), ("seat", 3)]


def test_every_column_is_read() -> None:
    text = ",".join(COLUMNS) + "\n" + 'm,"Chợ ""A"", lầu 2",market,,600,79,760,26734,10.7725,-106.698,250\n'
    (row,) = read_places(lines(text))
    assert row.place == Place(
        id="m",
        number=0,
        name='Chợ "A", lầu 2',
        category=Category.MARKET,
        dwell_seconds=600,
        province="79",
        district="760",
        commune="26734",
        latitude=10.7725,
        longitude=-106.698,
        capacity=250,
    )


def test_the_same_file_again_changes_nothing() -> None:
    text = "id,name,category,latitude\na,A,shop,10.5\nb,B,,\n"
    first = change(read_places(lines(text)), EMPTY, count(1).__next__)
    again = change(read_places(lines(text)), PlaceTree(first.places), count(9).__next__)
    assert (again.new, again.changed, again.unchanged) == ([], [], 2)


def test_a_change_keeps_the_number() -> None:
    first = change(read_places(lines("id,name\na,A\n")), EMPTY, count(7).__next__)
    again = change(read_places(lines("id,name\na,B\n")), PlaceTree(first.places), count(9).__next__)
    assert [(place.name, place.number) for place in again.changed] == [("B", 7)]


def test_every_fault_is_named_by_its_line() -> None:
    text = "id,name,category,latitude\nROW,x,,\nb,,shop,1\nc,n,zzz,\nd,D,shop,99\ne,E,shop,north\nf,F,shop,1,2\n"
    found = dict(errors_of(text))
    assert sorted(found) == [2, 3, 4, 5, 6, 7]
    assert "id" in found[2]
    assert "name" in found[3]
    assert "zzz" in found[4]
    assert "latitude" in found[5]
    assert "latitude" in found[6]
    assert "more cells" in found[7]


def test_a_quoted_line_break_keeps_the_count() -> None:
    assert [line for line, _ in errors_of('id,name\na,"two\nlines"\nB,x\n')] == [3, 4]


@pytest.mark.parametrize(
    ("char", "named"),
    [("\x1b", "U+001B"), ("\0", "U+0000"), ("\u202e", "U+202E"), ("\u200b", "U+200B"), ("\u2028", "U+2028")],
)
def test_a_character_that_nobody_sees_is_refused_by_name(char: str, named: str) -> None:
    with pytest.raises(FileRefused) as caught:
        read_places(["id,name\n", f"a,Chợ{char}A\n"])
    assert [(error.line, named in error.text) for error in caught.value.errors] == [(2, True)]


def test_both_spellings_of_a_letter_are_one_name() -> None:
    first = change(read_places(lines("id,name\na,Cho\u031b\u0323\n")), EMPTY, count(1).__next__)
    again = change(read_places(lines("id,name\na,Chợ\n")), PlaceTree(first.places), count(9).__next__)
    assert again.unchanged == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("Chợ,A,,,", "id 'Chợ' must be 1 to 48 of a-z, 0-9 and hyphens"),
        ("a,,,,", "name is empty"),
        ("a,A,markt,,", "category 'markt' must be one of agency, "),
        ("a,A,,1 h,", "dwell_seconds '1 h' must be a whole number from 60 to 43200"),
        ('a,A,,,"10,5"', "latitude '10,5' must be degrees from -90 to 90, with a decimal point"),
    ],
)
def test_a_fault_is_told_without_a_programmer_s_words(row: str, says: str) -> None:
    ((line, text),) = errors_of(f"id,name,category,dwell_seconds,latitude\n{row}\n")
    assert line == 2
    assert text.startswith(says)


def test_a_doubled_id_names_both_lines() -> None:
    ((line, text),) = errors_of("id,name\na,A\nb,B\na,C\n")
    assert line == 4
    assert "line 2" in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,name,parent\na,A,nope\n", "nope"),
        ("id,name,parent\na,A,a\n", "ring"),
        ("id,name,parent\na,A,b\nb,B,a\n", "ring"),
        ("id,name,parent\n" + "p0,P,\n" + "".join(f"p{n},P,p{n - 1}\n" for n in range(1, 19)), "deeper"),
        ("name\nA\n", "lacks id"),
        ("id,name,colour\na,A,red\n", "colour"),
        ("", "lacks id"),
        ("id,name,name\na,A,B\n", "name twice"),
        ("id;name\na;A\n", "commas"),
        ("id\tname\na\tA\n", "commas"),
    ],
)
def test_a_tree_that_cannot_be_is_refused(text: str, says: str) -> None:
    assert any(says in error for _, error in errors_of(text))


def test_a_ring_with_registered_places_is_refused() -> None:
    registered = PlaceTree([Place(id="a", number=1, name="A"), Place(id="b", number=2, name="B", parent="a")])
    assert any("ring" in error for _, error in errors_of("id,name,parent\na,A,b\n", registered))


def test_numbers_are_asked_for_only_when_all_is_good() -> None:
    numbers = count(1)
    with pytest.raises(FileRefused):
        change(read_places(lines("id,name,parent\na,A,\nb,B,nope\n")), EMPTY, numbers.__next__)
    assert next(numbers) == 1


@pytest.mark.parametrize("text", ["=1+1", "+84", "-x", "@SUM(A1)", "\t=1", "\r=1", "＝1", " =1"])
def test_no_cell_begins_a_formula(text: str) -> None:
    assert safe_cell(text) == "'" + text
    assert plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize("text", ["Chợ", "'quoted'", "a=b", "", "'t Hof"])
def test_other_cells_are_as_they_are(text: str) -> None:
    assert safe_cell(text) == text
    assert plain_cell(text) == text


def test_numbers_stay_numbers() -> None:
    assert [safe_cell(-1.5), safe_cell(-3), safe_cell(None)] == ["-1.5", "-3", ""]


def test_csv_is_read_back() -> None:
    output = io.StringIO()
    write_csv(output, ["a", "b"], [['x,"y"\n', -1], ["=1", None]])
    assert list(csv.reader(io.StringIO(output.getvalue()))) == [["a", "b"], ['x,"y"\n', "-1"], ["'=1", ""]]
