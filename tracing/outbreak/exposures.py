"""Places by how much they exposed people to F0: people × time, and how full they were."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from storage.clickhouse import Store
from tracing.answer import Answer, AnsweredIndex, CutOff
from tracing.outbreak.attendance import crowding, read_present
from tracing.outbreak.intervals import Interval, length, union
from tracing.outbreak.occupancy import peak_within
from tracing.outbreak.places import Premises
from tracing.overlap import Encounter
from tracing.question import ResolvedQuestion
from tracing.registry import Registry
from tracing.retention.horizon import behind

PLACES_MAX: Final = 1_000
PLACES_DEFAULT: Final = 100


class Order(enum.StrEnum):
    """By what the places are ranked, most first."""

    PERSON_SECONDS = "person_seconds"
    PEOPLE = "people"
    CROWDING = "crowding"


class ExposedPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place where contacts met index subjects.

    `people` contacts were exposed here, `person_seconds` all together, each one's exposures united; between `first` and
    `last` (Unix ms). `index` counts the index subjects whom they met here, `index_seconds` is how long at least one of
    those was here. `peak` people (they included) were here and in the places inside at once while one was, from
    `peak_at` on; null where no scan of those times is kept any more. `crowding` is peak ÷ capacity, null where either
    is unknown.
    """

    place: str
    within: tuple[str, ...]
    people: int
    person_seconds: float
    first: int
    last: int
    index: int
    index_seconds: float
    peak: int | None
    peak_at: int | None
    capacity: int | None
    crowding: float | None


class Exposures(msgspec.Struct, frozen=True, kw_only=True):
    """The places of a trace's contacts at depth 1, ranked by `order`; `index` as the trace has it.

    `trace` is the saved trace's id, null where the question was asked for this alone. `people` and `person_seconds` are
    of all places, `left_out` says how many of these are not listed. `cut_off` is the trace's; its `kept_from` is there
    also where scans have gone since by which the people at a place are counted.
    """

    trace: str | None
    question: ResolvedQuestion
    cut_off: CutOff
    index: tuple[AnsweredIndex, ...]
    order: Order
    people: int
    person_seconds: float
    left_out: int
    places: tuple[ExposedPlace, ...]


Shown = Annotated[int, Meta(ge=1, le=PLACES_MAX)]


def exposures_of(
    answer: Answer, *, trace: str | None, order: Order, places_max: int, store: Store, registry: Registry
) -> Exposures:
    """The places of an answer, ranked. Raises `StoreDown`, and `ProblemError` where a place has too many people."""
    kept_from = registry.kept.kept_from
    premises = Premises(registry.places_as_of(answer.cut_off.as_of))
    met: dict[str, dict[str, list[Encounter]]] = {}
    contacts = [contact for contact in answer.contacts if contact.depth == 1]
    for contact in contacts:
        for met_once in contact.encounters:
            met.setdefault(met_once.place, {}).setdefault(contact.subject, []).append(met_once)
    windows = _windows(answer)
    found = [_exposed(place, met[place], windows, premises) for place in sorted(met)]
    if order is not Order.CROWDING:
        found.sort(key=lambda one: _rank(one[0], order))
        found = found[:places_max]
    ranked = []
    for one, times in found:
        if times[-1][1] <= kept_from:
            ranked.append(one)
            continue
        here = read_present(
            store,
            registry,
            _inside(one.place, premises),
            times,
            as_of=answer.cut_off.as_of,
            dwell_seconds=answer.question.dwell_seconds,
        )
        ranked.append(_with_peak(one, times, here))
    if registry.kept.kept_from != kept_from:  # what was read may have gone
        return exposures_of(answer, trace=trace, order=order, places_max=places_max, store=store, registry=registry)
    ranked.sort(key=lambda one: _rank(one, order))
    gone = behind(kept_from, min(each.from_ for each in answer.index))
    return Exposures(
        trace=trace,
        question=answer.question,
        cut_off=msgspec.structs.replace(answer.cut_off, kept_from=gone),
        index=answer.index,
        order=order,
        people=len(contacts),
        person_seconds=sum(contact.ms for contact in contacts) / 1000,
        left_out=len(met) - len(ranked[:places_max]),
        places=tuple(ranked[:places_max]),
    )


def _inside(place: str, premises: Premises) -> list[str]:
    return [each.id for each in premises.inside(place)] or [place]


def _windows(answer: Answer) -> Mapping[str, list[Interval]]:
    windows: dict[str, list[Interval]] = {}
    for each in answer.index:
        windows.setdefault(each.subject, []).append((each.from_, each.to))
    return windows


def _exposed(
    place: str,
    met: Mapping[str, Iterable[Encounter]],
    windows: Mapping[str, Iterable[Interval]],
    premises: Premises,
) -> tuple[ExposedPlace, list[Interval]]:
    """The place without its peak, and when index subjects were there."""
    encounters = [one for each in met.values() for one in each]
    infected = union(
        (max(one.index_stay.start, start), min(one.index_stay.end, end))
        for one in encounters
        for start, end in windows[one.index]
    )
    known = premises.tree.by_id.get(place)
    exposed = ExposedPlace(
        place=place,
        within=premises.around(place)[1:],
        people=len(met),
        person_seconds=sum(length(union((one.start, one.end) for one in each)) for each in met.values()) / 1000,
        first=min(one.start for one in encounters),
        last=max(one.end for one in encounters),
        index=len({one.index for one in encounters}),
        index_seconds=length(infected) / 1000,
        peak=None,
        peak_at=None,
        capacity=known.capacity if known is not None else None,
        crowding=None,
    )
    return exposed, infected


def _with_peak(one: ExposedPlace, times: Sequence[Interval], here: Mapping[str, Sequence[Interval]]) -> ExposedPlace:
    """How full the place was during `times`, where `here` says when everybody was there."""
    together = [each for intervals in here.values() for each in intervals]
    peak, peak_at = max(
        (peak_within(together, start, end) for start, end in times), key=lambda found: (found[0], -found[1])
    )
    return msgspec.structs.replace(one, peak=peak, peak_at=peak_at, crowding=crowding(peak, one.capacity))


def _rank(one: ExposedPlace, order: Order) -> tuple[float, float, int, str]:
    if order is Order.PEOPLE:
        return -one.people, -one.person_seconds, one.first, one.place
    if order is Order.CROWDING:
        return -(one.crowding or 0.0), -one.person_seconds, one.first, one.place
    return -one.person_seconds, -one.people, one.first, one.place
