"""What a trace asks of the read models: one typed query per question, its answer in columns.

Rows are read without FINAL, which is slow; the same row may come twice, and readers drop equal ones. Lists travel as
parameters in pieces, because a server takes no value above 128 KiB (`http_max_field_value_size`). Every query raises
`StoreDown`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from string import Template
from typing import ClassVar, Final, NamedTuple, TypeVar

import msgspec
import numpy as np

from projections.place_hours import HOUR_MS, place_hour, place_of
from projections.places_together import Bools, Ints
from projections.stay_rows import SCAN, STAY
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR
from projections.subject_scans import ALONE, NAMED, SUBJECTS_NAMED_MAX, SubjectScans
from projections.walk_together import GONE, Scans, offsets, order_of
from storage.clickhouse import Listed, Store
from storage.native import Columns
from tracing.visits import NOBODY, NONE, Subjects, Visits, distinct, numbered, together

PLACE_HOURS_A_PARAMETER: Final = 4_000
STAY_HOURS_A_QUERY: Final = 100_000
"""Planning a read of so many hours is quicker than planning one of a few of them after the other."""
NEVER_MS: Final = 2**62
LONG_MS: Final = 7 * 86_400_000
"""How much the read models divide time into."""
ONE_THREAD: Final = "\nSETTINGS max_threads = 1"
"""Where little is read, to share it out takes longer."""
FEW: Final = 20

MIXING: Final = np.uint64(0x9E3779B97F4A7C15)
"""An odd number whose bits look random: 2^64 divided by the golden ratio."""

Items = TypeVar("Items", Ints, Sequence[str])


class ScansOf(msgspec.Struct, frozen=True, kw_only=True):
    """Where were these subjects, by every scan `received ≤ as_of` that happened in `[kept_from, until)`?

    Subjects are 32 hex digits, times Unix ms. `revocations`: (device number, key) → from when (ms of the log's clock)
    what came in under the key is quarantined and left out.
    """

    subjects: Sequence[str]
    as_of: int
    until: int
    revocations: Mapping[tuple[int, int], int]
    kept_from: int = 0

    # Little but the subject: a condition more costs as much as to read somebody's scans. Where much lies behind the
    # window, its weeks are passed over.
    SQL: ClassVar[str] = """
SELECT subject, at, kind != 'out' AS enters, device, seq, key, place, received
FROM scans_by_subject
WHERE """
    LONG_AGO: ClassVar[str] = (
        " AND (at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')"
        " OR at > fromUnixTimestamp64Milli({as_of:Int64}, 'UTC'))"
    )

    def read(self, store: Store, device_id: Callable[[int], str]) -> Iterator[SubjectScans]:
        """The scans in the walk's order, so many subjects at a time; `device_id` gives a device's id by its number."""
        long_ago = self.until + LONG_MS < self.as_of
        bounds = {"until": self.until, "as_of": self.as_of} if long_ago else {}
        ending = (self.LONG_AGO if long_ago else "") + (ONE_THREAD if len(self.subjects) < FEW else "")
        for subjects in _pieces(self.subjects, SUBJECTS_NAMED_MAX):
            if len(subjects) == 1:
                rows = store.columns(self.SQL + ALONE + ending, bounds | {"subject": subjects[0]})
            else:
                rows = store.columns(self.SQL + NAMED + ending, bounds | {"subjects": Listed(subjects)})
            if len(rows):
                yield self._counted(rows, device_id)

    def _counted(self, rows: Columns, device_id: Callable[[int], str]) -> SubjectScans:
        at = rows["at"].astype(np.int64)
        people, who = numbered(rows["subject"])
        scans = Scans(
            who,
            at,
            rows["enters"].astype(np.bool_),
            *(rows[name].astype(np.int64) for name in ("device", "seq", "place")),
        )
        every = SubjectScans(people, scans, rows["key"].astype(np.int64), rows["received"].astype(np.int64))
        # A scan by a clock that was ahead ends a stay that would else be open as of then, whatever time it claims.
        counts = (at >= self.kept_from) & ((at < self.until) | (at > self.as_of))
        counting = every.take(counts & every.counted(self.as_of, self.revocations))
        return counting.take(order_of(counting.scans, device_id))


class Surroundings:
    """The places and hours at which somebody may have met those who were present.

    Present was somebody, or the air they left behind, at `place` (its number) during `[start, end)` (Unix ms). Whoever
    was there with them was scanned in at most the place's dwell before they came and before the end, or, where the
    entry was missed, scanned out after they came and at most the dwell after the end.
    """

    def __init__(self, place: Ints, dwell_ms: Ints, start: Ints, end: Ints) -> None:
        self._place: Final = place
        self._entered: Final = start - dwell_ms, end
        self._left: Final = start, end + dwell_ms

    @functools.cached_property
    def stay_hours(self) -> Ints:
        """By place and hour, in one number: where the settled stays are that touch these times. In order, each once."""
        return distinct(_place_hours(self._place, *self._entered)[0])

    @property
    def scan_hours(self) -> Ints:
        """The same for the scans that matter."""
        return self._scans[0]

    def matters(self, place_hour: Ints, at: Ints, enters: Bools) -> Bools:
        """Which of these scans, all of them in `scan_hours`, are near enough."""
        hours, entered_from, entered_to, left_from, left_to = self._scans
        row = np.searchsorted(hours, place_hour)
        low = np.where(enters, entered_from[row], left_from[row])
        near: Bools = (low <= at) & (at < np.where(enters, entered_to[row], left_to[row]))
        return near

    @functools.cached_property
    def _scans(self) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """The hours, and of each the spans of entries and of exits that matter."""
        hours, which = _place_hours(self._place, self._entered[0], self._left[1])
        order = np.argsort(hours, kind="stable")
        hours, which = hours[order], which[order]
        begins = np.flatnonzero(np.append(True, hours[1:] != hours[:-1])[: len(hours)])
        (entered_from, entered_to), (left_from, left_to) = (
            (_each(np.minimum, low[which], begins), _each(np.maximum, high[which], begins))
            for low, high in (self._entered, self._left)
        )
        return hours[begins], entered_from, entered_to, left_from, left_to


class SubjectsAround(msgspec.Struct, frozen=True, kw_only=True):
    """Who was scanned in these surroundings, at `kept_from` or later, by scans `received ≤ as_of` (Unix ms)?

    A superset of whoever was met: the walk of their stays decides, and so does quarantine.
    """

    surroundings: Surroundings
    as_of: int
    kept_from: int = 0

    SQL: ClassVar[str] = """
SELECT place_hour, toUnixTimestamp64Milli(at) AS at, kind != 'out' AS enters, subject
FROM scans_by_place_hour
WHERE place_hour IN {place_hours:Array(UInt64)}
  AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"""

    def read(self, store: Store) -> Subjects:
        """The subjects, each once, in order."""
        found = [NOBODY]
        for place_hours in _pieces(self.surroundings.scan_hours, PLACE_HOURS_A_PARAMETER):
            rows = store.columns(self.SQL, {"place_hours": Listed(place_hours), "as_of": self.as_of})
            if len(rows):
                hours, enters = rows["place_hour"].astype(np.int64), rows["enters"].astype(np.bool_)
                near = self.surroundings.matters(hours, rows["at"], enters)
                found.append(rows["subject"][near & (rows["at"] >= self.kept_from)])
        return numbered(np.concatenate(found))[0]


class Settled(NamedTuple):
    """Stays of which no time has decided yet what only time ends, and who is being settled anew, in order.

    `people` are those of whom any row was read, in parts, some of them often. `newest` is the latest mark (Unix ms)
    that any of the rows was settled for.
    """

    visits: Visits
    people: Sequence[Subjects]
    unsettled: Subjects
    newest: int


class SettledAround(msgspec.Struct, frozen=True, kw_only=True):
    """Which settled stays touch these surroundings, as of the mark `settled` (Unix ms)?

    `proof`: with the scans that prove them; without, they come sooner. Where there are many, those alone that are
    `near` enough are kept: it is asked of a part of them at a time.
    """

    surroundings: Surroundings
    settled: int
    proof: bool
    near: Callable[[Visits], Bools]

    SQL: ClassVar[str] = f"""
SELECT place_hour, stay$proof
FROM {STAYS_BY_PLACE_HOUR}
WHERE place_hour IN $hours
SETTINGS max_threads = $threads"""
    PROOF: ClassVar[str] = ", proof"

    def read(self, store: Store, on_stays: Callable[[int, int], None]) -> Settled:
        """Each stay once, in its newest version.

        `on_stays` is told again and again how many rows are read so far, and how many are to be expected in all;
        whatever it raises ends the reading.
        """
        visits, people, unsettled, newest, count, hours = [NONE], [], [NOBODY], self.settled, 0, 0
        steps = list(_by_places(self.surroundings.stay_hours, STAY_HOURS_A_QUERY))
        for some in steps:
            rows = self._rows(store, list(_pieces(some, PLACE_HOURS_A_PARAMETER)))
            if len(rows):
                versions = rows["stay"].view(STAY)["settled_for"].astype(np.int64)
                found = _visits(rows, proof=self.proof)
                people.append(found.subject)
                unsettled.append(found.subject[versions > self.settled])
                newest = max(newest, int(versions.max()))
                found = _newest(found, versions)
                visits.append(found if len(steps) == 1 else found.take(self.near(found)))
            count += len(rows)
            hours += len(some)
            on_stays(count, count * len(self.surroundings.stay_hours) // hours)
        anew = numbered(np.concatenate(unsettled))[0]
        return Settled(together(visits), people, anew, newest)

    def _rows(self, store: Store, hours: Sequence[Ints]) -> Columns:
        arrays = [f"{{hours_{number}:Array(UInt64)}}" for number in range(len(hours))]
        # Few rows each at few places are read soonest by one thread.
        sql = Template(self.SQL).substitute(
            proof=self.PROOF if self.proof else "",
            hours=arrays[0] if len(arrays) == 1 else f"arrayConcat({', '.join(arrays)})",
            threads=1 if len(arrays) == 1 else 0,
        )
        return store.columns(sql, {f"hours_{number}": Listed(some) for number, some in enumerate(hours)})


def _visits(rows: Columns, *, proof: bool) -> Visits:
    stays = rows["stay"].view(STAY)
    visits = Visits(
        np.ascontiguousarray(stays["subject"]),
        place_of(rows["place_hour"].astype(np.int64)),
        stays["start"].astype(np.int64),
        stays["end"].astype(np.int64),
        stays["entry"].copy(),
        stays["exit"].copy(),
        np.zeros(len(rows) + 1, dtype=np.int64),
        NONE.device,
        NONE.seq,
    )
    if not proof:
        return visits
    first, proving = rows.lists("proof")
    device, seq = (proving.view(SCAN)[name].astype(np.int64) for name in ("device", "seq"))
    return visits._replace(first=first, device=device, seq=seq)


def _newest(visits: Visits, settled: Ints) -> Visits:
    """Each stay once, of all its rows the one that was settled last, unless that says that there is no such stay.

    A stay that changes is written again under every hour; where that takes it from some, they say so by the same mark.
    """
    there = visits.exit != GONE
    rows = _perhaps_repeated(visits)
    if len(rows):
        columns = (visits.place, visits.start, visits.entry)
        name = (numbered(visits.subject[rows])[1], *(column[rows] for column in columns))
        by_name = np.lexsort((2 * settled[rows] + there[rows], *name))
        outdated = np.zeros(len(rows), dtype=np.bool_)
        outdated[:-1] = np.logical_and.reduce([column[by_name[1:]] == column[by_name[:-1]] for column in name])
        there[rows[by_name[outdated]]] = False
    return visits if there.all() else visits.take(there)


def _perhaps_repeated(visits: Visits) -> Ints:
    """Rows of which another may have the same name: all such, and few others.

    Pseudonyms look random; so do numbers mixed of them and of the start. To sort those alone, and to look them up by
    their first bits, is several times as fast as to sort rows.
    """
    half = np.ascontiguousarray(visits.subject).view("<u8")[::2]
    mixed = half ^ (visits.start.astype(np.uint64) * MIXING)
    in_order = np.sort(mixed)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    if not len(repeated):
        return np.empty(0, dtype=np.int64)
    unused = np.uint64(64 - len(mixed).bit_length())
    seen = np.zeros(1 << len(mixed).bit_length(), dtype=np.bool_)
    seen[repeated >> unused] = True
    return np.flatnonzero(seen[mixed >> unused])


def _by_places(place_hours: Ints, length: int) -> Iterator[Ints]:
    """The hours, which are in order, in pieces of about `length`; those of a place are never parted."""
    begin = 0
    while begin < len(place_hours):
        last = place_of(int(place_hours[begin : begin + length][-1]))
        end = int(np.searchsorted(place_hours, place_hour(last + 1, 0)))
        yield place_hours[begin:end]
        begin = end


def _each(function: np.ufunc, values: Ints, begins: Ints) -> Ints:
    """The function over each run of values."""
    reduced: Ints = function.reduceat(values, begins) if len(begins) else values
    return reduced


def _place_hours(place: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Every hour that each `[start, end)` (Unix ms) touches, with the place in one number; and which each is of."""
    # No scan happened before the epoch; a negative hour would be one of the place before.
    first, last = np.maximum(start, 0) // HOUR_MS, (end - 1) // HOUR_MS
    begins = offsets(last - first + 1)
    which = np.repeat(np.arange(len(place)), last - first + 1)
    return place_hour(place[which], first[which] + np.arange(begins[-1]) - begins[:-1][which]), which


def _pieces(items: Items, length: int) -> Iterator[Items]:
    """The items, at most `length` at a time."""
    return (items[begin : begin + length] for begin in range(0, len(items), length))
