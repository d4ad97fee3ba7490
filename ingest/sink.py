"""4 sink: takes signed batches off the stream and lays them into the log, exactly once.

The steps, and what a death right after each leaves behind:

1. *Claim* the partition for a lease's time. Another sink may claim it once the lease has run out; every later
   write to the stream checks the claim.
2. *Read* entries after the cursor. Nothing was written.
3. *Choose* a range, poison aside. Nothing was written.
4. *Freeze* the range and the `received` that it starts after. The next sink finds it frozen and goes on with
   step 5 on the very same entries, so that its inserts carry the same tokens and the same bytes.
5. *Insert* scans, refusals, evidence and poison, each under the range's token. ClickHouse drops what it has
   already taken under that token, so doing this again changes nothing. It notes a token *before* it moves the
   rows into place, though: who finds a range frozen counts its rows afterwards, and lays what is missing again.
6. *Commit*: move the cursor past the range, and promise that what comes is received later. The range is in the log,
   and no one will insert it again.
7. *Trim* the stream up to the cursor. A death before it leaves entries that nobody reads again.
8. *Announce* the watermark: all that was received by then is in the log. A death before it delays readers. It
   comes last because it takes memory, which a full Redis has only once the stream is trimmed.

`received` is when the stream made the entry durable, which is when its sender got the answer: a trace that is
asked later sees the scan. See `received_times` for the few entries that get a later one.
"""

import collections
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from events import codec
from events.scans import HOW_NUMBER, KIND_NUMBER, LOG_ROW, RECEIVED_OFFSET, REFUSAL_NUMBER, REFUSED_ROW, Entry
from storage.clickhouse import Store
from storage.errors import StoreDown, StreamDown
from storage.partitions import FIRST_NUDGE
from storage.patience import Patience
from storage.stream import FrozenRange, NotTheOwner, Promised, ScanStream
from storage.watermarks import Watermark, Watermarks

log: Final = logging.getLogger("truyvet.sink")

REPAIRS_MAX: Final = 8
"""How often rows may be missing under a token of their own before the store is taken to be broken."""

_PRESENT: Final = (
    "SELECT toUnixTimestamp64Milli(received), count() FROM {{table:Identifier}}"
    " WHERE received > fromUnixTimestamp64Milli({{after:Int64}})"
    " AND received <= fromUnixTimestamp64Milli({{upto:Int64}}) AND {of_partition} GROUP BY received"
)
_OF_DEVICES: Final = "device % {of:UInt32} = {partition:UInt32}"
_OF_POISON: Final = "startsWith(entry, {entries:String})"
_LATEST: Final = "SELECT toUnixTimestamp64Milli(max(received)) FROM log"
_LATEST_OF_PARTITION: Final = (
    f"{_LATEST} WHERE {_OF_DEVICES} AND received > (SELECT max(received) FROM log) - INTERVAL {{days:UInt16}} DAY"
)


class SinkLimits(msgspec.Struct, frozen=True):
    """How much one insert may hold and how long the sink waits.

    While the stream holds less than one full insert, inserts begin `pace_ms` apart: few and large ones cost the
    engine least, and what came in a moment ago can wait for so long to be traced, unless somebody asks meanwhile.
    """

    entries_max: int = 4_096
    bytes_max: int = 48_000_000
    pace_ms: int = 300
    idle_ms: int = 500
    lease_seconds: float = 15.0
    retry_seconds: float = 0.5
    clock_days: int = 7
    """A partition without a scan in the log for so long is taken to have a clock that is no further behind."""


class Poison(msgspec.Struct, frozen=True):
    """An entry that cannot be laid into the log."""

    entry: str
    reason: str
    payload: bytes


class Piece(msgspec.Struct, frozen=True):
    """Rows of one table that were received at one ms: how many, and packed."""

    received: int
    rows: int
    data: bytes


