"""What waits in the stream for the sink, seen from outside: for metrics and readiness, also while no sink runs."""

import time
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
import redis

from storage.errors import StreamDown
from storage.partitions import Partition, ask_each
from storage.stream import FIRST

MICROSECONDS: Final = 1_000_000
ANSWER_SECONDS_MAX: Final = 0.9
"""How long one partition's server may take where others wait to be told of, too."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What was acknowledged and is not known to be in the log.

    `oldest_seconds`: how long the oldest of it has waited, by the server's clock; 0 where nothing waits.
    `clock_offset_seconds`: how far this machine's clock is ahead of the server's, within the time of a round trip.
    """

    entries: int
    bytes: int
    oldest_seconds: float
    clock_offset_seconds: float


def read_waiting(partitions: "Sequence[redis.Redis]") -> list[Waiting]:
    """What waits in each partition whose server answers. Raises `StreamDown` where none does."""
    found = [waiting for waiting in ask_each(partitions, _waiting_or_none, ANSWER_SECONDS_MAX) if waiting is not None]
    if not found:
        raise StreamDown("no partition's server answers")
    return found


def _waiting_or_none(client: "redis.Redis", partition: Partition) -> Waiting | None:
    try:
        return read_partition(client, partition)
    except StreamDown:
        return None


def read_partition(client: "redis.Redis", partition: Partition) -> Waiting:
    """Ask one partition's server. Raises `StreamDown`."""
    fields = ["cursor", "bytes_in", "bytes_out"]
    try:
        cursor, bytes_in, bytes_out = cast(list[bytes | None], client.hmget(partition.sink, fields))
        oldest_after = (cursor or FIRST.encode()).decode()
        oldest = cast(list[tuple[bytes, Any]], client.xrange(partition.scans, min=f"({oldest_after}", count=1))
        entries = client.xlen(partition.scans)
        seconds, microseconds = client.time()
    except redis.RedisError as error:
        raise StreamDown(type(error).__name__) from error
    now = seconds + microseconds / MICROSECONDS
    arrived = int(oldest[0][0].partition(b"-")[0]) / 1000 if oldest else now
    return Waiting(
        entries=entries if oldest else 0,
        bytes=max(0, int(bytes_in or 0) - int(bytes_out or 0)),
        oldest_seconds=max(0.0, now - arrived),
        clock_offset_seconds=time.time() - now,
    )
