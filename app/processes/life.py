"""A process from its start to its end.

Whoever supervises a process hands it one end of a socket pair. The process writes a line into it when it is ready,
and reads from it: the end of file means that the supervisor is gone (killed, even), so the process stops as well and
leaves no orphan. Without a supervisor, signals alone stop it.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

READY: Final = b"ready\n"
EXIT_CLEAN: Final = 0
EXIT_PART_FAILED: Final = 1
EXIT_STUCK: Final = 75

Stopper = Callable[[], None]

log = logging.getLogger(__name__)


class Life:
    """Ready, stop and failure of one process. Threads of the process run under `part`."""

    def __init__(self, *, supervisor_fd: int | None, stop_wait_seconds: float) -> None:
        """`supervisor_fd`: this process's end of the supervisor's socket pair. Call in the main thread."""
        self.stopping: Final = threading.Event()
        self._failed: Final = threading.Event()
        self._stop_wait_seconds: Final = stop_wait_seconds
        self._stoppers: Final[list[Stopper]] = []
        self._parts: Final[list[threading.Thread]] = []
        self._lock: Final = threading.Lock()
        self._supervisor: Final = None if supervisor_fd is None else socket.socket(fileno=supervisor_fd)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        if self._supervisor is not None:
            watch = threading.Thread(target=self._watch, args=(self._supervisor,), name="watch-supervisor", daemon=True)
            watch.start()

    @property
    def exit_code(self) -> int:
        """Zero where the process was told to stop and nothing failed."""
        return EXIT_PART_FAILED if self._failed.is_set() else EXIT_CLEAN

    def ready(self) -> None:
        """Tell the supervisor that this process does its work now."""
        log.info("ready")
        if self._supervisor is not None:
            try:
                self._supervisor.sendall(READY)
            except OSError:
                self.stop()

    def on_stop(self, stopper: Stopper) -> None:
        """Call `stopper`, from any thread, once the process must stop (at once where it must already)."""
        with self._lock:
            self._stoppers.append(stopper)
        if self.stopping.is_set():
            stopper()

    def part(self, name: str, work: Callable[[threading.Event], None]) -> None:
        """Run `work(stopping)` in a thread. If it raises, or returns before the stop, the whole process ends."""
        thread = threading.Thread(target=self._run_part, args=(name, work), name=name, daemon=True)
        self._parts.append(thread)
        thread.start()

    def fail(self, name: str, error: BaseException | None) -> None:
        """End the process with a failure."""
        self._failed.set()
        log.error("%s failed; this process ends so that it can be started again", name, exc_info=error)
        self.stop()

    def restart(self, why: str) -> None:
        """End the process without a failure, so that whoever supervises it starts it again."""
        log.info("%s; this process ends so that it can be started again", why)
        self.stop()

    def stop(self) -> None:
        """Begin to stop; safe to call again."""
        with self._lock:
            if self.stopping.is_set():
                return
            self.stopping.set()
            stoppers = list(self._stoppers)
        guard = threading.Timer(self._stop_wait_seconds, self._give_up)
        guard.daemon = True
        guard.start()
        for stopper in stoppers:
            stopper()

    def join(self) -> None:
        """Wait for every part to end. Called by the main thread after the stop."""
        for thread in self._parts:
            thread.join()

    def _run_part(self, name: str, work: Callable[[threading.Event], None]) -> None:
        try:
            work(self.stopping)
        except BaseException as error:
            self.fail(name, error)
            return
        if not self.stopping.is_set():
            self.fail(name, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A handler runs between two instructions of the main thread, which may hold a lock: stop from another one.
        threading.Thread(target=self.stop, name="stop", daemon=True).start()

    def _watch(self, supervisor: socket.socket) -> None:
        try:
            while supervisor.recv(64):
                pass
        except OSError:
            pass
        if not self.stopping.is_set():
            log.warning("the supervisor is gone; stopping")
        self.stop()

    def _give_up(self) -> None:
        """A part does not end; what is durable stays so, whatever becomes of the process."""
        log.error("a part did not stop within %.0f s; ending the process", self._stop_wait_seconds)
        os._exit(EXIT_STUCK)
