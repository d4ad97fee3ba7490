"""Subjects: where somebody was."""

import re
from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from msgspec import Meta

from events import problems
from events.problems import ProblemError
from events.scans import AtMs
from projections.stays import Stay
from tracing.access import Permission
from tracing.audit import Action, purpose_of
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit, cursor_of, position_of
from tracing.decoding import PURPOSE_HEADER, decode_query, purpose_text
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply

_SUBJECT: Final = re.compile(r"[0-9a-f]{32}")


class StaysQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window `[from, to)` and as of when, all in Unix ms; `as_of` defaults to the service's clock."""

    from_: AtMs = msgspec.field(name="from")
    to: AtMs
    as_of: AtMs | None = None
    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class StaysPage(msgspec.Struct, frozen=True, kw_only=True):
    """Stays by their start, all as of the same moment (Unix ms); `next` is the cursor of the page after, null on the
    last."""

    as_of: int
    items: list[Stay]
    next: str | None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The pages of one walk are all as of the first one's moment, so that nothing moves between them."""

    as_of: AtMs
    given: Annotated[int, Meta(ge=1)]


STAYS: Final = Operation(
    name="list_stays",
    tag="Subjects",
    summary="Where a subject was",
    text=(
        "The stays within the window, walked from the scans that the log had by `as_of`, each with how its ends are"
        " known and the scans that prove it. A look at a person: recorded in the audit log with its purpose."
    ),
    permission=Permission.STAYS_READ,
    person=True,
    query=StaysQuery,
    successes=(Success(200, "A page of stays", StaysPage),),
    problems=(problems.NOT_FOUND, problems.WINDOW_EXPIRED, problems.BEHIND, problems.STREAM_DOWN),
)


@get("/v1/subjects/{subject:str}/stays", opt={OPERATION: STAYS}, sync_to_thread=True)
def list_stays(request: Asked, subject: FromPath[str], parts: Given) -> Response[bytes]:
    """A page of somebody's stays, after the look at them is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    if not _SUBJECT.fullmatch(subject):
        raise ProblemError(problems.NOT_FOUND.problem("A subject is 32 lower-case hexadecimal digits."))
    query = decode_query(request.query_params.multi_items(), StaysQuery)
    now = parts.clock()
    position = position_of(query.cursor, _Position) if query.cursor is not None else None
    as_of = position.as_of if position else now if query.as_of is None else query.as_of
    given = position.given if position else 0
    stays = parts.tracer.stays_of(subject, query.from_, query.to, as_of)
    items = list(stays[given : given + query.limit])
    upto = given + len(items)
    more = cursor_of(_Position(as_of, upto)) if upto < len(stays) else None
    parts.audit.write(now, request.auth, Action.STAYS_READ, "", purpose, people=[subject])
    return reply(StaysPage(as_of=as_of, items=items, next=more))


ROUTES: Final = (list_stays,)
