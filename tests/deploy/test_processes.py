"""Every process of docker-compose.yml, with the arguments and variables that the file gives it: a scan becomes a trace.

Containers are the one thing left out: names of hosts become loopback ports, volumes directories of the test.
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.key_file import load
from app.ports import free_ports
from events import codec
from events.scans import SEQUENCE_PATH, Kind, Scan, ScanBatch
from keys.codes import issue_person_code
from keys.http_signatures import sign_question, sign_request
from storage.audit_stream import AuditStream
from storage.valkey import server_binary
from tests.deploy import compose, grants
from tests.deploy.door import NGINX, Door
from tests.support.clickhouse_http import ClickHouseHttp

READY_SECONDS_MAX: Final = 120.0
STOP_SECONDS_MAX: Final = 60.0
RUN_SECONDS_MAX: Final = 120.0
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
AN, BINH = bytes(range(16)), bytes(range(16, 32))
LONG_RUNNING: Final = ("ingest", "sink", "project", "trace")
PORTS: Final = ("valkey", *LONG_RUNNING)


class Deployment:
    """The compose file's processes and real servers behind them."""

    def __init__(self, directory: Path) -> None:
        self.directory: Final = directory
        self.deploy: Final = compose.with_secrets(directory)
        self.services: Final = compose.processes()
        self.ports: Final = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.statements: Final = directory / "statements.jsonl"
        self.clickhouse: Final = self._clickhouse()
        self.running: Final[dict[str, subprocess.Popen[bytes]]] = {}
        self._valkey: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.clickhouse.start()
        self._start_valkey()
        migrated = self.run("migrate")
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        for name in LONG_RUNNING:
            self.running[name] = self._process(name, self.services[name]["command"])
        for name in LONG_RUNNING:
            self.await_healthy(name)

    def stop(self) -> dict[str, int]:
        """Exit codes of the processes, told to stop as Docker tells them."""
        for process in self.running.values():
            process.terminate()
        codes = {name: process.wait(STOP_SECONDS_MAX) for name, process in self.running.items()}
        self.running.clear()
        if self._valkey is not None:
            self._valkey.terminate()
            self._valkey.wait(STOP_SECONDS_MAX)
            self._valkey = None
        self.clickhouse.stop()
        return codes

    def run(self, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a service to its end: its own command, or another as `docker compose run` does."""
        return subprocess.run(
            self._command(list(arguments) or self.services[service]["command"]),
            env=self._environment(service),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )

    def await_healthy(self, service: str) -> None:
        """Return once the service's own health check says so."""
        check = [self._moved(part) for part in self.services[service]["healthcheck"]["test"][1:]]
        check[0] = sys.executable
        deadline = time.monotonic() + READY_SECONDS_MAX
        while subprocess.run(check, capture_output=True, check=False).returncode != 0:
            assert self.running[service].poll() is None, f"{service} ended: {self.log(service)}"
            assert time.monotonic() < deadline, f"{service} is not healthy: {self.log(service)} {self.denied()}"
            time.sleep(0.1)

    def log(self, service: str) -> str:
        return (self.directory / f"{service}.log").read_text(encoding="utf-8")

    def denied(self) -> list[Any]:
        """What the stream's server refused to the deployment's users, asked by a user of the test's own."""
        with redis.Redis(port=self.ports["valkey"], username="test", password="test") as client:
            return [entry for entry in client.acl_log() if entry["username"] != "default"]

    def _start_valkey(self) -> None:
        acl = self.deploy / "secrets" / "users.acl"
        with acl.open("a", encoding="utf-8") as file:
            file.write("user test on >test ~* &* +@all\n")
        data = self.directory / "stream"
        data.mkdir()
        configuration = self.deploy / "valkey" / "valkey.conf"
        text = configuration.read_text(encoding="utf-8")
        for inside, here in (("\ndir /data\n", f"\ndir {data}\n"), ("/run/secrets/valkey-users", str(acl))):
            assert inside in text
            text = text.replace(inside, here)
        configuration.write_text(text, encoding="utf-8")
        address = ["--port", str(self.ports["valkey"]), "--bind", "127.0.0.1"]
        self._valkey = subprocess.Popen([str(server_binary()), str(configuration), *address], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._valkey_answers():
            assert self._valkey.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _valkey_answers(self) -> bool:
        """As the container's health check asks: nobody in particular, who may ping and nothing else."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports["valkey"]), timeout=5) as connection:
                connection.sendall(b"PING\r\nKEYS *\r\n")
                answer = connection.makefile("rb")
                return answer.readline() == b"+PONG\r\n" and answer.readline().startswith(b"-NOPERM")
        except OSError:
            return False

    def _clickhouse(self) -> ClickHouseHttp:
        users = {}
        for name in ("admin", "sink", "project", "trace"):
            url = urlsplit(compose.environment(self.services[name], self.deploy)["TRUYVET_CLICKHOUSE_URL"])
            assert (url.username, url.hostname, url.port) == (name, "clickhouse", 8123)
            users[name] = url.password or ""
        path = self.directory / "clickhouse"
        admin = users.pop("admin")
        return ClickHouseHttp(path, user="admin", password=admin, others=users, statements=self.statements)

    def another(self, service: str, name: str) -> subprocess.Popen[bytes]:
        """One more of a service, on the same addresses; its log is under `name`."""
        return self._process(service, self.services[service]["command"], name)

    def _process(self, service: str, arguments: list[str], name: str = "") -> subprocess.Popen[bytes]:
        with (self.directory / f"{name or service}.log").open("wb") as log:
            return subprocess.Popen(
                self._command(arguments),
                env=self._environment(service),
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @staticmethod
    def _command(arguments: list[str]) -> list[str]:
        return [sys.executable, "-m", "app.cli", *arguments]

    def _environment(self, service: str) -> dict[str, str]:
        given = compose.environment(self.services[service], self.deploy)
        run = self.directory / "run" / service
        run.mkdir(parents=True, exist_ok=True)
        ports = {f"TRUYVET_{name.upper()}_PORT": str(self.ports[name]) for name in LONG_RUNNING}
        path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(compose.ROOT)}
        moved = {name: self._moved(value).replace("/run/truyvet", str(run)) for name, value in given.items()}
        return path | ports | moved

    def _moved(self, text: str) -> str:
        for name, here in {
            "valkey:6379": f"127.0.0.1:{self.ports['valkey']}",
            "clickhouse:8123": f"127.0.0.1:{self.clickhouse.port}",
            "0.0.0.0": "127.0.0.1",
            "ingest:8470": f"127.0.0.1:{self.ports['ingest']}",
            "trace:8471": f"127.0.0.1:{self.ports['trace']}",
            "127.0.0.1:8470": f"127.0.0.1:{self.ports['ingest']}",
            "127.0.0.1:8471": f"127.0.0.1:{self.ports['trace']}",
            "127.0.0.1:8473": f"127.0.0.1:{self.ports['sink']}",
            "127.0.0.1:8474": f"127.0.0.1:{self.ports['project']}",
            "/keys/": f"{self.directory}/keys/",
            "/people/": f"{self.directory}/people/",
        }.items():
            text = text.replace(name, here)
        return text


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("server"))
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


def ask(port: int, method: str, path: str, headers: dict[str, str], body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(params=["direct", "nginx"])
def ports(request: pytest.FixtureRequest, deployment: Deployment, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Where scans and questions go: to the processes, or both to the proxy in front of them."""
    ingest, trace = deployment.ports["ingest"], deployment.ports["trace"]
    if request.param == "direct":
        yield ingest, trace
        return
    if NGINX is None:
        pytest.skip("nginx is not installed here (Debian: apt-get install nginx)")
    door = Door(tmp_path / "door", ingest_port=ingest, trace_port=trace)
    door.start()
    yield door.port, door.port
    door.stop()


def test_a_scan_becomes_a_trace(deployment: Deployment, ports: tuple[int, int], request: pytest.FixtureRequest) -> None:
    ingest, trace = ports
    name = f"mall-{request.node.callspec.params['ports']}"
    made = deployment.run("admin", "token", "create", "CDC desk 1", "--role", "admin")
    assert made.returncode == 0, made.stderr
    token = {"Authorization": f"Bearer {made.stdout.strip()}", "Content-Type": "application/json"}
    status, answer = ask(trace, "POST", "/v1/places", token, {"id": name, "name": "Mall", "category": "mall"})
    assert status == 201, answer
    key = Ed25519PrivateKey.generate()
    device = {
        "id": name,
        "place": name,
        "public": codec.from_json(codec.to_json(key.public_key().public_bytes_raw()), str),
    }
    status, answer = ask(trace, "POST", "/v1/devices", token, device)
    assert status == 201, answer
    assert answer["keys"][0]["keyid"] == f"{name}.1"

    secrets = load(deployment.directory / "keys" / "keys.json")
    now = time.time_ns() // 1_000_000
    salt = name.encode()[-1]
    people = [bytes([salt]) + AN[1:], bytes([salt]) + BINH[1:]]
    codes = [
        issue_person_code(
            secrets, subject, vehicle=False, issued=now - HOUR_MS, expires=now + HOUR_MS, nonce=os.urandom(12)
        )
        for subject in people
    ]
    scans = [
        Scan(1, now - 50 * MINUTE_MS, Kind.IN, code=codes[0]),
        Scan(2, now - 40 * MINUTE_MS, Kind.IN, code=codes[1]),
        Scan(3, now - 20 * MINUTE_MS, Kind.OUT, code=codes[0]),
        Scan(4, now - 10 * MINUTE_MS, Kind.OUT, code=codes[1]),
    ]
    receipt = send(ingest, key, f"{name}.1", scans)
    assert (receipt["accepted"], receipt["verdicts"], receipt["next_seq"]) == (4, [], 5)

    purpose = "Tracing a confirmed case"
    case = {"id": name, "subject": people[0].hex(), "confirmed_at": now, "purpose": purpose}
    status, answer = ask(trace, "POST", "/v1/cases", token, case)
    assert status == 201, answer
    question = {"index": {"cases": [name]}, "min_seconds": 600, "purpose": purpose}
    status, answer = ask(trace, "POST", "/v1/traces", token, question)
    assert status == 200, answer
    (contact,) = answer["contacts"]
    assert (contact["subject"], contact["ms"]) == (people[1].hex(), 20 * MINUTE_MS)
    status, answer = ask(trace, "GET", f"/v1/devices/{name}/gaps", token)
    assert (status, answer["seen_to"], answer["missing"]) == (200, 4, 0), answer
    status, answer = ask(trace, "GET", "/v1/gaps", token)
    assert (status, answer["missing"]) == (200, 0), answer
    signed = sign_question(key, f"{name}.1", path=SEQUENCE_PATH, created=int(time.time()))
    status, answer = ask(trace, "GET", SEQUENCE_PATH, signed)
    assert (status, answer["settled"], answer["missing"]) == (200, True, []), answer


def test_a_name_is_seen_and_the_record_of_it_is_copied_and_holds(deployment: Deployment) -> None:
    """Comes after a trace was asked for."""
    port = deployment.ports["trace"]
    made = deployment.run("admin", "token", "create", "CDC desk 2", "--role", "admin")
    token = {"Authorization": f"Bearer {made.stdout.strip()}", "Content-Type": "application/json"}
    purpose = "Calling the contacts"
    status, listed = ask(port, "GET", "/v1/traces?limit=1", token)
    assert status == 200, listed
    path = f"/v1/traces/{listed['items'][0]['id']}"
    status, trace = ask(port, "GET", path, token | {"Truyvet-Purpose": purpose})
    assert status == 200, trace
    subject = trace["contacts"][0]["subject"]
    names = {"csv": f"name,subject\nBinh,{subject}\n", "purpose": purpose}
    status, answer = ask(port, "POST", "/v1/people/import", token, names)
    assert (status, answer["new"]) == (200, 1), answer
    status, answer = ask(port, "POST", f"{path}/reveal", token, {"subjects": [subject], "purpose": purpose})
    assert (status, answer["people"][0]["person"]["name"]) == (200, "Binh"), answer
    status, answer = ask(port, "POST", "/v1/people/access-log", token, {"subject": subject, "purpose": purpose})
    assert (status, answer["items"][0]["action"]) == (200, "person-revealed"), answer
    status, answer = ask(
        port, "POST", "/v1/people/erase", token, {"subject": subject, "confirm": True, "purpose": purpose}
    )
    assert (status, answer) == (200, {"erased": True}), answer
    assert (deployment.directory / "people" / "keys.sqlite").exists()
    deadline = time.monotonic() + READY_SECONDS_MAX
    with redis.Redis(port=deployment.ports["valkey"], username="test", password="test") as client:
        while AuditStream(client).waits() != (0, 0):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    status, answer = ask(port, "POST", "/v1/audit/verify", token, {"answers": True})
    assert (status, answer["done"], answer["broken"]) == (200, True, None), answer
    assert answer["answers"] > 0


def send(port: int, key: Ed25519PrivateKey, keyid: str, scans: list[Scan]) -> dict[str, Any]:
    """Send until the worker has heard of the device, which takes it a moment."""
    body = codec.to_json(ScanBatch(scans))
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        headers = sign_request(
            key,
            keyid,
            method="POST",
            path="/v1/scans",
            content_type="application/json",
            body=body,
            created=int(time.time()),
        )
        status, answer = ask(port, "POST", "/v1/scans", headers, body)
        if status == 202:
            return dict(answer)
        assert answer["type"].endswith("/key-unknown"), answer
        assert time.monotonic() < deadline
        time.sleep(0.05)


def fetch(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("ingest", "truyvet_ingest_requests_total"),
        ("sink", "truyvet_sink_range_rows_sum"),
        ("project", "truyvet_projector_span_rows_sum"),
        ("trace", "truyvet_log_rows"),
    ],
)
def test_each_process_says_how_it_is(deployment: Deployment, name: str, counts: str) -> None:
    port = deployment.ports[name]
    status, text = fetch(port, "/readyz")
    assert status == 200, text
    checks = {check["name"]: check["ok"] for check in json.loads(text)["checks"]}
    assert checks["stream"]
    assert checks.get("store", True)
    status, text = fetch(port, "/metrics")
    assert status == 200
    assert f'truyvet_ready{{process="{name}",reason="ready"}} 1.0' in text
    assert f'truyvet_check_ok{{check="stream",process="{name}"}} 1.0' in text
    assert re.search(rf"^{counts}(?:{{.*}})? [1-9]", text, re.MULTILINE)


def test_a_sink_whose_port_is_taken_works_unseen(deployment: Deployment) -> None:
    second = deployment.another("sink", "sink-2")
    try:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not re.search("stands by|works on partition", deployment.log("sink-2")):
            assert second.poll() is None, deployment.log("sink-2")
            assert time.monotonic() < deadline, deployment.log("sink-2")
            time.sleep(0.1)
        assert "nobody can ask this process for its health and metrics" in deployment.log("sink-2")
    finally:
        second.terminate()
        assert second.wait(STOP_SECONDS_MAX) == 0


def test_commands_of_the_operator(deployment: Deployment) -> None:
    for arguments in (["settings"], ["place", "list"], ["device", "list"], ["keys", "public"], ["rebuild"], ["doctor"]):
        done = deployment.run("admin", *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        assert deployment.clickhouse.password not in done.stdout


def test_processes_need_no_more_than_they_are_granted(deployment: Deployment) -> None:
    """Comes after the others: it looks at what they have made the processes do."""
    assert deployment.denied() == []
    users_xml = deployment.deploy / "clickhouse" / "users.xml"
    said = [json.loads(line) for line in deployment.statements.read_text(encoding="utf-8").splitlines()]
    assert {statement["user"] for statement in said} == {"admin", "sink", "project", "trace"}
    privileges = {user: grants.granted(users_xml, user) for user in ("admin", "sink", "project", "trace")}
    lacking = {
        (statement["user"], *need)
        for statement in said
        for need in grants.lacking(statement["sql"], privileges[statement["user"]])
    }
    assert lacking == set()


def test_logs_name_nobody(deployment: Deployment) -> None:
    for service in LONG_RUNNING:
        log = deployment.log(service)
        for person in (AN, BINH):
            assert person.hex()[2:] not in log
        assert "Traceback" not in log


def test_they_stop_in_good_order(deployment: Deployment) -> None:
    """Last: nothing is left running."""
    assert deployment.stop() == dict.fromkeys(LONG_RUNNING, 0)


def test_what_a_statement_needs() -> None:
    everything = {("SELECT", "log"), ("INSERT", "scans_by_subject_new")}
    assert grants.needed("INSERT INTO scans_by_subject_new (a) SELECT a FROM log WHERE b = 'FROM x'") == everything
    assert grants.needed("WITH l AS (SELECT 1 FROM log) SELECT * FROM l JOIN refused ON 1") == {
        ("SELECT", "log"),
        ("SELECT", "refused"),
    }
    assert grants.needed("SELECT name FROM system.settings") == set()
    assert grants.lacking("INSERT INTO log", [("SELECT", "*"), ("INSERT", "lo_")]) == {("INSERT", "log")}
    assert grants.lacking("DROP TABLE IF EXISTS scans_by_x SYNC", [("DROP TABLE", "scans_by_*")]) == set()
    with pytest.raises(AssertionError):
        grants.needed("TRUNCATE log")
