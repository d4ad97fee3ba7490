"""Stays of many people as columns, each with the scans that prove it: what a search for contacts compares. Pure.

Read from where stays are settled, or walked from scans, they are the same columns; nothing tells one from the other.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from projections.places_together import Bools, Ints
from projections.stays import EntryKnown, ExitKnown, Stay
from projections.walk_together import DWELL, EXIT_MEASURED, IMPUTED, MEASURED, MOVED, UNENDED, Scans, Stays, offsets
from storage.native import Column

Subjects = NDArray[Any]
"""Pseudonyms as 16 bytes each (`S16`); they sort as their hex digits do."""

Kinds = NDArray[Any]
"""How starts or ends are known, by their numbers in the table of settled stays."""

SUBJECT_BYTES: Final = 16
NOBODY: Final[Subjects] = np.empty(0, dtype=f"S{SUBJECT_BYTES}")
OPEN: Final = 5
"""How an exit is known as of a moment, beside those that the walk gives: the stay goes on. UNENDED is no such."""

_ENTRIES: Final = {MEASURED: EntryKnown.MEASURED, IMPUTED: EntryKnown.IMPUTED}
_EXITS: Final = {
    EXIT_MEASURED: ExitKnown.MEASURED,
    MOVED: ExitKnown.MOVED,
    DWELL: ExitKnown.DWELL,
    OPEN: ExitKnown.OPEN,
}


class Visits(NamedTuple):
    """Stays as columns. `place` is the registry's number, `start` and `end` are Unix ms.

    The scans that prove stay `n` are `device` and `seq` from `first[n]` to `first[n + 1]`, in the walk's order.
    """

    subject: Subjects
    place: Ints
    start: Ints
    end: Ints
    entry: Kinds
    exit: Kinds
    first: Ints
    device: Ints
    seq: Ints

    def take(self, which: "Ints | Bools") -> "Visits":
        """These of them, in this order."""
        counts = np.diff(self.first)[which]
        first = offsets(counts)
        scans = np.repeat(self.first[:-1][which] - first[:-1], counts) + np.arange(first[-1])
        return Visits(
            self.subject[which],
            self.place[which],
            self.start[which],
            self.end[which],
            self.entry[which],
            self.exit[which],
            first,
            self.device[scans],
            self.seq[scans],
        )


_NO_INTS: Final[Ints] = np.empty(0, dtype=np.int64)
_NO_KINDS: Final[Kinds] = np.empty(0, dtype=np.int8)
NONE: Final = Visits(
    NOBODY, _NO_INTS, _NO_INTS, _NO_INTS, _NO_KINDS, _NO_KINDS, np.zeros(1, dtype=np.int64), _NO_INTS, _NO_INTS
)


def together(parts: Sequence[Visits]) -> Visits:
    """All of them, one after the other."""
    filled = [part for part in parts if len(part.start)]
    if len(filled) <= 1:
        return filled[0] if filled else NONE
    joined = Visits._make(np.concatenate(columns) for columns in zip(*filled, strict=True))
    if not len(joined.device):  # to count nothing takes as long
        return joined._replace(first=np.zeros(len(joined.start) + 1, dtype=np.int64))
    return joined._replace(first=offsets(np.concatenate([np.diff(part.first) for part in filled])))


def walked(stays: Stays, scans: Scans, people: Subjects) -> Visits:
    """What the walk gave of `scans`, whose subjects are numbered as in `people`; UNENDED where nothing ended a stay."""
    proving = stays.scans
    return Visits(
        subject=people[stays.subject],
        place=stays.place,
        start=stays.start,
        end=stays.end,
        entry=stays.entry,
        exit=stays.exit,
        first=stays.first,
        device=scans.device[proving],
        seq=scans.seq[proving],
    )


def at_moment(visits: Visits, as_of: int) -> Visits:
    """The same as of a moment (Unix ms): what only time ends has ended by then, or goes on, or has not begun."""
    unended = visits.exit == UNENDED
    if not unended.any():
        return visits
    over = unended & (visits.end <= as_of)
    exits = np.where(over, DWELL, np.where(unended, OPEN, visits.exit)).astype(np.int8)
    ends = np.where(unended, np.minimum(visits.end, as_of), visits.end)
    seen = visits._replace(end=ends, exit=exits)
    begun = visits.start < ends
    return seen if begun.all() else seen.take(begun)


def subjects_of(pseudonyms: Sequence[str]) -> Subjects:
    """Pseudonyms of 32 hex digits as a column."""
    return np.frombuffer(bytes.fromhex("".join(pseudonyms)), dtype=NOBODY.dtype)


def pseudonyms_of(subjects: Subjects) -> list[str]:
    """Each as 32 hex digits."""
    digits = np.ascontiguousarray(subjects).tobytes().hex()
    return [digits[at : at + 2 * SUBJECT_BYTES] for at in range(0, len(digits), 2 * SUBJECT_BYTES)]


def distinct(values: Column) -> Column:
    """Each value once, in order. To sort is quicker than what `numpy.unique` does."""
    ordered: Column = np.sort(values)
    begins: Bools = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    return ordered[begins]


def numbered(subjects: Subjects) -> tuple[Subjects, Ints]:
    """Everybody in it once, in order; and for each element who that is."""
    halves = np.ascontiguousarray(subjects).view(">u8").reshape(-1, 2)
    upper, lower = halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64)
    order = np.argsort(upper)
    sorted_upper, sorted_lower = upper[order], lower[order]
    same = sorted_upper[1:] == sorted_upper[:-1]
    if (same & (sorted_lower[1:] != sorted_lower[:-1])).any():
        order = np.lexsort((lower, upper))
        sorted_upper, sorted_lower = upper[order], lower[order]
        same = (sorted_upper[1:] == sorted_upper[:-1]) & (sorted_lower[1:] == sorted_lower[:-1])
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = ~same
    who = np.empty(len(order), dtype=np.int64)
    who[order] = np.cumsum(begins) - 1
    return subjects[order[begins]], who


def among(values: Column, chosen: Column) -> Bools:
    """For each, be it a subject or a number, whether it is one of `chosen`, which are in order and each there once."""
    if not len(chosen):
        return np.zeros(len(values), dtype=np.bool_)
    at = np.minimum(np.searchsorted(chosen, values), len(chosen) - 1)
    found: Bools = chosen[at] == values
    return found


def stays_of(
    visits: Visits, which: Ints, place_id: Callable[[int], str], device_id: Callable[[int], str]
) -> Iterator[Stay]:
    """These stays as structs, by ids instead of numbers. None may be UNENDED."""
    chosen = visits.take(which)
    devices, seqs = chosen.device.tolist(), chosen.seq.tolist()
    ids = {device: device_id(device) for device in set(devices)}
    places = {place: place_id(place) for place in set(chosen.place.tolist())}
    scans = [(ids[device], seq) for device, seq in zip(devices, seqs, strict=True)]
    bounds = chosen.first.tolist()
    columns = (chosen.place, chosen.start, chosen.end, chosen.entry, chosen.exit)
    for number, (place, start, end, entry, exits) in enumerate(zip(*(each.tolist() for each in columns), strict=True)):
        proof = tuple(scans[bounds[number] : bounds[number + 1]])
        yield Stay(places[place], start, end, _ENTRIES[entry], _EXITS[exits], proof)
