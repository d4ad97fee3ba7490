"""The trace that must come out: stays and contacts by the book, computed apart from `tracing`.

Written from the page that fixes what a trace means and from nothing else, for clarity and not for speed, so that two
independent readings of the page have to agree to the millisecond. All times are Unix ms, intervals are half-open.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from app.simulate.plan import DAY_MS
from events.scans import Kind

MIN_MS_DEFAULT: Final = 900_000

Span = tuple[int, int]


class Seen(msgspec.Struct, frozen=True, gc=False):
    """One accepted scan of `subject`."""

    subject: str
    at: int
    kind: Kind
    place: str
    device: str
    seq: int


class Stayed(msgspec.Struct, frozen=True, gc=False):
    """`subject` is taken to have been at `place` during `[start, end)`; `entry` and `exit` say how that is known."""

    subject: str
    place: str
    start: int
    end: int
    entry: str
    exit: str


class Met(msgspec.Struct, frozen=True):
    """Both were, or were taken to be, at `place` during `[start, end)`; the air that was left behind included."""

    place: str
    start: int
    end: int


class Expected(msgspec.Struct, frozen=True):
    """A contact that the trace must name, with exactly these milliseconds and encounters."""

    subject: str
    ms: int
    encounters: tuple[Met, ...]

    @property
    def first(self) -> int:
        """When the earliest exposure began."""
        return min(met.start for met in self.encounters)

    @property
    def last(self) -> int:
        """When the latest exposure ended."""
        return max(met.end for met in self.encounters)


class Grounds(msgspec.Struct, frozen=True):
    """What the walk needs of the places: each one's dwell (ms), and the places that hold it, itself included."""

    dwell: Mapping[str, int]
    around: Mapping[str, frozenset[str]]


def stays(seen: Iterable[Seen], grounds: Grounds, as_of: int) -> list[Stayed]:
    """Every stay of everybody who was seen."""
    by_subject: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        by_subject[one.subject].append(one)
    return [stay for scans in by_subject.values() for stay in _Walk(scans[0].subject, grounds).through(scans, as_of)]


def contacts(
    everybody: Iterable[Stayed], subject: str, window: Span, *, lag_ms: int = 0, min_ms: int = MIN_MS_DEFAULT
) -> list[Expected]:
    """The contacts of one subject in the window by the rule `total`: longest first, then by subject."""
    at_place: dict[str, list[Stayed]] = defaultdict(list)
    for stay in everybody:
        at_place[stay.place].append(stay)
    met: dict[str, list[Met]] = defaultdict(list)
    for place, present in at_place.items():
        for own in (stay for stay in present if stay.subject == subject):
            start, end = max(own.start, window[0]), min(own.end, window[1])
            for other in present if start < end else ():
                shared = max(start, other.start), min(end + lag_ms, other.end)
                if other.subject != subject and shared[0] < shared[1]:
                    met[other.subject].append(Met(place, *shared))
    found = [
        Expected(other, length, tuple(sorted(encounters, key=lambda one: (one.start, one.end, one.place))))
        for other, encounters in met.items()
        if (length := union_ms((one.start, one.end) for one in encounters)) >= min_ms
    ]
    return sorted(found, key=lambda contact: (-contact.ms, contact.subject))


def union_ms(spans: Iterable[Span]) -> int:
    """The length of what the spans cover together."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


class _Walk:
    """One subject's scans, in order. `_open` maps a place to the start of the stay there and its last scan."""

    def __init__(self, subject: str, grounds: Grounds) -> None:
        self._subject: Final = subject
        self._grounds: Final = grounds
        self._open: Final[dict[str, tuple[int, int, str]]] = {}
        self._done: Final[list[Stayed]] = []

    def through(self, scans: list[Seen], as_of: int) -> list[Stayed]:
        previous: float = -math.inf
        for scan in sorted(scans, key=lambda one: (one.at, one.kind is not Kind.OUT, one.device, one.seq)):
            self._expire(scan.at)
            self._leave_all_but(self._grounds.around[scan.place], scan.at)
            if scan.kind is Kind.OUT:
                self._went_out(scan, previous)
            else:
                self._came_in(scan)
            previous = scan.at
        self._expire(as_of)
        for place in list(self._open):
            self._close(place, as_of, "open")
        return self._done

    def _expire(self, now: int) -> None:
        for place, (start, last_seen, _) in list(self._open.items()):
            limit = min(last_seen + self._grounds.dwell[place], start + DAY_MS)
            if limit <= now:
                self._close(place, limit, "dwell")

    def _leave_all_but(self, kept: frozenset[str], now: int) -> None:
        for place in self._open.keys() - kept:
            self._close(place, now, "moved")

    def _came_in(self, scan: Seen) -> None:
        start, _, entry = self._open.get(scan.place, (scan.at, scan.at, "measured"))
        self._open[scan.place] = (start, scan.at, entry)

    def _went_out(self, scan: Seen, previous: float) -> None:
        if scan.place not in self._open:
            earliest = int(max(scan.at - self._grounds.dwell[scan.place], previous))
            self._open[scan.place] = (earliest, earliest, "imputed")
        self._close(scan.place, scan.at, "measured")

    def _close(self, place: str, end: int, exit_known: str) -> None:
        start, _, entry = self._open.pop(place)
        if start < end:
            self._done.append(Stayed(self._subject, place, start, end, entry, exit_known))
