"""Derives settled stays from the scans by subject: all of them, or what a later mark makes different.

What was written for a mark follows from the scans and the registries as of that mark alone, so nothing of it is read
back: for everybody whose scans changed, the stays as of the old mark and as of the new one are walked, and the
difference is written, each row with the new mark. Where all new scans are of the last hours, the scans of the last days
mostly say it (`projections.difference.tails`). Where they do not, where a scan came late, and where registries changed,
the whole history is walked.
"""

import concurrent.futures
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from projections.difference import DWELL_MS_MAX, missing, others, tails, unchanged
from projections.place_tables import PlaceTables
from projections.places_together import UNPLACED, Bools, Ints
from projections.stay_rows import Keys, keys_of, packed
from projections.stay_rules import StayRules
from projections.subject_scans import EVERYBODY, IN_RANGE, NAMED, SubjectScans, named, read_scans, subject_ranges
from projections.walk_together import Stays, walk_together
from storage.clickhouse import Store
from storage.settled import SettledMark

RECENT_MS: Final = DWELL_MS_MAX
"""What happened so long before it came in, or longer, came late."""
LOOK_BACK_MS: Final = 3 * DWELL_MS_MAX
"""So long before recent scans one looks for a scan from which to walk."""
RECENT_FACTOR: Final = 16
"""About so many scans of the last days are read for each new one."""

_COUNTED: Final = (
    "received <= fromUnixTimestamp64Milli({upto:Int64}) AND at >= fromUnixTimestamp64Milli({kept_from:Int64})"
)
_NEW: Final = f"{IN_RANGE} AND {_COUNTED} AND received > fromUnixTimestamp64Milli({{after:Int64}})"
_AFFECTED: Final = (
    f"{_NEW} OR {IN_RANGE} AND place IN {{places:Array(UInt32)}}"
    f" OR {IN_RANGE} AND bitShiftLeft(toUInt64(device), 16) + key IN {{keys:Array(UInt64)}}"
)
_LATE: Final = f"{_NEW} GROUP BY subject HAVING min(at) < fromUnixTimestamp64Milli({{recent:Int64}})"
_RECENT: Final = f"{_NEW} GROUP BY subject HAVING min(at) >= fromUnixTimestamp64Milli({{recent:Int64}})"


class SettlementLimits(msgspec.Struct, frozen=True):
    """How much is walked at once: about so many scans. Each costs some 300 bytes meanwhile."""

    portion_scans: int = 500_000


class Portion(NamedTuple):
    """What one step has done: so many scans read, so many rows written."""

    scans: int
    rows: int


Leftovers = Mapping[bytes, Collection[tuple[int, int, int]]]
"""Rows that were written for a mark that was never recorded: (place_hour, start in Unix ms, entry) by subject."""


class Change(NamedTuple):
    """From which mark to which moment (ms) the stays are brought; `leftovers` where somebody died on the way."""

    after: SettledMark
    upto: int
    leftovers: Leftovers


