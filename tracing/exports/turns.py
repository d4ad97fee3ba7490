"""How many exports run at once: each takes a thread and most of a processor for as long as it lasts."""

import threading
from typing import Final

from events.problems import EXPORTS_FULL, ProblemError

EXPORTS_AT_ONCE_MAX: Final = 2


class Turn:
    """A place among those who export. It ends once, also when whoever held it is gone without a word."""

    def __init__(self, places: threading.Semaphore) -> None:
        self._places: Final = places
        self._ended = False

    def end(self) -> None:
        """Let another one begin."""
        if not self._ended:
            self._ended = True
            self._places.release()

    def __del__(self) -> None:
        self.end()


class Turns:
    """Hands out turns. Thread-safe."""

    def __init__(self, at_once_max: int = EXPORTS_AT_ONCE_MAX) -> None:
        self._places: Final = threading.Semaphore(at_once_max)

    def take(self) -> Turn:
        """A turn now. Raises EXPORTS_FULL as `ProblemError` where all are taken."""
        if not self._places.acquire(blocking=False):
            raise ProblemError(EXPORTS_FULL.problem())
        return Turn(self._places)
