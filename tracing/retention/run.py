"""One run: lets go what is kept no longer. For one process at a time, the one that keeps the read models.

The steps, and what a death right after each leaves behind:

1. *Advance* the moment that scans are kept from, by an event. From then on no answer and no digest knows of anything
   before it. Nothing is deleted yet; the next run goes on with step 2.
2. *Settle*: wait until the questions are answered that began before the moment moved.
3. For each day of the log whose scans all happened before it: *retire* its seqs, so that gap reports and first
   deliveries know them without the rows. A death leaves runs beside the rows that they stand for; they say the same,
   and retiring the day again says it once more.
4. *Drop* the day: log, then refusals, then the evidence. A death in between leaves evidence without scans, or refusals
   that are retired already; the next run finds these partitions over and drops them.
5. *Drop* the weeks of the read models, and what could not be read. Each is gone or not.
6. *Delete* the saved traces that nobody needs any more. A death leaves some of them; their time is still over.
7. *Compact* the runs of retired seqs where they have become many. They are replaced in one move.

No step needs to know what an earlier run has done: each looks at what is there. Why the read models that a rebuild
makes from what is left of the log are the same as the live ones: docs/adr/0028.
"""

import threading
from collections.abc import Callable
from itertools import groupby
from typing import Final

import msgspec

from events.control import RetentionAdvanced
from projections.kept import Kept
from storage import expiry
from storage.clickhouse import Store
from storage.control import ControlLog
from storage.expiry import Partition, Unit
from storage.retention_runs import RetentionStatus
from tracing.retention.closings import Closings
from tracing.retention.plan import EXPIRING, due
from tracing.retention.terms import Terms
from tracing.retention.traces import delete_traces, traces_over

LOG: Final = "log"


class Known(msgspec.Struct, frozen=True):
    """What the control stream has said that decides what goes."""

    kept: Kept
    closings: Closings


def known(control: ControlLog) -> Known:
    """The control stream replayed. Raises `StreamDown`."""
    found = Known(Kept(), Closings())
    for _, recorded in control.replay():
        found.kept.apply(recorded)
        found.closings.apply(recorded)
    return found


class Run:
    """Its steps, each once, in their order; `status` says how far it is. All raise `StoreDown` and `StreamDown`."""

    def __init__(
        self,
        *,
        store: Store,
        control: ControlLog,
        terms: Terms,
        kept_from: int | None,
        clock: Callable[[], int],
        settle_seconds: float,
        stop: threading.Event,
        tell: Callable[[RetentionStatus], None],
        on_step: Callable[[str], None],
        id: str,
    ) -> None:
        """`kept_from` (Unix ms): from when on scans shall be kept, None: as it stands. `tell` hears of each change."""
        self._store: Final = store
        self._control: Final = control
        self._terms: Final = terms
        self._kept_from: Final = kept_from
        self._clock: Final = clock
        self._settle_seconds: Final = settle_seconds
        self._stop: Final = stop
        self._tell: Final = tell
        self._on_step: Final = on_step
        self.status = RetentionStatus(id=id, state="running", step="advance", began=clock())
        self._known = Known(Kept(), Closings())

    def go(self) -> None:
        """All steps; returns early, between two of them, where it is told to stop."""
        for step in (self.advance, self.settle, self.drop_days, self.drop_others, self.delete_traces, self.compact):
            self._now(step=step.__name__)
            step()
            if self._stop.is_set():
                return

    def advance(self) -> None:
        """1: say from when on scans are kept, where that has moved."""
        self._known = known(self._control)
        if self._kept_from is not None and self._kept_from > self._known.kept.kept_from:
            self._known.kept.apply(self._control.append(RetentionAdvanced(self._kept_from)))
        self._now(kept_from=self._known.kept.kept_from)
        self._on_step("advanced")

    def settle(self) -> None:
        """2: wait, where the moment moved a moment ago."""
        ago_seconds = (self._clock() - self._known.kept.since) / 1000
        self._stop.wait(min(max(self._settle_seconds - ago_seconds, 0.0), self._settle_seconds))
        self._on_step("settled")

    def drop_days(self) -> None:
        """3 and 4: by day, as long as no scan of it happened when scans are kept."""
        days = [one for one in self._due() if EXPIRING[one.table] is Unit.DAY]
        for day, parts in groupby(days, key=lambda one: one.id):
            of_day = list(parts)
            if self._stop.is_set():
                return
            if expiry.latest_at(self._store, day) >= self._known.kept.kept_from:
                self._now(held=(*self.status.held, day))
                continue
            expiry.retire(self._store, day, sum(one.rows for one in of_day))
            self._on_step("retired")
            for one in of_day:
                self._drop(one)

    def drop_others(self) -> None:
        """5: read models, and what could not be read."""
        for one in self._due():
            if EXPIRING[one.table] is not Unit.DAY:
                self._drop(one)

    def delete_traces(self) -> None:
        """6: saved traces."""
        over = traces_over(self._store, self._terms, self._known.closings.closed_at, self._clock())
        delete_traces(self._store, [one.id for one in over])
        self._now(traces=len(over))
        self._on_step("deleted")

    def compact(self) -> None:
        """7: runs of retired seqs."""
        expiry.compact(self._store)
        self._on_step("compacted")

    def ended(self) -> RetentionStatus:
        """The run is over: say so."""
        self._now(state="done", ended=self._clock())
        return self.status

    def failed(self, why: str) -> None:
        """The run cannot go on: say so."""
        self._now(state="failed", ended=self._clock(), detail=why)

    def _due(self) -> list[Partition]:
        return due(expiry.partitions(self._store, list(EXPIRING)), self._known.kept.kept_from)

    def _drop(self, partition: Partition) -> None:
        if self._stop.is_set():
            return
        expiry.drop(self._store, partition.table, partition.id)
        self._on_step("dropped")
        self._now(
            partitions=self.status.partitions + 1,
            rows=self.status.rows + partition.rows,
            bytes=self.status.bytes + partition.bytes,
        )

    def _now(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)
        self._tell(self.status)
