"""A superspreading evening, hidden in twelve days of a province, and what may go wrong with the question."""

import random

import msgspec
import pytest

from events import problems
from events.problems import Kind, ProblemError
from storage.clickhouse import Store
from tests.tracing.outbreak.province import DAY, EVENING, HALL, HOUR, PLACES, SOURCE, START, Province, province
from tests.tracing.world import SUBJECT_ROW, World, name_of, pseudonym
from tracing.moment import Moments
from tracing.outbreak.chance import chance
from tracing.outbreak.exposed import LOOKBACK_DAYS_DEFAULT, Exposed, SourcesQuestion
from tracing.outbreak.populace import (
    GROUPS_A_QUERY,
    RUNS_A_PARAMETER,
    Hours,
    PeopleAround,
    PeopleScanned,
    Population,
    joined,
)
from tracing.outbreak.sources import Sources, SourcesAnswer

HIDDEN = province()
EXPOSED = tuple(Exposed(case=case.id) for case in HIDDEN.cases if case.id != "case-source")
QUESTION = SourcesQuestion(exposed=EXPOSED)


@pytest.fixture(scope="module")
def world(read_models: Store) -> World:
    world = World(read_models, PLACES)
    world.deliver(HIDDEN.scans)
    for case in HIDDEN.cases:
        world.confirm(case, 0)
    return world


def sources(world: World, seed: int = 1) -> Sources:
    moments = Moments(world.watermarks, lambda seconds: True, lambda: world.now)
    return Sources(store=world.store, registry=world.registry, moments=moments, random=random.Random(seed).randbytes)


@pytest.fixture(scope="module")
def answer(world: World) -> SourcesAnswer:
    return sources(world).ask(QUESTION)


