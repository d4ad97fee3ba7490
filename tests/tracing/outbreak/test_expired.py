"""What happened before the moment from which scans are kept counts nowhere, whether it has been deleted yet or not."""

import random
from collections.abc import Iterable
from typing import Final

import msgspec
import redis

from events.clusters import Announcement
from events.control import Recorded, RetentionAdvanced
from events.scans import Kind
from storage.clickhouse import Store
from storage.clusters import CLUSTERS, ClusterFeed
from storage.watermarks import Watermark
from tests.tracing.cases import CaseScan
from tests.tracing.outbreak.gathering import Marks
from tests.tracing.outbreak.province import DAY, EVENING, HALL, HOUR, PLACES, START, province
from tests.tracing.world import FOREVER, World
from tracing.answer import Answer
from tracing.moment import Moments
from tracing.outbreak.attendance import Attendance, PlaceOccupancy
from tracing.outbreak.exposed import Exposed, SourcesQuestion
from tracing.outbreak.exposures import Exposures, Order, exposures_of
from tracing.outbreak.populace import PeopleAround, PeopleScanned, Population, hours_of
from tracing.outbreak.sources import Sources, SourcesAnswer
from tracing.outbreak.watcher import ClusterRules, ClusterWatcher
from tracing.question import Index, Question

HIDDEN = province()
KEPT_FROM: Final = EVENING + HOUR
"""In the midst of the evening: of most stays there the entry is gone, and the exit kept."""
EXPOSED: Final = tuple(Exposed(case=case.id) for case in HIDDEN.cases if case.id != "case-source")
PASSERS_BY: Final = [
    CaseScan("at-shop-1", 1_000_000 + hour, START + hour * HOUR, START + DAY, Kind.IN, "shop-1", f"passer-by-{hour}")
    for hour in range(20)
]
"""Never scanned again."""
SCANS: Final = [*HIDDEN.scans, *PASSERS_BY]
KEPT: Final = [scan for scan in SCANS if scan.at >= KEPT_FROM]
QUESTION: Final = Question(index=Index(cases=("case-source",)), min_seconds=60)
NOON: Final = START + 4 * DAY + 12 * HOUR


def world_of(store: Store, scans: Iterable[CaseScan]) -> World:
    world = World(store, PLACES)
    world.deliver(scans)
    for case in HIDDEN.cases:
        world.confirm(case, 0)
    return world


class Answers(msgspec.Struct, frozen=True):
    """All that an outbreak is asked."""

    sources: SourcesAnswer
    occupancy: PlaceOccupancy
    exposures: list[Exposures]
    clusters: list[Announcement]


def exposures(world: World, trace: Answer, order: Order) -> Exposures:
    return exposures_of(trace, trace=None, order=order, places_max=100, store=world.store, registry=world.registry)


def asked(world: World, client: "redis.Redis") -> Answers:
    world.store.command("TRUNCATE TABLE clusters")
    client.delete(CLUSTERS)
    feed = ClusterFeed(client)
    moments = Moments(world.watermarks, lambda seconds: True, lambda: world.now)
    sources = Sources(store=world.store, registry=world.registry, moments=moments, random=random.Random(1).randbytes)
    attendance = Attendance(store=world.store, registry=world.registry, moments=moments)
    trace = world.tracer().trace(QUESTION)
    marks = Marks()
    marks.mark = Watermark(FOREVER, len(HIDDEN.scans))
    watcher = ClusterWatcher(
        store=world.store,
        registry=world.registry,
        caught_up=lambda seconds: True,
        watermarks=marks,
        feed=feed,
        rules=ClusterRules(cases_min=3, window_hours=6),
        clock=lambda: START + 12 * DAY,
        owner="watcher",
    )
    watcher.step()
    return Answers(
        sources=sources.ask(SourcesQuestion(exposed=EXPOSED)),
        occupancy=attendance.of(HALL, NOON, NOON + 2 * DAY, None),
        exposures=[exposures(world, trace, order) for order in Order],
        clusters=[entry.announcement for entry in feed.after(0)],
    )


def retained(world: World, kept_from: int = KEPT_FROM) -> None:
    world.registry.apply(Recorded(FOREVER, RetentionAdvanced(kept_from)))


def test_no_answer_depends_on_whether_a_partition_was_dropped_yet(read_models: Store, valkey: "redis.Redis") -> None:
    whole = world_of(read_models, SCANS)
    everything = asked(whole, valkey)
    retained(whole)
    still_there = asked(whole, valkey)
    dropped = world_of(read_models, KEPT)
    retained(dropped)
    gone = asked(dropped, valkey)
    for field in Answers.__struct_fields__:
        assert getattr(still_there, field) == getattr(gone, field), field
        assert getattr(still_there, field) != getattr(everything, field), f"{field}: nothing was left out"


def test_of_how_many_people_were_where_what_is_gone_is_left_out(read_models: Store) -> None:
    world = world_of(read_models, SCANS)
    numbers = world.registry.places().by_id
    whole_time = [hours_of(numbers[place].number, START, START + 12 * DAY) for place in (HALL, "shop-1")]
    groups = [whole_time[:1], whole_time[1:]]

    def counted(kept_from: int) -> list[object]:
        return [
            PeopleScanned(groups=groups, as_of=FOREVER, kept_from=kept_from).read(world.store),
            PeopleAround(groups=groups, least=1, limit=1_000, as_of=FOREVER, kept_from=kept_from).read(world.store),
            Population(from_=START, to=START + 12 * DAY, as_of=FOREVER, kept_from=kept_from).count(world.store),
        ]

    all_there, still_there = counted(0), counted(KEPT_FROM)
    world = world_of(read_models, KEPT)
    assert counted(0) == counted(KEPT_FROM) == still_there
    assert all(one != other for one, other in zip(all_there, still_there, strict=True))


def test_of_a_saved_trace_it_is_said_where_nobody_can_be_counted_any_more(read_models: Store) -> None:
    world = world_of(read_models, SCANS)
    trace = world.tracer().trace(QUESTION)
    before = exposures(world, trace, Order.PEOPLE)
    later = EVENING + 5 * HOUR
    retained(world, later)
    since = exposures(world, trace, Order.PEOPLE)
    assert (before.cut_off.kept_from, since.cut_off.kept_from) == (None, later)
    assert [(each.place, each.people) for each in since.places] == [(each.place, each.people) for each in before.places]
    assert all(each.peak and each.peak_at for each in before.places)
    over = {each.place for each in since.places if each.last <= later}
    assert {HALL} <= over < {each.place for each in since.places}
    for each in since.places:
        nobody_knows = (each.peak, each.peak_at, each.crowding) == (None, None, None)
        assert nobody_knows == (each.place in over), each.place
