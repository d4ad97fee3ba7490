"""The scan stream: the edge appends signed batches, the sink takes them off in frozen ranges.

The server must run with `appendonly yes` and `appendfsync always`: an answer means that the bytes are on disk.
Writers that wait at the same time share an fsync, so the edge sends what has gathered in one call.
"""

import asyncio
import collections
import contextlib
import functools
from collections.abc import Callable
from importlib import resources
from typing import Any, Final, cast

import msgspec
import redis
import redis.asyncio
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError

from events import codec
from storage.errors import StreamDown, StreamFull

SCANS: Final = "truyvet:{0}:scans"
SEEN: Final = "truyvet:{0}:seen"
SINK: Final = "truyvet:{0}:sink"
SINK_OWNER: Final = "truyvet:{0}:sink-owner"
NUDGE: Final = "truyvet:nudge"
FIRST: Final = "0-0"
CALL_BATCHES_MAX: Final = 256
CALL_BYTES_MAX: Final = 8_000_000
WAITING_BYTES_MAX: Final = 64_000_000
"""How much one process holds for a server that does not answer; beyond, a batch is turned away at once."""
READ_ENTRIES: Final = 64

Run = tuple[int, int]
"""Inclusive bounds of consecutive seqs."""


class Published(msgspec.Struct, frozen=True):
    """What the stream says of a batch.

    `entry` is its id (empty for an exact replay, which was appended before), `known` the runs of its seqs that
    had been seen already, `next_seq` the lowest seq not seen from the device, `seen_to` the highest seen.
    """

    entry: str
    replayed: bool
    known: list[Run]
    next_seq: int
    seen_to: int


Call = tuple[tuple[int, str, str, bytes], "asyncio.Future[Published]"]
"""The script's arguments for one batch, its entry last, and who waits for the answer."""
FULL: Final = b"FULL"


class Publisher:
    """Appends batches for one event loop. Safe for any number of tasks at once."""

    def __init__(self, client: "redis.asyncio.Redis", *, bytes_max: int) -> None:
        """`bytes_max`: how much may wait for the sink before batches are turned away."""
        self._redis: Final = client
        self._bytes_max: Final = bytes_max
        self._script: Final = resources.files("storage").joinpath("publish.lua").read_text(encoding="utf-8")
        self._sha: str | None = None
        self._waiting: Final[collections.deque[Call]] = collections.deque()
        self._waiting_bytes = 0
        self._flusher: asyncio.Task[None] | None = None

    async def publish(self, entry: bytes, *, device: int, runs: list[Run], replay_key: bytes) -> Published:
        """Return when the entry is on disk. Raises `StreamDown` or `StreamFull`; then nothing was promised.

        `runs` are the batch's seqs, sorted and disjoint; `replay_key` 16 bytes that name its signature.
        """
        if self._waiting_bytes + len(entry) > WAITING_BYTES_MAX:
            raise StreamFull("too much waits for the server already")
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        text = ",".join(f"{low}-{high}" for low, high in runs)
        self._waiting.append(((device, replay_key.hex(), text, entry), future))
        self._waiting_bytes += len(entry)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        while batch := self._taken():
            await self._send(batch)

    def _taken(self) -> list[Call]:
        """What the next call takes. A batch nobody waits for is left out: its sender was told to come again."""
        batch: list[Call] = []
        size = 0
        while self._waiting and len(batch) < CALL_BATCHES_MAX and size < CALL_BYTES_MAX:
            call = self._waiting.popleft()
            arguments, future = call
            entry_bytes = len(arguments[-1])
            self._waiting_bytes -= entry_bytes
            if not future.done():
                batch.append(call)
                size += entry_bytes
        return batch

    async def _send(self, batch: list[Call]) -> None:
        arguments: list[Any] = [self._bytes_max]
        for one, _ in batch:
            arguments += one
        answers: list[Any]
        try:
            answers = await self._append(arguments)
        except (redis.RedisError, OSError) as error:
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                _resolve(future, answer)

    async def _append(self, arguments: list[Any]) -> list[Any]:
        keys = [SCANS, SEEN, SINK]
        if self._sha is not None:
            with contextlib.suppress(NoScriptError):  # the server was replaced: nothing was done
                return cast(list[Any], await self._redis.evalsha(self._sha, len(keys), *keys, *arguments))
        self._sha = await self._redis.script_load(self._script)
        return cast(list[Any], await self._redis.evalsha(self._sha, len(keys), *keys, *arguments))


