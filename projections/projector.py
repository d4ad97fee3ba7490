"""Follows the log's watermark and folds what is new into every read model; one process at a time does this.

A step projects a span of `received` into each model, tells readers of it and then writes the progress down. A death
in between is harmless: the span is projected again, and equal rows collapse. Readers ask only up to the watermark,
which is published once the span is in every model, so they never see half of one.
"""

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from projections.deliveries import Deliveries
from projections.model import ReadModel, project_all
from projections.rebuild import Rebuild
from projections.scans_by_place_hour import SCANS_BY_PLACE_HOUR
from projections.scans_by_subject import SCANS_BY_SUBJECT
from projections.settler import Settler
from projections.spans import FIRST_MS, span_end
from storage.clickhouse import Store
from storage.errors import StoreDown, StreamDown
from storage.partitions import FIRST_NUDGE
from storage.patience import Patience
from storage.rebuilds import Rebuilds
from storage.watermarks import Nudge, Watermark, Watermarks

log: Final = logging.getLogger("truyvet.projector")

READ_MODELS: Final[tuple[ReadModel, ...]] = (SCANS_BY_SUBJECT, SCANS_BY_PLACE_HOUR)
PROGRESS_NAME: Final = "read-models"


class ProjectorLimits(msgspec.Struct, frozen=True):
    """How much one step folds in and how long the projector waits for news.

    Where the log has no more, steps begin `pace_seconds` apart, or when somebody asks: few large inserts cost the
    engine least. Then the sinks get `sink_seconds` to lay what is asked for, which is folded in at once with the rest.
    """

    rows_max: int = 1_000_000
    pace_seconds: float = 0.5
    sink_seconds: float = 0.2
    wait_seconds: float = 1.0
    retry_seconds: float = 0.5


class Projected(msgspec.Struct, frozen=True, kw_only=True):
    """A span `(after, upto]` of `received` (ms) that is in every read model now; `seconds` by the model's table."""

    after: int
    upto: int
    rows: int
    seconds: dict[str, float]


