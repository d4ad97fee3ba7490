"""Calendars read back by icalendar."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import icalendar
from hypothesis import given, settings
from hypothesis import strategies as st

from events.places import Place
from projections.stays import Stay
from tests.tracing.exports.samples import F0, HOUR, NASTY, START, exported, known, small, source_of, stay
from tracing.exports.formats import Format
from tracing.exports.timeline import LINE_OCTETS_MAX, Visit, calendar_pieces
from tracing.exports.xml_text import visible

names = st.one_of(st.sampled_from(NASTY), st.text(min_size=1, max_size=120))
stays = st.builds(
    lambda start, length: stay("place", START + start * 1000, START + (start + length) * 1000, start + 1),
    st.integers(0, 500_000),
    st.integers(1, 86_400),
)


def read(data: bytes) -> list[Any]:
    calendar = icalendar.Calendar.from_ical(data)
    assert not calendar.errors
    return list(calendar.walk("VEVENT"))


def moment(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


@given(st.lists(stays, max_size=6, unique=True), names)
@settings(max_examples=40)
def test_every_stay_comes_back_with_its_place_and_times(visited: list[Stay], name: str) -> None:
    place = Place(id="place", number=1, name=name, latitude=-10.5, longitude=106.25)
    visits = [Visit(who=F0, stay=one, contacts=3) for one in visited]
    counts: Counter[str] = Counter()
    data = b"".join(calendar_pieces(name, visits, lambda _: place, START, counts))
    assert all(len(line) <= LINE_OCTETS_MAX for line in data.split(b"\r\n"))
    assert data.endswith(b"END:VCALENDAR\r\n")
    events = read(data)
    assert len(events) == counts["events"] == len(visited)
    shown = visible(name).replace("\r\n", "\n").replace("\r", "\n")
    for event, one in zip(events, visited, strict=True):
        assert (event.start, event.end) == (moment(one.start), moment(one.end))
        assert str(event["SUMMARY"]) == str(event["LOCATION"]) == shown
        assert event["GEO"].to_ical() == "-10.5;106.25"
        assert f"door-1/{one.scans[0][1]}" in event["DESCRIPTION"]
    assert len({event["UID"] for event in events}) == len(visited)


def test_a_trace_s_calendar_shows_where_its_index_subjects_met_somebody() -> None:
    files, manifest = exported(source_of(small(), known(market="Chợ Bến Thành")), Format.ICS)
    events = read(files["timeline.ics"])
    assert [str(event["SUMMARY"]) for event in events] == ["Chợ Bến Thành", "row", "mall"]
    assert "1 contacts" in events[0]["DESCRIPTION"]
    assert "end dwell" in events[2]["DESCRIPTION"]
    assert events[0].start == moment(START + HOUR)
    assert manifest["files"][0]["counts"]["events"] == 3