def _resolve(future: "asyncio.Future[Published]", answer: Any) -> None:
    if isinstance(answer, BaseException):
        future.set_exception(_fault(answer))
    elif answer[0] == FULL:
        future.set_exception(StreamFull("the stream holds as much as it may"))
    else:
        entry, replayed, known, next_seq, seen_to = answer
        future.set_result(
            Published(entry.decode(), bool(replayed), parse_runs(known.decode()), int(next_seq), int(seen_to))
        )


def _fault(error: BaseException) -> Exception:
    """Full and out of memory pass when the sink catches up; all else means that Redis must be mended."""
    if isinstance(error, OutOfMemoryError) or (isinstance(error, ResponseError) and str(error).startswith("OOM")):
        return StreamFull(str(error).split()[0])
    return StreamDown(type(error).__name__)


def parse_runs(text: str) -> list[Run]:
    """`"1-3,5-5"` as `[(1, 3), (5, 5)]`."""
    return [(int(low), int(high)) for low, _, high in (run.partition("-") for run in text.split(",") if run)]


class FrozenRange(msgspec.Struct, frozen=True):
    """The entries that one insert into the log holds, for good: `first` to `last`.

    Their `received` (ms) are reckoned from the entries and `received_after`, and end at `received`.
    """

    first: str
    last: str
    received_after: int
    received: int

    @property
    def token(self) -> str:
        """Names the insert: the same range is never inserted twice.

        Ids alone would repeat where Redis lost its data and its clock went back; `received_after` only ever grows.
        """
        return f"{self.first}:{self.last}:{self.received_after}"


class SinkState(msgspec.Struct, frozen=True):
    """Where the sink stands: everything up to `cursor` is in the log; `received` was given or promised last."""

    cursor: str
    received: int
    rows: int
    frozen: FrozenRange | None


class NotTheOwner(Exception):
    """Another sink has taken the partition over; this one must stop touching it."""


