"""What the log knows of people beyond an answer: every scan that either of two moments counts, and its stays."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import ClassVar, Final

import msgspec

from events.places import PlaceTree
from projections.stays import STAY_MS_MAX, ScanId, Stay
from storage.clickhouse import Store
from tracing.answer import Tracer
from tracing.difference import KnownScan, Recall, Recalled
from tracing.queries import NEVER_MS
from tracing.question import ResolvedQuestion
from tracing.registry import Registry

SUBJECTS_A_QUERY: Final = 2_000


class ReceivedScans(msgspec.Struct, frozen=True, kw_only=True):
    """Every scan of these subjects that the log took in by `received_by` and that happened in `[kept_from, until)`
    (Unix ms), with when it was taken in and under which key: quarantined ones too. Raises `StoreDown`.
    """

    subjects: Sequence[str]
    received_by: int
    until: int
    kept_from: int = 0

    SQL: ClassVar[str] = """
SELECT lower(hex(subject)),
  groupArray((toUnixTimestamp64Milli(at), device, seq, key, toUnixTimestamp64Milli(received)))
FROM scans_by_subject
WHERE subject IN (SELECT toFixedString(unhex(arrayJoin({subjects:Array(String)})), 16))
  AND at >= fromUnixTimestamp64Milli({kept_from:Int64}, 'UTC') AND at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
  AND received <= fromUnixTimestamp64Milli({received_by:Int64}, 'UTC')
GROUP BY subject"""

    def read(self, store: Store) -> dict[str, set["_Row"]]:
        """The scans of each subject who has any; the same scan may lie there twice, and is one here."""
        found: dict[str, set[_Row]] = {}
        for begin in range(0, len(self.subjects), SUBJECTS_A_QUERY):
            subjects = self.subjects[begin : begin + SUBJECTS_A_QUERY]
            parameters = {
                "subjects": subjects,
                "kept_from": self.kept_from,
                "until": self.until,
                "received_by": self.received_by,
            }
            found.update((subject, set(rows)) for subject, rows in store.rows(self.SQL, parameters))
        return found


_Row = tuple[int, int, int, int, int]
"""At, device number, seq, key, received."""


class _Moment:
    """What counts at one side of a comparison, and the stays that its question finds."""

    def __init__(self, tracer: Tracer, registry: Registry, question: ResolvedQuestion) -> None:
        self.as_of: Final = question.as_of
        self._reading: Final = tracer.reading(question)
        self._revocations: Final = registry.revocations_as_of(question.as_of)

    def counts(self, row: _Row) -> bool:
        """Whether the scan was known and not quarantined."""
        device, key, received = row[1], row[3], row[4]
        return received <= self.as_of and received < self._revocations.get((device, key), NEVER_MS)

    def stays(self, subjects: Set[str]) -> Mapping[str, Sequence[Stay]]:
        """The stays of these, and of whom was asked before."""
        self._reading.load(subjects)
        return self._reading.stays


def recall_of(
    store: Store,
    registry: Registry,
    tracer: Tracer,
    before: ResolvedQuestion,
    after: ResolvedQuestion,
    *,
    supposed: tuple[Registry, Tracer] | None = None,
) -> Recall:
    """What is known of people and places for the two sides of a comparison; reads nothing yet.

    `supposed`: the registry that the `after` side was asked with, and who answered, where they are others.
    """
    until = max(each.to + question.lag_ms for question in (before, after) for each in question.index) + STAY_MS_MAX
    received_by = max(before.as_of, after.as_of)
    other_registry, other_tracer = supposed or (registry, tracer)
    was, now = _Moment(tracer, registry, before), _Moment(other_tracer, other_registry, after)

    def subjects(names: Set[str]) -> Mapping[str, Recalled]:
        query = ReceivedScans(
            subjects=sorted(names), received_by=received_by, until=until, kept_from=registry.kept.kept_from
        )
        found = query.read(store)
        stays_was, stays_now = was.stays(names), now.stays(names)
        return {
            name: Recalled(
                scans=_scans(found.get(name, ()), registry, was, now), before=stays_was[name], after=stays_now[name]
            )
            for name in names
        }

    def places(ids: Set[str]) -> Set[str]:
        tree_was, tree_now = registry.places_as_of(before.as_of), registry.places_as_of(after.as_of)
        return {place for place in ids if _differs(place, tree_was, tree_now)}

    return Recall(subjects, places)


def _scans(rows: Iterable[_Row], registry: Registry, was: _Moment, now: _Moment) -> dict[ScanId, KnownScan]:
    return {
        (registry.device_id(row[1]), row[2]): KnownScan(row[0], row[4], was.counts(row), now.counts(row))
        for row in rows
    }


def _differs(place: str, was: PlaceTree, now: PlaceTree) -> bool:
    if place not in was.by_id or place not in now.by_id:
        return place in was.by_id or place in now.by_id
    return was.by_id[place].dwell_ms != now.by_id[place].dwell_ms or was.ancestors(place) != now.ancestors(place)
