"""The reference scanner: sign a batch, send it, act on the answer as docs/api.md says.

`Signer` turns scans into a signed request, `EdgeClient` carries one over HTTP, `Scanner` empties a `ScanQueue`
through them and loses nothing: a scan leaves the queue only when the server has answered for it, or when it is put
aside on disk because the server will never take it. Where a receipt shows a hole in what the server has, the scanner
asks, signed, for its own missing scans, and sends exactly those again that the queue still keeps.
"""

import contextlib
import http.client
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from app.errors import Explained
from app.scan_hole import ScanHole
from app.scan_queue import ScanQueue
from events import codec
from events.problems import PROBLEM_TYPE_BASE, Problem
from events.scans import SCANS_PATH, SEQUENCE_PATH, DeviceSequence, Receipt, Scan, ScanBatch
from keys.http_signatures import sign_question, sign_request

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT_TYPE: Final = "application/json"
COMPRESSED_BYTES_MIN: Final = 1_000
"""A larger body is sent compressed with zstd."""
BATCH_SCANS: Final = 1_000
SEND_SECONDS_MAX: Final = 30.0
BACKOFF_SECONDS_FIRST: Final = 0.5
BACKOFF_SECONDS_MAX: Final = 60.0
ANSWER_BYTES_MAX: Final = 8_000_000
SET_ASIDE: Final = "set-aside.jsonl"

TRY_AGAIN: Final = frozenset({"signature-stale", "body-timeout"})
"""Problems of a good batch that a later attempt, signed anew, may not meet; beside 429 and every 5xx."""
BODY_AT_FAULT: Final = frozenset({"body-malformed", "body-invalid", "body-too-large"})
"""Problems that a smaller batch may not meet; a single scan that still does is put aside."""
DUPLICATE: Final = "duplicate"

Clock = Callable[[], float]
"""Unix time in seconds."""


class Unreachable(Exception):
    """No answer came: the scans may or may not have arrived. Sending them again is harmless."""


class NotSent(Unreachable):
    """There was no connection at all: the scans have certainly not arrived."""


class KeyUnusable(Explained):
    """The private key file cannot be used; the message names it and says what to do."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer. `retry_after_seconds` is 0 where the server named none."""

    status: int
    body: bytes
    retry_after_seconds: float = 0.0


class Sent(msgspec.Struct, frozen=True):
    """The server has answered for these scans. `renumbered` were queued again under new numbers."""

    scans: list[Scan]
    receipt: Receipt
    renumbered: int = 0


class Waits(msgspec.Struct, frozen=True):
    """Nothing was taken; try again after `seconds`. `problem` is None where no answer came."""

    seconds: float
    problem: Problem | None


class SetAside(msgspec.Struct, frozen=True):
    """The server will never take this scan as it is; it was moved to `set-aside.jsonl` in the queue's directory."""

    scan: Scan
    problem: Problem


class Halted(msgspec.Struct, frozen=True):
    """Somebody must act (a revoked key, say). Every scan is kept."""

    problem: Problem


class Resent(msgspec.Struct, frozen=True):
    """The server had lost these scans after it had answered for them, and has them again."""

    scans: list[Scan]
    receipt: Receipt


class NotKept(msgspec.Struct, frozen=True):
    """The server lacks `count` seqs whose scans are not here any more, or that never had one."""

    count: int


Outcome = Sent | Waits | SetAside | Halted | Resent | NotKept


class Signer:
    """A device's identity: its key id and private key."""

    def __init__(self, private_key: Ed25519PrivateKey, keyid: str) -> None:
        self._private_key: Final = private_key
        self.keyid: Final = keyid

    def headers(
        self, body: bytes, created: int, *, path: str = SCANS_PATH, content_encoding: str | None = None
    ) -> dict[str, str]:
        """The headers that make `body`, as it is sent, a signed request. `created`: Unix seconds."""
        return sign_request(
            self._private_key,
            self.keyid,
            method="POST",
            path=path,
            content_type=CONTENT_TYPE,
            body=body,
            created=created,
            content_encoding=content_encoding,
        )

    def question(self, path: str, query: str, created: int) -> dict[str, str]:
        """The headers that make a signed GET. `query` without its `?`; `created`: Unix seconds."""
        return sign_question(self._private_key, self.keyid, path=path, query=query, created=created)


