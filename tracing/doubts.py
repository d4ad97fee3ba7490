"""Scans that may not be what they say: flags with a reason and the figure behind it. Nothing is deleted for them. Pure.

Distances are great circles on a sphere of the earth's mean radius (the haversine formula); a place without coordinates
has those of the nearest place around it.
"""

import enum
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import asin, cos, radians, sin, sqrt
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from events.places import LOCAL_OFFSET_MS, Place, PlaceTree, minutes_of

EARTH_KM: Final = 6_371.0088
MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1_440
TRAVEL_SECONDS_MIN: Final = 1
"""Two scans at one time are taken to lie so far apart, so that a speed can be named."""


class Reason(enum.StrEnum):
    """Why a scan is doubtful. Closed; docs/api.md says for each what it may mean."""

    IMPOSSIBLE_TRAVEL = "impossible-travel"
    """The same person was scanned so far away so shortly before or after that nobody travels so fast."""
    TWO_PLACES = "two-places"
    """The same person was scanned at two places at once, neither of which lies within the other."""
    MANY_PLACES = "many-places"
    """The same person was scanned at very many places in a short time: a code that was copied."""
    BURST = "burst"
    """The device scanned faster than people can pass it."""
    CLOSED = "closed"
    """The place was closed."""
    HOLES = "holes"
    """Scans that the device made right before are missing."""


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on a scan is doubtful; each has its unit in its name.

    Travel: faster than `travel_kmh_max`, once `travel_slack_km` are taken off for coordinates that are not exact. Two
    places: within `two_places_seconds`. Many places: more than `many_places_max` outermost ones within
    `many_places_seconds`. Burst: more than `burst_scans_max` by one device within `burst_seconds`. Closed: more than
    `closed_minutes` before the place opens or after it closes. Holes: any of the `holes_seqs` before is missing.
    """

    travel_kmh_max: Annotated[float, Meta(gt=0, le=10_000)] = 200.0
    travel_slack_km: Annotated[float, Meta(ge=0, le=1_000)] = 2.0
    two_places_seconds: Annotated[int, Meta(ge=0, le=3_600)] = 30
    many_places_max: Annotated[int, Meta(ge=1, le=1_000)] = 6
    many_places_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 3_600
    burst_scans_max: Annotated[int, Meta(ge=1, le=100_000)] = 30
    burst_seconds: Annotated[int, Meta(ge=1, le=3_600)] = 10
    closed_minutes: Annotated[int, Meta(ge=0, le=720)] = 30
    holes_seqs: Annotated[int, Meta(ge=1, le=10)] = 3


class Unit(enum.StrEnum):
    """What a doubt's figure counts."""

    KMH = "km/h"
    SECONDS = "s"
    PLACES = "places"
    SCANS = "scans"
    MINUTES = "min"
    MISSING = "missing"


class Seen(NamedTuple):
    """A scan that counts: when it happened (Unix ms), by the registry's numbers of device and place."""

    at: int
    device: int
    seq: int
    place: int


class Doubt(NamedTuple):
    """Why one scan is doubtful: `figure` passes `limit`, both in `unit`; `other` is the scan that it disagrees with."""

    scan: Seen
    reason: Reason
    figure: float
    limit: float
    unit: Unit
    other: Seen | None = None


def of_subject(
    scans: Sequence[Seen], places: PlaceTree, thresholds: Thresholds, reasons: Collection[Reason]
) -> Iterator[Doubt]:
    """What is doubtful about one subject's scans, which are in order of time; one at an unknown place is passed over.

    A scan may be doubtful for one reason several times, once for each scan that it disagrees with.
    """
    placed = [(scan, places.by_number[scan.place]) for scan in scans if scan.place in places.by_number]
    apart = [
        (one, other)
        for one, other in pairwise(placed)
        if not places.within(one[1].id, other[1].id) and not places.within(other[1].id, one[1].id)
    ]
    if Reason.IMPOSSIBLE_TRAVEL in reasons:
        yield from _travels(apart, places, thresholds)
    if Reason.TWO_PLACES in reasons:
        limit = thresholds.two_places_seconds
        for (one, _), (other, _) in apart:
            if other.at - one.at <= limit * 1000:
                figure = (other.at - one.at) / 1000
                yield from _both(Doubt(one, Reason.TWO_PLACES, figure, limit, Unit.SECONDS, other))
    if Reason.MANY_PLACES in reasons:
        outermost = [(scan, places.ancestors(place.id)[-1:] or (place.id,)) for scan, place in placed]
        yield from _many_places(outermost, thresholds)
    if Reason.CLOSED in reasons:
        for scan, place in placed:
            minutes = closed_minutes(place, scan.at)
            if minutes > thresholds.closed_minutes:
                yield Doubt(scan, Reason.CLOSED, minutes, thresholds.closed_minutes, Unit.MINUTES)


