"""One batch, sent until it is answered for, as docs/api.md tells scanners to; every step goes into the ledger.

A request is sent again as it was signed, so that the edge knows it for the same one, until its signature grows stale.
"""

import enum
import random
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events import codec, problems
from events.problems import Problem
from events.scans import SCANS_PATH, Receipt, Refusal, Scan, ScanBatch
from keys.enrolment import FIRST_KEY
from keys.http_signatures import sign_request
from loadtests.load.ledger import NOBODY, Answered, Attested, Ledger, Offered, Sent, Untaken
from loadtests.load.reconcile import ACCEPTED, DUPLICATE

CONTENT_TYPE: Final = "application/msgpack"
NO_ANSWER: Final = 0
TAKEN: Final = frozenset({200, 202})
LATER: Final = frozenset({408, 429})
SERVER_ERROR: Final = 500
SIGN_ANEW_SECONDS: Final = 200
"""The edge takes signatures up to 300 s old."""
PAUSE_SECONDS_FIRST: Final = 0.25
PAUSE_SECONDS_MAX: Final = 10.0
GIVE_UP_SECONDS: Final = 600.0
SIGNING_CHARS: Final = 22
"""How much of a signature's base64 names it in the ledger: 132 bits."""

Clock = Callable[[], float]
"""Unix time in seconds."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; `status` is `NO_ANSWER` where none came, `retry_after_seconds` 0 where the server named none."""

    status: int
    body: bytes = b""
    retry_after_seconds: float = 0.0


class Fate(enum.Enum):
    """What an answer means for the batch."""

    TAKEN = "taken"
    LATER = "later"
    """Nothing was taken; the same request may be sent again."""
    SIGN_ANEW = "sign anew"
    """Nothing was taken; the request must be signed again."""
    UNKNOWN = "unknown"
    """It may have been taken. Sending it again is harmless."""
    NEVER = "never"
    """It will not be taken as it is: a mistake of this client or of the service."""


FATES: Final = {
    problems.SIGNATURE_STALE.name: Fate.SIGN_ANEW,
    # A worker of the edge that has not read the device's enrolment yet.
    problems.KEY_UNKNOWN.name: Fate.LATER,
    problems.STREAM_FULL.name: Fate.LATER,
}
"""Problems that say of themselves what became of the batch."""


class NeverTaken(Exception):
    """The edge will not take a batch; the message says what it answered."""


class SignedRequest(msgspec.Struct, frozen=True):
    """A request ready to be sent; `signing` names its signature in the ledger, `created` is Unix seconds."""

    headers: dict[str, str]
    body: bytes
    created: int
    signing: str


class Delivered(msgspec.Struct, frozen=True):
    """The receipt of a batch, and how it differs from what it must say ("" where it does not)."""

    receipt: Receipt
    surprise: str


class LoadDevice:
    """A device of the load test: its key, and its counter."""

    def __init__(self, device_id: str) -> None:
        self.id: Final = device_id
        self._key: Final = Ed25519PrivateKey.generate()
        self._seq = 0

    @property
    def public(self) -> bytes:
        """The raw public key, to be enrolled."""
        return self._key.public_key().public_bytes_raw()

    def next_seq(self) -> int:
        """A number that no scan had before."""
        self._seq += 1
        return self._seq

    def signed(self, body: bytes, created: int) -> SignedRequest:
        """The body as a request signed at that time (Unix seconds)."""
        headers = sign_request(
            self._key,
            f"{self.id}.{FIRST_KEY}",
            method="POST",
            path=SCANS_PATH,
            content_type=CONTENT_TYPE,
            body=body,
            created=created,
        )
        signature = headers["Signature"].partition("=:")[2]
        return SignedRequest(headers, body, created, signature[:SIGNING_CHARS])


def deliver(
    device: LoadDevice,
    scans: list[tuple[Scan, Attested]],
    *,
    send: Callable[[SignedRequest], Answer],
    ledger: Ledger,
    clock: Clock,
    sleep: Callable[[float], None],
) -> Delivered | None:
    """Send the scans as one batch until they are answered for; None where nobody answers for `GIVE_UP_SECONDS`.

    Raises `NeverTaken`.
    """
    attested = [attests for _, attests in scans]
    first = attested[0].seq
    body = codec.to_msgpack(ScanBatch([scan for scan, _ in scans]))
    ledger.write(Offered(device.id, attested))
    give_up = clock() + GIVE_UP_SECONDS
    pause, sends = PAUSE_SECONDS_FIRST, 0
    request: SignedRequest | None = None
    while True:
        if request is None or clock() - request.created > SIGN_ANEW_SECONDS:
            request = device.signed(body, int(clock()))
        ledger.write(Sent(device.id, first, request.signing))
        sends += 1
        answer = send(request)
        fate = fate_of(answer)
        if fate is Fate.TAKEN:
            receipt = codec.from_json(answer.body, Receipt)
            ledger.write(Answered(device.id, first, [(one.seq, one.verdict) for one in receipt.verdicts]))
            return Delivered(receipt, surprise_in(receipt, attested, sends))
        if fate is not Fate.UNKNOWN:
            ledger.write(Untaken(device.id, first, request.signing))
        if fate is Fate.NEVER:
            raise NeverTaken(f"{answer.status} {_problem(answer)}")
        if fate is Fate.SIGN_ANEW:
            request = None
        if clock() > give_up:
            return None
        sleep((answer.retry_after_seconds or pause) * random.uniform(1.0, 1.5))
        pause = min(pause * 2, PAUSE_SECONDS_MAX)


def fate_of(answer: Answer) -> Fate:
    """What an answer means. Whatever does not rule out that the batch was taken is `UNKNOWN`."""
    if answer.status in TAKEN:
        return Fate.TAKEN
    if answer.status in LATER:
        return Fate.LATER
    told = FATES.get(_problem(answer))
    if told is not None:
        return told
    return Fate.UNKNOWN if answer.status == NO_ANSWER or answer.status >= SERVER_ERROR else Fate.NEVER


def _problem(answer: Answer) -> str:
    """The name of the answer's problem; "" where it has none."""
    try:
        return codec.from_json(answer.body, Problem).name
    except msgspec.MsgspecError:
        return ""


def surprise_in(receipt: Receipt, attested: list[Attested], sends: int) -> str:
    """How a receipt differs from what it must say of these scans, sent that often; "" where it does not."""
    verdicts = {one.seq: one.verdict for one in receipt.verdicts}
    duplicate = sum(verdict == DUPLICATE for verdict in verdicts.values())
    told = (receipt.accepted, receipt.duplicate, receipt.refused)
    if told != (len(attested) - len(verdicts), duplicate, len(verdicts) - duplicate):
        return "the receipt does not add up"
    if not verdicts.keys() <= {one.seq for one in attested}:
        return "the receipt judges scans that were not sent"
    if receipt.seen_to < attested[-1].seq:
        return "the receipt has not seen all of the batch"
    if duplicate and sends == 1:
        return "scans that were sent once are called duplicates"
    for one in attested:
        verdict = verdicts.get(one.seq, ACCEPTED)
        good = {Refusal.BAD_CODE.value} if one.subject == NOBODY else {ACCEPTED, DUPLICATE}
        if verdict not in good:
            return f"a scan by {one.how} has the verdict {verdict}"
    return ""
