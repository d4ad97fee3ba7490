"""An answer with its evidence: who met whom, by which rule, as the scans of one moment prove."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from events import codec
from events.problems import TRACE_TOO_LARGE, ProblemError
from projections.stays import Stay
from storage.clickhouse import Store
from storage.settled import SettledMark
from storage.watermarks import Watermark
from tracing.bounds import AT_ONCE, Bounds
from tracing.chain import Edge, Source
from tracing.doubt_reading import DoubtReader, Leaving, LeftOut
from tracing.finding import Evidence, Level, levels, present_stays
from tracing.late import LateScans
from tracing.moment import Moment, Moments, ReadModels
from tracing.overlap import Encounter, Presence, presences
from tracing.question import LeavingOut, Question, ResolvedQuestion, check_window, resolve, resolve_as_of
from tracing.reading import Reading
from tracing.registry import CaughtUp, Registry
from tracing.retention.horizon import behind
from tracing.tail import Outrun, Tail, Tails
from tracing.visits import pseudonyms_of

ID_BYTES: Final = 16


class CutOff(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Up to where was read (Unix ms): everything `received ≤ read_to` that counts at `as_of`, and nothing later.

    `kept_from` is there where the answer would need scans from before it: those are kept no longer.
    """

    as_of: int
    read_to: int
    kept_from: int | None = None

    @classmethod
    def of(cls, moment: Moment) -> "CutOff":
        """What an answer says of its moment."""
        return cls(as_of=moment.as_of, read_to=moment.read_to, kept_from=moment.kept_from)


