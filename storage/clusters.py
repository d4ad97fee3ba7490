"""The feed of clusters: a stream in Redis whose entries count 1, 2, 3 …, each appended once whoever appends.

An entry's id is its number. Whoever appends says which number is next; where somebody else was quicker the server
refuses the id, nothing is written, and the caller reads on and judges anew. So no lock is needed for each entry to be
there once; the lease only spares several watchers the same work.
"""

from typing import Any, Final, cast

import redis

from events import codec
from events.clusters import Announced, Announcement
from storage.confirm import confirmed
from storage.errors import StreamDown
from storage.partitions import shared_key

CLUSTERS: Final = shared_key("clusters")
WATCHER: Final = shared_key("clusters:watcher")
"""Who watches; runs out by itself."""
READ_ENTRIES: Final = 1_000
_ID_TAKEN: Final = "equal or smaller"


class ClusterFeed:
    """Appends to the feed, reads and follows it; synchronous and thread-safe. Raises `StreamDown`."""

    def __init__(self, client: "redis.Redis", *, replicas: int = 0) -> None:
        """`replicas`: how many must have an entry on disk before it counts as appended."""
        self._redis: Final = client
        self._replicas: Final = replicas

    def append(self, number: int, announcement: Announcement) -> bool:
        """Make it durable as the entry of this number, which must be the next. False where it is taken already.

        After `StreamDown` it may be there or not: read on from `number - 1` and see.
        """
        try:
            self._written("XADD", CLUSTERS, f"{number}-0", "e", codec.to_json(announcement))
        except redis.ResponseError as error:
            if _ID_TAKEN in str(error):
                return False
            raise StreamDown(type(error).__name__) from error
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return True

    def after(self, number: int, limit: int = READ_ENTRIES) -> list[Announced]:
        """Up to `limit` entries behind this number, oldest first."""
        try:
            found = self._redis.xrange(CLUSTERS, min=f"{number + 1}-0", count=limit)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return _announced(found)

    def newest(self) -> int:
        """The number of the latest entry; 0 before the first."""
        try:
            found = cast(list[tuple[bytes, object]], self._redis.xrevrange(CLUSTERS, count=1))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return _number(found[0][0]) if found else 0

    def wait(self, number: int, block_ms: int) -> bool:
        """Whether there is an entry behind this number, now or within the time."""
        try:
            return bool(self._redis.xread({CLUSTERS: f"{number}-0"}, count=1, block=block_ms))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def hold(self, owner: str, seconds: float) -> bool:
        """Whether `owner` is the watcher for so long from now on; nobody else is unless it dies or lets go."""
        try:
            if self._redis.set(WATCHER, owner, nx=True, px=int(seconds * 1000)):
                return True
            if cast(bytes | None, self._redis.get(WATCHER)) != owner.encode():
                return False
            self._redis.set(WATCHER, owner, px=int(seconds * 1000))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return True

    def let_go(self, owner: str) -> None:
        """Somebody else may watch at once, if `owner` did."""
        try:
            if cast(bytes | None, self._redis.get(WATCHER)) == owner.encode():
                self._redis.delete(WATCHER)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def _written(self, *command: Any) -> None:
        if self._replicas:
            confirmed(self._redis, self._replicas, [command])
            return
        pipeline: Any = self._redis.pipeline(transaction=False)
        pipeline.execute_command(*command)
        pipeline.execute()


def _announced(entries: Any) -> list[Announced]:
    return [
        Announced(number=_number(entry), announcement=codec.from_json(fields[b"e"], Announcement))
        for entry, fields in entries
    ]


def _number(entry: bytes) -> int:
    return int(entry.split(b"-")[0])