class EdgeClient:
    """One kept-alive connection to a service."""

    def __init__(self, base_url: str, *, timeout_seconds: float = SEND_SECONDS_MAX) -> None:
        parts = urlsplit(base_url)
        self._https: Final = parts.scheme == "https"
        self._host: Final = parts.hostname or ""
        self._port: Final = parts.port
        self._prefix: Final = parts.path.rstrip("/")
        self._timeout_seconds: Final = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send a request and read its answer. Raises `NotSent`, `Unreachable`."""
        return self._exchange("POST", path, headers, body)

    def get(self, path: str, headers: dict[str, str]) -> Answer:
        """Ask and read the answer. Raises `NotSent`, `Unreachable`."""
        return self._exchange("GET", path, headers, None)

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        for fresh in (False, True):
            reused = self._connection is not None
            try:
                connection = self._connected()
            except OSError as error:
                # What went out over the connection before, if any, may have arrived all the same.
                raise (Unreachable if fresh else NotSent)(type(error).__name__) from error
            try:
                connection.request(method, self._prefix + path, body=body, headers=headers)
                response = connection.getresponse()
                data = response.read(ANSWER_BYTES_MAX)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # A kept-alive connection may have been closed meanwhile: that says nothing about the server.
                if reused and not fresh:
                    continue
                raise Unreachable(type(error).__name__) from error
            if response.will_close:
                self.close()
            return Answer(response.status, data, _retry_after(response.headers.get("retry-after")))
        raise AssertionError("the second attempt returns or raises")

    def close(self) -> None:
        """Close the connection; the next request opens one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
            connection = kind(self._host, self._port, timeout=self._timeout_seconds)
            connection.connect()
            self._connection = connection
        return self._connection


