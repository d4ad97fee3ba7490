"""Finds doubtful scans among those of some people: what its subject did, its device's pace, its device's count.

Each reason costs what it needs and no more: one that nobody asks for is not read for. Everything is as of a moment.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import ClassVar, Final, TypeVar

import msgspec
import numpy as np

from events.places import PlaceTree
from projections.place_hours import HOUR_MS, PLACE_SHIFT, place_hour
from projections.places_together import Bools
from projections.subject_scans import SubjectScans
from storage.clickhouse import Store
from tracing.doubts import Doubt, Reason, Seen, Thresholds, Unit, bursts, counted, holes, of_subject
from tracing.registry import Registry, place_id
from tracing.visits import pseudonyms_of

PLACE_HOURS_A_QUERY: Final = 2_000
SEQS_A_QUERY: Final = 4_000
LEFT_OUT_SHOWN_MAX: Final = 1_000
SUBJECT_REASONS: Final = frozenset({Reason.IMPOSSIBLE_TRAVEL, Reason.TWO_PLACES, Reason.MANY_PLACES, Reason.CLOSED})

T = TypeVar("T")


class DoubtfulScan(msgspec.Struct, frozen=True, kw_only=True):
    """A scan with a reason to doubt it: `figure` passes `limit`, both in `unit`. Times in Unix ms.

    `other`: the scan that it disagrees with, as device and seq; nobody knows which of the two is wrong.
    """

    subject: str
    at: int
    device: str
    seq: int
    place: str
    reason: Reason
    figure: float
    limit: float
    unit: Unit
    other: tuple[str, int] | None = None


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What a question left out as doubtful: so many scans, by reason, and the first of them by subject and time.

    A scan that is doubtful for several reasons counts for each.
    """

    scans: int
    by_reason: dict[Reason, int]
    first: tuple[DoubtfulScan, ...]


class ScannedAround(msgspec.Struct, frozen=True, kw_only=True):
    """What did any device scan at these places in these hours, by scans `received ≤ as_of` (Unix ms)?"""

    place_hours: Sequence[int]
    as_of: int

    SQL: ClassVar[str] = f"""
SELECT DISTINCT toUnixTimestamp64Milli(at), device, seq, bitShiftRight(place_hour, {PLACE_SHIFT})
FROM scans_by_place_hour
WHERE place_hour IN {{place_hours:Array(UInt64)}}
  AND received <= fromUnixTimestamp64Milli({{as_of:Int64}}, 'UTC')"""

    def read(self, store: Store) -> Iterator[Seen]:
        """Every scan, each once, in no order. Raises `StoreDown`."""
        for place_hours in _pieces(self.place_hours, PLACE_HOURS_A_QUERY):
            for at, device, seq, place in store.rows(self.SQL, {"place_hours": place_hours, "as_of": self.as_of}):
                yield Seen(at, device, seq, int(place))


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """Which of these seqs of devices ever came, taken or refused, by `as_of` (Unix ms)?"""

    seqs: Sequence[tuple[int, int]]
    as_of: int

    SQL: ClassVar[str] = """
SELECT device, seq FROM log
WHERE (device, seq) IN {seqs:Array(Tuple(UInt32, UInt64))}
  AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
UNION ALL SELECT device, seq FROM refused
WHERE (device, seq) IN {seqs:Array(Tuple(UInt32, UInt64))}
  AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"""
    RETIRED: ClassVar[str] = "SELECT device, first, upto FROM retired WHERE device IN {devices:Array(UInt32)}"

    def read(self, store: Store) -> set[tuple[int, int]]:
        """Those that did, what is retired among them. Raises `StoreDown`."""
        found: set[tuple[int, int]] = set()
        for seqs in _pieces(self.seqs, SEQS_A_QUERY):
            found.update(store.rows(self.SQL, {"seqs": seqs, "as_of": self.as_of}))
        lacking = sorted(set(self.seqs) - found)
        runs: dict[int, list[tuple[int, int]]] = {}
        for devices in _pieces(sorted({device for device, _ in lacking}), SEQS_A_QUERY):
            for device, first, upto in store.rows(self.RETIRED, {"devices": devices}):
                runs.setdefault(device, []).append((first, upto))
        found.update(one for one in lacking if any(low <= one[1] <= high for low, high in runs.get(one[0], ())))
        return found


