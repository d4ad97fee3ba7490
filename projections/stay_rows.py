"""Stays as rows of the table of settled stays: which name them, and what they are in its columns. Pure."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from projections.place_hours import HOUR_MS, place_hour
from projections.places_together import Ints, PlaceTable
from projections.stays import STAY_MS_MAX
from projections.walk_together import GONE, Scans, Stays, offsets

_LENGTH_BITS: Final = 7
"""RowBinary writes how long an array is in groups of so many bits, the lowest first."""
STAY: Final = np.dtype(
    [("subject", "S16"), ("start", "<i8"), ("entry", "i1"), ("end", "<i8"), ("exit", "i1"), ("settled_for", "<i8")]
)
"""The column `stay`. What names a row comes first: the table is ordered by it."""
SCAN: Final = np.dtype([("device", "<u4"), ("seq", "<u8")])
"""An element of the column `proof`."""


class Keys(NamedTuple):
    """What names a row of the table, as columns. `subject`: a number that names them."""

    place_hour: Ints
    subject: Ints
    start: Ints
    entry: Ints

    def take(self, which: Ints) -> "Keys":
        """These rows of it."""
        return Keys(self.place_hour[which], self.subject[which], self.start[which], self.entry[which])

    def joined(self, others: "Keys") -> "Keys":
        """These keys and then the others."""
        return Keys(*(np.concatenate(columns) for columns in zip(self, others, strict=True)))


def keys_of(stays: Stays, places: PlaceTable) -> tuple[Keys, Ints]:
    """The rows of stays: their keys, and which stay each is of. Hours before the epoch count as its first.

    A stay that a day has ended stands at its last hour, too: a scan elsewhere that comes late may move that end.
    """
    dwell, lasts = places.dwell_of(stays.place), stays.end - stays.start
    counts = -(-lasts // dwell) + (lasts == STAY_MS_MAX)
    first = offsets(counts)
    stay = np.repeat(np.arange(len(stays.start)), counts)
    since = np.minimum((np.arange(first[-1]) - first[stay]) * dwell[stay], lasts[stay] - 1)
    hours = np.maximum(stays.start[stay] + since, 0) // HOUR_MS
    again = np.zeros(len(stay), dtype=np.bool_)
    again[1:] = (stay[1:] == stay[:-1]) & (hours[1:] == hours[:-1])
    stay, hours = stay[~again], hours[~again]
    place_hours = place_hour(stays.place[stay], hours)
    return Keys(place_hours, stays.subject[stay], stays.start[stay], stays.entry[stay]), stay


def packed(keys: Keys, which: Ints, stays: Stays, scans: Scans, *, subjects: NDArray[np.bytes_], settled: int) -> bytes:
    """Rows in ClickHouse's RowBinary: key `n` is of stay `which[n]`, or of one that is gone where that is negative.

    `subjects` has each subject's 16 bytes by the number that names them.
    """
    counts = np.where(which < 0, 0, np.diff(stays.first, append=0)[which])
    pieces = []
    for proofs in np.unique(counts):
        chosen = np.flatnonzero(counts == proofs)
        stay = which[chosen]
        there = stay >= 0
        length = _length(int(proofs))
        rows: NDArray[Any] = np.zeros(
            len(chosen),
            dtype=np.dtype(
                [
                    ("place_hour", "<u8"),
                    ("stay", STAY),
                    ("length", "u1", (len(length),)),
                    ("proof", SCAN, (int(proofs),)),
                    ("settled_for", "<i8"),
                ]
            ),
        )
        rows["place_hour"] = keys.place_hour[chosen]
        row = rows["stay"]
        row["subject"] = subjects[keys.subject[chosen]]
        row["start"] = keys.start[chosen]
        row["entry"] = keys.entry[chosen]
        row["end"] = np.where(there, stays.end[stay], keys.start[chosen]) if len(stays.end) else keys.start[chosen]
        row["exit"] = np.where(there, stays.exit[stay], GONE) if len(stays.exit) else GONE
        row["settled_for"] = rows["settled_for"] = settled
        rows["length"] = length
        if proofs:
            proving = stays.scans[stays.first[stay][:, None] + np.arange(proofs)]
            rows["proof"]["device"] = scans.device[proving]
            rows["proof"]["seq"] = scans.seq[proving]
        pieces.append(rows.tobytes())
    return b"".join(pieces)


def _length(count: int) -> list[int]:
    groups = [count & 127]
    while count := count >> _LENGTH_BITS:
        groups[-1] |= 128
        groups.append(count & 127)
    return groups