class Scanner:
    """Sends what the queue holds, oldest first, one batch at a time."""

    def __init__(
        self,
        queue: ScanQueue,
        signer: Signer,
        client: EdgeClient,
        *,
        directory: Path,
        batch_scans: int = BATCH_SCANS,
        clock: Clock = time.time,
        sequences: EdgeClient | None = None,
    ) -> None:
        """`directory`: where scans that the server will never take are put aside.

        `sequences`: where to ask for the scans that the server lacks; None asks nobody.
        """
        self._queue: Final = queue
        self._signer: Final = signer
        self._client: Final = client
        self._set_aside_file: Final = directory / SET_ASIDE
        self._clock: Final = clock
        self._batch_scans_max: Final = batch_scans
        self._batch_scans = batch_scans
        self._failures = 0
        self._sequences: Final = sequences
        self._hole: Final = ScanHole(self._ask, clock, _seqs_of(self._set_aside_file))

    def is_idle(self) -> bool:
        """Whether there is nothing to send, neither for the first time nor again."""
        return not len(self._queue) and not self._hole.open

    def step(self) -> Outcome | None:
        """Send one batch and act on the answer; None where nothing waits. Never sleeps."""
        self._queue.tidy()
        while self._hole.open:
            mended = self._mend()
            if mended is not None:
                return mended
        scans = self._queue.head(self._batch_scans)
        if not scans:
            return None
        attempted = self._queue.attempted
        self._queue.attempt(scans[-1].seq)
        try:
            answer = self._send(scans)
        except Unreachable as error:
            if isinstance(error, NotSent):
                self._queue.take_back(attempted)
            return self._waits(None, 0.0)
        if answer.status in (http.client.OK, http.client.ACCEPTED):
            return self._sent(scans, answer, attempted + 1)
        problem = problem_of(answer)
        if _says_it_took_nothing(problem, answer):
            self._queue.take_back(attempted)
        if _blames_the_body(problem, answer):
            return self._smaller(scans, problem)
        return self._later(problem, answer)

    def _send(self, scans: Sequence[Scan]) -> Answer:
        body, encoding = codec.to_json(ScanBatch(list(scans))), None
        if len(body) > COMPRESSED_BYTES_MIN:
            body, encoding = zstd.compress(body), "zstd"
        headers = self._signer.headers(body, int(self._clock()), content_encoding=encoding)
        return self._client.post(SCANS_PATH, headers, body)

    def _sent(self, scans: list[Scan], answer: Answer, fresh_from: int) -> Outcome:
        receipt = self._receipt(answer)
        if receipt is None:
            return self._waits(None, 0.0)
        foreign = self._numbered_by_another(scans, receipt, fresh_from)
        if foreign:
            self._queue.skip_to(receipt.seen_to + 1)
            self._queue.append(foreign)
        self._queue.acknowledge(scans[-1].seq)
        self._hole.look(receipt, self._queue.acknowledged)
        return Sent(scans, receipt, len(foreign))

    def _receipt(self, answer: Answer) -> Receipt | None:
        """The receipt of a success, or None: something between here and the server answered in its place."""
        try:
            receipt = codec.from_json(answer.body, Receipt)
        except msgspec.MsgspecError:
            return None
        self._failures = 0
        self._batch_scans = min(self._batch_scans * 2, self._batch_scans_max)
        return receipt

    def _mend(self) -> Outcome | None:
        """Send a batch of what the server lacks again; None where nothing of it is left to send or to tell."""
        runs = self._hole.runs(self._queue.acknowledged)
        scans = self._queue.kept(runs, self._batch_scans)
        if not scans:
            lost = self._hole.close()
            return NotKept(lost) if lost else None
        try:
            answer = self._send(scans)
        except Unreachable:
            return self._waits(None, 0.0)
        if answer.status in (http.client.OK, http.client.ACCEPTED):
            receipt = self._receipt(answer)
            if receipt is None:
                return self._waits(None, 0.0)
            self._hole.sent(scans)
            return Resent(scans, receipt)
        problem = problem_of(answer)
        if not _blames_the_body(problem, answer):
            return self._later(problem, answer)
        self._failures = 0
        if len(scans) > 1:
            self._batch_scans = len(scans) // 2
        else:
            self._hole.skip(scans[0].seq)
        return Waits(0.0, problem)

    def _ask(self, after_seq: int) -> DeviceSequence | None:
        """What the server lacks above a seq; None where it cannot tell now: that must not keep scans from it."""
        if self._sequences is None:
            return None
        query = f"after_seq={after_seq}"
        headers = self._signer.question(SEQUENCE_PATH, query, int(self._clock()))
        try:
            answer = self._sequences.get(f"{SEQUENCE_PATH}?{query}", headers)
            return codec.from_json(answer.body, DeviceSequence) if answer.status == http.client.OK else None
        except (Unreachable, msgspec.MsgspecError):
            return None

    def _numbered_by_another(self, scans: list[Scan], receipt: Receipt, fresh_from: int) -> list[Scan]:
        """Scans that cannot have arrived from here, whose numbers the server knows: this queue was lost or copied.

        Taking "duplicate" for an answer would lose them, so they are numbered anew, past all that was seen.
        """
        known = {verdict.seq for verdict in receipt.verdicts if verdict.verdict == DUPLICATE}
        return [scan for scan in scans if scan.seq >= fresh_from and scan.seq in known]

    def _smaller(self, scans: list[Scan], problem: Problem) -> Outcome:
        self._failures = 0
        if len(scans) > 1:
            self._batch_scans = len(scans) // 2
            return Waits(0.0, problem)
        with self._set_aside_file.open("ab") as file:
            self._set_aside_file.chmod(0o600)
            file.write(codec.to_json(scans[0]) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._queue.acknowledge(scans[0].seq)
        self._hole.give_up(scans[0].seq)
        return SetAside(scans[0], problem)

    def _later(self, problem: Problem, answer: Answer) -> Waits | Halted:
        """For a batch that is good as it is, as far as anybody knows."""
        name = problem.type.removeprefix(PROBLEM_TYPE_BASE)
        if name in TRY_AGAIN or answer.status in (408, 429) or answer.status >= http.client.INTERNAL_SERVER_ERROR:
            return self._waits(problem, answer.retry_after_seconds)
        return Halted(problem)

    def _waits(self, problem: Problem | None, retry_after_seconds: float) -> Waits:
        backoff = min(BACKOFF_SECONDS_FIRST * 2**self._failures, BACKOFF_SECONDS_MAX)
        self._failures = min(self._failures + 1, 16)
        # Spread, so that a thousand scanners do not come back in the same second after an outage.
        return Waits(max(backoff, retry_after_seconds) * random.uniform(1.0, 1.25), problem)  # noqa: S311


def problem_of(answer: Answer) -> Problem:
    """The problem of an answer that is none of success; one made from the status where the body holds none."""
    try:
        return codec.from_json(answer.body, Problem)
    except msgspec.MsgspecError:
        return Problem(
            type="about:blank",
            title=f"The server answered {answer.status}",
            status=answer.status,
            action="Check the address; something else than Truyvet may answer there.",
        )


def _says_it_took_nothing(problem: Problem, answer: Answer) -> bool:
    """Whether this is the service's own word, and not that of something before it."""
    return problem.type.startswith(PROBLEM_TYPE_BASE) and answer.status < http.client.INTERNAL_SERVER_ERROR


def _blames_the_body(problem: Problem, answer: Answer) -> bool:
    name = problem.type.removeprefix(PROBLEM_TYPE_BASE)
    return name in BODY_AT_FAULT or answer.status == http.client.REQUEST_ENTITY_TOO_LARGE


def _seqs_of(set_aside: Path) -> list[int]:
    """The numbers of the scans that were put aside before."""
    seqs: list[int] = []
    for line in set_aside.read_bytes().splitlines() if set_aside.exists() else ():
        with contextlib.suppress(msgspec.MsgspecError):  # a death may have torn the last line
            seqs.append(codec.from_json(line, Scan).seq)
    return seqs


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key of a PEM file (PKCS #8, not encrypted). Raises `KeyUnusable`."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise KeyUnusable(f"There is no key file {path}. `truyvet device enrol` makes one.") from None
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable(
            f"{path} holds no private key that can be read: it must be an unencrypted PEM file."
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds another kind of key: it must be Ed25519.")
    return key


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header; dates and nonsense count as none."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else 0.0
