"""Unix milliseconds as the store's client wants them."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def datetime_of(unix_ms: int) -> datetime:
    """The instant, exact to the millisecond (division of a float would not be)."""
    return EPOCH + timedelta(milliseconds=unix_ms)
