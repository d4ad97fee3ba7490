"""What people are (F0, recovered, F1, F2, released), who is in quarantine, and their vaccinations and tests."""

import datetime
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, RawBody
from msgspec import Meta

from events import codec, problems
from events.devices import Pseudonym
from events.people import HealthRecord, Source, SourceKind, State, StateChange
from events.problems import ProblemError
from events.scans import AtMs
from keys.sealing import SEAL_NONCE_BYTES
from tracing.access import Permission
from tracing.answer import Answer
from tracing.audit import Action, purpose_of
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit
from tracing.decoding import PURPOSE_HEADER, decode_body, decode_query, purpose_text
from tracing.line_files import Column, RowError, WrongHeader
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.people.health import DICTIONARY, ERRORS_MAX, parse
from tracing.people.paging import opened_cursor, sealed_cursor
from tracing.people.quarantine import Listed, Standings, counted, listed
from tracing.people.states import CONFINED, Standing, confirmed, standing_at

SUBJECTS_MAX: Final = 1_000
"""So many people are declared, or looked up, in one request."""
DAY_MS: Final = 86_400_000
DAYS_MAX: Final = 90
STATE_OF_DEPTH: Final = {1: State.F1, 2: State.F2}
PURPOSE_EXAMPLE: Final = "Lists for the commune's quarantine teams"

Subjects = Annotated[tuple[Pseudonym, ...], Meta(min_length=1, max_length=SUBJECTS_MAX)]


class DeclareRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People who are in a state from `at` on, by an order or a case. `until` is when their quarantine is due to end."""

    subjects: Subjects
    state: State
    at: AtMs
    until: AtMs | None = None
    source: Source
    purpose: str = ""


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """How many people were declared to be in which state, and how many of a trace's contacts are in none of ours."""

    declared: dict[State, int]
    left_out: int = 0


class OfTraceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Contacts of a saved trace who are F1 and F2 from now on: those named, or all.

    `days` sets the end of their quarantine, counted from each one's last exposure.
    """

    subjects: Subjects | None = None
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] | None = None
    purpose: str = ""


class StatusRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose standing and health are looked up, as of `at` (default: the service's clock)."""

    subjects: Subjects
    at: AtMs | None = None
    purpose: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a person beside their scans. `doses` is the highest number of a vaccination."""

    subject: str
    standing: Standing | None
    doses: int
    last_test: HealthRecord | None
    records: tuple[HealthRecord, ...]


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The people in the order asked for, as of `at` (Unix ms)."""

    at: int
    items: list[Status]


class QuarantineQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is listed: one state, or all who stay apart (F0, F1, F2); as of `at`; with `due_before` those due to end."""

    state: State | None = None
    at: AtMs | None = None
    due_before: AtMs | None = None
    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class QuarantinePage(msgspec.Struct, frozen=True, kw_only=True):
    """People by pseudonym, as of `at` (Unix ms); `next` is the cursor of the page after, null on the last."""

    at: int
    items: list[Listed]
    next: str | None


class StateCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many people are in each state as of `at` (Unix ms)."""

    at: int
    counts: dict[State, int]


class CountsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As of when; default the service's clock."""

    at: AtMs | None = None


class HealthImport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines of a CSV file, each request with the header line. `dry_run` checks them and keeps nothing."""

    csv: str
    dry_run: bool = False
    purpose: str = ""


class HealthImported(msgspec.Struct, frozen=True, kw_only=True):
    """How many lines were taken, how many of them take a record back, and what is wrong with the others."""

    taken: int
    withdrawn: int
    wrong: int
    errors: list[RowError]
    dry_run: bool


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All pages are as of the first one's moment."""

    at: AtMs
    after: Pseudonym