class Load(msgspec.Struct, frozen=True):
    """What one range holds, ready to insert. `received[i]` (ms) belongs to `entries[i]`; `size`: payload bytes."""

    entries: list[tuple[str, Entry]]
    received: list[int]
    poison: list[Poison]
    size: int

    @property
    def rows(self) -> int:
        """How many accepted scans."""
        return sum(len(entry.rows) for _, entry in self.entries) // LOG_ROW.size


class Laid(msgspec.Struct, frozen=True, kw_only=True):
    """A range that is in the log now, for metrics and logs. `size`: payload bytes; `again`: it was begun before."""

    frozen: FrozenRange
    entries: int
    rows: int
    size: int
    poison: int
    again: bool


class Sink:
    """One partition's sink. `step` is one round of the steps above; `run` repeats it until stopped."""

    def __init__(
        self,
        *,
        stream: ScanStream,
        store: Store,
        watermarks: Watermarks,
        limits: SinkLimits | None = None,
        on_step: Callable[[str], None] = lambda name: None,
        on_range: Callable[[Laid], None] = lambda laid: None,
    ) -> None:
        """`on_step` is called with a step's name right after it; metrics and fault campaigns listen there.

        `on_range` is called for each range once readers were told of it.
        """
        self._stream: Final = stream
        self._store: Final = store
        self._watermarks: Final = watermarks
        self._limits: Final = limits or SinkLimits()
        self._on_step: Final = on_step
        self._on_range: Final = on_range
        self._partition: Final = stream.partition
        self._mine: Final[dict[str, str | int]] = {"partition": self._partition.number, "of": self._partition.of}
        self._claimed_until = 0.0
        self._nudged = FIRST_NUDGE
        self._log_ends: int | None = None
        # Two hands: one reads ahead, one lays the evidence, while this thread lays the scans.
        self._reader: Final = concurrent.futures.ThreadPoolExecutor(1, "sink-reader")
        self._evidence: Final = concurrent.futures.ThreadPoolExecutor(1, "sink-evidence")
        self._ahead: tuple[str, concurrent.futures.Future[list[tuple[str, bytes]]]] | None = None
        self._laid = False
        self.rows_total = 0

    @property
    def overdue(self) -> bool:
        """Whether its lease has run out while it was at work: another sink may have the partition now."""
        return self._claimed_until != 0.0 and time.monotonic() > self._claimed_until

    def run(self, stop: threading.Event) -> None:
        """Until stopped; waits out a store or stream that is down, and another sink that owns the partition."""
        patience = Patience(log, self._limits.retry_seconds)
        while not stop.is_set():
            began = time.monotonic()
            try:
                self.step()
                if self._laid and not self._ahead:
                    self._rest(began + self._limits.pace_ms / 1000)
                patience.over()
            except NotTheOwner as error:
                self._claimed_until, self._ahead = 0.0, None
                patience.wait(stop, error)
            except (StoreDown, StreamDown) as error:
                self._ahead = None
                patience.wait(stop, error)
        self._reader.shutdown()
        self._evidence.shutdown()
        try:
            self._stream.release()
        except StreamDown:
            log.info("the lease runs out by itself")

    def step(self) -> int:
        """One round. Returns how many scans went into the log. Raises `StoreDown`, `StreamDown`, `NotTheOwner`."""
        self._on_step("began")
        self._laid = False
        self._claim()
        state = self._stream.state()
        self.rows_total = state.rows
        if state.frozen is not None:
            entries = self._stream.between(state.frozen.first, state.frozen.last)
            self._on_step("read")
            if [name for name, _ in (*entries[:1], *entries[-1:])] != [state.frozen.first, state.frozen.last]:
                log.error("entries of the frozen range %s are gone from the stream", state.frozen.token)
            self._stream.affirm(state.frozen)
            return self._lay(state.frozen, gather(entries, state.frozen.received_after), again=True)

        chosen = self._after(state.cursor)
        if not chosen:
            self._idle(state.cursor)
            return 0
        self._on_step("read")
        received_after = max(state.received, self._log_end())
        load = gather(chosen, received_after)
        self._on_step("chosen")
        frozen = FrozenRange(
            chosen[0][0],
            chosen[-1][0],
            received_after,
            max(load.received, default=received_after + 1),
            self._partition.number,
        )
        try:
            self._stream.freeze(frozen)
        except Promised:
            return 0  # a reader was told meanwhile that what comes is received later: the next round knows
        self._on_step("frozen")
        if len(chosen) >= self._limits.entries_max or load.size >= self._limits.bytes_max:
            self._ahead = (frozen.last, self._reader.submit(self._read, frozen.last))
        return self._lay(frozen, load, again=False)

    def _read(self, cursor: str) -> list[tuple[str, bytes]]:
        return self._stream.after(cursor, entries_max=self._limits.entries_max, bytes_max=self._limits.bytes_max)

    def _after(self, cursor: str) -> list[tuple[str, bytes]]:
        """What comes after the cursor: read ahead during the last insert, where there was more than it could hold."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == cursor and (found := ahead[1].result()):
            return found
        return self._read(cursor)

    def _claim(self) -> None:
        if time.monotonic() < self._claimed_until - self._limits.lease_seconds / 2:
            return
        if not self._stream.claim(self._limits.lease_seconds):
            self._log_ends = None
            raise NotTheOwner("another sink has the partition until its lease ends")
        self._claimed_until = time.monotonic() + self._limits.lease_seconds
        self._on_step("claimed")

    def _idle(self, cursor: str) -> None:
        """Nothing to lay: promise that what comes is received later, tell the readers so, and wait."""
        self._announce(self._stream.promise(cursor))
        self._nudged = self._stream.wait(cursor, self._nudged, self._limits.idle_ms)

    def _rest(self, until: float) -> None:
        """Wait until a moment (monotonic seconds), or until somebody waits for what came in."""
        remaining_ms = int(1000 * (until - time.monotonic()))
        if remaining_ms > 0:
            self._nudged = self._stream.await_nudge(self._nudged, remaining_ms)

    def _log_end(self) -> int:
        """The latest `received` (ms) in the log: Redis may have lost its own account, or its clock be another's."""
        if self._log_ends is None:
            if self._partition.of == 1:
                answer = self._store.rows(_LATEST)
            else:
                answer = self._store.rows(_LATEST_OF_PARTITION, self._mine | {"days": self._limits.clock_days})
            self._log_ends = int(answer[0][0])
        return self._log_ends

    def _announce(self, received: int) -> None:
        self._watermarks.publish("log", Watermark(received, self.rows_total), self._partition.number)

    def _lay(self, frozen: FrozenRange, load: Load, *, again: bool) -> int:
        """Steps 5 to 8. `again`: somebody may have begun with step 5 before."""
        by_table = tables(load, frozen)
        evidence = self._evidence.submit(self._insert, {"evidence": by_table.pop("evidence", [])}, frozen, again)
        try:
            self._insert(by_table, frozen, again)
        finally:
            concurrent.futures.wait([evidence])
        evidence.result()
        if load.poison:
            log.error("%d entries could not be read and were put aside in table poison", len(load.poison))
        self._on_step("inserted")
        self._claim()  # inserts may outlast the lease; without it the commit would be refused and all begun again
        complete = self._stream.commit(frozen, rows=load.rows, size=load.size)
        self._log_ends, self._laid = frozen.received, True
        self.rows_total += load.rows
        self._on_step("committed")
        self._stream.trim(frozen.last)
        self._on_step("trimmed")
        self._announce(complete)
        self._on_step("announced")
        self._on_range(
            Laid(
                frozen=frozen,
                entries=len(load.entries),
                rows=load.rows,
                size=load.size,
                poison=len(load.poison),
                again=again,
            )
        )
        return load.rows

    def _insert(self, by_table: dict[str, list[Piece]], frozen: FrozenRange, again: bool) -> None:
        for table, pieces in by_table.items():
            if pieces:
                self._store.insert_rowbinary(table, packed(pieces), token=frozen.token)
            if pieces and again:
                self._repair(table, pieces, frozen)

    def _repair(self, table: str, pieces: list[Piece], frozen: FrozenRange) -> None:
        """Lay again what a death took along after ClickHouse had noted its token.

        No two ranges share a `received`, so the count tells. Each repair has a token of its own, since a death may
        come in between again. Raises `StoreDown` where nothing helps.
        """
        for repair in range(1, REPAIRS_MAX + 1):
            missing = absent(pieces, self._present(table, frozen))
            if not missing:
                return
            log.warning("table %s lacks rows of range %s; laying them again", table, frozen.token)
            self._store.insert_rowbinary(table, packed(missing), token=f"{frozen.token}:{repair}")
            self._on_step("repaired")
        if absent(pieces, self._present(table, frozen)):
            raise StoreDown(f"table {table} does not keep what it is given")

    def _present(self, table: str, frozen: FrozenRange) -> dict[int, int]:
        span: dict[str, str | int] = {"table": table, "after": frozen.received_after, "upto": frozen.received}
        # Another partition's rows may have the same `received`.
        if table == "poison":
            whose, mine = _OF_POISON, span | {"entries": poison_name(frozen.partition, "")}
        else:
            whose, mine = _OF_DEVICES, span | self._mine
        found = self._store.rows(_PRESENT.format(of_partition=whose), mine)
        return {int(received): int(rows) for received, rows in found}


