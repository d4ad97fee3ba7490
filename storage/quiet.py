"""Asking a partition itself whether anything is on its way into the log, where nobody need be waited for.

Where every entry is laid, the sink has no more to say than that: whoever asks may write the promise down in its place,
that what comes is received later. It costs one round trip; to have the sink woken, and it the projector, costs five.
"""

from typing import Any, Final

import msgspec
import redis

from storage.confirm import confirmed
from storage.partitions import Partition


class Quiet(msgspec.Struct, frozen=True):
    """Everything `received` by `upto` (ms) is in the log, and the latest of it was received at `laid`."""

    upto: int
    laid: int


# A script is one moment: nothing comes in between the look at the stream and the promise. A commit says what was laid;
# before the first one nobody knows what the log holds. What is only read is named by arguments: keys must be writable.
_QUIET: Final = (
    "#!lua flags=allow-oom\n"
    + "local state = redis.call('HMGET', ARGV[1], 'cursor', 'laid', 'received', 'range') "
    + "if not state[1] or not state[2] or state[4] then return {} end "
    + "if #redis.call('XRANGE', ARGV[2], '(' .. state[1], '+', 'COUNT', 1) > 0 then return {} end "
    + "local promised, now = tonumber(state[3] or 0), redis.call('TIME') "
    + "local quiet = now[1] * 1000 + math.floor(now[2] / 1000) - 1 "
    + "if quiet <= promised then quiet = promised end "
    # The clock has gone back since.
    + "if quiet < tonumber(redis.call('GET', KEYS[1]) or 0) then return {} end "
    # Written again, so that who waits for replicas waits for what was promised before, too.
    + "redis.call('SET', KEYS[1], string.format('%.0f', quiet)) "
    + "return {string.format('%.0f', quiet), state[2]}"
)


def quiet(client: "redis.Redis", partition: Partition, replicas: int = 0) -> Quiet | None:
    """What is promised of a partition that has laid all it was given; None where something is on its way.

    `replicas`: how many must have the promise on disk. Raises `redis.RedisError`.
    """
    arguments = (_QUIET, 1, partition.promise, partition.sink, partition.scans)
    answer: Any = confirmed(client, replicas, [("EVAL", *arguments)])[0] if replicas else client.eval(*arguments)
    return Quiet(int(answer[0]), int(answer[1])) if answer else None
