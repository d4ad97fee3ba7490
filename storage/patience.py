"""How a consumer waits out a store or stream that is down: it tries again for ever, and says so once."""

import logging
import threading
from typing import Final


class Patience:
    """Pauses between attempts; logs a fault when it comes, changes, and has passed, and not at every attempt."""

    def __init__(self, log: logging.Logger, retry_seconds: float) -> None:
        self._log: Final = log
        self._retry_seconds: Final = retry_seconds
        self._fault = ""

    def wait(self, stop: threading.Event, fault: Exception) -> None:
        """Log the fault unless it is the one already known, and pause until the next attempt or the stop."""
        description = f"{type(fault).__name__}: {fault}".rstrip(": ")
        if description != self._fault:
            self._log.warning("waiting, and trying again every %s s: %s", self._retry_seconds, description)
            self._fault = description
        stop.wait(self._retry_seconds)

    def over(self) -> None:
        """An attempt has succeeded."""
        if self._fault:
            self._log.warning("back to work")
            self._fault = ""
