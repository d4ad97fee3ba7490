"""Holds the log, the evidence and the read models against what was sent and acknowledged, while traffic rests.

Each audit reads what came in since the one before, row by row, and makes sure that what it has read before is still
the same. It looks as of a watermark: what arrives later is the next audit's.
"""

import base64
import collections
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec
import redis

from app.clock import now_ms
from ingest.evidence import EvidenceBroken, open_evidence
from keys.secrets import ServerSecrets
from loadtests.faults.ledger import Acknowledged, Ledger, ScanId
from loadtests.faults.reads import Reads
from loadtests.faults.system import Stuck, System
from projections.projector import READ_MODELS
from storage.clickhouse import Row
from storage.rebuilds import Rebuilds, RebuildStatus
from storage.stream import ScanStream
from storage.watermarks import Watermark, Watermarks

REACH_SECONDS_MAX: Final = 60.0
WAIT_SECONDS: Final = 0.2
POLL_SECONDS: Final = 0.02
EXAMPLES: Final = 5

_SPAN: Final = (
    "received > fromUnixTimestamp64Milli({after:Int64}) AND received <= fromUnixTimestamp64Milli({upto:Int64})"
)
_RECEIVED: Final = "toUnixTimestamp64Milli(received)"
_LOG: Final = (
    f"SELECT device, seq, {_RECEIVED}, key, toUnixTimestamp64Milli(at), place, lower(hex(subject)),"
    f" toString(kind), toString(how) FROM log WHERE {_SPAN}"
)
_REFUSED: Final = f"SELECT device, seq, {_RECEIVED}, toString(reason) FROM refused WHERE {_SPAN}"
_EVIDENCE: Final = (
    f"SELECT device, seq_min, seq_max, {_RECEIVED}, entry, base64Encode(sealed) FROM evidence WHERE {_SPAN}"
)
_DIGEST: Final = "SELECT count(), sum(cityHash64(*)) FROM {table:Identifier} WHERE " + _SPAN

What = Literal["missing", "doubled", "altered", "invented", "diverged"]
Delivery = tuple[int, int, int]
"""A device's number, a seq, and when it was received (ms)."""


class Violation(Exception):
    """The service broke its word; the message begins with how."""

    def __init__(self, what: What, detail: str) -> None:
        super().__init__(f"{what}: {detail}")
        self.what: Final = what


class Seen(msgspec.Struct, frozen=True):
    """How much an audit has looked at, since the system began."""

    deliveries: int
    scans: int
    entries: int