def bursts(scans: Iterable[Seen], thresholds: Thresholds) -> Iterator[Doubt]:
    """What one device scanned too fast: every scan of any span of time that holds too many, once.

    Spans that share scans are one burst; its figure is the greatest number in any of them.
    """
    ordered = sorted(scans)
    times = [scan.at for scan in ordered]
    limit, span = thresholds.burst_scans_max, thresholds.burst_seconds * 1000
    runs: list[tuple[int, int, int]] = []
    for last, at in enumerate(times):
        first = bisect_left(times, at - span + 1)
        count = last - first + 1
        if count <= limit:
            continue
        if runs and first <= runs[-1][1]:
            runs[-1] = (runs[-1][0], last, max(count, runs[-1][2]))
        else:
            runs.append((first, last, count))
    for first, last, count in runs:
        for scan in ordered[first : last + 1]:
            yield Doubt(scan, Reason.BURST, count, limit, Unit.SCANS)


def holes(scans: Iterable[Seen], came: Callable[[int, int], bool], thresholds: Thresholds) -> Iterator[Doubt]:
    """The scans right before which others are missing; `came` says of a device and seq whether it ever came."""
    for scan in scans:
        before = range(max(scan.seq - thresholds.holes_seqs, 1), scan.seq)
        missing = sum(1 for seq in before if not came(scan.device, seq))
        if missing:
            yield Doubt(scan, Reason.HOLES, missing, 0, Unit.MISSING)


def closed_minutes(place: Place, at: int) -> int:
    """How many minutes before it opens or after it closes, whichever is nearer, this is (Unix ms); 0 while it is open.

    The same hours hold every day, in Vietnam's time; where it closes before it opens, it is open over midnight.
    """
    if place.opens is None or place.closes is None or place.opens == place.closes:
        return 0
    opens, closes = minutes_of(place.opens), minutes_of(place.closes)
    now = (at + LOCAL_OFFSET_MS) // MINUTE_MS % DAY_MINUTES
    if (now - opens) % DAY_MINUTES < (closes - opens) % DAY_MINUTES:
        return 0
    return int(min((opens - now) % DAY_MINUTES, (now - closes) % DAY_MINUTES + 1))


def distance_km(one: Place, other: Place, places: PlaceTree) -> float | None:
    """How far apart two places are; None where it is not known where one of them lies."""
    here, there = _located(one, places), _located(other, places)
    if here is None or there is None:
        return None
    (lat, lon), (other_lat, other_lon) = (tuple(map(radians, point)) for point in (here, there))
    half = sin((other_lat - lat) / 2) ** 2 + cos(lat) * cos(other_lat) * sin((other_lon - lon) / 2) ** 2
    return 2 * EARTH_KM * asin(sqrt(min(half, 1.0)))


def counted(doubts: Iterable[Doubt]) -> Mapping[Reason, int]:
    """How many scans are doubtful for each reason."""
    return Counter(reason for _, reason in {(doubt.scan, doubt.reason) for doubt in doubts})


_Placed = tuple[Seen, Place]


def _travels(apart: Iterable[tuple[_Placed, _Placed]], places: PlaceTree, thresholds: Thresholds) -> Iterator[Doubt]:
    for (one, here), (other, there) in apart:
        km = distance_km(here, there, places)
        if km is None:
            continue
        hours = max((other.at - one.at) / 1000, TRAVEL_SECONDS_MIN) / 3_600
        kmh = max(km - thresholds.travel_slack_km, 0.0) / hours
        if kmh > thresholds.travel_kmh_max:
            limit = thresholds.travel_kmh_max
            yield from _both(Doubt(one, Reason.IMPOSSIBLE_TRAVEL, round(kmh, 1), limit, Unit.KMH, other))


def _many_places(outermost: Sequence[tuple[Seen, tuple[str, ...]]], thresholds: Thresholds) -> Iterator[Doubt]:
    limit, span = thresholds.many_places_max, thresholds.many_places_seconds * 1000
    if len({place for _, place in outermost}) <= limit:
        return
    most: dict[Seen, int] = {}
    first = 0
    for last, (scan, _) in enumerate(outermost):
        while outermost[first][0].at <= scan.at - span:
            first += 1
        within = outermost[first : last + 1]
        count = len({place for _, place in within})
        if count > limit:
            for one, _ in within:
                most[one] = max(count, most.get(one, 0))
    for scan, count in most.items():
        yield Doubt(scan, Reason.MANY_PLACES, count, limit, Unit.PLACES)


def _both(doubt: Doubt) -> Iterator[Doubt]:
    """The doubt, and the other scan's: nobody knows which of the two is wrong."""
    yield doubt
    if doubt.other is not None:
        yield doubt._replace(scan=doubt.other, other=doubt.scan)


def _located(place: Place, places: PlaceTree) -> tuple[float, float] | None:
    for one in (place, *(places.by_id[outer] for outer in places.ancestors(place.id))):
        if one.latitude is not None and one.longitude is not None:
            return one.latitude, one.longitude
    return None
