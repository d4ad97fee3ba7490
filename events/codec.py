"""The only codec: bytes become structs here and nowhere else."""

from typing import Any, Final, TypeVar

import msgspec

from events.control import ControlEvent
from events.scans import Entry, Evidence, ScanBatch

T = TypeVar("T")

scan_batch_from_json: Final = msgspec.json.Decoder(ScanBatch).decode
scan_batch_from_msgpack: Final = msgspec.msgpack.Decoder(ScanBatch).decode
to_json: Final = msgspec.json.Encoder(order="deterministic").encode
to_msgpack: Final = msgspec.msgpack.Encoder().encode
entry_from_msgpack: Final = msgspec.msgpack.Decoder(Entry).decode
evidence_from_msgpack: Final = msgspec.msgpack.Decoder(Evidence).decode
control_from_json: Final[Any] = msgspec.json.Decoder(ControlEvent).decode


def from_json(data: bytes | str, type: type[T]) -> T:
    """One value of the type, strictly. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return msgspec.json.decode(data, type=type)
