"""Up to when each consumer has read: one-entry streams, so that whoever waits is woken and need not poll.

Each partition's sink says it of its own part of the log; the log as a whole is complete up to the least of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec
import redis

from events import codec
from storage.errors import StreamDown
from storage.partitions import Partition, partitions_of, shared_key
from storage.quiet import Quiet, quiet
from storage.xread import Entry, entries_by_stream

T = TypeVar("T")

Name = Literal["log", "read-models"]
WAIT_BLOCK_MS_MAX: Final = 250
NUDGES_KEPT: Final = 8
"""The projector passes over those that are no matter of its own, and must not miss its own for them."""
NUDGE_FIELD: Final = b"received"
LOG_NUDGE_FIELD: Final = b"laid"
"""Of a nudge by somebody whom the log is enough for."""
NUDGE_SECONDS_FIRST: Final = 0.1
"""One is enough, unless it is lost: the sink answers it with its next range, whatever it was at."""
SILENT_SECONDS: Final = 5.0
"""A server that did not answer is asked nothing for so long: whoever waits has better to do than to wait for it."""
CLOCK_MS_MAX: Final = 5
"""So far may a server's clock be behind the moment that is waited for, to wait for the clock alone."""


class Watermark(msgspec.Struct, frozen=True):
    """Everything `received` at or before this ms is in; `rows` counts the scans that ever came in."""

    received: int
    rows: int


class Laid(msgspec.Struct, frozen=True):
    """The log holds everything `received` by this ms, and about so many `rows`.

    `folded`: the read models lack nothing of it; then `rows` is what their watermark counts, to the scan.
    """

    received: int
    rows: int
    folded: bool


class Asked(msgspec.Struct, frozen=True):
    """How far the read models were, and whether the sinks had to be asked for more."""

    read_models: Watermark
    nudged: bool


