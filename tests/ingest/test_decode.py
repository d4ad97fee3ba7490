"""`ingest.decode`: bounded, one encoding, and each mistake told by its place, never by its content."""

import contextlib
import gzip
import sys
import zlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import codec, problems
from events.problems import Kind, Problem, ProblemError
from events.scans import BATCH_SCANS_MAX, SEQ_MAX, Scan, ScanBatch
from events.scans import Kind as ScanKind
from ingest.columns import ScanColumns
from ingest.decode import decode_body, decode_columns
from ingest.limits import EdgeLimits
from tests.ingest.scene import JSON, LIMITS, MSGPACK, NOW, good

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BATCH = ScanBatch([good(1), good(2)])
PLAIN = codec.to_json(BATCH)
SECRET = "001301000001"


def decode(body: bytes, content_type: str = JSON, encoding: str = "", limits: EdgeLimits = LIMITS) -> ScanBatch:
    return decode_body(body, content_type, encoding, limits)


def refusal(kind: Kind, body: bytes, content_type: str = JSON, encoding: str = "", **limits: int) -> Problem:
    with pytest.raises(ProblemError) as caught:
        decode(body, content_type, encoding, EdgeLimits(**limits))
    problem = caught.value.problem
    assert problem.type == problems.PROBLEM_TYPE_BASE + kind.name
    assert SECRET not in problem.detail + problem.pointer
    return problem


def json_scan(**fields: str) -> bytes:
    """A batch of one scan from JSON texts."""
    members = {"seq": "1", "at": "1", "kind": '"in"'} | fields
    return b'{"scans":[{%s}]}' % ",".join(f'"{name}":{value}' for name, value in members.items()).encode()


@pytest.mark.parametrize("encode", [codec.to_json, codec.to_msgpack])
@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("", bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("zstd", zstd.compress),
    ],
)
def test_every_form_says_the_same(
    encode: Callable[[object], bytes], encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    content_type = JSON if encode is codec.to_json else MSGPACK
    assert decode(compress(encode(BATCH)), content_type, encoding) == BATCH


@pytest.mark.parametrize(
    "content_type",
    [
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json;",
    ],
)
def test_json_types(content_type: str) -> None:
    assert decode(PLAIN, content_type) == BATCH


@pytest.mark.parametrize("content_type", ["application/vnd.msgpack", "application/x-msgpack"])
def test_msgpack_types(content_type: str) -> None:
    assert decode(codec.to_msgpack(BATCH), content_type) == BATCH


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json; charset=utf-16", "application/json, application/json", "application/jsonx"],
)
def test_other_types(content_type: str) -> None:
    refusal(problems.CONTENT_TYPE_UNKNOWN, PLAIN, content_type)


