"""The whole service in a directory of its own, process by process, with a breakable link before each server."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import redis

from app.clock import now_ms
from app.key_file import load_or_create
from app.ports import AddressTaken, bound
from app.settings import Settings
from app.supervisor import METRICS_VARIABLE, clear_metrics
from keys.secrets import ServerSecrets
from loadtests.faults.links import Link, LoopThread
from loadtests.faults.parts import Part, Server, Service
from loadtests.faults.process import Task
from loadtests.faults.reads import LOOPBACK, Reads, RemoteReads
from loadtests.faults.reaper import Orders
from loadtests.faults.schedule import LINKS, PROCESSES, Mode, Way
from storage.clickhouse import Store, migrate
from storage.valkey import EmbeddedValkey
from tests.support.clickhouse_http import ClickHouseHttp

READY_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.01
AGAIN_SECONDS: Final = 0.1
"""After how long a process that ended by itself, for want of a server, is started again."""
PORTS: Final = range(15_000, 32_000)
"""Below those that connections are given: one that is free while its server is dead must stay free."""
ARGUMENTS: Final = {
    "ingest-1": ["serve", "ingest-worker"],
    "ingest-2": ["serve", "ingest-worker"],
    "store": ["serve", "store"],
    "sink-1": ["sink"],
    "sink-2": ["sink"],
    "project": ["project"],
}


class Stuck(Exception):
    """The system did not get to where it must be within its time; the message says what it lacks."""


class System:
    """One system; `running` starts it. Processes that die are started again by `tend` and `recover` alone."""

    def __init__(self, directory: Path, mode: Mode, loop: LoopThread, *, hasty: bool = False) -> None:
        """`hasty`: its sink is wrong on purpose, see `process`."""
        self.directory: Final = directory
        self.mode: Final[Mode] = mode
        self.orders: Final = Orders(directory / "orders")
        self._hasty: Final = hasty
        self._loop: Final = loop
        self._links: Final = {name: Link() for name in LINKS[mode]}
        self._valkey: Final = EmbeddedValkey(directory / "valkey", port=unused_port())
        self._clickhouse: Final = ClickHouseHttp(directory / "clickhouse-server") if mode == "server" else None
        if self._clickhouse is not None:
            self._clickhouse.port = unused_port()
        self._read_port: Final = 0 if mode == "server" else unused_port()
        self._parts: Final[dict[str, Part]] = {}
        self._down: Final[dict[str, float]] = {}
        self.settings: Final = Settings.from_environment(
            {
                "TRUYVET_DATA_DIR": str(directory),
                "TRUYVET_REDIS_URL": self._valkey.url,
                "TRUYVET_INGEST_PORT": str(unused_port()),
                "TRUYVET_INGEST_WORKERS": str(sum(name.startswith("ingest") for name in PROCESSES[mode])),
                "TRUYVET_TRACE_PORT": str(unused_port()),
                "TRUYVET_DEVICE_REQUESTS_PER_SECOND": "1000",
                "TRUYVET_LOG_LEVEL": "warning",
            }
        )
        self.secrets: ServerSecrets = load_or_create(self.settings.keys_path, data_exists=False, now_ms=now_ms())

    @contextlib.contextmanager
    def running(self) -> Iterator["System"]:
        """Everything is started and ready; nothing is left running. Raises `Stuck`."""
        try:
            self._start()
            yield self
        finally:
            for name in reversed(PROCESSES[self.mode]):
                if name in self._parts:
                    self._parts[name].stop()
            for link in self._links.values():
                self._loop.run(link.close())

    @property
    def door(self) -> str:
        """Where scanners send to, over a link."""
        return f"http://{LOOPBACK}:{self._links['door'].port}"

    def redis(self) -> "redis.Redis":
        """A client of the stream, past the links."""
        return redis.Redis.from_url(self._valkey.url)

    def reads(self) -> Reads:
        """The store, past the links."""
        return RemoteReads(self._read_port) if self._clickhouse is None else Store(self._clickhouse.url)

    def kill(self, name: str, down_ms: int) -> None:
        """End a process by SIGKILL; `tend` starts it again when it has been down that long."""
        self._parts[name].kill()
        self._down[name] = time.monotonic() + down_ms / 1000

    def break_link(self, name: str, way: Way) -> None:
        """Break a link until it is healed."""
        self._loop.run(self._links[name].break_(way))

    def heal_link(self, name: str) -> None:
        """Let a link carry again."""
        self._loop.run(self._links[name].heal())

    def tend(self, down_ms: Callable[[], int]) -> None:
        """Start again what has been down for long enough. `down_ms`: for how long whatever has died by itself is."""
        now = time.monotonic()
        for name, part in self._parts.items():
            if part.running():
                continue
            if name not in self._down:
                self._down[name] = now + max(AGAIN_SECONDS, down_ms() / 1000)
            elif now >= self._down[name]:
                del self._down[name]
                part.start()

    def recover(self, order: Sequence[str]) -> None:
        """Heal every link, start what is dead in this order, and return when everything is ready. Raises `Stuck`."""
        for name in self._links:
            self.heal_link(name)
        self._down.clear()
        for name in order:
            if not self._parts[name].running():
                self._parts[name].start()
        deadline = time.monotonic() + READY_SECONDS_MAX
        while unready := [name for name, part in self._parts.items() if not part.ready()]:
            if time.monotonic() > deadline:
                raise Stuck(f"{', '.join(unready)}: not ready after {READY_SECONDS_MAX:.0f} s")
            self.tend(lambda: 0)
            time.sleep(POLL_SECONDS)

    def _start(self) -> None:
        servers: dict[str, Part] = {"valkey": Server(self._valkey.start, self._valkey.kill, self._valkey.stop)}
        if self._clickhouse is not None:
            server = self._clickhouse
            servers["clickhouse"] = Server(server.start, server.kill, server.stop)
        self._parts.update(servers)
        self.recover(list(servers))
        if self._clickhouse is not None:
            store = Store(self._clickhouse.url)
            migrate(store)
            store.close()
        clear_metrics(self.settings)
        self._open_links()
        for name in PROCESSES[self.mode]:
            if name not in servers:
                self._parts[name] = Service(self._task(name))
        self.recover(PROCESSES[self.mode])

    def _open_links(self) -> None:
        targets = {"door": self.settings.ingest_port, "valkey": self._valkey.port}
        if self._clickhouse is not None:
            targets["clickhouse"] = self._clickhouse.port
        for name, link in self._links.items():
            self._loop.run(link.open(targets[name.rpartition("-")[2]]))

    def _task(self, name: str) -> Task:
        role = "ingest" if name.startswith("ingest") else name
        environment = self.settings.process_environment() | {
            METRICS_VARIABLE: str(self.settings.prometheus_dir),
            "TRUYVET_SINK_PORT": str(unused_port()),
            "TRUYVET_PROJECT_PORT": str(unused_port()),
            "TRUYVET_REDIS_URL": f"redis://{LOOPBACK}:{self._links[f'{role}-valkey'].port}/0",
        }
        if f"{role}-clickhouse" in self._links and self._clickhouse is not None:
            port = self._links[f"{role}-clickhouse"].port
            environment["TRUYVET_CLICKHOUSE_URL"] = f"http://{self._clickhouse.user}:@{LOOPBACK}:{port}/"
        read_port = self._read_port if name == "store" else 0
        return Task(name, ARGUMENTS[name], environment, self.directory / "orders", read_port, self._hasty)


def unused_port() -> int:
    """A loopback port that nobody has."""
    while True:
        port = random.choice(PORTS)
        try:
            bound(LOOPBACK, port, shared=False).close()
        except AddressTaken:
            continue
        return port
