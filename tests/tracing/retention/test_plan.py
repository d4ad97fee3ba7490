"""What goes when, and that nobody has forgotten a table."""

from hypothesis import given
from hypothesis import strategies as st

from storage.cluster import SHARDING
from storage.expiry import Partition, day_of
from tracing.retention.plan import EXPIRING, due, going, needed_from
from tracing.retention.terms import DAY_MS, RUN_HOUR, Terms, kept_from, kept_from_by_itself, run_for, trace_goes_at

TERMS = Terms(scan_days=28, trace_days=28)
STAYING = {
    "retired": "numbers of scans, without whom or when",
    "progress": "no scans",
    "migrations": "no scans",
    "settled": "no scans",
    "control": "what the registries are made of",
    "traces": "by row, with their cases",
    "trace_subjects": "with their traces",
    "trace_pieces": "the same",
    "audit": "who looked at whom is kept longer than whom they looked at",
    "audit_chain": "the same; a chain without its beginning could not be verified",
    "directory": "sealed names, erased one by one",
    "people_states": "as long as the person is in the directory's care",
    "health_records": "the same",
    "clusters": "places and counts, nobody",
}
moments = st.integers(1_500_000_000_000, 1_900_000_000_000)


def partition(table: str, id: str) -> Partition:
    return Partition(table=table, id=id, rows=1, bytes=1)


def test_every_table_goes_or_says_why_it_stays() -> None:
    assert EXPIRING.keys() | STAYING.keys() >= SHARDING.keys()
    assert not EXPIRING.keys() & STAYING.keys()


@given(moments)
def test_a_scan_is_kept_for_all_its_days(now: int) -> None:
    for moment in (kept_from(TERMS, now), kept_from_by_itself(TERMS, now)):
        assert moment is not None
        assert moment % DAY_MS == 0
        assert now - 30 * DAY_MS < moment <= now - 28 * DAY_MS
    assert kept_from(Terms(scan_days=0, trace_days=1), now) is None


@given(moments)
def test_what_is_said_to_go_goes_then_and_not_before(at: int) -> None:
    for table, id in (
        ("log", day_of(at)),
        ("poison", day_of(at)[:6]),
        ("scans_by_subject", day_of(at // DAY_MS * DAY_MS)),
    ):
        one = partition(table, id)
        (said,) = going([one], TERMS)
        assert said.goes_at is not None
        assert due([one], kept_from_by_itself(TERMS, said.goes_at) or 0) == [one]
        assert due([one], kept_from_by_itself(TERMS, said.goes_at - 1) or 0) == []
        assert said.goes_at == run_for(TERMS, needed_from(table, id))
        assert said.goes_at % DAY_MS == RUN_HOUR * 3_600_000
        assert said.to <= said.goes_at - TERMS.scan_days * DAY_MS


def test_a_day_goes_whole_and_what_proves_it_last() -> None:
    tables = ("evidence", "scans_by_subject", "refused", "log")
    mixed = [partition(table, id) for table in tables for id in ("20211025", "20211018")]
    order = [(one.id, one.table) for one in due([*mixed, partition("poison", "202110")], 2**62)]
    assert order[:6] == [(day, table) for day in ("20211018", "20211025") for table in ("log", "refused", "evidence")]
    assert set(order[6:]) == {("202110", "poison"), ("20211018", "scans_by_subject"), ("20211025", "scans_by_subject")}
    assert going([partition("log", "20211018")], Terms(scan_days=0, trace_days=0))[0].goes_at is None


def test_a_trace_stays_as_long_as_any_of_its_cases_is_open() -> None:
    assert trace_goes_at(TERMS, 5, []) == 5 + 28 * DAY_MS
    assert trace_goes_at(TERMS, 5, [9, 2]) == 9 + 28 * DAY_MS
    assert trace_goes_at(TERMS, 5, [1]) == 5 + 28 * DAY_MS
    assert trace_goes_at(TERMS, 5, [1, None]) is None
    assert trace_goes_at(Terms(scan_days=1, trace_days=0), 5, []) is None