# Where the server is out of memory the sink must go on all the same: it is the one that frees some.
_ALLOW_OOM: Final = "#!lua flags=allow-oom\n"
_OWNED: Final = _ALLOW_OOM + "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('NOTOWNER') end "
# A freeze or commit may reach the server late, or twice where its answer was lost: each says what it builds upon.
_FREEZE: Final = (
    _OWNED
    + "if tonumber(redis.call('HGET', KEYS[1], 'received') or 0) > tonumber(ARGV[4]) "
    + "then return redis.error_reply('NOTOWNER') end "
    + "return redis.call('HSET', KEYS[1], 'range', ARGV[2], 'received', ARGV[3])"
)
_PROMISE: Final = (
    _OWNED
    + "local promised = tonumber(redis.call('HGET', KEYS[1], 'received') or 0) "
    + "if #redis.call('XRANGE', KEYS[3], '(' .. ARGV[2], '+', 'COUNT', 1) > 0 then return promised end "
    + "local now = redis.call('TIME') "
    + "local quiet = now[1] * 1000 + math.floor(now[2] / 1000) - 1 "
    + "if quiet <= promised then return promised end "
    + "redis.call('HSET', KEYS[1], 'received', string.format('%.0f', quiet)) return quiet"
)
_COMMIT: Final = (
    _OWNED
    + "local range = redis.call('HGET', KEYS[1], 'range') "
    + "if not range and redis.call('HGET', KEYS[1], 'cursor') == ARGV[2] then return 0 end "
    + "if range ~= ARGV[5] then return redis.error_reply('NOTOWNER') end "
    + "redis.call('HSET', KEYS[1], 'cursor', ARGV[2]) "
    + "redis.call('HINCRBY', KEYS[1], 'rows', ARGV[3]) "
    + "redis.call('HINCRBY', KEYS[1], 'bytes_out', ARGV[4]) "
    + "return redis.call('HDEL', KEYS[1], 'range')"
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

    def __init__(self, client: "redis.Redis", *, owner: str) -> None:
        """`owner` names this sink process, uniquely."""
        self._redis: Final = client
        self._owner: Final = owner

    def claim(self, seconds: float) -> bool:
        """Take or keep the partition for that long. False while another sink has it."""
        return bool(self._eval(_CLAIM, [SINK_OWNER], [self._owner, int(seconds * 1000)]))

    def release(self) -> None:
        """Give the partition up, so that another sink need not wait."""
        self._eval(_RELEASE, [SINK_OWNER], [self._owner])

    def state(self) -> SinkState:
        """Where the last sink stopped."""
        cursor, received, rows, frozen = self._call(
            lambda: self._redis.hmget(SINK, ["cursor", "received", "rows", "range"])
        )
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
            piece = self._entries(functools.partial(self._redis.xrange, SCANS, min=f"({cursor}", count=READ_ENTRIES))
            found += piece
            size += sum(len(payload) for _, payload in piece)
            if len(piece) < READ_ENTRIES:
                break
            cursor = piece[-1][0]
        return found

    def between(self, first: str, last: str) -> list[tuple[str, bytes]]:
        """The entries of a frozen range."""
        return self._entries(lambda: self._redis.xrange(SCANS, min=first, max=last))

    def freeze(self, frozen: FrozenRange) -> None:
        """Write down what is about to be inserted. Raises `NotTheOwner` too where the sink has moved on since."""
        self._owned(_FREEZE, [codec.to_json(frozen), frozen.received, frozen.received_after])

    def promise(self, cursor: str) -> int:
        """Where nothing waits after the cursor: write down that what comes is received after this ms, the server's now.

        Returns what is promised, new or old. Entries are numbered by the same clock, which never runs backwards there.
        """
        return int(self._eval(_PROMISE, [SINK, SINK_OWNER, SCANS], [self._owner, cursor]))

    def commit(self, frozen: FrozenRange, *, rows: int, size: int) -> None:
        """The range is in the log: move the cursor past it. Once: a second time changes nothing."""
        self._owned(_COMMIT, [frozen.last, rows, size, codec.to_json(frozen)])

    def trim(self, cursor: str) -> None:
        """Drop what lies at or before the cursor; all of it is in the log."""
        milliseconds, _, sequence = cursor.partition("-")
        self._call(lambda: self._redis.xtrim(SCANS, minid=f"{milliseconds}-{int(sequence) + 1}", approximate=False))

    def wait(self, cursor: str, nudged: str, block_ms: int) -> str:
        """Return when there is an entry after the cursor, a nudge after `nudged`, or the time is over.

        Returns the id of the newest nudge seen.
        """
        answer = self._call(lambda: self._redis.xread({SCANS: cursor, NUDGE: nudged}, count=1, block=block_ms))
        streams = answer.items() if isinstance(answer, dict) else [(name, [rows]) for name, rows in answer or []]
        for name, batches in streams:
            if name in (NUDGE, NUDGE.encode()):
                return cast(bytes, batches[0][-1][0]).decode()
        return nudged

    def backlog(self) -> tuple[int, int]:
        """How many entries and bytes wait."""
        length = self._call(lambda: self._redis.xlen(SCANS))
        flow = self._call(lambda: self._redis.hmget(SINK, ["bytes_in", "bytes_out"]))
        return length, int(flow[0] or 0) - int(flow[1] or 0)

    def _entries(self, read: Callable[[], Any]) -> list[tuple[str, bytes]]:
        return [(entry.decode(), fields.get(b"e", b"")) for entry, fields in self._call(read)]

    def _owned(self, script: str, arguments: list[Any]) -> None:
        self._eval(script, [SINK, SINK_OWNER], [self._owner, *arguments])

    def _eval(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return self._call(lambda: self._redis.eval(script, len(keys), *keys, *arguments))

    def _call(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except redis.ResponseError as error:
            if "NOTOWNER" in str(error):
                raise NotTheOwner("another sink has taken the partition over") from error
            raise StreamDown(type(error).__name__) from error
        except redis.RedisError as error:
            with contextlib.suppress(redis.RedisError):
                # Idle ones alone: the others are in the hands of other threads.
                self._redis.connection_pool.disconnect(inuse_connections=False)
            raise StreamDown(type(error).__name__) from error
