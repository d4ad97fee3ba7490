"""This machine's clock, and times as people write them at a terminal."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

SPAN: Final = re.compile(r"^(\d{1,6})(m|h|d|w)$")
SPAN_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
DAY_MS: Final = 86_400_000


class NoTime(ValueError):
    """A text is no time; the message shows what one looks like."""


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def time_of(text: str, now: int) -> int:
    """Unix ms of a time as people write it.

    `2021-10-21T08:30` (this machine's zone unless it names one), `2021-10-21`, `now`, `2h` or `3d` ago, or Unix ms.
    Raises `NoTime`.
    """
    text = text.strip()
    if text == "now":
        return now
    span = SPAN.match(text)
    if span is not None:
        return now - int(span[1]) * SPAN_MS[span[2]]
    if text.isascii() and text.isdigit() and len(text) >= 12:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NoTime(
            f"{text!r} is no time: write 2021-10-21T08:30, 2021-10-21, 3d (three days ago), now, or Unix ms."
        ) from None
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def shown(ms: int) -> str:
    """A time for a table, in this machine's zone, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def shown_seconds(seconds: float) -> str:
    """A duration for a table: `2 h 05 min`, `12 min`, `40 s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min" if minutes else f"{rest} s"
