"""The audit stream: entries that wait to be copied into the store, and the head of the chain that they continue.

An append names the head that it builds upon, and the server takes it only where that is the head still. So any number
of processes write one chain, and what was appended is durable before anybody is answered. A number is also an entry's
id in the stream, hence taken once.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec
import redis
from redis.exceptions import OutOfMemoryError

from events import codec
from events.audit import Head
from storage.confirm import confirmed
from storage.errors import StreamDown, StreamFull
from storage.partitions import shared_key

AUDIT_STREAM: Final = shared_key("audit")
AUDIT_HEAD: Final = shared_key("audit-head")
WAITING_BYTES_MAX: Final = 64_000_000
"""So much may wait for the store before no look is answered any more; it shares its memory with the scans."""
READ_ENTRIES: Final = 1_000

T = TypeVar("T")
Answer = list[Any]

_APPEND: Final = """
local head = redis.call('HMGET', KEYS[2], 'number', 'hash', 'bytes_in', 'bytes_out')
if not head[1] then return {'NONE'} end
local number = tonumber(ARGV[1])
if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] then
  -- Sent again because the answer was lost? Written once more, so that who waits for replicas waits for it, too.
  local id = string.format('%.0f-0', number + 1)
  local own = redis.call('XRANGE', KEYS[1], id, id)
  if own[1] and own[1][2][2] == ARGV[4] then
    redis.call('HINCRBY', KEYS[2], 'repeated', 1)
    return {'DONE'}
  end
  return {'HEAD', head[1], head[2]}
end
if tonumber(head[3] or 0) - tonumber(head[4] or 0) >= tonumber(ARGV[3]) then return {'FULL'} end
local size = 0
for i = 4, #ARGV, 3 do
  number = number + 1
  local fields = {'h', ARGV[i], 'e', ARGV[i + 1]}
  if ARGV[i + 2] ~= '' then fields[5], fields[6] = 's', ARGV[i + 2] end
  redis.call('XADD', KEYS[1], string.format('%.0f-0', number), unpack(fields))
  size = size + #ARGV[i + 1] + #ARGV[i + 2]
end
redis.call('HSET', KEYS[2], 'number', string.format('%.0f', number), 'hash', ARGV[#ARGV - 2])
redis.call('HINCRBY', KEYS[2], 'bytes_in', size)
return {'DONE'}
"""
_ADVANCE: Final = """
local head = redis.call('HMGET', KEYS[1], 'number', 'hash')
if head[1] and tonumber(head[1]) >= tonumber(ARGV[1]) then return {0, head[1], head[2]} end
redis.call('HSET', KEYS[1], 'number', ARGV[1], 'hash', ARGV[2])
return {1, ARGV[1], ARGV[2]}
"""
# Where the server is out of memory the copying must go on: it frees some.
_FREEZE: Final = """#!lua flags=allow-oom
local range = redis.call('HGET', KEYS[2], 'range')
if range then
  redis.call('HSET', KEYS[2], 'range', range)
  return {1, range}
end
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
if #entries == 0 then return {0, ''} end
local size, last = 0, 0
for i, entry in ipairs(entries) do
  local bytes = #entry[2][4] + #(entry[2][6] or '')
  if i > 1 and size + bytes > tonumber(ARGV[2]) then break end
  size, last = size + bytes, i
end
range = string.format('["%s","%s",%.0f]', entries[1][1], entries[last][1], size)
redis.call('HSET', KEYS[2], 'range', range)
return {0, range}
"""
_COMMIT: Final = """#!lua flags=allow-oom
if redis.call('HGET', KEYS[2], 'range') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[2], 'range')
redis.call('HINCRBY', KEYS[2], 'bytes_out', ARGV[2])
redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[3])
return 1
"""


class Link(msgspec.Struct, frozen=True):
    """An entry as it lies in the stream: number, hash, the event's JSON, and the answer saved with it, packed."""

    number: int
    hash: bytes
    entry: bytes
    saved: bytes = b""


class AuditRange(msgspec.Struct, frozen=True, array_like=True):
    """Entries that one insert into the store holds, for good: stream ids of the first and the last, and bytes."""

    first: str
    last: str
    size: int

    @property
    def numbers(self) -> tuple[int, int]:
        """The first and the last entry's number."""
        return _number(self.first), _number(self.last)


class Frozen(msgspec.Struct, frozen=True):
    """A frozen range; `again`: it was found frozen, so its insert may have been made already, or half of it."""

    range: AuditRange
    again: bool


