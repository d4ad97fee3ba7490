"""What if: the same question over a grid of thresholds and lags, and how much of each list rests on assumed ends. Pure.

An end is assumed where no scan says it: an entry that was missed and is imputed, an exit that only the place's dwell or
the moment of asking gives. Moving on is no assumption: a scan elsewhere says it. What rests on assumptions is what goes
when the encounters with an assumed end, of either stay, are left out whole.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from events import codec
from events.problems import GRID_TOO_LARGE, QUESTION_INVALID, ProblemError
from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.answer import CutOff, Search
from tracing.chain import Link, Source, chain
from tracing.overlap import Contact, Encounter, Occupancy, contacts, passes, united
from tracing.question import LAG_SECONDS_MAX, MIN_SECONDS_MAX, ResolvedQuestion

GRID_POINTS_MAX: Final = 200
GRID_VALUES_MAX: Final = 50

LagSeconds = Annotated[int, Meta(ge=0, le=LAG_SECONDS_MAX)]
MinSeconds = Annotated[int, Meta(ge=0, le=MIN_SECONDS_MAX)]


class Grid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values to try, in seconds: every threshold with every lag."""

    min_seconds: Annotated[tuple[MinSeconds, ...], Meta(min_length=1, max_length=GRID_VALUES_MAX)]
    lag_seconds: Annotated[tuple[LagSeconds, ...], Meta(min_length=1, max_length=GRID_VALUES_MAX)]


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """How many contacts would be none, and how much exposure (ms) would go, with the part of the whole (0 to 1)."""

    contacts: int
    contacts_share: float
    exposure_ms: int
    exposure_share: float


class Assumed(msgspec.Struct, frozen=True, kw_only=True):
    """What rests on assumed ends: on any of them, and on each kind by itself. The kinds may overlap."""

    any: Share
    imputed: Share
    dwell: Share
    open: Share


class SweepPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The contacts with one threshold and one lag: how many in all, how many at each depth, their exposure (ms)."""

    min_seconds: int
    lag_seconds: int
    contacts: int
    by_depth: tuple[int, ...]
    exposure_ms: int
    assumed: Assumed


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """The whole grid, by threshold, then lag. `question` says what holds at every point; its own threshold and lag are
    those that everything was read with: the least and the greatest. `fingerprint` is the SHA-256, in hex, of the rest.
    """

    fingerprint: str
    question: ResolvedQuestion
    cut_off: CutOff
    points: tuple[SweepPoint, ...]


Kind = Callable[[Stay], bool]
"""Whether an end of the stay is assumed in one way."""

KINDS: Final[Mapping[str, Kind]] = {
    "any": lambda stay: stay.entry is EntryKnown.IMPUTED or stay.exit in (ExitKnown.DWELL, ExitKnown.OPEN),
    "imputed": lambda stay: stay.entry is EntryKnown.IMPUTED,
    "dwell": lambda stay: stay.exit is ExitKnown.DWELL,
    "open": lambda stay: stay.exit is ExitKnown.OPEN,
}


def checked(grid: Grid) -> Grid:
    """The grid in order, each value once. Raises GRID_TOO_LARGE as `ProblemError`."""
    ordered = Grid(min_seconds=tuple(sorted(set(grid.min_seconds))), lag_seconds=tuple(sorted(set(grid.lag_seconds))))
    points = len(ordered.min_seconds) * len(ordered.lag_seconds)
    if points > GRID_POINTS_MAX:
        raise ProblemError(GRID_TOO_LARGE.problem(f"{points} points, where {GRID_POINTS_MAX} may be", pointer="/grid"))
    return ordered


def sweep(search: Search, grid: Grid) -> Sweep:
    """Every point of a checked grid. `search` must ask with the grid's least threshold and greatest lag.

    The widest point comes first: it reads nearly all that the others need. Raises as `Reading.load` does.
    """
    question = search.question
    if question.lag_seconds < grid.lag_seconds[-1] or question.min_seconds > grid.min_seconds[0]:
        raise ProblemError(QUESTION_INVALID.problem("the grid goes beyond what is read"))
    search.reading.load(source.subject for source in search.sources())
    surroundings = _Surroundings(search)
    points: dict[tuple[int, int], SweepPoint] = {}
    for lag_seconds in reversed(grid.lag_seconds):
        lagged = _Lagged(search, surroundings, lag_seconds)
        for min_seconds in grid.min_seconds:
            points[min_seconds, lag_seconds] = _point(lagged.links(min_seconds), question, min_seconds, lag_seconds)
    whole = Sweep(
        fingerprint="",
        question=question,
        cut_off=search.cut_off,
        points=tuple(points[key] for key in sorted(points)),
    )
    return msgspec.structs.replace(whole, fingerprint=hashlib.sha256(codec.to_json(whole)).hexdigest())


class _Surroundings:
    """Everybody who was where the sources were, read with the greatest lag; each source's surroundings once.

    A narrower point can need more than the widest: whom the case met for a moment in the evening is F1 there, while
    here an F1 infected them in the morning, and they others since.
    """

    def __init__(self, search: Search) -> None:
        self._search: Final = search
        self._read_from: Final[dict[tuple[str, int], int]] = {}
        self._others = Occupancy({})

    def of(self, groups: Sequence[Sequence[Source]]) -> Occupancy:
        """The stays of all who may have met them, and of whoever else was read."""
        fresh = [source for group in groups for source in group if not self._is_read(source)]
        if fresh:
            self._search.reading.load_around(self._search.presences(fresh), self._search.question.lag_ms)
            self._read_from.update(((source.subject, source.to_ms), source.from_ms) for source in fresh)
            self._others = Occupancy(self._search.reading.stays)
        return self._others

    def _is_read(self, source: Source) -> bool:
        read_from = self._read_from.get((source.subject, source.to_ms))
        return read_from is not None and read_from <= source.from_ms


class _Lagged:
    """All encounters with one lag; whom a group of sources met is found once for every threshold."""

    def __init__(self, search: Search, surroundings: _Surroundings, lag_seconds: int) -> None:
        self._search: Final = search
        self._surroundings: Final = surroundings
        self._lag_ms: Final = lag_seconds * 1000
        self._met: Final[dict[tuple[Source, ...], list[Contact]]] = {}

    def links(self, min_seconds: int) -> list[Link]:
        """The contacts by depth with this threshold."""
        question = self._search.question

        def contacts_of(groups: Sequence[Sequence[Source]], leave_out: Set[str]) -> list[list[Contact]]:
            others = self._surroundings.of(groups)
            return [
                [
                    contact
                    for contact in self._whom(tuple(group), others)
                    if contact.subject not in leave_out and passes(contact, question.rule, min_seconds * 1000)
                ]
                for group in groups
            ]

        return chain(self._search.sources(), question.depth, question.latency_ms, contacts_of)

    def _whom(self, group: tuple[Source, ...], others: Occupancy) -> list[Contact]:
        met = self._met.get(group)
        if met is None:
            question = self._search.question
            met = self._met[group] = contacts(
                self._search.presences(group),
                others,
                lag_ms=self._lag_ms,
                min_ms=0,
                rule=question.rule,
                leave_out={source.subject for source in group},
            )
        return met


def _point(links: Sequence[Link], question: ResolvedQuestion, min_seconds: int, lag_seconds: int) -> SweepPoint:
    found = [link.contact for link in links]
    return SweepPoint(
        min_seconds=min_seconds,
        lag_seconds=lag_seconds,
        contacts=len(found),
        by_depth=tuple(sum(1 for link in links if link.depth == depth) for depth in range(1, question.depth + 1)),
        exposure_ms=sum(contact.ms for contact in found),
        assumed=Assumed(**{name: _share(found, kind, question, min_seconds) for name, kind in KINDS.items()}),
    )


def _share(found: Iterable[Contact], kind: Kind, question: ResolvedQuestion, min_seconds: int) -> Share:
    number = vanish = exposure = gone = 0
    for contact in found:
        rest = _without(contact, kind)
        number += 1
        exposure += contact.ms
        gone += contact.ms - (rest.ms if rest is not None else 0)
        vanish += rest is None or not passes(rest, question.rule, min_seconds * 1000)
    return Share(
        contacts=vanish,
        contacts_share=_part(vanish, number),
        exposure_ms=gone,
        exposure_share=_part(gone, exposure),
    )


def _without(contact: Contact, kind: Kind) -> Contact | None:
    """The contact without its encounters that have an end of this kind; None where none is left."""
    rest = [one for one in contact.encounters if not _assumed(one, kind)]
    if len(rest) == len(contact.encounters):
        return contact
    return united(contact.subject, rest) if rest else None


def _assumed(one: Encounter, kind: Kind) -> bool:
    return kind(one.index_stay) or kind(one.stay)


def _part(some: int, whole: int) -> float:
    return round(some / whole, 4) if whole else 0.0
