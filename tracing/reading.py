"""What one trace has read: the stays of everybody it came upon, all as of one moment."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Final

import numpy as np

from events.places import Category, PlaceTree
from events.problems import TRACE_TOO_LARGE, ProblemError
from events.scans import AT_MS_MAX
from projections.places_together import UNPLACED, Ints, PlaceTable
from projections.stays import STAY_MS_MAX, Stay
from projections.subject_scans import SubjectScans
from projections.walk_together import walk_together
from storage.clickhouse import Store
from storage.settled import SettledMark
from storage.watermarks import Watermark
from tracing.bounds import AT_ONCE, Bounds
from tracing.doubt_reading import Leaving
from tracing.late import LATE_ROWS_MAX, NOBODY_LATE, Late, LateScans, late_by_name
from tracing.meetings import Near, Present
from tracing.overlap import Presence
from tracing.queries import ScansOf, SettledAround, SubjectsAround, Surroundings
from tracing.registry import Registry
from tracing.tail import Outrun, Tail
from tracing.visits import (
    NONE,
    Subjects,
    Visits,
    among,
    at_moment,
    distinct,
    numbered,
    pseudonyms_of,
    stays_of,
    subjects_of,
    together,
    walked,
)

SUBJECTS_A_STEP: Final = 5_000
"""After so many people a reading tells how far it is, and may be stopped."""
LATE_MS_MAX: Final = 600_000
"""How long after the moment asked about the stays may be settled: whose they are no longer is found by reading all that
came in meanwhile."""


class Reading:
    """Stays as of one moment, each subject's walked once however often they are come upon. Not thread-safe."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        as_of: int,
        until: int,
        dwell_seconds: Mapping[Category, int] | None = None,
        bounds: Bounds = AT_ONCE,
        on_read: Callable[[int, int], None] = lambda read, known: None,
        leaving: Leaving | None = None,
        settled: SettledMark | None = None,
        read_models: Watermark | None = None,
        late: LateScans | None = None,
        tail: Tail | None = None,
    ) -> None:
        """`as_of`: what was received later does not exist. `until`: stays that begin later are not needed (Unix ms).

        `dwell_seconds` overrides the places' dwell by category. `on_read` is told how many people are read, of how many
        that are known to be needed; whatever it raises ends the reading. `settled` is the mark of the settled stays,
        `read_models` how far the read models are, `late` whose scans came in since: they decide how quickly `around`
        answers, never what. `tail`: the read models need not have everything received by `as_of` yet, and
        `around` waits for the rest.
        """
        self.stays: Final = _StaysBySubject(self.place_id, registry.device_id)
        self.without_scans: Final[set[str]] = set()
        self._store: Final = store
        self._registry: Final = registry
        self._as_of: Final = as_of
        # A stay is decided by the scans of the day that it may last at most.
        self._until: Final = until + STAY_MS_MAX
        self._revocations: Final = registry.revocations_as_of(as_of)
        self._kept_from: Final = registry.kept.kept_from
        self._dwell_seconds: Final = dwell_seconds or {}
        self.bounds: Final = bounds
        self.leaving: Final = leaving
        self._on_read: Final = on_read
        self._settled: Final = settled
        self._read_models: Final = read_models
        self._late: Final = late or LateScans(store)
        self._tail = tail
        self._lately: Late | None = None
        self._unproven: Final[list[str]] = []
        """Who was loaded while scans of theirs may have been on their way."""
        self._table: Final = PlaceTable(registry.places_around(as_of, ()))
        self._ids: Final[dict[int, str]] = {}
        self._numbers: Final[dict[str, int]] = {}
        self._unplaced: Final[dict[str, int]] = {}
        self._parts: Final[list[Visits]] = []

    def load(self, subjects: Iterable[str]) -> None:
        """Read and walk the scans of those who are not read yet.

        Raises `StoreDown`, and TRACE_TOO_LARGE as `ProblemError` where they become too many; with a tail as it does.
        """
        fresh = sorted(set(subjects) - self.stays.keys())
        known = len(self.stays) + len(fresh)
        if known > self.bounds.subjects:
            raise ProblemError(TRACE_TOO_LARGE.problem(f"more than {self.bounds.subjects:,} people"))
        for begin in range(0, len(fresh), SUBJECTS_A_STEP):
            self._load(fresh[begin : begin + SUBJECTS_A_STEP])
            self._on_read(len(self.stays), known)

    def load_around(self, presences: Iterable[Presence], lag_ms: int) -> None:
        """Read everybody who may have been where these index subjects were, or had just been."""
        presences = list(presences)
        self._know_ids({presence.stay.place for presence in presences})
        place = np.array([self._numbers[presence.stay.place] for presence in presences], dtype=np.int64)
        start = np.array([presence.start for presence in presences], dtype=np.int64)
        end = np.array([presence.end for presence in presences], dtype=np.int64)
        self._load_around(self._surroundings(place, start, end + lag_ms))

    def around(self, there: Present, lag_ms: int, *, proof: bool) -> Visits:
        """The stays of everybody who may have been where these were, or had just been; at other times as well.

        `proof`: with the scans that prove them. Reads no more than it must: those whose stays are settled are not
        walked, and are not in `stays`. Raises as `load` does.
        """
        surroundings = self._surroundings(there.place, there.start, there.end + lag_ms)
        mark = self._usable_mark()
        if mark is None:
            return self._walked_around(surroundings)
        near = Near(there, lag_ms)
        query = SettledAround(surroundings=surroundings, settled=mark.received, proof=proof, near=near)
        settled = query.read(self._store, self._on_stays)
        met, unsettled = settled.visits, settled.unsettled
        if settled.newest > max(mark.received, self._as_of):
            # All may have been settled anew and exchanged: then nothing tells of stays that were there until then.
            return self._walked_around(surroundings)
        late = self._late_since(mark)
        if late.pieces:
            people = [*settled.people, late.near(surroundings)]
            if self._as_of < mark.received:
                # Stays that know what nobody knew as of the moment asked about may not name whoever was here.
                people.append(self._scanned_in(surroundings))
            there_lately = numbered(np.concatenate(people))[0]
            unsettled = numbered(np.concatenate((unsettled, there_lately[late.who(there_lately)])))[0]
        if not len(unsettled):
            return at_moment(met, self._as_of)
        self.load(pseudonyms_of(unsettled))
        known = at_moment(met.take(~among(met.subject, unsettled)), self._as_of)
        return together([known, self.visits(unsettled)])

    def visits(self, subjects: Subjects) -> Visits:
        """The stays of these, in order and each there once, who are all loaded."""
        return together([part.take(among(part.subject, subjects)) for part in self._parts])

    def scanned_at(self, subjects: Sequence[str]) -> dict[str, list[int]]:
        """When (Unix ms) each of them was scanned, in order, however far from the window. Raises `StoreDown`."""
        query = self._scans_of(subjects, until=AT_MS_MAX + 1)
        found: dict[str, list[int]] = {}
        for read in query.read(self._store, self._registry.device_id):
            names = pseudonyms_of(read.subjects)
            for who, at in zip(read.scans.subject.tolist(), read.scans.at.tolist(), strict=True):
                found.setdefault(names[who], []).append(at)
        return found

    def scans_without_place(self, subjects: Iterable[str]) -> int:
        """How many scans of these were left out because the registry has never heard of their place.

        Whoever is settled has none: where anybody has, nobody is.
        """
        return sum(self._unplaced.get(subject, 0) for subject in subjects)

    @property
    def takes_settled(self) -> bool:
        """Whether `around` reads settled stays, as it is now."""
        return self._usable_mark() is not None

    @property
    def device_id(self) -> Callable[[int], str]:
        """The id of a device by its number."""
        return self._registry.device_id

    def place_id(self, number: int) -> str:
        """The id of a place by its number; somebody was there."""
        if number not in self._ids:
            self._know(np.array([number], dtype=np.int64))
        return self._ids[number]

    def _on_stays(self, stays: int, expected: int) -> None:
        """So many settled stays are read at this depth, and so many are to be expected in all."""
        if stays > self.bounds.stays:
            raise ProblemError(TRACE_TOO_LARGE.problem(f"more than {self.bounds.stays:,} stays of others"))
        if expected > self.bounds.stays_expected:
            raise ProblemError(TRACE_TOO_LARGE.problem(f"some {expected:,} stays of others, by the first of them"))
        self._on_read(len(self.stays), len(self.stays))

    def _load(self, fresh: Sequence[str]) -> None:
        self._see_scans_of(fresh)
        scanned: set[str] = set()
        for read in self._scans_of(fresh, until=self._until).read(self._store, self._registry.device_id):
            names = pseudonyms_of(read.subjects)
            scanned.update(names[who] for who in distinct(read.scans.subject).tolist())
            self._walk(self.leaving.kept(read) if self.leaving is not None else read, names)
        self.stays.add_nobody(set(fresh) - self.stays.keys())
        self.without_scans.update(set(fresh) - scanned)

    def _walk(self, read: SubjectScans, names: Sequence[str]) -> None:
        self._know(read.scans.place)
        placed = self._table.rows(read.scans.place) != UNPLACED
        for who, count in zip(*np.unique(read.scans.subject[~placed], return_counts=True), strict=True):
            self._unplaced[names[who]] = int(count)
        scans = read.scans.take(placed)
        visits = at_moment(walked(walk_together(scans, self._table), scans, read.subjects), self._as_of)
        self._parts.append(visits)
        self.stays.add(visits)

    def _load_around(self, surroundings: Surroundings) -> Subjects:
        """Read whoever was scanned there; who that is."""
        people = self._scanned_in(surroundings)
        self.load(pseudonyms_of(people))
        return people

    def _walked_around(self, surroundings: Surroundings) -> Visits:
        """The stays of whoever was scanned there."""
        self._fold()
        return self.visits(self._load_around(surroundings))

    def _scanned_in(self, surroundings: Surroundings) -> Subjects:
        asked = SubjectsAround(surroundings=surroundings, as_of=self._as_of, kept_from=self._kept_from)
        return asked.read(self._store)

    def _scans_of(self, subjects: Sequence[str], *, until: int) -> ScansOf:
        return ScansOf(
            subjects=subjects,
            as_of=self._as_of,
            until=until,
            revocations=self._revocations,
            kept_from=self._kept_from,
        )

    def _surroundings(self, place: Ints, start: Ints, end: Ints) -> Surroundings:
        self._know(place)
        return Surroundings(place, self._table.dwell_of(place), start, end)

    def _usable_mark(self) -> SettledMark | None:
        """The mark of the settled stays, where they are those as of the moment asked about but for what is late."""
        mark = self._settled
        if mark is None or mark.unplaced or self._dwell_seconds or mark.kept_from != self._kept_from:
            return None
        if self.leaving is not None:
            return None
        if self._as_of < mark.received - LATE_MS_MAX or self._came_in_since(mark) > LATE_ROWS_MAX:
            return None
        after, upto = sorted((mark.received, self._as_of))
        return None if self._registry.stays_redecided(after, upto) else mark

    def _came_in_since(self, mark: SettledMark) -> int:
        """About how many scans the log took in between the mark and the moment asked about; 0 only where none."""
        if self._read_models is None or self._as_of < mark.received:
            return 1
        return self._read_models.rows - mark.rows

    def _late_since(self, mark: SettledMark) -> Late:
        """Whose scans came in between the mark and the moment asked about.

        With a tail it waits until they are all in the log, and raises `Outrun` where one was missed.
        """
        if self._lately is None:
            self._lately = self._tail.late() if self._tail is not None else self._read_late(mark)
            if self._on_their_way(self._lately, self._unproven):
                raise Outrun
            self._unproven.clear()
        return self._lately

    def _read_late(self, mark: SettledMark) -> Late:
        if self._as_of < mark.received:
            return late_by_name(self._store, self._as_of, mark.received)
        return self._late.between(mark.received, self._as_of) if self._came_in_since(mark) else NOBODY_LATE

    def _see_scans_of(self, fresh: Sequence[str]) -> None:
        """Have all scans of these in the read models before they are read; or see later whether they were."""
        if self._tail is None:
            return
        if self._lately is None:
            self._unproven.extend(fresh)
        elif self._on_their_way(self._lately, fresh):
            self._fold()

    def _on_their_way(self, late: Late, people: Sequence[str]) -> bool:
        """Whether scans of any of these came in that the read models did not have at first."""
        if self._tail is None or not people:
            return False
        return bool(late.who_since(self._tail.read_models.received, subjects_of(people)).any())

    def _fold(self) -> None:
        """Have everything received by the moment asked about in the read models."""
        if self._tail is None:
            return
        self._tail.fold()
        if self._unproven:
            raise Outrun
        self._tail = None

    def _know(self, numbers: Ints) -> None:
        """Get to know the places of these numbers, and those around them, if anybody ever registered them."""
        missing = set(distinct(numbers[self._table.rows(numbers) == UNPLACED]).tolist())
        if missing:
            self._learn(self._registry.places_around(self._as_of, missing))

    def _know_ids(self, ids: Set[str]) -> None:
        """The same by id."""
        missing = ids - self._numbers.keys()
        if missing:
            registered = self._registry.places_as_of(self._as_of).by_id
            self._know(np.array([registered[place_id].number for place_id in missing], dtype=np.int64))

    def _learn(self, places: PlaceTree) -> None:
        asked = places.with_dwell(self._dwell_seconds) if self._dwell_seconds else places
        self._table.add(asked)
        self._ids.update((place.number, place.id) for place in asked.by_id.values())
        self._numbers.update((place.id, place.number) for place in asked.by_id.values())


