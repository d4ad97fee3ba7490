"""Occupancy: how many people were at a place, hour by hour."""

from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from msgspec import Meta

from events import problems
from events.scans import AT_MS_MAX, AtMs
from tracing.access import ROLE_PERMISSIONS, Permission
from tracing.decoding import decode_query
from tracing.operation import OPERATION, Operation, Success
from tracing.outbreak.attendance import PlaceOccupancy, without_small_counts
from tracing.outbreak.occupancy import HOUR_MS
from tracing.parts import Asked, Given, reply

WholeHour = Annotated[
    int, Meta(ge=0, le=AT_MS_MAX, multiple_of=HOUR_MS, description=f"Unix ms at a whole hour: a multiple of {HOUR_MS}")
]


class OccupancyQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window `[from, to)` at whole hours, up to 35 days, and as of when (Unix ms; default now)."""

    from_: WholeHour = msgspec.field(name="from")
    to: WholeHour
    as_of: AtMs | None = None


READ: Final = Operation(
    name="read_occupancy",
    tag="Places",
    summary="How many people were at a place, hour by hour",
    text=(
        "With the places inside it, each person once. It names nobody. Those who may not read where people stayed"
        " (`stays:read`) are told nothing of an hour with fewer people than TRUYVET_OCCUPANCY_PEOPLE_MIN, and of the"
        " others figures rounded to multiples of it: `people_min` in the answer says so."
    ),
    permission=Permission.OCCUPANCY_READ,
    query=OccupancyQuery,
    successes=(Success(200, "The occupancy", PlaceOccupancy),),
    problems=(
        problems.NOT_FOUND,
        problems.WINDOW_REVERSED,
        problems.WINDOW_TOO_LONG,
        problems.WINDOW_EXPIRED,
        problems.AS_OF_IN_FUTURE,
        problems.TRACE_TOO_LARGE,
        problems.BEHIND,
        problems.STORE_DOWN,
        problems.STREAM_DOWN,
    ),
)


@get("/v1/places/{place_id:str}/occupancy", opt={OPERATION: READ}, sync_to_thread=True)
def read_occupancy(request: Asked, place_id: FromPath[str], parts: Given) -> Response[bytes]:
    """The place's occupancy, as far as the one who asks may know it."""
    query = decode_query(request.query_params.multi_items(), OccupancyQuery)
    occupancy = parts.outbreak.attendance.of(place_id, query.from_, query.to, query.as_of)
    if Permission.STAYS_READ not in ROLE_PERMISSIONS[request.auth.role]:
        occupancy = without_small_counts(occupancy, parts.occupancy_people_min)
    return reply(occupancy)


ROUTES: Final = (read_occupancy,)
"""Its routes."""
