"""Random worlds: the fast answer is the naive one, whatever order things arrived in."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.stays import Stay, walk
from storage.clickhouse import Store
from tests import oracle
from tests.tracing.cases import WorkedCase, answer_of, counted, place_tree, sightings_by_subject
from tests.tracing.world import traced
from tests.tracing.worlds import oracle_places, oracle_query, oracle_scans, worlds


def expected(case: WorkedCase) -> dict[str, Any]:
    """The oracle's answer, without the scans that prove the stays."""
    answer = oracle.answer(oracle_places(case), oracle_scans(case), oracle_query(case))
    stays = {subject: [list(stay[:5]) for stay in each] for subject, each in answer["stays"].items()}
    return answer | {"stays": stays}


def as_tuple(stay: Stay) -> oracle.OracleStay:
    return (stay.place, stay.start, stay.end, str(stay.entry), str(stay.exit), stay.scans)


@given(worlds())
@settings(max_examples=300, deadline=None)
def test_answer_is_the_oracles(case: WorkedCase) -> None:
    assert answer_of(case) == expected(case)


@given(worlds())
@settings(max_examples=200, deadline=None)
def test_stays_are_proven_by_the_oracles_scans(case: WorkedCase) -> None:
    answer = oracle.answer(oracle_places(case), oracle_scans(case), oracle_query(case))
    sightings = sightings_by_subject(counted(case.scans, case.query.as_of))
    tree = place_tree(case.places)
    walked = {subject: sorted(map(as_tuple, walk(each, tree, case.query.as_of))) for subject, each in sightings.items()}
    assert walked == answer["stays"]


@given(worlds(), st.data())
@settings(max_examples=100, deadline=None)
def test_order_of_scans_and_equal_rows_change_nothing(case: WorkedCase, data: st.DataObject) -> None:
    tree = place_tree(case.places)
    for sightings in sightings_by_subject(counted(case.scans, case.query.as_of)).values():
        again = data.draw(st.permutations([*sightings, *sightings[::2]]))
        assert walk(again, tree, case.query.as_of) == walk(sightings, tree, case.query.as_of)


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_later_deliveries_of_a_scan_change_nothing(case: WorkedCase) -> None:
    doubled = [*case.scans, *(msgspec.structs.replace(scan, at=scan.at + 1, place="p0") for scan in case.scans)]
    assert answer_of(msgspec.structs.replace(case, scans=doubled)) == answer_of(case)


@given(case=worlds())
@settings(max_examples=25, deadline=None)
def test_database_answers_as_the_oracle(case: WorkedCase, read_models: Store) -> None:
    answer = expected(case)
    assert traced(read_models, case) == {key: answer[key] for key in ("contacts", "chain")}
