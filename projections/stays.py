"""Scans become stays: one walk over a subject's scans in order, exactly as the semantics page says.

Pure, and the hot path of every trace: a contact search walks everybody who was scanned near an index subject.
"""

import enum
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from events.places import PlaceTree

STAY_HOURS_MAX: Final = 24
STAY_MS_MAX: Final = STAY_HOURS_MAX * 3_600_000

ScanId = tuple[str, int]
"""Device id and the device's own counter: the identity of a scan."""


class EntryKnown(enum.StrEnum):
    """How the start of a stay is known."""

    MEASURED = "measured"
    IMPUTED = "imputed"


class ExitKnown(enum.StrEnum):
    """How the end of a stay is known."""

    MEASURED = "measured"
    MOVED = "moved"
    DWELL = "dwell"
    OPEN = "open"


class Sighting(NamedTuple):
    """A scan that counts, of one subject. `at` in Unix ms; `enters` is false for `out`, true for `in` and `pass`.

    A tuple, its fields in the order of the walk (by time, `out` before the others, then device, then seq), so that
    sorting sightings is sorting tuples: the walk's cost is mostly this order.
    """

    at: int
    enters: bool
    device: str
    seq: int
    place: str


class Stay(msgspec.Struct, frozen=True, gc=False):
    """Somebody was at a place during `[start, end)`, Unix ms, as the scans prove; they stand in the walk's order."""

    place: str
    start: int
    end: int
    entry: EntryKnown
    exit: ExitKnown
    scans: tuple[ScanId, ...]


class _OpenStay:
    """A stay whose end the walk has not seen yet; it ends at `limit` unless a scan says more."""

    __slots__ = ("limit", "place", "scans", "start")

    def __init__(self, place: str, start: int, limit: int, scan: ScanId) -> None:
        self.place = place
        self.start = start
        self.limit = limit
        self.scans = [scan]


def walk(sightings: Iterable[Sighting], places: PlaceTree, as_of: int) -> list[Stay]:
    """The stays of one subject, ordered by start, end and place.

    `sightings` may come in any order, and the same one twice. Every place they name must be in `places`, else
    `KeyError`. Source: the semantics page, "Stay"; the numbers below are its steps.
    """
    stays: list[Stay] = []
    present: list[_OpenStay] = []
    dwells: dict[str, int] = {}
    before: Sighting | None = None
    for sighting in sorted(sightings):
        if sighting == before:
            continue
        at, enters, device, seq, place = sighting
        dwell = dwells.get(place)
        if dwell is None:
            dwell = dwells[place] = places.by_id[place].dwell_ms
        scan = (device, seq)
        here: _OpenStay | None = None
        if present:
            here, present = _leave(stays, present, sighting, places.ancestors(place))
        if enters:  # 1
            if here is None:
                here = _OpenStay(place, at, at + dwell, scan)
            else:
                here.scans.append(scan)
                here.limit = min(at + dwell, here.start + STAY_MS_MAX)
            present.append(here)
        elif here is not None:  # 2
            here.scans.append(scan)
            _end(stays, here, at, ExitKnown.MEASURED)
        else:  # 2, the entry was missed
            _impute(stays, sighting, dwell, before)
        before = sighting
    for stay in present:
        _end(stays, stay, min(stay.limit, as_of), ExitKnown.DWELL if stay.limit <= as_of else ExitKnown.OPEN)
    stays.sort(key=_order)
    return stays


def _leave(
    stays: list[Stay], present: list[_OpenStay], sighting: Sighting, around: tuple[str, ...]
) -> tuple[_OpenStay | None, list[_OpenStay]]:
    """End what the sighting ends; the stay at its own place where one is open, and the open ones around it."""
    here: _OpenStay | None = None
    remaining = []
    at, _, device, seq, place = sighting
    for stay in present:
        if stay.limit <= at:  # 0
            _end(stays, stay, stay.limit, ExitKnown.DWELL)
        elif stay.place == place:
            here = stay
        elif stay.place in around:
            remaining.append(stay)
        else:  # 1 and 2: elsewhere now
            stay.scans.append((device, seq))
            _end(stays, stay, at, ExitKnown.MOVED)
    return here, remaining


def _end(stays: list[Stay], stay: _OpenStay, end: int, exit_known: ExitKnown) -> None:
    if stay.start < end:
        stays.append(Stay(stay.place, stay.start, end, EntryKnown.MEASURED, exit_known, tuple(stay.scans)))


def _impute(stays: list[Stay], out: Sighting, dwell: int, before: Sighting | None) -> None:
    """Add the stay that ended with `out` and whose entry nobody scanned; the scan before it may bound its start."""
    start = out.at - dwell
    scans: tuple[ScanId, ...] = ((out.device, out.seq),)
    if before is not None and before.at > start:
        start = before.at
        scans = ((before.device, before.seq), *scans)
    if start < out.at:
        stays.append(Stay(out.place, start, out.at, EntryKnown.IMPUTED, ExitKnown.MEASURED, scans))


def _order(stay: Stay) -> tuple[int, int, str]:
    return stay.start, stay.end, stay.place
