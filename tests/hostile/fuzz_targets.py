"""What untrusted bytes reach first, each as a function that raises where it does what it has not promised.

`test_fuzz` feeds them by hypothesis in every run of the tests, `fuzz` by coverage for as long as one likes.
"""

import gzip
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from events import codec, problems
from events.control import CodeRevoked, DeviceEnrolled, PlaceRegistered
from events.devices import Device
from events.places import Place
from events.problems import Problem, ProblemError
from events.scans import Kind, Refusal, Scan, ScanBatch
from ingest.decode import decode_body
from ingest.limits import EdgeLimits
from keys.codes import BadCode, CodeOpener, issue_person_code, issue_place_code, verify_code
from keys.http_signatures import (
    MalformedSignature,
    content_digest,
    content_digest_matches,
    parse_signature,
    parse_signature_input,
    signature_base,
)
from keys.secrets import new_secrets
from loadtests.hostile.cheating import JSON_BODIES, MSGPACK_BODIES

NOW: Final = 1_635_000_000_000
DAY: Final = 86_400_000
SEED_BYTES_MAX: Final = 4_096
"""Longer ones would only slow the fuzzer down."""
LIMITS: Final = EdgeLimits(decompressed_bytes_max=200_000)
FORMS: Final = (
    ("application/json", ""),
    ("application/msgpack", ""),
    ("application/json", "gzip"),
    ("application/msgpack", "zstd"),
)
BATCH: Final = ScanBatch([Scan(1, NOW, Kind.IN, code="TV1.x"), Scan(2, NOW, Kind.OUT, subject="0" * 32)])

SECRETS: Final = new_secrets(lambda length: hashlib.shake_256(b"fuzz").digest(length), NOW - DAY)
OPENER: Final = CodeOpener(SECRETS)
PERSON: Final = issue_person_code(
    SECRETS, bytes(16), vehicle=False, issued=NOW - DAY, expires=NOW + DAY, nonce=bytes(12)
)
WALL: Final = issue_place_code(SECRETS, "market", issued=NOW - DAY, expires=None)
PERSON_HEAD: Final = PERSON.rpartition(".")[0]
INPUT: Final = 'sig=("@method" "@path" "content-type" "content-digest");created=1635000000;keyid="door.1";alg="ed25519"'


class Target(msgspec.Struct, frozen=True):
    """Something that reads bytes, and bytes that it reads well or nearly."""

    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def read_body(data: bytes) -> None:
    """The first byte chooses the form, the others are the body. What is read is written and read again as the same."""
    if not data:
        return
    content_type, encoding = FORMS[data[0] % len(FORMS)]
    try:
        batch = decode_body(data[1:], content_type, encoding, LIMITS)
    except ProblemError as error:
        codec.from_json(error.problem.body(), Problem)
        return
    assert codec.scan_batch_from_json(codec.to_json(batch)) == batch
    assert codec.scan_batch_from_msgpack(codec.to_msgpack(batch)) == batch


def read_signature_headers(data: bytes) -> None:
    """Three headers, by lines. What is read must stand in what was sent, and make one line a component."""
    lines = data.decode("latin-1").split("\n", 2)
    signature_input, signature, digest = (*lines, "", "")[:3]
    for read in (lambda: parse_signature(signature, "sig"), lambda: content_digest_matches(digest, b"")):
        try:
            read()
        except MalformedSignature as error:
            codec.from_json(problems.SIGNATURE_MALFORMED.problem(str(error)).body(), Problem)
    try:
        signed = parse_signature_input(signature_input)
        assert signed.params_text in signature_input
        base = signature_base(signed, method="POST", path="/v1/scans", query="", authority="x", headers={})
    except MalformedSignature as error:
        codec.from_json(problems.SIGNATURE_MALFORMED.problem(str(error)).body(), Problem)
    else:
        assert base.count(b"\n") == len(signed.components)


def read_code(data: bytes) -> None:
    """A code's text: none opens but those that were issued."""
    text = data.decode("utf-8", "replace")
    person, place = OPENER.open_person(text), OPENER.open_place(text)
    assert isinstance(person, Refusal) or text[: len(PERSON_HEAD)] == PERSON_HEAD
    assert isinstance(place, Refusal) or text == WALL
    try:
        verify_code(text, SECRETS.issuer_public_keys())
    except BadCode:
        return
    assert text in {PERSON, WALL}


def read_control_event(data: bytes) -> None:
    """An event of the control stream. What is read is written and read again as the same."""
    try:
        event = codec.control_from_json(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    assert codec.control_from_json(codec.to_json(event)) == event


def _bodies() -> tuple[bytes, ...]:
    plain = (codec.to_json(BATCH), codec.to_msgpack(BATCH))
    good = (*plain, gzip.compress(plain[0], mtime=0))
    short = [body for body in (*JSON_BODIES, *MSGPACK_BODIES) if len(body) <= SEED_BYTES_MAX]
    return tuple(bytes([form]) + body for body in (*good, *short) for form in range(len(FORMS)))


TARGETS: Final = {
    "body": Target(read_body, _bodies()),
    "signature": Target(
        read_signature_headers,
        (
            f"{INPUT}\nsig=:{'A' * 86}==:\n{content_digest(b'')}".encode(),
            f'{INPUT};expires=1;nonce="n";tag="\\""\n\nmd5=:AA==:, {content_digest(b"")}'.encode(),
            b'b=();created=0;keyid=""',
        ),
    ),
    "code": Target(read_code, (PERSON.encode(), PERSON_HEAD.encode(), WALL.encode(), b"TV1..", b"TV1.AQEAAAE")),
    "control": Target(
        read_control_event,
        tuple(
            codec.to_json(event)
            for event in (
                PlaceRegistered(Place(id="market", number=1, name="Chợ")),
                DeviceEnrolled(Device(id="door", number=1, place="market")),
                CodeRevoked("0" * 24),
            )
        ),
    ),
}
