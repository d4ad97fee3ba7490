"""The embedded store's one owner: migrations, sink, projector and traces in one process, because chDB allows one."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from app.errors import Explained
from app.open_files import allow_open_files
from app.processes import backend, trace
from app.processes.life import Life
from app.settings import Settings
from app.stream_client import stream_clients
from ingest.archive import ControlArchive
from ingest.audit_archive import AuditArchive
from storage.audit_stream import AuditStream
from storage.clickhouse import migrate
from storage.control import ControlLog

LOCK_FILE: Final = "store.lock"
LOCK_POLL_SECONDS: Final = 0.1
SINK_OWNER: Final = "embedded store"
"""One name for good: the lock above already keeps every other owner out."""


class StoreTaken(Explained):
    """Another process has the embedded store open; the message names it."""


def run(settings: Settings, life: Life) -> None:
    """Own the store until the process is told to stop."""
    settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    allow_open_files()
    lock = owned(settings.run_dir / LOCK_FILE, settings.stop_wait_seconds)
    clients, store = stream_clients(settings), backend.store(settings)
    backend.agree_on_partitions(settings, clients.shared, life.stopping)
    migrate(store)
    registry = CollectorRegistry()
    life.part("sink", backend.sinks(settings, clients, store, SINK_OWNER, registry).run)
    life.part("archive", ControlArchive(ControlLog(clients.shared), store).run)
    audit = AuditStream(clients.shared, replicas=settings.stream_replicas)
    life.part("audit archive", AuditArchive(audit, store).run)
    settler = backend.settler(clients, store, registry)
    life.part("projector", backend.projector(settings, clients, store, registry, settler).run)
    life.part("settler", settler.run)
    life.part("retention", backend.retention(settings, clients, store).run)
    try:
        trace.serve(settings, life, clients, store, process="store", counters=registry)
    finally:
        life.stop()
        life.join()
        store.close()
        os.close(lock)


def owned(path: Path, wait_seconds: float) -> int:
    """The lock's descriptor once no other process holds it; the owner before us may still be ending.

    Raises `StoreTaken`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise StoreTaken(
                    f"Another process has the embedded store open ({path}). Stop it: `truyvet up` or"
                    " `truyvet serve store` runs on the same data directory."
                ) from None
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return descriptor