@pytest.mark.parametrize("encoding", ["br", "gzip, zstd", "gzip, gzip", "deflate"])
def test_other_encodings(encoding: str) -> None:
    refusal(problems.CONTENT_ENCODING_UNKNOWN, PLAIN, encoding=encoding)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_compressed_bodies_are_whole_and_alone(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    body = compress(PLAIN)
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        refusal(problems.BODY_MALFORMED, body[:cut], encoding=encoding)
    for more in (b"x", body, b"\0"):
        problem = refusal(problems.BODY_MALFORMED, body + more, encoding=encoding)
        assert f"byte {len(body)}" in problem.detail
    damaged = bytearray(body)
    damaged[-2] ^= 0xFF
    damaged[len(body) // 2] ^= 0xFF
    refusal(problems.BODY_MALFORMED, bytes(damaged), encoding=encoding)
    refusal(problems.BODY_MALFORMED, PLAIN, encoding=encoding)


def test_a_wrong_checksum() -> None:
    body = bytearray(gzip.compress(PLAIN))
    body[-8] ^= 1
    refusal(problems.BODY_MALFORMED, bytes(body), encoding="gzip")


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_the_bound_is_exact(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    body = compress(PLAIN)
    assert decode(body, encoding=encoding, limits=EdgeLimits(decompressed_bytes_max=len(PLAIN))) == BATCH
    refusal(problems.BODY_TOO_LARGE, body, encoding=encoding, decompressed_bytes_max=len(PLAIN) - 1)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_a_bomb_is_not_unpacked(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(bytes(64_000_000))
    assert len(bomb) < LIMITS.body_bytes_max
    refusal(problems.BODY_TOO_LARGE, bomb, encoding=encoding)


def test_a_window_that_asks_for_too_much_memory() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 24})
    # Without a size up front and with more than a window of content, the frame header states the window.
    body = compressor.compress(bytes(1 << 25)) + compressor.flush()
    refusal(problems.BODY_MALFORMED, body, encoding="zstd", decompressed_bytes_max=1 << 26)


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (b"", 0),
        (b"{", 1),
        (b'{"scans":[{"seq":NaN,"at":1,"kind":"in"}]}', 17),
        (b'{"scans":[{"seq":Infinity,"at":1,"kind":"in"}]}', 17),
        (b'{"scans":[{"seq":01,"at":1,"kind":"in"}]}', 18),
        (b"\xef\xbb\xbf" + PLAIN, 0),
        (PLAIN + b"x", len(PLAIN)),
        (PLAIN[:-1], len(PLAIN) - 1),
        (json_scan(code='"é"').replace("é".encode(), b"\xff"), json_scan(code='"é"').index("é".encode())),
    ],
)
def test_malformed_json_names_the_position(body: bytes, position: int) -> None:
    assert f"(byte {position})" in refusal(problems.BODY_MALFORMED, body).detail


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (codec.to_msgpack(BATCH) + b"x", len(codec.to_msgpack(BATCH))),
        (b"", 0),
        (b"\xc1", 0),
        (b"\x81\xa5scans\x91\x81\xa4code\xa1\xff", 15),
        (b"\x81\xa5scans\xdc", 8),
    ],
)
def test_malformed_msgpack_names_the_position(body: bytes, position: int) -> None:
    assert f"(byte {position})" in refusal(problems.BODY_MALFORMED, body, MSGPACK).detail


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"[]", ""),
        (b"{}", ""),
        (b'{"scans":1}', "/scans"),
        (b'{"scans":[]}', "/scans"),
        (b'{"scans":[1]}', "/scans/0"),
        (b'{"scans":[{}]}', "/scans/0"),
        (b'{"001301000001":[]}', ""),
        (json_scan(seq="0"), "/scans/0/seq"),
        (json_scan(seq="-1"), "/scans/0/seq"),
        (json_scan(seq="1.0"), "/scans/0/seq"),
        (json_scan(seq="1e3"), "/scans/0/seq"),
        (json_scan(seq='"1"'), "/scans/0/seq"),
        (json_scan(seq="null"), "/scans/0/seq"),
        (json_scan(seq=str(SEQ_MAX + 1)), "/scans/0/seq"),
        (json_scan(seq="9" * 5_000), "/scans/0/seq"),
        (json_scan(seq="[" * 100_000), "/scans/0/seq"),
        (json_scan(at="-1"), "/scans/0/at"),
        (json_scan(at="4102444800001"), "/scans/0/at"),
        (json_scan(kind='"001301000001"'), "/scans/0/kind"),
        (json_scan(code="1"), "/scans/0/code"),
        (json_scan(code=f'"{"x" * 513}"'), "/scans/0/code"),
        (json_scan(**{SECRET: "1"}), "/scans/0"),
        (json_scan(**{"x` - at `$.scans[9].code": "1"}), "/scans/0"),
        (PLAIN.replace(b'"seq":2', b'"seq":0'), "/scans/1/seq"),
    ],
)
def test_invalid_json_is_pointed_at(body: bytes, pointer: str) -> None:
    problem = refusal(problems.BODY_INVALID, body)
    assert problem.pointer == pointer
    assert problem.detail


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"scans": [{"seq": float("nan"), "at": 1, "kind": "in"}]}, "/scans/0/seq"),
        ({"scans": [{"seq": 2**64 - 1, "at": 1, "kind": "in"}]}, "/scans/0/seq"),
        ({"scans": [{"seq": 1, "at": 1, "kind": "in", "code": b"bytes"}]}, "/scans/0/code"),
        ({b"scans": []}, ""),
        ({1: 2}, ""),
    ],
)
def test_invalid_msgpack_is_pointed_at(value: object, pointer: str) -> None:
    assert refusal(problems.BODY_INVALID, codec.to_msgpack(value), MSGPACK).pointer == pointer


