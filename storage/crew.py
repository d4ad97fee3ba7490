"""Which of the sinks that are alive works on which partition.

Every sink says now and then that it is there; the partitions are dealt out among those that did so lately, in the
order of their names, so that all come to the same answer without talking. Nothing depends on it but the spread of
work: who holds a partition's lease is its sink, and two that claim the same one take turns.
"""

from typing import Final, cast

import redis

from storage.errors import StreamDown
from storage.partitions import shared_key

SINKS: Final = shared_key("sinks")

_ATTEND: Final = (
    "local now = redis.call('TIME') "
    "local ms = now[1] * 1000 + math.floor(now[2] / 1000) "
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms) "
    "redis.call('ZREM', KEYS[1], ARGV[1]) "
    # One that cannot work leaves it to the others, if there are any.
    "if ARGV[3] == '1' or redis.call('ZCARD', KEYS[1]) == 0 then "
    "redis.call('ZADD', KEYS[1], ms + tonumber(ARGV[2]), ARGV[1]) end "
    "local names = redis.call('ZRANGE', KEYS[1], 0, -1) table.sort(names) return names"
)


class Crew:
    """One sink process among the others; synchronous. Raises `StreamDown`."""

    def __init__(self, client: "redis.Redis", *, owner: str, partitions: int) -> None:
        """`owner` names this process, uniquely."""
        self._redis: Final = client
        self._owner: Final = owner
        self._partitions: Final = partitions

    def attend(self, seconds: float, *, able: bool) -> list[int]:
        """Be there for that long. Returns the numbers of the partitions that are this sink's to work on.

        One that is not `able` to work gets none while there are others.
        """
        try:
            arguments = [self._owner, str(int(seconds * 1000)), "1" if able else "0"]
            answer = self._redis.eval(_ATTEND, 1, SINKS, *arguments)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        names = [name.decode() for name in cast(list[bytes], answer)]
        return [number for number in range(self._partitions) if names[number % len(names)] == self._owner]

    def leave(self) -> None:
        """Let the others have the partitions at once."""
        try:
            self._redis.zrem(SINKS, self._owner)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
