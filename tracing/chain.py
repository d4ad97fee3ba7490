"""Who was with whom was with whom: contacts by depth, forward in time. Pure over a function that finds contacts."""

from collections.abc import Callable, Iterable, Sequence, Set

import msgspec

from tracing.overlap import Contact, Encounter, contact_order, united


class Source(msgspec.Struct, frozen=True):
    """A subject who may have infected others during `[from_ms, to_ms)`, Unix ms."""

    subject: str
    from_ms: int
    to_ms: int


class Edge(msgspec.Struct, frozen=True):
    """The source who leads to a contact, and when (Unix ms) their first exposure began."""

    subject: str
    first: int


class Link(msgspec.Struct, frozen=True):
    """A contact at its smallest depth, with every edge that leads to it from the depth before, by subject."""

    depth: int
    contact: Contact
    via: tuple[Edge, ...]


ContactsOf = Callable[[Sequence[Sequence[Source]], Set[str]], Sequence[Sequence[Contact]]]
"""For each group of sources its contacts, the sources of a group taken together, leaving out the given subjects.

All groups of one depth are asked for at once, so that whoever reads the scans can read them at once.
"""


def chain(index: Sequence[Source], depth: int, latency_ms: int, contacts_of: ContactsOf) -> list[Link]:
    """The contacts of the index subjects down to `depth`, by depth, then longest first, then by subject."""
    known = {source.subject for source in index}
    to_ms = max(source.to_ms for source in index)
    groups: list[list[Source]] = [list(index)]
    links: list[Link] = []
    for level in range(1, depth + 1):
        reached = _merged(contacts_of(groups, known))
        links += [Link(level, contact, _edges(contact.encounters)) for contact in reached]
        known |= {contact.subject for contact in reached}
        groups = [[Source(contact.subject, contact.first + latency_ms, to_ms)] for contact in reached]
    return links


def _merged(found: Iterable[Iterable[Contact]]) -> list[Contact]:
    """One contact a subject, whichever groups lead to it."""
    encounters: dict[str, list[Encounter]] = {}
    for contacts in found:
        for contact in contacts:
            encounters.setdefault(contact.subject, []).extend(contact.encounters)
    return sorted((united(subject, met) for subject, met in encounters.items()), key=contact_order)


def _edges(encounters: Iterable[Encounter]) -> tuple[Edge, ...]:
    first: dict[str, int] = {}
    for one in encounters:
        first[one.index] = min(one.start, first.get(one.index, one.start))
    return tuple(Edge(subject, first[subject]) for subject in sorted(first))
