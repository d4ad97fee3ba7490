"""Questions that reach behind what is kept: they say so, or are refused where nothing is left to answer from. Pure."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from events import problems
from events.places import DWELL_SECONDS_MAX
from events.problems import ProblemError
from projections.stays import STAY_MS_MAX
from tracing.times import EPOCH

REACH_MS: Final = STAY_MS_MAX + DWELL_SECONDS_MAX * 1000
"""A stay lasts a day at most, and one that was not scanned in is reckoned back by a dwell: no answer looks farther."""


def behind(kept_from: int, from_ms: int) -> int | None:
    """`kept_from` where a window from `from_ms` on (Unix ms) would need scans from before it; None where not."""
    return kept_from if kept_from > 0 and from_ms - REACH_MS < kept_from else None


def require_kept(kept_from: int, ends: Iterable[int], pointer: str) -> None:
    """Raise WINDOW_EXPIRED as `ProblemError` where every window has ended by `kept_from`; all in Unix ms."""
    if kept_from and max(ends) <= kept_from:
        moment = (EPOCH + timedelta(milliseconds=kept_from)).isoformat()
        raise ProblemError(problems.WINDOW_EXPIRED.problem(f"Scans are kept from {moment} on.", pointer=pointer))
