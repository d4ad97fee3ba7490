"""The answer of the service held against the truth of the world that it was asked about."""

from collections.abc import Sequence
from typing import Final

import msgspec

from app.simulate.perform import Province
from app.simulate.plan import DAY_MS
from app.simulate.truth import Expected, Span, Stayed, contacts, stays
from app.simulate.wire import grounds, seen
from tracing.answer import AnsweredContact

INFECTIOUS_DAYS: Final = 7
CANDIDATES: Final = 24
DIFFERENCES_KEPT: Final = 10


class Agreement(msgspec.Struct, frozen=True):
    """`equal` of `expected` contacts are in the answer with the same milliseconds at the same places and times.

    `differences` names those that are not (pseudonyms shortened), missing and surplus contacts among them.
    """

    equal: int
    expected: int
    differences: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether the answer is the truth and nothing else."""
        return not self.differences


def true_stays(province: Province, as_of: int) -> list[Stayed]:
    """Everybody's stays, from the scans that were made, as of a moment after the last of them was received."""
    return stays(seen(province.world, province.wallet), grounds(province.world), as_of)


def infectious(province: Province) -> Span:
    """The window of the case: the last days of the world, Unix ms."""
    plan = province.world.plan
    return max(plan.midnights[0], plan.end - INFECTIOUS_DAYS * DAY_MS), plan.end


def choose_case(province: Province, everybody: list[Stayed]) -> int:
    """The number of the person with the most contacts among some that are spread over all households."""
    people = province.world.people
    candidates = people[:: max(1, len(people) // CANDIDATES)]
    window = infectious(province)

    def met(number: int) -> int:
        return len(contacts(everybody, province.wallet.pseudonym(number), window))

    return max((person.number for person in candidates), key=lambda number: (met(number), -number))


def agreement(expected: list[Expected], answered: Sequence[AnsweredContact]) -> Agreement:
    """Compare to the millisecond: durations, and every encounter's place, start and end."""
    wanted = {contact.subject: _essence_expected(contact) for contact in expected}
    named = {contact.subject: _essence_answered(contact) for contact in answered}
    differences = [
        f"{subject[:8]}…: expected {_said(wanted.get(subject))}, answered {_said(named.get(subject))}"
        for subject in sorted(wanted.keys() | named.keys())
        if wanted.get(subject) != named.get(subject)
    ]
    if not differences and [one.subject for one in expected] != [one.subject for one in answered]:
        differences.append("the contacts are in another order")
    equal = sum(named.get(subject) == essence for subject, essence in wanted.items())
    return Agreement(equal, len(expected), tuple(differences[:DIFFERENCES_KEPT]))


Essence = tuple[int, tuple[tuple[int, int, str], ...]]
"""Milliseconds together; start, end and place of each encounter."""


def _essence_expected(contact: Expected) -> Essence:
    return contact.ms, tuple(sorted((met.start, met.end, met.place) for met in contact.encounters))


def _essence_answered(contact: AnsweredContact) -> Essence:
    return contact.ms, tuple(sorted((met.start, met.end, met.place) for met in contact.encounters))


def _said(essence: Essence | None) -> str:
    return "nothing" if essence is None else f"{essence[0]:,} ms in {len(essence[1])} encounters"
