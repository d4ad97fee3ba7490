"""Places: list, read, register or change."""

import unicodedata
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, RawBody
from msgspec import Meta

from events import problems
from events.control import PlaceRegistered
from events.places import (
    DWELL_SECONDS_MAX,
    DWELL_SECONDS_MIN,
    PLACE_DEPTH_MAX,
    AreaCode,
    Category,
    ClockTime,
    Place,
    PlaceId,
    PlaceTree,
)
from events.problems import ProblemError
from events.text import Name
from tracing.access import Permission
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit, page_by_id
from tracing.decoding import decode_body, decode_query
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply

NAME_CHARACTERS_MAX: Final = 200

NamePart = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_CHARACTERS_MAX,
        description="Part of the name; case and diacritics do not matter",
    ),
]


class PlaceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place to register, or all the new values of a registered one. The registry allots its number itself."""

    id: PlaceId
    name: Name
    category: Category = Category.OTHER
    parent: PlaceId | None = None
    dwell_seconds: Annotated[int, Meta(ge=DWELL_SECONDS_MIN, le=DWELL_SECONDS_MAX)] | None = None
    province: AreaCode | None = None
    district: AreaCode | None = None
    commune: AreaCode | None = None
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    capacity: Annotated[int, Meta(ge=0)] | None = None
    opens: ClockTime | None = None
    closes: ClockTime | None = None


class PlacesPage(msgspec.Struct, frozen=True):
    """Places by id; `next` is the cursor of the page after, null on the last."""

    items: list[Place]
    next: str | None


class PlacesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which places to list: those that every given filter fits."""

    parent: PlaceId | None = None
    category: Category | None = None
    province: AreaCode | None = None
    name: NamePart | None = None
    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


LIST: Final = Operation(
    name="list_places",
    tag="Places",
    summary="List the places",
    text="By id. `parent` gives the places right inside one.",
    permission=Permission.PLACES_READ,
    query=PlacesQuery,
    successes=(Success(200, "A page of places", PlacesPage),),
)
READ: Final = Operation(
    name="read_place",
    tag="Places",
    summary="Read a place",
    permission=Permission.PLACES_READ,
    successes=(Success(200, "The place", Place),),
    problems=(problems.NOT_FOUND,),
)
REGISTER: Final = Operation(
    name="register_place",
    tag="Places",
    summary="Register or change a place",
    text="All values are replaced; the number stays. A change counts from now on: a trace as of earlier sees the old.",
    permission=Permission.PLACES_WRITE,
    body=PlaceRequest,
    example=PlaceRequest(
        id="cho-dong-xuan", name="Chợ Đồng Xuân", category=Category.MARKET, province="1", dwell_seconds=5_400
    ),
    successes=(
        Success(201, "The place is registered", Place),
        Success(200, "The place is changed, or was so already", Place),
    ),
    problems=(problems.REGISTRY_CONFLICT, problems.STREAM_DOWN),
)


@get("/v1/places", opt={OPERATION: LIST}, sync_to_thread=True)
def list_places(request: Asked, parts: Given) -> Response[bytes]:
    """A page of the places that fit, by id."""
    query = decode_query(request.query_params.multi_items(), PlacesQuery)
    name = folded(query.name) if query.name is not None else None
    fitting = (place for place in parts.registry.places().by_id.values() if _fits(place, query, name))
    return reply(PlacesPage(*page_by_id(fitting, query.cursor, query.limit)))


@get("/v1/places/{place_id:str}", opt={OPERATION: READ}, sync_to_thread=True)
def read_place(place_id: FromPath[str], parts: Given) -> Response[bytes]:
    """One place."""
    place = parts.registry.places().by_id.get(place_id)
    if place is None:
        raise ProblemError(problems.NOT_FOUND.problem("No place has this id."))
    return reply(place)


@post("/v1/places", opt={OPERATION: REGISTER}, sync_to_thread=True)
def register_place(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Append `PlaceRegistered` unless the registry says the same already."""
    asked = decode_body(body, request.headers.get("content-type", ""), PlaceRequest)
    with parts.registrar.lock:
        tree = parts.registry.places()
        known = tree.by_id.get(asked.id)
        _require_fit(asked, known, tree)
        number = known.number if known is not None else parts.registrar.next_place_number()
        place = Place(number=number, **msgspec.structs.asdict(asked))
        if place != known:
            parts.registrar.record(PlaceRegistered(place))
    return reply(place, 201 if known is None else 200)


def folded(name: str) -> str:
    """A name as it is compared: without case and diacritics, so that "cho" finds "Chợ"."""
    plain = unicodedata.normalize("NFD", name.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).replace("đ", "d")


def _fits(place: Place, query: PlacesQuery, name: str | None) -> bool:
    return (
        (query.parent is None or place.parent == query.parent)
        and (query.category is None or place.category == query.category)
        and (query.province is None or place.province == query.province)
        and (name is None or name in folded(place.name))
    )


def _require_fit(asked: PlaceRequest, known: Place | None, tree: PlaceTree) -> None:
    """Raise REGISTRY_CONFLICT as `ProblemError` where the place would break the tree."""
    if asked.parent is None or (known is not None and known.parent == asked.parent):
        return
    if asked.parent not in tree.by_id:
        raise ProblemError(problems.REGISTRY_CONFLICT.problem("No place has the parent's id.", pointer="/parent"))
    if asked.id == asked.parent or asked.id in tree.ancestors(asked.parent):
        detail = "The parent is the place itself or lies within it."
        raise ProblemError(problems.REGISTRY_CONFLICT.problem(detail, pointer="/parent"))
    below = max((_depth_below(inner, asked.id, tree) for inner in tree.by_id), default=0) if known else 0
    if len(tree.ancestors(asked.parent)) + 1 + below > PLACE_DEPTH_MAX:
        detail = f"Places would nest deeper than {PLACE_DEPTH_MAX}."
        raise ProblemError(problems.REGISTRY_CONFLICT.problem(detail, pointer="/parent"))


def _depth_below(inner: str, outer: str, tree: PlaceTree) -> int:
    """How many levels `inner` lies below `outer`; 0 where it does not."""
    around = tree.ancestors(inner)
    return around.index(outer) + 1 if outer in around else 0


ROUTES: Final = (list_places, read_place, register_place)
