"""A place's hours and its exposures in the province, against walking everybody and counting."""

import msgspec
import pytest

from events import problems
from events.places import PlaceTree
from events.problems import Kind, ProblemError
from projections.stays import walk
from storage.clickhouse import Store
from tests.tracing.cases import counted, sightings_by_subject
from tests.tracing.outbreak.province import DAY, EVENING, HALL, HOUR, PLACES, SOURCE, START, province
from tests.tracing.world import FOREVER, World, pseudonym
from tracing.moment import Moments
from tracing.outbreak.attendance import Attendance, PlaceOccupancy, without_small_counts
from tracing.outbreak.exposures import Exposures, Order, exposures_of
from tracing.outbreak.intervals import Interval, length, union
from tracing.outbreak.occupancy import by_hour, peak_within, present
from tracing.question import Index, Question

HIDDEN = province()
TREE = PlaceTree(PLACES)
STAYS = {
    pseudonym(subject): walk(sightings, TREE, FOREVER)
    for subject, sightings in sightings_by_subject(counted(HIDDEN.scans, FOREVER)).items()
}
QUESTION = Question(index=Index(cases=("case-source",)), min_seconds=60)


@pytest.fixture(scope="module")
def world(read_models: Store) -> World:
    world = World(read_models, PLACES)
    world.deliver(HIDDEN.scans)
    for case in HIDDEN.cases:
        world.confirm(case, 0)
    return world


def occupancy(world: World, place: str, from_ms: int, to_ms: int, as_of: int | None = None) -> PlaceOccupancy:
    moments = Moments(world.watermarks, lambda seconds: True, lambda: world.now)
    attendance = Attendance(store=world.store, registry=world.registry, moments=moments)
    return attendance.of(place, from_ms, to_ms, as_of)


def midnight(day: int) -> int:
    return (START + day * DAY) // HOUR * HOUR


@pytest.mark.parametrize(
    ("place", "inside"), [("mall", {"mall", "food-court"}), ("food-court", {"food-court"}), (HALL, {HALL})]
)
def test_hours_and_totals_are_those_of_everybody_s_walks(world: World, place: str, inside: set[str]) -> None:
    start, end = midnight(4), midnight(7) + 5 * HOUR  # three days and a piece: read in four
    found = occupancy(world, place, start, end)
    here = present(STAYS, inside)
    hours = by_hour(here, start, end)
    assert list(found.hours) == hours
    touching = {who for who, times in here.items() if any(s < end and e > start for s, e in times)}
    peak, peak_at = peak_within((each for times in here.values() for each in times), start, end)
    assert (found.people, found.peak, found.peak_at) == (len(touching), peak, peak_at)
    assert found.person_seconds == sum(
        length(union((max(s, start), min(e, end)) for s, e in times)) / 1000 for times in here.values()
    )
    assert found.entries == sum(start <= s < end for times in here.values() for s, _ in times)
    assert found.places == len(inside)
    assert found.crowding == pytest.approx(peak / (TREE.by_id[place].capacity or 0), abs=1e-4)


def test_as_of_earlier_nobody_had_come_yet(world: World) -> None:
    found = occupancy(world, HALL, midnight(5), midnight(6), as_of=EVENING - HOUR)
    assert (found.people, found.peak, found.peak_at, found.person_seconds) == (0, 0, None, 0)


def test_those_who_may_look_at_nobody_are_told_no_small_counts(world: World) -> None:
    exact = occupancy(world, "food-court", midnight(4), midnight(6))
    told = without_small_counts(exact, 5)
    small = [hour for hour in exact.hours if 0 < (hour.people or 0) < 5]
    assert small
    assert {hour.from_ for hour in told.hours if hour.people is None} == {hour.from_ for hour in small}
    assert told.people_min == 5
    assert told.entries == sum(hour.entries or 0 for hour in told.hours)
    assert told.peak_at is None
    nobody = without_small_counts(msgspec.structs.replace(exact, people=3, hours=tuple(small)), 5)
    assert (nobody.people, nobody.peak, nobody.crowding, nobody.person_seconds) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("place", "from_ms", "to_ms", "kind"),
    [
        ("nowhere", midnight(1), midnight(2), problems.NOT_FOUND),
        ("mall", midnight(2), midnight(1), problems.WINDOW_REVERSED),
        ("mall", midnight(0), midnight(36), problems.WINDOW_TOO_LONG),
    ],
)
def test_a_bad_question_says_what_is_wrong(world: World, place: str, from_ms: int, to_ms: int, kind: Kind) -> None:
    with pytest.raises(ProblemError) as error:
        occupancy(world, place, from_ms, to_ms)
    assert error.value.problem.name == kind.name


def exposures(world: World, order: Order = Order.PERSON_SECONDS, places_max: int = 100) -> Exposures:
    answer = world.tracer().trace(QUESTION)
    return exposures_of(
        answer, trace=None, order=order, places_max=places_max, store=world.store, registry=world.registry
    )


def test_places_are_ranked_by_people_and_time_that_walking_gives(world: World) -> None:
    (case,) = (each for each in HIDDEN.cases if each.id == "case-source")
    window = (case.infectious_from, case.infectious_to)
    infected: dict[str, list[Interval]] = {}
    for stay in STAYS[pseudonym(SOURCE)]:
        if max(stay.start, window[0]) < min(stay.end, window[1]):
            infected.setdefault(stay.place, []).append((max(stay.start, window[0]), min(stay.end, window[1])))
    found = exposures(world)
    expected: dict[str, dict[str, list[Interval]]] = {}
    for subject, stays in STAYS.items():
        together: list[tuple[str, Interval]] = []
        for stay in stays:
            for start, end in infected.get(stay.place, []):
                low, high = max(stay.start, start), min(stay.end, end)
                if low < high and subject != pseudonym(SOURCE):
                    together.append((stay.place, (low, high)))
        if length(union(each for _, each in together)) >= 60_000:
            for place, each in together:
                expected.setdefault(place, {}).setdefault(subject, []).append(each)
    assert {place.place for place in found.places} == set(expected)
    for exposed in found.places:
        met = expected[exposed.place]
        assert exposed.people == len(met)
        assert exposed.person_seconds == sum(length(union(times)) for times in met.values()) / 1000
        assert exposed.index == 1
        assert exposed.index_seconds == length(union(infected[exposed.place])) / 1000
        inside = {place_id for place_id in TREE.by_id if TREE.within(place_id, exposed.place)}
        crowd = [each for times in present(STAYS, inside).values() for each in times]
        assert exposed.peak == max(peak_within(crowd, start, end)[0] for start, end in infected[exposed.place])
    ranks = [exposed.person_seconds for exposed in found.places]
    assert ranks == sorted(ranks, reverse=True)
    hall = next(place for place in found.places if place.place == HALL)
    assert (hall.capacity, hall.within) == (35, ("hotel",))
    assert hall.crowding == pytest.approx((hall.peak or 0) / 35, abs=1e-4)


@pytest.mark.parametrize("order", list(Order))
def test_an_order_ranks_all_places_and_a_limit_cuts_the_end(world: World, order: Order) -> None:
    whole, one = exposures(world, order), exposures(world, order, places_max=1)
    key: list[float] = {
        Order.PERSON_SECONDS: [place.person_seconds for place in whole.places],
        Order.PEOPLE: [float(place.people) for place in whole.places],
        Order.CROWDING: [place.crowding or 0.0 for place in whole.places],
    }[order]
    assert key == sorted(key, reverse=True)
    assert one.places == whole.places[:1]
    assert (whole.left_out, one.left_out) == (0, len(whole.places) - 1)
