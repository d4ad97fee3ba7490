"""Up to where stays are settled, told by the process that settles them to those who read: one key in Redis."""

from typing import Final, cast

import msgspec
import redis
from msgspec.structs import asdict

from events import codec
from storage.errors import StreamDown
from storage.partitions import shared_key

SETTLED: Final = shared_key("settled")
FORM: Final = 2
"""Which form the table of stays has, counted up by each migration that empties it: by a mark of another form, which
somebody of before may tell still, its readers would find nobody."""


class SettledMark(msgspec.Struct, frozen=True):
    """The stays are settled for everything `received` at or before this ms, with the registries as of then.

    `rows` counts the deliveries that the log had by then, as the read models' watermark does. `unplaced`: the numbers
    of places that scans name and nobody has registered; those scans are left out. So are those that happened before
    `kept_from` (ms).
    """

    received: int
    rows: int
    kept_from: int = 0
    unplaced: tuple[int, ...] = ()


class _Told(msgspec.Struct, frozen=True):
    """What is told besides the mark's own fields."""

    form: int = 1


class SettledMarks:
    """Tells and asks for the mark; synchronous and thread-safe. Raises `StreamDown`."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis: Final = client

    def publish(self, mark: SettledMark | None) -> None:
        """Make it known; None where nothing is settled any more."""
        try:
            if mark is None:
                self._redis.delete(SETTLED)
            else:
                self._redis.set(SETTLED, codec.to_json(asdict(mark) | asdict(_Told(FORM))))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def read(self) -> SettledMark | None:
        """The latest one; None while nothing is settled."""
        try:
            answer = cast(bytes | None, self._redis.get(SETTLED))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        if not answer or codec.from_json(answer, _Told).form != FORM:
            return None
        return codec.from_json(answer, SettledMark)
