"""The audit against a real service: what is right passes, what was tampered with is found."""

import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from app.clock import now_ms
from app.ports import free_port, on_free_ports
from app.settings import Settings
from app.supervisor import Embedded
from events.places import Category
from events.scans import SCANS_PATH, How, Kind, Scan
from loadtests.load import audit
from loadtests.load.api import ApiFailed, OperatorApi
from loadtests.load.audit import UNTOLD, WRONG, Audit
from loadtests.load.cast import Cast, load_cast
from loadtests.load.delivery import (
    NO_ANSWER,
    SIGN_ANEW_SECONDS,
    Answer,
    Delivered,
    Fate,
    LoadDevice,
    NeverTaken,
    SignedRequest,
    deliver,
    fate_of,
)
from loadtests.load.ledger import Attested, Ledger, Ledgers
from loadtests.load.reconcile import Wrong

PLACE = "load-door-1"
WAIT_SECONDS = 60.0

Send = Callable[[SignedRequest], Answer]

TAMPER = """
import sys
from storage.clickhouse import Store
store = Store(sys.argv[1], database=sys.argv[2])
for statement in sys.argv[3:]:
    store.command(statement)
store.close()
"""


class Service:
    """A running service, and a desk to enrol at."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings.from_environment(
            {"TRUYVET_DATA_DIR": str(directory), "TRUYVET_LOG_LEVEL": "warning"} | on_free_ports()
        )
        self.embedded = Embedded(self.settings)
        self.devices = 0

    @property
    def api(self) -> OperatorApi:
        """The operator's access."""
        return OperatorApi(self.settings.api, self.embedded.token)

    def device(self) -> LoadDevice:
        """An enrolled scanner."""
        self.devices += 1
        device = LoadDevice(f"load-{self.devices}")
        self.api.register_place(PLACE, Category.SHOP)
        self.api.enrol_scanner(device.id, device.public, PLACE, may_subject=False)
        return device

    def post(self, request: SignedRequest) -> Answer:
        """One exchange with the edge."""
        parts = urlsplit(self.settings.ingest)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WAIT_SECONDS)
        try:
            connection.request("POST", SCANS_PATH, request.body, request.headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def tamper(self, *statements: str) -> None:
        """Change the log behind the service's back."""
        self.embedded.stop()
        store = [self.settings.store_url, self.settings.clickhouse_database]
        subprocess.run([sys.executable, "-c", TAMPER, *store, *statements], check=True, timeout=WAIT_SECONDS)
        self.embedded.start()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all tests here; each has its own devices and its own ledger."""
    service = Service(tmp_path_factory.mktemp("service"))
    service.embedded.start()
    yield service
    service.embedded.stop()


@pytest.fixture(scope="module")
def cast(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Cast:
    """People with codes of this service, as the command makes them."""
    file = tmp_path_factory.mktemp("codes") / "codes.json"
    command = [sys.executable, "-m", "loadtests.load.codes", "--keys", str(service.settings.keys_path)]
    file.write_bytes(subprocess.run(command, check=True, capture_output=True, timeout=WAIT_SECONDS).stdout)
    return load_cast(file)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    ledger = Ledger(tmp_path, "one")
    yield ledger
    ledger.close()


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def scans_of(device: LoadDevice, cast: Cast, count: int) -> list[tuple[Scan, Attested]]:
    """Scans of people who come in, and what the log must hold of them."""
    now = now_ms()
    found = []
    for bearer in cast.persons[:count]:
        seq = device.next_seq()
        scan = Scan(seq=seq, at=now + seq, kind=Kind.IN, code=bearer.code)
        found.append((scan, Attested(seq, now + seq, Kind.IN, How.CODE, PLACE, bearer.subject)))
    return found


def delivered(
    device: LoadDevice, scans: list[tuple[Scan, Attested]], ledger: Ledger, send: Send, clock: Clock | None = None
) -> Delivered | None:
    """The scans sent as one batch, in no time."""
    clock = clock or Clock()
    return deliver(device, scans, send=send, ledger=ledger, clock=clock, sleep=clock.wait)


def once_settled(service: Service) -> Send:
    """Sends for real, once every worker of the edge knows the device."""

    def send(request: SignedRequest) -> Answer:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            answer = service.post(request)
            if fate_of(answer) is not Fate.LATER or time.monotonic() > deadline:
                return answer

    return send


def losing_answers(send: Send, count: int) -> Send:
    """Sends for real, but the first `count` answers do not arrive."""
    sent = []

    def lossy(request: SignedRequest) -> Answer:
        sent.append(request)
        answer = send(request)
        return Answer(NO_ANSWER) if len(sent) <= count else answer

    return lossy


def audited(service: Service, ledger: Ledger) -> Audit:
    """The audit of one ledger."""
    return audit.audit(ledger.path.parent, service.api, wait_seconds=WAIT_SECONDS, clock=time.monotonic)


def test_what_was_acknowledged_is_in_the_log(service: Service, cast: Cast, ledger: Ledger) -> None:
    device = service.device()
    answer = delivered(device, scans_of(device, cast, 300), ledger, once_settled(service))
    assert answer is not None
    assert (answer.receipt.accepted, answer.surprise) == (300, "")
    account = audited(service, ledger).account
    assert (account.accepted, account.deliveries, account.wrong) == (300, 300, 0)
    assert [one.seq for one in service.api.logged(device.id, page_scans=70)] == list(range(1, 301))


def test_a_request_whose_answer_was_lost_is_known_again(service: Service, cast: Cast, ledger: Ledger) -> None:
    device = service.device()
    send = losing_answers(once_settled(service), 2)
    answer = delivered(device, scans_of(device, cast, 10), ledger, send)
    assert answer is not None
    assert (answer.receipt.duplicate, answer.surprise) == (10, "")
    account = audited(service, ledger).account
    assert (account.duplicate, account.deliveries, account.repeated, account.wrong) == (10, 10, 0, 0)


def test_a_batch_signed_anew_may_be_in_the_log_twice(service: Service, cast: Cast, ledger: Ledger) -> None:
    device = service.device()
    clock = Clock()
    # Signed in the past, so that the second signature is not from the future.
    clock.now -= SIGN_ANEW_SECONDS + 10
    lossy = losing_answers(once_settled(service), 1)

    def send(request: SignedRequest) -> Answer:
        answer = lossy(request)
        clock.wait(SIGN_ANEW_SECONDS if answer.status == NO_ANSWER else 0)
        return answer

    assert delivered(device, scans_of(device, cast, 10), ledger, send, clock) is not None
    account = audited(service, ledger).account
    assert (account.duplicate, account.deliveries, account.repeated, account.wrong) == (10, 20, 10, 0)

    # Had the ledger one signature only, the second delivery would be one too many.
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    sent = [line for line in lines if b'"sent"' in line]
    ledger.path.write_bytes(b"".join(line for line in lines if line != sent[0]))
    done = audited(service, ledger)
    assert (done.account.doubled, done.account.wrong) == (10, 10)


def test_a_batch_that_nobody_answered_for_may_be_there_or_not(service: Service, cast: Cast, ledger: Ledger) -> None:
    device = service.device()
    send = once_settled(service)
    assert delivered(device, scans_of(device, cast, 5), ledger, losing_answers(send, 10**6)) is None
    assert delivered(device, scans_of(device, cast, 5), ledger, lambda _: Answer(NO_ANSWER)) is None
    assert delivered(device, scans_of(device, cast, 1), ledger, send) is not None
    account = audited(service, ledger).account
    assert (account.unanswered, account.accepted, account.deliveries, account.wrong) == (10, 1, 6, 0)


def test_a_batch_that_will_never_be_taken_is_said_so(service: Service, cast: Cast, ledger: Ledger) -> None:
    device = service.device()
    scans = scans_of(device, cast, 2)
    broken = [(msgspec.structs.replace(scan, seq=0), attested) for scan, attested in scans]
    with pytest.raises(NeverTaken, match="422 body-invalid"):
        delivered(device, broken, ledger, once_settled(service))
    assert [(batch.sends, batch.signings) for batch in Ledgers(ledger.path.parent).batches(device.id)] == [(1, 0)]


def test_a_ledger_that_claims_more_than_was_sent_is_found_out(service: Service, cast: Cast, ledger: Ledger) -> None:
    device = service.device()
    scans = scans_of(device, cast, 3)
    delivered(device, scans, ledger, once_settled(service))
    text = ledger.path.read_bytes()
    subject = cast.persons[1].subject.encode()
    assert text.count(subject) == 1
    ledger.path.write_bytes(text.replace(subject, b"f" * 32))
    done = audited(service, ledger)
    assert [(one.wrong, one.seq) for one in done.examples] == [(Wrong.ALTERED, 2)]
    assert "f" * 32 not in done.examples[0].detail


def test_a_log_that_was_tampered_with_is_found_out(
    service: Service, cast: Cast, ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    device = service.device()
    delivered(device, scans_of(device, cast, 9), ledger, once_settled(service))
    assert audited(service, ledger).account.wrong == 0
    second, third, fourth, fifth = (f"subject = unhex('{cast.persons[one].subject}')" for one in range(1, 5))
    of_device = "device = (SELECT max(device) FROM log)"
    service.tamper(
        f"ALTER TABLE log DELETE WHERE {second} AND {of_device} SETTINGS mutations_sync = 2",
        f"ALTER TABLE log UPDATE at = at + toIntervalMillisecond(1) WHERE {third} AND {of_device}"
        " SETTINGS mutations_sync = 2",
        "INSERT INTO log SELECT * REPLACE (received + toIntervalMillisecond(1) AS received)"
        f" FROM log WHERE {fourth} AND {of_device}",
        f"INSERT INTO log SELECT * REPLACE (seq + 1000 AS seq) FROM log WHERE {fifth} AND {of_device}",
    )
    done = audited(service, ledger)
    assert [(one.wrong, one.seq) for one in done.examples] == [
        (Wrong.LOST, 2),
        (Wrong.ALTERED, 3),
        (Wrong.DOUBLED, 4),
        (Wrong.ALTERED, 1005),
    ]
    arguments = ["--ledger", str(ledger.path.parent), "--url", service.settings.api]
    assert audit.main([*arguments, "--token", service.embedded.token]) == WRONG
    printed = capfd.readouterr().out
    assert f"lost: {device.id} seq 2: acknowledged as accepted" in printed
    assert not [bearer for bearer in cast.persons if bearer.subject in printed]


def test_an_audit_that_cannot_tell_says_so(service: Service, ledger: Ledger, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--ledger", str(ledger.path.parent), "--url", service.settings.api]
    assert audit.main([*arguments, "--token", service.embedded.token]) == UNTOLD
    assert "no ledger with an acknowledged scan" in capfd.readouterr().err
    assert audit.main([*arguments, "--token", "tvt_nobody"]) == UNTOLD
    assert "401" in capfd.readouterr().err


def test_scans_of_a_device_that_the_service_forgot_are_lost(service: Service, cast: Cast, ledger: Ledger) -> None:
    device = service.device()
    delivered(device, scans_of(device, cast, 2), ledger, once_settled(service))
    ledger.path.write_bytes(ledger.path.read_bytes().replace(device.id.encode(), b"load-unheard-of"))
    done = audited(service, ledger)
    assert (done.account.lost, done.account.deliveries) == (2, 0)


def test_a_service_that_is_not_there_is_named(ledger: Ledger) -> None:
    with pytest.raises(ApiFailed, match="kept asking for patience"):
        OperatorApi(f"http://127.0.0.1:{free_port()}", "tvt_nobody").await_everything(0.0)


@pytest.mark.parametrize(
    ("status", "problem", "fate"),
    [
        (202, "", Fate.TAKEN),
        (200, "", Fate.TAKEN),
        (429, "", Fate.LATER),
        (408, "body-timeout", Fate.LATER),
        (503, "stream-full", Fate.LATER),
        (401, "key-unknown", Fate.LATER),
        (401, "signature-stale", Fate.SIGN_ANEW),
        (503, "stream-unavailable", Fate.UNKNOWN),
        (500, "internal-error", Fate.UNKNOWN),
        (502, "", Fate.UNKNOWN),
        (NO_ANSWER, "", Fate.UNKNOWN),
        (403, "key-revoked", Fate.NEVER),
        (422, "body-invalid", Fate.NEVER),
        (404, "", Fate.NEVER),
    ],
)
def test_what_an_answer_means(status: int, problem: str, fate: Fate) -> None:
    body = (
        b"{}"
        if not problem
        else b'{"type":"https://truyvet.org/problems/%s","title":"","status":%d}'
        % (
            problem.encode(),
            status,
        )
    )
    assert fate_of(Answer(status, body)) is fate
