"""Full, slow or broken: every limit is met with a polite refusal that names it, and nothing acknowledged is lost."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest

from app.checks import Finding, checks
from app.processes.connection import ConnectionLimits
from app.scanner import Signer
from events import codec, problems
from events.problems import PROBLEM_TYPE_BASE, Problem
from events.readiness import Check, CheckName
from events.scans import BATCH_SCANS_MAX, Kind, Receipt, Scan, ScanBatch
from ingest.limits import EdgeLimits
from storage.clickhouse import Store
from storage.partitions import ONLY
from storage.publish import WAITING_BYTES_MAX
from tests.app.conftest import until
from tests.journey.driver import Client, System
from tests.journey.store_reader import rows_of
from tests.support.clickhouse_http import ClickHouseHttp

BATCH_SCANS = 1_000
STREAM_BYTES_MAX = 1_000_000
REQUESTS_PER_SECOND = 5
SLOW_SECONDS = 3
"""Longer than readiness waits for an answer."""
CLIENTS = 200
ANSWER_SECONDS_MAX = 30.0
MARGIN_BYTES = 150_000_000
"""For copies of what is worked on, and what the allocator keeps."""
WAIT_SECONDS_MAX = 60.0
SUBJECT = bytes(range(16))


class Found(msgspec.Struct, kw_only=True):
    """What `/readyz` said, ready or not."""

    checks: list[Check]
    status: int | str
    type: str = ""
    retry_after_seconds: int = 0


class Gate:
    """A scanner that sends each batch until it is acknowledged, and only then the next."""

    def __init__(self, system: System, name: str, *, batch_scans: int = BATCH_SCANS) -> None:
        now = int(time.time() * 1000)
        self._ingest = system.settings.ingest
        scanner = system.scanner(name)
        self._signer = Signer(scanner.key, f"{name}.1")
        self._code = system.code(SUBJECT, now - 1_000_000, now + 100_000_000)
        self._batch_scans = batch_scans
        self._client = Client(system.settings)
        self.device = scanner.device.number
        self.acknowledged = 0
        self.send()  # the edge knows the device from now on

    def try_to_send(self) -> Receipt | Problem:
        """One attempt."""
        body = codec.to_json(ScanBatch(self.scans(self._batch_scans)))
        answer = self.post(self.signed(body), body)
        if isinstance(answer, Receipt):
            self.acknowledged += self._batch_scans
        return answer

    def post(self, headers: dict[str, str], body: bytes) -> Receipt | Problem:
        """One request, as it is given."""
        status, answer = self._client.ask(self._ingest, "POST", "/v1/scans", body, headers)
        return codec.from_json(answer, Receipt) if status in {200, 202} else codec.from_json(answer, Problem)

    def scans(self, count: int) -> list[Scan]:
        """The next ones."""
        now = int(time.time() * 1000)
        seqs = range(self.acknowledged + 1, self.acknowledged + 1 + count)
        return [Scan(seq=seq, at=now, kind=Kind.IN, code=self._code) for seq in seqs]

    def signed(self, body: bytes) -> dict[str, str]:
        """The headers of a request with this body."""
        return self._signer.headers(body, int(time.time()))

    def send(self) -> None:
        """Send a batch until it is acknowledged."""
        until(lambda: isinstance(self.try_to_send(), Receipt), WAIT_SECONDS_MAX)

    def send_until_refused(self, kind: problems.Kind) -> Problem:
        """Send batch after batch until one is refused, in this way alone."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while isinstance(refused := self.try_to_send(), Receipt):
            assert time.monotonic() < deadline, "nothing was refused"
        assert refused.type == PROBLEM_TYPE_BASE + kind.name
        assert refused.status == kind.status
        assert refused.retry_after_seconds > 0
        return refused

    @property
    def once(self) -> dict[int, int]:
        """How often each acknowledged seq should be in the log."""
        return dict.fromkeys(range(1, self.acknowledged + 1), 1)


