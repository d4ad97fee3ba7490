"""What is exported: a trace read contact by contact, as often as there are files, and what of it cannot be read."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Final

import msgspec

from events.places import Place
from events.scans import AT_MS_MAX
from tracing.answer import AnsweredContact, AnsweredIndex, CutOff
from tracing.exports.moments import DAY_MS
from tracing.exports.slices import Slices, Unreadable
from tracing.overlap import Encounter, united
from tracing.question import ResolvedQuestion

PROBLEMS_KEPT: Final = 1_000
"""So many bad records are named one by one in a manifest; the others are counted."""
TIME_MS_MAX: Final = AT_MS_MAX + 2 * DAY_MS
"""No stay, and no air that somebody left behind, ends later than this."""

_SUBJECT: Final = re.compile(r"[0-9a-f]{32}")
_contact_of: Final = msgspec.json.Decoder(AnsweredContact).decode


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """An answer without its contacts; the fields are those of `tracing.answer.Answer`."""

    id: str
    asked_at: int
    fingerprint: str
    question: ResolvedQuestion
    cut_off: CutOff
    index: tuple[AnsweredIndex, ...]
    index_without_scans: tuple[str, ...]
    scans_without_place: int


class Bad(msgspec.Struct, frozen=True):
    """A contact that cannot be exported, and why, without a word of it."""

    reason: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was left out of a trace's export, by its place among the contacts (from 1). Names nobody."""

    trace: str
    contact: int
    reason: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the registries know beside the answer.

    `confirmed_at`: when a case was confirmed (Unix ms). `name_of`: the name of somebody who was revealed for a stated
    purpose; without it nobody is called by anything but their pseudonym.
    """

    place: Callable[[str], Place | None]
    confirmed_at: Callable[[str], int | None]
    name_of: Callable[[str], str | None] | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a line list: an index subject (depth 0), a contact, or somebody of whom an edge alone tells."""

    subject: str
    depth: int | None
    windows: tuple[AnsweredIndex, ...] = ()
    contact: AnsweredContact | None = None

    @property
    def role(self) -> str:
        """F0, F1, F2 …; empty for somebody whose own record could not be read."""
        return "" if self.depth is None else f"F{self.depth}"


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """All encounters of two people, of whom the first may have infected the second (Unix ms; half-open).

    `last`, `ms` and `encounters` are None where the answer was saved without its evidence.
    """

    source: str
    target: str
    depth: int
    first: int
    last: int | None
    ms: int | None
    encounters: tuple[Encounter, ...]


