"""Where a run of retention is asked for, and how it is told of: two keys in Redis."""

from typing import Final, Literal, cast

import msgspec
import redis

from events import codec
from storage.errors import StreamDown
from storage.partitions import shared_key

REQUEST: Final = shared_key("retention:request")
STATUS: Final = shared_key("retention:status")


class RetentionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is, and what it has let go so far. Times in Unix ms.

    `id` is the request's, empty where nobody asked. `held` are days of the log that stay for now although their time is
    over, for they hold scans that claim to have happened later. `detail` says why a run `failed`.
    """

    id: str
    state: Literal["running", "done", "failed"]
    step: str
    began: int
    ended: int | None = None
    kept_from: int = 0
    partitions: int = 0
    rows: int = 0
    bytes: int = 0
    traces: int = 0
    held: tuple[str, ...] = ()
    detail: str = ""


class RetentionRuns:
    """Asks for a run and reads of it; synchronous. Every method raises `StreamDown`."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis: Final = client

    def request(self, id: str) -> None:
        """Ask the process that keeps the read models for a run, named by the caller."""
        try:
            self._redis.set(REQUEST, id)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def requested(self) -> str | None:
        """The run that is asked for and has not ended yet."""
        try:
            request = cast(bytes | None, self._redis.get(REQUEST))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return request.decode() if request else None

    def tell(self, status: RetentionStatus) -> None:
        """Say how far it is; a request ends with its run."""
        try:
            pipeline = self._redis.pipeline()
            pipeline.set(STATUS, codec.to_json(status))
            if status.state != "running" and status.id:
                pipeline.delete(REQUEST)
            pipeline.execute()
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def status(self) -> RetentionStatus | None:
        """The latest run's state; None where there never was one."""
        try:
            status = cast(bytes | None, self._redis.get(STATUS))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return codec.from_json(status, RetentionStatus) if status else None
