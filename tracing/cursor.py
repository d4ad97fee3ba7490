"""Opaque cursors: where the next page of a list begins.

A cursor is a small typed struct in base64url JSON. Nothing secret is in it and nothing is trusted: a changed one
leads to another page of what its holder may read anyway, or is refused.
"""

import base64
import binascii
import heapq
from collections.abc import Iterable
from typing import Annotated, Final, Protocol, TypeVar

import msgspec
from msgspec import Meta

from events import codec, problems
from events.problems import ProblemError
from events.scans import SEQ_MAX

PAGE_ITEMS_MAX: Final = 500
PAGE_ITEMS_DEFAULT: Final = 100
CURSOR_CHARACTERS_MAX: Final = 512

Limit = Annotated[int, Meta(ge=1, le=PAGE_ITEMS_MAX, description="How many items a page holds at most")]
Cursor = Annotated[
    str,
    Meta(
        max_length=CURSOR_CHARACTERS_MAX,
        description="Where the page begins: `next` of the page before, as it is. Leave it out for the first page",
    ),
]
AfterSeq = Annotated[
    int,
    Meta(
        ge=0,
        le=SEQ_MAX,
        description="Where the page begins: `next` of the page before, as it is. Leave it out for the first page",
    ),
]

Position = TypeVar("Position", bound=msgspec.Struct)
Item = TypeVar("Item", bound="HasId")


def cursor_of(position: msgspec.Struct) -> str:
    """The cursor's text for a position."""
    return base64.urlsafe_b64encode(codec.to_json(position)).rstrip(b"=").decode()


class HasId(Protocol):
    """Anything that a registry lists by id."""

    @property
    def id(self) -> str:
        """Unique among its kind."""
        ...


class IdPosition(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Behind the item of this id."""

    after: str


def page_by_id(fitting: Iterable[Item], cursor: str | None, limit: int) -> tuple[list[Item], str | None]:
    """The page of the items, by id, that the cursor opens, and the cursor of the next; None on the last.

    Raises QUESTION_INVALID as `ProblemError`.
    """
    after = position_of(cursor, IdPosition).after if cursor is not None else ""
    found = heapq.nsmallest(limit + 1, (item for item in fitting if item.id > after), key=lambda item: item.id)
    return found[:limit], cursor_of(IdPosition(found[limit - 1].id)) if len(found) > limit else None


def position_of(cursor: str, kind: type[Position]) -> Position:
    """The position in a cursor. Raises QUESTION_INVALID as `ProblemError` where it is none of this list's."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return codec.from_json(data, kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise ProblemError(
            problems.QUESTION_INVALID.problem(
                "This cursor is not one that this list gave; begin at the first page.", pointer="/cursor"
            )
        ) from None
