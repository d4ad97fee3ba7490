"""What the processes say of a batch, and how seldom."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from app import trail
from app.trail import EdgeTrail, ProjectorTrail, SinkTrail
from events.scans import Refusal
from ingest.receive import EdgeResult, StepSeconds
from ingest.sink import Laid
from projections.projector import Projected
from storage.stream import FrozenRange


class Heard(logging.Handler):
    """Keeps every line's words and fields."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage(), vars(record)["fields"]))


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    loggers = [trail.edge_log, trail.sink_log, trail.projector_log]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def result(status: int = 202, problem: str = "", batch: str = "", **refused: int) -> EdgeResult:
    return EdgeResult(
        status=status,
        problem=problem,
        accepted=0,
        duplicate=0,
        refused={Refusal(reason): count for reason, count in refused.items()},
        seconds=StepSeconds(),
        batch=batch,
    )


def laid(first: str, last: str, received: int, rows: int) -> Laid:
    frozen = FrozenRange(first, last, received - 1, received)
    return Laid(frozen=frozen, entries=1, rows=rows, size=1, poison=0, again=False)


def test_the_edge_is_silent_about_what_it_takes(heard: Heard) -> None:
    EdgeTrail().on_result(result(batch="1-0"))
    assert heard.lines == []


def test_at_debug_it_names_every_batch(heard: Heard) -> None:
    trail.edge_log.setLevel(logging.DEBUG)
    edge = EdgeTrail()
    for number in range(3):
        edge.on_result(result(batch=f"{number}-0", bad_code=1))
    assert [(level, fields["batch"]) for level, _, fields in heard.lines] == [
        ("DEBUG", "0-0"),
        ("DEBUG", "1-0"),
        ("DEBUG", "2-0"),
    ]


def test_a_flood_of_refusals_is_told_now_and_then_with_how_many(heard: Heard) -> None:
    now = 0.0
    edge = EdgeTrail(lambda: now)
    for _ in range(1_100):
        edge.on_result(result(401, "key-unknown"))
        now += trail.PAUSE_SECONDS / 1_024
    edge.on_result(result(202, batch="5-0", bad_code=2))
    assert [(level, text, fields.get("unsaid")) for level, text, fields in heard.lines] == [
        ("INFO", "answered 401: key-unknown", 0),
        ("INFO", "answered 401: key-unknown", 1_023),
        ("INFO", "answered 202: scans-refused", 0),
    ]
    assert heard.lines[-1][2]["batch"] == "5-0"
    assert heard.lines[-1][2]["refused"] == {"bad_code": 2}


def test_ranges_of_some_seconds_share_a_line_and_none_is_left_out(heard: Heard) -> None:
    sink, projector = SinkTrail(), ProjectorTrail()
    sink.on_range(laid("5-0", "7-3", 7, 10))
    sink.on_range(laid("8-0", "9-0", 12, 5))
    projector.on_span(Projected(after=4, upto=12, rows=15, seconds={}))
    assert heard.lines == []
    for gathering in (sink.gathering, projector.gathering):
        gathering.flush()
        gathering.flush()
    assert heard.lines == [
        (
            "INFO",
            "laid into the log: 15 scans",
            {"first": "5-0", "last": "9-0", "received": 12, "rows": 15, "parts": 2},
        ),
        (
            "INFO",
            "folded into the read models: 15 scans",
            {"first": "5", "last": "12", "received": 12, "rows": 15, "parts": 1},
        ),
    ]
    sink.on_range(laid("10-0", "11-0", 13, 1))
    sink.gathering.flush()
    assert heard.lines[-1][2]["first"] == "10-0"


def test_gathered_ranges_are_told_without_being_asked(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "GATHER_SECONDS", 0.01)
    sink = SinkTrail()
    sink.on_range(laid("5-0", "7-3", 7, 10))
    assert sink.gathering.timer is not None
    sink.gathering.timer.join(10)
    assert [fields["last"] for _, _, fields in heard.lines] == ["7-3"]


def test_at_debug_each_range_has_its_line(heard: Heard) -> None:
    trail.sink_log.setLevel(logging.DEBUG)
    sink = SinkTrail()
    sink.on_range(laid("5-0", "7-3", 7, 10))
    sink.on_range(laid("8-0", "9-0", 12, 5))
    assert [(level, fields["first"]) for level, _, fields in heard.lines] == [("DEBUG", "5-0"), ("DEBUG", "8-0")]
