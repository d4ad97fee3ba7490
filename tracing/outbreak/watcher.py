"""Watches for clusters: looks again when a case is confirmed or a known F0 was scanned, and announces what changed.

Every trace process runs one; whoever holds the lease works. What is known is folded from the feed itself, and the feed
takes an entry only from whoever has read all before it and looked since (`storage.clusters`). So neither a death
anywhere, nor two that both think that they hold the lease, lose an announcement, make it twice or take it back.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, Final, Protocol

import msgspec

from events.cases import Case
from events.clusters import Announced
from events.control import CaseConfirmed, CodeRevoked, CodesRevoked, Recorded, SubjectAdded, TokenIssued, TokenRevoked
from events.places import Category
from projections.stays import ExitKnown
from storage.clickhouse import Store
from storage.clusters import ClusterFeed
from storage.errors import StoreDown, StreamDown
from storage.patience import Patience
from storage.watermarks import Name, Watermark
from tracing.moment import REGISTRY_WAIT_SECONDS_MAX
from tracing.outbreak.board import Board, StandingCluster
from tracing.outbreak.cluster_archive import ClusterArchive
from tracing.outbreak.clusters import Cluster, changes, clusters
from tracing.outbreak.exposed import LOOKBACK_DAYS_DEFAULT, lookback_from
from tracing.outbreak.places import premises_of
from tracing.overlap import Presence, presences
from tracing.question import DAY_SECONDS
from tracing.reading import Reading
from tracing.registry import CaughtUp, Registry
from tracing.retention.horizon import behind

log: Final = logging.getLogger("truyvet.clusters")

CASES_MIN_DEFAULT: Final = 3
WINDOW_HOURS_DEFAULT: Final = 72
CASE_DAYS_MAX: Final = 28
"""Cases whose infectious window ended longer ago are no longer watched; scans are not kept for longer either."""
LEASE_SECONDS: Final = 15.0
PACE_SECONDS: Final = 1.0
SHARE: Final = 4.0
"""Between two looks it rests so many times as long as the first one took: traces have the other four fifths."""
RETRY_SECONDS: Final = 1.0
FAULT_SECONDS: Final = 30.0
SUBJECTS_A_READING: Final = 2_000
NO_MATTER: Final = (CodeRevoked, CodesRevoked, SubjectAdded, TokenIssued, TokenRevoked)
"""Control events that change no stay and no case."""


class ClusterRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster is: at least `cases_min` F0 at a place, or inside it, within some `window_hours`.

    An F0 counts from `lookback_days` before the infectious window, when they may have been infected, to its end.
    Places of the categories in `leave_out` are no clusters.
    """

    cases_min: int = CASES_MIN_DEFAULT
    window_hours: int = WINDOW_HOURS_DEFAULT
    lookback_days: int = LOOKBACK_DAYS_DEFAULT
    leave_out: frozenset[Category] = frozenset({Category.CHECKPOINT, Category.QUARANTINE_AREA})


class ReadMark(Protocol):
    """Where the read models' watermark is read; `storage.watermarks.Watermarks` is one."""

    def read(self, name: Name) -> Watermark | None:
        """The latest one; None before the first."""


class FreshlyScanned(msgspec.Struct, frozen=True, kw_only=True):
    """Which of these subjects have scans with `after < received ≤ upto` (Unix ms)? 32 hex digits each."""

    subjects: Collection[str]
    after: int
    upto: int

    SQL: ClassVar[str] = """
SELECT DISTINCT lower(hex(subject))
FROM scans_by_subject
WHERE subject IN (SELECT toFixedString(unhex(arrayJoin({subjects:Array(String)})), 16))
  AND received > fromUnixTimestamp64Milli({after:Int64}, 'UTC')
  AND received <= fromUnixTimestamp64Milli({upto:Int64}, 'UTC')"""

    def read(self, store: Store) -> set[str]:
        """The subjects. Raises `StoreDown`."""
        found: set[str] = set()
        ordered = sorted(self.subjects)
        for start in range(0, len(ordered), SUBJECTS_A_READING):
            piece = ordered[start : start + SUBJECTS_A_READING]
            parameters = {"subjects": piece, "after": self.after, "upto": self.upto}
            found.update(row[0] for row in store.rows(self.SQL, parameters))
        return found


