"""`ingest.uniform`: a body read as columns is the batch that its decoder makes of it, or it is not read at all."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import codec
from events.scans import AT_MS_MAX, BATCH_SCANS_MAX, SEQ_MAX, Kind, Scan, ScanBatch
from ingest.columns import ScanColumns
from ingest.uniform import SCAN_BYTES_MAX, UNIFORM_BYTES_MIN, uniform_json, uniform_msgpack
from tests.ingest.scene import NOW, person_code

T = TypeVar("T")
Read = Callable[[bytes], ScanColumns | None]
Encode = Callable[[object], bytes]
Decode = Callable[[bytes], ScanBatch]

CODE = person_code()[:80]
COUNT = 160
"""Scans that make a body long enough."""
KINDS = list(Kind)
SCANS = [Scan(seq, NOW + seq, KINDS[seq % 3], CODE) for seq in range(1, COUNT + 1)]
JSON_SCANS = [codec.to_json(scan) for scan in SCANS]
MSGPACK_SCANS = [codec.to_msgpack(scan) for scan in SCANS]
FORMATS = pytest.mark.parametrize(
    ("encode", "read", "decode"),
    [
        (codec.to_msgpack, uniform_msgpack, codec.scan_batch_from_msgpack),
        (codec.to_json, uniform_json, codec.scan_batch_from_json),
    ],
    ids=["msgpack", "json"],
)


def packed(marker: int, number: int, width: int) -> bytes:
    """A number in a form of MessagePack, the shortest or not."""
    return bytes([marker]) + number.to_bytes(width, "big")


def scans_of(columns: ScanColumns) -> list[Scan]:
    return [columns.scan(index) for index in range(len(columns))]


def holds(read: Read, decode: Decode, body: bytes) -> bool:
    """Whether a body is read as columns, and if so as its decoder reads it."""
    columns = read(body)
    if columns is not None:
        assert scans_of(columns) == decode(body).scans
    return columns is not None


@FORMATS
@given(data=st.data())
def test_every_value_is_read(encode: Encode, read: Read, decode: Decode, data: st.DataObject) -> None:
    scan = st.builds(
        Scan,
        st.integers(1, 70_000) | st.integers(1, 10**15 - 1) | st.sampled_from([1, 127, 128, 255, 256, 65_535, 65_536]),
        st.integers(10**12, AT_MS_MAX),
        st.sampled_from(Kind),
        st.text(
            st.characters(min_codepoint=0x20, max_codepoint=0x7F, exclude_characters='"\\'), min_size=80, max_size=80
        ),
    )
    scans = data.draw(st.permutations(SCANS[:5] + data.draw(st.lists(scan, min_size=1, max_size=8)))) + SCANS
    assert holds(read, decode, encode(ScanBatch(scans)))


@FORMATS
@pytest.mark.parametrize("count", [COUNT, 1_000, BATCH_SCANS_MAX])
def test_the_largest_batches_are_read(encode: Encode, read: Read, decode: Decode, count: int) -> None:
    assert holds(
        read, decode, encode(ScanBatch([Scan(10**14 + seq, AT_MS_MAX, Kind.PASS, CODE) for seq in range(count)]))
    )


@FORMATS
@pytest.mark.parametrize(
    "scans",
    [
        SCANS[:100],
        [*SCANS, Scan(1, NOW, Kind.IN)],
        [*SCANS, Scan(1, NOW, Kind.IN, CODE, place="stall")],
        [Scan(1, NOW, Kind.IN, CODE, place="stall"), *SCANS],
        [Scan(1, NOW, Kind.IN, person_code()), *SCANS],
        [*SCANS, Scan(1, NOW, Kind.IN, person_code())],
        [*SCANS, Scan(1, 5, Kind.IN, CODE)],
        [*SCANS, Scan(1, NOW, Kind.IN, CODE[:79])],
        [*SCANS, Scan(1, NOW, Kind.IN, "é" * 40)],
        [*SCANS, Scan(1, NOW, Kind.IN, CODE[:79] + "\n")],
    ],
    ids=["few", "no code", "place", "place first", "signed first", "signed", "early", "short", "not ASCII", "control"],
)
def test_other_batches_are_left_to_their_decoder(encode: Encode, read: Read, decode: Decode, scans: list[Scan]) -> None:
    assert decode(encode(ScanBatch(scans)))
    assert not holds(read, decode, encode(ScanBatch(scans)))


@FORMATS
def test_too_many_scans_are_left_to_their_decoder(encode: Encode, read: Read, decode: Decode) -> None:
    assert read(encode({"scans": [Scan(seq, NOW, Kind.IN, CODE) for seq in range(1, BATCH_SCANS_MAX + 2)]})) is None
    assert read(encode({"scans": SCANS}) + b"\x84\xa3seq" * BATCH_SCANS_MAX) is None
    assert read(b"\x84\xa3seq" * 70_000) is None


@FORMATS
@given(data=st.data())
def test_damage_is_never_read_as_columns(encode: Encode, read: Read, decode: Decode, data: st.DataObject) -> None:
    body = encode(ScanBatch(SCANS))
    start = data.draw(st.integers(0, 2 * SCAN_BYTES_MAX) | st.integers(len(body) - 2 * SCAN_BYTES_MAX, len(body)))
    end = min(start + data.draw(st.sampled_from([0, 1, 2, 3, 5, 8, 13]) | st.integers(0, 200)), len(body))
    other = data.draw(st.integers(0, len(body) - SCAN_BYTES_MAX))
    patch = data.draw(
        st.binary(max_size=3)
        | st.sampled_from([b"\xcf", b"\xce\0\0\0\1", b"\xff", b"-1", b"0", b"1e3", b'"', b'\\"', b" ", b"\0", b"null"])
        | st.just(body[other : other + data.draw(st.integers(0, SCAN_BYTES_MAX))])
    )
    holds(read, decode, body[:start] + patch + body[end:])


SEQ_FORMS = [
    *[packed(0xCC, 0, 1), packed(0xCC, 5, 1), packed(0xCD, 5, 2), packed(0xCE, 5, 4), packed(0xCF, 5, 8)],
    *[packed(0xD0, 5, 1), packed(0xD3, 5, 8), packed(0xCB, 5, 8), b"\xcf\0\0\0\x84\xa3seq"],
    *[packed(0xCF, SEQ_MAX, 8), packed(0xCF, SEQ_MAX + 1, 8), packed(0xCF, 2**64 - 1, 8)],
]
# A good scan in parts, and of each part what is nearly it: whatever a decoder says of that, it must not pass for good.
JSON_PARTS = [
    ("{", ["", "[", " {", "{{"]),
    ('"seq":', ['"seq": ', '"seQ":', '"at":', '"seq";']),
    (
        "5",
        [
            "05",
            "0",
            "-5",
            "5.0",
            "5e0",
            " 5",
            "",
            "true",
            '"5"',
            ":",
            f"{SEQ_MAX}",
            f"{SEQ_MAX + 1}",
            "9" * 16,
            "9" * 40,
        ],
    ),
    (',"at":', [', "at":', ',"aT":', ';"at":']),
    (
        f"{NOW}",
        ["5", "0635000000000", "-163500000000", "163500000000:", "1635000.00000", f"{NOW}.0", f"{AT_MS_MAX + 1}"],
    ),
    ("", [":", "/", " "]),
    (',"kind":"', [',"kinD":"', ',"kind": "', ',"kind":']),
    ("in", ["inn", "i", "", "IN", "ix", "past", "pass", "out", "ouu", "i\\u006e"]),
    ('","code":"', ['","codE":"', '", "code":"', '","code":', '","cccd":"']),
    (CODE[:8], ["\\u0041AA", '","place', '"}],"x":', "A", "AAAAAAAAA", "\x01AAAAAAA", "éAAAAAA", "éAAAAAAA"]),
    (CODE[8:40], ['","place":"' + "A" * 21, '","seq":7,"place":"' + "A" * 13]),
    (CODE[40:], ["A" * 39 + "\\", "A" * 38 + '\\"', "A" * 39 + '"', '"},{"seq":7,"at":1,"kind":"in","code":"A']),
    ('"}', [",}", '" }', '","place":null}', '","place":""}', "}", '"']),
    (",", ["", ", ", ",,", ";", "]"]),
]
MSGPACK_PARTS = [
    (b"\x84", [b"\x83", b"\x85", b"\xde\0\x04", b"\x94", b""]),
    (b"\xa3seq", [b"\xa3seQ", b"\xa2at", b"\xd9\x03seq"]),
    (b"\x05", [b"\x7f", b"\x00", b"\x80", b"\x81", b"\xff", b"\xc0", b"\xc3", b"\xa15", b"", *SEQ_FORMS]),
    (b"\xa2at", [b"\xa2aT", b"\xa3seq"]),
    (packed(0xCF, NOW, 8), [packed(0xCF, value, 8) for value in (0, AT_MS_MAX, AT_MS_MAX + 1, 2**63, 2**64 - 1)]),
    (b"", [b"\xd3", b"\xcb", b"\x05"]),
    (b"\xa4kind", [b"\xa4kinD", b"\xd9\x04kind"]),
    (
        b"\xa2in",
        [b"\xa3inn", b"\xa1i", b"\xa0", b"\xd9\x02in", b"\xa2IN", b"\xa4past", b"\xc0", bytes(8), b"\xc4\x02in", b""],
    ),
    (b"\xa4code", [b"\xa4codE", b"\xa4cccd"]),
    (b"\xd9\x50", [b"\xd9\x51", b"\xd9\x4f", b"\xda\0\x50", b"\xc4\x50", b"\xc0"]),
    (CODE.encode(), [b"\xff" + CODE[1:].encode(), ("é" + CODE[2:]).encode(), CODE[1:].encode(), b"A" + CODE.encode()]),
    (b"", [b"\xa5place\xc0", b"\x84", b"\x84\xa3seq"]),
]
PLACES = pytest.mark.parametrize("place", [0, 1, COUNT // 2, COUNT])


def unaltered(parts: list[tuple[T, list[T]]]) -> list[T]:
    """The parts of the good scan."""
    return [part for part, _ in parts]


def nearly(parts: list[tuple[T, list[T]]]) -> Iterator[list[T]]:
    """A scan's parts, with each part in its turn as each of what is nearly it."""
    good = unaltered(parts)
    for index, (_, others) in enumerate(parts):
        for other in others:
            yield [*good[:index], other, *good[index + 1 :]]


