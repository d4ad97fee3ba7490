"""4 archive: copies the control stream beside the log, so that the registries survive the loss of the stream.

The copy is append-only and keeps the entries' ids; an entry copied twice lies there once.
"""

import logging
import threading
from typing import Final

from storage.clickhouse import Store
from storage.control import FIRST, ControlLog
from storage.errors import StoreDown, StreamDown
from storage.patience import Patience

log: Final = logging.getLogger("truyvet.archive")

COPY_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 2.0
COLUMNS: Final = ("entry", "at", "event")


class ControlArchive:
    """The copy in ClickHouse. `step` brings it up to date; `run` repeats that until stopped."""

    def __init__(self, control: ControlLog, store: Store) -> None:
        self._control: Final = control
        self._store: Final = store
        self._copied: str | None = None

    def run(self, stop: threading.Event) -> None:
        """Until stopped, and once more then; waits out a store or stream that is down."""
        patience = Patience(log, RETRY_SECONDS)
        stopping = False
        while not stopping:
            stopping = stop.is_set()
            try:
                self.step()
                patience.over()
                stop.wait(COPY_SECONDS)
            except (StoreDown, StreamDown) as error:
                patience.wait(stop, error)

    def step(self) -> int:
        """Copy what is new. Returns how many events. Raises `StoreDown` and `StreamDown`."""
        if self._copied is None:
            kept = self.entries()
            self._copied = kept[-1][0] if kept else FIRST
        fresh = self._control.entries(self._copied)
        if fresh:
            rows = [(entry, int(entry.partition("-")[0]), event.decode()) for entry, event in fresh]
            self._store.insert("control", COLUMNS, rows)
            self._copied = fresh[-1][0]
        return len(fresh)

    def entries(self) -> list[tuple[str, bytes]]:
        """Every copied event, oldest first: entry id and JSON. Raises `StoreDown`."""
        rows = self._store.rows(
            "SELECT entry, any(event) FROM control GROUP BY entry"
            " ORDER BY toUInt64(splitByChar('-', entry)[1]), toUInt64(splitByChar('-', entry)[2])"
        )
        return [(entry, event.encode()) for entry, event in rows]

    def restore(self) -> int:
        """Where the stream has no events and the copy has: put them back. Returns how many."""
        if not self._control.empty():
            return 0
        kept = self.entries()
        if kept:
            self._control.restore(kept)
        return len(kept)
