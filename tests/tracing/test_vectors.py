"""The specification's worked cases: stays, contacts, encounters and chains, exactly."""

from typing import Final

import pytest

from storage.clickhouse import Store
from tests import oracle
from tests.tracing.cases import WorkedCase, answer_of, place_list, stay_rows, worked_cases
from tests.tracing.world import World, pseudonym, traced
from tests.tracing.worlds import oracle_places, oracle_query, oracle_scans

DAY_MS: Final = 86_400_000


@pytest.mark.parametrize("case", worked_cases())
def test_pure_functions_answer_exactly(case: WorkedCase) -> None:
    assert answer_of(case) == case.answer


@pytest.mark.parametrize("case", worked_cases())
def test_oracle_answers_exactly(case: WorkedCase) -> None:
    """The oracle that the random worlds are judged by agrees with the specification itself."""
    answer = oracle.answer(oracle_places(case), oracle_scans(case), oracle_query(case))
    stays = {subject: [list(stay[:5]) for stay in each] for subject, each in answer["stays"].items()}
    assert answer | {"stays": stays} == case.answer


@pytest.mark.parametrize("case", worked_cases())
def test_database_answers_exactly(case: WorkedCase, read_models: Store) -> None:
    assert traced(read_models, case) == {key: case.answer[key] for key in ("contacts", "chain")}


@pytest.mark.parametrize("case", worked_cases())
def test_database_over_http_answers_exactly(case: WorkedCase, read_models_over_http: Store) -> None:
    assert traced(read_models_over_http, case) == {key: case.answer[key] for key in ("contacts", "chain")}


@pytest.mark.parametrize("case", worked_cases())
def test_stays_come_from_the_database_exactly(case: WorkedCase, read_models: Store) -> None:
    world = World(read_models, place_list(case.places))
    world.deliver(case.scans)
    tracer = world.tracer()
    first, last = min(scan.at for scan in case.scans), max(scan.at for scan in case.scans)
    for subject, rows in case.answer["stays"].items():
        stays = tracer.stays_of(pseudonym(subject), first - DAY_MS, last + DAY_MS, case.query.as_of)
        assert stay_rows(stays) == rows
