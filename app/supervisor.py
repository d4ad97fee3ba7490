"""The whole service on one machine: Valkey, the store process and the ingest workers under one supervisor.

`Embedded` is what `truyvet up` runs; `demo` and the tests use it as a context manager. One supervisor has a data
directory (a lock). Killed outright, it leaves no process of ours behind, since they notice; Valkey stays, and the
next start adopts it.
"""

import fcntl
import hashlib
import logging
import os
import secrets
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from app.clock import now_ms
from app.errors import Explained
from app.fleet import Child, ChildFailed, Fleet
from app.key_file import load_or_create
from app.ports import await_free
from app.settings import Settings
from app.stream_client import stream_client
from events.access import Role
from events.control import TokenIssued
from storage.control import ControlLog
from storage.valkey import EmbeddedValkey, ValkeyFailed
from tracing.access import new_token
from tracing.registry import Registry

log: Final = logging.getLogger("truyvet.supervisor")

LOCK_FILE: Final = "up.lock"
TOKEN_FILE: Final = "token"
STORE_DIR: Final = "clickhouse"
OPERATOR: Final = "local operator"
OPERATOR_TOKEN_MS: Final = 30 * 24 * 3_600_000
OPERATOR_TOKEN_RENEW_MS: Final = 7 * 24 * 3_600_000
"""A token with less than this left is replaced at the next start."""
PORT_WAIT_SECONDS: Final = 5.0
VALKEY_WATCH_SECONDS: Final = 0.5
METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


class AlreadyRunning(Explained):
    """Another supervisor has the data directory."""

    def __init__(self, data_dir: Path, pid: str) -> None:
        super().__init__(
            f"Truyvet already runs on {data_dir} (pid {pid or 'unknown'}). Stop it first,"
            " or set TRUYVET_DATA_DIR to another directory."
        )


class Embedded:
    """The service of one data directory. `start` returns when everything is ready; `stop` leaves nothing running."""

    def __init__(self, settings: Settings) -> None:
        self.settings: Final = settings
        self.token = ""
        self._lock: int | None = None
        self._valkey: Final = (
            EmbeddedValkey(
                settings.valkey_dir, port=settings.valkey_port, memory_bytes_max=settings.valkey_memory_bytes_max
            )
            if settings.embedded_redis
            else None
        )
        self._fleet: Fleet | None = None
        self._stopping: Final = threading.Event()
        self._valkey_watcher: threading.Thread | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Every process that runs now: `valkey`, `store`, `ingest-1` and so on."""
        pids = dict(self._fleet.pids) if self._fleet is not None else {}
        if self._valkey is not None and self._valkey.pid is not None:
            pids["valkey"] = self._valkey.pid
        return pids

    def start(self) -> Self:
        """Start everything. Raises `AlreadyRunning`, `KeyFileError`, `ValkeyFailed`, `AddressTaken`, `ChildFailed`."""
        settings = self.settings
        self._stopping.clear()
        settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(settings)
        try:
            load_or_create(settings.keys_path, data_exists=has_data(settings), now_ms=now_ms())
            for host, port in (
                (settings.ingest_host, settings.ingest_port),
                (settings.trace_host, settings.trace_port),
            ):
                # Workers share their port, which would let two services split one port's requests between them.
                await_free(host, port, seconds=PORT_WAIT_SECONDS)
            self._start_valkey()
            prepare_stores(settings)
            self.token = operator_token(settings)
            clear_metrics(settings)
            self._fleet = Fleet(
                _children(settings),
                ready_wait_seconds=settings.ready_wait_seconds,
                stop_wait_seconds=settings.stop_wait_seconds,
            )
            self._fleet.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop everything in reverse order; safe to call again."""
        if self._fleet is not None:
            self._fleet.stop()
            self._fleet = None
        self._stopping.set()
        if self._valkey_watcher is not None:
            self._valkey_watcher.join()
            self._valkey_watcher = None
        if self._valkey is not None:
            self._valkey.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_valkey(self) -> None:
        if self._valkey is None:
            return
        self._valkey.start()
        if self._valkey.adopted:
            log.warning("found Valkey running from before (pid %s) and took it over", self._valkey.pid)
        self._valkey_watcher = threading.Thread(
            target=self._watch_valkey, args=(self._valkey,), name="valkey-watcher", daemon=True
        )
        self._valkey_watcher.start()

    def _watch_valkey(self, valkey: EmbeddedValkey) -> None:
        while not self._stopping.wait(VALKEY_WATCH_SECONDS):
            if valkey.alive():
                continue
            log.warning("Valkey ended; starting it again. Scanners keep their scans until it answers")
            try:
                valkey.start()
            except ValkeyFailed as error:
                log.error("%s", error)


