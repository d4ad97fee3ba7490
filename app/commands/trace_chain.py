"""What the table of `truyvet trace` shows of a chain: through whom each contact was reached."""

from collections.abc import Mapping
from typing import Final

from app.terminal import short
from tracing.answer import Answer, AnsweredContact

COLUMN: Final = "through"
NAMED: Final = 2
"""Of more people, those who may have infected the contact first stand there, and how many more there are."""


def has_chain(answer: Answer) -> bool:
    """Whether anybody was reached through a contact, as far as the answer says through whom."""
    return any(contact.depth > 1 and contact.via for contact in answer.contacts)


def cases_of(answer: Answer) -> dict[str, str]:
    """The index subjects' cases, by subject; those that no case names are left out."""
    return {each.subject: ", ".join(each.cases) for each in answer.index if each.cases}


def through(contact: AnsweredContact, cases: Mapping[str, str]) -> str:
    """The contact's `via`, whose exposure began earliest first: cases by their ids, others by pseudonym, shortened."""
    edges = sorted(contact.via, key=lambda edge: (edge.first, edge.subject))
    names = [cases.get(edge.subject) or short(edge.subject) for edge in edges]
    more = [f"and {len(names) - NAMED:,} more"] if len(names) > NAMED else []
    return " ".join([", ".join(names[:NAMED]), *more])
