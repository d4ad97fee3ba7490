"""Names of contacts, only when needed: seen at once, or once a second person has agreed."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, RawBody
from msgspec import Meta

from events import problems
from events.audit import subjects_in
from events.devices import Pseudonym
from events.problems import ProblemError
from tracing.access import Permission
from tracing.audit import Action, purpose_of
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit, cursor_of, position_of
from tracing.decoding import decode_body, decode_query
from tracing.directory.line_list import Person
from tracing.directory.reveals import RequestState, RevealRequest
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply

SUBJECTS_MAX: Final = 500
REASON_CHARACTERS_MAX: Final = 500


class RevealAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose names are wanted: index subjects or contacts of the saved trace, by pseudonym."""

    subjects: Annotated[tuple[Pseudonym, ...], Meta(min_length=1, max_length=SUBJECTS_MAX)]
    purpose: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why somebody approves or refuses; may be empty for an approval."""

    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)] = ""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A person with what the directory has of them; null: nothing, or they were erased."""

    subject: str
    person: Person | None


class RevealTicket(msgspec.Struct, frozen=True, kw_only=True):
    """A request to see names, without whose. Times in Unix ms; `people` is how many they are.

    Pending, it is to be decided before `expires`; approved, to be opened before that by whoever asked.
    """

    id: str
    trace: str
    people: int
    purpose: str
    actor: str
    asked_at: int
    expires: int
    state: RequestState
    decided_at: int | None
    decided_by: str | None
    reason: str


class Revealed(msgspec.Struct, frozen=True, kw_only=True):
    """The people asked for, in that order; or none, and the `request` that a second person must approve first."""

    trace: str
    people: list[Named]
    request: RevealTicket | None = None


class RevealsPage(msgspec.Struct, frozen=True):
    """Requests, newest first; `next` is the cursor of the page after, null on the last."""

    items: list[RevealTicket]
    next: str | None


class RevealsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests to list."""

    state: RequestState | None = None
    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    asked_at: int
    id: str


REVEAL: Final = Operation(
    name="reveal_people",
    tag="Names",
    summary="See the names of people in a saved trace",
    text=(
        "Only of people whom the trace names. Every opening is an entry of its own in the audit log, with the purpose,"
        " and counts towards the limit a person and day (TRUYVET_REVEALS_PER_DAY). Where four eyes are asked for"
        " (TRUYVET_FOUR_EYES) the answer is a request (202), which somebody else must approve before you open it."
    ),
    permission=Permission.NAMES_REVEAL,
    person=True,
    body=RevealAsked,
    example=RevealAsked(
        subjects=("5f0c2a9be1d34c7788aa01b2c3d4e5f6",), purpose="Calling the contacts of case hn-2021-0417"
    ),
    successes=(
        Success(200, "The names", Revealed),
        Success(202, "Nobody, and the request that a second person must approve", Revealed),
    ),
    problems=(
        problems.NOT_FOUND,
        problems.NOT_IN_TRACE,
        problems.REVEAL_LIMIT,
        problems.REVEALS_FULL,
        problems.STREAM_DOWN,
    ),
)
LIST: Final = Operation(
    name="list_reveals",
    tag="Names",
    summary="List the requests to see names, without whose",
    text="Newest first; those long over are forgotten.",
    permission=Permission.REVEALS_DECIDE,
    query=RevealsQuery,
    successes=(Success(200, "A page of requests", RevealsPage),),
    problems=(problems.STREAM_DOWN,),
)
_DECIDING: Final = (
    problems.NOT_FOUND,
    problems.FOUR_EYES_OWN,
    problems.REVEAL_OVER,
    problems.STREAM_DOWN,
    problems.STORE_DOWN,
    problems.AUDIT_DOWN,
    problems.AUDIT_FULL,
)
APPROVE: Final = Operation(
    name="approve_reveal",
    tag="Names",
    summary="Approve somebody else's request to see names",
    text="The one who asked may open it then, within the same time again. Recorded in the audit log.",
    permission=Permission.REVEALS_DECIDE,
    body=Decision,
    example=Decision(reason="Confirmed with the district"),
    successes=(Success(200, "The approved request", RevealTicket),),
    problems=_DECIDING,
)
REFUSE: Final = Operation(
    name="refuse_reveal",
    tag="Names",
    summary="Refuse somebody else's request to see names",
    text="Recorded in the audit log.",
    permission=Permission.REVEALS_DECIDE,
    body=Decision,
    example=Decision(reason="Those contacts were released"),
    successes=(Success(200, "The refused request", RevealTicket),),
    problems=_DECIDING,
)
OPEN: Final = Operation(
    name="open_reveal",
    tag="Names",
    summary="See the names of an approved request of your own",
    text=(
        "Until it expires. Every opening is an entry of its own in the audit log, with the purpose that the request"
        " stated, and counts towards the limit a person and day."
    ),
    permission=Permission.NAMES_REVEAL,
    body=Decision,
    example=Decision(),
    successes=(Success(200, "The names", Revealed),),
    problems=(
        problems.NOT_FOUND,
        problems.REVEAL_UNDECIDED,
        problems.REVEAL_OVER,
        problems.REVEAL_LIMIT,
        problems.STREAM_DOWN,
        problems.STORE_DOWN,
        problems.AUDIT_DOWN,
        problems.AUDIT_FULL,
    ),
)


@post("/v1/traces/{trace_id:str}/reveal", opt={OPERATION: REVEAL}, status_code=200, sync_to_thread=True)
def reveal_people(request: Asked, trace_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """The names, or a request for them."""
    asked = decode_body(body, request.headers.get("content-type", ""), RevealAsked)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    subjects = list(dict.fromkeys(asked.subjects))
    _check_in_trace(parts, trace_id, asked.subjects)
    if not parts.reveals.rules.four_eyes:
        return _revealed(request, parts, trace_id, subjects, purpose)
    ticket = parts.reveals.ask(request.auth, trace_id, subjects, purpose)
    parts.audit.write(parts.clock(), request.auth, Action.REVEAL_ASKED, trace_id, purpose, people=subjects)
    parts.reveals.keep(ticket)
    return reply(Revealed(trace=trace_id, people=[], request=_ticket(ticket)), 202)


@get("/v1/reveals", opt={OPERATION: LIST}, sync_to_thread=True)
def list_reveals(request: Asked, parts: Given) -> Response[bytes]:
    """A page of requests."""
    query = decode_query(request.query_params.multi_items(), RevealsQuery)
    fitting = [one for one in parts.reveals.all() if query.state is None or one.state is query.state]
    if query.cursor is not None:
        position = position_of(query.cursor, _Position)
        fitting = [one for one in fitting if (one.asked_at, one.id) < (position.asked_at, position.id)]
    items = [_ticket(one) for one in fitting[: query.limit]]
    more = len(fitting) > query.limit
    return reply(RevealsPage(items, cursor_of(_Position(items[-1].asked_at, items[-1].id)) if more else None))


@post("/v1/reveals/{request_id:str}/approve", opt={OPERATION: APPROVE}, status_code=200, sync_to_thread=True)
def approve_reveal(request: Asked, request_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """Let the other one see the names."""
    return _decided(request, request_id, body, parts, approved=True)


@post("/v1/reveals/{request_id:str}/refuse", opt={OPERATION: REFUSE}, status_code=200, sync_to_thread=True)
def refuse_reveal(request: Asked, request_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """Do not."""
    return _decided(request, request_id, body, parts, approved=False)


@post("/v1/reveals/{request_id:str}/open", opt={OPERATION: OPEN}, status_code=200, sync_to_thread=True)
def open_reveal(request: Asked, request_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """The names that were approved."""
    decode_body(body, request.headers.get("content-type", ""), Decision)
    ticket = parts.reveals.approved(request_id, request.auth)
    return _revealed(request, parts, ticket.trace, ticket.subjects, ticket.purpose)


def _check_in_trace(parts: Parts, trace_id: str, subjects: Sequence[str]) -> None:
    answer = parts.saved.answer(trace_id)
    if answer is None:
        raise ProblemError(problems.NOT_FOUND.problem("No saved trace has this id."))
    named = set(subjects_in(answer))
    for index, subject in enumerate(subjects):
        if bytes.fromhex(subject) not in named:
            raise ProblemError(problems.NOT_IN_TRACE.problem(pointer=f"/subjects/{index}"))


def _revealed(request: Asked, parts: Parts, trace_id: str, subjects: Sequence[str], purpose: str) -> Response[bytes]:
    """Count, record each opening, and only then open."""
    parts.reveals.charge(request.auth, len(subjects))
    now = parts.clock()
    parts.audit.write_each(now, request.auth, Action.PERSON_REVEALED, trace_id, purpose, people=subjects)
    found = parts.directory.opened([bytes.fromhex(subject) for subject in subjects])
    people = [Named(subject=subject, person=found.get(bytes.fromhex(subject))) for subject in subjects]
    return reply(Revealed(trace=trace_id, people=people))


def _decided(request: Asked, request_id: str, body: bytes, parts: Parts, *, approved: bool) -> Response[bytes]:
    """A decision: checked, recorded, and then made."""
    asked = decode_body(body, request.headers.get("content-type", ""), Decision)
    pending = parts.reveals.pending(request_id, request.auth)
    action = Action.REVEAL_APPROVED if approved else Action.REVEAL_REFUSED
    people = pending.subjects
    parts.audit.write(parts.clock(), request.auth, action, pending.trace, asked.reason, people=people)
    return reply(_ticket(parts.reveals.decide(pending, request.auth, asked.reason, approved=approved)))


def _ticket(request: RevealRequest) -> RevealTicket:
    return RevealTicket(
        id=request.id,
        trace=request.trace,
        people=len(request.subjects),
        purpose=request.purpose,
        actor=request.actor,
        asked_at=request.asked_at,
        expires=request.expires,
        state=request.state,
        decided_at=request.decided_at,
        decided_by=request.decided_by,
        reason=request.reason,
    )


ROUTES: Final = (reveal_people, list_reveals, approve_reveal, refuse_reveal, open_reveal)