class Nudge(NamedTuple):
    """Somebody waits until read models have what was `received` by this ms; the id of what they said."""

    entry: str
    received: int


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

    def __init__(
        self, client: "redis.Redis", partitions: "Sequence[redis.Redis] | None" = None, *, replicas: int = 0
    ) -> None:
        """`client` has what all share; `partitions` are clients of each partition's server, in order.

        Whoever waits nudges through the latter, so they should not wait long themselves. `replicas`: how many must have
        on disk what is promised to readers.
        """
        self._redis: Final = client
        self._partitions: Final = partitions or [client]
        self._replicas: Final = replicas
        self._silent_until: Final = [0.0] * len(self._partitions)

    def publish(self, name: Name, watermark: Watermark, partition: int = 0) -> None:
        """Make it known; of the log, for one partition. Raises `StreamDown`."""
        try:
            self._redis.xadd(_key(name, partition), {b"w": codec.to_json(watermark)}, maxlen=1, approximate=False)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error

    def read(self, name: Name) -> Watermark | None:
        """The latest one; None before the first."""
        return self._least(name, self._entries(dict.fromkeys(self._keys(name), "0-0"), block_ms=None))

    def follow(self, name: Name, received: int, timeout_seconds: float) -> Watermark | None:
        """The first watermark past `received`, without asking for it; None when the time is over."""
        return self._await(name, received + 1, timeout_seconds, nudging=False)

    def nudge(self, received: int, name: Name = "read-models") -> None:
        """Ask the sinks to say at once up to when the log is complete: somebody waits until `name` has `received` (ms).

        A server that was silent is left in peace.
        """
        nudge: dict[Any, Any] = {LOG_NUDGE_FIELD if name == "log" else NUDGE_FIELD: received}
        for partition in partitions_of(len(self._partitions)):
            self._asked(
                partition, lambda client, of: client.xadd(of.nudge, nudge, maxlen=NUDGES_KEPT, approximate=False)
            )

    def await_nudge(self, after: Nudge, timeout_seconds: float) -> Nudge | None:
        """The latest question about read models, once somebody has asked after the one seen before.

        None when the time is over.
        """
        deadline, position = time.monotonic() + timeout_seconds, after.entry
        partition = next(iter(partitions_of(len(self._partitions))))  # whoever asks does so of all
        while (remaining_ms := int(1000 * (deadline - time.monotonic()))) > 0:
            try:
                answer: Any = self._partitions[0].xread({partition.nudge: position}, block=remaining_ms)
            except redis.RedisError as error:
                raise StreamDown(type(error).__name__) from error
            entries = [entry for of_stream in entries_by_stream(answer).values() for entry in of_stream]
            for entry, fields in reversed(entries):
                if LOG_NUDGE_FIELD not in fields:
                    # One of before an upgrade names no moment.
                    return Nudge(entry.decode(), int(fields.get(NUDGE_FIELD, 0)))
            if entries:
                position = entries[-1][0].decode()
        return None

    def ask(self, received: int) -> Asked | None:
        """How far the read models are; None before the first.

        If anything is on its way, the sinks are asked to lay what is received by `received` (ms): `wait_laid` waits for
        that.
        """
        mark = self.read("read-models")
        if mark is None:
            return None
        nudged = mark.received < received and self._complete_upto(mark) is None
        if nudged:
            self.nudge(received, "log")
        return Asked(mark, nudged)

    def wait_laid(self, received: int, asked: Asked, timeout_seconds: float) -> Laid | None:
        """Once the log has everything `received` by this ms, for which `ask` was called; None when the time is over."""
        found = self._once_complete(received, asked.read_models)
        if found is not None:
            return Laid(found.received, found.rows, folded=True)
        mark = self._await("log", received, timeout_seconds, nudging=True, nudged=asked.nudged)
        return None if mark is None else Laid(mark.received, mark.rows, folded=False)

    def wait(self, name: Name, received: int, timeout_seconds: float) -> Watermark | None:
        """The first watermark at or past `received`, asked for at once; None when the time is over.

        Where nothing is on its way to the read models, nobody is asked.
        """
        found = self._without_waiting(received) if name == "read-models" else None
        return found or self._await(name, received, timeout_seconds, nudging=True)

    def _without_waiting(self, received: int) -> Watermark | None:
        """What the read models have, at or past `received`, if there is nothing that they lack; else None."""
        mark = self.read("read-models")
        if mark is None or mark.received >= received:
            return mark
        return self._once_complete(received, mark)

    def _once_complete(self, received: int, mark: Watermark) -> Watermark | None:
        """The same where they have this mark; None where something may lack."""
        while (upto := self._complete_upto(mark)) is not None and upto < received:
            if received - upto > CLOCK_MS_MAX:
                return None
            time.sleep((received - upto) / 1000)
        return None if upto is None else Watermark(upto, mark.rows)

    def _complete_upto(self, mark: Watermark) -> int | None:
        """Up to when (ms) what these read models have is all that was received; None where something may lack."""
        least = None
        for partition in partitions_of(len(self._partitions)):
            found: Quiet | None = self._asked(partition, lambda client, of: quiet(client, of, self._replicas))
            if found is None or found.laid > mark.received:
                return None
            least = found.upto if least is None else min(least, found.upto)
        return None if least is None else self._by_the_registries(least)

    def _asked(self, partition: Partition, ask: "Callable[[redis.Redis, Partition], T]") -> T | None:
        """What a partition's server answers; None where it is silent, or was a moment ago."""
        if time.monotonic() < self._silent_until[partition.number]:
            return None
        try:
            return ask(self._partitions[partition.number], partition)
        except redis.RedisError:
            self._silent_until[partition.number] = time.monotonic() + SILENT_SECONDS
            return None

    def _await(
        self, name: Name, received: int, timeout_seconds: float, *, nudging: bool, nudged: bool = False
    ) -> Watermark | None:
        deadline = time.monotonic() + timeout_seconds
        positions = dict.fromkeys(self._keys(name), "0-0")
        marks: dict[str, tuple[str, Watermark]] = {}
        nudge_at, pause = time.monotonic() + NUDGE_SECONDS_FIRST if nudged else 0.0, NUDGE_SECONDS_FIRST
        block_ms: int | None = None if nudging else WAIT_BLOCK_MS_MAX  # what has passed already is not asked for
        while (remaining_ms := int((deadline - time.monotonic()) * 1000)) > 0:
            marks |= self._entries(positions, block_ms=min(remaining_ms, block_ms) if block_ms else None)
            watermark = self._least(name, marks)
            if watermark is not None and watermark.received >= received:
                return watermark
            positions |= {key: entry for key, (entry, _) in marks.items()}
            if nudging and nudge_at and time.monotonic() >= nudge_at:
                nudging = name == "log" or not self._log_has(received)  # the sinks have done their part
            if nudging and time.monotonic() >= nudge_at:
                # Each makes every sink speak, and every word wakes whoever waits: so ever more seldom.
                self.nudge(received, name)
                nudge_at, pause = time.monotonic() + pause, min(2 * pause, WAIT_BLOCK_MS_MAX / 1000)
            block_ms = WAIT_BLOCK_MS_MAX
            if nudging:
                block_ms = min(int(max(0.0, nudge_at - time.monotonic()) * 1000) + 1, WAIT_BLOCK_MS_MAX)
        return None

    def _log_has(self, received: int) -> bool:
        log = self.read("log")
        return log is not None and log.received >= received

    def _least(self, name: Name, marks: "dict[str, tuple[str, Watermark]]") -> Watermark | None:
        """What holds of all partitions; None while one of them has never said anything."""
        if len(marks) < len(self._keys(name)):
            return None
        found = [mark for _, mark in marks.values()]
        least = Watermark(min(mark.received for mark in found), sum(mark.rows for mark in found))
        return Watermark(self._by_the_registries(least.received), least.rows) if name == "log" else least

    def _by_the_registries(self, received: int) -> int:
        """The same or earlier (ms).

        Where the registries lie on another server than scans do, that one's clock must have passed it, too: then
        nothing more can be recorded by then.
        """
        if len(self._partitions) == 1:
            return received
        try:
            seconds, microseconds = self._redis.time()
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return min(received, seconds * 1000 + microseconds // 1000 - 1)

    def _keys(self, name: Name) -> list[str]:
        return [_key(name, number) for number in range(len(self._partitions) if name == "log" else 1)]

    def _entries(self, positions: Mapping[Any, Any], block_ms: int | None) -> dict[str, tuple[str, Watermark]]:
        """The latest mark after each position, with its entry, by key; those that have none are left out."""
        try:
            answer: Any = self._redis.xread(dict(positions), block=block_ms)
        except redis.RedisError as error:
            raise StreamDown(type(error).__name__) from error
        return {key.decode(): _decoded(entries[-1]) for key, entries in entries_by_stream(answer).items()}


def _key(name: Name, partition: int) -> str:
    return shared_key(f"watermark:{name}:{partition}")


def _decoded(entry: Entry) -> tuple[str, Watermark]:
    return entry[0].decode(), codec.from_json(entry[1][b"w"], Watermark)