DECLARE: Final = Operation(
    name="declare_states",
    tag="People",
    summary="Declare people to be F0, recovered, F1, F2 or released",
    text=(
        "An event with its time and its source. The same one again changes nothing. What does not follow from what"
        " somebody is (a release of an F0) is kept and changes nothing either. Recorded in the audit log."
    ),
    permission=Permission.PEOPLE_WRITE,
    person=True,
    body=DeclareRequest,
    example=DeclareRequest(
        subjects=("5f0c2a9be1d34c7788aa01b2c3d4e5f6",),
        state=State.RELEASED,
        at=1_636_200_000_000,
        source=Source(kind=SourceKind.ORDER, id="QD-2021-311"),
        purpose=PURPOSE_EXAMPLE,
    ),
    successes=(Success(200, "They are recorded", Declared),),
    problems=(problems.STORE_DOWN,),
)
DECLARE_OF_TRACE: Final = Operation(
    name="declare_contacts",
    tag="People",
    summary="Declare the contacts of a saved trace to be F1 and F2",
    text=(
        "At depth 1 they become F1, at depth 2 F2, from the moment that the trace is as of, with the trace as source."
        " Deeper contacts are left out. The same again changes nothing. Recorded in the audit log."
    ),
    permission=Permission.PEOPLE_WRITE,
    person=True,
    body=OfTraceRequest,
    example=OfTraceRequest(days=14, purpose=PURPOSE_EXAMPLE),
    successes=(Success(200, "They are recorded", Declared),),
    problems=(problems.NOT_FOUND, problems.STORE_DOWN),
)
STATUS: Final = Operation(
    name="read_status",
    tag="People",
    summary="What these people are, and their vaccinations and tests",
    text="What stands beside a contact. A look at people: recorded in the audit log with its purpose.",
    permission=Permission.PEOPLE_READ,
    person=True,
    body=StatusRequest,
    example=StatusRequest(subjects=("5f0c2a9be1d34c7788aa01b2c3d4e5f6",), purpose=PURPOSE_EXAMPLE),
    successes=(Success(200, "One item a person", StatusAnswer),),
    problems=(problems.STORE_DOWN,),
)
QUARANTINE: Final = Operation(
    name="list_quarantine",
    tag="People",
    summary="List who is in a state, or apart from others",
    text="A look at people: recorded in the audit log with its purpose.",
    permission=Permission.PEOPLE_READ,
    person=True,
    query=QuarantineQuery,
    successes=(Success(200, "A page of people", QuarantinePage),),
    problems=(problems.STORE_DOWN,),
)
COUNTS: Final = Operation(
    name="count_states",
    tag="People",
    summary="How many people are in each state",
    permission=Permission.CASES_READ,
    query=CountsQuery,
    successes=(Success(200, "The counts", StateCounts),),
    problems=(problems.STORE_DOWN,),
)
IMPORT: Final = Operation(
    name="import_health",
    tag="People",
    summary="Import vaccinations and tests",
    text=(
        "CSV by pseudonym; `GET /v1/health/columns` is its data dictionary. Good lines are taken, each wrong one is"
        f" told with its line and column, the first {ERRORS_MAX} of them. Safe to repeat. Recorded in the audit log."
    ),
    permission=Permission.HEALTH_WRITE,
    person=True,
    body=HealthImport,
    example=HealthImport(
        csv=",".join(column.name for column in DICTIONARY)
        + "\n"
        + ",".join(column.example for column in DICTIONARY)
        + "\n",
        purpose="Vaccinations of the week 37",
    ),
    successes=(Success(200, "What became of the lines", HealthImported),),
    problems=(problems.IMPORT_UNREADABLE, problems.STORE_DOWN),
)