class Ask:
    """Asks the services of a system how they are."""

    def __init__(self, system: System) -> None:
        self._client = Client(system.settings)
        self.ingest = system.settings.ingest
        self.trace = system.settings.api

    def readiness(self, base: str) -> Found:
        """What a service says of itself now."""
        status, body = self._client.ask(base, "GET", "/readyz", b"", {})
        found = codec.from_json(body, Found)
        assert (status == 200) == isinstance(found.status, str)
        return found

    def await_ready(self) -> None:
        """Return when nothing fails."""
        for base in (self.ingest, self.trace):
            self.await_failing(base)

    def await_failing(self, base: str, *names: CheckName) -> Found:
        """What the service says once just these checks fail."""

        def found() -> Found | None:
            answer = self.readiness(base)
            return answer if {check.name for check in answer.checks if not check.ok} == set(names) else None

        return until(found, WAIT_SECONDS_MAX)


def is_unready(found: Found, kind: problems.Kind) -> bool:
    """Whether the service answers with this problem."""
    return (found.status, found.type) == (kind.status, PROBLEM_TYPE_BASE + kind.name)


# A service with a ClickHouse of its own


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseHttp]:
    with ClickHouseHttp(tmp_path_factory.mktemp("clickhouse") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, clickhouse: ClickHouseHttp) -> Iterator[System]:
    small = {
        "TRUYVET_STREAM_BYTES_MAX": str(STREAM_BYTES_MAX),
        "TRUYVET_DEVICE_REQUESTS_PER_SECOND": str(REQUESTS_PER_SECOND),
    }
    directory = tmp_path_factory.mktemp("full")
    with System(directory, TRUYVET_CLICKHOUSE_URL=clickhouse.url, **small) as running:
        yield running


@pytest.fixture(scope="module")
def store(system: System, clickhouse: ClickHouseHttp) -> Iterator[Store]:
    store = Store(clickhouse.url, database=system.settings.clickhouse_database)
    yield store
    store.close()


@pytest.fixture
def ask(system: System) -> Ask:
    asks = Ask(system)
    asks.await_ready()
    return asks


