"""Which cases are closed, and since when."""

import threading
from typing import Final

from events.control import CaseClosed, CaseReopened, Recorded


class Closings:
    """A fold of the control stream. One thread applies; any thread reads."""

    def __init__(self) -> None:
        self._closed_at: Final[dict[str, int]] = {}
        self._lock: Final = threading.Lock()

    def apply(self, recorded: Recorded) -> None:
        """Take in the next event of the control stream: of a case's closings and reopenings the last counts."""
        match recorded.event:
            case CaseClosed(case=case, closed_at=closed_at):
                with self._lock:
                    self._closed_at[case] = closed_at
            case CaseReopened(case=case):
                with self._lock:
                    self._closed_at.pop(case, None)
            case _:
                pass

    def closed_at(self, case: str) -> int | None:
        """Since when (Unix ms) the case is closed; None while it is open, and of a case that nobody knows."""
        with self._lock:
            return self._closed_at.get(case)
