"""Who was scanned here around then? Every scan, by place and hour in one number."""

from typing import Final

from projections.model import ReadModel
from projections.place_hours import HOUR_MS, PLACE_SHIFT

SCANS_BY_PLACE_HOUR: Final = ReadModel(
    table="scans_by_place_hour",
    columns={
        "place_hour": (
            f"bitOr(bitShiftLeft(toUInt64(place), {PLACE_SHIFT}),"
            f" toUInt64(intDiv(toUnixTimestamp64Milli(at), {HOUR_MS}))) AS place_hour"
        ),
        "subject": "subject",
        "at": "at",
        "device": "device",
        "seq": "seq",
        "key": "key",
        "kind": "kind",
        "received": "received",
    },
)
