"""The reference scanner against a real HTTP server that answers as it is told."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.scan_hole import ASK_AGAIN_SECONDS, ASK_SOONER_SECONDS
from app.scan_queue import KEPT_SECONDS_MAX, ScanQueue
from app.scanner import (
    COMPRESSED_BYTES_MIN,
    SET_ASIDE,
    EdgeClient,
    Halted,
    KeyUnusable,
    NotKept,
    Resent,
    Scanner,
    Sent,
    SetAside,
    Signer,
    Waits,
    load_private_key,
)
from events import codec, problems
from events.problems import Kind as ProblemKind
from events.scans import DeviceSequence, Kind, Receipt, Scan, ScanBatch, SeqRun, Verdict
from ingest.decode import decode_body
from ingest.limits import EdgeLimits
from keys.http_signatures import (
    content_digest_matches,
    parse_signature,
    parse_signature_input,
    signature_base,
    verify_signature,
)

CREATED = 1_634_800_000


class Edge:
    """Answers from a list, in order; the last answer stays. Keeps what came in."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.batches: list[list[Scan]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.sequences: list[Any] = []
        self.questions: list[tuple[str, dict[str, str]]] = []
        edge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                edge.bodies.append(body)
                edge.headers.append({name.lower(): value for name, value in self.headers.items()})
                content_type, encoding = self.headers["Content-Type"], self.headers.get("Content-Encoding", "")
                edge.batches.append(decode_body(body, content_type, encoding, EdgeLimits()).scans)
                answer = edge.answers.pop(0) if len(edge.answers) > 1 else edge.answers[0]
                self._give(*(answer(edge.batches[-1]) if callable(answer) else answer))

            def do_GET(self) -> None:
                edge.questions.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                self._give(*edge.sequences.pop(0))

            def _give(self, status: int, headers: dict[str, str], text: bytes) -> None:
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def receipt(
    batch: list[Scan], verdicts: list[Verdict] | None = None, seen_to: int = 0, next_seq: int | None = None
) -> Any:
    verdicts = verdicts or []
    duplicate = sum(one.verdict == "duplicate" for one in verdicts)
    refused = len(verdicts) - duplicate
    seen_to = seen_to or batch[-1].seq
    body = Receipt(
        batch="1-0",
        accepted=len(batch) - len(verdicts),
        duplicate=duplicate,
        refused=refused,
        next_seq=seen_to + 1 if next_seq is None else next_seq,
        seen_to=seen_to,
        verdicts=verdicts,
    )
    return 202, {}, codec.to_json(body)


def refusal(kind: ProblemKind, **headers: str) -> Any:
    return kind.status, headers, kind.problem().body()


DROPPED: Any = (0, {}, b"")


@pytest.fixture
def edge() -> Iterator[Edge]:
    one = Edge()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ScanQueue]:
    with ScanQueue(tmp_path / "queue") as one:
        yield one


PRIVATE = Ed25519PrivateKey.generate()


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = CREATED + 0.7

    def __call__(self) -> float:
        return self.now


def scanner_of(
    queue: ScanQueue, edge: Edge, tmp_path: Path, batch_scans: int = 1_000, clock: Clock | None = None
) -> Scanner:
    client = EdgeClient(edge.url, timeout_seconds=60)
    return Scanner(
        queue,
        Signer(PRIVATE, "gate-1.1"),
        client,
        directory=tmp_path,
        batch_scans=batch_scans,
        clock=clock or Clock(),
        sequences=client,
    )


def scans(count: int) -> list[Scan]:
    return [Scan(1, at, Kind.IN, code=f"TV1.{at}") for at in range(count)]


