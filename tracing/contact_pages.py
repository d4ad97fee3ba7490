"""Pages of a saved answer's contacts, of which no more is decoded than is given out. Pure.

A cursor says at which byte the next contact is to be looked for, and how many there are in all: a saved answer never
changes. So the first page counts them, and every later one reads nothing but the answer's head and itself.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from events import problems
from events.problems import ProblemError
from tracing.answer import AnsweredContact
from tracing.cursor import cursor_of, position_of
from tracing.exports.slices import Slices, Unreadable

BYTE_MAX: Final = 2**40
"""No answer is as long."""

_contact_of: Final = msgspec.json.Decoder(AnsweredContact).decode


class ContactsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Contacts of a saved trace in their order, of `contacts` in all; `next` is the cursor of the page after."""

    trace: str
    fingerprint: str
    contacts: int
    items: tuple[AnsweredContact, ...]
    next: str | None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How many contacts were given, of how many, and the byte behind the last of them."""

    given: Annotated[int, Meta(ge=1)]
    contacts: int
    byte: Annotated[int, Meta(ge=1, le=BYTE_MAX)]


class _Named(msgspec.Struct, frozen=True):
    """What a page says of the whole answer."""

    id: str
    fingerprint: str


def contacts_page(pieces: Callable[[int], Iterator[bytes]], limit: int, cursor: str | None) -> ContactsPage:
    """A page of up to `limit` contacts. `pieces` gives the answer's JSON from a byte on.

    Raises QUESTION_INVALID as `ProblemError` for a foreign cursor, `Unreadable` for an answer that is none.
    """
    slices = Slices(pieces(0))
    named = msgspec.json.decode(slices.head(), type=_Named)
    if cursor is None:
        contacts = slices.contacts()
        items = tuple(map(_contact_of, islice(contacts, limit)))
        given, byte = len(items), slices.passed
        known = given + sum(1 for _ in contacts)
    else:
        before = position_of(cursor, _Position)
        items, length = _further(Slices(pieces(before.byte)), min(limit, before.contacts - before.given))
        byte = before.byte + length
        given, known = before.given + len(items), before.contacts
    following = cursor_of(_Position(given, known, byte)) if given < known else None
    return ContactsPage(trace=named.id, fingerprint=named.fingerprint, contacts=known, items=items, next=following)


def _further(slices: Slices, count: int) -> tuple[tuple[AnsweredContact, ...], int]:
    """So many contacts, and their bytes. Raises QUESTION_INVALID as `ProblemError` where they are not there."""
    try:
        items = tuple(map(_contact_of, islice(slices.contacts(), max(count, 0))))
    except (Unreadable, msgspec.MsgspecError, UnicodeDecodeError):
        items = ()
    if not items or len(items) < count:
        detail = "This cursor is not one that this list gave; begin at the first page."
        raise ProblemError(problems.QUESTION_INVALID.problem(detail, pointer="/cursor"))
    return items, slices.passed