def prepare_stores(settings: Settings) -> None:
    """Bring a ClickHouse server's tables up to date, and put registries back that the stream has lost.

    `truyvet migrate` does it in a process of its own: this one must not open an embedded store, which has one owner.
    """
    client = stream_client(settings)
    lost = ControlLog(client).empty() and (settings.data_dir / STORE_DIR).is_dir()
    client.close()
    if lost or not settings.embedded_store:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "app.cli", "migrate"],
            env=settings.process_environment(),
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            raise ChildFailed("`truyvet migrate` failed; its lines are above.")


def has_data(settings: Settings) -> bool:
    """Whether the embedded servers hold anything that needs the keys it was written with."""
    return any(
        directory.is_dir() and any(directory.iterdir())
        for directory in (settings.valkey_dir, settings.data_dir / STORE_DIR)
    )


def operator_token(settings: Settings) -> str:
    """The local operator's bearer token, from `run/token` while it is valid, else a new one written there (0600)."""
    file = settings.run_dir / TOKEN_FILE
    client = stream_client(settings)
    try:
        control = ControlLog(client, replicas=settings.stream_replicas)
        registry = Registry()
        for _, recorded in control.replay():
            registry.apply(recorded)
        if file.is_file():
            text = file.read_text(encoding="ascii").strip()
            token = registry.tokens_by_sha256.get(hashlib.sha256(text.encode()).digest())
            if token is not None and not token.revoked and token.expires > now_ms() + OPERATOR_TOKEN_RENEW_MS:
                return text
        text, token = new_token(OPERATOR, Role.ADMIN, now_ms() + OPERATOR_TOKEN_MS, secrets.token_bytes)
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as output:
            output.write(text + "\n")
        control.append(TokenIssued(token))
        return text
    finally:
        client.close()


def clear_metrics(settings: Settings) -> None:
    """Begin the workers' counters at zero: those of an earlier run count other processes."""
    shutil.rmtree(settings.prometheus_dir, ignore_errors=True)
    settings.prometheus_dir.mkdir(parents=True, mode=0o700)


def _children(settings: Settings) -> list[Child]:
    environment = settings.process_environment()
    store = (
        [("store", ["serve", "store"])]
        if settings.embedded_store
        else [("sink", ["sink"]), ("project", ["project"]), ("trace", ["serve", "trace"])]
    )
    children = [Child(name, arguments, environment) for name, arguments in store]
    return children + ingest_workers(settings)


def ingest_workers(settings: Settings) -> list[Child]:
    """The worker processes that share the ingest port and a directory for their metrics."""
    environment = settings.process_environment() | {METRICS_VARIABLE: str(settings.prometheus_dir)}
    return [
        Child(f"ingest-{number}", ["serve", "ingest-worker"], environment)
        for number in range(1, settings.ingest_workers + 1)
    ]


def _lock(settings: Settings) -> int:
    """Take the data directory. Returns the lock's descriptor. Raises `AlreadyRunning`."""
    descriptor = os.open(settings.run_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise AlreadyRunning(settings.data_dir, pid) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor
