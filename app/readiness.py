"""Asks the parts that a process needs how they are, without ever waiting long for one that hangs.

Each part is asked in a thread of its own, one question at a time, so that a server that swallows questions holds up
neither `/readyz` nor the other parts.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from app.checks import DISK_BYTES_BAD
from app.clock import now_ms
from app.key_file import KeyFileError, load
from app.settings import Settings
from app.stream_client import probe_clients
from events.readiness import Check, CheckName
from storage.clickhouse import Store
from storage.health import reader_checks, room_checks, store_checks, stream_checks
from storage.watermarks import Watermarks

ANSWER_SECONDS_MAX: Final = 2.0
"""How long a part may think; a container's health check gives up after 3."""
LOOK_SECONDS: Final = 5.0
"""How often the parts are asked when nobody asks for them."""

log: Final = logging.getLogger("truyvet.readiness")

Ask = Callable[[], Sequence[Check]]


class Part:
    """One part, asked by a thread of its own. `name` is the check that fails where no answer comes in time."""

    def __init__(self, name: CheckName, ask: Ask, *, vital: bool) -> None:
        self._name: Final = name
        self._ask: Final = ask
        self._vital: Final = vital
        self._turn: Final = threading.Condition()
        self._wanted = False
        self._stopped = False
        self._answers = 0
        self._asked_at: float | None = None
        self._checks: Sequence[Check] = ()
        self._broken = False
        self._thread: Final = threading.Thread(target=self._run, name=f"readiness of {name}", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, unless its question hangs."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        self._thread.join(ANSWER_SECONDS_MAX)

    def checks(self) -> Sequence[Check]:
        """How the part is now. Waits for it as long as a question may take, and no longer where one hangs already."""
        with self._turn:
            goal = self._answers + 1
            self._wanted = True
            self._turn.notify_all()
            thinking = time.monotonic() - self._asked_at if self._asked_at is not None else 0.0
            if self._turn.wait_for(lambda: self._answers >= goal, max(ANSWER_SECONDS_MAX - thinking, 0.0)):
                return self._checks
            return self._failing("It does not answer in time.")

    def _failing(self, detail: str) -> Sequence[Check]:
        """The part's own check fails; what else was known of it stays."""
        failing = Check(name=self._name, ok=False, vital=self._vital, detail=detail)
        return [failing, *(check for check in self._checks if check.name != self._name)]

    def _asked(self) -> Sequence[Check]:
        """What the part answers, or that the question itself failed. Never raises; a fault is logged when it begins."""
        try:
            checks = self._ask()
        except Exception as error:
            if not self._broken:
                log.error("%s cannot be asked how it is: %s", self._name, type(error).__name__)
            self._broken = True
            return self._failing("It cannot be asked; the log of this process names the fault.")
        self._broken = False
        return checks

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._wanted or self._stopped)
                if self._stopped:
                    return
                self._wanted = False
                self._asked_at = time.monotonic()
            checks = self._asked()
            with self._turn:
                self._checks = checks
                self._asked_at = None
                self._answers += 1
                self._turn.notify_all()


class Watch:
    """Every check of one process, with the time since when each is as it is."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts: Final = parts
        self._known: Final[dict[CheckName, Check]] = {}
        self._lock: Final = threading.Lock()
        self._stopped: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name="readiness", daemon=True)

    def start(self) -> None:
        """Begin to look every now and then, so that `since` is known also where nobody asked."""
        for part in self._parts:
            part.start()
        self._thread.start()

    def stop(self) -> None:
        """Ask the parts nothing more."""
        self._stopped.set()
        for part in self._parts:
            part.stop()
        self._thread.join(ANSWER_SECONDS_MAX)

    def look(self) -> Sequence[Check]:
        """Every check as it is now, each name once; takes as long as all parts together may think, at most."""
        found = [check for part in self._parts for check in part.checks()]
        with self._lock:
            return [self._dated(check) for check in found]

    def _dated(self, check: Check) -> Check:
        known = self._known.get(check.name)
        since = known.since if known is not None and known.ok == check.ok else now_ms()
        self._known[check.name] = dated = msgspec.structs.replace(check, since=since)
        return dated

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.look()


def ingest_parts(settings: Settings) -> list[Part]:
    """What an ingest worker needs: a stream that takes writes and has room."""
    partitions = probe_clients(settings).partitions

    def stream() -> list[Check]:
        return [
            *stream_checks(partitions, vital=True, replicas=settings.stream_replicas),
            *room_checks(partitions, settings.stream_bytes_max),
        ]

    return [Part(CheckName.STREAM, stream, vital=True), _own_files(settings)]


def trace_parts(settings: Settings, store: Store) -> list[Part]:
    """What the trace service needs: the stream to read from, the store, and those who fill it."""
    clients = probe_clients(settings)
    watermarks = Watermarks(clients.shared, clients.partitions)

    def stream() -> list[Check]:
        return [
            *stream_checks(clients.partitions, vital=False, replicas=settings.stream_replicas),
            *reader_checks(watermarks, now_ms()),
        ]

    return [
        Part(CheckName.STREAM, stream, vital=True),
        Part(CheckName.STORE, lambda: store_checks(store), vital=True),
        _own_files(settings),
    ]


def behind_parts(settings: Settings, store: Store) -> list[Part]:
    """What sink and projector need: a stream that takes writes, and the store."""
    partitions = probe_clients(settings).partitions
    return [
        Part(
            CheckName.STREAM,
            lambda: stream_checks(partitions, vital=True, replicas=settings.stream_replicas),
            vital=True,
        ),
        Part(CheckName.STORE, lambda: store_checks(store), vital=True),
    ]


def key_check(path: Path) -> Check:
    """Whether the key file can be read. The process has its keys in memory, and goes on without it."""
    try:
        load(path)
    except KeyFileError:
        detail = "The key file is missing or cannot be read: restore it before this process has to start again."
        return Check(name=CheckName.KEYS, ok=False, vital=False, detail=detail)
    return Check(name=CheckName.KEYS, ok=True, vital=False)


def disk_check(directories: Sequence[Path]) -> Check:
    """Whether there is room in each of the directories of the embedded servers."""
    free = min(shutil.disk_usage(directory).free for directory in directories if directory.exists())
    return Check(name=CheckName.DISK, ok=free >= DISK_BYTES_BAD, vital=False, detail=f"{free / 1e9:.1f} GB are free.")


def _own_files(settings: Settings) -> Part:
    embedded = [
        *([settings.valkey_dir] if settings.embedded_redis else []),
        *([Path(settings.store_url.removeprefix("chdb://"))] if settings.embedded_store else []),
    ]

    def files() -> list[Check]:
        return [key_check(settings.keys_path), *([disk_check([settings.data_dir, *embedded])] if embedded else [])]

    return Part(CheckName.DISK, files, vital=False)
