"""The specification's worked cases through everything after the edge: stays, contacts, encounters, chains, exactly."""

from typing import Final

import pytest
import redis

from storage.clickhouse import Store
from tests.journey.pipeline import Pipeline, in_log_order
from tests.tracing.cases import WorkedCase, stay_rows, worked_cases
from tests.tracing.world import chain_rows, contact_rows, pseudonym, question_of

DAY_MS: Final = 86_400_000


@pytest.mark.parametrize("case", worked_cases())
def test_worked_cases_come_out_of_the_log_exactly(case: WorkedCase, valkey: "redis.Redis", store: Store) -> None:
    pipeline = Pipeline(valkey, store, case)
    pipeline.post([scan] for scan in in_log_order(case.scans))
    pipeline.settle()
    assert store.rows("SELECT count() FROM log") == [(len(case.scans),)]

    tracer = pipeline.tracer()
    answer = tracer.trace(question_of(case))
    assert {"contacts": contact_rows(answer), "chain": chain_rows(answer)} == {
        key: case.answer[key] for key in ("contacts", "chain")
    }
    first, last = min(scan.at for scan in case.scans), max(scan.at for scan in case.scans)
    for subject, rows in case.answer["stays"].items():
        stays = tracer.stays_of(pseudonym(subject), first - DAY_MS, last + DAY_MS, case.query.as_of)
        assert stay_rows(stays) == rows
