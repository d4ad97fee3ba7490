"""Child processes under supervision: started, awaited, started again when they die, stopped in reverse order.

Each child gets one end of a socket pair (see `app.processes.life`): it writes when it is ready, and reads the end
of file when this process is gone, however it died.
"""

import contextlib
import logging
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from app.errors import Explained

log: Final = logging.getLogger("truyvet.supervisor")

RESTART_SECONDS_FIRST: Final = 0.5
RESTART_SECONDS_MAX: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""Whoever has lived this long starts again without delay."""
WATCH_SECONDS: Final = 0.1
KILL_AFTER_SECONDS: Final = 5.0
"""How much longer than its own limit a child may take to stop."""


class ChildFailed(Explained):
    """A child did not become ready; the message says which and what to do."""


class Child:
    """One process of `truyvet`, as it is now: its pid changes when it is started again."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """`arguments` follow `truyvet`; `--supervisor-fd` is added."""
        self.name: Final = name
        self._arguments: Final = list(arguments)
        self._environment: Final = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._started = 0.0
        self._restarts = 0

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._process.pid if self.running() and self._process is not None else None

    def start(self) -> None:
        """Start the process; returns at once."""
        self._close_line()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "app.cli"),  # -P: the working directory holds no module of ours
                    *self._arguments,
                    *("--supervisor-fd", str(theirs.fileno())),
                ],
                env=self._environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops its children in order
            )
        self._line = ours
        self._started = time.monotonic()

    def await_ready(self, deadline: float) -> None:
        """Return when the child says that it is ready. `deadline`: monotonic seconds. Raises `ChildFailed`."""
        while not self._readable(max(0.0, min(deadline - time.monotonic(), WATCH_SECONDS))):
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} did not become ready in time. Its log lines are above.")
        if self._line is None or not self._line.recv(64):
            code = self._process.wait() if self._process is not None else None
            raise ChildFailed(f"{self.name} ended at its start (exit code {code}). Its log lines are above.")

    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def next_start(self) -> float:
        """When (monotonic seconds) a child that has just died should start again; later after each early death."""
        if time.monotonic() - self._started > STEADY_SECONDS:
            self._restarts = 0
        delay = min(RESTART_SECONDS_FIRST * 2.0**self._restarts, RESTART_SECONDS_MAX)
        self._restarts = min(self._restarts + 1, 16)
        return time.monotonic() + delay

    @property
    def exit_code(self) -> int | None:
        """How it ended: negative for a signal."""
        return self._process.returncode if self._process is not None else None

    def terminate(self) -> None:
        """Ask it to stop; returns at once."""
        if self._process is not None and self.running():
            self._process.send_signal(signal.SIGTERM)

    def await_end(self, deadline: float) -> None:
        """Wait until it has ended; kill it at the deadline (monotonic seconds)."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error("%s did not stop; killing it", self.name)
            self._process.kill()
            self._process.wait()
        self._close_line()

    def _readable(self, seconds: float) -> bool:
        if self._line is None:
            return True
        poller = select.poll()  # select() itself cannot take descriptors above 1,023
        poller.register(self._line, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class Fleet:
    """Children in the order in which they are listed; stopped in the reverse order."""

    def __init__(self, children: Sequence[Child], *, ready_wait_seconds: float, stop_wait_seconds: float) -> None:
        self._children: Final = list(children)
        self._ready_wait_seconds: Final = ready_wait_seconds
        self._stop_wait_seconds: Final = stop_wait_seconds
        self._stopping: Final = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def pids(self) -> dict[str, int]:
        """The children that run now."""
        return {child.name: pid for child in self._children if (pid := child.pid) is not None}

    def start(self) -> None:
        """Start all at once; return when every one is ready. Raises `ChildFailed`, with none left running."""
        deadline = time.monotonic() + self._ready_wait_seconds
        try:
            for child in self._children:
                child.start()
            for child in self._children:
                child.await_ready(deadline)
        except BaseException:
            self.stop()
            raise
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """Stop all, the last listed first, and wait for each."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        for child in reversed(self._children):
            child.terminate()
            child.await_end(time.monotonic() + self._stop_wait_seconds + KILL_AFTER_SECONDS)

    def _watch(self) -> None:
        due: dict[str, float] = {}
        while not self._stopping.wait(WATCH_SECONDS):
            for child in self._children:
                if child.running():
                    continue
                if child.name not in due:
                    due[child.name] = child.next_start()
                    wait = max(0.0, due[child.name] - time.monotonic())
                    log.warning("%s %s; starting it again in %.1f s", child.name, _end(child.exit_code), wait)
                elif time.monotonic() >= due[child.name]:
                    del due[child.name]
                    with contextlib.suppress(OSError):  # no memory for a process now: the next round tries again
                        child.start()


def _end(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
