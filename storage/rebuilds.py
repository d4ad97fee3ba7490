"""Where a rebuild of the read models is asked for, and how it is told of: two keys in Redis."""

from typing import Final, Literal, cast

import msgspec
import redis

from events import codec
from storage.errors import StreamDown
from storage.partitions import shared_key

REQUEST: Final = shared_key("rebuild:request")
STATUS: Final = shared_key("rebuild:status")


class ModelDigests(msgspec.Struct, frozen=True):
    """One read model before and after: rows and digests as of the same moment of the log."""

    table: str
    rows_live: int
    rows_rebuilt: int
    digest_live: str
    digest_rebuilt: str

    @property
    def equal(self) -> bool:
        """Whether the rebuild gave the very same rows."""
        return self.digest_live == self.digest_rebuilt and self.rows_live == self.rows_rebuilt


class RebuildStatus(msgspec.Struct, frozen=True):
    """How far a rebuild is. `rows_done` of `rows_total` scans; `models` once it is done; `upto` is received ms."""

    id: str
    state: Literal["running", "done"]
    rows_done: int
    rows_total: int
    upto: int = 0
    models: list[ModelDigests] = []


class Rebuilds:
    """Asks for a rebuild and reads of it; synchronous. Raises `StreamDown`."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis: Final = client

    def request(self, id: str) -> None:
        """Ask the projecting process for a rebuild, named by the caller."""
        try:
            self._redis.set(REQUEST, id)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def requested(self) -> str | None:
        """The rebuild that is asked for and not done yet."""
        try:
            request = cast(bytes | None, self._redis.get(REQUEST))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return request.decode() if request else None

    def tell(self, status: RebuildStatus) -> None:
        """Say how far it is; the request ends with a status of `done`."""
        try:
            pipeline = self._redis.pipeline()
            pipeline.set(STATUS, codec.to_json(status))
            if status.state == "done":
                pipeline.delete(REQUEST)
            pipeline.execute()
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def status(self) -> RebuildStatus | None:
        """The latest rebuild's state; None where there never was one."""
        try:
            status = cast(bytes | None, self._redis.get(STATUS))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return codec.from_json(status, RebuildStatus) if status else None
