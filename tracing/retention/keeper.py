"""Waits for runs that are asked for or due, in the process that keeps the read models."""

import logging
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from storage.clickhouse import Store
from storage.control import ControlLog
from storage.errors import StoreDown, StreamDown
from storage.patience import Patience
from storage.retention_runs import RetentionRuns, RetentionStatus
from tracing.retention.run import Run
from tracing.retention.terms import DAY_MS, Terms, kept_from, kept_from_by_itself

log: Final = logging.getLogger("truyvet.retention")

MIGRATION: Final = "0011_retention.sql"
"""Nothing goes by itself within a day after this was applied: whoever upgrades has time to set other terms."""


class KeeperLimits(msgspec.Struct, frozen=True):
    """How long a run waits for questions under way, and how often somebody may ask for one."""

    settle_seconds: float = 60.0
    poll_seconds: float = 1.0
    retry_seconds: float = 5.0


class Keeper:
    """`run` goes on until it is stopped; `look` is one look at what is due, `run_once` one run. For one thread."""

    def __init__(
        self,
        *,
        store: Store,
        control: ControlLog,
        runs: RetentionRuns,
        terms: Terms,
        clock: Callable[[], int],
        limits: KeeperLimits | None = None,
        on_step: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`clock` gives Unix ms.

        `on_step` is called with a step's name right after it: advanced, settled, retired and dropped (each as often as
        it happens), deleted, compacted.
        """
        self._store: Final = store
        self._control: Final = control
        self._runs: Final = runs
        self._terms: Final = terms
        self._clock: Final = clock
        self._limits: Final = limits or KeeperLimits()
        self._on_step: Final = on_step
        self._done_for: int | None = None
        """The moment that the latest run by itself was for: none is due until that moves, or after a start."""
        self._applied: int | None = None

    def run(self, stop: threading.Event) -> None:
        """Until stopped; waits out a store or stream that is down."""
        patience = Patience(log, self._limits.retry_seconds)
        while not stop.is_set():
            try:
                self.look(stop)
                patience.over()
                stop.wait(self._limits.poll_seconds)
            except (StoreDown, StreamDown) as error:
                patience.wait(stop, error)

    def run_once(self, stop: threading.Event, id: str = "") -> RetentionStatus:
        """One run, from where the one before it came to; `id` names who asked, nobody where it is empty.

        Returns early when it is told to stop. Raises `StoreDown` and `StreamDown`, and says of the first why it failed.
        """
        now = self._clock()
        run = Run(
            store=self._store,
            control=self._control,
            terms=self._terms,
            kept_from=kept_from(self._terms, now) if id else kept_from_by_itself(self._terms, now),
            clock=self._clock,
            settle_seconds=self._limits.settle_seconds,
            stop=stop,
            tell=self._runs.tell,
            on_step=self._on_step,
            id=id,
        )
        try:
            run.go()
        except StoreDown as error:
            run.failed(f"The store is down: {error}")
            raise
        if stop.is_set():
            return run.status
        status = run.ended()
        log.info(
            "kept from %d: %d partitions with %d rows and %d bytes are gone, and %d saved traces",
            *(status.kept_from, status.partitions, status.rows, status.bytes, status.traces),
        )
        for day in status.held:
            log.warning("the log's day %s stays: it holds scans that claim to have happened later", day)
        return status

    def look(self, stop: threading.Event) -> bool:
        """One run where somebody asked for it or the time has come; whether there was one. Raises as `run_once`."""
        id = self._runs.requested()
        if id is not None:
            self.run_once(stop, id)
            return True
        due_for = kept_from_by_itself(self._terms, self._clock()) or 0
        if due_for == self._done_for or self._fresh():
            return False
        self.run_once(stop)
        self._done_for = due_for
        return True

    def _fresh(self) -> bool:
        """Whether the tables were made, or brought to this release, within a day."""
        if self._applied is None:
            sql = "SELECT toUnixTimestamp64Milli(max(applied)) FROM migrations WHERE name = {name:String}"
            self._applied = int(self._store.rows(sql, {"name": MIGRATION})[0][0])
        return self._clock() - self._applied < DAY_MS
