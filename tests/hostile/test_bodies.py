"""Bodies that are made to cost: bombs, claims of what never comes, depth. Each is refused, and cheaply."""

import functools
import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import msgspec
import pytest

from events.problems import PROBLEM_TYPE_BASE, ProblemError
from ingest.decode import decode_body
from ingest.limits import EdgeLimits
from loadtests.hostile.cheating import JSON_BODIES, MSGPACK_BODIES
from loadtests.hostile.signing import JSON, MSGPACK

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMITS = EdgeLimits()
BOMB_BYTES = 300_000_000
SCAN = b'{"seq":1,"at":1,"kind":"in"}'
BATCH = b'{"scans":[%s]}' % SCAN


def refused(body: bytes, content_type: str = JSON, encoding: str = "") -> str:
    """The problem's name; decoding must not take much more memory than what may come out of it."""
    tracemalloc.start()
    try:
        with pytest.raises(ProblemError) as caught:
            decode_body(body, content_type, encoding, LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * LIMITS.decompressed_bytes_max, f"{peak} bytes for {len(body)}"
    return caught.value.problem.type.removeprefix(PROBLEM_TYPE_BASE)


@functools.cache
def gzip_bomb() -> bytes:
    """Megabytes of spaces in some hundred thousand bytes."""
    packer = zlib.compressobj(9, wbits=31)
    piece = b" " * 10_000_000
    return b"".join(packer.compress(piece) for _ in range(BOMB_BYTES // len(piece))) + packer.flush()


@functools.cache
def zstd_bomb() -> bytes:
    """The same, and smaller still."""
    packer = zstd.ZstdCompressor()
    piece = b" " * 10_000_000
    return b"".join(packer.compress(piece) for _ in range(BOMB_BYTES // len(piece))) + packer.flush()


def wide_window() -> bytes:
    """A zstd frame whose reader would need 128 MiB to look back into."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    packer = zstd.ZstdCompressor(options=options)
    return packer.compress(BATCH) + packer.flush()


@pytest.mark.parametrize(("bomb", "encoding"), [(gzip_bomb, "gzip"), (zstd_bomb, "zstd")])
def test_a_bomb_stops_at_the_limit(bomb: Callable[[], bytes], encoding: str) -> None:
    body = bomb()
    assert len(body) < LIMITS.body_bytes_max, "the bomb must get past the limit of what is sent"
    assert refused(body, encoding=encoding) == "body-too-large"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(gzip.compress(gzip.compress(BATCH)), "gzip", id="gzip in gzip"),
        pytest.param(gzip.compress(BATCH) * 1_000, "gzip", id="many members"),
        pytest.param(gzip.compress(b"") * 50_000, "gzip", id="many empty members"),
        pytest.param(zstd.compress(BATCH) * 1_000, "zstd", id="many frames"),
        pytest.param(zstd.compress(b"") * 100_000, "zstd", id="many empty frames"),
        pytest.param(b"\x50\x2a\x4d\x18\x00\x00\x00\x00" * 200_000, "zstd", id="many frames to skip"),
        pytest.param(b"\x50\x2a\x4d\x18\xff\xff\xff\xff", "zstd", id="a frame to skip of four gigabytes"),
        pytest.param(wide_window(), "zstd", id="a window of 128 MiB"),
        pytest.param(gzip.compress(BATCH)[:-4], "gzip", id="cut short"),
        pytest.param(gzip.compress(BATCH)[:-8] + bytes(8), "gzip", id="a checksum that does not fit"),
    ],
)
def test_other_tricks_of_compression_are_no_body(body: bytes, encoding: str) -> None:
    assert refused(body, encoding=encoding) == "body-malformed"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(JSON, body) for body in JSON_BODIES] + [(MSGPACK, body) for body in MSGPACK_BODIES],
    ids=lambda value: repr(value[:40]),
)
def test_claims_and_depth_are_refused_and_cost_nothing(content_type: str, body: bytes) -> None:
    assert refused(body, content_type) in {"body-malformed", "body-invalid"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b'{"scans":[{"seq":1,"at":1,"kind":"in"}],"scans":[{"seq":2,"at":1,"kind":"in"}]}'),
        (JSON, b'{"scans":[{"seq":1,"at":1,"kind":"in","seq":2}]}'),
        (MSGPACK, b"\x81\xa5scans\x91\x84\xa3seq\x01\xa2at\x01\xa4kind\xa2in\xa3seq\x02"),
    ],
)
def test_of_a_name_that_stands_twice_the_last_counts_in_every_form(content_type: str, body: bytes) -> None:
    (scan,) = decode_body(body, content_type, "", LIMITS).scans
    assert scan.seq == 2


def test_a_batch_as_large_as_allowed_is_taken_and_one_scan_more_is_not() -> None:
    batch = {"scans": [{"seq": seq + 1, "at": 1, "kind": "in"} for seq in range(5_000)]}
    assert len(decode_body(msgspec.msgpack.encode(batch), MSGPACK, "", LIMITS).scans) == 5_000
    batch["scans"].append({"seq": 5_001, "at": 1, "kind": "in"})
    assert refused(msgspec.msgpack.encode(batch), MSGPACK) == "body-invalid"
