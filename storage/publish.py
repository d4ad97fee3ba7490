"""The edge's end of the scan stream: appends signed batches, which are on disk before their senders are answered.

The server must run with `appendonly yes` and `appendfsync always`. Writers that wait at the same time share an fsync,
so the edge sends what has gathered in one call.
"""

import asyncio
import collections
import contextlib
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final, cast

import msgspec
import redis
import redis.asyncio
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError

from storage.confirm import confirmed_async
from storage.errors import StreamDown, StreamFull
from storage.partitions import Partition, partition_of, partitions_of
from storage.runs import Run, parse_runs

CALL_BATCHES_MAX: Final = 256
CALL_BYTES_MAX: Final = 8_000_000
WAITING_BYTES_MAX: Final = 64_000_000
"""How much one process holds for servers that do not answer; beyond, a batch is turned away at once."""


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
    """Appends batches for one event loop, each to its device's partition. Safe for any number of tasks at once."""

    def __init__(self, clients: "Sequence[redis.asyncio.Redis]", *, bytes_max: int, replicas: int = 0) -> None:
        """`clients`: one for each partition, in order.

        `bytes_max`: how much may wait for the sink, over all partitions, before batches are turned away; `replicas`:
        how many must have a batch on disk too before its sender is answered.
        """
        count = len(clients)
        script = resources.files("storage").joinpath("publish.lua").read_text(encoding="utf-8")

        def lane(client: "redis.asyncio.Redis", partition: Partition) -> _Lane:
            shares = {"bytes_max": bytes_max // count, "waiting_max": WAITING_BYTES_MAX // count}
            return _Lane(client, partition, script, replicas=replicas, **shares)

        self._lanes: Final = [lane(*each) for each in zip(clients, partitions_of(count), strict=True)]

    async def publish(self, entry: bytes, *, device: int, runs: list[Run], replay_key: bytes) -> Published:
        """Return when the entry is on disk. Raises `StreamDown` or `StreamFull`; then nothing was promised.

        `runs` are the batch's seqs, sorted and disjoint; `replay_key` 16 bytes that name its signature.
        """
        text = ",".join(f"{low}-{high}" for low, high in runs)
        lane = self._lanes[partition_of(device, len(self._lanes))]
        return await lane.publish((device, replay_key.hex(), text, entry))


class _Lane:
    """What waits for one partition's server, and one call at a time to it."""

    def __init__(
        self,
        client: "redis.asyncio.Redis",
        partition: Partition,
        script: str,
        *,
        bytes_max: int,
        waiting_max: int,
        replicas: int,
    ) -> None:
        self._redis: Final = client
        self._keys: Final = (partition.scans, partition.seen, partition.sink)
        self._script: Final = script
        self._bytes_max: Final = bytes_max
        self._waiting_max: Final = waiting_max
        self._replicas: Final = replicas
        self._sha: str | None = None
        self._waiting: Final[collections.deque[Call]] = collections.deque()
        self._waiting_bytes = 0
        self._flusher: asyncio.Task[None] | None = None

    def publish(self, arguments: tuple[int, str, str, bytes]) -> "asyncio.Future[Published]":
        size = len(arguments[-1])
        if self._waiting_bytes and self._waiting_bytes + size > self._waiting_max:
            raise StreamFull("too much waits for the server already")
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._waiting.append((arguments, future))
        self._waiting_bytes += size
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return future

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
        if self._sha is not None:
            with contextlib.suppress(NoScriptError):  # the server was replaced: nothing was done
                return await self._run(self._sha, arguments)
        self._sha = await self._redis.script_load(self._script)
        return await self._run(self._sha, arguments)

    async def _run(self, sha: str, arguments: list[Any]) -> list[Any]:
        """The script's answers. Raises `redis.RedisError`, also where too few replicas have what it wrote."""
        if not self._replicas:
            return cast(list[Any], await self._redis.evalsha(sha, len(self._keys), *self._keys, *arguments))
        command = ("EVALSHA", sha, len(self._keys), *self._keys, *arguments)
        return cast(list[Any], (await confirmed_async(self._redis, self._replicas, [command]))[0])


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
