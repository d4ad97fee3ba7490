import contextlib
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import codec
from events.problems import ProblemError
from tests.tracing.exports.samples import F0, HOUR, START, answer, answers, contact, met, pseudonym
from tracing.answer import Answer, AnsweredContact
from tracing.contact_pages import contacts_page
from tracing.cursor import cursor_of


def read_from(text: bytes, piece: int = 97) -> Callable[[int], Iterator[bytes]]:
    return lambda begin: (text[start : start + piece] for start in range(begin, len(text), piece))


def several(count: int) -> Answer:
    return answer(*(contact(pseudonym(n), 1, met(F0, "Chợ", START, START + HOUR)) for n in range(count)))


@given(answers(), st.integers(1, 12), st.integers(1, 300), st.booleans())
def test_the_pages_together_are_the_answer(saved: Answer, limit: int, piece: int, indented: bool) -> None:
    text = msgspec.json.format(codec.to_json(saved), indent=2) if indented else codec.to_json(saved)
    found: list[AnsweredContact] = []
    cursor: str | None = None
    while True:
        page = contacts_page(read_from(text, piece), limit, cursor)
        assert (page.trace, page.fingerprint, page.contacts) == (saved.id, saved.fingerprint, len(saved.contacts))
        found += page.items
        if page.next is None:
            break
        assert len(page.items) == limit
        cursor = page.next
    assert tuple(found) == saved.contacts


def test_a_later_page_reads_its_own_bytes_and_the_head() -> None:
    text = codec.to_json(several(1_000))
    cursor = contacts_page(read_from(text), 990, None).next
    read = 0

    def counted(begin: int) -> Iterator[bytes]:
        nonlocal read
        for piece in read_from(text)(begin):
            read += len(piece)
            yield piece

    page = contacts_page(counted, 10, cursor)
    assert (len(page.items), page.next) == (10, None)
    assert read < len(text) / 20


class _Forged(msgspec.Struct, array_like=True):
    given: int
    contacts: int
    byte: int


@given(st.integers(-1, 9), st.integers(-1, 9), st.integers(-1, 8_000))
def test_a_forged_cursor_leads_nowhere_else(given_: int, contacts: int, byte: int) -> None:
    """It opens contacts of the same answer or is refused, and no row of pages is without end."""
    saved = several(4)
    with contextlib.suppress(ProblemError):
        page = contacts_page(read_from(codec.to_json(saved)), 2, cursor_of(_Forged(given_, contacts, byte)))
        assert page.items
        assert set(page.items) <= set(saved.contacts)


class _Old(msgspec.Struct, array_like=True):
    given: int


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(ProblemError):
        contacts_page(read_from(codec.to_json(several(4))), 2, cursor_of(_Old(2)))
