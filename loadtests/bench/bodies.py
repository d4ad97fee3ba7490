"""Requests made before the clock starts: signed batches as a scanner's library would encode them, in bulk.

Encoding scan by scan would take longer than the run itself: a batch is laid out as one matrix of bytes, a row for
each scan and as wide as the longest one, and the bytes that a scan does not need are masked out. A test holds the
result against `events.codec`, byte by byte.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final, Literal, Self

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from events.scans import KIND_NUMBER, SCANS_PATH
from keys.enrolment import FIRST_KEY
from keys.http_signatures import sign_request
from loadtests.bench.codes import CODE_CHARS
from loadtests.bench.world import Bytes, Scans, Uints, World, seqs

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Format = Literal["msgpack", "json"]
Encoding = Literal["zstd", "identity"]
Mask = NDArray[np.bool_]
Column = tuple[Bytes, Mask]
"""Some bytes of every scan: (scans, width), and which of them are wanted."""

ZSTD_LEVEL: Final = 3
"""The library's own default, which a gateway would leave."""
GENERATORS: Final = 2
REQUESTS_PER_TASK: Final = 16
CONTENT_TYPES: Final[dict[Format, str]] = {"msgpack": "application/msgpack", "json": "application/json"}
FIXARRAY_MAX: Final = 15
SEQ_DIGITS: Final = 10
AT_DIGITS: Final = 13


class Request(msgspec.Struct, frozen=True, gc=False):
    """One signed batch, ready for the wire: `count` scans of the device of this index from seq `first` on."""

    device: int
    first: int
    count: int
    data: bytes


class Order(msgspec.Struct, frozen=True):
    """What to make: `requests` batches of `scans` each."""

    requests: int
    scans: int
    format: Format = "msgpack"
    encoding: Encoding = "identity"


class Dealer:
    """Deals seqs to the devices of one service: each in its turn, each device from where its last batch ended."""

    def __init__(self, devices: int, first: int = 1) -> None:
        """`first`: the seq that each of them begins with."""
        self._next: Final = [first] * devices
        self._turn = 0

    def dealt(self, order: Order) -> list[tuple[int, int]]:
        """The device and the first seq of each batch of an order."""
        return [self._deal(order.scans) for _ in range(order.requests)]

    def _deal(self, scans: int) -> tuple[int, int]:
        device = self._turn
        self._turn = (device + 1) % len(self._next)
        first = self._next[device]
        self._next[device] += scans
        return device, first


