"""4 archive: copies the audit stream into the store, exactly once, and forgets there what is copied.

The steps, and what a death right after each leaves behind:

1. *Freeze* a range of entries, in the stream's server. Whoever comes next, here or in another process, is given the
   same range and goes on with step 2.
2. *Insert* the answers that were saved with the entries, those alone that the store lacks.
3. *Insert* the entries under the range's token, which ClickHouse takes once. It notes a token before it moves the rows
   into place, though: who finds a range frozen looks which numbers are there, and lays what is missing.
4. *Commit*: the range is forgotten and its entries leave the stream, in one script. A reader who asked the stream
   before and the store after it has met every entry at least once, and tells them apart by their numbers.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from events import codec
from events.audit import AuditEvent, unpacked
from storage.audit_stream import AuditRange, AuditStream, Link
from storage.clickhouse import Store
from storage.errors import StoreDown, StreamDown, StreamFull
from storage.patience import Patience
from storage.saved_traces import insert_saved, missing

log: Final = logging.getLogger("truyvet.archive")

COPY_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2.0
RANGE_ENTRIES_MAX: Final = 2_000
RANGE_BYTES_MAX: Final = 16_000_000
REPAIRS_MAX: Final = 8
"""How often entries may be missing under a token of their own before the store is taken to be broken."""
COLUMNS: Final = (
    *("number", "hash", "at", "actor", "token", "role", "action", "object", "purpose"),
    *("people", "digest"),
)

Row = tuple[object, ...]


class AuditArchive:
    """The copy in ClickHouse. `step` copies one range; `run` repeats that until stopped."""

    def __init__(self, stream: AuditStream, store: Store, on_step: Callable[[str], None] = lambda step: None) -> None:
        """`on_step` is told the name of every step once it is done."""
        self._stream: Final = stream
        self._store: Final = store
        self._on_step: Final = on_step

    def run(self, stop: threading.Event) -> None:
        """Until stopped, and once more then; waits out a store or stream that is down."""
        patience = Patience(log, RETRY_SECONDS)
        stopping = False
        while not stopping:
            stopping = stop.is_set()
            try:
                while self.step() and (stopping or self._behind()):
                    pass
                patience.over()
                stop.wait(COPY_SECONDS)
            except (StoreDown, StreamDown, StreamFull) as error:
                patience.wait(stop, error)

    def step(self) -> int:
        """Copy what waits, up to one range. Returns how many entries. Raises `StoreDown` and `StreamDown`."""
        frozen = self._stream.freeze(entries_max=RANGE_ENTRIES_MAX, bytes_max=RANGE_BYTES_MAX)
        if frozen is None:
            return 0
        self._on_step("frozen")
        links = self._stream.between(frozen.range)
        self._save(links)
        self._on_step("saved")
        if links:
            self._lay(frozen.range, links, again=frozen.again)
        self._on_step("inserted")
        self._stream.commit(frozen.range)
        self._on_step("committed")
        return len(links)

    def _behind(self) -> bool:
        """Whether a whole range waits. While questions keep coming fewer do, and one insert of many costs no more."""
        entries, size = self._stream.waits()
        return entries >= RANGE_ENTRIES_MAX or size >= RANGE_BYTES_MAX

    def _save(self, links: Sequence[Link]) -> None:
        saved = {one.id: one for one in (unpacked(link.saved) for link in links if link.saved)}
        fresh = missing(self._store, list(saved))
        insert_saved(self._store, [one for one in saved.values() if one.id in fresh])

    def _lay(self, range_: AuditRange, links: Sequence[Link], *, again: bool) -> None:
        rows = {(link.number, link.hash): _row(link) for link in links}
        token = f"audit:{range_.first}:{range_.last}:{links[-1].hash.hex()}"
        # A stream that came back from an older copy holds what was copied before, and cuts it into other ranges.
        known = set() if again else self._present(range_)
        if not known:
            self._store.insert("audit_chain", COLUMNS, list(rows.values()), token=token)
            if not again:
                return
        # A repair may die like what it repairs, so each has a token of its own; two archives at it have the same.
        for repair in range(REPAIRS_MAX):
            lacking = sorted(rows.keys() - self._present(range_))
            if not lacking:
                return
            fresh = [rows[entry] for entry in lacking]
            self._store.insert("audit_chain", COLUMNS, fresh, token=f"{token}:{repair}:{lacking[0][0]}:{len(lacking)}")
        raise StoreDown("entries of the audit log are missing again and again")

    def _present(self, range_: AuditRange) -> set[tuple[int, bytes]]:
        """Number and hash of what is in the store already."""
        first, last = range_.numbers
        rows = self._store.rows(
            "SELECT DISTINCT number, hash FROM audit_chain WHERE number BETWEEN {first:UInt64} AND {last:UInt64}",
            {"first": first, "last": last},
        )
        return {(row[0], row[1]) for row in rows}


def _row(link: Link) -> Row:
    event = codec.from_json(link.entry, AuditEvent)
    return (
        event.number,
        link.hash,
        event.at,
        event.actor,
        event.token,
        event.role,
        event.action,
        event.object,
        event.purpose,
        [bytes.fromhex(tag) for tag in event.people],
        event.digest,
    )
