"""Places: a tree of premises, rooms, vehicles and checkpoints."""

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from events.text import Name

PlaceId = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$(?!\n)")]
AreaCode = Annotated[str, Meta(pattern=r"^[0-9]{1,5}$(?!\n)")]

MINUTE_SECONDS: Final = 60
HOUR_SECONDS: Final = 3_600
DWELL_SECONDS_MIN: Final = MINUTE_SECONDS
DWELL_SECONDS_MAX: Final = 12 * HOUR_SECONDS
DWELL_SECONDS_DEFAULT: Final = 2 * HOUR_SECONDS
PLACE_DEPTH_MAX: Final = 16

DwellSeconds = Annotated[int, Meta(ge=DWELL_SECONDS_MIN, le=DWELL_SECONDS_MAX)]


class Category(enum.StrEnum):
    """What kind of premises a place is; decides its default dwell."""

    AGENCY = "agency"
    OFFICE = "office"
    FACTORY = "factory"
    INDUSTRIAL_PARK = "industrial_park"
    MARKET = "market"
    MALL = "mall"
    SHOP = "shop"
    RESTAURANT = "restaurant"
    HOTEL = "hotel"
    TOURISM_SITE = "tourism_site"
    SCHOOL = "school"
    HEALTH_FACILITY = "health_facility"
    QUARANTINE_AREA = "quarantine_area"
    PLACE_OF_WORSHIP = "place_of_worship"
    TRANSPORT_STATION = "transport_station"
    VEHICLE = "vehicle"
    CHECKPOINT = "checkpoint"
    RESIDENTIAL_AREA = "residential_area"
    EVENT = "event"
    OTHER = "other"


CATEGORY_DWELL_SECONDS: Final[Mapping[Category, int]] = MappingProxyType(
    {
        Category.AGENCY: 2 * HOUR_SECONDS,
        Category.OFFICE: 9 * HOUR_SECONDS,
        Category.FACTORY: 9 * HOUR_SECONDS,
        Category.INDUSTRIAL_PARK: 10 * HOUR_SECONDS,
        Category.MARKET: 1 * HOUR_SECONDS,
        Category.MALL: 3 * HOUR_SECONDS,
        Category.SHOP: 30 * MINUTE_SECONDS,
        Category.RESTAURANT: 90 * MINUTE_SECONDS,
        Category.HOTEL: 12 * HOUR_SECONDS,
        Category.TOURISM_SITE: 3 * HOUR_SECONDS,
        Category.SCHOOL: 6 * HOUR_SECONDS,
        Category.HEALTH_FACILITY: 3 * HOUR_SECONDS,
        Category.QUARANTINE_AREA: 12 * HOUR_SECONDS,
        Category.PLACE_OF_WORSHIP: 2 * HOUR_SECONDS,
        Category.TRANSPORT_STATION: 45 * MINUTE_SECONDS,
        Category.VEHICLE: 45 * MINUTE_SECONDS,
        Category.CHECKPOINT: 10 * MINUTE_SECONDS,
        Category.RESIDENTIAL_AREA: 12 * HOUR_SECONDS,
        Category.EVENT: 4 * HOUR_SECONDS,
        Category.OTHER: DWELL_SECONDS_DEFAULT,
    }
)


ClockTime = Annotated[
    str, Meta(pattern=r"^(?:[01]\d|2[0-3]):[0-5]\d$(?!\n)", description="A time of the day in Vietnam, as 07:30")
]
LOCAL_OFFSET_MS: Final = 7 * HOUR_SECONDS * 1000
"""Vietnam's clock is so far ahead of UTC, all year round."""


def minutes_of(time: str) -> int:
    """The minutes since midnight of a `ClockTime`."""
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place as the registry knows it.

    `number` is the registry's own, allotted once and never reused; rows carry it instead of the id.
    `dwell_seconds` overrides the category's default. Latitude and longitude are WGS 84 degrees. It is open every day
    from `opens` to `closes`, over midnight where that is earlier; always where either is left out.
    """

    id: PlaceId
    number: Annotated[int, Meta(ge=0, lt=2**32)]
    name: Name
    category: Category = Category.OTHER
    parent: PlaceId | None = None
    dwell_seconds: DwellSeconds | None = None
    province: AreaCode | None = None
    district: AreaCode | None = None
    commune: AreaCode | None = None
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    capacity: Annotated[int, Meta(ge=0)] | None = None
    opens: ClockTime | None = None
    closes: ClockTime | None = None

    @property
    def dwell_ms(self) -> int:
        """How long somebody is taken to remain here who scanned in and never out, in milliseconds."""
        if self.dwell_seconds is not None:
            return self.dwell_seconds * 1000
        return CATEGORY_DWELL_SECONDS[self.category] * 1000


class PlaceTree:
    """An immutable view of the places at one moment: by id, by number, and who lies within whom."""

    def __init__(self, places: Iterable[Place]) -> None:
        """Raises `ValueError` where a parent is unknown, the parents form a ring, or nest too deeply."""
        self.by_id: Final[dict[str, Place]] = {place.id: place for place in places}
        self.by_number: Final[dict[int, Place]] = {place.number: place for place in self.by_id.values()}
        self._ancestors: Final[dict[str, tuple[str, ...]]] = {}
        for place_id in self.by_id:
            self._ancestors[place_id] = self._walk_up(place_id)

    def _walk_up(self, place_id: str) -> tuple[str, ...]:
        chain: list[str] = []
        parent = self.by_id[place_id].parent
        while parent is not None:
            if parent not in self.by_id:
                raise ValueError(f"place {place_id!r}: its ancestor {parent!r} is not registered")
            if parent == place_id or len(chain) == PLACE_DEPTH_MAX:
                raise ValueError(f"place {place_id!r}: its parents form a ring or nest over {PLACE_DEPTH_MAX}")
            chain.append(parent)
            parent = self.by_id[parent].parent
        return tuple(chain)

    def with_dwell(self, dwell_seconds: Mapping[Category, int]) -> "PlaceTree":
        """The same places, where those of the named categories have this dwell, also in place of one of their own."""
        changed = PlaceTree(())
        for known in self.by_id.values():
            dwell = dwell_seconds.get(known.category)
            place = known if dwell is None else msgspec.structs.replace(known, dwell_seconds=dwell)
            changed.by_id[place.id] = changed.by_number[place.number] = place
        changed._ancestors.update(self._ancestors)
        return changed

    def ancestors(self, place_id: str) -> tuple[str, ...]:
        """The ids of the places around this one, nearest first, without itself."""
        return self._ancestors[place_id]

    def within(self, place_id: str, outer_id: str) -> bool:
        """Whether the place is `outer_id` or lies inside it."""
        return place_id == outer_id or outer_id in self._ancestors[place_id]

    def __len__(self) -> int:
        return len(self.by_id)