class Source:
    """A trace to be exported. Every pass reads it anew; not thread-safe."""

    def __init__(self, head: Head, known: Known, records: Callable[[], Iterable[AnsweredContact | Bad]]) -> None:
        """`records` gives all contacts in the answer's order, each time from the first one."""
        self.head: Final = head
        self.known: Final = known
        self.problems: Final[list[Problem]] = []
        self.problems_left_out = 0
        self._records: Final = records
        self._index: Final = frozenset(each.subject for each in head.index)
        self._looked_to = 0
        """How many records the passes have looked at: a bad one is reported once, not once a file."""

    def contacts(self) -> Iterator[AnsweredContact]:
        """Every contact that can be exported; the others are reported."""
        for record in self._checked():
            if isinstance(record, AnsweredContact):
                yield record

    def people(self) -> Iterator[Person]:
        """The line list: the index subjects, then the contacts, then whoever is only the source of a contact's edge.

        Who may be such a source is remembered: the contacts that stand above the greatest depth, 16 bytes each.
        """
        for subject, windows in groupby(self.head.index, key=_subject):
            yield Person(subject=subject, depth=0, windows=tuple(windows))
        listed: set[bytes] = set()
        named: set[bytes] = set()
        for contact in self.contacts():
            if contact.depth < self.head.question.depth:
                listed.add(bytes.fromhex(contact.subject))
            if contact.depth > 1:
                named.update(map(bytes.fromhex, sources(contact)))
            yield Person(subject=contact.subject, depth=contact.depth, contact=contact)
        for source in sorted(named - listed):
            if source.hex() not in self._index:
                yield Person(subject=source.hex(), depth=None)

    def pairs(self) -> Iterator[Pair]:
        """Each contact's edges, in the answer's order."""
        for contact in self.contacts():
            yield from pairs_of(contact)

    def label(self, subject: str) -> str:
        """What somebody is called: the name where it was revealed, else the pseudonym."""
        name = self.known.name_of(subject) if self.known.name_of is not None else None
        return name or subject

    def _checked(self) -> Iterator[AnsweredContact | Bad]:
        for number, record in enumerate(self._records(), start=1):
            reason = record.reason if isinstance(record, Bad) else self._wrong(record)
            if reason is None:
                yield record
            elif number > self._looked_to:
                self._report(Problem(trace=self.head.id, contact=number, reason=reason))
            self._looked_to = max(self._looked_to, number)

    def _report(self, problem: Problem) -> None:
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)
        else:
            self.problems_left_out += 1

    def _wrong(self, contact: AnsweredContact) -> str | None:
        """Why a contact cannot be exported."""
        leading = sources(contact)
        checks = (
            (_SUBJECT.fullmatch(contact.subject) is not None, "the subject is no pseudonym"),
            (contact.subject not in self._index, "the subject is an index subject"),
            (1 <= contact.depth <= self.head.question.depth, "the depth is not one of the question's"),
            (0 <= contact.first <= contact.last <= TIME_MS_MAX, "the times contradict each other"),
            (contact.ms >= 0, "the length is negative"),
            (bool(leading), "nothing leads to the contact"),
            (all(map(_SUBJECT.fullmatch, leading)), "an edge's source is no pseudonym"),
            (contact.depth > 1 or leading <= self._index, "an edge's source is no index subject"),
            (all(map(_is_timely, contact.encounters or ())), "an encounter's times contradict each other"),
        )
        return next((reason for holds, reason in checks if not holds), None)


def saved_source(pieces: Callable[[], Iterable[bytes]], known: Known) -> Source:
    """A saved answer as a source. `pieces` gives its JSON from the beginning. Raises `Unreadable`."""
    try:
        head = msgspec.json.decode(Slices(pieces()).head(), type=Head)
    except msgspec.MsgspecError:
        raise Unreadable("an answer of another form") from None

    def records() -> Iterator[AnsweredContact | Bad]:
        slices = Slices(pieces())
        slices.head()
        for one in slices.contacts():
            try:
                yield _contact_of(one)
            except msgspec.MsgspecError:
                yield Bad("the record is not of the form of a contact")

    return Source(head, known, records)


def sources(contact: AnsweredContact) -> set[str]:
    """Who leads to a contact."""
    return {edge.subject for edge in contact.via} | {one.index for one in contact.encounters or ()}


def pairs_of(contact: AnsweredContact) -> list[Pair]:
    """A contact's edges, by who leads to it. What a room shares with its building counts once."""
    met: dict[str, list[Encounter]] = {}
    for one in contact.encounters or ():
        met.setdefault(one.index, []).append(one)
    first = {edge.subject: edge.first for edge in contact.via}
    found: list[Pair] = []
    for source in sorted({*first, *met}):
        together = united(contact.subject, met[source]) if source in met else None
        found.append(
            Pair(
                source=source,
                target=contact.subject,
                depth=contact.depth,
                first=together.first if together else first[source],
                last=together.last if together else None,
                ms=together.ms if together else None,
                encounters=together.encounters if together else (),
            )
        )
    return found


def _is_timely(one: Encounter) -> bool:
    return 0 <= one.start <= one.end <= TIME_MS_MAX


def _subject(index: AnsweredIndex) -> str:
    return index.subject
