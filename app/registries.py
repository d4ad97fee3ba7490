"""The registries as a command sees them: the control stream replayed once, and appended to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.settings import Settings
from app.stream_client import stream_client
from events.control import ControlEvent
from storage.control import ControlLog
from tracing.registry import Registry

APPEND_EVENTS: Final = 1_000
"""Events per round trip: an import of 100,000 places must not be one pipeline."""


class Registries:
    """What is registered now, and the log to change it."""

    def __init__(self, control: ControlLog) -> None:
        self.control: Final = control
        self.registry: Final = Registry()
        for _, recorded in control.replay():
            self.registry.apply(recorded)

    def record(self, events: list[ControlEvent]) -> None:
        """Make the events durable, in order, and take them in here too. Raises `StreamDown`."""
        for start in range(0, len(events), APPEND_EVENTS):
            for recorded in self.control.append_all(events[start : start + APPEND_EVENTS]):
                self.registry.apply(recorded)


@contextmanager
def open_registries(settings: Settings) -> Iterator[Registries]:
    """The registries of the stream that the settings name. Raises `StreamDown`."""
    client = stream_client(settings)
    try:
        yield Registries(ControlLog(client, replicas=settings.stream_replicas))
    finally:
        client.close()
