import enum

import msgspec
import pytest

from events.problems import Problem, ProblemError
from tracing.decoding import decode_body, decode_query, purpose_text

SECRET = "001301000001"


class Colour(enum.StrEnum):
    RED = "red"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    number: int


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    from_: int | None = msgspec.field(default=None, name="from")
    colour: Colour = Colour.RED
    inner: list[Inner] = []


def refused(body: bytes, content_type: str = "application/json") -> Problem:
    with pytest.raises(ProblemError) as error:
        decode_body(body, content_type, Wanted)
    return error.value.problem


def refused_query(*pairs: tuple[str, str]) -> Problem:
    with pytest.raises(ProblemError) as error:
        decode_query(pairs, Wanted)
    return error.value.problem


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (f'{{"from":"{SECRET}"}}', "/from"),
        (f'{{"colour":"{SECRET}"}}', "/colour"),
        (f'{{"inner":[{{"number":1}},{{"number":"{SECRET}"}}]}}', "/inner/1/number"),
        ('{"inner":[{}]}', "/inner/0"),
        (f'{{"{SECRET}":1}}', ""),
        (f'{{"inner":[{{"{SECRET}":1}}]}}', "/inner/0"),
        (f'["{SECRET}"]', ""),
    ],
)
def test_a_wrong_value_is_pointed_at_and_never_quoted(body: str, pointer: str) -> None:
    problem = refused(body.encode())
    assert (problem.status, problem.pointer) == (422, pointer)
    assert SECRET not in problem.body().decode()
    assert problem.detail


@pytest.mark.parametrize("body", [b"", b"{", b'{"from":1', b"\xff", b'{"colour":"\xff"}', b"{} {}"])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    assert refused(body).status == 400


def test_the_malformed_byte_is_named() -> None:
    assert "(byte 8)" in refused(b'{"from":x}').detail


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_only_json_is_read(content_type: str) -> None:
    assert refused(b"{}", content_type).status == 415


def test_json_is_read_whatever_its_parameters() -> None:
    assert decode_body(b'{"from":1}', "Application/JSON; charset=utf-8", Wanted) == Wanted(from_=1)


def test_a_query_is_read_by_the_same_structs() -> None:
    assert decode_query([("from", "12"), ("colour", "red")], Wanted) == Wanted(from_=12)


@pytest.mark.parametrize(
    ("pairs", "pointer"),
    [
        ([("from", SECRET + "x")], "/from"),
        ([("from", "1"), ("from", "2")], "/from"),
        ([(SECRET, "1")], ""),
        ([(SECRET, "1"), (SECRET, "2")], "/"),
        ([("colour", SECRET)], "/colour"),
    ],
)
def test_a_wrong_parameter_is_pointed_at_and_never_quoted(pairs: list[tuple[str, str]], pointer: str) -> None:
    problem = refused_query(*pairs)
    assert (problem.status, problem.pointer) == (422, pointer)
    assert SECRET not in problem.body().decode()


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (None, None),
        ("plain words", "plain words"),
        ("%C4%90i%E1%BB%81u tra", "Điều tra"),
        ("Điều tra".encode().decode("latin-1"), "Điều tra"),
        ("100% sure", "100% sure"),
        ("%FF%FE", None),
    ],
)
def test_a_purpose_header_is_utf8_percent_encoded_or_not(header: str | None, text: str | None) -> None:
    assert purpose_text(header) == text
