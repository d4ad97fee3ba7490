"""What the fields of places and devices must look like, in the words of whoever types them in."""

from types import MappingProxyType
from typing import Final

from msgspec import ValidationError

from events.places import DWELL_SECONDS_MAX, DWELL_SECONDS_MIN, Category

ID: Final = "1 to 48 of a-z, 0-9 and hyphens, with no hyphen at either end"
AREA: Final = "an area's code of 1 to 5 digits"

FIELD_WORDS: Final = MappingProxyType(
    {
        "id": ID,
        "name": "1 to 200 characters",
        "category": f"one of {', '.join(category.value for category in Category)}",
        "parent": ID,
        "dwell_seconds": f"a whole number from {DWELL_SECONDS_MIN} to {DWELL_SECONDS_MAX}",
        "province": AREA,
        "district": AREA,
        "commune": AREA,
        "latitude": "degrees from -90 to 90, with a decimal point",
        "longitude": "degrees from -180 to 180, with a decimal point",
        "capacity": "a whole number from 0 on",
        "label": "at most 200 characters",
        "subject": "a pseudonym of 32 lower-case hex digits",
    }
)
VALUE_CHARS_MAX: Final = 40


def fault_in_words(error: ValidationError, value_of: dict[str, str | None]) -> str:
    """Which field is wrong, what was given, and what it must be; the decoder's own words where none fit."""
    message, _, where = str(error).partition(" - at `$.")
    field = where.rstrip("`")
    if field not in FIELD_WORDS:
        return message[:1].lower() + message[1:]
    value = value_of.get(field) or ""
    short = value if len(value) <= VALUE_CHARS_MAX else value[:VALUE_CHARS_MAX] + "…"
    return f"{field} {short!r} must be {FIELD_WORDS[field]}"
