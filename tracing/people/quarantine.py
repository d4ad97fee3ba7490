"""Who is what at a moment, over everybody: lists a page at a time, and counts.

States are folded from events when they are asked for, in order of the pseudonyms, so that a page needs only its own
subjects. Confirmed cases count as declared F0: nobody has to say it twice.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec

from events.cases import Case
from events.people import State, StateChange
from tracing.people.states import PeopleStates, Standing, confirmed, standing_at

SUBJECTS_A_FOLD: Final = 2_000


class Standings(msgspec.Struct, frozen=True, kw_only=True):
    """Which people a list is about, at `at` (Unix ms): in one of `states`, and with `due_before` those whose end
    is due before it.
    """

    at: int
    states: Collection[State]
    due_before: int | None = None

    def hold(self, standing: Standing | None) -> bool:
        """Whether somebody of this standing belongs to the list."""
        if standing is None or standing.state not in self.states:
            return False
        return self.due_before is None or (standing.until is not None and standing.until < self.due_before)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody on a list. `overdue`: the end that was set has passed, and nobody has said what follows."""

    subject: str
    standing: Standing
    overdue: bool


def listed(
    states: PeopleStates, cases: Iterable[Case], wanted: Standings, *, after: str, limit: int
) -> tuple[list[Listed], str | None]:
    """Up to `limit` people behind the pseudonym `after`, and behind whom the next page begins; None on the last.

    Raises `StoreDown`.
    """
    found: list[Listed] = []
    for subject, standing in _standings(states, cases, wanted.at, after):
        if standing is not None and wanted.hold(standing):
            if len(found) == limit:
                return found, found[-1].subject
            overdue = standing.until is not None and standing.until <= wanted.at
            found.append(Listed(subject=subject, standing=standing, overdue=overdue))
    return found, None


def counted(states: PeopleStates, cases: Iterable[Case], at: int) -> dict[State, int]:
    """How many people are in each state at a moment (Unix ms). Raises `StoreDown`."""
    standings = (standing for _, standing in _standings(states, cases, at, ""))
    counts = Counter(standing.state for standing in standings if standing is not None)
    return {state: counts[state] for state in State}


def _standings(
    states: PeopleStates, cases: Iterable[Case], at: int, after: str
) -> Iterator[tuple[str, Standing | None]]:
    """Everybody of whom anything was declared, in order of their pseudonyms."""
    by_case: dict[str, list[StateChange]] = {}
    for case in cases:
        by_case.setdefault(case.subject, []).append(confirmed(case))
    waiting = sorted(subject for subject in by_case if subject > after)
    while True:
        declared = states.after(after, SUBJECTS_A_FOLD)
        last = max(declared) if len(declared) == SUBJECTS_A_FOLD else None
        due = [subject for subject in waiting if last is None or subject <= last]
        waiting = waiting[len(due) :]
        for subject in sorted({*declared, *due}):
            yield subject, standing_at([*declared.get(subject, ()), *by_case.get(subject, ())], at)
        if last is None:
            return
        after = last
