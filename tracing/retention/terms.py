"""How long things are kept, and from which moment on, in whole days of UTC. Pure."""

from collections.abc import Iterable
from typing import Final

import msgspec

DAY_MS: Final = 86_400_000
RUN_HOUR: Final = 20
"""The hour of the day, in UTC, after which what is over goes by itself: 03:00 in Vietnam, when least is scanned."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How many whole days scans are kept after they happened, and saved traces after they are needed; 0: for good."""

    scan_days: int
    trace_days: int


TERMS_DEFAULT: Final = Terms(scan_days=28, trace_days=28)


def kept_from(terms: Terms, now_ms: int) -> int | None:
    """The moment (Unix ms) from which scans are kept: midnight so many whole days ago. None where all are kept."""
    return max(_midnight(now_ms) - terms.scan_days * DAY_MS, 0) if terms.scan_days else None


def kept_from_by_itself(terms: Terms, now_ms: int) -> int | None:
    """The same without being told to: a day's end counts from the next `RUN_HOUR` on."""
    return kept_from(terms, max(now_ms - RUN_HOUR * 3_600_000, 0))


def run_for(terms: Terms, kept_from_ms: int) -> int:
    """When (Unix ms) `kept_from` reaches this midnight by itself."""
    return kept_from_ms + terms.scan_days * DAY_MS + RUN_HOUR * 3_600_000


def trace_goes_at(terms: Terms, asked_at: int, closed_at: Iterable[int | None]) -> int | None:
    """When (Unix ms) a saved trace goes: so many days after it was asked and after the last of its cases was closed.

    `closed_at` of each case that it named, None for one that is open: then it stays.
    """
    moments = [asked_at, *closed_at]
    known = [moment for moment in moments if moment is not None]
    if not terms.trace_days or len(known) < len(moments):
        return None
    return max(known) + terms.trace_days * DAY_MS


def _midnight(ms: int) -> int:
    return ms // DAY_MS * DAY_MS
