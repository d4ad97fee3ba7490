"""The sink's end of the scan stream: takes signed batches off a partition in frozen ranges."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec
import redis

from events import codec
from storage.confirm import confirmed
from storage.errors import StreamDown
from storage.partitions import ONLY, Partition
from storage.xread import entries_by_stream

FIRST: Final = "0-0"
READ_ENTRIES: Final = 64
PROMISE_AHEAD_MS_MAX: Final = 600_000
"""So far may the server's clock have gone back since somebody made a promise by it."""


class FrozenRange(msgspec.Struct, frozen=True):
    """The entries that one insert into the log holds, for good: `first` to `last`.

    Their `received` (ms) are reckoned from the entries and `received_after`, and end at `received`.
    """

    first: str
    last: str
    received_after: int
    received: int
    partition: int = 0

    @property
    def token(self) -> str:
        """Names the insert: the same range is never inserted twice.

        Ids alone would repeat where Redis lost its data and its clock went back; `received_after` only ever grows.
        """
        return f"{self.partition}:{self.first}:{self.last}:{self.received_after}"


class SinkState(msgspec.Struct, frozen=True):
    """Where the sink stands: everything up to `cursor` is in the log; `received` was given or promised last."""

    cursor: str
    received: int
    rows: int
    frozen: FrozenRange | None


class NotTheOwner(Exception):
    """Another sink has taken the partition over; this one must stop touching it."""


class Promised(Exception):
    """What is to be frozen would be received at a time that readers were told of since: reckon its times anew."""


# Where the server is out of memory the sink must go on all the same: it is the one that frees some.
_ALLOW_OOM: Final = "#!lua flags=allow-oom\n"
_OWNED: Final = _ALLOW_OOM + "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('NOTOWNER') end "
# What others promised in the sink's place counts, unless it lies where no clock of an honest server can have been.
_PROMISED: Final = (
    "local promised, time = tonumber(redis.call('GET', KEYS[4]) or 0), redis.call('TIME') "
    + f"if promised > time[1] * 1000 + {PROMISE_AHEAD_MS_MAX} then promised = 0 end "
)
_STATE: Final = (
    _PROMISED
    + "local state = redis.call('HMGET', KEYS[1], 'cursor', 'received', 'rows', 'range') "
    + "if promised > tonumber(state[2] or 0) then state[2] = string.format('%.0f', promised) end "
    + "return state"
)
# A freeze or commit may reach the server late, or twice where its answer was lost: each says what it builds upon.
# A replica that has become the server may lack entries that were read from the old one; nobody was promised those.
_FREEZE: Final = (
    _OWNED
    + _PROMISED
    + "if math.max(promised, tonumber(redis.call('HGET', KEYS[1], 'received') or 0)) > tonumber(ARGV[4]) "
    + "then return redis.error_reply('PROMISED') end "
    + "for i = 5, 6 do if #redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i]) == 0 "
    + "then return redis.error_reply('GONE') end end "
    + "return redis.call('HSET', KEYS[1], 'range', ARGV[2], 'received', ARGV[3])"
)
_PROMISE: Final = (
    _OWNED
    + "local promised = tonumber(redis.call('HGET', KEYS[1], 'received') or 0) "
    + "if #redis.call('XRANGE', KEYS[3], '(' .. ARGV[2], '+', 'COUNT', 1) > 0 then return promised end "
    + "local now = redis.call('TIME') "
    + "local quiet = now[1] * 1000 + math.floor(now[2] / 1000) - 1 "
    # Written again, so that who waits for replicas waits for what was promised before, too.
    + "if quiet <= promised then quiet = promised end "
    + "redis.call('HSET', KEYS[1], 'received', string.format('%.0f', quiet)) return quiet"
)
_AFFIRM: Final = (
    _OWNED
    + "if redis.call('HGET', KEYS[1], 'range') ~= ARGV[2] then return redis.error_reply('NOTOWNER') end "
    + "return redis.call('HSET', KEYS[1], 'range', ARGV[2])"
)
_COMMIT: Final = (
    _OWNED
    + "local range = redis.call('HGET', KEYS[1], 'range') "
    + "if not range and redis.call('HGET', KEYS[1], 'cursor') == ARGV[2] "
    + "then return tonumber(redis.call('HGET', KEYS[1], 'received')) end "
    + "if range ~= ARGV[5] then return redis.error_reply('NOTOWNER') end "
    + "redis.call('HSET', KEYS[1], 'cursor', ARGV[2], 'laid', ARGV[6]) "
    + "redis.call('HINCRBY', KEYS[1], 'rows', ARGV[3]) "
    + "redis.call('HINCRBY', KEYS[1], 'bytes_out', ARGV[4]) "
    + "redis.call('HDEL', KEYS[1], 'range') "
    # Time has passed up to the next entry, or up to now: readers need not wait for another range to hear of it.
    + "local quiet, complete = 0, tonumber(ARGV[6]) "
    + "local waiting = redis.call('XRANGE', KEYS[3], '(' .. ARGV[2], '+', 'COUNT', 1) "
    + "if #waiting > 0 then quiet = tonumber(string.match(waiting[1][1], '^%d+')) - 1 else "
    + "local now = redis.call('TIME') quiet = now[1] * 1000 + math.floor(now[2] / 1000) - 1 end "
    + "if quiet > complete then complete = quiet end "
    + "redis.call('HSET', KEYS[1], 'received', string.format('%.0f', complete)) return complete"
)
_CLAIM: Final = (
    _ALLOW_OOM
    + "local owner = redis.call('GET', KEYS[1]) "
    + "if owner and owner ~= ARGV[1] then return 0 end "
    + "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"
)
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


