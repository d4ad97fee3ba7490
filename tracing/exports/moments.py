"""Unix milliseconds as exports write them: in Vietnam's zone, and saying so."""

from datetime import datetime, timedelta, timezone
from typing import Final

ZONE_NAME: Final = "Asia/Ho_Chi_Minh"
ZONE: Final = timezone(timedelta(hours=7))
"""Vietnam's, the whole year (IANA: since 1975)."""
EPOCH: Final = datetime(1970, 1, 1, 7, tzinfo=ZONE)
DAY_MS: Final = 86_400_000
ZONE_MS: Final = 7 * 3_600_000
EXCEL_EPOCH_DAYS: Final = 25_569
"""Days from Excel's day 0 (1899-12-30) to 1970-01-01, ECMA-376 part 1, 18.17.4.1."""


def local(ms: int) -> datetime:
    """The instant in Vietnam's zone, exact to the millisecond."""
    return EPOCH + timedelta(milliseconds=ms)


def iso(ms: int) -> str:
    """ISO 8601 with milliseconds and zone: `2021-10-21T08:30:00.000+07:00`."""
    return local(ms).isoformat(timespec="milliseconds")


def day(ms: int) -> str:
    """The day in Vietnam, `2021-10-21`."""
    return local(ms).date().isoformat()


def excel_serial(ms: int) -> float:
    """The wall clock in Vietnam as Excel counts it, in days."""
    return (ms + ZONE_MS) / DAY_MS + EXCEL_EPOCH_DAYS
