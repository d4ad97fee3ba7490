from datetime import UTC, datetime

import pytest

from app.clock import NoTime, shown_seconds, time_of

NOW = 1_634_800_000_123


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("now", NOW),
        ("90m", NOW - 5_400_000),
        ("2h", NOW - 7_200_000),
        ("3d", NOW - 259_200_000),
        ("1w", NOW - 604_800_000),
        ("1634800000123", NOW),
        ("2021-10-21T08:30:00+07:00", 1_634_779_800_000),
        ("2021-10-21T01:30:00.123Z", 1_634_779_800_123),
    ],
)
def test_times_as_people_write_them(text: str, ms: int) -> None:
    assert time_of(text, NOW) == ms


def test_without_a_zone_it_is_this_machine_s() -> None:
    local = datetime(2021, 10, 21, 8, 30).astimezone()
    assert time_of("2021-10-21T08:30", NOW) == int(local.astimezone(UTC).timestamp() * 1000)


@pytest.mark.parametrize("text", ["", "yesterday", "3y", "-3d", "12", "2021-13-01", "1e12"])
def test_nonsense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(NoTime, match="2021-10-21T08:30"):
        time_of(text, NOW)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7_500, "2 h 05 min")])
def test_durations(seconds: float, text: str) -> None:
    assert shown_seconds(seconds) == text
