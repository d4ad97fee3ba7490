"""Changes to the registries over HTTP: append to the control stream, then see it applied here before answering."""

import contextlib
import threading
from typing import Final

from events.control import ControlEvent, Recorded
from storage.control import ControlLog
from storage.errors import StreamDown
from tracing.registry import CaughtUp

APPLIED_WAIT_SECONDS_MAX: Final = 5.0


class Registrar:
    """Appends events one writer at a time.

    `lock` is held by whoever reads the registry, decides and records, so that two requests at once cannot both find
    an id free. Another process may still interleave; the last event of an id counts, everywhere alike.
    """

    def __init__(self, control: ControlLog, caught_up: CaughtUp) -> None:
        self._control: Final = control
        self._caught_up: Final = caught_up
        self.lock: Final = threading.Lock()

    def catch_up(self) -> None:
        """Wait a while until everything recorded by now, in whatever process, is known here. Raises `StreamDown`."""
        self._caught_up(APPLIED_WAIT_SECONDS_MAX)

    def record(self, *events: ControlEvent) -> list[Recorded]:
        """Make events durable and wait until a reader of this service sees them. Raises `StreamDown`.

        They are durable when the wait runs out or meets a fault, so that it changes nothing about the answer.
        """
        recorded = self._control.append_all(list(events))
        with contextlib.suppress(StreamDown):
            self.catch_up()
        return recorded

    def next_place_number(self) -> int:
        """A number for a new place. Raises `StreamDown`."""
        return self._control.next_number("place")

    def next_device_number(self) -> int:
        """A number for a new device. Raises `StreamDown`."""
        return self._control.next_number("device")
