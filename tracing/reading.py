"""What one trace has read: the stays of everybody it came upon, all as of one moment."""

from collections.abc import Iterable, Sequence
from typing import Final

from events.problems import QUESTION_INVALID, ProblemError
from storage.clickhouse import Store
from tracing.overlap import Presence
from tracing.queries import RawSighting, SightingsOf, SubjectsAround, Surroundings
from tracing.registry import Registry
from tracing.stays import STAY_MS_MAX, Sighting, Stay, walk

SUBJECTS_READ_MAX: Final = 100_000


class Reading:
    """Stays as of one moment, each subject's walked once however often they are come upon. Not thread-safe."""

    def __init__(self, store: Store, registry: Registry, *, as_of: int, until: int) -> None:
        """`as_of`: what was received later does not exist. `until`: stays that begin later are not needed (Unix ms)."""
        self.stays: Final[dict[str, list[Stay]]] = {}
        self.without_scans: Final[set[str]] = set()
        self.scans_without_place = 0
        """Scans at a place that the registry has never heard of: left out, and said so in the answer."""
        self._store: Final = store
        self._registry: Final = registry
        self._as_of: Final = as_of
        # A stay is decided by the scans of the day that it may last at most.
        self._until: Final = until + STAY_MS_MAX
        self._revocations: Final = registry.revocations_as_of(as_of)
        self._places = registry.places_as_of(as_of)
        self._places_named: Final[set[int]] = set()

    def load(self, subjects: Iterable[str]) -> None:
        """Read and walk the scans of those who are not read yet.

        Raises `StoreDown`, and QUESTION_INVALID as `ProblemError` where they become too many.
        """
        fresh = sorted(set(subjects) - self.stays.keys())
        if len(self.stays) + len(fresh) > SUBJECTS_READ_MAX:
            detail = f"more than {SUBJECTS_READ_MAX} people would have to be looked at; narrow the window or the depth"
            raise ProblemError(QUESTION_INVALID.problem(detail))
        query = SightingsOf(subjects=fresh, as_of=self._as_of, until=self._until, revocations=self._revocations)
        found = query.read(self._store)
        self._know_places(found.values())
        for subject in fresh:
            self.stays[subject] = walk(self._counted(found.get(subject, [])), self._places, self._as_of)
        self.without_scans.update(set(fresh) - found.keys())

    def load_around(self, presences: Iterable[Presence], lag_ms: int) -> None:
        """Read everybody who may have been where these index subjects were, or had just been."""
        surroundings = Surroundings()
        for presence in presences:
            place = self._places.by_id[presence.stay.place]
            surroundings.add(place.number, place.dwell_ms, presence.start, presence.end + lag_ms)
        self.load(SubjectsAround(surroundings=surroundings, as_of=self._as_of).read(self._store))

    def _know_places(self, found: Iterable[Iterable[RawSighting]]) -> None:
        self._places_named.update(sighting[4] for sightings in found for sighting in sightings)
        self._places = self._registry.places_as_of(self._as_of, self._places_named)

    def _counted(self, raw: Sequence[RawSighting]) -> list[Sighting]:
        """The scans by ids instead of numbers."""
        places, device_id = self._places.by_number, self._registry.device_id
        sightings = [
            Sighting(at, enters, device_id(device), seq, places[place].id)
            for at, enters, device, seq, place in raw
            if place in places
        ]
        if len(sightings) < len(raw):
            # Equal rows count once, or the answer would tell whether parts were merged yet.
            self.scans_without_place += len({each for each in raw if each[4] not in places})
        return sightings