@contextlib.contextmanager
def hung(system: System) -> Iterator[None]:
    """The stream's server takes connections and answers nothing."""
    pid = system.embedded.pids["valkey"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def deliveries(store: Store, gate: Gate) -> dict[int, int]:
    """How often the log has each seq of the gate."""
    sql = "SELECT seq, count() FROM log WHERE device = {device:UInt32} GROUP BY seq"
    return {row[0]: row[1] for row in store.rows(sql, {"device": gate.device})}


def doctor(system: System) -> dict[str, Finding]:
    """What `truyvet doctor` finds, by part."""
    return {finding.part: finding for finding in checks(system.settings)}


def test_clickhouse_slow_then_away_then_back(
    system: System, store: Store, clickhouse: ClickHouseHttp, ask: Ask
) -> None:
    gate = Gate(system, "away")
    clickhouse.slow_down(SLOW_SECONDS)
    gate.send()
    slow = ask.await_failing(ask.trace, CheckName.STORE)
    assert is_unready(slow, problems.STORE_DOWN)
    assert isinstance(ask.readiness(ask.ingest).status, str)
    clickhouse.kill()
    refusal = gate.send_until_refused(problems.STREAM_FULL)
    assert refusal.retry_after_seconds == problems.STREAM_FULL.retry_after_seconds
    full = ask.await_failing(ask.ingest, CheckName.STREAM_ROOM, CheckName.SINK)
    assert is_unready(full, problems.STREAM_FULL)
    assert doctor(system)["ingest"].state == "bad"
    assert is_unready(ask.await_failing(ask.trace, CheckName.STORE), problems.STORE_DOWN)
    clickhouse.slow_down(0)
    clickhouse.start()
    gate.send()
    ask.await_ready()
    assert doctor(system)["ingest"].state == "good"
    system.await_log()
    assert deliveries(store, gate) == gate.once


def test_poison_is_put_aside_and_nothing_waits_for_it(system: System, store: Store, ask: Ask) -> None:
    gate = Gate(system, "poison")
    poison = [(b"e", b"no entry"), (b"x", b""), (b"e", os.urandom(100_000))]
    entries = [cast(bytes, system.redis.xadd(ONLY.scans, {field: payload})) for field, payload in poison]
    gate.send()
    system.await_log()
    assert deliveries(store, gate) == gate.once
    found = {row[0]: bytes.fromhex(row[1]) for row in store.rows("SELECT entry, hex(payload) FROM poison")}
    assert found == {f"0/{entry.decode()}": payload for entry, (_, payload) in zip(entries, poison, strict=True)}
    ask.await_ready()


def test_the_streams_server_out_of_memory(system: System, store: Store, clickhouse: ClickHouseHttp, ask: Ask) -> None:
    gate = Gate(system, "memory")
    clickhouse.kill()
    gate.send()
    system.redis.config_set("maxmemory", 1)
    gate.send_until_refused(problems.STREAM_FULL)
    found = ask.await_failing(ask.ingest, CheckName.STREAM_MEMORY)
    assert is_unready(found, problems.STREAM_OUT_OF_MEMORY)
    assert CheckName.STREAM_MEMORY in {check.name for check in ask.readiness(ask.trace).checks if not check.ok}
    # The sink works the stream off all the same: it is what frees memory.
    clickhouse.start()
    until(lambda: system.redis.xlen(ONLY.scans) == 0, WAIT_SECONDS_MAX)
    assert deliveries(store, gate) == gate.once
    system.redis.config_set("maxmemory", system.settings.valkey_memory_bytes_max)
    gate.send()
    ask.await_ready()
    system.await_log()
    assert deliveries(store, gate) == gate.once


def test_the_streams_server_takes_no_writes_for_its_disk(system: System, store: Store, ask: Ask) -> None:
    gate = Gate(system, "misconf")
    # A snapshot that cannot be put into its place, although snapshots are asked for: MISCONF.
    obstacle = system.settings.valkey_dir / "dump.rdb"
    obstacle.mkdir()
    system.redis.config_set("save", "3600 1")
    system.redis.bgsave()
    until(lambda: system.redis.info("persistence")["rdb_last_bgsave_status"] == "err", WAIT_SECONDS_MAX)
    gate.send_until_refused(problems.STREAM_DOWN)
    assert is_unready(ask.await_failing(ask.ingest, CheckName.STREAM_DISK), problems.STREAM_UNWRITABLE)
    obstacle.rmdir()
    system.redis.bgsave()
    gate.send()
    system.redis.config_set("save", "")
    ask.await_ready()
    system.await_log()
    assert deliveries(store, gate) == gate.once


def test_a_streams_server_that_hangs(system: System, store: Store, ask: Ask) -> None:
    gate = Gate(system, "hanging")
    with hung(system):
        refusal = gate.try_to_send()
        found = ask.await_failing(ask.ingest, CheckName.STREAM)
    assert isinstance(refusal, Problem)
    assert (refusal.type, refusal.status) == (PROBLEM_TYPE_BASE + problems.STREAM_DOWN.name, 503)
    assert is_unready(found, problems.STREAM_DOWN)
    gate.send()
    gate.send()
    ask.await_ready()
    system.await_log()
    # The refused batch may have been taken while nobody waited for it any more; then its second delivery is known
    # as such, and counts for nothing.
    assert deliveries(store, gate).keys() == gate.once.keys()
    sql = "SELECT seq, count() FROM scans_by_subject FINAL WHERE device = {device:UInt32} GROUP BY seq"
    assert {row[0]: row[1] for row in store.rows(sql, {"device": gate.device})} == gate.once


def test_a_device_beyond_its_rate_harms_no_other(system: System, store: Store, ask: Ask) -> None:
    eager, calm = (Gate(system, name, batch_scans=1) for name in ("eager", "calm"))
    refusal = eager.send_until_refused(problems.RATE_EXCEEDED)
    assert eager.acknowledged >= REQUESTS_PER_SECOND * EdgeLimits().device_burst_seconds
    assert refusal.retry_after_seconds == 1
    # Nor can anybody use up another's rate by signing in its name.
    forged = calm.signed(b"{}")
    for _ in range(eager.acknowledged):
        answer = calm.post(forged, b"[]")
        assert isinstance(answer, Problem)
        assert answer.type == PROBLEM_TYPE_BASE + problems.DIGEST_MISMATCH.name
    assert isinstance(calm.try_to_send(), Receipt)
    assert isinstance(ask.readiness(ask.ingest).status, str)
    eager.send()
    system.await_log()
    assert deliveries(store, eager) == eager.once


def test_a_missing_key_file_is_told_before_it_is_needed(system: System, ask: Ask) -> None:
    path = system.settings.keys_path
    aside = path.rename(path.with_name("aside"))
    for base in (ask.ingest, ask.trace):
        assert ask.await_failing(base, CheckName.KEYS).status == "degraded"
    assert doctor(system)["ingest"].state == "warning"
    aside.rename(path)
    ask.await_ready()


class Uploads:
    """Clients that have sent all of a large good request but its last byte, over a connection each."""

    def __init__(self, system: System, gates: int) -> None:
        self._requests = [self._request(Gate(system, f"upload-{number}", batch_scans=1)) for number in range(gates)]
        self._address = ("127.0.0.1", system.settings.ingest_port)
        self._sockets: list[socket.socket] = []

    def start(self, clients: int) -> None:
        """Send all but the last bytes."""
        for number in range(clients):
            connection = socket.create_connection(self._address, ANSWER_SECONDS_MAX)
            self._sockets.append(connection)
            with contextlib.suppress(OSError):  # refused before it was through
                connection.sendall(self._requests[number % len(self._requests)][:-1])

    @staticmethod
    def _request(gate: Gate) -> bytes:
        body = codec.to_json(ScanBatch(gate.scans(BATCH_SCANS_MAX)))
        body += b" " * (EdgeLimits().body_bytes_max - len(body))
        fields = gate.signed(body) | {"Host": "edge", "Content-Length": str(len(body)), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST /v1/scans HTTP/1.1\r\n{head}\r\n".encode() + body

    def finish(self) -> None:
        """Send the last bytes, and read every answer to its end."""
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.sendall(b" ")
        for connection in self._sockets:
            with connection, contextlib.suppress(ConnectionError):
                while connection.recv(65_536):
                    pass


def resident_bytes(pid: int, *, most: bool = False) -> int:
    """The memory of a process that is in use, now or at the most so far."""
    field = "VmHWM" if most else "VmRSS"
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def test_what_waits_for_a_hung_stream_is_bounded(system: System, ask: Ask) -> None:
    bound = ConnectionLimits().held_bytes_max + WAITING_BYTES_MAX + MARGIN_BYTES
    assert CLIENTS * EdgeLimits().body_bytes_max > bound - MARGIN_BYTES
    uploads = Uploads(system, gates=8)
    worker = system.embedded.pids["ingest-1"]
    before = resident_bytes(worker)
    with hung(system):
        uploads.start(CLIENTS)
        uploads.finish()
    assert resident_bytes(worker, most=True) - before < bound
    ask.await_ready()
    Gate(system, "after").send()


# Full disks


class SmallDisk:
    """A file system in memory, of a size that can be changed."""

    def __init__(self, directory: Path, megabytes: int) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        if not self._mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"):
            pytest.skip("a file system of a small size can be mounted by root alone")

    def grow(self, megabytes: int) -> None:
        """Make room."""
        assert self._mount("-o", f"remount,size={megabytes}m")

    def unmount(self) -> None:
        """Take it away again, with what is in it."""
        subprocess.run(["umount", "--lazy", self._directory], check=True)

    def _mount(self, *arguments: str) -> bool:
        return subprocess.run(["mount", *arguments, self._directory], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("part", "megabytes", "stream_bytes_max", "kind"),
    [
        ("valkey", 16, 500_000_000, problems.STREAM_DOWN),
        ("clickhouse", 16, 10_000_000, problems.STREAM_FULL),
        ("", 32, 500_000_000, problems.STREAM_DOWN),
    ],
    ids=["stream", "store", "everything"],
)
def test_a_full_disk_loses_nothing(
    tmp_path: Path, part: str, megabytes: int, stream_bytes_max: int, kind: problems.Kind
) -> None:
    disk = SmallDisk(tmp_path / "data" / part, megabytes)
    try:
        with System(tmp_path / "data", TRUYVET_STREAM_BYTES_MAX=str(stream_bytes_max)) as system:
            gate, ask = Gate(system, "full"), Ask(system)
            gate.send_until_refused(kind)
            found = ask.readiness(ask.ingest)
            assert is_unready(found, kind)
            assert CheckName.DISK in {check.name for check in found.checks if not check.ok}
            disk.grow(10 * megabytes)
            gate.send()
            system.await_log()
        log = rows_of(system.settings, "SELECT seq, count() FROM log GROUP BY seq")
        assert dict(log) == gate.once
    finally:
        disk.unmount()
