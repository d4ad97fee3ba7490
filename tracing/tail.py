"""What comes in last before a question is searched for while it is on its way into the log, and looked at afterwards.

A search sees what the read models had when it began. Once the log has everything by the moment asked about, it tells of
whom scans came in since. Hardly ever are they those who were read: then nothing that was read lacks anything.
"""

import concurrent.futures
import time
from collections.abc import Callable
from typing import Final, TypeVar

from storage.settled import SettledMark
from storage.watermarks import Asked
from tracing.late import LATE_ROWS_MAX, NOBODY_LATE, Late, LateScans
from tracing.moment import Moments
from tracing.registry import Registry

T = TypeVar("T")


class Outrun(Exception):
    """What came in last matters to what was read before: the search is begun again, once all can be read."""


class Tails:
    """Begins tails. Thread-safe."""

    AT_ONCE_MAX: Final = 16
    """So many are waited for at once, each in a thread; more wait for their turn."""

    def __init__(self, moments: Moments, registry: Registry, late: LateScans) -> None:
        self._moments: Final = moments
        self._registry: Final = registry
        self._late: Final = late
        self._hands: Final = concurrent.futures.ThreadPoolExecutor(self.AT_ONCE_MAX, "tail")

    def begun(self, mark: SettledMark, as_of: int) -> "Tail | None":
        """What need not be waited for yet; None where nothing need be, or all must be.

        `mark` is that of the settled stays, read before: read models are at least as far. Raises `StreamDown`.
        """
        if as_of < mark.received:
            return None
        asked = self._moments.ask(as_of)
        if asked is None or asked.read_models.received >= as_of:
            return None
        coming = self._hands.submit(self._come_in, asked, mark, as_of)
        return Tail(self._moments, self._registry, asked, coming, as_of)

    def _come_in(self, asked: Asked, mark: SettledMark, as_of: int) -> Late:
        """Whose scans came in between the mark and the moment asked about, once they are all in the log."""
        laid = self._moments.laid(as_of, asked)
        if laid.folded and laid.rows == mark.rows:
            return NOBODY_LATE
        if laid.rows - mark.rows > LATE_ROWS_MAX:
            raise Outrun
        return self._late.between(min(mark.received, asked.read_models.received), as_of)


class Tail:
    """Of one search, from where the read models were at first up to the moment asked about. Not thread-safe.

    What waits raises BEHIND as `ProblemError`, `StreamDown` and `StoreDown`.
    """

    def __init__(
        self,
        moments: Moments,
        registry: Registry,
        asked: Asked,
        coming: "concurrent.futures.Future[Late]",
        as_of: int,
    ) -> None:
        """`coming`: whose scans came in by `as_of` (Unix ms) after the stays were settled.

        Nothing is read of the registry before.
        """
        self.read_models: Final = asked.read_models
        self.seconds_waited = 0.0
        self._moments: Final = moments
        self._registry: Final = registry
        self._coming: Final = coming
        self._events: Final = registry.events
        self._as_of: Final = as_of

    def late(self) -> Late:
        """Whose scans came in after the stays were settled, and by the moment asked about. Raises `Outrun`, too."""
        return self._waited(self._coming.result)

    def fold(self) -> None:
        """Wait until the read models have everything, too, and the registry all places where anybody was scanned."""
        self._waited(lambda: self._moments.read_models(self._as_of))
        self._waited(self._moments.know_registry)

    def know_registry(self) -> None:
        """Make sure that what is recorded by the moment asked about was known from the beginning. Raises `Outrun`.

        Scans received by then are in the log, so nothing more is recorded by then, even where the clock here is ahead.
        """
        self._waited(self._moments.know_registry)
        if self._registry.learned(self._events, self._as_of):
            raise Outrun

    def _waited(self, wait: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            return wait()
        finally:
            self.seconds_waited += time.perf_counter() - began