class _StaysBySubject(Mapping[str, list[Stay]]):
    """The stays of everybody who was read, by start, end and place; made structs of when somebody looks at them."""

    def __init__(self, place_id: Callable[[int], str], device_id: Callable[[int], str]) -> None:
        self._place_id: Final = place_id
        self._device_id: Final = device_id
        self._rows: Final[dict[str, tuple[Visits, int, int]]] = {}
        self._seen: Final[dict[str, list[Stay]]] = {}

    def add(self, visits: Visits) -> None:
        """More of them, those of a subject together."""
        if not len(visits.start):
            return
        begins = np.flatnonzero(np.append(True, visits.subject[1:] != visits.subject[:-1]))
        names, ends = pseudonyms_of(visits.subject[begins]), np.append(begins[1:], len(visits.start))
        for name, begin, end in zip(names, begins.tolist(), ends.tolist(), strict=True):
            self._rows[name] = visits, begin, end

    def add_nobody(self, subjects: Iterable[str]) -> None:
        """Of these there are no stays."""
        self._rows.update((subject, (NONE, 0, 0)) for subject in subjects)

    def __getitem__(self, subject: str) -> list[Stay]:
        """Their stays. `KeyError` where they were not read."""
        stays = self._seen.get(subject)
        if stays is None:
            visits, begin, end = self._rows[subject]
            stays = sorted(stays_of(visits, np.arange(begin, end), self._place_id, self._device_id), key=_stay_order)
            self._seen[subject] = stays
        return stays

    def __contains__(self, subject: object) -> bool:
        return subject in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _stay_order(stay: Stay) -> tuple[int, int, str]:
    return stay.start, stay.end, stay.place