class Dictionary(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of the CSV of vaccinations and tests."""

    columns: tuple[Column, ...]


COLUMNS: Final = Operation(
    name="list_health_columns",
    tag="People",
    summary="The data dictionary of the import of vaccinations and tests",
    permission=Permission.HEALTH_WRITE,
    successes=(Success(200, "The columns", Dictionary),),
)


@post("/v1/people/states", opt={OPERATION: DECLARE}, status_code=200, sync_to_thread=True)
def declare_states(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Record a state of people, after who declared it."""
    asked = decode_body(body, request.headers.get("content-type", ""), DeclareRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    if asked.until is not None and asked.until <= asked.at:
        raise ProblemError(problems.BODY_INVALID.problem("The end lies before the beginning.", pointer="/until"))
    changes = [
        StateChange(subject=subject, state=asked.state, at=asked.at, until=asked.until, source=asked.source)
        for subject in dict.fromkeys(asked.subjects)
    ]
    return _declare(request, parts, changes, asked.source.id, purpose, left_out=0)


@post("/v1/traces/{trace_id:str}/states", opt={OPERATION: DECLARE_OF_TRACE}, status_code=200, sync_to_thread=True)
def declare_contacts(request: Asked, trace_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """Record a trace's contacts as F1 and F2."""
    asked = decode_body(body, request.headers.get("content-type", ""), OfTraceRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    text = parts.saved.answer(trace_id)
    if text is None:
        raise ProblemError(problems.NOT_FOUND.problem("No saved trace has this id."))
    answer = codec.from_json(text, Answer)
    chosen = None if asked.subjects is None else set(asked.subjects)
    if chosen is not None and not chosen <= {contact.subject for contact in answer.contacts}:
        detail = "Somebody named is no contact of this trace."
        raise ProblemError(problems.BODY_INVALID.problem(detail, pointer="/subjects"))
    contacts = [contact for contact in answer.contacts if chosen is None or contact.subject in chosen]
    changes = [
        StateChange(
            subject=contact.subject,
            state=STATE_OF_DEPTH[contact.depth],
            at=answer.cut_off.as_of,
            until=contact.last + asked.days * DAY_MS if asked.days is not None else None,
            source=Source(kind=SourceKind.TRACE, id=trace_id),
        )
        for contact in contacts
        if contact.depth in STATE_OF_DEPTH
    ]
    return _declare(request, parts, changes, trace_id, purpose, left_out=len(contacts) - len(changes))


@post("/v1/people/status", opt={OPERATION: STATUS}, status_code=200, sync_to_thread=True)
def read_status(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Standing and health of people, after the look at them is recorded."""
    asked = decode_body(body, request.headers.get("content-type", ""), StatusRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    now = parts.clock()
    at = now if asked.at is None else asked.at
    declared, subjects = parts.people.of(asked.subjects), set(asked.subjects)
    for case in parts.registry.cases():
        if case.subject in subjects:
            declared.setdefault(case.subject, []).append(confirmed(case))
    records = parts.health.of(asked.subjects)
    items = [_status(subject, declared.get(subject, []), records.get(subject, []), at) for subject in asked.subjects]
    parts.audit.write(now, request.auth, Action.STATUS_READ, f"{len(items)} people", purpose, people=asked.subjects)
    return reply(StatusAnswer(at=at, items=items))


@get("/v1/quarantine", opt={OPERATION: QUARANTINE}, sync_to_thread=True)
def list_quarantine(request: Asked, parts: Given) -> Response[bytes]:
    """A page of people by what they are, after the look at them is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    query = decode_query(request.query_params.multi_items(), QuarantineQuery)
    now = parts.clock()
    position = opened_cursor(query.cursor, _Position, parts.secrets) if query.cursor is not None else None
    at = position.at if position else now if query.at is None else query.at
    wanted = Standings(at=at, states=CONFINED if query.state is None else {query.state}, due_before=query.due_before)
    after = position.after if position else ""
    items, last = listed(parts.people, parts.registry.cases(), wanted, after=after, limit=query.limit)
    people = [item.subject for item in items]
    parts.audit.write(now, request.auth, Action.QUARANTINE_READ, query.state or "apart", purpose, people=people)
    more = sealed_cursor(_Position(at, last), parts.secrets, parts.random(SEAL_NONCE_BYTES)) if last else None
    return reply(QuarantinePage(at=at, items=items, next=more))


@get("/v1/people/counts", opt={OPERATION: COUNTS}, sync_to_thread=True)
def count_states(request: Asked, parts: Given) -> Response[bytes]:
    """How many people are in each state; nothing about anybody."""
    query = decode_query(request.query_params.multi_items(), CountsQuery)
    at = parts.clock() if query.at is None else query.at
    return reply(StateCounts(at=at, counts=counted(parts.people, parts.registry.cases(), at)))


@post("/v1/health", opt={OPERATION: IMPORT}, status_code=200, sync_to_thread=True)
def import_health(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Take the good lines, say what is wrong with the others."""
    asked = decode_body(body, request.headers.get("content-type", ""), HealthImport)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    now = parts.clock()
    today = datetime.datetime.fromtimestamp(now / 1000, datetime.UTC).date()
    try:
        # Registers write local days: east of Greenwich the new day has begun already.
        parsed = parse(asked.csv, today + datetime.timedelta(days=1))
    except WrongHeader as error:
        raise ProblemError(problems.IMPORT_UNREADABLE.problem(f"{error}.", pointer="/csv")) from None
    taken = len(parsed.records)
    if not asked.dry_run:
        people = [record.subject for record, _ in parsed.records]
        parts.audit.write(now, request.auth, Action.HEALTH_IMPORTED, f"{taken} lines", purpose, people=people)
        parts.health.keep(parsed, now)
    return reply(
        HealthImported(
            taken=taken,
            withdrawn=parsed.withdrawn,
            wrong=len(parsed.errors),
            errors=parsed.errors[:ERRORS_MAX],
            dry_run=asked.dry_run,
        )
    )


@get("/v1/health/columns", opt={OPERATION: COLUMNS}, sync_to_thread=False)
def list_health_columns() -> Response[bytes]:
    """The data dictionary."""
    return reply(Dictionary(columns=DICTIONARY))


def _declare(
    request: Asked, parts: Parts, changes: Sequence[StateChange], source: str, purpose: str, *, left_out: int
) -> Response[bytes]:
    """Record who declared, then what."""
    now = parts.clock()
    people = [change.subject for change in changes]
    parts.audit.write(now, request.auth, Action.STATES_DECLARED, source, purpose, people=people)
    parts.people.record(changes, recorded=now, actor=request.auth.name)
    declared: dict[State, int] = {}
    for change in changes:
        declared[change.state] = declared.get(change.state, 0) + 1
    return reply(Declared(declared=declared, left_out=left_out))


def _status(subject: str, changes: Sequence[StateChange], records: Sequence[HealthRecord], at: int) -> Status:
    return Status(
        subject=subject,
        standing=standing_at(changes, at),
        doses=max((record.dose or 0 for record in records), default=0),
        last_test=next((record for record in records if record.result is not None), None),
        records=tuple(records),
    )


ROUTES: Final = (
    declare_states,
    declare_contacts,
    read_status,
    list_quarantine,
    count_states,
    import_health,
    list_health_columns,
)
