"""The feed as its listeners hear it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.ports import free_port
from events import codec, problems
from events.clusters import Announced, Announcement, Change
from events.problems import ProblemError
from storage.clusters import CLUSTERS, ClusterFeed
from storage.errors import StreamDown
from tracing.outbreak.listeners import Listeners, ListenLimits

SECONDS_MAX: Final = 60.0
"""For a machine that is busy; nothing here waits so long."""
PATIENT: Final = ListenLimits(heartbeat_seconds=SECONDS_MAX)
RESTLESS: Final = ListenLimits(heartbeat_seconds=0.02)


def announcement(number: int) -> Announcement:
    return Announcement(
        cluster=f"c-{number}", change=Change.NEW, place="bus", from_=1, to=2, cases=("a", "b"), added=("a", "b"),
        first=number, at=number, cases_min=2, window_hours=6,
    )  # fmt: skip


@pytest.fixture
def feed(valkey: "redis.Redis") -> ClusterFeed:
    feed = ClusterFeed(valkey)
    for number in (1, 2, 3):
        assert feed.append(number, announcement(number))
    return feed


def numbers(text: bytes) -> list[int]:
    """The ids of the events in a piece of the stream, whose data must be those of the entries."""
    found = []
    for event in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":"))
        if "id" in fields:
            entry = codec.from_json(fields["data"], Announced)
            assert (entry.number, fields["event"]) == (int(fields["id"]), "cluster")
            assert entry.announcement == announcement(entry.number)
            found.append(entry.number)
    return found


async def heard(events: AsyncIterator[bytes], enough: Callable[[bytes], bool]) -> bytes:
    """What comes until it is enough, or to the end."""
    text = b""
    async with asyncio.timeout(SECONDS_MAX):
        async for piece in events:
            text += piece
            if enough(text):
                break
    return text


@pytest.mark.parametrize("after", [0, 1, 3, 9])
def test_whoever_comes_hears_what_is_behind_their_number_and_then_what_comes(feed: ClusterFeed, after: int) -> None:
    async def listen() -> None:
        listeners = Listeners(feed, PATIENT)
        events = listeners.listen(after, lambda: True)
        backlog = list(range(after + 1, 4))
        text = await heard(events, lambda text: len(numbers(text)) == len(backlog) and text != b"")
        assert text.startswith(b"retry: ")
        assert numbers(text) == backlog
        waiting = asyncio.create_task(heard(events, lambda text: bool(numbers(text))))
        await asyncio.sleep(0)  # they listen now
        next_number = max(after, 3) + 1
        for number in range(4, next_number + 1):
            assert await asyncio.to_thread(feed.append, number, announcement(number))
        assert numbers(await waiting) == [next_number]
        listeners.close()

    asyncio.run(listen())


class FeedThatMovesOn(ClusterFeed):
    """Somebody appends an entry between a listener's first reading and the first look of whoever wakes listeners."""

    def __init__(self, client: "redis.Redis") -> None:
        super().__init__(client)
        self.read = threading.Event()

    def after(self, number: int, limit: int = 1_000) -> list[Announced]:
        found = super().after(number, limit)
        self.read.set()
        return found

    def newest(self) -> int:
        assert self.read.wait(SECONDS_MAX)
        super().append(4, announcement(4))
        return super().newest()


def test_what_comes_between_a_reading_and_the_first_watch_is_heard_at_once(
    feed: ClusterFeed, valkey: "redis.Redis"
) -> None:
    listeners = Listeners(FeedThatMovesOn(valkey), ListenLimits(heartbeat_seconds=2 * SECONDS_MAX))
    assert numbers(asyncio.run(heard(listeners.listen(3, lambda: True), lambda text: bool(numbers(text))))) == [4]
    listeners.close()


