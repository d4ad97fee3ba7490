from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracing.exports.slices import Slices, Unreadable

texts = st.text(st.sampled_from('"\\{}[],: contacts\u1ee3\x00'), max_size=12)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)


def pieces(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@given(objects, st.lists(objects, max_size=5), objects, st.integers(1, 40), st.booleans())
def test_every_contact_is_found_however_the_text_is_cut(
    before: dict[str, Any], contacts: list[Any], after: dict[str, Any], size: int, indented: bool
) -> None:
    head = {name: value for name, value in before.items() if name != "contacts"}
    tail = {name: value for name, value in after.items() if name not in {*head, "contacts"}}
    text = msgspec.json.encode({**head, "contacts": contacts, **tail})
    text = msgspec.json.format(text, indent=2) if indented else text
    slices = Slices(pieces(text, size))
    assert msgspec.json.decode(slices.head()) == head
    assert [msgspec.json.decode(one) for one in slices.contacts()] == contacts


@pytest.mark.parametrize("text", [b"", b"{}", b'{"a":1}', b'{"a":{"contacts":[]}}', b'{"contacts"', b"[]"])
def test_what_has_no_contacts_is_no_answer(text: bytes) -> None:
    with pytest.raises(Unreadable):
        Slices(pieces(text, 3)).head()


@given(st.integers(1, 60))
def test_an_answer_that_is_cut_short_is_never_taken_for_whole(cut: int) -> None:
    text = b'{"id":"x","contacts":[{"subject":"a}"},{"subject":"b","via":[{"n":1}]}]}'

    def read() -> None:
        slices = Slices(pieces(text[: len(text) - 1 - cut], 7))
        slices.head()
        list(slices.contacts())

    with pytest.raises(Unreadable):
        read()


@pytest.mark.parametrize("text", [b'{"contacts":[1]}', b'{"contacts":["x"]}', b'{"contacts":[[{}]]}'])
def test_a_contact_is_an_object(text: bytes) -> None:
    slices = Slices([text])
    slices.head()
    with pytest.raises(Unreadable):
        list(slices.contacts())


def test_no_more_is_held_than_a_contact_and_a_piece() -> None:
    """A million contacts in one string would be told from one contact only at its end."""
    one = b'{"subject":"' + b"a" * 1_000 + b'"}'
    slices = Slices(iter([b'{"contacts":[', *([one + b","] * 2_000), one + b"]}"]))
    slices.head()
    held = 0
    for _ in slices.contacts():
        held = max(held, len(slices._buffer))
    assert held < 4 * len(one)
