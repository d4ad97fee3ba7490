"""Bodies made in bulk are the bytes that a scanner's library would send, and they are signed."""

import secrets

import numpy as np
import pytest

from app.clock import now_ms
from events import codec
from events.scans import KIND_NUMBER, Scan, ScanBatch
from ingest.decode import decode_body
from ingest.limits import EdgeLimits
from keys.codes import CodeOpener, PersonCode
from keys.http_signatures import content_digest
from keys.secrets import new_secrets
from loadtests.bench.bodies import CONTENT_TYPES, Dealer, Encoding, Format, Maker, Order, to_json, to_msgpack
from loadtests.bench.codes import CODE_CHARS, person_codes
from loadtests.bench.world import Bytes, World, new_world, seqs

NOW = now_ms()
WORLD = new_world(seed=3, devices=4, people=40, scans=400_000, now_ms=NOW)
KIND = {number: kind for kind, number in KIND_NUMBER.items()}
FORMATS: tuple[Format, ...] = ("msgpack", "json")
ENCODINGS: tuple[Encoding, ...] = ("zstd", "identity")


def stand_in_codes(world: World) -> Bytes:
    """Texts as long as a code."""
    return np.frombuffer(secrets.token_hex(CODE_CHARS * world.people // 2).encode(), np.uint8).reshape(-1, CODE_CHARS)


CODES = stand_in_codes(WORLD)


def batch(device: int, first: int, count: int) -> ScanBatch:
    """The batch as the reference scanner would hold it."""
    scans = WORLD.scans(device, seqs(first, count))
    return ScanBatch(
        [
            Scan(int(seq), int(at), KIND[int(kind)], code=CODES[int(person)].tobytes().decode())
            for seq, at, kind, person in zip(scans.seq, scans.at, scans.kind, scans.person, strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("first", "count"),
    [(1, 1), (120, 15), (120, 16), (250, 20), (65_500, 100), (99_950, 100), (1, 1_000)],
    ids=str,
)
def test_bulk_encoders_write_what_the_codec_writes(first: int, count: int) -> None:
    scans = WORLD.scans(2, seqs(first, count))
    assert to_msgpack(scans, CODES) == codec.to_msgpack(batch(2, first, count))
    assert to_json(scans, CODES) == codec.to_json(batch(2, first, count))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_request_holds_its_batch(format: Format, encoding: Encoding) -> None:
    request = Maker(WORLD, CODES).request(1, 5, Order(1, 30, format, encoding), NOW // 1000)
    head, _, body = request.data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/scans HTTP/1.1"
    assert f"Content-Length: {len(body)}" in lines
    assert f"Content-Digest: {content_digest(body)}" in lines
    assert ("Content-Encoding: zstd" in lines) == (encoding == "zstd")
    named = encoding if encoding == "zstd" else ""
    assert decode_body(body, CONTENT_TYPES[format], named, EdgeLimits()) == batch(1, 5, 30)
    assert (request.device, request.first, request.count) == (1, 5, 30)


def test_seqs_are_dealt_without_gaps_or_repeats() -> None:
    dealer = Dealer(3)
    dealt = dealer.dealt(Order(4, 10)) + dealer.dealt(Order(3, 5))
    assert dealt == [(0, 1), (1, 1), (2, 1), (0, 11), (1, 11), (2, 11), (0, 21)]


def test_codes_open_as_their_people() -> None:
    server = new_secrets(secrets.token_bytes, NOW)
    world = new_world(seed=4, devices=1, people=12, scans=10, now_ms=NOW)
    texts = person_codes(server, world)
    opener = CodeOpener(server)
    for person, subject in enumerate(world.subjects()):
        opened = opener.open_person(texts[person * CODE_CHARS : (person + 1) * CODE_CHARS].decode())
        assert isinstance(opened, PersonCode)
        assert opened.subject == subject.tobytes()
        assert opened.issued < world.start_ms
        assert opened.expires > NOW
