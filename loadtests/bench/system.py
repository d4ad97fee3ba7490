"""The system under test: the whole real service in a fresh directory of its own, on a real disk."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from app.clock import now_ms
from app.key_file import load_or_create
from app.ports import on_free_ports
from app.settings import Settings
from app.stream_client import stream_client
from app.supervisor import Embedded
from events import codec
from events.control import ControlEvent, PlaceRegistered
from keys.enrolment import enrolled
from keys.secrets import ServerSecrets
from loadtests.bench.bodies import device_key
from loadtests.bench.client import LoadFailed
from loadtests.bench.processes import Usages, usages
from loadtests.bench.world import World
from storage.control import ControlLog
from storage.partitions import ONLY
from storage.settled import SettledMarks
from storage.stream import FIRST, ScanStream
from storage.valkey import EmbeddedValkey
from storage.watermarks import Name, Watermarks

POLL_SECONDS: Final = 0.02
STALL_SECONDS_MAX: Final = 60.0
"""The sink or the projector is taken to have failed when it gets no further for so long."""
SETTLED_SECONDS_MAX: Final = 3_600.0
RAM_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs"})


class System:
    """A running service; a context manager. No process of it is left at the end."""

    def __init__(self, directory: Path, key_file: Path, **settings: str) -> None:
        """`key_file`: the secrets that personal codes were issued with. `settings` override the defaults."""
        environment = {
            "TRUYVET_DATA_DIR": str(directory),
            "TRUYVET_KEY_FILE": str(key_file),
            "TRUYVET_LOG_LEVEL": "warning",
        }
        self.settings: Final = Settings.from_environment(environment | on_free_ports() | settings)
        self.address: Final = (self.settings.ingest_host, self.settings.ingest_port)
        self.embedded: Final = Embedded(self.settings)
        self.redis: Final = stream_client(self.settings)
        self._watermarks: Final = Watermarks(self.redis)

    def __enter__(self) -> Self:
        self.embedded.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.redis.close()
        self.embedded.stop()

    def stop(self) -> None:
        """Stop the service, so that its store can be opened by another process."""
        self.embedded.stop()

    def usages(self) -> Usages:
        """What every process of the service uses now, and the client, which is this process."""
        return usages({**self.embedded.pids, "client": os.getpid()})

    def rows(self, name: Name) -> int:
        """How many scans have arrived in the log or in the read models."""
        mark = self._watermarks.read(name)
        return 0 if mark is None else mark.rows

    def stream_bytes(self) -> int:
        """How many bytes of entries wait for the sink."""
        return ScanStream(self.redis, owner="").backlog()[1]

    def stream_bytes_ever(self) -> int:
        """How many bytes of entries ever came in."""
        return int(self.redis.hget(ONLY.sink, "bytes_in") or 0)

    def await_rows(self, name: Name, rows: int) -> float:
        """The monotonic time at which the log or the read models hold so many scans. Raises `LoadFailed`."""
        moved, reached = time.monotonic(), -1
        while True:
            now, found = time.monotonic(), self.rows(name)
            if found >= rows:
                return now
            if found > reached:
                moved, reached = now, found
            if now - moved > STALL_SECONDS_MAX:
                raise LoadFailed(f"{found} of {rows} scans are in {name}, and no more came in {STALL_SECONDS_MAX} s.")
            time.sleep(POLL_SECONDS)

    def await_settled(self, rows: int) -> float:
        """The monotonic time at which the stays of so many scans are settled. Raises `LoadFailed`."""
        marks, began = SettledMarks(self.redis), time.monotonic()
        while (mark := marks.read()) is None or mark.rows < rows:
            if time.monotonic() > began + SETTLED_SECONDS_MAX:
                raise LoadFailed(f"The stays of {rows} scans are not settled after {SETTLED_SECONDS_MAX:.0f} s.")
            time.sleep(POLL_SECONDS)
        return time.monotonic()


class Directories:
    """Fresh directories for one run, all removed at its end; a context manager."""

    def __init__(self, parent: Path) -> None:
        self._parent: Final = parent
        self._root: Path | None = None
        self._count = 0

    def __enter__(self) -> Self:
        self._root = Path(tempfile.mkdtemp(prefix="truyvet-bench-", dir=self._parent))
        return self

    def __exit__(self, *failure: object) -> None:
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)

    def fresh(self, name: str) -> Path:
        """A new empty directory."""
        assert self._root is not None
        self._count += 1
        directory = self._root / f"{self._count}-{name}"
        directory.mkdir()
        return directory


def key_file(directory: Path) -> tuple[Path, ServerSecrets]:
    """A new key file in the directory, and its secrets."""
    path = directory / "keys.json"
    return path, load_or_create(path, data_exists=False, now_ms=now_ms())


def register(settings: Settings, events: Iterable[ControlEvent], *, recorded_ms: int, scans: int = 0) -> None:
    """Write places and devices down before a fresh service starts: every worker has read them when it is ready.

    `recorded_ms`: when the control stream shall have taken them in. `scans`: so many lie in the log already, which were
    received by now.
    """
    server = EmbeddedValkey(settings.valkey_dir, port=settings.valkey_port)
    server.start()
    try:
        with contextlib.closing(stream_client(settings)) as client:
            ControlLog(client).restore(
                [(f"{recorded_ms}-{number}", codec.to_json(event)) for number, event in enumerate(events, 1)]
            )
            if scans:
                client.hset(ONLY.sink, mapping={"rows": scans, "cursor": FIRST, "laid": now_ms()})
    finally:
        server.stop()


def registrations(world: World) -> list[ControlEvent]:
    """The world's places and devices, each with its key."""
    events: list[ControlEvent] = []
    for index in range(world.devices):
        public = device_key(world, index).public_key().public_bytes_raw()
        events += [PlaceRegistered(world.place(index)), *enrolled(world.device(index), public, 0)]
    return events