@PLACES
def test_nearly_a_json_scan(place: int) -> None:
    before, after = (b"".join(scan + b"," for scan in scans) for scans in (JSON_SCANS[:place], JSON_SCANS[place:]))

    def is_read(parts: list[str]) -> bool:
        body = b'{"scans":[' + before + "".join(parts).encode() + after
        return holds(uniform_json, codec.scan_batch_from_json, body.removesuffix(b",") + b"]}")

    assert is_read(unaltered(JSON_PARTS))
    for parts in nearly(JSON_PARTS):
        is_read(parts)


@PLACES
def test_nearly_a_msgpack_scan(place: int) -> None:
    before, after = b"".join(MSGPACK_SCANS[:place]), b"".join(MSGPACK_SCANS[place:])

    def is_read(parts: list[bytes]) -> bool:
        body = b"\x81\xa5scans" + packed(0xDC, COUNT + 1, 2) + before + b"".join(parts) + after
        return holds(uniform_msgpack, codec.scan_batch_from_msgpack, body)

    assert is_read(unaltered(MSGPACK_PARTS))
    for parts in nearly(MSGPACK_PARTS):
        is_read(parts)


def test_nearly_a_batch() -> None:
    scans, texts = b"".join(MSGPACK_SCANS), b",".join(JSON_SCANS)
    assert holds(uniform_msgpack, codec.scan_batch_from_msgpack, b"\x81\xa5scans" + packed(0xDC, COUNT, 2) + scans)
    assert holds(uniform_json, codec.scan_batch_from_json, b'{"scans":[' + texts + b"]}")
    for begin in (packed(0xDC, COUNT - 1, 2), packed(0xDC, COUNT + 1, 2), packed(0xDD, COUNT, 4), b"\x9f"):
        assert not holds(uniform_msgpack, codec.scan_batch_from_msgpack, b"\x81\xa5scans" + begin + scans)
    for begin in (b"\x82\xa5scans", b"\x81\xa5scanS", b"\x91\xa5scans"):
        assert uniform_msgpack(begin + packed(0xDC, COUNT, 2) + scans) is None
    for begin, end in (
        (b'{"scanS":[', b"]}"),
        (b'["scans":[', b"]}"),
        (b' {"scans":[', b"]}"),
        (b'{"scans":[', b"],}"),
    ):
        assert uniform_json(begin + texts + end) is None
    for end in (b"]} ", b"] }", b"]", b"", b",]}", b"]}]"):
        assert uniform_json(b'{"scans":[' + texts + end) is None


@FORMATS
def test_what_is_no_batch(encode: Encode, read: Read, decode: Decode) -> None:
    good = encode(ScanBatch(SCANS))
    for body in (b"", b"{", bytes(UNIFORM_BYTES_MIN), good[: len(good) // 2], good + good, good[:200] * 100):
        assert read(body) is None
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            decode(body)
