"""Several sinks share the partitions: whoever comes, goes, dies or hangs, every entry is laid once."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest
import redis

from events.scans import Kind
from ingest.sink import Sink, SinkLimits
from ingest.sink_crew import CrewLimits, SinkCrew
from storage.clickhouse import Store
from storage.crew import Crew
from storage.partitions import Partition, partition_of, partitions_of
from storage.stream import ScanStream
from storage.watermarks import Watermarks
from tests.app.conftest import until
from tests.builders import entry, log_row

PARTITIONS = 4
DEVICES = 12
AT = 1_700_000_000_000
LIMITS = SinkLimits(idle_ms=20, pace_ms=1, entries_max=3, lease_seconds=1.0, retry_seconds=0.05)
CREW_LIMITS = CrewLimits(attend_seconds=0.1, absent_seconds=1.0)
WAIT_SECONDS = 60


class Died(Exception):
    """The process was killed: nothing of it goes on, nothing is given back."""


class MortalCrew(Crew):
    """Whoever was killed takes no leave."""

    def __init__(self, worker: "Worker", client: "redis.Redis") -> None:
        super().__init__(client, owner=worker.name, partitions=PARTITIONS)
        self._worker = worker

    def leave(self) -> None:
        if not self._worker.died:
            super().leave()


class Worker:
    """One sink process: its crew in a thread. `dies_after` kills it after that step of any of its sinks."""

    def __init__(self, url: str, store: Store, name: str) -> None:
        self.name = name
        self.able = True
        self.dies_after = ""
        self.hangs_after = ""
        self.stuck = threading.Event()
        self.freed = threading.Event()
        self.died = False
        self._client = redis.Redis.from_url(url)
        self._store = store
        self._stop = threading.Event()
        self._crew = SinkCrew(MortalCrew(self, self._client), PARTITIONS, self._sink_of, lambda: self.able, CREW_LIMITS)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self.freed.set()
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _sink_of(self, number: int) -> Sink:
        return Sink(
            stream=ScanStream(self._client, owner=self.name, partition=Partition(number, PARTITIONS)),
            store=self._store,
            watermarks=Watermarks(self._client, [self._client] * PARTITIONS),
            limits=LIMITS,
            on_step=self._on_step,
        )

    def _on_step(self, step: str) -> None:
        if self.died or step == self.dies_after:
            self.died = True
            raise Died
        if step == self.hangs_after:
            self.stuck.set()
            self.freed.wait(WAIT_SECONDS)

    def _run(self) -> None:
        with contextlib.suppress(Died):
            self._crew.run(self._stop)


@pytest.fixture
def worker(redis_url: str, store: Store) -> Iterator[Callable[[str], Worker]]:
    workers: list[Worker] = []

    def start(name: str) -> Worker:
        workers.append(Worker(redis_url, store, name))
        return workers[-1]

    yield start
    for each in workers:
        each.stop()


class Doors:
    """Devices that send one scan after the other, each to its partition."""

    def __init__(self, valkey: "redis.Redis") -> None:
        self._valkey = valkey
        self._seqs = dict.fromkeys(range(DEVICES), 0)

    def post(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            for device in self._seqs:
                self._seqs[device] += 1
                row = log_row(device, self._seqs[device], AT, 1, bytes(16), Kind.IN)
                partition = Partition(partition_of(device, PARTITIONS), PARTITIONS)
                self._valkey.xadd(partition.scans, {"e": entry(device, [row])})

    @property
    def sent(self) -> list[tuple[int, int]]:
        return [(device, seq) for device, last in self._seqs.items() for seq in range(1, last + 1)]


def laid(store: Store) -> list[tuple[int, int]]:
    return [(device, seq) for device, seq in store.rows("SELECT device, seq FROM log ORDER BY device, seq")]


def owners(valkey: "redis.Redis") -> list[str]:
    found = [valkey.get(partition.sink_owner) for partition in partitions_of(PARTITIONS)]
    return [name.decode() if isinstance(name, bytes) else "" for name in found]


@pytest.fixture
def doors(valkey: "redis.Redis") -> Doors:
    return Doors(valkey)


def test_sinks_share_the_partitions_as_they_come_and_go(
    valkey: "redis.Redis", store: Store, doors: Doors, worker: Callable[[str], Worker]
) -> None:
    first = worker("a")
    doors.post(5)
    until(lambda: owners(valkey) == ["a"] * 4, WAIT_SECONDS)
    worker("b")
    doors.post(5)
    until(lambda: owners(valkey) == ["a", "b", "a", "b"], WAIT_SECONDS)
    doors.post(5)
    first.stop()
    until(lambda: owners(valkey) == ["b"] * 4, WAIT_SECONDS)
    doors.post(5)
    until(lambda: laid(store) == doors.sent, WAIT_SECONDS)


def test_who_cannot_work_leaves_it_to_others_if_there_are_any(valkey: "redis.Redis") -> None:
    one, other = (Crew(valkey, owner=name, partitions=PARTITIONS) for name in "ab")
    assert one.attend(60, able=True) == [0, 1, 2, 3]
    assert other.attend(60, able=False) == []
    assert other.attend(60, able=True) == [1, 3]
    assert one.attend(60, able=False) == []
    assert other.attend(60, able=True) == [0, 1, 2, 3]
    assert other.attend(60, able=False) == [0, 1, 2, 3]


@pytest.mark.parametrize("step", ["frozen", "inserted", "committed"])
def test_a_sink_dies_and_another_goes_on(
    valkey: "redis.Redis", store: Store, doors: Doors, worker: Callable[[str], Worker], step: str
) -> None:
    doomed, heir = worker("a"), worker("b")
    doors.post(3)
    until(lambda: owners(valkey) == ["a", "b", "a", "b"], WAIT_SECONDS)
    doomed.dies_after = step
    doors.post(3)
    until(lambda: doomed.died, WAIT_SECONDS)
    doors.post(3)
    until(lambda: laid(store) == doors.sent, WAIT_SECONDS)
    until(lambda: owners(valkey) == [heir.name] * 4, WAIT_SECONDS)


@pytest.mark.parametrize("step", ["frozen", "inserted"])
def test_a_sink_that_hung_in_a_range_comes_back_and_changes_nothing(
    valkey: "redis.Redis", store: Store, doors: Doors, worker: Callable[[str], Worker], step: str
) -> None:
    """Its process lives and says so, as one does whose store takes an insert and does not answer."""
    slow = worker("a")
    doors.post(2)
    until(lambda: laid(store) == doors.sent, WAIT_SECONDS)
    slow.hangs_after = step
    doors.post(3)
    until(slow.stuck.is_set, WAIT_SECONDS)
    other = worker("b")
    until(lambda: owners(valkey) == [other.name] * 4, WAIT_SECONDS)
    doors.post(3)
    until(lambda: laid(store) == doors.sent, WAIT_SECONDS)
    slow.hangs_after = ""
    slow.freed.set()
    until(lambda: owners(valkey) == ["a", "b", "a", "b"], WAIT_SECONDS)
    doors.post(3)
    until(lambda: laid(store) == doors.sent, WAIT_SECONDS)


def test_the_log_is_complete_up_to_the_least_that_all_have_said(valkey: "redis.Redis", store: Store) -> None:
    watermarks = Watermarks(valkey, [valkey] * PARTITIONS)

    def sink_of(number: int) -> Sink:
        stream = ScanStream(valkey, owner="a", partition=Partition(number, PARTITIONS))
        return Sink(stream=stream, store=store, watermarks=watermarks, limits=SinkLimits(idle_ms=1))

    sinks = [sink_of(number) for number in range(PARTITIONS)]
    for sink in sinks[:-1]:
        sink.step()
    assert watermarks.read("log") is None
    sinks[-1].step()
    first = watermarks.read("log")
    assert first is not None
    Doors(valkey).post()
    for sink in sinks[:-1]:
        while sink.step():
            pass
    mark = watermarks.read("log")
    assert mark is not None
    assert mark.rows == DEVICES * (PARTITIONS - 1) // PARTITIONS
    # The last partition's scans were received by now, and nobody has been told that all of them are in the log.
    [waiting, *_] = cast(list[tuple[bytes, object]], valkey.xrange(Partition(PARTITIONS - 1, PARTITIONS).scans))
    assert mark.received < int(waiting[0].split(b"-")[0])
