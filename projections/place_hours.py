"""A place and an hour in one number: what read models by place are ordered by."""

from typing import Final, TypeVar

from projections.places_together import Ints

HOUR_MS: Final = 3_600_000
PLACE_SHIFT: Final = 32
"""The place's number stands above so many bits, the hour since the epoch below."""

Number = TypeVar("Number", int, Ints)


def place_hour(place: Number, hour: Number) -> Number:
    """Both in one number: of one, or of each of a column."""
    return (place << PLACE_SHIFT) + hour


def place_of(place_hours: Number) -> Number:
    """The place's number: of one, or of each of a column."""
    return place_hours >> PLACE_SHIFT