class AnsweredIndex(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An index subject in the window `[from, to)` (Unix ms), with how many stays touch it.

    Where none does, `before` and `after` are when they were scanned last before `from` and first at `to` or later,
    as far as that is known.
    """

    subject: str
    cases: tuple[str, ...]
    from_: int = msgspec.field(name="from")
    to: int
    stays: int
    before: int | None = None
    after: int | None = None


class AnsweredContact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A contact with every encounter that makes it one, `times_met` of them.

    `ms` is the length of the union of the exposures, `intervals` that union, `first` and `last` its ends (Unix ms);
    `seconds` is `ms` for people. `via` are the edges from the depth before: from index subjects at depth 1. A question
    without evidence gets no `via`, `intervals` and `encounters`.
    """

    subject: str
    depth: int
    seconds: float
    ms: int
    first: int
    last: int
    times_met: int = 0
    via: tuple[Edge, ...] = ()
    intervals: tuple[tuple[int, int], ...] = ()
    encounters: tuple[Encounter, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Who was with the index subjects, by depth, then longest first, then by subject.

    Two askings of the same question as of the same moment differ in `id` and `asked_at` alone; `fingerprint` is the
    SHA-256, in hex, of the rest. `index_without_scans` names the index subjects of whom no scan was read, and
    `scans_without_place` counts scans of index subjects and contacts that were left out because the registry has never
    heard of their place. `left_out` is there where the question leaves out doubtful scans.
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
    left_out: LeftOut | msgspec.UnsetType = msgspec.UNSET


class Reins(NamedTuple):
    """How far a search may go, and who is told how far it is: whatever `on_read` raises ends it."""

    bounds: Bounds
    on_read: Callable[[int, int], None]


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
        settled: Callable[[], SettledMark | None] = lambda: None,
        on_step: Callable[[str, float], None] = lambda step, seconds: None,
    ) -> None:
        """`clock` gives Unix ms, `random` that many random bytes; `caught_up` belongs to what feeds the registry.

        `settled` gives the mark of the settled stays, and may raise `StreamDown`. `on_step` is told how many seconds
        each step of a trace took: wait, search, answer.
        """
        self._store: Final = store
        self._registry: Final = registry
        self._moments: Final = Moments(watermarks, caught_up, clock)
        self._random: Final = random
        self._settled: Final = settled
        self._late: Final = LateScans(store)
        self._tails: Final = Tails(self._moments, registry, self._late)
        self._on_step: Final = on_step

    def trace(
        self,
        question: Question | ResolvedQuestion,
        *,
        bounds: Bounds = AT_ONCE,
        on_read: Callable[[int, int], None] = lambda read, known: None,
        early: bool = True,
    ) -> Answer:
        """The answer, from everything received by `as_of` and nothing later.

        `early`: what came in last may be on its way while the rest is searched; a long search better waits first, and
        need not begin again.

        A question that is resolved already is asked as it is. `on_read` is told again and again how many people were
        read, of how many that are known to be needed so far; what it raises ends the trace. Raises
        `ProblemError` (those of `resolve`, BEHIND, TRACE_TOO_LARGE), `StoreDown` and `StreamDown`.
        """
        return self._traced(question, Reins(bounds, on_read), early=early)

    def _traced(self, question: Question | ResolvedQuestion, reins: Reins, *, early: bool) -> Answer:
        began = time.perf_counter()
        search = self._begun(question, reins, early=early)
        waited = time.perf_counter() - began
        try:
            found = list(levels(search.question, search.reading))
            if search.tail is not None:
                search.tail.know_registry()
                waited += search.tail.seconds_waited
        except Outrun:
            return self._traced(question, reins, early=False)
        if behind(self._registry.kept.kept_from, search.reaches_from) != search.cut_off.kept_from:
            return self._traced(question, reins, early=False)  # what was read may have gone
        found_at = time.perf_counter()
        self._on_step("wait", waited)
        self._on_step("search", found_at - began - waited)
        answer = Answer(
            id="",
            asked_at=0,
            fingerprint="",
            question=search.question,
            cut_off=search.cut_off,
            index=search.index(present_stays(found[0], len(search.question.index))),
            index_without_scans=search.index_without_scans(),
            scans_without_place=search.scans_without_place(found),
            contacts=tuple(contact for level in found for contact in search.contacts(level)),
            left_out=search.left_out(),
        )
        answer = msgspec.structs.replace(
            answer,
            id=self._random(ID_BYTES).hex(),
            asked_at=search.asked_at,
            fingerprint=hashlib.sha256(codec.to_json(answer)).hexdigest(),
        )
        self._on_step("answer", time.perf_counter() - found_at)
        return answer

    def check(self, question: Question) -> None:
        """Raise what `trace` would of the question itself, without waiting for the read models or reading."""
        self._moments.know_registry()
        self._resolved(question, self._moments.now())

    def search(
        self,
        question: Question | ResolvedQuestion,
        *,
        bounds: Bounds = AT_ONCE,
        on_read: Callable[[int, int], None] = lambda read, known: None,
    ) -> "Search":
        """The question with nothing left open, and all that it needs to be answered: nothing is read yet.

        Arguments and errors as of `trace`.
        """
        return self._begun(question, Reins(bounds, on_read), early=False)

    def _begun(self, question: Question | ResolvedQuestion, reins: Reins, *, early: bool) -> "Search":
        asked_at, wait = self._moments.now(), not isinstance(question, Question) or question.wait
        if isinstance(question, Question) and question.index.cases:
            self._moments.know_registry()
        if isinstance(question, Question) and not wait and question.as_of is None:
            read_models = self._moments.read_models(0)
            question = msgspec.structs.replace(question, as_of=min(read_models.received, asked_at))
        as_of = self._resolved(question, asked_at).as_of  # a bad question is not kept waiting
        settled = self._settled() if early and wait else None
        tail = self._tails.begun(settled, as_of) if settled is not None else None
        if tail is not None:
            moment = Moment(asked_at=asked_at, as_of=as_of, read_models=tail.read_models)
            search = self._searching(self._resolved(question, asked_at), moment, settled, reins, tail)
            if search.reading.takes_settled:
                return search
        moment = self._moments.awaited(as_of, asked_at, wait=wait)
        return self._searching(self._resolved(question, asked_at), moment, self._settled(), reins, None)

    def _searching(
        self,
        question: ResolvedQuestion,
        moment: Moment,
        settled: SettledMark | None,
        reins: Reins,
        tail: Tail | None,
    ) -> "Search":
        windows = [(each.from_, each.to) for each in question.index]
        moment = moment.reaching(self._registry.kept.kept_from, windows, "/to")
        reading = self._reading(question, reins, settled, moment.read_models, tail)
        return Search(reading, question, CutOff.of(moment), moment.asked_at, tail)

    def reading(self, question: ResolvedQuestion) -> Reading:
        """What the question reads, nobody yet; it waits for nothing, and walks every stay from its scans."""
        return self._reading(question, Reins(AT_ONCE, lambda read, known: None))

    def _reading(
        self,
        question: ResolvedQuestion,
        reins: Reins,
        settled: SettledMark | None = None,
        read_models: Watermark | None = None,
        tail: Tail | None = None,
    ) -> Reading:
        return Reading(
            self._store,
            self._registry,
            as_of=question.as_of,
            until=max(each.to for each in question.index) + question.lag_ms,
            dwell_seconds=question.dwell_seconds,
            bounds=reins.bounds,
            on_read=reins.on_read,
            leaving=self._leaving(question),
            settled=settled,
            read_models=read_models,
            late=self._late,
            tail=tail,
        )

    def stays_of(self, subject: str, from_ms: int, to_ms: int, as_of: int | None = None) -> list[Stay]:
        """A subject's stays that touch `[from_ms, to_ms)`, whole, as of a moment (Unix ms; default: the clock).

        Raises as `trace` does.
        """
        asked_at = self._moments.now()
        as_of = resolve_as_of(as_of, asked_at)
        check_window(from_ms, to_ms, "/to")
        settled = self._moments.awaited(as_of, asked_at)
        moment = settled.reaching(self._registry.kept.kept_from, [(from_ms, to_ms)], "/to")
        reading = Reading(self._store, self._registry, as_of=moment.as_of, until=to_ms)
        reading.load([subject])
        return [stay for stay in reading.stays[subject] if stay.start < to_ms and stay.end > from_ms]

    def _resolved(self, question: Question | ResolvedQuestion, now_ms: int) -> ResolvedQuestion:
        if isinstance(question, Question):
            return resolve(question, self._registry.case_as_of, now_ms)
        resolve_as_of(question.as_of, now_ms)
        return question

    def _leaving(self, question: ResolvedQuestion) -> Leaving | None:
        """What leaves doubtful scans out, where the question asks for it."""
        asked = question.leave_out_doubtful
        if not isinstance(asked, LeavingOut):
            return None
        reader = DoubtReader(self._store, self._registry, as_of=question.as_of, thresholds=asked.thresholds)
        return Leaving(reader, self._registry, self._registry.places_as_of(question.as_of), asked.reasons)


class Search:
    """One question on its way to an answer. `asked_at` in Unix ms."""

    def __init__(
        self,
        reading: Reading,
        question: ResolvedQuestion,
        cut_off: CutOff,
        asked_at: int,
        tail: Tail | None = None,
    ) -> None:
        """`tail` is there where the read models need not have everything yet."""
        self.reading: Final = reading
        self.question: Final = question
        self.cut_off: Final = cut_off
        self.asked_at: Final = asked_at
        self.tail: Final = tail

    def sources(self) -> list[Source]:
        """The index subjects in their windows."""
        return [Source(each.subject, each.from_, each.to) for each in self.question.index]

    def left_out(self) -> LeftOut | msgspec.UnsetType:
        """What was left out as doubtful so far; unset where the question leaves nothing out."""
        return msgspec.UNSET if self.reading.leaving is None else self.reading.leaving.left_out()

    @property
    def reaches_from(self) -> int:
        """When (Unix ms) the earliest window begins."""
        return min(each.from_ for each in self.question.index)

    def index(self, touching: Sequence[int]) -> tuple[AnsweredIndex, ...]:
        """The index subjects, in the question's order; `touching` of their stays touch the window of each."""
        absent = sorted({each.subject for each, stays in zip(self.question.index, touching, strict=True) if not stays})
        scanned = self.reading.scanned_at(absent) if absent else {}
        return tuple(
            AnsweredIndex(
                subject=each.subject,
                cases=each.cases,
                from_=each.from_,
                to=each.to,
                stays=stays,
                before=max((at for at in scanned.get(each.subject, ()) if at < each.from_), default=None),
                after=min((at for at in scanned.get(each.subject, ()) if at >= each.to), default=None),
            )
            for each, stays in zip(self.question.index, touching, strict=True)
        )

    def index_without_scans(self) -> tuple[str, ...]:
        """The index subjects who were scanned nowhere, each once."""
        return tuple(sorted({each.subject for each in self.question.index} & self.reading.without_scans))

    def contacts(self, level: Level) -> Iterator[AnsweredContact]:
        """The contacts of one depth, in their order, with their evidence where it is asked for."""
        return _answered(level, self.reading, evidence=self.question.evidence)

    def scans_without_place(self, found: Iterable[Level]) -> int:
        """How many scans of index subjects and contacts were left out because nobody has registered their place."""
        people = {each.subject for each in self.question.index}
        for level in found:
            people.update(pseudonyms_of(level.met.subject))
        return self.reading.scans_without_place(people)

    def presences(self, group: Sequence[Source]) -> list[Presence]:
        """Where the sources were in their windows; whoever is none of the index subjects must have been read."""
        return [
            presence
            for source in group
            for presence in presences(source.subject, self.reading.stays[source.subject], source.from_ms, source.to_ms)
        ]


def _answered(level: Level, reading: Reading, *, evidence: bool) -> Iterator[AnsweredContact]:
    met, nothing = level.met, [()] * len(level.met.subject)
    if evidence and len(met.pairs.start) > reading.bounds.encounters:
        detail = f"more than {reading.bounds.encounters:,} encounters at one depth: without evidence they may be more"
        raise ProblemError(TRACE_TOO_LARGE.problem(detail, pointer="/evidence"))
    proof = Evidence(level, reading) if evidence else None
    for subject, ms, first, last, times_met, via, intervals, encounters in zip(
        pseudonyms_of(met.subject),
        *(column.tolist() for column in (met.ms, met.start, met.end, met.times)),
        proof.edges() if proof is not None else nothing,
        proof.intervals() if proof is not None else nothing,
        proof.encounters() if proof is not None else nothing,
        strict=True,
    ):
        yield AnsweredContact(
            subject=subject,
            depth=level.depth,
            seconds=ms / 1000,
            ms=ms,
            first=first,
            last=last,
            times_met=times_met,
            via=via,
            intervals=intervals,
            encounters=encounters,
        )
