"""Which keys of the stream's server belong together: those of a partition, and those that all processes share.

A cluster keeps keys with the same `{tag}` on one server, where one script may use them all. A device's scans, and the
account of them, lie in one partition for good; registries, watermarks and rebuilds lie together under one tag.
"""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

import msgspec
import redis

from storage.errors import StreamDown

T = TypeVar("T")

PREFIX: Final = "truyvet"
SHARED_TAG: Final = "shared"


def shared_key(name: str) -> str:
    """The key of something that there is once, whatever the number of partitions."""
    return f"{PREFIX}:{{{SHARED_TAG}}}:{name}"


class Partition(msgspec.Struct, frozen=True):
    """One of the parts into which devices are divided: `number` counts from 0 and is less than `of`."""

    number: int = 0
    of: int = 1

    def key(self, name: str) -> str:
        """The key of something that every partition has."""
        return f"{PREFIX}:{{{self.number}}}:{name}"

    @property
    def scans(self) -> str:
        """The stream of signed batches that wait for the sink."""
        return self.key("scans")

    @property
    def seen(self) -> str:
        """A hash: device number → which seqs and signatures have been seen."""
        return self.key("seen")

    @property
    def sink(self) -> str:
        """A hash: where the sink stands, and how many bytes came in and went out."""
        return self.key("sink")

    @property
    def sink_owner(self) -> str:
        """Which sink has the partition; runs out by itself."""
        return self.key("sink-owner")

    @property
    def nudge(self) -> str:
        """A short stream: somebody waits for the sink to say up to when the log is complete."""
        return self.key("nudge")

    @property
    def promise(self) -> str:
        """Up to when (ms) readers were told, by others than the sink, that whatever comes is received later."""
        return self.key("promise")

    @property
    def probe(self) -> str:
        """Never exists; see `storage.health`."""
        return self.key("probe")


FIRST_NUDGE: Final = "0-0"
"""Before every nudge: whoever has seen none asks for those after it."""

ONLY: Final = Partition()
"""The one partition where devices are not divided."""


def partition_of(device: int, partitions: int) -> int:
    """The number of the partition in which a device's scans lie."""
    return device % partitions


def partitions_of(count: int) -> list[Partition]:
    """All partitions, in order."""
    return [Partition(number, count) for number in range(count)]


def ask_each(
    clients: "Sequence[redis.Redis]", ask: "Callable[[redis.Redis, Partition], T]", seconds: float
) -> list[T | None]:
    """What each partition's server answers, all asked at once; None where it has not within so many seconds."""
    partitions = partitions_of(len(clients))
    if len(clients) == 1:
        return [ask(clients[0], partitions[0])]
    threads = concurrent.futures.ThreadPoolExecutor(len(clients), "partition")
    answers = [threads.submit(ask, client, partition) for client, partition in zip(clients, partitions, strict=True)]
    concurrent.futures.wait(answers, seconds)
    threads.shutdown(wait=False)
    return [answer.result() if answer.done() else None for answer in answers]


def agreed_count(client: "redis.Redis", count: int) -> int:
    """Into how many partitions the scans are divided: `count`, unless another was written down before.

    Raises `StreamDown`.
    """
    try:
        client.set(_COUNT, count, nx=True)
        return int(cast(bytes, client.get(_COUNT)))
    except redis.RedisError as error:
        raise StreamDown(type(error).__name__) from error


_COUNT: Final = shared_key("partitions")
