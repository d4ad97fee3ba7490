"""Doubtful scans: those that a saved trace rests on, and those of a device in a window."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from events import codec, problems
from events.devices import Device, DeviceId
from events.problems import ProblemError
from events.scans import AT_MS_MAX, AtMs
from projections.subject_scans import SubjectScans
from tracing.access import Permission
from tracing.answer import Answer
from tracing.audit import Action, purpose_of
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit, cursor_of, position_of
from tracing.decoding import PURPOSE_HEADER, decode_body, decode_query, purpose_text
from tracing.doubt_reading import DoubtfulScan, DoubtReader, shown
from tracing.doubts import Doubt, Reason, Thresholds, counted
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.queries import ScansOf
from tracing.question import check_window, refuse
from tracing.routes.devices import known_device

SUBJECTS_MAX: Final = 5_000
"""Of so many people the scans are looked at for one answer."""
SCANS_SHOWN_MAX: Final = 10_000
DEVICE_SCANS_MAX: Final = 20_000
EVERY_REASON: Final = tuple(Reason)
DAY_MS: Final = 86_400_000

_OF_DEVICE: Final = """
SELECT lower(hex(subject)), seq FROM log
WHERE device = {device:UInt32} AND at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
  AND at < fromUnixTimestamp64Milli({to:Int64}, 'UTC') AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
ORDER BY seq, received LIMIT 1 BY seq LIMIT {limit:UInt32}"""


class TraceDoubtsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For which reasons (by default all) and from where on scans are doubtful. The purpose is kept in the audit log."""

    reasons: tuple[Reason, ...] = EVERY_REASON
    thresholds: Thresholds = Thresholds()
    purpose: str = ""


class TraceDoubts(msgspec.Struct, frozen=True, kw_only=True):
    """The doubtful scans that a saved trace rests on, as of its own moment, by subject and time.

    `by_reason` counts all of them, `scans` are the first; of the `evidence` scans that the trace names.
    """

    trace: str
    thresholds: Thresholds
    evidence: int
    by_reason: dict[Reason, int]
    scans: list[DoubtfulScan]


class DoubtsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which device, when (`[from, to)`, Unix ms), and for which reason, by default any."""

    device: DeviceId
    from_: AtMs = msgspec.field(name="from")
    to: AtMs
    reason: Reason | None = None
    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class DoubtsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A device's doubtful scans in a window, of `scans` that it made, by subject and time.

    `by_reason` counts those of all pages; `next` is the cursor of the page after, null on the last.
    """

    device: str
    thresholds: Thresholds
    scans: int
    by_reason: dict[Reason, int]
    items: list[DoubtfulScan]
    next: str | None


class _LookedFor(NamedTuple):
    """As of when (Unix ms), by which thresholds and for which reasons; scans by device number and seq."""

    as_of: int
    thresholds: Thresholds
    reasons: Collection[Reason]
    wanted: Collection[tuple[int, int]]


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All pages are as of the first one's moment; how many were given."""

    as_of: AtMs
    given: int


OF_TRACE: Final = Operation(
    name="read_trace_doubts",
    tag="Traces",
    summary="Which scans of a saved trace are doubtful, and why?",
    text=(
        "Flags the scans that prove the trace's encounters: impossible travel, two places at once, very many places,"
        " bursts, closed places, holes in the device's count. Each comes with the figure and the limit that it passes."
        " Nothing is changed; ask the question again with `leave_out_doubtful` to see what is left without them."
    ),
    permission=Permission.TRACES,
    person=True,
    body=TraceDoubtsRequest,
    example=TraceDoubtsRequest(reasons=(Reason.BURST, Reason.HOLES), purpose="Checking the cluster at the market"),
    successes=(Success(200, "The doubtful scans", TraceDoubts),),
    problems=(problems.NOT_FOUND, problems.TRACE_TOO_LARGE, problems.WINDOW_EXPIRED),
)
LIST: Final = Operation(
    name="list_doubts",
    tag="Devices",
    summary="List a device's doubtful scans in a window",
    text="With the default thresholds. A look at people: recorded in the audit log with its purpose.",
    permission=Permission.TRACES,
    person=True,
    query=DoubtsQuery,
    successes=(Success(200, "A page of doubtful scans", DoubtsPage),),
    problems=(problems.NOT_FOUND, problems.WINDOW_REVERSED, problems.WINDOW_TOO_LONG, problems.TRACE_TOO_LARGE),
)


