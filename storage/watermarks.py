"""Up to when each consumer has read: one-entry streams, so that whoever waits is woken and need not poll."""

import contextlib
import time
from typing import Any, Final, Literal, cast

import msgspec
import redis

from events import codec
from storage.errors import StreamDown
from storage.stream import NUDGE

Name = Literal["log", "read-models"]
WAIT_BLOCK_MS_MAX: Final = 250
NUDGES_KEPT: Final = 1


class Watermark(msgspec.Struct, frozen=True):
    """Everything `received` at or before this ms is in; `rows` counts the scans that ever came in."""

    received: int
    rows: int


class Lag(msgspec.Struct, frozen=True):
    """How far one consumer is behind another: scans, and seconds of `received` (0 where no scan is lacking)."""

    rows: int
    seconds: float


def lag(behind: Watermark, ahead: Watermark) -> Lag:
    """What `behind` lacks of `ahead`."""
    rows = max(ahead.rows - behind.rows, 0)
    return Lag(rows, max(ahead.received - behind.received, 0) / 1000 if rows else 0.0)


class Watermarks:
    """Publishes and awaits watermarks; synchronous and thread-safe."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis: Final = client

    def publish(self, name: Name, watermark: Watermark) -> None:
        """Make it known. Raises `StreamDown`."""
        try:
            self._redis.xadd(_key(name), {b"w": codec.to_json(watermark)}, maxlen=1, approximate=False)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def read(self, name: Name) -> Watermark | None:
        """The latest one; None before the first."""
        try:
            entries = cast(list[Any], self._redis.xrevrange(_key(name), count=1))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return codec.from_json(entries[0][1][b"w"], Watermark) if entries else None

    def follow(self, name: Name, received: int, timeout_seconds: float) -> Watermark | None:
        """The first watermark past `received`, without asking for it; None when the time is over."""
        return self._await(name, received + 1, timeout_seconds, nudging=False)

    def nudge(self) -> None:
        """Ask the sink to say at once up to when the log is complete."""
        with contextlib.suppress(redis.RedisError):
            self._redis.xadd(NUDGE, {b"n": b""}, maxlen=NUDGES_KEPT, approximate=False)

    def wait(self, name: Name, received: int, timeout_seconds: float) -> Watermark | None:
        """The first watermark at or past `received`, asked for at once; None when the time is over."""
        return self._await(name, received, timeout_seconds, nudging=True)

    def _await(self, name: Name, received: int, timeout_seconds: float, *, nudging: bool) -> Watermark | None:
        deadline = time.monotonic() + timeout_seconds
        position = "0-0"
        while (remaining_ms := int((deadline - time.monotonic()) * 1000)) > 0:
            try:
                answer = self._redis.xread({_key(name): position}, block=min(remaining_ms, WAIT_BLOCK_MS_MAX))
            except redis.RedisError as error:
                raise StreamDown(type(error).__name__) from error
            for entry, fields in _last(answer):
                watermark = codec.from_json(fields[b"w"], Watermark)
                if watermark.received >= received:
                    return watermark
                position = entry.decode()
            if nudging:
                self.nudge()
        return None


def _key(name: Name) -> str:
    return f"truyvet:watermark:{name}"


def _last(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    if not answer:
        return []
    entries = next(iter(answer.values()))[0] if isinstance(answer, dict) else answer[0][1]
    return [entries[-1]]