class AuditStream:
    """Appends to the audit stream, reads what waits there, and hands it on in frozen ranges. Thread-safe."""

    def __init__(self, client: "redis.Redis", *, replicas: int = 0, waiting_bytes_max: int = WAITING_BYTES_MAX) -> None:
        """`replicas`: how many must have on disk what is appended before it counts."""
        self._redis: Final = client
        self._replicas: Final = replicas
        self._waiting_bytes_max: Final = waiting_bytes_max

    def head(self) -> Head | None:
        """The chain's last entry; None where nothing is known of one. Raises `StreamDown`."""
        number, found = self._call(lambda: cast(Answer, self._redis.hmget(AUDIT_HEAD, ["number", "hash"])))
        return Head(int(number), found) if number is not None else None

    def advance(self, head: Head) -> tuple[Head, bool]:
        """Make this the head unless the stream's is as far or further: it forgets, the store does not.

        Returns the head in force, and whether it was moved. Raises `StreamDown` and `StreamFull`.
        """
        moved, number, found = self._written(_ADVANCE, [AUDIT_HEAD], [head.number, head.hash])
        return Head(int(number), found), bool(moved)

    def append(self, after: Head, links: Sequence[Link]) -> Head | None:
        """Make entries durable behind `after`. Returns None where they are, else the head that is in its place.

        A head of number -1 means that the stream knows of none. Raises `StreamDown` and `StreamFull`.
        """
        arguments: Answer = [after.number, after.hash, self._waiting_bytes_max]
        for link in links:
            arguments += (link.hash, link.entry, link.saved)
        word, *found = self._written(_APPEND, [AUDIT_STREAM, AUDIT_HEAD], arguments)
        match word:
            case b"DONE":
                return None
            case b"HEAD":
                return Head(int(found[0]), found[1])
            case b"FULL":
                raise StreamFull("too much of the audit log waits for the store")
            case _:
                return Head(-1, b"")

    def newest(self, before: int, count: int) -> list[Link]:
        """Up to `count` waiting entries of numbers below `before`, newest first. Raises `StreamDown`."""
        found = self._call(lambda: self._redis.xrevrange(AUDIT_STREAM, max=f"{before - 1}-0", count=count))
        return _links(found)

    def waiting(self, after: int = 0) -> list[Link]:
        """All waiting entries of numbers above `after`, oldest first. Raises `StreamDown`."""
        links: list[Link] = []
        while True:
            read = functools.partial(self._redis.xrange, AUDIT_STREAM, min=f"{after + 1}-0", count=READ_ENTRIES)
            piece = _links(self._call(read))
            links += piece
            if len(piece) < READ_ENTRIES:
                return links
            after = piece[-1].number

    def freeze(self, *, entries_max: int, bytes_max: int) -> Frozen | None:
        """The range that must be copied next, written down before anybody copies it; None where nothing waits.

        Every process that asks gets the same until it is committed. Raises `StreamDown`.
        """
        again, text = self._written(_FREEZE, [AUDIT_STREAM, AUDIT_HEAD], [entries_max, bytes_max])
        return Frozen(codec.from_json(text, AuditRange), bool(again)) if text else None

    def between(self, range_: AuditRange) -> list[Link]:
        """The entries of a frozen range. Raises `StreamDown`."""
        return _links(self._call(lambda: self._redis.xrange(AUDIT_STREAM, min=range_.first, max=range_.last)))

    def commit(self, range_: AuditRange) -> None:
        """The range is in the store: forget it. Changes nothing a second time. Raises `StreamDown`."""
        behind = f"{range_.numbers[1] + 1}-0"
        arguments: Answer = [codec.to_json(range_), range_.size, behind]
        self._call(lambda: self._redis.eval(_COMMIT, 2, AUDIT_STREAM, AUDIT_HEAD, *arguments))

    def waits(self) -> tuple[int, int]:
        """How many entries and bytes wait to be copied. Raises `StreamDown`."""
        length = self._call(lambda: self._redis.xlen(AUDIT_STREAM))
        taken, given = self._call(lambda: cast(Answer, self._redis.hmget(AUDIT_HEAD, ["bytes_in", "bytes_out"])))
        return length, int(taken or 0) - int(given or 0)

    def _written(self, script: str, keys: list[str], arguments: Sequence[Any]) -> Answer:
        """A script's answer, once what it wrote is safe from a failover, too."""
        if self._replicas:
            command = ("EVAL", script, len(keys), *keys, *arguments)
            return self._call(lambda: cast(Answer, confirmed(self._redis, self._replicas, [command])[0]))
        return self._call(lambda: cast(Answer, self._redis.eval(script, len(keys), *keys, *arguments)))

    def _call(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except redis.RedisError as error:
            if isinstance(error, OutOfMemoryError) or str(error).startswith("OOM"):
                raise StreamFull("the stream's server has no memory left") from error
            raise StreamDown(type(error).__name__) from error


def _links(entries: Any) -> list[Link]:
    return [
        Link(_number(entry.decode()), fields[b"h"], fields[b"e"], fields.get(b"s", b"")) for entry, fields in entries
    ]


def _number(entry: str) -> int:
    return int(entry.partition("-")[0])
