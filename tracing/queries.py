"""What a trace asks of the read models: one typed query per question.

Rows are read without FINAL, which is slow; the same scan may come twice, and readers drop equal rows. Lists travel as
parameters in pieces, because a server takes no value above 128 KiB (`http_max_field_value_size`). Both queries raise
`StoreDown`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from string import Template
from typing import ClassVar, Final, TypeVar

import msgspec

from storage.clickhouse import Store

SUBJECTS_A_QUERY: Final = 2_000
PLACE_HOURS_A_QUERY: Final = 4_000
REVOCATIONS_A_PARAMETER: Final = 4_000
HOUR_MS: Final = 3_600_000
NEVER_MS: Final = 2**62

T = TypeVar("T")


RawSighting = tuple[int, bool, int, int, int]
"""A scan as the read models keep it: at (Unix ms), whether it is `in` or `pass`, device number, seq, place number."""


class SightingsOf(msgspec.Struct, frozen=True, kw_only=True):
    """Where were these subjects, by every scan `received ≤ as_of` that happened before `until`?

    Subjects are 32 hex digits, times Unix ms. `revocations`: (device number, key) → from when (ms of the log's clock)
    what came in under the key is quarantined and left out.
    """

    subjects: Sequence[str]
    as_of: int
    until: int
    revocations: Mapping[tuple[int, int], int]

    # The sub-select makes a set that the first key column is searched by; a computed array would be scanned for.
    SQL: ClassVar[str] = """
SELECT lower(hex(subject)), groupArray((toUnixTimestamp64Milli(at), (kind != 'out')::Bool, device, seq, place))
FROM scans_by_subject
WHERE subject IN (SELECT toFixedString(unhex(arrayJoin({subjects:Array(String)})), 16))
  AND at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
  AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
  AND toUnixTimestamp64Milli(received) < transform(
    toUInt64(device) * 65536 + key, arrayConcat($revoked), arrayConcat($from), {never:Int64})
GROUP BY subject"""

    def read(self, store: Store) -> dict[str, list[RawSighting]]:
        """The scans of each subject who has any, in no order."""
        found: dict[str, list[RawSighting]] = {}
        revoked = list(_pieces(self.revocations.items(), REVOCATIONS_A_PARAMETER)) or [[]]
        sql = Template(self.SQL).substitute(
            {
                "revoked": ", ".join(f"{{revoked_{number}:Array(UInt64)}}" for number in range(len(revoked))),
                "from": ", ".join(f"{{from_{number}:Array(Int64)}}" for number in range(len(revoked))),
            }
        )
        parameters: dict[str, object] = {"until": self.until, "as_of": self.as_of, "never": NEVER_MS}
        for number, piece in enumerate(revoked):
            parameters[f"revoked_{number}"] = [(device << 16) + key for (device, key), _ in piece]
            parameters[f"from_{number}"] = [revoked_from for _, revoked_from in piece]
        for subjects in _pieces(self.subjects, SUBJECTS_A_QUERY):
            for subject, sightings in store.rows(sql, parameters | {"subjects": subjects}):
                found[subject] = sightings
        return found


class Spans(msgspec.Struct):
    """When scans at a place in an hour matter: entries in `[entered_from, entered_to)`, exits likewise (Unix ms)."""

    entered_from: int
    entered_to: int
    left_from: int
    left_to: int


class Surroundings:
    """The places and hours at which somebody may have met the index subjects."""

    def __init__(self) -> None:
        self.spans: Final[dict[int, Spans]] = {}
        """By place-hour: the place's number above, the hour since the epoch below 32 bits."""

    def add(self, place: int, dwell_ms: int, start: int, end: int) -> None:
        """Somebody was at the place, or left their air there, during `[start, end)` (ms).

        Who was there with them was scanned in at most a dwell before they came and before the end, or, where the
        entry was missed, scanned out after they came and at most a dwell after the end.
        """
        spans = Spans(start - dwell_ms, end, start, end + dwell_ms)
        # No scan happened before the epoch; a negative hour would be one of the place before.
        for hour in range(max(start - dwell_ms, 0) // HOUR_MS, (end + dwell_ms - 1) // HOUR_MS + 1):
            known = self.spans.setdefault((place << 32) + hour, spans)
            if known is not spans:
                self.spans[(place << 32) + hour] = Spans(
                    min(known.entered_from, spans.entered_from),
                    max(known.entered_to, spans.entered_to),
                    min(known.left_from, spans.left_from),
                    max(known.left_to, spans.left_to),
                )


class SubjectsAround(msgspec.Struct, frozen=True, kw_only=True):
    """Who was scanned in these surroundings, by scans `received ≤ as_of` (Unix ms)?

    A superset of whoever was met: the walk of their stays decides, and so does quarantine.
    """

    surroundings: Surroundings
    as_of: int

    SQL: ClassVar[str] = """
SELECT place_hour, toUnixTimestamp64Milli(at), (kind != 'out')::Bool, lower(hex(subject))
FROM scans_by_place_hour
WHERE place_hour IN {place_hours:Array(UInt64)}
  AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"""

    def read(self, store: Store) -> set[str]:
        """The subjects, 32 hex digits each."""
        spans = self.surroundings.spans
        found: set[str] = set()
        for place_hours in _pieces(sorted(spans), PLACE_HOURS_A_QUERY):
            parameters = {"place_hours": place_hours, "as_of": self.as_of}
            for place_hour, at, enters, subject in store.rows(self.SQL, parameters):
                span = spans[place_hour]
                if span.entered_from <= at < span.entered_to if enters else span.left_from <= at < span.left_to:
                    found.add(subject)
        return found


def _pieces(items: Iterable[T], length: int) -> Iterator[list[T]]:
    """The items in lists of at most `length`; `itertools.batched` comes with Python 3.12."""
    iterator = iter(items)
    while piece := list(islice(iterator, length)):
        yield piece
