"""The settled stays, whatever happens, against the plain walk of every scan."""

import contextlib
import itertools
import random
from collections.abc import Iterator

import pytest
import redis
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from events.control import DeviceKeyRestored, DeviceKeyRevoked, PlaceRegistered, RetentionAdvanced
from events.places import Place
from events.scans import Kind
from projections.projector import Projector
from projections.settler import SettlerLimits
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR
from storage.clickhouse import Store, migrate
from storage.errors import StoreDown
from storage.rebuilds import Rebuilds
from tests.projections.settling import (
    DEVICES,
    FOREVER,
    HOUR_MS,
    KEY,
    Delivery,
    SettledStay,
    SettlingWorld,
    known_for_ever,
)

START = 1_634_860_800_000
STEP_MS = 10 * 60_000
SUBJECTS = [bytes([number * 40]) + b"s" * 15 for number in range(6)]
DWELLS = (None, 600, 3_600, 9 * 3_600, 12 * 3_600)
UNREGISTERED = 77
"""Of a place whose registration may come, much later than scans there."""


class Died(Exception):
    """The process ends here."""


@pytest.fixture(scope="module")
def settled_store(chdb_url: str) -> Iterator[Store]:
    store = Store(chdb_url, database="test_settler")
    migrate(store)
    yield store
    store.command(f"DROP DATABASE {store.database} SYNC")
    store.close()


def place(number: int, rng: random.Random, version: int = 0) -> Place:
    """A place that lies in one of a lower number, or in none."""
    parent = rng.choice([None, *(f"p{outer}" for outer in range(number))]) if number < UNREGISTERED else None
    return Place(id=f"p{number}", number=number, name=f"v{version}", parent=parent, dwell_seconds=rng.choice(DWELLS))


