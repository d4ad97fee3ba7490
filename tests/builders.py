"""Small builders that several tests share: entries as the edge publishes them."""

from collections.abc import Iterable

from events import codec
from events.scans import KIND_NUMBER, LOG_ROW, REFUSED_ROW, Entry, Kind


def log_row(device: int, seq: int, at: int, place: int, subject: bytes, kind: Kind = Kind.IN, key: int = 1) -> bytes:
    """One accepted scan, not yet received."""
    return LOG_ROW.pack(device, key, seq, at, 0, place, subject, KIND_NUMBER[kind], 1)


def entry(device: int, rows: Iterable[bytes], *, refused: Iterable[bytes] = (), key: int = 1) -> bytes:
    """A batch of one device as the stream carries it."""
    packed, turned_away = list(rows), list(refused)
    seqs = [LOG_ROW.unpack(row)[2] for row in packed] + [REFUSED_ROW.unpack(row)[2] for row in turned_away]
    return codec.to_msgpack(
        Entry(device, key, min(seqs), max(seqs), b"".join(packed), b"".join(turned_away), b"sealed")
    )
