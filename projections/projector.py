"""Follows the log's watermark and folds what is new into every read model; one process at a time does this.

A step projects a span of `received` into each model and then writes the progress down. A death in between is
harmless: the span is projected again, and equal rows collapse. Readers ask only up to the watermark, which is
published last, so they never see half a span.
"""

import logging
import threading
from typing import Final

import msgspec

from projections.model import ReadModel
from projections.rebuild import Rebuild
from projections.scans_by_place_hour import SCANS_BY_PLACE_HOUR
from projections.scans_by_subject import SCANS_BY_SUBJECT
from projections.spans import span_end, span_rows
from storage.clickhouse import Store
from storage.errors import StoreDown, StreamDown
from storage.patience import Patience
from storage.rebuilds import Rebuilds
from storage.watermarks import Watermark, Watermarks

log: Final = logging.getLogger("truyvet.projector")

READ_MODELS: Final[tuple[ReadModel, ...]] = (SCANS_BY_SUBJECT, SCANS_BY_PLACE_HOUR)
PROGRESS_NAME: Final = "read-models"


class ProjectorLimits(msgspec.Struct, frozen=True):
    """How much one step folds in and how long the projector waits for news."""

    rows_max: int = 1_000_000
    wait_seconds: float = 1.0
    retry_seconds: float = 0.5


class Projector:
    """`step` folds the next span of the log into the read models; `run` repeats it until stopped."""

    def __init__(
        self, store: Store, watermarks: Watermarks, rebuilds: Rebuilds, limits: ProjectorLimits | None = None
    ) -> None:
        self._store: Final = store
        self._watermarks: Final = watermarks
        self._rebuilds: Final = rebuilds
        self._limits: Final = limits or ProjectorLimits()
        self._done: Watermark | None = None
        self._rebuild: Rebuild | None = None

    def run(self, stop: threading.Event) -> None:
        """Until stopped; waits out a store or stream that is down."""
        patience = Patience(log, self._limits.retry_seconds)
        while not stop.is_set():
            try:
                projected = self.step()  # a rebuild takes its turn however much comes in
                if not self.rebuild_step() and not projected:
                    self._watermarks.follow("log", self._position().received, self._limits.wait_seconds)
                patience.over()
            except (StoreDown, StreamDown) as error:
                self._done = None
                patience.wait(stop, error)

    def step(self) -> bool:
        """Fold in what the log has more than the read models. False where it has nothing."""
        log_mark, done = self._watermarks.read("log"), self._position()
        if log_mark is None or log_mark.received <= done.received:
            return False
        if not span_rows(self._store, done.received, log_mark.received):
            # Only the clock has moved on.
            self._advance(Watermark(log_mark.received, done.rows), durable=False)
            return True
        upto = span_end(self._store, done.received, log_mark.received, self._limits.rows_max)
        for model in READ_MODELS:
            model.project(self._store, model.table, after=done.received, upto=upto)
        rows = span_rows(self._store, done.received, upto)
        self._advance(Watermark(upto, done.rows + rows), durable=True)
        return True

    def rebuild_step(self) -> bool:
        """Go on with a rebuild that was asked for. False where there is none, or it is done.

        A fault may lie between two of its tables, where nobody knows what was done: the rebuild is begun again.
        """
        if self._rebuild is None:
            request = self._rebuilds.requested()
            if request is None:
                return False
            self._rebuild = Rebuild(request, self._store, READ_MODELS, self._limits.rows_max)
        rebuild, self._rebuild = self._rebuild, None
        status = rebuild.step(self._position().received)
        self._rebuilds.tell(status)
        if status.state != "done":
            self._rebuild = rebuild
        return True

    def _position(self) -> Watermark:
        """Where the read models stand; read from the store after a start or a fault."""
        if self._done is None:
            rows = self._store.rows(
                "SELECT max(received), argMax(rows, received) FROM progress WHERE name = {name:String}",
                {"name": PROGRESS_NAME},
            )
            self._done = Watermark(int(rows[0][0]), int(rows[0][1]))
        return self._done

    def _advance(self, done: Watermark, *, durable: bool) -> None:
        if durable:
            self._store.insert("progress", ["name", "received", "rows"], [[PROGRESS_NAME, done.received, done.rows]])
        self._done = done
        self._watermarks.publish("read-models", done)
