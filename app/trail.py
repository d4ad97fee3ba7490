"""A batch's way through the logs: the receipt's `batch` is its id in the stream, and each process says when it had it.

The edge names each batch. Sink and projector work in ranges, and ids grow: a batch lies in the one range with
`first` ≤ batch ≤ `last`; the read models hold it once they hold what was `received` by that range's. At `debug` each
batch, range and span has a line of its own; otherwise ranges and spans are gathered for some seconds, and the edge
speaks of what it refuses alone, at most so often. No line names a device, a place or a person.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from app.logs import fields
from ingest.receive import EdgeResult
from ingest.sink import Laid
from projections.projector import Projected

GATHER_SECONDS: Final = 10.0
"""Ranges and spans of so long share a line."""
PAUSE_SECONDS: Final = 10.0
"""A refusal of one kind is said again only after so long, with how often it went unsaid."""

edge_log: Final = logging.getLogger("truyvet.edge")
sink_log: Final = logging.getLogger("truyvet.sink")
projector_log: Final = logging.getLogger("truyvet.projector")


class EdgeTrail:
    """What became of each request; `on_result` is the edge's hook, for one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock: Final = clock
        self._said: Final[dict[str, float]] = {}
        self._unsaid: Final[dict[str, int]] = {}

    def on_result(self, result: EdgeResult) -> None:
        """One request was answered."""
        refused = {reason.value: count for reason, count in result.refused.items()}
        if edge_log.isEnabledFor(logging.DEBUG):
            edge_log.debug("answered %d", result.status, extra=_answer(result, refused))
            return
        kind = result.problem or ("scans-refused" if refused else "")
        if kind and self._due(kind):
            extra = _answer(result, refused, unsaid=self._unsaid.pop(kind, 0))
            edge_log.info("answered %d: %s", result.status, kind, extra=extra)

    def _due(self, kind: str) -> bool:
        now = self._clock()
        if now - self._said.get(kind, float("-inf")) < PAUSE_SECONDS:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return False
        self._said[kind] = now
        return True


def _answer(result: EdgeResult, refused: dict[str, int], **more: int) -> dict[str, Any]:
    return fields(
        batch=result.batch,
        status=result.status,
        problem=result.problem,
        accepted=result.accepted,
        duplicate=result.duplicate,
        refused=refused,
        **more,
    )


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive ranges or spans: the first's beginning, the last's end, how many scans and parts they have.

    `received` (ms): everything received by then is in.
    """

    first: str
    last: str
    received: int
    rows: int
    parts: int = 1

    def followed_by(self, later: "Stretch") -> "Stretch":
        """Both as one."""
        return msgspec.structs.replace(
            later, first=self.first, rows=self.rows + later.rows, parts=self.parts + later.parts
        )


class Gathering:
    """Says stretches at `debug` as they come, else those of some seconds at once; nothing is left unsaid at the end."""

    def __init__(self, log: logging.Logger, verb: str) -> None:
        self._log: Final = log
        self._verb: Final = verb
        self._lock: Final = threading.Lock()
        self._gathered: Stretch | None = None
        self.timer: threading.Timer | None = None
        atexit.register(self.flush)

    def add(self, stretch: Stretch) -> None:
        """One more is done."""
        if self._log.isEnabledFor(logging.DEBUG):
            self._say(logging.DEBUG, stretch)
            return
        with self._lock:
            before = self._gathered
            self._gathered = stretch if before is None else before.followed_by(stretch)
        if before is None:
            self.timer = threading.Timer(GATHER_SECONDS, self.flush)
            self.timer.daemon = True
            self.timer.start()

    def flush(self) -> None:
        """Say what was gathered."""
        with self._lock:
            stretch, self._gathered = self._gathered, None
        if stretch is not None:
            self._say(logging.INFO, stretch)

    def _say(self, level: int, stretch: Stretch) -> None:
        self._log.log(level, "%s: %d scans", self._verb, stretch.rows, extra=fields(**msgspec.structs.asdict(stretch)))


class SinkTrail:
    """Which batches are in the log; `on_range` is the sink's hook."""

    def __init__(self) -> None:
        self.gathering: Final = Gathering(sink_log, "laid into the log")

    def on_range(self, laid: Laid) -> None:
        """A range is in the log."""
        range_ = laid.frozen
        self.gathering.add(Stretch(first=range_.first, last=range_.last, received=range_.received, rows=laid.rows))


class ProjectorTrail:
    """Up to when the read models hold what was received; `on_span` is the projector's hook."""

    def __init__(self) -> None:
        self.gathering: Final = Gathering(projector_log, "folded into the read models")

    def on_span(self, span: Projected) -> None:
        """A span is in the read models."""
        # A batch's id begins with its ms, and so can be compared with these.
        self.gathering.add(Stretch(first=str(span.after + 1), last=str(span.upto), received=span.upto, rows=span.rows))