def test_an_empty_queue_sends_nothing(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    assert scanner_of(queue, edge, tmp_path).step() is None
    assert edge.batches == []


def test_batches_go_in_order_and_leave_the_queue_when_answered(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [receipt]
    kept = queue.append(scans(5))
    scanner = scanner_of(queue, edge, tmp_path, batch_scans=2)
    outcomes = [scanner.step() for _ in range(3)]
    assert all(isinstance(one, Sent) for one in outcomes)
    assert edge.batches == [kept[:2], kept[2:4], kept[4:]]
    assert len(queue) == 0


def test_the_request_is_signed_as_the_service_verifies_it(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [receipt]
    queue.append(scans(1))
    scanner_of(queue, edge, tmp_path).step()
    headers = edge.headers[0]
    signed = parse_signature_input(headers["signature-input"])
    base = signature_base(signed, method="POST", path="/v1/scans", query="", authority=headers["host"], headers=headers)
    assert (signed.keyid, signed.created) == ("gate-1.1", CREATED)
    assert verify_signature(PRIVATE.public_key(), parse_signature(headers["signature"], signed.label), base)
    assert content_digest_matches(headers["content-digest"], edge.bodies[0])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (refusal(problems.STREAM_DOWN), problems.STREAM_DOWN),
        (refusal(problems.STREAM_FULL), problems.STREAM_FULL),
        (refusal(problems.BODY_TIMEOUT), problems.BODY_TIMEOUT),
        (refusal(problems.SIGNATURE_STALE), problems.SIGNATURE_STALE),
        (refusal(problems.INTERNAL), problems.INTERNAL),
        ((502, {}, b"<html>bad gateway</html>"), None),
        ((429, {}, b""), None),
        ((200, {}, b"a proxy's page"), None),
        (DROPPED, None),
    ],
)
def test_what_may_pass_is_tried_again_and_nothing_is_lost(
    answer: Any, problem: ProblemKind | None, queue: ScanQueue, edge: Edge, tmp_path: Path
) -> None:
    edge.answers = [answer, answer, receipt]
    kept = queue.append(scans(3))
    scanner = scanner_of(queue, edge, tmp_path)
    first, second = scanner.step(), scanner.step()
    assert isinstance(first, Waits)
    assert isinstance(second, Waits)
    assert second.seconds > first.seconds > 0
    if problem is not None:
        assert first.problem is not None
        assert first.problem.title == problem.title
    assert queue.head(10) == kept
    while not isinstance(scanner.step(), Sent):
        pass
    assert edge.batches[-1] == kept
    assert len(queue) == 0


def test_retry_after_is_respected(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [refusal(problems.STREAM_FULL, **{"Retry-After": "30"})]
    queue.append(scans(1))
    outcome = scanner_of(queue, edge, tmp_path).step()
    assert isinstance(outcome, Waits)
    assert 30 <= outcome.seconds <= 40


def test_nobody_there_keeps_the_scans(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.server.server_close()
    kept = queue.append(scans(2))
    outcome = scanner_of(queue, edge, tmp_path).step()
    assert isinstance(outcome, Waits)
    assert outcome.problem is None
    assert queue.head(10) == kept


@pytest.mark.parametrize(
    "kind", [problems.KEY_REVOKED, problems.KEY_UNKNOWN, problems.SIGNATURE_INVALID, problems.DIGEST_MISMATCH]
)
def test_what_somebody_must_mend_halts_and_keeps(
    kind: ProblemKind, queue: ScanQueue, edge: Edge, tmp_path: Path
) -> None:
    edge.answers = [refusal(kind)]
    kept = queue.append(scans(2))
    outcome = scanner_of(queue, edge, tmp_path).step()
    assert isinstance(outcome, Halted)
    assert outcome.problem.action == kind.action
    assert queue.head(10) == kept


def test_one_bad_scan_is_put_aside_and_the_rest_goes_through(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    def answer(batch: list[Scan]) -> Any:
        bad = any(scan.code == "TV1.5" for scan in batch)
        return refusal(problems.BODY_INVALID) if bad else receipt(batch)

    edge.answers = [answer]
    kept = queue.append(scans(9))
    scanner = scanner_of(queue, edge, tmp_path)
    outcomes = []
    while (outcome := scanner.step()) is not None:
        outcomes.append(outcome)
    sent = [scan for one in outcomes if isinstance(one, Sent) for scan in one.scans]
    aside = [one.scan for one in outcomes if isinstance(one, SetAside)]
    assert aside == [kept[5]]
    assert sent == kept[:5] + kept[6:]
    assert [codec.from_json(line, Scan) for line in (tmp_path / SET_ASIDE).read_bytes().splitlines()] == aside
    assert (tmp_path / SET_ASIDE).stat().st_mode & 0o077 == 0


def test_refused_scans_are_answered_for(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [lambda batch: receipt(batch, [Verdict(2, "expired_code", "")])]
    queue.append(scans(3))
    outcome = scanner_of(queue, edge, tmp_path).step()
    assert isinstance(outcome, Sent)
    assert outcome.receipt.refused == 1
    assert len(queue) == 0


def test_a_duplicate_after_a_lost_answer_is_an_answer(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [
        DROPPED,
        DROPPED,
        lambda batch: receipt(batch, [Verdict(one.seq, "duplicate", "") for one in batch]),
    ]
    queue.append(scans(3))
    scanner = scanner_of(queue, edge, tmp_path)
    outcome = scanner.step()
    while isinstance(outcome, Waits):
        outcome = scanner.step()
    assert isinstance(outcome, Sent)
    assert outcome.renumbered == 0
    assert len(queue) == 0


def test_a_lost_queue_does_not_lose_scans_as_duplicates(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    """The device has sent up to 40; its queue's directory was wiped, so it counts from 1 again."""
    known = [Verdict(1, "duplicate", ""), Verdict(2, "duplicate", "")]
    edge.answers = [lambda batch: receipt(batch, known, seen_to=40), receipt]
    queue.append(scans(3))
    scanner = scanner_of(queue, edge, tmp_path)
    first = scanner.step()
    assert isinstance(first, Sent)
    assert first.renumbered == 2
    assert isinstance(scanner.step(), Sent)
    assert [(one.seq, one.at) for one in edge.batches[1]] == [(41, 0), (42, 1)]
    assert queue.append(scans(1))[0].seq == 43


def test_a_lost_queue_loses_no_scan_after_a_refused_attempt(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    """The refusal says that nothing was taken: the duplicate that follows is another scan's number."""
    edge.answers = [
        refusal(problems.SIGNATURE_INVALID),
        lambda batch: receipt(batch, [Verdict(one.seq, "duplicate", "") for one in batch], seen_to=40),
        receipt,
    ]
    queue.append(scans(2))
    scanner = scanner_of(queue, edge, tmp_path)
    assert isinstance(scanner.step(), Halted)
    second = scanner.step()
    assert isinstance(second, Sent)
    assert second.renumbered == 2
    assert isinstance(scanner.step(), Sent)
    assert [one.seq for one in edge.batches[-1]] == [41, 42]


def test_a_lost_queue_loses_no_scan_after_a_dead_network(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    """Nobody listened: nothing can have arrived, so a duplicate is another scan's number."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = EdgeClient(f"http://127.0.0.1:{nobody.getsockname()[1]}", timeout_seconds=5)
        queue.append(scans(2))
        signer = Signer(Ed25519PrivateKey.generate(), "gate-1.1")
        assert isinstance(Scanner(queue, signer, dead, directory=tmp_path).step(), Waits)
    assert queue.attempted == 0
    edge.answers = [lambda batch: receipt(batch, [Verdict(1, "duplicate", "")], seen_to=40)]
    outcome = scanner_of(queue, edge, tmp_path).step()
    assert isinstance(outcome, Sent)
    assert outcome.renumbered == 1


def test_an_earlier_attempt_that_may_have_arrived_is_not_taken_back(
    queue: ScanQueue, edge: Edge, tmp_path: Path
) -> None:
    edge.answers = [DROPPED, DROPPED, refusal(problems.KEY_UNKNOWN)]
    queue.append(scans(2))
    scanner = scanner_of(queue, edge, tmp_path)
    assert isinstance(scanner.step(), Waits)
    outcome = scanner.step()
    while isinstance(outcome, Waits):
        outcome = scanner.step()
    assert isinstance(outcome, Halted)
    assert queue.attempted == 2


def test_what_is_sent_was_noted_before(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    noted: list[str] = []

    def answer(batch: list[Scan]) -> Any:
        noted.append((tmp_path / "queue" / "attempted").read_text())
        return receipt(batch)

    edge.answers = [answer]
    queue.append(scans(3))
    scanner_of(queue, edge, tmp_path).step()
    assert noted == ["3"]


def test_a_closed_idle_connection_is_no_outage(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [receipt, DROPPED, receipt]
    scanner = scanner_of(queue, edge, tmp_path)
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)


def sequence(*missing: tuple[int, int], settled: bool = True, following: int | None = None) -> Any:
    runs = [SeqRun(first, last) for first, last in missing]
    body = DeviceSequence(
        device="gate-1", as_of=1, settled=settled, next_seq=1, seen_to=99, missing=runs, next=following
    )
    return 200, {}, codec.to_json(body)


def test_exactly_what_the_server_lost_is_sent_again(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [receipt, lambda batch: receipt(batch, next_seq=1), receipt]
    edge.sequences = [sequence((3, 4), (6, 6))]
    first = queue.append(scans(8))
    scanner = scanner_of(queue, edge, tmp_path)
    assert isinstance(scanner.step(), Sent)
    assert scanner.is_idle()
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)
    assert not scanner.is_idle()
    again = scanner.step()
    assert isinstance(again, Resent)
    assert again.scans == edge.batches[2] == [first[2], first[3], first[5]]
    assert scanner.step() is None
    assert scanner.is_idle()
    assert queue.acknowledged == 9
    assert len(edge.batches) == 3


def test_the_question_is_signed_as_the_service_verifies_it(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [lambda batch: receipt(batch, next_seq=1)]
    edge.sequences = [sequence()]
    queue.append(scans(1))
    scanner = scanner_of(queue, edge, tmp_path)
    scanner.step()
    scanner.step()
    ((target, headers),) = edge.questions
    path, _, query = target.partition("?")
    signed = parse_signature_input(headers["signature-input"])
    assert {"@method", "@path", "@query"} <= set(signed.components)
    base = signature_base(signed, method="GET", path=path, query=query, authority="", headers=headers)
    assert verify_signature(PRIVATE.public_key(), parse_signature(headers["signature"], signed.label), base)


def test_a_long_hole_is_closed_page_by_page_and_batch_by_batch(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [receipt, lambda batch: receipt(batch, next_seq=1)]
    edge.sequences = [sequence((1, 3), following=3), sequence((5, 6), (8, 30))]
    queue.append(scans(9))
    assert isinstance(scanner_of(queue, edge, tmp_path).step(), Sent)
    queue.append(scans(1))
    scanner = scanner_of(queue, edge, tmp_path, batch_scans=2)
    outcomes = []
    while (outcome := scanner.step()) is not None:
        outcomes.append(outcome)
    assert {type(one) for one in outcomes} == {Sent, Resent}
    assert [target for target, _ in edge.questions] == ["/v1/sequence?after_seq=0", "/v1/sequence?after_seq=3"]
    assert [[scan.seq for scan in batch] for batch in edge.batches[2:]] == [[1, 2], [3], [5, 6], [8, 9], [10]]


@pytest.mark.parametrize("following", [0, 3, 99])
def test_pages_that_lead_nowhere_are_not_followed(following: int, queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    """Neither a page that was had before, nor one above all that was answered for."""
    edge.answers = [lambda batch: receipt(batch, next_seq=1)]
    edge.sequences = [sequence(following=3), sequence(following=following), sequence()]
    queue.append(scans(5))
    scanner = scanner_of(queue, edge, tmp_path)
    assert isinstance(scanner.step(), Sent)
    assert scanner.step() is None
    assert [target for target, _ in edge.questions] == ["/v1/sequence?after_seq=0", "/v1/sequence?after_seq=3"]
    assert scanner.is_idle()


def test_an_idle_scanner_forgets_what_it_has_kept_for_long_enough(edge: Edge, tmp_path: Path) -> None:
    clock = Clock()
    edge.answers = [receipt]
    with ScanQueue(tmp_path / "queue", clock=clock) as queue:
        kept = queue.append(scans(2))
        scanner = scanner_of(queue, edge, tmp_path, clock=clock)
        assert isinstance(scanner.step(), Sent)
        assert queue.kept([(1, 2)], 10) == kept
        clock.now += KEPT_SECONDS_MAX + 1
        assert scanner.step() is None
        assert queue.kept([(1, 2)], 10) == []


def test_a_hole_that_never_closes_is_asked_about_once_in_a_while(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [lambda batch: receipt(batch, next_seq=1)]
    edge.sequences = [sequence()] * 3
    clock = Clock()
    scanner = scanner_of(queue, edge, tmp_path, clock=clock)
    for seconds, questions in ((0.0, 1), (1.0, 1), (ASK_AGAIN_SECONDS - 2, 1), (2.0, 2)):
        clock.now += seconds
        queue.append(scans(1))
        assert isinstance(scanner.step(), Sent)
        assert scanner.step() is None
        assert len(edge.questions) == questions
    edge.answers = [lambda batch: receipt(batch, next_seq=3)]
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)
    assert scanner.step() is None
    assert len(edge.questions) == 3


@pytest.mark.parametrize("answer", [refusal(problems.SERVER_BUSY), (200, {}, b"a proxy's page"), DROPPED])
def test_no_answer_about_the_hole_keeps_no_scan_waiting(
    answer: Any, queue: ScanQueue, edge: Edge, tmp_path: Path
) -> None:
    edge.answers = [lambda batch: receipt(batch, next_seq=1)]
    edge.sequences = [answer, answer, sequence((1, 1))]
    clock = Clock()
    scanner = scanner_of(queue, edge, tmp_path, clock=clock)
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)
    edge.sequences = edge.sequences[-1:]
    clock.now += ASK_SOONER_SECONDS
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)
    assert isinstance(scanner.step(), Resent)


def test_a_log_that_is_behind_is_asked_again_sooner(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [lambda batch: receipt(batch, next_seq=1)]
    edge.sequences = [sequence(settled=False), sequence((1, 1))]
    clock = Clock()
    scanner = scanner_of(queue, edge, tmp_path, clock=clock)
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)
    assert scanner.step() is None
    clock.now += ASK_SOONER_SECONDS
    queue.append(scans(1))
    assert isinstance(scanner.step(), Sent)
    assert isinstance(scanner.step(), Resent)


def test_what_is_not_kept_any_more_is_told(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    """Numbers 1 to 9 were given by a queue that is lost: there are no scans of them here."""
    queue.skip_to(10)
    edge.answers = [lambda batch: receipt(batch, next_seq=2)]
    edge.sequences = [sequence((2, 3), (10, 10))]
    queue.append(scans(2))
    scanner = scanner_of(queue, edge, tmp_path)
    assert isinstance(scanner.step(), Sent)
    again = scanner.step()
    assert isinstance(again, Resent)
    assert [scan.seq for scan in again.scans] == [10]
    assert scanner.step() == NotKept(2)
    assert scanner.step() is None


def test_what_the_server_does_not_take_is_not_sent_for_ever(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    def answer(batch: list[Scan]) -> Any:
        bad = any(scan.code == "TV1.1" for scan in batch)
        return refusal(problems.BODY_INVALID) if bad else receipt(batch, next_seq=2)

    edge.answers = [answer]
    edge.sequences = [sequence((2, 3))] * 2
    queue.append(scans(4))
    scanner = scanner_of(queue, edge, tmp_path)
    outcomes = []
    while (outcome := scanner.step()) is not None:
        outcomes.append(outcome)
    assert [one.scan.seq for one in outcomes if isinstance(one, SetAside)] == [2]
    assert [[scan.seq for scan in one.scans] for one in outcomes if isinstance(one, Resent)] == [[3]]
    assert [one for one in outcomes if isinstance(one, NotKept)] == []
    bad_batches = len([batch for batch in edge.batches if any(scan.seq == 2 for scan in batch)])
    after_a_restart = scanner_of(queue, edge, tmp_path)
    queue.append(scans(1))
    while after_a_restart.step() is not None:
        pass
    assert len([batch for batch in edge.batches if any(scan.seq == 2 for scan in batch)]) == bad_batches


def test_an_outage_while_sending_again_loses_nothing(queue: ScanQueue, edge: Edge, tmp_path: Path) -> None:
    edge.answers = [
        lambda batch: receipt(batch, next_seq=1),
        refusal(problems.STREAM_DOWN),
        refusal(problems.KEY_REVOKED),
        receipt,
    ]
    edge.sequences = [sequence((1, 2))]
    queue.append(scans(2))
    scanner = scanner_of(queue, edge, tmp_path)
    outcomes = [scanner.step() for _ in range(4)]
    assert [type(one) for one in outcomes] == [Sent, Waits, Halted, Resent]
    assert len(edge.questions) == 1


def test_large_batches_travel_compressed_and_small_ones_as_they_are(
    queue: ScanQueue, edge: Edge, tmp_path: Path
) -> None:
    edge.answers = [receipt]
    scanner = scanner_of(queue, edge, tmp_path)
    queue.append(scans(1))
    scanner.step()
    many = queue.append(scans(500))
    scanner.step()
    assert "content-encoding" not in edge.headers[0]
    assert edge.headers[1]["content-encoding"] == "zstd"
    assert '"content-encoding"' in edge.headers[1]["signature-input"]
    assert edge.batches[1] == many
    plain = len(codec.to_json(ScanBatch(many)))
    assert plain > COMPRESSED_BYTES_MIN
    assert len(edge.bodies[1]) < plain / 2


def test_unusable_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="no key file"):
        load_private_key(tmp_path / "none.pem")
    (tmp_path / "bad.pem").write_text(json.dumps({}))
    with pytest.raises(KeyUnusable, match=r"bad\.pem"):
        load_private_key(tmp_path / "bad.pem")
