"""The control stream: what changes the registries, in order, followed and replayed by every process.

It is small (thousands of entries, not millions) and is never trimmed.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final, Literal, cast

import redis
import redis.asyncio

from events import codec
from events.control import ControlEvent, DeviceEnrolled, PlaceRegistered, Recorded
from storage.confirm import Command, confirmed
from storage.errors import StreamDown
from storage.partitions import shared_key
from storage.xread import entries_by_stream

CONTROL_STREAM: Final = shared_key("control")
FIRST: Final = "0-0"
REPLAY_ENTRIES: Final = 1_000
FOLLOW_BLOCK_MS: Final = 500
RETRY_SECONDS: Final = 0.5

Registry = Literal["device", "place"]
OnEvent = Callable[[Recorded], None]


class ControlLog:
    """Appends to the control stream and reads it; synchronous."""

    def __init__(self, client: "redis.Redis", *, replicas: int = 0) -> None:
        """`replicas`: how many must have on disk what is appended before it counts."""
        self._redis: Final = client
        self._replicas: Final = replicas

    def append(self, event: ControlEvent) -> Recorded:
        """Make an event durable. Returns it with its time."""
        return self.append_all([event])[0]

    def append_all(self, events: list[ControlEvent]) -> list[Recorded]:
        """Make events durable in one round trip, in order.

        Raises `msgspec.ValidationError` for an event that breaks its own limits: every process would fail to replay it.
        """
        encoded = [codec.to_json(event) for event in events]
        for text in encoded:
            codec.control_from_json(text)
        try:
            entries = self._written([("XADD", CONTROL_STREAM, "*", "e", text) for text in encoded])
            return [Recorded(_entry_ms(entry), event) for entry, event in zip(entries, events, strict=True)]
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def replay(self, after: str = FIRST) -> list[tuple[str, Recorded]]:
        """Every event after the given entry, oldest first, each with its entry id."""
        return [_recorded(entry, fields) for entry, fields in self._entries(after)]

    def entries(self, after: str = FIRST) -> list[tuple[str, bytes]]:
        """The same as they lie in the stream: entry id and JSON."""
        return [(entry.decode(), fields[b"e"]) for entry, fields in self._entries(after)]

    def empty(self) -> bool:
        """Whether nothing was ever recorded, or everything was lost."""
        try:
            return self._redis.xlen(CONTROL_STREAM) == 0
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def newest_ms(self) -> int | None:
        """When the latest event was recorded (Unix ms); None where nothing was."""
        try:
            newest = cast(list[tuple[bytes, object]], self._redis.xrevrange(CONTROL_STREAM, count=1))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return _entry_ms(newest[0][0]) if newest else None

    def restore(self, entries: list[tuple[str, bytes]]) -> None:
        """Put entries back into an empty stream under the ids that they had, and go on counting from their numbers.

        Raises `StreamDown`, also where the stream is not empty.
        """
        numbers: dict[Registry, int] = {"device": 0, "place": 0}
        for _, text in entries:
            match codec.control_from_json(text):
                case DeviceEnrolled(device):
                    numbers["device"] = max(numbers["device"], device.number)
                case PlaceRegistered(place):
                    numbers["place"] = max(numbers["place"], place.number)
        try:
            for start in range(0, len(entries), REPLAY_ENTRIES):
                piece = entries[start : start + REPLAY_ENTRIES]
                self._written([("XADD", CONTROL_STREAM, entry, "e", text) for entry, text in piece])
            self._written([("SET", _number_key(registry), number) for registry, number in numbers.items()])
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def _entries(self, after: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found: list[tuple[bytes, dict[bytes, bytes]]] = []
        try:
            while True:
                batch = cast(
                    list[tuple[bytes, dict[bytes, bytes]]],
                    self._redis.xrange(CONTROL_STREAM, min=f"({after}", count=REPLAY_ENTRIES),
                )
                found.extend(batch)
                if len(batch) < REPLAY_ENTRIES:
                    return found
                after = batch[-1][0].decode()
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def _written(self, commands: list[Command]) -> list[Any]:
        """The answers, once what was written is safe from a failover, too."""
        if self._replicas:
            return confirmed(self._redis, self._replicas, commands)
        pipeline: Any = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return cast(list[Any], pipeline.execute())

    def next_number(self, registry: Registry) -> int:
        """A number never given to a device or place before."""
        try:
            return int(self._written([("INCR", _number_key(registry))])[0])
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error


class ControlFollower:
    """Replays the control stream into a callback, then follows it in a thread until stopped."""

    def __init__(
        self, client: "redis.Redis", on_event: OnEvent, on_failure: Callable[[Exception], None] | None = None
    ) -> None:
        """`on_failure` is told why the thread ended before it was stopped: an event that cannot be read or applied."""
        self._redis: Final = client
        self._on_event: Final = on_event
        self._on_failure: Final = on_failure
        self._stopped: Final = threading.Event()
        self._moved: Final = threading.Condition()
        self._thread: Final = threading.Thread(target=self._follow, name="control-follower", daemon=True)
        self.position = FIRST

    def start(self) -> None:
        """Return when everything recorded so far was applied. Raises `StreamDown`."""
        self._apply(ControlLog(self._redis).replay())
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self.join()

    def join(self, timeout_seconds: float | None = None) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout_seconds)

    def catch_up(self, timeout_seconds: float) -> bool:
        """Whether, within the time, everything recorded before this call has been applied here. Raises `StreamDown`."""
        try:
            newest = cast(list[tuple[bytes, object]], self._redis.xrevrange(CONTROL_STREAM, count=1))
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        goal = _entry_order(newest[0][0].decode()) if newest else (0, 0)
        with self._moved:
            return self._moved.wait_for(lambda: _entry_order(self.position) >= goal, timeout_seconds)

    def _follow(self) -> None:
        try:
            self._follow_until_stopped()
        except Exception as error:
            if self._on_failure is None:
                raise
            self._on_failure(error)

    def _follow_until_stopped(self) -> None:
        while not self._stopped.is_set():
            try:
                answer = self._redis.xread({CONTROL_STREAM: self.position}, block=FOLLOW_BLOCK_MS)
                self._apply(_read(answer))
            except redis.RedisError:
                self._stopped.wait(RETRY_SECONDS)

    def _apply(self, batch: list[tuple[str, Recorded]]) -> None:
        for entry, recorded in batch:
            self._on_event(recorded)
            with self._moved:
                self.position = entry
                self._moved.notify_all()


async def follow(client: "redis.asyncio.Redis", on_event: OnEvent, ready: asyncio.Event) -> None:
    """Replay and follow for an event loop, for ever; sets `ready` once the replay is through."""
    position = FIRST
    while True:
        try:
            block = FOLLOW_BLOCK_MS if ready.is_set() else None
            answer = await client.xread({CONTROL_STREAM: position}, count=REPLAY_ENTRIES, block=block)
            batch = _read(answer)
            for entry, recorded in batch:
                on_event(recorded)
                position = entry
            if len(batch) < REPLAY_ENTRIES:
                ready.set()
        except redis.RedisError:
            with contextlib.suppress(redis.RedisError):
                await client.connection_pool.disconnect()
            await asyncio.sleep(RETRY_SECONDS)


def _number_key(registry: Registry) -> str:
    """Holds the number that was given last."""
    return shared_key(f"number:{registry}")


def _read(answer: Any) -> list[tuple[str, Recorded]]:
    """What an XREAD of the control stream gave."""
    return [_recorded(entry, fields) for entries in entries_by_stream(answer).values() for entry, fields in entries]


def _recorded(entry: bytes, fields: dict[bytes, bytes]) -> tuple[str, Recorded]:
    return entry.decode(), Recorded(_entry_ms(entry), codec.control_from_json(fields[b"e"]))


def _entry_order(entry: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence)


def _entry_ms(entry: bytes | str) -> int:
    return int(entry.split(b"-" if isinstance(entry, bytes) else "-")[0])  # type: ignore[arg-type]
