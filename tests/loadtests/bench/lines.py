"""A bench's result, and its line as a program reads it."""

from typing import Any, Final

import msgspec

from loadtests.bench.report import Result

RESULT: Final = Result(
    bench="disk",
    value=6.0,
    unit="bytes/scan",
    baseline="other",
    baseline_value=2.0,
    target="≤ 5",
    met=True,
    progress=1.2,
)
"""A made-up one; each test changes what it is about."""


class Line(msgspec.Struct, frozen=True):
    """What every line has; its bench's own figures are left out."""

    bench: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float
    target: str
    met: bool | None
    failures: list[str]
    machine: dict[str, Any]
    versions: dict[str, str]


def decoded(line: bytes) -> Line:
    """Decode a line. Raises `msgspec.MsgspecError` where it is not well-formed."""
    return msgspec.json.decode(line, type=Line)
