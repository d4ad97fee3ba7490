"""Which device's question about its own count is answered now: few at a time, one of a device, each at its rate."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from events import problems
from events.problems import ProblemError
from ingest.limits import EdgeLimits
from ingest.rate import DeviceRates

DEVICE_QUESTIONS_MAX: Final = 4
"""So many devices are answered at a time: a thousand of them after an outage must leave threads to people."""
QUESTIONS_PER_SECOND: Final = 1.0
QUESTIONS_BURST_SECONDS: Final = 60.0
"""A device may ask for so many seconds' worth at once: the pages of a long hole."""


class DeviceQuestions:
    """Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never run backwards."""
        rate = EdgeLimits(device_requests_per_second=QUESTIONS_PER_SECOND, device_burst_seconds=QUESTIONS_BURST_SECONDS)
        self._rates: Final = DeviceRates(rate, clock)
        self._answering: Final[set[int]] = set()
        self._guard: Final = threading.Lock()

    def require_rate(self, device: int) -> None:
        """Return where the device of this number may ask. Raises `ProblemError`: rate-exceeded."""
        with self._guard:
            self._rates.require(device)

    @contextmanager
    def turn(self, device: int) -> Iterator[None]:
        """While its question is answered. Raises `ProblemError`: rate-exceeded, server-busy."""
        with self._guard:
            self._rates.require(device)
            if device in self._answering:
                raise ProblemError(problems.RATE_EXCEEDED.problem("Its question before this one is being answered."))
            if len(self._answering) >= DEVICE_QUESTIONS_MAX:
                raise ProblemError(problems.SERVER_BUSY.problem("Other devices ask at the moment."))
            self._answering.add(device)
        try:
            yield
        finally:
            with self._guard:
                self._answering.remove(device)

    def count(self, device: int) -> None:
        """Charge a question that was signed for it alone."""
        with self._guard:
            self._rates.count_request(device)
