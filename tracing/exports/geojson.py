"""The places of a trace as GeoJSON (RFC 7946): where people met, how many, and for how long.

What is summed up is kept for each place, so memory grows with places, of which a country has some hundred thousand.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from events import codec
from tracing.exports.lists import estimated
from tracing.exports.moments import iso
from tracing.exports.source import Source

FEATURES_A_PIECE: Final = 500


class Tally(msgspec.Struct):
    """What happened at a place (Unix ms)."""

    contacts: int = 0
    encounters: int = 0
    estimated: int = 0
    exposure_ms: int = 0
    first: int = 2**62
    last: int = 0


class Point(msgspec.Struct, frozen=True, tag="Point"):
    """Longitude and latitude in degrees, WGS 84, in that order (RFC 7946, 3.1.1)."""

    coordinates: tuple[float, float]


class Properties(msgspec.Struct, frozen=True, kw_only=True):
    """A place with what happened there. `seconds` sums up every exposure at the place, contact by contact."""

    name: str | None
    category: str | None
    province: str | None
    district: str | None
    commune: str | None
    contacts: int
    encounters: int
    estimated: int
    seconds: float
    first_ms: int
    first: str
    last_ms: int
    last: str
    trace: str


class Feature(msgspec.Struct, frozen=True, tag="Feature"):
    """A place; `geometry` is null where nobody registered its coordinates (RFC 7946, 3.2)."""

    id: str
    geometry: Point | None
    properties: Properties


def geojson_pieces(source: Source, counts: Counter[str]) -> Iterator[bytes]:
    """A FeatureCollection, places by id; counts `features` and, of these, those `without_coordinates`.

    Empty where the trace was saved without its evidence, which alone names places.
    """
    yield b'{"type":"FeatureCollection","features":['
    piece: list[bytes] = []
    for number, (place, tally) in enumerate(sorted(_tallies(source).items())):
        feature = _feature(place, tally, source)
        counts["features"] += 1
        counts["without_coordinates"] += feature.geometry is None
        piece.append((b",\n" if number else b"\n") + codec.to_json(feature))
        if len(piece) == FEATURES_A_PIECE:
            yield b"".join(piece)
            piece.clear()
    yield b"".join(piece) + b"\n]}\n"


def _tallies(source: Source) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for contact in source.contacts():
        for place in {one.place for one in contact.encounters or ()}:
            tallies.setdefault(place, Tally()).contacts += 1
        for one in contact.encounters or ():
            tally = tallies[one.place]
            tally.encounters += 1
            tally.estimated += estimated(one)
            tally.exposure_ms += one.end - one.start
            tally.first = min(tally.first, one.start)
            tally.last = max(tally.last, one.end)
    return tallies


def _feature(place_id: str, tally: Tally, source: Source) -> Feature:
    place = source.known.place(place_id)
    point = None
    if place is not None and place.latitude is not None and place.longitude is not None:
        point = Point((place.longitude, place.latitude))
    return Feature(
        id=place_id,
        geometry=point,
        properties=Properties(
            name=place.name if place is not None else None,
            category=place.category.value if place is not None else None,
            province=place.province if place is not None else None,
            district=place.district if place is not None else None,
            commune=place.commune if place is not None else None,
            contacts=tally.contacts,
            encounters=tally.encounters,
            estimated=tally.estimated,
            seconds=tally.exposure_ms / 1000,
            first_ms=tally.first,
            first=iso(tally.first),
            last_ms=tally.last,
            last=iso(tally.last),
            trace=source.head.id,
        ),
    )