class Settlement:
    """One table of stays, derived from one table of scans. Every step may be repeated. Not thread-safe."""

    def __init__(
        self,
        store: Store,
        rules: StayRules,
        limits: SettlementLimits,
        *,
        scans: str,
        stays: str,
        ahead: concurrent.futures.Executor,
        on_step: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`scans` and `stays` are the tables. `ahead` prepares a portion while another is written; `on_step` is told
        `settled` after each is.
        """
        self._store: Final = store
        self._ahead: Final = ahead
        self._rules: Final = rules
        self._limits: Final = limits
        self._scans: Final = scans
        self._stays: Final = stays
        self._on_step: Final = on_step
        self._places: Final = PlaceTables(rules)

    def unplaced(self) -> tuple[int, ...]:
        """The numbers of places that were met since `fill` began and that nobody has registered."""
        return tuple(sorted(number for number in self._places.unplaced if not self._rules.places.known(number)))

    def fill(self, upto: int, kept_from: int) -> Iterator[Portion]:
        """Write all stays as of `upto` into an empty table, a portion at a time; both in ms. Raises `StoreDown`."""
        self._places.unplaced.clear()
        parameters = {"upto": upto, "kept_from": kept_from}
        ranges = subject_ranges(self._count(_COUNTED, parameters), self._limits.portion_scans)
        portions = (self._ahead.submit(self._prepared, parameters | bounds, upto) for bounds in ranges)
        following: concurrent.futures.Future[_Rows] | None = next(portions)
        try:
            while following is not None:
                ready = following.result()
                following = next(portions, None)
                yield self._laid(ready)
        finally:
            # Whoever goes on to something else may change the rules that it reads.
            concurrent.futures.wait([following] if following is not None else [])

    def advance(self, change: Change, rows: int) -> Iterator[Portion]:
        """Make the table hold the stays as of another moment, a portion at a time. Raises `StoreDown`.

        `rows`: how many deliveries the log got in between.
        """
        after, upto = change.after.received, change.upto
        self._places.unplaced.update(change.after.unplaced)
        parameters: dict[str, Any] = {"after": after, "upto": upto, "kept_from": change.after.kept_from}
        places, keys = self._affected_places(change), self._affected_keys(after, upto)
        if places or keys or change.leftovers:
            yield from self._whole(_AFFECTED, parameters | {"places": places, "keys": keys}, change)
            return
        parameters |= {"recent": upto - RECENT_MS, "since": upto - RECENT_MS - LOOK_BACK_MS}
        undecided: list[bytes] = []
        for bounds in subject_ranges(rows * RECENT_FACTOR, self._limits.portion_scans):
            portion, some = self._recent(parameters | bounds, change)
            undecided += some
            yield portion
        yield from self._whole(_LATE, parameters, change)
        for subjects in named(undecided):
            yield self._difference(self._read(f"{NAMED} AND {_COUNTED}", parameters | subjects), change)

    def _recent(self, parameters: Mapping[str, Any], change: Change) -> tuple[Portion, list[bytes]]:
        """Those whose new scans are all of the last hours; and who of them must be walked over the whole history."""
        where = (
            f"{IN_RANGE} AND {_COUNTED} AND at >= fromUnixTimestamp64Milli({{since:Int64}})"
            f" AND subject IN (SELECT subject FROM {self._scans} WHERE {_RECENT})"
        )
        read = self._read(where, parameters)
        was, is_now = self._counted(read, change.after.received, ()), self._counted(read, change.upto, ())
        counting = read.take(was | is_now)
        roots = self._places.as_of(change.upto).roots_of(counting.scans.place)
        changed = (was != is_now)[was | is_now]
        found = tails(counting.scans, changed, roots, since=parameters["since"], upto=change.upto)
        portion = self._difference(counting.take(found.scans), change)
        return portion, read.subjects[found.undecided].tolist()

    def _whole(self, affected: str, parameters: Mapping[str, Any], change: Change) -> Iterator[Portion]:
        """Everybody who has an `affected` scan, over the whole history."""
        where = f"{IN_RANGE} AND {_COUNTED} AND subject IN (SELECT subject FROM {self._scans} WHERE {affected})"
        count = self._count(where, {**parameters, **EVERYBODY})
        if count:
            for bounds in subject_ranges(count, self._limits.portion_scans):
                yield self._difference(self._read(where, {**parameters, **bounds}), change)

    def _difference(self, read: SubjectScans, change: Change) -> Portion:
        """Write what the stays of these scans have other at the new moment than at the old mark."""
        after, upto = change.after.received, change.upto
        old, new = self._walked(read, after, change.after.unplaced), self._walked(read, upto, ())
        old_places, new_places = self._places.as_of(after), self._places.as_of(upto)
        left = _left(change.leftovers, read.subjects)
        if not len(left.start):
            same_old, same_new = unchanged(old, new, len(read.scans.at))
            alike = old_places.dwell_of(old.place[same_old]) == new_places.dwell_of(new.place[same_new])
            old = old.take(others(same_old[alike], len(old.start)))
            new = new.take(others(same_new[alike], len(new.start)))
        keys, which = keys_of(new, new_places)
        known = keys_of(old, old_places)[0].joined(left)
        gone = known.take(missing(known, keys))
        which = np.append(which, np.full(len(gone.start), -1, dtype=np.int64))
        return self._laid(_rows(read, new, keys.joined(gone), which, upto))

    def _walked(self, read: SubjectScans, moment: int, leaving_out: Collection[int]) -> Stays:
        """The stays as of a moment, proved by rows of what was read."""
        chosen = np.flatnonzero(self._counted(read, moment, leaving_out))
        stays = walk_together(read.scans.take(chosen), self._places.as_of(moment))
        return stays._replace(scans=chosen[stays.scans])

    def _counted(self, read: SubjectScans, moment: int, leaving_out: Collection[int]) -> Bools:
        """Which scans count as of a moment, at places that somebody has registered, and not at those left out."""
        place = read.scans.place
        placed: Bools = self._places.as_of(moment, place).rows(place) != UNPLACED
        if leaving_out:
            placed &= ~np.isin(place, np.array(sorted(leaving_out)))
        return placed & read.counted(moment, self._rules.keyring.revocations_as_of(moment))

    def _affected_places(self, change: Change) -> list[int]:
        """The numbers of places at which scans make other stays now: redrawn, or nobody had registered them."""
        redrawn = self._rules.places.affected(change.after.received, change.upto)
        return sorted(redrawn | {number for number in change.after.unplaced if self._rules.places.known(number)})

    def _affected_keys(self, after: int, upto: int) -> list[int]:
        """The keys, as device number and key in one, of which other scans are quarantined now."""
        if not self._rules.trust_changed(after, upto):
            return []
        before, now = (self._rules.keyring.revocations_as_of(moment) for moment in (after, upto))
        changed = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
        return sorted((device << 16) + key for device, key in changed)

    def _read(self, where: str, parameters: Mapping[str, Any]) -> SubjectScans:
        return read_scans(self._store, self._scans, where, parameters, self._rules.device_id)

    def _count(self, where: str, parameters: Mapping[str, Any]) -> int:
        return int(self._store.rows(f"SELECT count() FROM {self._scans} WHERE {where}", parameters)[0][0])

    def _prepared(self, parameters: Mapping[str, Any], upto: int) -> "_Rows":
        """All stays of a range of subjects."""
        read = self._read(f"{IN_RANGE} AND {_COUNTED}", parameters)
        stays = self._walked(read, upto, ())
        return _rows(read, stays, *keys_of(stays, self._places.as_of(upto)), upto)

    def _laid(self, rows: "_Rows") -> Portion:
        if rows.portion.rows:
            self._store.insert_rowbinary(self._stays, rows.packed, token=secrets.token_hex(16))
        self._on_step("settled")
        return rows.portion


class _Rows(NamedTuple):
    """Rows ready to be written, and what they are for."""

    packed: bytes
    portion: Portion


def _rows(read: SubjectScans, stays: Stays, keys: Keys, which: Ints, settled: int) -> _Rows:
    rows = packed(keys, which, stays, read.scans, subjects=read.subjects, settled=settled) if len(which) else b""
    return _Rows(rows, Portion(len(read.scans.at), len(which)))


def _left(leftovers: Leftovers, subjects: Any) -> Keys:
    """The rows of these subjects that somebody left behind."""
    rows = [
        (place_hour, number, start, entry)
        for number, subject in enumerate(subjects.tolist() if leftovers else ())
        for place_hour, start, entry in leftovers.get(subject, ())
    ]
    return Keys(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)