class DoubtReader:
    """As of one moment. Every method raises `StoreDown`."""

    def __init__(self, store: Store, registry: Registry, *, as_of: int, thresholds: Thresholds) -> None:
        self._store: Final = store
        self._registry: Final = registry
        self._as_of: Final = as_of
        self._thresholds: Final = thresholds

    def find(
        self, read: SubjectScans, reasons: Collection[Reason], wanted: Collection[tuple[int, int]] | None = None
    ) -> Iterator[tuple[str, Doubt]]:
        """Whose scans are doubtful and why, of all scans of some people: of those that are `wanted`, by default of all.

        Scans are named by their device's number and seq.
        """
        owners: dict[tuple[int, int], str] = {}
        seen: list[Seen] = []
        of_subjects = SUBJECT_REASONS.intersection(reasons)
        for subject, scans in _by_subject(read):
            own = [scan for scan in scans if wanted is None or (scan.device, scan.seq) in wanted]
            if not own:
                continue
            seen += own
            owners.update(((scan.device, scan.seq), subject) for scan in own)
            if of_subjects:
                places = self._registry.places_as_of(self._as_of, {scan.place for scan in scans})
                for doubt in of_subject(scans, places, self._thresholds, of_subjects):
                    if (doubt.scan.device, doubt.scan.seq) in owners:
                        yield subject, doubt
        if Reason.BURST in reasons:
            for doubt in self._bursts(seen):
                yield owners[doubt.scan.device, doubt.scan.seq], doubt
        if Reason.HOLES in reasons:
            for doubt in self._holes(seen):
                yield owners[doubt.scan.device, doubt.scan.seq], doubt

    def doubtful(self, read: SubjectScans, reasons: Collection[Reason]) -> tuple[Bools, list[tuple[str, Doubt]]]:
        """Which of the scans are doubtful for these reasons, and the doubts."""
        found = list(self.find(read, reasons))
        named = {(doubt.scan.device, doubt.scan.seq) for _, doubt in found}
        scans = zip(read.scans.device.tolist(), read.scans.seq.tolist(), strict=True)
        return np.array([scan in named for scan in scans], dtype=np.bool_), found

    def _bursts(self, seen: Sequence[Seen]) -> Iterator[Doubt]:
        """Looks at all that the same devices scanned at the same places around then."""
        span = self._thresholds.burst_seconds * 1000
        place_hours = {
            place_hour(scan.place, hour)
            for scan in seen
            for hour in range(max(scan.at - span, 0) // HOUR_MS, (scan.at + span) // HOUR_MS + 1)
        }
        devices = {scan.device for scan in seen}
        around = ScannedAround(place_hours=sorted(place_hours), as_of=self._as_of).read(self._store)
        by_device = sorted((scan for scan in around if scan.device in devices), key=_device)
        named = {(scan.device, scan.seq) for scan in seen}
        for _, scans in groupby(by_device, key=_device):
            for doubt in bursts(scans, self._thresholds):
                if (doubt.scan.device, doubt.scan.seq) in named:
                    yield doubt

    def _holes(self, seen: Sequence[Seen]) -> Iterator[Doubt]:
        back = self._thresholds.holes_seqs
        before = {(scan.device, seq) for scan in seen for seq in range(max(scan.seq - back, 1), scan.seq)}
        came = Came(seqs=sorted(before), as_of=self._as_of).read(self._store)
        return holes(seen, lambda device, seq: (device, seq) in came, self._thresholds)


class Leaving:
    """Leaves doubtful scans out of a reading and keeps what it left out. Not thread-safe."""

    def __init__(self, reader: DoubtReader, registry: Registry, places: PlaceTree, reasons: Collection[Reason]) -> None:
        self._reader: Final = reader
        self._registry: Final = registry
        self._places: Final = places
        self._reasons: Final = reasons
        self._doubts: Final[list[tuple[str, Doubt]]] = []

    def kept(self, read: SubjectScans) -> SubjectScans:
        """The scans that nobody doubts. Raises `StoreDown`."""
        doubtful, found = self._reader.doubtful(read, self._reasons)
        self._doubts.extend(found)
        return read.take(~doubtful)

    def left_out(self) -> LeftOut:
        """What was left out so far."""
        named = {(doubt.scan.device, doubt.scan.seq) for _, doubt in self._doubts}
        told = shown(self._doubts, self._registry, self._places)
        return LeftOut(
            scans=len(named),
            by_reason=dict(sorted(counted(doubt for _, doubt in self._doubts).items())),
            first=tuple(told[:LEFT_OUT_SHOWN_MAX]),
        )


def shown(doubts: Iterable[tuple[str, Doubt]], registry: Registry, places: PlaceTree) -> list[DoubtfulScan]:
    """Doubts by the ids that people know, by subject and time."""
    return sorted(
        (
            DoubtfulScan(
                subject=subject,
                at=doubt.scan.at,
                device=registry.device_id(doubt.scan.device),
                seq=doubt.scan.seq,
                place=place_id(places, doubt.scan.place),
                reason=doubt.reason,
                figure=doubt.figure,
                limit=doubt.limit,
                unit=doubt.unit,
                other=(registry.device_id(doubt.other.device), doubt.other.seq) if doubt.other is not None else None,
            )
            for subject, doubt in doubts
        ),
        key=_doubt_order,
    )


def _doubt_order(doubt: DoubtfulScan) -> tuple[str, int, str, int, Reason, tuple[str, int]]:
    return doubt.subject, doubt.at, doubt.device, doubt.seq, doubt.reason, doubt.other or ("", 0)


def _by_subject(read: SubjectScans) -> Iterator[tuple[str, list[Seen]]]:
    """Each subject's scans, in the walk's order."""
    names = pseudonyms_of(read.subjects)
    columns = (read.scans.subject, read.scans.at, read.scans.device, read.scans.seq, read.scans.place)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for who, scans in groupby(rows, key=_first):
        yield names[who], [Seen(*scan[1:]) for scan in scans]


def _first(row: tuple[int, ...]) -> int:
    return row[0]


def _device(scan: Seen) -> int:
    return scan.device


def _pieces(items: Iterable[T], length: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while piece := list(islice(iterator, length)):
        yield piece