@pytest.mark.parametrize(
    ("content_type", "encode"), [(JSON, codec.to_json), (MSGPACK, codec.to_msgpack)], ids=["json", "msgpack"]
)
@pytest.mark.parametrize(("encoding", "compress"), [("", bytes), ("zstd", zstd.compress)])
def test_large_bodies_of_one_layout_are_columns(
    content_type: str, encode: Callable[[object], bytes], encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    code = good().code
    assert code is not None
    scans = [Scan(seq, NOW, ScanKind.IN, code[:80]) for seq in range(1, 201)]
    columns = decode_columns(compress(encode(ScanBatch(scans))), content_type, encoding, LIMITS)
    assert isinstance(columns, ScanColumns)
    assert [columns.scan(index) for index in range(len(columns))] == scans
    others = ScanBatch([*scans, good(201, place="stall")])
    assert decode_columns(compress(encode(others)), content_type, encoding, LIMITS) == others
    with pytest.raises(ProblemError) as caught:
        decode_columns(compress(encode({"scans": [*scans, {"seq": 0}]})), content_type, encoding, LIMITS)
    assert caught.value.problem.pointer == "/scans/200/seq"


def test_a_length_that_lies_costs_nothing() -> None:
    assert refusal(problems.BODY_INVALID, b"\x81\xa5scans\xdd\xff\xff\xff\xff", MSGPACK).pointer == "/scans"


def test_batches_end_at_5000() -> None:
    scans = [Scan(seq, 1, ScanKind.IN) for seq in range(1, BATCH_SCANS_MAX + 2)]
    assert len(decode(codec.to_json({"scans": scans[:-1]})).scans) == BATCH_SCANS_MAX
    for body, content_type in ((codec.to_json({"scans": scans}), JSON), (codec.to_msgpack({"scans": scans}), MSGPACK)):
        problem = refusal(problems.BODY_INVALID, body, content_type)
        assert problem.pointer == "/scans"
        assert "1 to 5000" in problem.detail


@given(st.binary(max_size=200), st.sampled_from([JSON, MSGPACK]), st.sampled_from(["", "gzip", "zstd"]))
def test_any_bytes_are_refused_in_order(body: bytes, content_type: str, encoding: str) -> None:
    with pytest.raises(ProblemError):
        decode(body, content_type, encoding)


@given(st.data())
def test_any_damage_is_refused_in_order(data: st.DataObject) -> None:
    content_type, body = data.draw(st.sampled_from([(JSON, PLAIN), (MSGPACK, codec.to_msgpack(BATCH))]))
    position = data.draw(st.integers(0, len(body) - 1))
    damaged = body[:position] + data.draw(st.binary(max_size=3)) + body[position + 1 :]
    # Damage may leave another batch; whatever else it leaves is refused and not an error of another kind.
    with contextlib.suppress(ProblemError):
        batch = decode(damaged, content_type)
        assert msgspec.convert(msgspec.to_builtins(batch), ScanBatch) == batch


def test_deflate_in_a_gzip_name() -> None:
    refusal(problems.BODY_MALFORMED, zlib.compress(PLAIN), encoding="gzip")