class Projector:
    """`step` folds the next span of the log into the read models; `run` repeats it until stopped."""

    def __init__(
        self,
        store: Store,
        watermarks: Watermarks,
        rebuilds: Rebuilds,
        limits: ProjectorLimits | None = None,
        *,
        kept_from: Callable[[], int] = lambda: 0,
        settler: Settler | None = None,
        on_step: Callable[[str], None] = lambda name: None,
        on_span: Callable[[Projected], None] = lambda span: None,
    ) -> None:
        """`kept_from` asks since when (ms) scans are kept, and `settler` derives stays, for a rebuild.

        `on_step` is called with a step's name right after it: projected (each model), announced, recorded.

        `on_span` is called for each span that held scans, once readers were told of it.
        """
        self._store: Final = store
        self._watermarks: Final = watermarks
        self._rebuilds: Final = rebuilds
        self._limits: Final = limits or ProjectorLimits()
        self._kept_from: Final = kept_from
        self._settler: Final = settler
        self._on_step: Final = on_step
        self._on_span: Final = on_span
        self._done: Watermark | None = None
        self._deliveries: Deliveries | None = None
        self._caught_up = False
        self._log_rows: int | None = None
        """How many rows the log had when all of them were last folded in; None where that is not known."""
        self._folded = False
        """Whether the last step had anything to fold in: the clock alone costs nothing, and traces wait for it."""
        self._rebuild: Rebuild | None = None
        self._nudged = Nudge(FIRST_NUDGE, 0)
        self._hand: Final = concurrent.futures.ThreadPoolExecutor(1, "projector-hand")

    def run(self, stop: threading.Event) -> None:
        """Until stopped; waits out a store or stream that is down."""
        patience = Patience(log, self._limits.retry_seconds)
        while not stop.is_set():
            began = time.monotonic()
            try:
                projected = self.step()
                rebuilding = self.rebuild_step()  # takes its turn however much comes in
                if not projected and not rebuilding:
                    self._watermarks.follow("log", self._position().received, self._limits.wait_seconds)
                elif self._caught_up and self._folded and not rebuilding:
                    self._rest(began + self._limits.pace_seconds)
                patience.over()
            except (StoreDown, StreamDown) as error:
                self._done = self._deliveries = self._log_rows = None
                patience.wait(stop, error)
        self._hand.shutdown()

    def step(self) -> bool:
        """Fold in what the log has more than the read models. False where it has nothing."""
        log_mark, done = self._watermarks.read("log"), self._position()
        if log_mark is None or log_mark.received <= done.received:
            return False
        if log_mark.rows == self._log_rows:
            # Nothing was laid since all was folded in, and traces wait for this: the store need not be asked.
            self._folded = False
            self._advance(Watermark(log_mark.received, done.rows), durable=False)
            return True
        if self._deliveries is None:
            self._deliveries = Deliveries(self._store)
        self._log_rows = None
        upto = self._span_end(done, log_mark)
        self._caught_up = upto == log_mark.received
        span = self._deliveries.span(done.received, upto)
        self._folded = bool(span.rows)
        caught_up_at = log_mark.rows if self._caught_up else None
        if not self._folded:
            # Only the clock has moved on.
            self._advance(Watermark(upto, done.rows), durable=False)
            self._log_rows = caught_up_at
            return True
        live = [(model, model.table) for model in READ_MODELS]
        seconds = project_all(self._store, live, span, self._hand, on_projected=lambda: self._on_step("projected"))
        self._deliveries.take(span)
        self._advance(Watermark(upto, done.rows + span.rows), durable=True)
        self._log_rows = caught_up_at
        self._on_span(Projected(after=done.received, upto=upto, rows=span.rows, seconds=seconds))
        return True

    def _rest(self, until: float) -> None:
        """Wait until a moment (monotonic seconds), or until the log has what somebody waits for."""
        nudge = self._watermarks.await_nudge(self._nudged, until - time.monotonic())
        if nudge is not None:
            self._nudged = nudge
            self._watermarks.follow("log", nudge.received - 1, self._limits.sink_seconds)

    def _span_end(self, done: Watermark, log_mark: Watermark) -> int:
        """The `received` (ms) at which the next span ends. Of what the sinks just said the log need not be asked."""
        fresh = log_mark.rows - done.rows
        if 0 < fresh <= self._limits.rows_max and log_mark.received - done.received <= FIRST_MS:
            return log_mark.received
        return span_end(self._store, done.received, log_mark.received, self._limits.rows_max)

    def rebuild_step(self) -> bool:
        """Go on with a rebuild that was asked for. False where there is none, or it is done.

        A fault may lie between two of its tables, where nobody knows what was done: the rebuild is begun again.
        """
        if self._rebuild is None:
            request = self._rebuilds.requested()
            if request is None:
                return False
            self._rebuild = Rebuild(
                request,
                self._store,
                READ_MODELS,
                self._limits.rows_max,
                hand=self._hand,
                kept_from=self._kept_from,
                settler=self._settler,
            )
        rebuild, self._rebuild = self._rebuild, None
        try:
            status = rebuild.step(self._position().received)
            self._rebuilds.tell(status)
            if status.state != "done":
                self._rebuild = rebuild
        finally:
            if self._rebuild is None and self._settler is not None:
                self._settler.resume()
        return True

    def _position(self) -> Watermark:
        """Where the read models stand; read from the store after a start or a fault."""
        if self._done is None:
            rows = self._store.rows(
                "SELECT max(received), argMax(rows, received) FROM progress WHERE name = {name:String}",
                {"name": PROGRESS_NAME},
            )
            self._done = Watermark(int(rows[0][0]), int(rows[0][1]))
            # Whoever worked on it before may have told readers of more: that holds, and is told again.
            self._watermarks.publish(PROGRESS_NAME, self._done)
        return self._done

    def _advance(self, done: Watermark, *, durable: bool) -> None:
        """Tell readers, who may wait for it; what the models hold they hold, whether it is written down or not."""
        self._watermarks.publish(PROGRESS_NAME, done)
        self._on_step("announced")
        if durable:
            self._store.insert("progress", ["name", "received", "rows"], [[PROGRESS_NAME, done.received, done.rows]])
            self._on_step("recorded")
        self._done = done
