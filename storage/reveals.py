"""Requests to see names, and how many somebody has seen today, beside the registries: one book for all processes.

A request changes from one state to the next by naming the one that it was in, so that of two decisions one counts.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import redis

from storage.confirm import confirmed
from storage.errors import StreamDown
from storage.partitions import shared_key

REQUESTS: Final = shared_key("reveal-requests")
COUNTS_KEPT_SECONDS: Final = 3 * 86_400
FORGOTTEN_AT_ONCE: Final = 1_000

T = TypeVar("T")

_CHARGE: Final = """
local used = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
if used + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return {0, used} end
redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {1, used + tonumber(ARGV[2])}
"""
_KEPT: Final = """
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return {1}
"""
"""The book outlives its last request by no more than that one is kept, though nobody opens it ever again."""
_ADD: Final = f"""
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return {{0}} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
{_KEPT}"""
_SWAP: Final = f"""
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {{0}} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
{_KEPT}"""
_FORGET: Final = "return {redis.call('HDEL', KEYS[1], unpack(ARGV))}"


class RevealBook:
    """Requests and counts. Thread-safe. Every method raises `StreamDown`."""

    def __init__(self, client: "redis.Redis", *, replicas: int = 0) -> None:
        """`replicas`: how many must have on disk what is written before it counts."""
        self._redis: Final = client
        self._replicas: Final = replicas

    def charge(self, day: int, name: str, count: int, limit: int) -> tuple[bool, int]:
        """Count so many names as seen on a day, unless that passes the limit. Returns whether, and how many now."""
        key = shared_key(f"reveals:{day}")
        taken, used = self._written(_CHARGE, key, [name, count, limit, COUNTS_KEPT_SECONDS])
        return bool(taken), int(used)

    def add(self, request: str, content: bytes, requests_max: int, kept_seconds: int) -> bool:
        """Keep a new request for so long at least. False where there are as many as may be."""
        return bool(self._written(_ADD, REQUESTS, [request, content, requests_max, kept_seconds])[0])

    def swap(self, request: str, old: bytes, new: bytes, kept_seconds: int) -> bool:
        """Put a request's new content in the place of the old one. False where it was another, or there is none."""
        return bool(self._written(_SWAP, REQUESTS, [request, old, new, kept_seconds])[0])

    def forget(self, requests: Sequence[str]) -> None:
        """Remove requests; those that are gone change nothing."""
        for start in range(0, len(requests), FORGOTTEN_AT_ONCE):
            self._written(_FORGET, REQUESTS, list(requests[start : start + FORGOTTEN_AT_ONCE]))

    def request(self, request: str) -> bytes | None:
        """A request's content."""
        return self._call(lambda: cast("bytes | None", self._redis.hget(REQUESTS, request)))

    def requests(self) -> list[bytes]:
        """The content of all."""
        return self._call(lambda: list(cast(dict[bytes, bytes], self._redis.hgetall(REQUESTS)).values()))

    def _written(self, script: str, key: str, arguments: list[Any]) -> list[Any]:
        if self._replicas:
            command = ("EVAL", script, 1, key, *arguments)
            return self._call(lambda: cast(list[Any], confirmed(self._redis, self._replicas, [command])[0]))
        return self._call(lambda: cast(list[Any], self._redis.eval(script, 1, key, *arguments)))

    def _call(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
