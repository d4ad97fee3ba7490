"""An answer with its evidence: who met whom, by which rule, as the scans of one moment prove."""

import hashlib
import time
from collections.abc import Callable, Sequence, Set
from typing import Final, Protocol

import msgspec

from events import codec
from events.problems import BEHIND, ProblemError
from storage.clickhouse import Store
from storage.watermarks import Name, Watermark
from tracing.chain import Edge, Link, Source, chain
from tracing.overlap import Contact, Encounter, Occupancy, Presence, contacts, presences
from tracing.question import Question, ResolvedQuestion, check_window, refuse, resolve
from tracing.reading import Reading
from tracing.registry import CaughtUp, Registry
from tracing.stays import Stay

READ_MODELS_WAIT_SECONDS_MAX: Final = 10.0
REGISTRY_WAIT_SECONDS_MAX: Final = 5.0
ID_BYTES: Final = 16


class CutOff(msgspec.Struct, frozen=True, kw_only=True):
    """Up to where was read (Unix ms): everything `received ≤ read_to` that counts at `as_of`, and nothing later."""

    as_of: int
    read_to: int


class AnsweredIndex(msgspec.Struct, frozen=True, kw_only=True):
    """An index subject in the window `[from, to)` (Unix ms), with how many stays touch it."""

    subject: str
    cases: tuple[str, ...]
    from_: int = msgspec.field(name="from")
    to: int
    stays: int


