"""Clusters: as they stand, and as they arise."""

import asyncio
import re
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.response import Stream
from msgspec import Meta

from events import problems
from events.access import Token
from events.clusters import Announced, Announcement
from events.places import PlaceId
from events.problems import ProblemError
from tracing.access import Permission
from tracing.audit import Action, purpose_of
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit, cursor_of, position_of
from tracing.decoding import PURPOSE_HEADER, decode_query, purpose_text
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply

EVENT_STREAM: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"
NUMBER_MAX: Final = 2**63 - 1
_NUMBER: Final = re.compile(r"[0-9]{1,18}")

Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


class ClustersPage(msgspec.Struct, frozen=True):
    """The clusters as they stand, the latest changed first; `next` is the cursor of the page after, null on the last.

    `number`: the feed's latest entry that is in the page. Listen from there (`after`), and nothing is missed.
    """

    number: int
    items: list[Announced]
    next: str | None


class ClustersQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which clusters to list: all, or those at a place or inside it."""

    place: PlaceId | None = None
    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class FeedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where on to listen: behind the entry of this number. 0 is the beginning; left out, only what is new.

    The header `Last-Event-ID`, which a client sends by itself when it connects anew, comes first.
    """

    after: Number | None = None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Below this number: a cluster that changes meanwhile moves to the front, where the feed tells of it."""

    number: Number
    below: Number


LIST: Final = Operation(
    name="list_clusters",
    tag="Clusters",
    summary="List the clusters as they stand",
    text=(
        "Places and vehicles where at least `cases_min` F0 were within some `window_hours`, each with its latest"
        " announcement; the latest changed first. They name cases and where those were: recorded in the audit log"
        " with its purpose."
    ),
    permission=Permission.CLUSTERS_READ,
    person=True,
    query=ClustersQuery,
    successes=(Success(200, "A page of clusters", ClustersPage),),
    problems=(problems.STREAM_DOWN,),
)
FOLLOW: Final = Operation(
    name="follow_clusters",
    tag="Clusters",
    summary="Be told of clusters as they arise",
    text=(
        "Server-Sent Events. Each event `cluster` has the entry's number as its id and the entry as JSON. Numbers count"
        " without a gap, and an entry is there once. Connect anew with `Last-Event-ID`, as browsers do by themselves,"
        " and nothing is lost or repeated. A comment comes every 15 s; after an hour the stream ends. What is told is"
        " recorded in the audit log with its purpose before."
    ),
    permission=Permission.CLUSTERS_READ,
    person=True,
    query=FeedQuery,
    successes=(Success(200, "The events", None, EVENT_STREAM),),
    problems=(problems.SERVER_BUSY, problems.STREAM_DOWN),
)


@get("/v1/clusters", opt={OPERATION: LIST}, sync_to_thread=True)
def list_clusters(request: Asked, parts: Given) -> Response[bytes]:
    """A page of the clusters, after the look at them is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    query = decode_query(request.query_params.multi_items(), ClustersQuery)
    position = position_of(query.cursor, _Position) if query.cursor is not None else None
    number, standing = parts.outbreak.board.read()
    below = position.below if position is not None else NUMBER_MAX
    fitting = [
        Announced(number=one.number, announcement=one.announcement)
        for one in standing.values()
        if one.number < below and _is_at(one.announcement, query.place, parts)
    ]
    fitting.sort(key=lambda one: -one.number)
    items = fitting[: query.limit]
    first = position.number if position is not None else number
    more = cursor_of(_Position(first, items[-1].number)) if len(fitting) > query.limit else None
    people, where = _people(items, parts), query.place or "all"
    parts.audit.write(parts.clock(), request.auth, Action.CLUSTERS_READ, where, purpose, people=people)
    return reply(ClustersPage(first, items, more))


@get("/v1/clusters/feed", opt={OPERATION: FOLLOW}, media_type=EVENT_STREAM)
async def follow_clusters(request: Asked, parts: Given) -> Stream:
    """The feed, after the look at it is recorded; as long as the token is good."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    query = decode_query(request.query_params.multi_items(), FeedQuery)
    after = _last_event(request.headers.get(LAST_EVENT_ID), query)
    token, outbreak = request.auth, parts.outbreak

    def record(told: list[Announced]) -> None:
        people = _people(told, parts)
        parts.audit.write(parts.clock(), token, Action.CLUSTERS_FOLLOWED, "feed", purpose, people=people)

    # Neither the audit log nor the stream's server may be waited for in the event loop.
    newest = await asyncio.to_thread(outbreak.feed.newest)
    start = newest if after is None else after
    events = outbreak.listeners.listen(start, lambda: may_listen(token, parts), record)
    await asyncio.to_thread(record, [])
    # A proxy that collects an answer before it hands it on would hand on nothing.
    return Stream(events, media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})


def _last_event(header: str | None, query: FeedQuery) -> int | None:
    if header is None:
        return query.after
    if not _NUMBER.fullmatch(header):
        detail = f"{LAST_EVENT_ID} must be the id of an event of this feed."
        raise ProblemError(problems.QUESTION_INVALID.problem(detail, pointer="/after"))
    return int(header)


def _people(told: Iterable[Announced], parts: Parts) -> list[str]:
    """A look at clusters is a look at everybody whose case is in one: their pseudonyms."""
    cases = {case for one in told for case in one.announcement.cases}
    return sorted({case.subject for each in cases if (case := parts.registry.case(each)) is not None})


def may_listen(token: Token, parts: Parts) -> bool:
    """Whether the token that opened the feed would open it still."""
    known = parts.registry.tokens_by_sha256.get(token.sha256)
    return known is not None and not known.revoked and parts.clock() < known.expires


def _is_at(announcement: Announcement, place: str | None, parts: Parts) -> bool:
    if place is None or announcement.place == place:
        return True
    tree = parts.registry.places()
    return announcement.place in tree.by_id and tree.within(announcement.place, place)


ROUTES: Final = (list_clusters, follow_clusters)