class Generators:
    """The processes that make requests; a context manager."""

    def __init__(self, world: World, codes: bytes) -> None:
        """`codes`: the text of each person's code without its signature, `CODE_CHARS` ASCII bytes each."""
        self._pool: Final = ProcessPoolExecutor(
            GENERATORS, get_context("spawn"), initializer=_begin, initargs=(world, codes)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def requests(self, order: Order, dealt: list[tuple[int, int]]) -> list[Request]:
        """The requests of an order, signed as of now; `dealt` names the device and the first seq of each."""
        tasks = [
            _Task(order, dealt[start : start + REQUESTS_PER_TASK]) for start in range(0, len(dealt), REQUESTS_PER_TASK)
        ]
        return [request for made in self._pool.map(_made, tasks) for request in made]


class _Task(msgspec.Struct, frozen=True):
    order: Order
    dealt: list[tuple[int, int]]


class Maker:
    """Makes requests: encodes, compresses, signs."""

    def __init__(self, world: World, codes: Bytes) -> None:
        self._world: Final = world
        self._codes: Final = codes
        self._keys: Final[dict[int, Ed25519PrivateKey]] = {}

    def request(self, device: int, first: int, order: Order, created: int) -> Request:
        """One signed batch; `created` in Unix seconds."""
        body = ENCODERS[order.format](self._world.scans(device, seqs(first, order.scans)), self._codes)
        if order.encoding == "zstd":
            body = zstd.compress(body, level=ZSTD_LEVEL)
        headers = sign_request(
            self._key(device),
            self._keyid(device),
            method="POST",
            path=SCANS_PATH,
            content_type=CONTENT_TYPES[order.format],
            body=body,
            created=created,
            content_encoding=None if order.encoding == "identity" else order.encoding,
        )
        return Request(device, first, order.scans, post(SCANS_PATH, headers, body))

    def _key(self, device: int) -> Ed25519PrivateKey:
        if device not in self._keys:
            self._keys[device] = device_key(self._world, device)
        return self._keys[device]

    def _keyid(self, device: int) -> str:
        return f"{self._world.device(device).id}.{FIRST_KEY}"


def device_key(world: World, device: int) -> Ed25519PrivateKey:
    """The key that the device of this index signs with."""
    return Ed25519PrivateKey.from_private_bytes(world.key_seed(device))


def post(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("ascii") + body


def to_msgpack(scans: Scans, codes: Bytes) -> bytes:
    """A `ScanBatch` in MessagePack, every number in its shortest form."""
    count = len(scans.seq)
    head = bytes([0x90 | count]) if count <= FIXARRAY_MAX else b"\xdc" + count.to_bytes(2, "big")
    rows = _joined(
        count,
        b"\x84\xa3seq",
        _shortest_uint(scans.seq),
        b"\xa2at\xcf",
        _always(_big_endian(scans.at, 8)),
        b"\xa4kind",
        _looked_up(scans.kind, _KINDS_MSGPACK),
        b"\xa4code\xd9" + bytes([CODE_CHARS]),
        _always(codes[scans.person]),
    )
    return b"\x81\xa5scans" + head + rows


def to_json(scans: Scans, codes: Bytes) -> bytes:
    """A `ScanBatch` in JSON without white space."""
    rows = _joined(
        len(scans.seq),
        b'{"seq":',
        _digits(scans.seq, SEQ_DIGITS),
        b',"at":',
        _digits(scans.at, AT_DIGITS),
        b',"kind":"',
        _looked_up(scans.kind, _KINDS_JSON),
        b'","code":"',
        _always(codes[scans.person]),
        b'"},',
    )
    return b'{"scans":[' + rows[:-1] + b"]}"


ENCODERS: Final[dict[Format, Callable[[Scans, Bytes], bytes]]] = {"msgpack": to_msgpack, "json": to_json}


def _joined(rows: int, *parts: bytes | Column) -> bytes:
    """The parts of each row, one behind the other, then row behind row."""
    columns = [
        _always(np.broadcast_to(np.frombuffer(part, np.uint8), (rows, len(part)))) if isinstance(part, bytes) else part
        for part in parts
    ]
    matrix = np.concatenate([values for values, _ in columns], axis=1)
    wanted = np.concatenate([mask for _, mask in columns], axis=1)
    joined: Bytes = matrix[wanted]
    return joined.tobytes()


def _always(values: Bytes) -> Column:
    return values, np.broadcast_to(np.True_, values.shape)


def _big_endian(values: Uints, width: int) -> Bytes:
    return values.astype(">u8").view(np.uint8).reshape(len(values), 8)[:, 8 - width :]


def _shortest_uint(values: Uints) -> Column:
    """MessagePack's shortest form of numbers below 2³²: a byte, or a marker and 1, 2 or 4 bytes."""
    marker = np.select([values > 0xFFFF, values > 0xFF], [0xCE, 0xCD], 0xCC).astype(np.uint8)
    octets = np.concatenate([marker[:, None], _big_endian(values, 4)], axis=1)
    wide, middle = values > 0xFFFF, values > 0xFF
    return octets, np.stack([values > 0x7F, wide, wide, middle, np.ones_like(wide)], axis=1)


def _digits(values: Uints, width: int) -> Column:
    """Decimal digits without leading zeros."""
    powers = np.uint64(10) ** np.arange(width - 1, -1, -1, dtype=np.uint64)
    digits = (values[:, None] // powers % np.uint64(10) + np.uint64(ord("0"))).astype(np.uint8)
    wanted = values[:, None] >= powers
    wanted[:, -1] = True
    return digits, wanted


def _table(texts: list[bytes]) -> Column:
    """Texts by number from 1 on, as rows of one width."""
    width = max(len(text) for text in texts)
    padded = b"".join(text.ljust(width, b"\0") for text in [b"", *texts])
    lengths = np.array([0, *(len(text) for text in texts)])
    return np.frombuffer(padded, np.uint8).reshape(-1, width), np.arange(width) < lengths[:, None]


def _looked_up(numbers: Bytes, table: Column) -> Column:
    values, wanted = table
    return values[numbers], wanted[numbers]


_KINDS: Final = [kind.encode() for kind in sorted(KIND_NUMBER, key=KIND_NUMBER.__getitem__)]
_KINDS_MSGPACK: Final = _table([bytes([0xA0 | len(kind)]) + kind for kind in _KINDS])
_KINDS_JSON: Final = _table(_KINDS)
_maker: list[Maker] = []
"""The maker of this process, where it is a generator."""


def _begin(world: World, codes: bytes) -> None:
    _maker.append(Maker(world, np.frombuffer(codes, np.uint8).reshape(world.people, CODE_CHARS)))


def _made(task: _Task) -> list[Request]:
    created = int(time.time())
    return [_maker[0].request(device, first, task.order, created) for device, first in task.dealt]