class Audit:
    """One system's audits, one after the other."""

    def __init__(self, system: System, ledger: Ledger) -> None:
        self._system: Final = system
        self._ledger: Final = ledger
        self._secrets: Final[ServerSecrets] = system.secrets
        self._store: Reads = system.reads()
        self._redis: Final[redis.Redis] = system.redis()
        self._stream: Final = ScanStream(self._redis, owner="audit")
        self._watermarks: Final = Watermarks(self._redis)
        self._rebuilds: Final = Rebuilds(self._redis)
        self._upto = 0
        self._acknowledged = 0
        self._entries: Final[set[str]] = set()
        self._logged: Final[set[ScanId]] = set()
        self._refused: Final[set[ScanId]] = set()
        self._deliveries = 0
        self._digests: Final[dict[str, Row]] = dict.fromkeys(("log", "refused", "evidence"), (0, 0))

    def close(self) -> None:
        """Close its clients."""
        self._redis.close()

    def check(self) -> Seen:
        """Wait until everything is in, and check all of it. Raises `Violation`, `Stuck`, `StoreDown`, `StreamDown`."""
        upto = self._drained()
        # Its server may have been another one at the last audit.
        with contextlib.closing(self._system.reads()) as self._store:
            return self._checked(upto)

    def _checked(self, upto: int) -> Seen:
        self._check_unchanged()
        expected, refused = self._check_evidence(upto)
        acknowledged = self._check_entries()
        fresh = self._check_log(upto, expected)
        self._check_refused(upto, refused)
        self._check_scans(acknowledged)
        self._check_read_models(upto, fresh)
        self._check_rebuild()
        self._note(upto)
        return Seen(self._deliveries, len(self._logged), len(self._entries))

    def _drained(self) -> int:
        """The watermark (received ms) up to which the read models are complete, once they hold all there is."""
        self._await(self._is_laid, "the stream's end")
        goal = max(now_ms(), self._stream.state().received)
        marks: list[Watermark] = []

        def told() -> bool:
            mark = self._watermarks.wait("read-models", goal, WAIT_SECONDS)
            marks.extend([mark] if mark else [])
            return bool(marks)

        self._await(told, "the log's end, in the read models")
        return marks[0].received

    def _is_laid(self) -> bool:
        """Whether the sink has come to the stream's end. Entries before its cursor may lie there still, untrimmed."""
        state = self._stream.state()
        return state.frozen is None and not self._stream.after(state.cursor, entries_max=1, bytes_max=1)

    def _await(self, reached: Callable[[], bool], goal: str) -> None:
        """Return when it is reached; whoever has died is started again meanwhile. Raises `Stuck`."""
        deadline = time.monotonic() + REACH_SECONDS_MAX
        while not reached():
            if time.monotonic() > deadline:
                raise Stuck(f"the system does not reach {goal}")
            self._system.tend(lambda: 0)
            time.sleep(POLL_SECONDS)

    def _check_unchanged(self) -> None:
        """What was read before is there still, and nothing has come in between it."""
        for table, before in self._digests.items():
            now = self._digest(table, self._upto)
            if now != before:
                what: What = "missing" if now[0] < before[0] else "doubled" if now[0] > before[0] else "altered"
                raise Violation(what, f"{table} had {before[0]} rows that were checked, and has {now[0]} there now")

    def _check_evidence(self, upto: int) -> tuple[set[Delivery], set[Delivery]]:
        """Every entry once, with the bytes that were sent. Returns what must be in the log, and what refused."""
        expected: set[Delivery] = set()
        refused: set[Delivery] = set()
        for device, first, last, received, name, sealed in self._span(_EVIDENCE, upto):
            if name in self._entries:
                raise Violation("doubled", f"entry {name} is twice in the evidence")
            self._entries.add(name)
            batch = self._ledger.batches.get((device, first))
            if batch is None or batch.last != last:
                raise Violation("invented", f"entry {name} of device {device}, seqs {first} to {last}, was never sent")
            if self._body(sealed, device) != batch.body:
                raise Violation("altered", f"the evidence of entry {name} is not what was sent")
            for seq in range(first, last + 1):
                kept = self._ledger.scans[device, seq].refusal is None
                (expected if kept else refused).add((device, seq, received))
        return expected, refused

    def _check_log(self, upto: int, expected: set[Delivery]) -> set[Delivery]:
        """Each delivery once, with the content that was sent. Returns those that are the first of their scan."""
        rows = self._span(_LOG, upto)
        _check_same("log", expected, [(device, seq, received) for device, seq, received, *_ in rows])
        firsts: dict[ScanId, int] = {}
        for device, seq, received, *content in rows:
            if tuple(content) != self._ledger.scans[device, seq].content:
                raise Violation("altered", f"seq {seq} of device {device} is not in the log as it was sent: {content}")
            firsts[device, seq] = min(received, firsts.get((device, seq), received))
        fresh = {(device, seq, at) for (device, seq), at in firsts.items() if (device, seq) not in self._logged}
        self._logged.update(firsts)
        self._deliveries += len(rows)
        return fresh

    def _check_refused(self, upto: int, expected: set[Delivery]) -> None:
        rows = self._span(_REFUSED, upto)
        _check_same("refused", expected, [(device, seq, received) for device, seq, received, _ in rows])
        for device, seq, _, reason in rows:
            if reason != self._ledger.scans[device, seq].refusal:
                raise Violation("altered", f"seq {seq} of device {device} was refused for {reason}")
            self._refused.add((device, seq))
        poison = self._store.rows("SELECT count() FROM poison")[0][0]
        if poison:
            raise Violation("altered", f"{poison} entries could not be read")

    def _check_entries(self) -> list[Acknowledged]:
        """The entries that the edge has named since the last audit are in. Returns all that it has answered for."""
        fresh = self._ledger.acknowledged[self._acknowledged :]
        self._acknowledged += len(fresh)
        lost = [one.entry for one in fresh if one.entry and one.entry not in self._entries]
        if lost:
            raise Violation("missing", f"{len(lost)} acknowledged entries, such as {lost[:EXAMPLES]}")
        return fresh

    def _check_scans(self, acknowledged: list[Acknowledged]) -> None:
        """Every scan that the edge has answered for is in, one way or the other."""
        arrived = self._logged | self._refused
        missing = [
            (one.batch.device, seq)
            for one in acknowledged
            for seq in range(one.batch.first, one.batch.last + 1)
            if (one.batch.device, seq) not in arrived
        ]
        if missing:
            raise Violation("missing", f"{len(missing)} acknowledged scans, such as {missing[:EXAMPLES]}")

    def _check_read_models(self, upto: int, fresh: set[Delivery]) -> None:
        """Each read model has the first delivery of every scan, and nothing else."""
        for model in READ_MODELS:
            rows = self._span(f"SELECT device, seq, {_RECEIVED} FROM {model.table} FINAL WHERE {_SPAN}", upto)
            _check_same(model.table, fresh, [(device, seq, received) for device, seq, received in rows])
            count = self._store.rows(f"SELECT count() FROM {model.table} FINAL")[0][0]
            if count != len(self._logged):
                raise Violation("doubled", f"{model.table} has {count} rows of {len(self._logged)} scans")

    def _check_rebuild(self) -> None:
        """The read models are, by their digests, what the projecting process derives from the log anew."""
        request = f"audit-{time.monotonic_ns()}"
        self._rebuilds.request(request)
        statuses: list[RebuildStatus] = []

        def done() -> bool:
            status = self._rebuilds.status()
            statuses.extend([status] if status and status.id == request and status.state == "done" else [])
            return bool(statuses)

        self._await(done, "the rebuild's end")
        of_scans = {model.table for model in READ_MODELS}
        for model in statuses[0].models:
            if not model.equal or (model.table in of_scans and model.rows_rebuilt != len(self._logged)):
                raise Violation(
                    "diverged", f"{model.table} had {model.rows_live} rows, and {model.rows_rebuilt} when rebuilt"
                )

    def _note(self, upto: int) -> None:
        self._upto = upto
        for table in self._digests:
            self._digests[table] = self._digest(table, upto)

    def _digest(self, table: str, upto: int) -> Row:
        return tuple(self._store.rows(_DIGEST, {"table": table, "after": 0, "upto": upto})[0])

    def _span(self, sql: str, upto: int) -> Sequence[Row]:
        """Rows received since the last audit."""
        return self._store.rows(sql, {"after": self._upto, "upto": upto})

    def _body(self, sealed: str, device: int) -> bytes | None:
        try:
            return open_evidence(self._secrets, base64.b64decode(sealed), device).body
        except EvidenceBroken:
            return None


def _check_same(table: str, expected: set[Delivery], found: Iterable[Delivery]) -> None:
    """Raise `Violation` unless the table has just these, each once."""
    counts = collections.Counter(found)
    wrongs: dict[What, set[Delivery]] = {
        "missing": expected - counts.keys(),
        "doubled": {one for one, count in counts.items() if count > 1},
        "invented": counts.keys() - expected,
    }
    for what, wrong in wrongs.items():
        if wrong:
            raise Violation(what, f"{len(wrong)} rows of {table}, such as {sorted(wrong)[:EXAMPLES]}")
