"""A bench's line as a program reads it."""

from typing import Any

import msgspec


class Line(msgspec.Struct, frozen=True):
    """What every line has; its bench's own figures are left out."""

    bench: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float
    target: str
    met: bool
    failures: list[str]
    machine: dict[str, Any]
    versions: dict[str, str]


def decoded(line: bytes) -> Line:
    """Decode a line. Raises `msgspec.MsgspecError` where it is not well-formed."""
    return msgspec.json.decode(line, type=Line)