class ScanStream:
    """The sink's end of the stream; synchronous. Every write checks that this sink still owns the partition."""

    def __init__(self, client: "redis.Redis", *, owner: str, partition: Partition = ONLY, replicas: int = 0) -> None:
        """`owner` names this sink process, uniquely.

        `replicas`: how many must have on disk what the sink promises before it goes on.
        """
        self._redis: Final = client
        self._owner: Final = owner
        self._replicas: Final = replicas
        self.partition: Final = partition

    def claim(self, seconds: float) -> bool:
        """Take or keep the partition for that long. False while another sink has it."""
        return bool(self._eval(_CLAIM, [self.partition.sink_owner], [self._owner, int(seconds * 1000)]))

    def release(self) -> None:
        """Give the partition up, so that another sink need not wait."""
        self._eval(_RELEASE, [self.partition.sink_owner], [self._owner])

    def state(self) -> SinkState:
        """Where the last sink stopped."""
        cursor, received, rows, frozen = self._eval(_STATE, self._keys, [])
        return SinkState(
            cursor.decode() if cursor else FIRST,
            int(received or 0),
            int(rows or 0),
            codec.from_json(frozen, FrozenRange) if frozen else None,
        )

    def after(self, cursor: str, *, entries_max: int, bytes_max: int) -> list[tuple[str, bytes]]:
        """The next entries, oldest first: id and payload (empty where the entry has none).

        Read in pieces and only until they hold `bytes_max`, because after an outage they may be gigabytes.
        """
        found: list[tuple[str, bytes]] = []
        size = 0
        while len(found) < entries_max and size < bytes_max:
            read = functools.partial(self._redis.xrange, self.partition.scans, min=f"({cursor}", count=READ_ENTRIES)
            piece = self._entries(read)
            found += piece
            size += sum(len(payload) for _, payload in piece)
            if len(piece) < READ_ENTRIES:
                break
            cursor = piece[-1][0]
        return found

    def between(self, first: str, last: str) -> list[tuple[str, bytes]]:
        """The entries of a frozen range."""
        return self._entries(lambda: self._redis.xrange(self.partition.scans, min=first, max=last))

    def freeze(self, frozen: FrozenRange) -> None:
        """Write down what is about to be inserted. Raises `Promised` too where that was done before."""
        arguments = [codec.to_json(frozen), frozen.received, frozen.received_after, frozen.first, frozen.last]
        self._confirmed(_FREEZE, arguments)

    def affirm(self, frozen: FrozenRange) -> None:
        """Write a range down again that was found frozen: whoever froze it may have died before it was confirmed."""
        self._confirmed(_AFFIRM, [codec.to_json(frozen)])

    def promise(self, cursor: str) -> int:
        """Where nothing waits after the cursor: write down that what comes is received after this ms, the server's now.

        Returns what is promised, new or old. Entries are numbered by the same clock, which never runs backwards there.
        """
        return int(self._confirmed(_PROMISE, [cursor]))

    def commit(self, frozen: FrozenRange, *, rows: int, size: int) -> int:
        """The range is in the log: move the cursor past it. Once: a second time changes nothing.

        Returns up to when (ms) the log is complete now: that what comes is received later is written down, as by
        `promise`.
        """
        arguments = [frozen.last, rows, size, codec.to_json(frozen), frozen.received]
        return int(self._confirmed(_COMMIT, arguments))

    def trim(self, cursor: str) -> None:
        """Drop what lies at or before the cursor; all of it is in the log."""
        milliseconds, _, sequence = cursor.partition("-")
        kept = f"{milliseconds}-{int(sequence) + 1}"
        self._call(lambda: self._redis.xtrim(self.partition.scans, minid=kept, approximate=False))

    def wait(self, cursor: str, nudged: str, block_ms: int) -> str:
        """Return when there is an entry after the cursor, a nudge after `nudged`, or the time is over.

        Returns the id of the newest nudge, by then or a moment later.
        """
        return self._nudge_among({self.partition.scans: cursor, self.partition.nudge: nudged}, nudged, block_ms)

    def await_nudge(self, nudged: str, block_ms: int) -> str:
        """The same, whatever comes in."""
        return self._nudge_among({self.partition.nudge: nudged}, nudged, block_ms)

    def _nudge_among(self, positions: Mapping[Any, Any], nudged: str, block_ms: int) -> str:
        nudge = self.partition.nudge
        answer = self._call(lambda: self._redis.xread(dict(positions), count=1, block=max(block_ms, 1)))
        if nudge.encode() not in entries_by_stream(answer):
            return nudged
        # What is said next answers all of them.
        newest = self._call(lambda: self._redis.xrevrange(nudge, count=1))
        return cast(bytes, newest[0][0]).decode() if newest else nudged

    def backlog(self) -> tuple[int, int]:
        """How many entries and bytes wait."""
        length = self._call(lambda: self._redis.xlen(self.partition.scans))
        flow = self._call(lambda: self._redis.hmget(self.partition.sink, ["bytes_in", "bytes_out"]))
        return length, int(flow[0] or 0) - int(flow[1] or 0)

    def _entries(self, read: Callable[[], Any]) -> list[tuple[str, bytes]]:
        return [(entry.decode(), fields.get(b"e", b"")) for entry, fields in self._call(read)]

    def _confirmed(self, script: str, arguments: list[Any]) -> Any:
        """Run a script of the owner's; what it writes is a promise, which a failover must not take back."""
        if not self._replicas:
            return self._eval(script, self._keys, [self._owner, *arguments])
        command = ("EVAL", script, len(self._keys), *self._keys, self._owner, *arguments)
        return self._call(lambda: confirmed(self._redis, self._replicas, [command])[0])

    @property
    def _keys(self) -> list[str]:
        """What its scripts know as KEYS[1] to KEYS[4]."""
        return [self.partition.sink, self.partition.sink_owner, self.partition.scans, self.partition.promise]

    def _eval(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return self._call(lambda: self._redis.eval(script, len(keys), *keys, *arguments))

    def _call(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except redis.ResponseError as error:
            if "NOTOWNER" in str(error):
                raise NotTheOwner("another sink has taken the partition over") from error
            if "PROMISED" in str(error):
                raise Promised("what comes was promised to be received later") from error
            raise StreamDown(type(error).__name__) from error
        except redis.RedisError as error:
            with contextlib.suppress(redis.RedisError):
                # Idle ones alone: the others are in the hands of other threads.
                self._redis.connection_pool.disconnect(inuse_connections=False)
            raise StreamDown(type(error).__name__) from error
