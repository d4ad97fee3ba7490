"""Random worlds for hypothesis: nested places, late, doubled and shuffled delivery, times that often coincide."""

from typing import Final

from hypothesis import strategies as st

from events.scans import Kind
from tests.oracle import HOUR, OraclePlace, OracleQuery, OracleScan
from tests.tracing.cases import CasePlace, CaseQuery, CaseScan, WorkedCase
from tracing.rule import Rule

MINUTE_MS: Final = 60_000
START_MS: Final = 1_634_860_800_000
STEP_MS: Final = 5 * MINUTE_MS
SUBJECTS: Final = ("f", "g", "a", "b", "c")
DEVICES: Final = ("d-9", "d-10", "d-a")
PLACE_IDS: Final = ("p0", "p1", "p2", "p3", "p4")
DWELLS: Final = (None, MINUTE_MS, 10 * MINUTE_MS, HOUR, 9 * HOUR, 12 * HOUR)
SPAN_STEPS: Final = 40 * 12
"""Forty hours, so that a stay's limit of a day is reached."""

times = st.integers(0, SPAN_STEPS).map(lambda step: START_MS + step * STEP_MS)
durations = st.sampled_from([0, 1_000, 7 * MINUTE_MS, HOUR])


@st.composite
def worlds(draw: st.DrawFn) -> WorkedCase:
    """A whole world with a question; its answer is left empty."""
    places = {
        place_id: CasePlace(
            parent=draw(st.sampled_from([None, *PLACE_IDS[:number]])), dwell=draw(st.sampled_from(DWELLS))
        )
        for number, place_id in enumerate(PLACE_IDS)
    }
    span = draw(st.sampled_from([3 * 12, SPAN_STEPS]))
    scans = draw(
        st.lists(
            st.builds(
                CaseScan,
                device=st.sampled_from(DEVICES),
                seq=st.integers(1, 25),
                at=st.integers(0, span).map(lambda step: START_MS + step * STEP_MS),
                received=times,
                kind=st.sampled_from(Kind),
                place=st.sampled_from(PLACE_IDS),
                subject=st.sampled_from(SUBJECTS),
            ),
            # Left to itself, the list is of five scans, where hardly anybody meets.
            min_size=draw(st.sampled_from([0, 30, 50])),
            max_size=60,
        )
    )
    scans.sort(key=lambda scan: scan.received)
    whole = st.just((START_MS, START_MS + SPAN_STEPS * STEP_MS))
    from_ms, to_ms = sorted(draw(st.one_of(whole, st.tuples(times, times))))
    query = CaseQuery(
        index=draw(st.sampled_from([("f",), ("f", "g")])),
        from_=from_ms,
        to=to_ms + 1_000,
        lag_ms=draw(durations),
        min_ms=draw(st.sampled_from([0, 1, 900_000, HOUR])),
        rule=draw(st.sampled_from(Rule)),
        as_of=draw(st.one_of(st.just(START_MS + 90 * HOUR), times)),
        depth=draw(st.integers(1, 3)),
        latency_ms=draw(durations),
    )
    return WorkedCase(name="random", why="", places=places, scans=scans, query=query, answer={})


def oracle_places(case: WorkedCase) -> dict[str, OraclePlace]:
    """The places as the oracle takes them."""
    return {place_id: OraclePlace(place.parent, place.dwell) for place_id, place in case.places.items()}


def oracle_scans(case: WorkedCase) -> list[OracleScan]:
    """The deliveries as the oracle takes them."""
    return [
        OracleScan(scan.device, scan.seq, scan.at, scan.received, str(scan.kind), scan.place, scan.subject)
        for scan in case.scans
    ]


def oracle_query(case: WorkedCase) -> OracleQuery:
    """The question as the oracle takes it."""
    query = case.query
    return OracleQuery(
        windows=tuple((subject, query.from_, query.to) for subject in query.index),
        lag=query.lag_ms,
        least=query.min_ms,
        rule=str(query.rule),
        as_of=query.as_of,
        depth=query.depth,
        latency=query.latency_ms,
    )