class Story:
    """One world and what happens in it, drawn from a seed."""

    def __init__(self, store: Store, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = SettlingWorld(store, [place(number, self.rng) for number in range(5)], now=START)
        self.seqs = {device: itertools.count(1) for device in DEVICES}
        self.steps_to_live = 0

    def scans(self) -> None:
        """Some come in: most happened just now, some long ago."""
        rng, world = self.rng, self.world
        late = rng.random() < 0.3
        device = rng.choice(list(DEVICES))
        world.deliver(
            Delivery(
                subject=rng.choice(SUBJECTS),
                at=(world.now - rng.randrange(60 * 6 if late else 3 * 6) * STEP_MS) // STEP_MS * STEP_MS,
                kind=rng.choice(list(Kind)),
                device=device,
                seq=next(self.seqs[device]),
                place=rng.choice([*range(5), *range(5), UNREGISTERED]),
                received=world.now,
            )
            for _ in range(rng.choice([1, 5, 25]))
        )

    def time(self) -> None:
        self.world.pass_time(self.rng.choice([1, STEP_MS, 8 * HOUR_MS, 30 * HOUR_MS]))

    def redraw(self) -> None:
        number = self.rng.choice([*range(5), UNREGISTERED])
        self.world.record(PlaceRegistered(place(number, self.rng, version=self.world.now)))

    def revoke(self) -> None:
        since = self.world.now - self.rng.randrange(40) * HOUR_MS
        self.world.record(DeviceKeyRevoked(self.rng.choice(list(DEVICES.values())), KEY, since))

    def restore(self) -> None:
        self.world.record(DeviceKeyRestored(self.rng.choice(list(DEVICES.values())), KEY))

    def expire(self) -> None:
        self.world.record(RetentionAdvanced(self.world.now - self.rng.randrange(60, 100) * HOUR_MS))

    def merge(self) -> None:
        self.world.store.command(f"OPTIMIZE TABLE {STAYS_BY_PLACE_HOUR} FINAL")

    def restart(self) -> None:
        self.world.settler = self.world.begun(portion_scans=self.rng.choice([10, 40, 10_000]))

    def die_settling(self) -> None:
        """Settle, and die after some step."""
        steps = iter(range(self.rng.randrange(6)))

        def mortal(step: str) -> None:
            if next(steps, None) is None:
                raise Died

        self.world.settler = self.world.begun(mortal, portion_scans=self.rng.choice([10, 40]))
        with contextlib.suppress(Died):
            self.world.settle()
        self.restart()

    def settle(self) -> None:
        """What is settled is what the plain walk gives, and a reader who goes by the mark is not misled."""
        world = self.world
        world.pass_time(1)
        mark = world.settle()
        if mark.received == world.watermarks.mark.received:
            assert mark.rows == world.watermarks.mark.rows
        assert known_for_ever(world.settled(mark.received)) == world.walked(world.watermarks.mark.received)


HAPPENINGS = ("scans", "time", "settle", "die_settling", "redraw", "revoke", "restore", "merge", "restart", "expire")


@settings(max_examples=12, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    happenings=st.lists(st.sampled_from([*["scans", "time", "settle"] * 3, *HAPPENINGS]), min_size=4, max_size=16),
)
def test_whatever_happens_settled_stays_are_what_the_plain_walk_gives(
    settled_store: Store, seed: int, happenings: list[str]
) -> None:
    story = Story(settled_store, seed)
    for happening in [*happenings, "settle"]:
        getattr(story, happening)()
    assert story.world.digest() == story.world.digest_anew()


def settled_world(store: Store, seed: int = 3) -> Story:
    """Some two hundred scans, settled."""
    story = Story(store, seed)
    for _ in range(12):
        story.scans()
        story.time()
    story.settle()
    return story


@pytest.mark.parametrize("step", ["settled", "exchanged", "marked", "told"])
@pytest.mark.parametrize("first", [True, False])
def test_a_death_after_any_step_is_made_good(settled_store: Store, step: str, first: bool) -> None:
    story = Story(settled_store, 1) if first else settled_world(settled_store)
    for happening in ("scans", "scans", "time", "redraw", "scans"):
        getattr(story, happening)()
    story.world.pass_time(1)

    def mortal(taken: str) -> None:
        if taken == step:
            raise Died

    story.world.settler = story.world.begun(mortal)
    if step != "exchanged" or first:
        with pytest.raises(Died):
            story.world.settle()
    story.scans()
    story.restart()
    story.settle()


def test_what_somebody_left_who_died_goes_where_it_is_wrong_by_now(settled_store: Store) -> None:
    """The entry that was settled as a stay of its own is a re-scan once an earlier one came in."""
    world = SettlingWorld(settled_store, [Place(id="p", number=1, name="P")], now=START)
    world.deliver([Delivery(SUBJECTS[1], START, Kind.IN, 999, 1, 1, world.now)])
    world.pass_time(HOUR_MS)
    world.settle()

    def mortal(step: str) -> None:
        raise Died

    world.deliver([Delivery(SUBJECTS[0], START + 60 * 60_000, Kind.IN, 999, 2, 1, world.now)])
    world.pass_time(HOUR_MS)
    world.settler = world.begun(mortal)
    with pytest.raises(Died):
        world.settle()
    world.deliver([Delivery(SUBJECTS[0], START + 30 * 60_000, Kind.IN, 999, 3, 1, world.now)])
    world.pass_time(HOUR_MS)
    world.settler = world.begun()
    mark = world.settle().received
    assert [stay[1] - START for stay in world.settled(mark)[SUBJECTS[0]]] == [30 * 60_000]
    assert known_for_ever(world.settled(mark)) == world.walked(mark)
    assert world.digest() == world.digest_anew()


def test_somebody_who_never_leaves_is_walked_from_the_beginning(settled_store: Store) -> None:
    """Nothing in the last days says where a stay began that is cut once a day."""
    world = SettlingWorld(settled_store, [Place(id="q", number=1, name="Q", dwell_seconds=12 * 3_600)], now=START)
    for number in range(44):
        world.deliver([Delivery(SUBJECTS[0], world.now, Kind.IN, 999, number + 1, 1, world.now)])
        world.pass_time(5 * HOUR_MS)
        if number > 40:
            mark = world.settle().received
            assert known_for_ever(world.settled(mark)) == world.walked(mark)
    assert len(world.settled(mark)[SUBJECTS[0]]) == 1 + 44 * 5 // 25


def test_a_stay_is_found_by_its_places_new_dwell(settled_store: Store) -> None:
    """The stay itself is the same, but it has to stand at other hours."""
    world = SettlingWorld(settled_store, [Place(id="r", number=1, name="R", dwell_seconds=3_600)], now=START)
    kinds = [Kind.IN] * 9 + [Kind.OUT]
    world.deliver(
        Delivery(SUBJECTS[0], START + number * 1_800_000, kind, 999, number + 1, 1, world.now)
        for number, kind in enumerate(kinds)
    )
    world.pass_time(6 * HOUR_MS)
    before = world.settled(world.settle().received)
    world.record(PlaceRegistered(Place(id="r", number=1, name="R", dwell_seconds=3 * 3_600)))
    world.pass_time(HOUR_MS)
    assert world.settled(world.settle().received) == before != {}


def test_a_fault_in_the_middle_is_made_good_without_a_restart(settled_store: Store) -> None:
    story = settled_world(settled_store)
    faults = iter([True])

    def failing(step: str) -> None:
        if step == "settled" and next(faults, False):
            raise StoreDown("gone")

    story.world.settler = story.world.begun(failing)
    story.scans()
    story.world.pass_time(1)
    with pytest.raises(StoreDown):
        story.world.settle()
    story.scans()
    story.settle()


def test_what_changed_nothing_is_not_written_again(settled_store: Store) -> None:
    story = settled_world(settled_store)
    before = story.world.store.rows(f"SELECT count() FROM {STAYS_BY_PLACE_HOUR}")[0][0]
    mark = story.world.marks.mark
    for _ in range(3):
        story.world.pass_time(HOUR_MS)
        story.world.marks.publish(None)  # lost
        assert story.world.settle() == mark
    story.scans()
    story.settle()
    after = story.world.store.rows(f"SELECT count() FROM {STAYS_BY_PLACE_HOUR}")[0][0]
    assert 0 < after - before <= 4 * 25


def test_nothing_is_settled_while_the_read_models_are_far_behind(settled_store: Store) -> None:
    story = settled_world(settled_store)
    story.scans()
    story.world.pass_time(1)
    story.world.watermarks.ahead = SettlerLimits().behind_rows_max + 10_000
    assert not story.world.settler.step()
    story.world.watermarks.ahead = 0
    story.settle()


def test_scans_that_nobody_placed_are_told_of_until_somebody_does(settled_store: Store) -> None:
    world = SettlingWorld(settled_store, [], now=START)
    seen = Delivery(SUBJECTS[0], START, Kind.IN, 999, 1, UNREGISTERED, START)
    world.deliver([seen])
    world.pass_time(1)
    assert world.settle().unplaced == (UNREGISTERED,)
    assert world.settled(world.now) == {}
    world.record(PlaceRegistered(Place(id="late", number=UNREGISTERED, name="Late")))
    world.pass_time(1)
    assert world.settle().unplaced == ()
    assert [len(stays) for stays in world.settled(world.now).values()] == [1]


def test_a_reader_between_two_marks_is_not_misled(settled_store: Store) -> None:
    """What a dirty subject keeps is what the walk of everything gives, and of the others all is."""
    for seed in range(2):
        story = settled_world(settled_store, seed)
        world = story.world
        assert world.marks.mark is not None
        mark = world.marks.mark.received
        for happening in ("scans", "scans", "time", "scans"):
            getattr(story, happening)()
        as_of = world.now
        settled, walked = world.settled(mark), world.walked(as_of, as_of)
        news: dict[bytes, int] = {}
        for one in world.deliveries:
            if mark < one.received <= as_of:
                news[one.subject] = min(one.at, news.get(one.subject, one.at))
        for subject in {*settled, *walked}:
            since = news.get(subject, FOREVER)
            read = [kept for stay in settled.get(subject, []) if (kept := as_known(stay, as_of, since)) is not None]
            assert read == [stay for stay in walked.get(subject, []) if stay[2] < since or stay in read]


def as_known(stay: SettledStay, as_of: int, since: int) -> SettledStay | None:
    """A settled stay as a reader takes it who knows of scans from `since` on; None where it has to be walked."""
    place, start, end, entry, exit_, scans = stay
    if since < FOREVER and (end >= since or (exit_ == "unended" and end > as_of)):
        return None
    if exit_ == "unended":
        return (
            (place, start, end, entry, "dwell", scans)
            if end <= as_of
            else ((place, start, as_of, entry, "open", scans) if start < as_of else None)
        )
    return stay


def test_a_rebuild_derives_the_same_stays(settled_store: Store, valkey: "redis.Redis") -> None:
    """From its own scans, as of the mark, while new ones come in; and mends what is wrong."""
    story = settled_world(settled_store)
    world = story.world
    store = world.store
    store.command("TRUNCATE TABLE progress")
    projector = Projector(store, world.watermarks, Rebuilds(valkey), settler=world.settler)
    while projector.step():
        pass
    for damage, equal in [("", True), ("DELETE WHERE entry = 'imputed' SETTINGS mutations_sync = 2", False)]:
        if damage:
            store.command(f"ALTER TABLE {STAYS_BY_PLACE_HOUR} {damage}")
        mark = world.settle()
        Rebuilds(valkey).request(f"r{equal}")
        while projector.rebuild_step():
            story.scans()
            world.settler.step()
        status = Rebuilds(valkey).status()
        assert status is not None
        assert (status.state, status.rows_done) == ("done", status.rows_total)
        assert [(model.table, model.equal) for model in status.models][-1] == (STAYS_BY_PLACE_HOUR, equal)
        assert known_for_ever(world.settled(mark.received)) == world.walked(mark.received)
        world.pass_time(1)
        while projector.step():
            pass
        story.settle()
