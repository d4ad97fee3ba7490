"""The scanners in docs/scanners, as an integrator runs them: against the edge, offline, and refused."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from events.scans import KIND_NUMBER, Kind, Scan
from tests.docs import edge
from tests.ingest.scene import AN, HOUR, Scene, person_code, private_key
from tests.journey.driver import System

SCANNERS = Path(__file__).parents[2] / "docs" / "scanners"
BINH = bytes(range(16, 32))
RUN_SECONDS_MAX = 60


def has_tools(script: str) -> bool:
    """Whether this machine has what the script says that it needs."""
    if script.endswith(".mjs"):
        node = shutil.which("node")
        return node is not None and _version([node, "--version"]) >= (20, 10)
    tools = [shutil.which(tool) for tool in ("bash", "curl", "openssl")]
    return all(tools) and _version(["openssl", "version"]) >= (3, 0) and _version(["bash", "--version"]) >= (5, 0)


def _version(command: list[str]) -> tuple[int, ...]:
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = next(word for word in text.replace(",", " ").split() if word.lstrip("v")[:1].isdigit())
    return tuple(int(part) for part in found.lstrip("v").split(".")[:2])


class Scanner:
    """One script with a queue and a key of its own."""

    def __init__(self, script: str, directory: Path) -> None:
        self.script = SCANNERS / script
        self.queue = directory / "queue"
        self.socket = edge.bound()
        key = private_key("door").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / "device.pem").write_bytes(key)
        self.environment = {
            "PATH": os.environ["PATH"],
            "SCANNER_KEY": str(directory / "device.pem"),
            "SCANNER_KEYID": "door.1",
            "SCANNER_URL": f"http://127.0.0.1:{self.socket.getsockname()[1]}",
            "SCANNER_QUEUE": str(self.queue),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.script, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )

    def waiting(self) -> int:
        return len(list(self.queue.glob("*.scan")))


@pytest.fixture(params=["scan.sh", "scan.mjs"])
def scanner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scanner]:
    if not has_tools(request.param):
        pytest.skip(f"{request.param} needs tools that are not here")
    scanner = Scanner(request.param, tmp_path)
    yield scanner
    scanner.socket.close()


def code_of(subject: bytes, *, expired: bool = False) -> str:
    now = time.time_ns() // 1_000_000
    return person_code(subject, issued=now - 2 * HOUR, expires=now - HOUR if expired else now + HOUR)


def test_scans_arrive_with_a_receipt(scanner: Scanner, redis_url: str, valkey: "redis.Redis") -> None:
    with edge.serving(Scene(), redis_url, scanner.socket):
        first = scanner.run("in", code_of(AN))
        second = scanner.run("out", code_of(BINH))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    receipts = [json.loads(done.stdout) for done in (first, second)]
    assert [(receipt["accepted"], receipt["next_seq"], receipt["verdicts"]) for receipt in receipts] == [
        (1, 2, []),
        (1, 3, []),
    ]
    assert edge.published(valkey) == [(1, AN, KIND_NUMBER[Kind.IN]), (2, BINH, KIND_NUMBER[Kind.OUT])]
    assert scanner.waiting() == 0


def test_an_outage_loses_nothing(scanner: Scanner, redis_url: str, valkey: "redis.Redis") -> None:
    for number in range(3):
        offline = scanner.run("pass", code_of(AN))
        assert offline.returncode == 75
        assert scanner.waiting() == number + 1
    with edge.serving(Scene(), redis_url, scanner.socket):
        online = scanner.run()
        idle = scanner.run()
    assert online.returncode == 0, online.stderr
    assert json.loads(online.stdout)["accepted"] == 3
    assert (idle.returncode, idle.stdout) == (0, "")
    assert [seq for seq, _, _ in edge.published(valkey)] == [1, 2, 3]
    assert scanner.waiting() == 0


def test_a_lost_queue_loses_no_scan(scanner: Scanner, redis_url: str, valkey: "redis.Redis") -> None:
    """The directory was deleted, so numbers repeat: "duplicate" is then no answer for the new scans."""
    with edge.serving(Scene(), redis_url, scanner.socket):
        for _ in range(3):
            scanner.run("in", code_of(AN))
        shutil.rmtree(scanner.queue)
        lost = scanner.run("out", code_of(BINH))
        after = scanner.run("in", code_of(BINH))
    assert (lost.returncode, after.returncode) == (0, 0), lost.stderr + after.stderr
    taken = {seq: (who, kind) for seq, who, kind in edge.published(valkey)}
    assert taken[4] == (BINH, KIND_NUMBER[Kind.OUT])
    assert taken[5] == (BINH, KIND_NUMBER[Kind.IN])
    assert scanner.waiting() == 0


def test_a_queue_lost_in_an_outage_loses_no_scan(scanner: Scanner, redis_url: str, valkey: "redis.Redis") -> None:
    with edge.serving(Scene(), redis_url, scanner.socket):
        for _ in range(3):
            scanner.run("in", code_of(AN))
    shutil.rmtree(scanner.queue)
    scanner.socket = edge.bound()
    port = scanner.socket.getsockname()[1]
    scanner.environment["SCANNER_URL"] = f"http://127.0.0.1:{port}"
    for _ in range(5):
        assert scanner.run("pass", code_of(BINH)).returncode == 75
    with edge.serving(Scene(), redis_url, scanner.socket):
        online = scanner.run()
    assert online.returncode == 0, online.stderr
    # 1 to 3 were taken before; those scans come again as 6 to 8.
    assert {seq for seq, who, _ in edge.published(valkey) if who == BINH and seq > 3} == {4, 5, 6, 7, 8}
    assert scanner.waiting() == 0


def test_a_refused_scan_is_answered_for(scanner: Scanner, redis_url: str, valkey: "redis.Redis") -> None:
    with edge.serving(Scene(), redis_url, scanner.socket):
        refused = scanner.run("in", code_of(AN, expired=True))
        taken = scanner.run("in", code_of(AN))
    assert refused.returncode == 0
    assert [verdict["verdict"] for verdict in json.loads(refused.stdout)["verdicts"]] == ["expired_code"]
    assert json.loads(taken.stdout)["accepted"] == 1
    assert [seq for seq, _, _ in edge.published(valkey)] == [2]
    assert scanner.waiting() == 0


def test_scans_wait_while_the_stream_is_down(scanner: Scanner, redis_url: str) -> None:
    nobody = edge.bound()
    down = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
    with edge.serving(Scene(), down, scanner.socket):
        refused = scanner.run("in", code_of(AN))
    nobody.close()
    assert refused.returncode == 75
    assert "503" in refused.stderr
    assert scanner.waiting() == 1


def test_an_unknown_key_needs_somebody(scanner: Scanner, redis_url: str) -> None:
    scanner.environment["SCANNER_KEYID"] = "door.2"
    with edge.serving(Scene(), redis_url, scanner.socket):
        refused = scanner.run("in", code_of(AN))
    assert refused.returncode == 1
    assert "key-unknown" in refused.stderr
    assert scanner.waiting() == 1


def test_nonsense_is_not_kept(scanner: Scanner) -> None:
    assert scanner.run("inn", "TV1.x").returncode == 64
    assert scanner.run("in").returncode == 64
    assert scanner.waiting() == 0


def test_without_a_keyid_nothing_is_kept_and_said(scanner: Scanner) -> None:
    del scanner.environment["SCANNER_KEYID"]
    refused = scanner.run("in", code_of(AN))
    assert refused.returncode == 64
    assert "SCANNER_KEYID" in refused.stderr
    assert not scanner.queue.exists()


def test_a_missing_key_file_loses_no_scan(scanner: Scanner) -> None:
    scanner.environment["SCANNER_KEY"] = str(scanner.queue / "nowhere.pem")
    refused = scanner.run("in", code_of(AN))
    assert refused.returncode == 1
    assert "nowhere.pem" in refused.stderr
    assert scanner.waiting() == 1


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole service: it takes the log to say what is missing in it."""
    with System(tmp_path_factory.mktemp("system")) as running:
        yield running


def test_a_device_asks_what_is_missing(scanner: Scanner, system: System) -> None:
    now = time.time_ns() // 1_000_000
    device = system.scanner(f"gate-{scanner.script.suffix[1:]}")
    code = system.code(AN, now - HOUR, now + HOUR)
    system.client.post(*device.request([Scan(seq, now, Kind.IN, code=code) for seq in (2, 3, 6)]))
    pem = device.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    Path(scanner.environment["SCANNER_KEY"]).write_bytes(pem)
    scanner.environment |= {"SCANNER_KEYID": f"{device.device.id}.1", "SCANNER_LOG_URL": system.settings.api}
    told = scanner.run("missing")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["missing"] == [{"first": 1, "last": 1}, {"first": 4, "last": 5}]
    assert (answer["next_seq"], answer["seen_to"]) == (1, 6)
    assert scanner.waiting() == 0
    scanner.environment["SCANNER_KEYID"] = "nobody.1"
    refused = scanner.run("missing")
    assert refused.returncode == 75
    assert "key-unknown" in refused.stdout + refused.stderr
