"""Hands the feed of clusters on to whoever listens, as Server-Sent Events (HTML Living Standard, 9.2).

One thread waits at the stream's server for all listeners of the process; each reads what is behind its own number.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from events import codec, problems
from events.clusters import Announced
from events.problems import ProblemError
from storage.clusters import ClusterFeed
from storage.errors import StreamDown

LISTENERS_MAX: Final = 64
HEARTBEAT_SECONDS: Final = 15.0
"""Less than any proxy waits; a listener who hears nothing for three of these should connect anew."""
LISTEN_SECONDS_MAX: Final = 3_600.0
"""Then the listener is told to connect anew: so a closed account hears no more, and load spreads over processes."""
RETRY_MS: Final = 3_000
WAIT_BLOCK_MS: Final = 500
RETRY_SECONDS: Final = 1.0
ENTRIES_A_READING: Final = 100
NOT_KNOWN: Final = -1


class ListenLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many may listen to one process, how often they hear that it is there, and for how long they may stay."""

    listeners_max: int = LISTENERS_MAX
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    listen_seconds_max: float = LISTEN_SECONDS_MAX


class Listeners:
    """All listeners of one process. `listen` belongs to its event loop; `close` may be called from any thread."""

    def __init__(self, feed: ClusterFeed, limits: ListenLimits | None = None) -> None:
        self._feed: Final = feed
        self._limits: Final = limits or ListenLimits()
        self._lock: Final = threading.Lock()
        self._waiting: Final[dict[asyncio.Event, asyncio.AbstractEventLoop]] = {}
        self._follower: threading.Thread | None = None
        self._closed: Final = threading.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def listen(
        self, after: int, may_listen: Callable[[], bool], on_telling: Callable[[list[Announced]], None] = lambda _: None
    ) -> AsyncIterator[bytes]:
        """The stream's bytes: every entry behind the number `after`, then each as it comes.

        `on_telling` is called in a thread with the entries right before they are told. The stream ends when
        `may_listen` says no, asked at every heartbeat, when the time is over, at `close`, and when the stream's server
        is down or `on_telling` raises `ProblemError`: the listener comes back and goes on where it was. To be iterated
        in an event loop. Raises SERVER_BUSY as `ProblemError` where too many listen already.
        """
        if len(self._waiting) >= self._limits.listeners_max:
            detail = f"{self._limits.listeners_max} listen to this process already."
            raise ProblemError(problems.SERVER_BUSY.problem(detail))
        return self._events(after, may_listen, on_telling)

    def close(self) -> None:
        """End every listener's stream, now and from now on."""
        self._closed.set()
        self._wake()

    async def _events(
        self, after: int, may_listen: Callable[[], bool], on_telling: Callable[[list[Announced]], None]
    ) -> AsyncIterator[bytes]:
        woken, loop = asyncio.Event(), asyncio.get_running_loop()
        ends = loop.time() + self._limits.listen_seconds_max
        self._enter(woken, loop)
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            while True:
                woken.clear()  # before the reading: what comes after it wakes again
                entries = await asyncio.to_thread(self._read, after, on_telling)
                for entry in entries:
                    yield event_of(entry)
                    after = entry.number
                if entries:
                    continue
                if self._closed.is_set():
                    return
                if not await _within(woken, min(self._limits.heartbeat_seconds, ends - loop.time())):
                    if loop.time() >= ends or not may_listen():
                        return
                    yield b": still here\n\n"
        except (StreamDown, ProblemError):
            return
        finally:
            with self._lock:
                self._waiting.pop(woken, None)

    def _read(self, after: int, on_telling: Callable[[list[Announced]], None]) -> list[Announced]:
        entries = self._feed.after(after, ENTRIES_A_READING)
        if entries:
            on_telling(entries)
        return entries

    def _enter(self, woken: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._waiting[woken] = loop
            if self._follower is None:
                self._follower = threading.Thread(target=self._follow, name="cluster-feed", daemon=True)
                self._follower.start()

    def _follow(self) -> None:
        """Wake the listeners whenever there is something new, as long as there are any."""
        newest = NOT_KNOWN
        while not self._closed.is_set():
            with self._lock:
                if not self._waiting:
                    self._follower = None
                    return
            try:
                # The first time, too: somebody may have read before what is the newest by now.
                if newest == NOT_KNOWN or self._feed.wait(newest, WAIT_BLOCK_MS):
                    newest = self._feed.newest()
                    self._wake()
            except StreamDown:
                newest = NOT_KNOWN
                self._wake()  # whoever reads now finds out
                self._closed.wait(RETRY_SECONDS)

    def _wake(self) -> None:
        with self._lock:
            waiting = list(self._waiting.items())
        for woken, loop in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)


def event_of(entry: Announced) -> bytes:
    """One event: its id is the entry's number, its name `cluster`, its data the entry as JSON."""
    return b"id: %d\nevent: cluster\ndata: %s\n\n" % (entry.number, codec.to_json(entry))


async def _within(woken: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(woken.wait(), max(seconds, 0.0))
    except TimeoutError:
        return False
    return True
