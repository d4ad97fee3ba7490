"""What is asked of the process that keeps the read models, and how it is told of: two keys in Redis for each kind."""

from typing import Final, Generic, Protocol, TypeVar, cast

import redis

from events import codec
from storage.errors import StreamDown
from storage.partitions import shared_key

RUNNING: Final = "running"


class Told(Protocol):
    """How far an errand is: the asker's name for it, empty where nobody asked; it goes on while `running`."""

    @property
    def id(self) -> str: ...

    @property
    def state(self) -> str: ...


Status = TypeVar("Status", bound=Told)


class Errands(Generic[Status]):
    """Asks for one kind of errand and reads of it; synchronous. Every method raises `StreamDown`."""

    def __init__(self, client: "redis.Redis", name: str, kind: type[Status]) -> None:
        """`name` begins the keys; `kind` is a `msgspec.Struct`."""
        self._redis: Final = client
        self._request: Final = shared_key(f"{name}:request")
        self._status: Final = shared_key(f"{name}:status")
        self._kind: Final = kind

    def request(self, id: str) -> None:
        """Ask for one, named by the caller."""
        try:
            self._redis.set(self._request, id)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def requested(self) -> str | None:
        """The one that is asked for and has not ended yet."""
        request = self._read(self._request)
        return request.decode() if request else None

    def tell(self, status: Status) -> None:
        """Say how far it is; a request ends with its errand."""
        try:
            pipeline = self._redis.pipeline()
            pipeline.set(self._status, codec.to_json(status))
            if status.state != RUNNING and status.id:
                pipeline.delete(self._request)
            pipeline.execute()
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def status(self) -> Status | None:
        """How far the latest is; None where there never was one."""
        status = self._read(self._status)
        return codec.from_json(status, self._kind) if status else None

    def _read(self, key: str) -> bytes | None:
        try:
            return cast(bytes | None, self._redis.get(key))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
