"""The state of people: declared as events, folded into what somebody is at a moment.

The fold, in order of `at`; what is not named changes nothing:

| declared | holds where the person was … |
| --- | --- |
| f0 | anything |
| recovered | f0 |
| f1 | nothing yet, f2, recovered or released |
| f2 | nothing yet, recovered or released |
| released | f1 or f2 |

So a contact who falls ill is an F0 until recovered, whatever lists still name them, and an F1 is not lowered to F2.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final

import msgspec

from events.cases import Case
from events.people import Source, SourceKind, State, StateChange
from storage.clickhouse import Row, Store
from tracing.times import datetime_of

FROM: Final[Mapping[State, Set[State | None]]] = {
    State.F0: frozenset({None, *State}),
    State.RECOVERED: frozenset({State.F0}),
    State.F1: frozenset({None, State.F1, State.F2, State.RECOVERED, State.RELEASED}),
    State.F2: frozenset({None, State.F2, State.RECOVERED, State.RELEASED}),
    State.RELEASED: frozenset({State.F1, State.F2}),
}
"""Which state may follow which; a state declared again while it holds can move the end of the quarantine."""

CONFINED: Final = frozenset({State.F0, State.F1, State.F2})
"""Who stays away from others."""

COLUMNS: Final = ("subject", "at", "state", "source_kind", "source", "until", "recorded", "actor")
SUBJECTS_A_READ: Final = 2_000


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is: since when (Unix ms), until when at most, and by which source."""

    state: State
    since: int
    until: int | None
    source: Source


def standing_at(changes: Iterable[StateChange], at: int) -> Standing | None:
    """What the changes of one subject, in any order, make of them at a moment (Unix ms); None: nothing was declared."""
    standing: Standing | None = None
    for change in sorted((change for change in changes if change.at <= at), key=_order):
        now = standing.state if standing else None
        if now not in FROM[change.state]:
            continue
        again = standing is not None and change.state is now
        standing = Standing(
            state=change.state,
            since=standing.since if standing is not None and again else change.at,
            until=change.until,
            source=change.source,
        )
    return standing


def confirmed(case: Case) -> StateChange:
    """What a confirmed case says of its subject."""
    return StateChange(
        subject=case.subject, state=State.F0, at=case.confirmed_at, source=Source(kind=SourceKind.CASE, id=case.id)
    )


class PeopleStates:
    """The table `people_states`: record and read. Every method raises `StoreDown`."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    def record(self, changes: Sequence[StateChange], *, recorded: int, actor: str) -> None:
        """Make changes durable; `recorded` in Unix ms. One that is known already replaces itself."""
        if changes:
            self._store.insert("people_states", COLUMNS, [_row(change, recorded, actor) for change in changes])

    def of(self, subjects: Sequence[str]) -> dict[str, list[StateChange]]:
        """The changes of each of the subjects who has any."""
        found: dict[str, list[StateChange]] = {}
        for first in range(0, len(subjects), SUBJECTS_A_READ):
            rows = self._store.rows(
                f"SELECT {_READ} FROM people_states FINAL"
                " WHERE subject IN (SELECT toFixedString(unhex(arrayJoin({subjects:Array(String)})), 16))",
                {"subjects": list(subjects[first : first + SUBJECTS_A_READ])},
            )
            _collect(rows, found)
        return found

    def after(self, subject: str, count: int) -> dict[str, list[StateChange]]:
        """The changes of the next `count` subjects behind `subject` ('': from the first), in pseudonyms' order."""
        rows = self._store.rows(
            f"SELECT {_READ} FROM people_states FINAL WHERE subject IN ("
            " SELECT DISTINCT subject FROM people_states WHERE hex(subject) > upper({after:String})"
            " ORDER BY subject LIMIT {count:UInt32})",
            {"after": subject, "count": count},
        )
        return _collect(rows, {})


_READ: Final = (
    "lower(hex(subject)), toString(state), toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(until),"
    " toString(source_kind), source"
)


def _collect(rows: Iterable[Row], found: dict[str, list[StateChange]]) -> dict[str, list[StateChange]]:
    for subject, state, at, until, kind, source in rows:
        change = StateChange(
            subject=subject,
            state=State(state),
            at=at,
            until=until,
            source=Source(kind=SourceKind(kind), id=source),
        )
        found.setdefault(subject, []).append(change)
    return found


def _row(change: StateChange, recorded: int, actor: str) -> tuple[object, ...]:
    return (
        bytes.fromhex(change.subject),
        datetime_of(change.at),
        change.state.value,
        change.source.kind.value,
        change.source.id,
        datetime_of(change.until) if change.until is not None else None,
        datetime_of(recorded),
        actor,
    )


def _order(change: StateChange) -> tuple[int, int, int, str]:
    """By time; at the same time the graver state last, so that it holds."""
    return change.at, _GRAVITY[change.state], change.until or 0, change.source.id


_GRAVITY: Final[Mapping[State, int]] = {
    State.RELEASED: 0,
    State.RECOVERED: 1,
    State.F2: 2,
    State.F1: 3,
    State.F0: 4,
}
