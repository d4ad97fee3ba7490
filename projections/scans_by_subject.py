"""Where was this subject? Every scan, by subject and time."""

from typing import Final

from projections.model import ReadModel

SCANS_BY_SUBJECT: Final = ReadModel(
    table="scans_by_subject",
    columns={
        "subject": "subject",
        "at": "at",
        "device": "device",
        "seq": "seq",
        "key": "key",
        "place": "place",
        "kind": "kind",
        "received": "received",
    },
)