def test_a_resumed_listener_misses_nothing_and_hears_nothing_twice(feed: ClusterFeed) -> None:
    async def listen() -> list[int]:
        listeners, last, all_heard = Listeners(feed, PATIENT), 0, []
        for number in range(4, 10):
            events = listeners.listen(last, lambda: True)
            text = await heard(events, lambda text: len(numbers(text)) >= 1)
            all_heard += numbers(text)
            last = all_heard[-1]  # cut off after any event
            assert await asyncio.to_thread(feed.append, number, announcement(number))
        return all_heard

    assert asyncio.run(listen()) == [1, 2, 3, 4, 5, 6]


def test_silence_is_broken_by_heartbeats_and_a_bad_token_ends_it(feed: ClusterFeed) -> None:
    async def listen() -> bytes:
        asked = iter([True, True, False])
        return await heard(Listeners(feed, RESTLESS).listen(3, lambda: next(asked)), lambda text: False)

    text = asyncio.run(listen())
    assert text.count(b": still here\n\n") == 2
    assert numbers(text) == []


def test_an_hour_is_enough(feed: ClusterFeed) -> None:
    limits = ListenLimits(heartbeat_seconds=SECONDS_MAX, listen_seconds_max=0.05)
    text = asyncio.run(heard(Listeners(feed, limits).listen(0, lambda: True), lambda text: False))
    assert numbers(text) == [1, 2, 3]


def test_only_so_many_may_listen_and_a_place_is_given_back(feed: ClusterFeed) -> None:
    async def listen() -> None:
        listeners = Listeners(feed, ListenLimits(listeners_max=2, heartbeat_seconds=SECONDS_MAX))
        both = [listeners.listen(3, lambda: True) for _ in range(2)]
        for events in both:
            await anext(events)
        assert len(listeners) == 2
        with pytest.raises(ProblemError) as error:
            listeners.listen(3, lambda: True)
        assert error.value.problem.name == problems.SERVER_BUSY.name
        assert isinstance(both[0], AsyncIterator)
        await both[0].aclose()  # type: ignore[attr-defined]
        await anext(listeners.listen(3, lambda: True))
        listeners.close()

    asyncio.run(listen())


def test_closing_ends_every_stream_after_what_there_is(feed: ClusterFeed) -> None:
    async def listen() -> list[bytes]:
        listeners = Listeners(feed, PATIENT)
        waiting = [asyncio.create_task(heard(listeners.listen(3, lambda: True), lambda text: False)) for _ in range(3)]
        while len(listeners) < len(waiting):  # noqa: ASYNC110 - who listens says so to nobody
            await asyncio.sleep(0.01)
        listeners.close()
        late = await heard(listeners.listen(1, lambda: True), lambda text: False)
        return [*(await asyncio.gather(*waiting)), late]

    *waiting, late = asyncio.run(listen())
    assert [numbers(text) for text in waiting] == [[], [], []]
    assert numbers(late) == [2, 3]


def test_a_stream_that_is_down_ends_the_listening(feed: ClusterFeed, valkey: "redis.Redis") -> None:
    async def listen() -> bytes:
        listeners = Listeners(feed, PATIENT)
        events = listeners.listen(0, lambda: True)
        text = await heard(events, lambda text: len(numbers(text)) == 3)
        valkey.delete(CLUSTERS)
        valkey.set(CLUSTERS, "no stream")
        text += await heard(events, lambda text: False)
        return text

    assert numbers(asyncio.run(listen())) == [1, 2, 3]
    with pytest.raises(StreamDown):
        ClusterFeed(redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0))).newest()


def test_an_entry_has_its_number_for_good(feed: ClusterFeed) -> None:
    assert not feed.append(3, announcement(30))
    assert not feed.append(1, announcement(10))
    assert [entry.announcement for entry in feed.after(0)] == [announcement(number) for number in (1, 2, 3)]
    assert (feed.newest(), feed.after(2, 1)[0].number, feed.after(3)) == (3, 3, [])
    assert feed.wait(2, 1)
    assert not feed.wait(3, 1)