@post("/v1/traces/{trace_id:str}/doubts", opt={OPERATION: OF_TRACE}, status_code=200, sync_to_thread=True)
def read_trace_doubts(request: Asked, trace_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """What is doubtful among the scans that prove the answer, after the look at it is recorded."""
    asked = decode_body(body, request.headers.get("content-type", ""), TraceDoubtsRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    text = parts.saved.answer(trace_id)
    if text is None:
        raise ProblemError(problems.NOT_FOUND.problem("No saved trace has this id."))
    answer = codec.from_json(text, Answer)
    numbers = {device.id: device.number for device in parts.registry.keyring.devices()}
    evidence = {(numbers[device], seq) for device, seq in _evidence(answer) if device in numbers}
    as_of = answer.question.as_of
    found = list(_found(parts, _people(answer), _LookedFor(as_of, asked.thresholds, asked.reasons, evidence)))
    parts.audit.write(parts.clock(), request.auth, Action.DOUBTS_READ, trace_id, purpose)
    return reply(
        TraceDoubts(
            trace=answer.id,
            thresholds=asked.thresholds,
            evidence=len(evidence),
            by_reason=_by_reason(found),
            scans=_shown(parts, found, as_of)[:SCANS_SHOWN_MAX],
        )
    )


@get("/v1/doubts", opt={OPERATION: LIST}, sync_to_thread=True)
def list_doubts(request: Asked, parts: Given) -> Response[bytes]:
    """A page of a device's doubtful scans, after the look at them is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    query = decode_query(request.query_params.multi_items(), DoubtsQuery)
    check_window(query.from_, query.to, "/to")
    device = known_device(parts, query.device)
    position = position_of(query.cursor, _Position) if query.cursor is not None else _Position(parts.clock(), 0)
    wanted, people = _of_device(parts, device, query, position.as_of)
    reasons = EVERY_REASON if query.reason is None else (query.reason,)
    found = list(_found(parts, people, _LookedFor(position.as_of, Thresholds(), reasons, wanted)))
    items = _shown(parts, found, position.as_of)
    end = position.given + query.limit
    page = items[position.given : end]
    seen = sorted({one.subject for one in page})
    parts.audit.write(parts.clock(), request.auth, Action.DOUBTS_READ, device.id, purpose, people=seen)
    return reply(
        DoubtsPage(
            device=device.id,
            thresholds=Thresholds(),
            scans=len(wanted),
            by_reason=_by_reason(found),
            items=page,
            next=cursor_of(_Position(position.as_of, end)) if end < len(items) else None,
        )
    )


def _found(parts: Parts, people: Collection[str], looked_for: _LookedFor) -> Iterator[tuple[str, Doubt]]:
    """What is doubtful among the wanted scans of these people. Raises TRACE_TOO_LARGE as `ProblemError`."""
    if len(people) > SUBJECTS_MAX:
        raise ProblemError(problems.TRACE_TOO_LARGE.problem(f"more than {SUBJECTS_MAX} people"))
    as_of, thresholds = looked_for.as_of, looked_for.thresholds
    reader = DoubtReader(parts.store, parts.registry, as_of=as_of, thresholds=thresholds)
    for read in _scans(parts, people, as_of):
        yield from reader.find(read, looked_for.reasons, looked_for.wanted)


def _scans(parts: Parts, people: Iterable[str], as_of: int) -> Iterator[SubjectScans]:
    query = ScansOf(
        subjects=sorted(people),
        as_of=as_of,
        until=AT_MS_MAX + 1,
        revocations=parts.registry.revocations_as_of(as_of),
        kept_from=parts.registry.kept.kept_from,
    )
    return query.read(parts.store, parts.registry.device_id)


def _of_device(parts: Parts, device: Device, query: DoubtsQuery, as_of: int) -> tuple[set[tuple[int, int]], set[str]]:
    """The scans of a device in the window, by device number and seq, and whose they are."""
    asked = {"device": device.number, "from": max(query.from_, parts.registry.kept.kept_from), "to": query.to}
    rows = parts.store.rows(_OF_DEVICE, asked | {"as_of": as_of, "limit": DEVICE_SCANS_MAX + 1})
    if len(rows) > DEVICE_SCANS_MAX:
        refuse(f"the device made more than {DEVICE_SCANS_MAX} scans in this window", "/to", problems.TRACE_TOO_LARGE)
    return {(device.number, seq) for _, seq in rows}, {subject for subject, _ in rows}


def _people(answer: Answer) -> set[str]:
    return {each.subject for each in answer.index} | {contact.subject for contact in answer.contacts}


def _evidence(answer: Answer) -> Iterator[tuple[str, int]]:
    """The scans that prove the answer's encounters."""
    for contact in answer.contacts:
        for one in contact.encounters:
            yield from one.stay.scans
            yield from one.index_stay.scans


def _by_reason(found: Iterable[tuple[str, Doubt]]) -> dict[Reason, int]:
    return dict(sorted(counted(doubt for _, doubt in found).items()))


def _shown(parts: Parts, found: Sequence[tuple[str, Doubt]], as_of: int) -> list[DoubtfulScan]:
    places = parts.registry.places_as_of(as_of, {doubt.scan.place for _, doubt in found})
    return shown(found, parts.registry, places)


ROUTES: Final = (read_trace_doubts, list_doubts)