def scanned(hidden: Province, places: set[str], from_hour: int, to_hour: int) -> set[str]:
    """Who was scanned at the places in the hours, by reading every scan."""
    return {scan.subject for scan in hidden.scans if scan.place in places and from_hour <= scan.at // HOUR < to_hour}


def test_the_planted_evening_is_first_with_its_proof(answer: SourcesAnswer) -> None:
    first = answer.places[0]
    assert (first.place, first.within) == (HALL, ("hotel",))
    assert [name_of(subject) for subject in first.subjects] == sorted(HIDDEN.infected)
    assert EVENING <= first.from_ < first.to <= EVENING + 4 * HOUR
    assert len(first.visits) == len(HIDDEN.infected)
    assert all(len(visit.stay.scans) == 2 for visit in first.visits)
    assert first.chance.log10_chance < -5
    assert not any(place.place == "hotel" for place in answer.places), "the hotel says no more than its hall"


def test_whoever_was_infectious_that_evening_is_the_first_person(answer: SourcesAnswer) -> None:
    first = answer.people[0]
    assert (name_of(first.subject), first.cases) == (SOURCE, ("case-source",))
    assert first.met_while_infectious == first.chance.explained == len(HIDDEN.infected)
    assert {name_of(meeting.subject) for meeting in first.meetings} == set(HIDDEN.infected)
    assert all(one.index == first.subject for meeting in first.meetings for one in meeting.encounters)
    assert all(person.met_while_infectious < 2 for person in answer.people[1:])


def test_every_number_of_a_chance_can_be_counted(answer: SourcesAnswer) -> None:
    windows = [(each.from_, each.to) for each in answer.exposed]
    span = (min(start for start, _ in windows), max(end for _, end in windows))
    assert answer.population == len({scan.subject for scan in HIDDEN.scans if span[0] <= scan.at < span[1]})
    dwell = {place.id: place.dwell_ms for place in PLACES}
    inside = {"mall": {"mall", "food-court"}, "hotel": {"hotel", HALL}}
    for place in answer.places:
        around = {
            subject
            for each in inside.get(place.place, {place.place})
            for subject in scanned(HIDDEN, {each}, (place.from_ - dwell[each]) // HOUR, -(-place.to // HOUR))
        }
        eligible = sum(start < place.to and place.from_ < end for start, end in windows)
        assert place.chance == chance(
            explained=len(place.subjects), eligible=eligible, around=len(around), population=answer.population
        )
    surprises = [place.chance.log10_chance for place in answer.places]
    assert surprises == sorted(surprises)


def test_the_default_window_is_the_incubation_before_each_could_infect_others(answer: SourcesAnswer) -> None:
    cases = {case.id: case for case in HIDDEN.cases}
    for each in answer.exposed:
        (case,) = (cases[one] for one in each.cases)
        assert (each.from_, each.to) == (case.infectious_from - LOOKBACK_DAYS_DEFAULT * DAY, case.infectious_from)


def test_asked_again_it_is_the_same_but_for_its_name(world: World, answer: SourcesAnswer) -> None:
    again = sources(world, seed=2).ask(msgspec.structs.replace(QUESTION, as_of=answer.cut_off.as_of))
    assert again.id != answer.id
    assert again.fingerprint == answer.fingerprint
    assert msgspec.structs.replace(again, id=answer.id) == answer


def test_as_of_before_the_evening_knows_nothing_of_it(world: World) -> None:
    early = sources(world).ask(msgspec.structs.replace(QUESTION, as_of=EVENING - HOUR))
    assert all(place.place != HALL for place in early.places)
    assert SOURCE not in {name_of(person.subject) for person in early.people if person.met_while_infectious}


def test_no_more_is_named_than_is_asked_for(world: World, answer: SourcesAnswer) -> None:
    few = sources(world).ask(msgspec.structs.replace(QUESTION, places_max=1, people_max=2))
    assert (few.places, few.people) == (answer.places[:1], answer.people[:2])
    places_alone = sources(world).ask(msgspec.structs.replace(QUESTION, people_max=0))
    assert (places_alone.places, places_alone.people, places_alone.people_compared) == (answer.places, (), 0)


def test_a_large_population_is_judged_by_a_part_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spread = random.Random(7)
    rows = [
        SUBJECT_ROW.pack(spread.randbytes(16), START + number, 1, number, 1, 1, 1, START + number)
        for number in range(20_000)
    ]
    elsewhere = START + 400 * DAY
    shifted = [SUBJECT_ROW.pack(row[:16], elsewhere, *SUBJECT_ROW.unpack(row)[2:]) for row in rows]
    world.store.insert_rowbinary("scans_by_subject", b"".join(shifted), token="large population")
    asked = Population(from_=elsewhere, to=elsewhere + 1, as_of=world.now)
    assert asked.count(world.store) == 20_000
    monkeypatch.setattr(Population, "ENOUGH", 1_000)
    assert asked.count(world.store) % 16 == 0
    assert 18_000 < asked.count(world.store) < 22_000


def test_subjects_without_a_case_have_windows_of_their_own(world: World) -> None:
    guests = tuple(
        Exposed(subject=pseudonym(person), from_=EVENING - HOUR, to=EVENING + 6 * HOUR) for person in HIDDEN.infected
    )
    found = sources(world).ask(SourcesQuestion(exposed=guests))
    assert found.places[0].place == HALL
    assert found.places[0].chance.explained == len(guests)
    nobody = Exposed(subject=pseudonym("nobody"), from_=EVENING, to=EVENING + HOUR)
    with_nobody = sources(world).ask(SourcesQuestion(exposed=(*guests, nobody)))
    assert with_nobody.exposed_without_scans == (pseudonym("nobody"),)
    assert with_nobody.places[0].chance.eligible == len(guests), "who was seen nowhere could be seen nowhere here"


WINDOW = {"from_": START, "to": START + DAY}


@pytest.mark.parametrize(
    ("exposed", "kind", "pointer"),
    [
        ((Exposed(case="case-source"), Exposed(case="nobody")), problems.SUBJECT_UNKNOWN, "/exposed/1/case"),
        ((Exposed(case="case-source"), Exposed()), problems.QUESTION_INVALID, "/exposed/1"),
        ((Exposed(case="case-source"), Exposed(subject="0" * 32)), problems.QUESTION_INVALID, "/exposed/1/from"),
        (
            (Exposed(case="case-source"), Exposed(subject="0" * 32, from_=START)),
            problems.QUESTION_INVALID,
            "/exposed/1/to",
        ),
        ((Exposed(case="case-source"), Exposed(case="case-source")), problems.QUESTION_INVALID, "/exposed"),
        (
            (Exposed(case="case-source"), Exposed(subject="0" * 32, from_=START + DAY, to=START)),
            problems.WINDOW_REVERSED,
            "/exposed/1",
        ),
        (
            (Exposed(case="case-source"), Exposed(subject="0" * 32, from_=START, to=START + 36 * DAY)),
            problems.WINDOW_TOO_LONG,
            "/exposed/1",
        ),
    ],
)
def test_a_bad_question_says_where(world: World, exposed: tuple[Exposed, ...], kind: Kind, pointer: str) -> None:
    with pytest.raises(ProblemError) as error:
        sources(world).ask(SourcesQuestion(exposed=exposed))
    assert (error.value.problem.name, error.value.problem.pointer) == (kind.name, pointer)


def test_more_runs_of_hours_than_a_parameter_takes_are_asked_for_at_once(world: World) -> None:
    tree = world.registry.places()
    numbers = [place.number for place in tree.by_id.values()]
    often = [Hours(number, hour, hour + 1) for number in numbers for hour in range(0, 900_000, 4_500)]
    evening = [Hours(tree.by_id[HALL].number, EVENING // HOUR, EVENING // HOUR + 5)]
    assert len(joined([*often, *evening])) > RUNS_A_PARAMETER
    guests = scanned(HIDDEN, {HALL}, EVENING // HOUR, EVENING // HOUR + 5)
    groups = [[*often, *evening, *evening], [], evening, *([] for _ in range(GROUPS_A_QUERY)), evening]
    counts = PeopleScanned(groups=groups, as_of=world.now).read(world.store)
    assert counts == [len(guests), 0, len(guests), *([0] * GROUPS_A_QUERY), len(guests)]
    assert PeopleScanned(groups=[[]], as_of=world.now).read(world.store) == [0]


def test_people_around_several_are_those_that_reading_every_scan_gives(world: World) -> None:
    tree = world.registry.places().by_id
    places = ("mall", "market", HALL, "shop-1")
    day = (START + 5 * DAY) // HOUR
    groups = [
        [Hours(tree[place].number, day, day + 30), Hours(tree[place].number, day + 20, day + 50)] for place in places
    ]
    there = [scanned(HIDDEN, {place}, day, day + 50) for place in places]
    counts = {who: sum(who in each for each in there) for who in set().union(*there)}
    expected = sorted(
        ((pseudonym(who), count) for who, count in counts.items() if count >= 2), key=lambda one: (-one[1], one[0])
    )
    found, count = PeopleAround(groups=groups, least=2, limit=1_000, as_of=world.now).read(world.store)
    assert [tuple(one) for one in found] == expected
    assert count == len(expected) > 3
    assert PeopleAround(groups=groups, least=2, limit=3, as_of=world.now).read(world.store) == (found[:3], count)
    assert PeopleAround(groups=[[], []], least=2, limit=3, as_of=world.now).read(world.store) == ([], 0)


def test_of_too_many_people_those_around_most_are_read(
    world: World, answer: SourcesAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracing.outbreak.sources.PEOPLE_READ_MAX", 12)
    few = sources(world).ask(QUESTION)
    assert few.people_left_out > 0
    assert few.people_compared <= 12 + len(HIDDEN.cases)
    assert few.people[0] == answer.people[0], "whoever is known to have been infectious is always read"
