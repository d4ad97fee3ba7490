"""One process's share of the partitions: a sink for each, begun and ended as sinks come and go."""

import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from ingest.sink import Sink
from storage.crew import Crew
from storage.errors import StreamDown

log: Final = logging.getLogger("truyvet.sink")


class CrewLimits(msgspec.Struct, frozen=True):
    """How often this process says that it is there, and for how long that holds."""

    attend_seconds: float = 3.0
    absent_seconds: float = 15.0


class _Work(NamedTuple):
    sink: Sink
    ending: threading.Event
    done: concurrent.futures.Future[None]


class SinkCrew:
    """Runs a sink for each partition that is this process's to work on."""

    def __init__(
        self,
        crew: Crew,
        partitions: int,
        sink_of: Callable[[int], Sink],
        able: Callable[[], bool],
        limits: CrewLimits | None = None,
    ) -> None:
        """`sink_of` makes the sink of the partition of that number; `able` tells whether the store answers."""
        self._crew: Final = crew
        self._partitions: Final = partitions
        self._sink_of: Final = sink_of
        self._able: Final = able
        self._limits: Final = limits or CrewLimits()
        self._mine: list[int] | None = None
        self._working: Final[dict[int, _Work]] = {}

    def run(self, stop: threading.Event) -> None:
        """Until stopped. Raises what a sink raises, after the others were stopped too."""
        with concurrent.futures.ThreadPoolExecutor(self._partitions, "sink") as threads:
            try:
                while not stop.is_set():
                    self._share(threads)
                    stop.wait(self._limits.attend_seconds)
            finally:
                for work in self._working.values():
                    work.ending.set()
                with contextlib.suppress(StreamDown):
                    self._crew.leave()
        self._end(list(self._working))

    def _share(self, threads: concurrent.futures.ThreadPoolExecutor) -> None:
        """Work on what is ours now. Without the stream's server nobody can say, and things stay as they are."""
        self._end([number for number, work in self._working.items() if work.done.done()])
        # One whose lease has run out hangs in an insert, say: others may have better luck.
        able = not any(work.sink.overdue for work in self._working.values()) and self._able()
        try:
            mine = self._crew.attend(self._limits.absent_seconds, able=able)
        except StreamDown:
            return
        if mine != self._mine:
            self._mine = mine
            log.info(_told(mine, self._partitions))
        for number, work in self._working.items():
            if number not in mine:
                work.ending.set()  # after the range that it is laying
        for number in mine:
            if number not in self._working:
                sink, ending = self._sink_of(number), threading.Event()
                self._working[number] = _Work(sink, ending, threads.submit(sink.run, ending))

    def _end(self, numbers: list[int]) -> None:
        for number in numbers:
            self._working.pop(number).done.result()


def _told(mine: list[int], partitions: int) -> str:
    if not mine:
        return "stands by: other sinks work on every partition"
    return f"works on partition {', '.join(map(str, mine))} of {partitions}"
