"""Holes in the devices' counts: which devices have some, which seqs of one are missing or came differently again."""

import heapq
from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from msgspec import Meta

from events import problems
from events.devices import Device
from events.scans import AtMs, Kind
from tracing.access import Permission
from tracing.cursor import PAGE_ITEMS_DEFAULT, AfterSeq, Cursor, Limit, cursor_of, position_of
from tracing.decoding import decode_query
from tracing.gaps import Gap, RivalriesOf, Rivalry, Tally, TallyOf
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.registry import place_id
from tracing.routes.devices import known_device
from tracing.sequence import gaps_of, log_as_of, standing_of

RUNS_MAX: Final = 10_000
RUNS_DEFAULT: Final = 1_000


class DeviceGapsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A device with holes in its count: `missing` seqs in `runs`, the first of them `next_seq`, all below `seen_to`.

    `since`: when the first scan after any of them came (Unix ms), null where none is missing. `conflicts`: seqs that
    came with other content. `place` is null for a phone.
    """

    device: str
    place: str | None
    missing: int
    runs: int
    since: int | None
    next_seq: int
    seen_to: int
    conflicts: int


class GapsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Devices with missing or conflicting seqs, those that miss most first, all as of one moment (Unix ms).

    `devices`, `missing` and `conflicts` are the totals of all pages; `next` is the cursor of the page after.
    """

    as_of: int
    devices: int
    missing: int
    conflicts: int
    items: list[DeviceGapsSummary]
    next: str | None


class ConflictDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of a seq that came with other content. Times in Unix ms; whom it names is not said here."""

    received: int
    at: int
    kind: Kind
    place: str


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """A seq whose deliveries differ in what `differs` names (`at`, `place`, `subject`, `kind`). The first one counts.

    `deliveries` are the earliest of `count`, by `received`.
    """

    seq: int
    differs: list[str]
    count: int
    deliveries: list[ConflictDelivery]


class DeviceGaps(msgspec.Struct, frozen=True, kw_only=True):
    """One device's count as of a moment (Unix ms): `missing` seqs in `runs`, and `conflicting` ones with other content.

    `next_seq` is the lowest seq that is missing, `seen_to` the highest that came. `gaps` and `conflicts` are the
    page's; `next` is the `after_seq` of the page after, null on the last.
    """

    device: str
    place: str | None
    as_of: int
    next_seq: int
    seen_to: int
    missing: int
    runs: int
    conflicting: int
    gaps: list[Gap]
    conflicts: list[Conflict]
    next: int | None


class GapsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of the list."""

    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class DeviceGapsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs and conflicts: those above `after_seq`, at most `limit` of both together."""

    after_seq: AfterSeq = 0
    limit: Annotated[
        int, Meta(ge=1, le=RUNS_MAX, description="How many runs and conflicts a page holds together at most")
    ] = RUNS_DEFAULT


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All pages are as of the first one's moment, so that nothing moves between them."""

    as_of: AtMs
    given: Annotated[int, Meta(ge=1)]


LIST: Final = Operation(
    name="list_gaps",
    tag="Devices",
    summary="List the devices whose scans have holes",
    text=(
        "Every device counts its scans from 1. A seq below the highest that the log has, which came neither as an"
        " accepted nor as a refused scan, is missing: never sent, or lost on the way. Read from the whole log, so one"
        " such question is answered at a time."
    ),
    permission=Permission.DEVICES_READ,
    query=GapsQuery,
    successes=(Success(200, "A page of devices, those that miss most first", GapsPage),),
    problems=(problems.SERVER_BUSY, problems.BEHIND, problems.STREAM_DOWN, problems.STORE_DOWN),
)
READ: Final = Operation(
    name="read_gaps",
    tag="Devices",
    summary="Read which of a device's scans are missing or came with other content",
    text=(
        "The runs of missing seqs with the moment since when each is known, and the seqs that came more than once with"
        " another time, place, subject or kind: every delivery is kept, the first counts. A run at the end whose"
        " `since` is null was acknowledged and has never reached the log."
    ),
    permission=Permission.DEVICES_READ,
    query=DeviceGapsQuery,
    successes=(Success(200, "The device's missing and conflicting seqs", DeviceGaps),),
    problems=(problems.NOT_FOUND, problems.BEHIND, problems.STREAM_DOWN, problems.STORE_DOWN),
)