def tables(load: Load, frozen: FrozenRange) -> dict[str, list[Piece]]:
    """What each table gets of a range, ready to insert; those that get nothing are left out."""
    timed = list(zip(load.entries, load.received, strict=True))
    pieces = {
        "log": [
            Piece(at, len(entry.rows) // LOG_ROW.size, stamped(entry.rows, LOG_ROW.size, at))
            for (_, entry), at in timed
            if entry.rows
        ],
        "refused": [
            Piece(at, len(entry.refused) // REFUSED_ROW.size, stamped(entry.refused, REFUSED_ROW.size, at))
            for (_, entry), at in timed
            if entry.refused
        ],
        "evidence": [Piece(at, 1, evidence_row(name, entry, at)) for (name, entry), at in timed],
        "poison": [Piece(frozen.received, 1, poison_row(bad, frozen)) for bad in load.poison],
    }
    return {table: rows for table, rows in pieces.items() if rows}


def packed(pieces: Iterable[Piece]) -> bytes:
    """Their rows, one after the other."""
    return b"".join(piece.data for piece in pieces)


def absent(pieces: list[Piece], present: dict[int, int]) -> list[Piece]:
    """Those whose ms has fewer rows in the table than it should; `present` counts them."""
    due: collections.Counter[int] = collections.Counter()
    for piece in pieces:
        due[piece.received] += piece.rows
    return [piece for piece in pieces if present.get(piece.received, 0) < due[piece.received]]


def gather(entries: Iterable[tuple[str, bytes]], received_after: int) -> Load:
    """Entries decoded and timed, the unreadable ones apart.

    A function of its arguments alone, because step 5 may run twice.
    """
    good: list[tuple[str, Entry]] = []
    poison: list[Poison] = []
    size = 0
    for name, payload in entries:
        size += len(payload)
        entry = readable(payload)
        if isinstance(entry, Entry):
            good.append((name, entry))
        else:
            poison.append(Poison(name, entry, payload))
    return Load(good, received_times(good, received_after), poison, size)


def received_times(entries: Iterable[tuple[str, Entry]], received_after: int) -> list[int]:
    """When each entry was received (ms): the time in its id, never less than the one before.

    Two deliveries of one scan must differ, so that the first is known: a range starts after the one before it,
    and an entry that may hold a scan of an earlier one of the same millisecond is put one millisecond later.
    """
    times: list[int] = []
    spans: dict[int, list[tuple[int, int, int]]] = {}
    latest = received_after + 1
    for name, entry in entries:
        latest = max(latest, int(name.partition("-")[0]))
        same_device = spans.setdefault(entry.device, [])
        for low, high, at in same_device:
            if at >= latest and low <= entry.seq_max and entry.seq_min <= high:
                latest = at + 1
        same_device.append((entry.seq_min, entry.seq_max, latest))
        times.append(latest)
    return times


def readable(payload: bytes) -> Entry | str:
    """The entry, or why it cannot be laid into the log.

    What ClickHouse would refuse must be found here, where one entry is at stake and not a whole range.
    """
    try:
        entry: Entry = codec.entry_from_msgpack(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The error's own words may hold what was found there.
        return f"not an entry: {type(error).__name__}"
    if len(entry.rows) % LOG_ROW.size or len(entry.refused) % REFUSED_ROW.size:
        return "rows are not of the row's size"
    if not (0 <= entry.device < 2**32 and 0 <= entry.key < 2**16 and 0 <= entry.seq_min <= entry.seq_max < 2**64):
        return "numbers out of range"
    kinds, hows = set(entry.rows[LOG_ROW.size - 2 :: LOG_ROW.size]), set(entry.rows[LOG_ROW.size - 1 :: LOG_ROW.size])
    refused = entry.refused
    refused_kinds = set(refused[REFUSED_ROW.size - 2 :: REFUSED_ROW.size])
    reasons = set(refused[REFUSED_ROW.size - 1 :: REFUSED_ROW.size])
    if not (kinds | refused_kinds <= _KINDS and hows <= _HOWS and reasons <= _REASONS):
        return "a kind, way or reason that the tables do not know"
    return entry


_KINDS: Final = frozenset(KIND_NUMBER.values())
_HOWS: Final = frozenset(HOW_NUMBER.values())
_REASONS: Final = frozenset(REFUSAL_NUMBER.values())


def stamped(rows: bytes, row_size: int, received: int) -> bytes:
    """The rows with `received` written into each: eight strided copies, however many rows there are."""
    stamp = received.to_bytes(8, "little", signed=True)
    count = len(rows) // row_size
    if count == 1:
        return rows[:RECEIVED_OFFSET] + stamp + rows[RECEIVED_OFFSET + 8 :]
    buffer = bytearray(rows)
    for place, byte in enumerate(stamp, RECEIVED_OFFSET):
        buffer[place::row_size] = bytes([byte]) * count
    return bytes(buffer)


def evidence_row(name: str, entry: Entry, received: int) -> bytes:
    """One row of table `evidence` in RowBinary."""
    return b"".join(
        (
            entry.device.to_bytes(4, "little"),
            entry.key.to_bytes(2, "little"),
            entry.seq_min.to_bytes(8, "little"),
            entry.seq_max.to_bytes(8, "little"),
            received.to_bytes(8, "little", signed=True),
            row_string(name.encode()),
            row_string(entry.evidence),
        )
    )


def poison_name(partition: int, entry: str) -> str:
    """Which entry it was, of all partitions' streams."""
    return f"{partition}/{entry}"


def poison_row(bad: Poison, frozen: FrozenRange) -> bytes:
    """One row of table `poison` in RowBinary."""
    return b"".join(
        (
            row_string(poison_name(frozen.partition, bad.entry).encode()),
            frozen.received.to_bytes(8, "little", signed=True),
            row_string(bad.reason.encode()),
            row_string(bad.payload),
        )
    )


def row_string(value: bytes) -> bytes:
    """A RowBinary String: its length as a LEB128 number, then the bytes."""
    length, head = len(value), bytearray()
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + value
