"""The processes that a campaign kills and starts again, whatever kind of process each is."""

import contextlib
import multiprocessing
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Final, Protocol

from app.processes.life import READY
from loadtests.faults.process import Task, run

END_SECONDS_MAX: Final = 10.0
FORKS: Final = multiprocessing.get_context("forkserver")
LIBRARIES: Final = (
    "clickhouse_connect",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "litestar",
    "numpy",
    "redis.asyncio",
    "rich.console",
    "uvicorn",
    "uvloop",
)
"""Loaded before the forks. Nothing of ours, which may read its environment then; and not chDB, which starts threads."""
FORKS.set_forkserver_preload(list(LIBRARIES))


class Part(Protocol):
    """One process."""

    def start(self) -> None:
        """Start it; returns at once."""

    def running(self) -> bool:
        """Whether it lives, or is being started."""

    def ready(self) -> bool:
        """Whether it does its work."""

    def kill(self) -> None:
        """End it by SIGKILL; returns when it has ended. Harmless where it runs no longer."""

    def stop(self) -> None:
        """End it in good order."""


class Service:
    """A process of `truyvet`, forked from one that has the libraries loaded: it is there in a third of the time."""

    def __init__(self, task: Task) -> None:
        self._task: Final = task
        self._process: BaseProcess | None = None
        self._line: socket.socket | None = None
        self._ready = False

    def start(self) -> None:
        self._hang_up()
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        self._ready = False
        with theirs:
            self._process = FORKS.Process(target=run, args=(self._task, theirs), name=self._task.name)
            self._process.start()

    def running(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def ready(self) -> bool:
        if not self._ready and self._line is not None:
            with contextlib.suppress(OSError):
                self._ready = self._line.recv(len(READY)) == READY
        return self._ready and self.running()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join(END_SECONDS_MAX)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.join(END_SECONDS_MAX)
            self.kill()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class Server:
    """A server that the service needs, from what starts, kills and stops it: each returns when that is done."""

    def __init__(self, start: Callable[[], None], kill: Callable[[], None], stop: Callable[[], None]) -> None:
        self._start: Final = start
        self._kill: Final = kill
        self._stop: Final = stop
        self._starter: Final = ThreadPoolExecutor(1)
        self._started: Future[None] | None = None

    def start(self) -> None:
        self._started = self._starter.submit(self._start)

    def running(self) -> bool:
        return self._started is not None

    def ready(self) -> bool:
        if self._started is None or not self._started.done():
            return False
        if self._started.exception() is not None:
            self._started = None  # it did not come up: to be started again, as often as it takes
        return self._started is not None

    def kill(self) -> None:
        self._end(self._kill)

    def stop(self) -> None:
        self._end(self._stop)
        self._starter.shutdown()

    def _end(self, end: Callable[[], None]) -> None:
        if self._started is not None:
            self._started.exception()  # it may be starting
            end()
            self._started = None
