"""How many people were scanned where: what a coincidence is judged by. One typed query per question.

All count people by the scans `received ≤ as_of` alone, without a walk of their stays, and quarantined scans too:
a number of people is a yardstick here, and evidence of nothing. All raise `StoreDown`.
"""

from collections.abc import Iterable, Sequence
from string import Template
from typing import ClassVar, Final, NamedTuple

import msgspec

from projections.place_hours import HOUR_MS, PLACE_SHIFT
from storage.clickhouse import Store

RUNS_A_PARAMETER: Final = 4_000
"""How many runs of hours one parameter names; a server takes none above 128 KiB."""
NEAR: Final = """place_hour IN (SELECT place_hour FROM ($runs))
  AND at >= fromUnixTimestamp64Milli({kept_from:Int64}, 'UTC')
  AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"""
"""Which scans; the sub-select makes a set that the first key column is searched by."""
GROUPED: Final = """INNER JOIN (
    SELECT place_hour, groupUniqArray(run.4) AS groups FROM ($runs) GROUP BY place_hour
) AS around USING (place_hour)"""
"""With the groups whose hours each scan is in."""
GROUPS_A_QUERY: Final = 200


class Hours(msgspec.Struct, frozen=True, order=True):
    """A place, by its number, in the hours `[first, end)` since the epoch."""

    place: int
    first: int
    end: int


def hours_of(place: int, start: int, end: int) -> Hours:
    """The place in all hours that `[start, end)` (Unix ms) touches."""
    return Hours(place, max(start, 0) // HOUR_MS, -(-end // HOUR_MS))


def joined(hours: Iterable[Hours]) -> list[Hours]:
    """The same without overlaps: runs of one place that overlap or touch become one."""
    found: list[Hours] = []
    for each in sorted(hours):
        last = found[-1] if found else None
        if last is not None and last.place == each.place and each.first <= last.end:
            found[-1] = Hours(each.place, last.first, max(last.end, each.end))
        else:
            found.append(each)
    return found


class PeopleScanned(msgspec.Struct, frozen=True, kw_only=True):
    """How many people were scanned in the hours of each of these groups, at `kept_from` or later? Times in Unix ms."""

    groups: Sequence[Sequence[Hours]]
    as_of: int
    kept_from: int = 0

    SQL: ClassVar[str] = f"""
SELECT group, uniqExact(subject)
FROM scans_by_place_hour
{GROUPED}
ARRAY JOIN groups AS group
WHERE {NEAR}
GROUP BY group"""

    def read(self, store: Store) -> list[int]:
        """The number of people for each group, in order."""
        counts = [0] * len(self.groups)
        for start in range(0, len(self.groups), GROUPS_A_QUERY):
            marked = _marked(self.groups[start : start + GROUPS_A_QUERY])
            if not marked:
                continue
            runs, parameters = _named(marked)
            parameters |= {"as_of": self.as_of, "kept_from": self.kept_from}
            for group, people in store.rows(Template(self.SQL).substitute(runs=runs), parameters):
                counts[start + int(group)] = int(people)
        return counts


class ScannedAround(NamedTuple):
    """Somebody (32 hex digits) who was scanned around so many of the groups."""

    subject: str
    groups: int


class PeopleAround(msgspec.Struct, frozen=True, kw_only=True):
    """Who was scanned in the hours of at least `least` of these groups, at `kept_from` or later? Times in Unix ms."""

    groups: Sequence[Sequence[Hours]]
    least: int
    limit: int
    as_of: int
    kept_from: int = 0

    SQL: ClassVar[str] = f"""
SELECT lower(hex(subject)), toUInt32(length(groupUniqArrayArray(groups))) AS met, count() OVER ()
FROM scans_by_place_hour
{GROUPED}
WHERE {NEAR}
GROUP BY subject
HAVING met >= {{least:UInt32}}
ORDER BY met DESC, subject
LIMIT {{limit:UInt32}}"""

    def read(self, store: Store) -> tuple[list[ScannedAround], int]:
        """Up to `limit` of them, those around most groups first, and how many there are in all."""
        marked = _marked(self.groups)
        if not marked:
            return [], 0
        runs, parameters = _named(marked)
        parameters |= {"as_of": self.as_of, "kept_from": self.kept_from, "least": self.least, "limit": self.limit}
        rows = store.rows(Template(self.SQL).substitute(runs=runs), parameters)
        return [ScannedAround(subject, met) for subject, met, _ in rows], int(rows[0][2]) if rows else 0


def _marked(groups: Iterable[Iterable[Hours]]) -> list[tuple[int, Hours]]:
    """Every run of hours with the number of its group."""
    return [(group, each) for group, hours in enumerate(groups) for each in joined(hours)]


def _named(marked: Sequence[tuple[int, Hours]]) -> tuple[str, dict[str, object]]:
    """A sub-select of the runs' hours, each with its run (place, first, end, mark), and the parameters it names."""
    parameters: dict[str, object] = {}
    columns: list[str] = []
    for name, values in (
        ("place", [each.place for _, each in marked]),
        ("first", [each.first for _, each in marked]),
        ("end", [each.end for _, each in marked]),
        ("mark", [mark for mark, _ in marked]),
    ):
        pieces = [values[start : start + RUNS_A_PARAMETER] for start in range(0, len(values), RUNS_A_PARAMETER)]
        parameters |= {f"{name}_{number}": piece for number, piece in enumerate(pieces)}
        columns.append(
            f"arrayConcat({', '.join(f'{{{name}_{number}:Array(UInt64)}}' for number in range(len(pieces)))})"
        )
    place = 1 << PLACE_SHIFT
    return (
        f"SELECT arrayJoin(range(run.1 * {place} + run.2, run.1 * {place} + run.3)) AS place_hour, run"
        f" FROM (SELECT arrayJoin(arrayZip({', '.join(columns)})) AS run)",
        parameters,
    )


class Population(msgspec.Struct, frozen=True, kw_only=True):
    """How many people were scanned anywhere in `[from, to)`, at `kept_from` or later? All in Unix ms.

    Pseudonyms are keyed hashes, spread evenly: where the first 1/256 of them holds enough people, or the first 1/16,
    those are counted and multiplied. So it costs no reading of the whole table, and is the same whenever it is asked.
    """

    from_: int
    to: int
    as_of: int
    kept_from: int = 0

    ENOUGH: ClassVar[int] = 2_000
    PARTS: ClassVar[tuple[tuple[str, int], ...]] = (("01", 256), ("10", 16))
    """Below these first bytes (hex) lies one part in so many."""
    SQL: ClassVar[str] = """
SELECT uniqExact(subject)
FROM scans_by_subject
WHERE at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND at < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
  AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"""
    PART_SQL: ClassVar[str] = SQL + " AND subject < toFixedString(unhex({below:String}), 16)"

    def count(self, store: Store) -> int:
        """People; exact below some thousands."""
        parameters = {"from": max(self.from_, self.kept_from), "to": self.to, "as_of": self.as_of}
        for below, parts in self.PARTS:
            found = int(store.rows(self.PART_SQL, parameters | {"below": below})[0][0])
            if found >= self.ENOUGH:
                return found * parts
        return int(store.rows(self.SQL, parameters)[0][0])