class AnsweredContact(msgspec.Struct, frozen=True, kw_only=True):
    """A contact with every encounter that makes it one.

    `ms` is the length of the union of the exposures, `intervals` that union, `first` and `last` its ends (Unix ms);
    `seconds` is `ms` for people. `via` are the edges from the depth before: from index subjects at depth 1.
    """

    subject: str
    depth: int
    seconds: float
    ms: int
    first: int
    last: int
    via: tuple[Edge, ...]
    intervals: tuple[tuple[int, int], ...]
    encounters: tuple[Encounter, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Who was with the index subjects, by depth, then longest first, then by subject.

    Two askings of the same question as of the same moment differ in `id` and `asked_at` alone; `fingerprint` is the
    SHA-256, in hex, of the rest. `index_without_scans` names the index subjects of whom no scan was read, and
    `scans_without_place` counts scans left out because the registry has never heard of their place.
    """

    id: str
    asked_at: int
    fingerprint: str
    question: ResolvedQuestion
    cut_off: CutOff
    index: tuple[AnsweredIndex, ...]
    index_without_scans: tuple[str, ...]
    scans_without_place: int
    contacts: tuple[AnsweredContact, ...]


class ReadModels(Protocol):
    """Where the read models' watermark is awaited; `storage.watermarks.Watermarks` is one."""

    def wait(self, name: Name, received: int, timeout_seconds: float) -> Watermark | None:
        """The first watermark at or past `received` (ms); None when the time is over."""


class Tracer:
    """Answers questions from the read models. Thread-safe: what one question has read is its own."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        caught_up: CaughtUp,
        watermarks: ReadModels,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        on_step: Callable[[str, float], None] = lambda step, seconds: None,
    ) -> None:
        """`clock` gives Unix ms, `random` that many random bytes; `caught_up` belongs to what feeds the registry.

        `on_step` is told how many seconds each step of a trace took: wait, search, answer.
        """
        self._store: Final = store
        self._registry: Final = registry
        self._caught_up: Final = caught_up
        self._watermarks: Final = watermarks
        self._clock: Final = clock
        self._random: Final = random
        self._on_step: Final = on_step

    def trace(self, question: Question) -> Answer:
        """The answer, from everything received by `as_of` and nothing later.

        Raises `ProblemError` (QUESTION_INVALID, SUBJECT_UNKNOWN, BEHIND), `StoreDown` and `StreamDown`.
        """
        asked_at, mark = self._clock(), time.perf_counter()
        self._know_registry()
        as_of = resolve(question, self._registry.case_as_of, asked_at).as_of  # a bad question is not kept waiting
        read_to = self._read_to(as_of)
        self._know_registry()
        resolved = resolve(question, self._registry.case_as_of, asked_at)
        mark = self._lap("wait", mark)
        search = _Search(self._store, self._registry, resolved)
        links = search.links()
        mark = self._lap("search", mark)
        answer = Answer(
            id="",
            asked_at=0,
            fingerprint="",
            question=resolved,
            cut_off=CutOff(as_of=resolved.as_of, read_to=read_to),
            index=search.index(),
            index_without_scans=search.index_without_scans(),
            scans_without_place=search.reading.scans_without_place,
            contacts=tuple(_answered(link) for link in links),
        )
        answer = msgspec.structs.replace(
            answer,
            id=self._random(ID_BYTES).hex(),
            asked_at=asked_at,
            fingerprint=hashlib.sha256(codec.to_json(answer)).hexdigest(),
        )
        self._lap("answer", mark)
        return answer

    def stays_of(self, subject: str, from_ms: int, to_ms: int, as_of: int | None = None) -> list[Stay]:
        """A subject's stays that touch `[from_ms, to_ms)`, whole, as of a moment (Unix ms; default: the clock).

        Raises as `trace` does.
        """
        now = self._clock()
        if as_of is not None and as_of > now:
            refuse("as_of lies in the future", "/as_of")
        check_window(from_ms, to_ms, "/to")
        moment = now if as_of is None else as_of
        self._read_to(moment)
        self._know_registry()
        reading = Reading(self._store, self._registry, as_of=moment, until=to_ms)
        reading.load([subject])
        return [stay for stay in reading.stays[subject] if stay.start < to_ms and stay.end > from_ms]

    def _lap(self, step: str, since: float) -> float:
        now = time.perf_counter()
        self._on_step(step, now - since)
        return now

    def _know_registry(self) -> None:
        """Wait until places, cases and revocations recorded by now are known: asking again must change nothing.

        One clock stamps them and the scans. Once the read models have passed `as_of`, nothing more can be recorded by
        then, even where the clock here is ahead: so this is asked after `_read_to`.
        """
        if not self._caught_up(REGISTRY_WAIT_SECONDS_MAX):
            raise ProblemError(BEHIND.problem("The registry has not caught up with the control stream."))

    def _read_to(self, as_of: int) -> int:
        """Wait until the read models hold everything received by `as_of`.

        What they hold beyond it is not read: saying so would make two answers as of the same moment differ.
        """
        watermark = self._watermarks.wait("read-models", as_of, READ_MODELS_WAIT_SECONDS_MAX)
        if watermark is None:
            raise ProblemError(BEHIND.problem(pointer="/as_of"))
        return min(watermark.received, as_of)


class _Search:
    """One question on its way to an answer."""

    def __init__(self, store: Store, registry: Registry, question: ResolvedQuestion) -> None:
        self._question: Final = question
        until = max(each.to for each in question.index) + question.lag_ms
        self.reading: Final = Reading(store, registry, as_of=question.as_of, until=until)

    def links(self) -> list[Link]:
        """Contacts by depth."""
        sources = [Source(each.subject, each.from_, each.to) for each in self._question.index]
        self.reading.load(source.subject for source in sources)
        return chain(sources, self._question.depth, self._question.latency_ms, self._contacts_of)

    def index(self) -> tuple[AnsweredIndex, ...]:
        """The index subjects, in the question's order."""
        return tuple(
            AnsweredIndex(
                subject=each.subject,
                cases=each.cases,
                from_=each.from_,
                to=each.to,
                stays=len(presences(each.subject, self.reading.stays[each.subject], each.from_, each.to)),
            )
            for each in self._question.index
        )

    def index_without_scans(self) -> tuple[str, ...]:
        """The index subjects who were scanned nowhere, each once."""
        return tuple(sorted({each.subject for each in self._question.index} & self.reading.without_scans))

    def _contacts_of(self, groups: Sequence[Sequence[Source]], leave_out: Set[str]) -> list[list[Contact]]:
        present = [self._presences(group) for group in groups]
        self.reading.load_around((presence for group in present for presence in group), self._question.lag_ms)
        others = Occupancy(self.reading.stays)
        return [
            contacts(
                group,
                others,
                lag_ms=self._question.lag_ms,
                min_ms=self._question.min_ms,
                rule=self._question.rule,
                leave_out=leave_out,
            )
            for group in present
        ]

    def _presences(self, group: Sequence[Source]) -> list[Presence]:
        return [
            presence
            for source in group
            for presence in presences(source.subject, self.reading.stays[source.subject], source.from_ms, source.to_ms)
        ]


def _answered(link: Link) -> AnsweredContact:
    contact = link.contact
    return AnsweredContact(
        subject=contact.subject,
        depth=link.depth,
        seconds=contact.ms / 1000,
        ms=contact.ms,
        first=contact.first,
        last=contact.last,
        via=link.via,
        intervals=contact.intervals,
        encounters=contact.encounters,
    )