@get("/v1/gaps", opt={OPERATION: LIST}, sync_to_thread=True)
def list_gaps(request: Asked, parts: Given) -> Response[bytes]:
    """A page of the devices with holes or conflicts."""
    query = decode_query(request.query_params.multi_items(), GapsQuery)
    position = position_of(query.cursor, _Position) if query.cursor is not None else None
    with parts.gap_surveys.turn():
        return reply(_gaps_page(position, query.limit, parts))


@get("/v1/devices/{device_id:str}/gaps", opt={OPERATION: READ}, sync_to_thread=True)
def read_gaps(request: Asked, device_id: FromPath[str], parts: Given) -> Response[bytes]:
    """A page of one device's holes and conflicts, by seq."""
    query = decode_query(request.query_params.multi_items(), DeviceGapsQuery)
    device = known_device(parts, device_id)
    return reply(_device_gaps(device, query, parts))


def _gaps_page(position: _Position | None, limit: int, parts: Parts) -> GapsPage:
    as_of = position.as_of if position else log_as_of(parts.watermarks, parts.clock())
    given = position.given if position else 0
    survey = parts.gap_surveys.of(as_of)
    upto = given + limit
    items = [
        _summary(
            survey.tallies.get(number) or TallyOf(device=number, as_of=as_of).read(parts.store),
            survey.conflicts.get(number, 0),
            parts,
        )
        for number in survey.worst[given:upto]
    ]
    return GapsPage(
        as_of=as_of,
        devices=len(survey.worst),
        missing=survey.missing,
        conflicts=sum(survey.conflicts.values()),
        items=items,
        next=cursor_of(_Position(as_of, upto)) if upto < len(survey.worst) else None,
    )


def _device_gaps(device: Device, query: DeviceGapsQuery, parts: Parts) -> DeviceGaps:
    standing = standing_of(device.number, store=parts.store, watermarks=parts.watermarks, accounts=parts.accounts)
    after, more = query.after_seq, query.limit + 1
    rivalries = RivalriesOf(device=device.number, as_of=standing.as_of, after=after, limit=more)
    found = [
        *((gap.last, gap) for gap in gaps_of(standing, parts.store, after=after, limit=more)),
        *((rivalry.seq, rivalry) for rivalry in rivalries.read(parts.store)),
    ]
    page = heapq.nsmallest(more, found, key=lambda each: each[0])
    shown = page[: query.limit]
    tally = standing.tally
    return DeviceGaps(
        device=device.id,
        place=device.place,
        as_of=standing.as_of,
        next_seq=tally.next_seq,
        seen_to=standing.seen_to if standing.settled else tally.seen_to,
        missing=tally.missing + standing.lost_at_end,
        runs=tally.gaps + bool(standing.lost_at_end),
        conflicting=rivalries.count(parts.store),
        gaps=[each for _, each in shown if isinstance(each, Gap)],
        conflicts=[_conflict(each, parts) for _, each in shown if isinstance(each, Rivalry)],
        next=shown[-1][0] if len(page) > len(shown) else None,
    )


def _summary(tally: Tally, conflicts: int, parts: Parts) -> DeviceGapsSummary:
    device = parts.registry.keyring.device_by_number(tally.device)
    return DeviceGapsSummary(
        device=parts.registry.device_id(tally.device),
        place=device.place if device is not None else None,
        missing=tally.missing,
        runs=tally.gaps,
        since=tally.since,
        next_seq=tally.next_seq,
        seen_to=tally.seen_to,
        conflicts=conflicts,
    )


def _conflict(rivalry: Rivalry, parts: Parts) -> Conflict:
    places = parts.registry.places()
    return Conflict(
        seq=rivalry.seq,
        differs=rivalry.differs,
        count=rivalry.count,
        deliveries=[
            ConflictDelivery(
                received=one.received,
                at=one.at,
                kind=one.kind,
                place=place_id(places, one.place),
            )
            for one in rivalry.deliveries
        ],
    )


ROUTES: Final = (list_gaps, read_gaps)