class ClusterWatcher:
    """`step` looks once; `run` repeats it until stopped. `on_control` may be called from any thread."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        caught_up: CaughtUp,
        watermarks: ReadMark,
        feed: ClusterFeed,
        rules: ClusterRules,
        clock: Callable[[], int],
        owner: str,
        on_announced: Callable[[Announced], None] = lambda entry: None,
    ) -> None:
        """`caught_up` belongs to what feeds the registry; `clock` gives Unix ms; `owner` is this watcher's own name."""
        self._store: Final = store
        self._registry: Final = registry
        self._caught_up: Final = caught_up
        self._watermarks: Final = watermarks
        self._feed: Final = feed
        self._board: Final = Board(feed)
        self._archive: Final = ClusterArchive(feed, store)
        self._rules: Final = rules
        self._clock: Final = clock
        self._owner: Final = owner
        self._on_announced: Final = on_announced
        self._lock: Final = threading.Lock()
        self._stays_may_differ = True
        self._cases_may_differ = True
        self._read = Watermark(0, 0)
        self._watched_to: int | None = None
        self._cases: dict[str, Case] = {}
        self._presences: dict[str, list[Presence]] = {}
        """By case id."""

    @property
    def watched_to(self) -> int | None:
        """All that was received by then (Unix ms) has been looked at and announced. None where another one watches.

        Before the first look, whoever begins to watch counts as having looked when it began.
        """
        return self._watched_to

    def on_control(self, recorded: Recorded) -> None:
        """A control event was applied to the registry."""
        with self._lock:
            if isinstance(recorded.event, CaseConfirmed):
                self._cases_may_differ = True
            elif not isinstance(recorded.event, NO_MATTER):
                self._stays_may_differ = True

    def run(self, stop: threading.Event) -> None:
        """Until stopped; waits out a store or stream that is down.

        Any other fault is logged and waited out, too: whoever traces must not go without because this goes wrong.
        """
        patience = Patience(log, RETRY_SECONDS)
        while not stop.is_set():
            began = time.monotonic()
            try:
                if self._feed.hold(self._owner, LEASE_SECONDS):
                    self._watched_to = self._watched_to or self._clock()
                    self.step()
                else:
                    self._watched_to = None
                patience.over()
                stop.wait(max(PACE_SECONDS, SHARE * (time.monotonic() - began)))
            except (StoreDown, StreamDown) as error:
                patience.wait(stop, error)
            except Exception as error:
                # Its text is left out: it may name somebody.
                where = traceback.extract_tb(error.__traceback__)[-1]
                fault = f"{type(error).__name__} at {where.filename}:{where.lineno}"
                log.error("could not look for clusters; the next try is in %.0f s: %s", FAULT_SECONDS, fault)
                stop.wait(FAULT_SECONDS)
        try:
            self._feed.let_go(self._owner)
        except StreamDown:
            log.warning("the lease runs out by itself: the stream is down")

    def step(self) -> int:
        """Look once, where anything may have changed. Returns how many announcements were made.

        Raises `StoreDown` and `StreamDown`: what it was about to say is said by whoever looks next.
        """
        try:
            self._archive.restore()
            number, standing = self._board.read()  # before the look: whatever is said after this is judged anew
            announced = self._announce(number, standing) if self._look() else 0
            self._archive.step()
            self._watched_to = max(self._watched_to or 0, self._read.received) or None
        except BaseException:
            self._forget()
            raise
        return announced

    def _look(self) -> bool:
        """Read where the cases were. False where nothing can have changed since the last look."""
        with self._lock:
            stays_may_differ, cases_may_differ = self._stays_may_differ, self._cases_may_differ
            self._stays_may_differ = self._cases_may_differ = False
        watermark = self._watermarks.read("read-models")
        if watermark is None or not self._caught_up(REGISTRY_WAIT_SECONDS_MAX):
            self._forget()
            return False
        cases = self._watched(anew=cases_may_differ or stays_may_differ)
        if stays_may_differ:
            fresh = set(cases)
        else:
            fresh = {each for each, case in cases.items() if self._cases.get(each) != case}
            fresh |= self._with_new_stays(cases, watermark)
        read = self._presences_of([cases[each] for each in sorted(fresh)], watermark.received)
        fewer = cases.keys() != self._cases.keys()
        self._presences = {each: read[each] if each in read else self._presences[each] for each in cases}
        self._cases, self._read = cases, watermark
        return bool(fresh) or fewer

    def _watched(self, *, anew: bool) -> dict[str, Case]:
        oldest = self._clock() - CASE_DAYS_MAX * DAY_SECONDS * 1000
        cases = self._registry.cases() if anew else self._cases.values()
        return {case.id: case for case in cases if case.infectious_to > oldest}

    def _wholly_kept(self) -> set[str]:
        """The cases of which no scan can be missing because it was old."""
        kept_from, days = self._registry.kept.kept_from, self._rules.lookback_days
        return {
            case.id
            for case in self._cases.values()
            if behind(kept_from, lookback_from(case.infectious_from, days)) is None
        }

    def _with_new_stays(self, cases: dict[str, Case], watermark: Watermark) -> set[str]:
        """The cases whose subject was scanned since the last look, or was still somewhere at that time."""
        still = {
            each
            for each, there in self._presences.items()
            if each in cases and any(one.stay.exit is ExitKnown.OPEN for one in there)
        }
        if watermark.rows == self._read.rows:
            return still
        subjects = {case.subject for case in cases.values()}
        scanned = FreshlyScanned(subjects=subjects, after=self._read.received, upto=watermark.received)
        found = scanned.read(self._store)
        return still | {each for each, case in cases.items() if case.subject in found}

    def _presences_of(self, cases: list[Case], as_of: int) -> dict[str, list[Presence]]:
        """Where each was while they may have been infected, or infect others, by case id."""
        found: dict[str, list[Presence]] = {}
        for start in range(0, len(cases), SUBJECTS_A_READING):
            piece = cases[start : start + SUBJECTS_A_READING]
            reading = Reading(self._store, self._registry, as_of=as_of, until=max(case.infectious_to for case in piece))
            reading.load(case.subject for case in piece)
            for case in piece:
                from_ms = lookback_from(case.infectious_from, self._rules.lookback_days)
                found[case.id] = presences(case.subject, reading.stays[case.subject], from_ms, case.infectious_to)
        return found

    def _clusters(self, as_of: int) -> list[Cluster]:
        there = list({_identity(one): one for each in self._presences.values() for one in each}.values())
        premises = premises_of(self._registry, as_of, (one.stay for one in there))
        cases_of: dict[str, set[str]] = {}
        for case in self._cases.values():
            cases_of.setdefault(case.subject, set()).add(case.id)
        found = clusters(
            there,
            cases_of,
            premises,
            cases_min=self._rules.cases_min,
            window_ms=self._rules.window_hours * 3_600_000,
        )
        left_out = self._rules.leave_out
        places = premises.tree.by_id
        return [one for one in found if one.place not in places or places[one.place].category not in left_out]

    def _announce(self, number: int, standing: Mapping[str, StandingCluster]) -> int:
        """Append what the feed does not say yet. Where somebody else appends too, the look is out of date."""
        waiting = changes(
            {each: one.announcement for each, one in standing.items()},
            self._clusters(self._read.received),
            self._wholly_kept(),
            at=self._clock(),
            cases_min=self._rules.cases_min,
            window_hours=self._rules.window_hours,
        )
        for count, announcement in enumerate(waiting):
            entry = Announced(number=number + 1 + count, announcement=announcement)
            if not self._feed.append(entry.number, announcement):
                self._forget()
                return count
            self._on_announced(entry)
        return len(waiting)

    def _forget(self) -> None:
        """Whatever was cut off is looked at anew, all of it."""
        with self._lock:
            self._stays_may_differ = True


def _identity(one: Presence) -> tuple[str, str, int, int]:
    """Two cases of one person may have the same presence."""
    return one.subject, one.stay.place, one.start, one.end
