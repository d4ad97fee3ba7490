"""Random worlds through everything after the edge: late, doubled or shuffled, the traces are the oracle's."""

import itertools
from typing import Final

import msgspec
import redis
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from storage.clickhouse import Store
from tests.journey.pipeline import Batch, Pipeline
from tests.tracing.cases import CaseScan, WorkedCase, stay_rows
from tests.tracing.test_oracle import expected
from tests.tracing.world import chain_rows, contact_rows, pseudonym, question_of
from tests.tracing.worlds import START_MS, STEP_MS, worlds

HOURS_MAX: Final = 48 * 3_600_000
TABLES: Final = ("log", "evidence", "progress")

as_of_steps: Final = st.integers(0, 41 * 12)
as_of_in_step: Final = st.integers(-1, 40)


def batched(scans: list[CaseScan]) -> list[Batch]:
    """Deliveries in the log's order as batches, each at a moment of its own: scans of one device that came together."""
    batches: list[list[CaseScan]] = []
    for scan in scans:
        last = batches[-1][-1] if batches else None
        together = last is not None and (last.received, last.device) == (scan.received, scan.device)
        if not together or scan.seq in {one.seq for one in batches[-1]}:
            batches.append([])
        batches[-1].append(scan)
    return [
        [msgspec.structs.replace(scan, received=scan.received + number) for scan in batch]
        for number, batch in enumerate(batches)
    ]


@st.composite
def doubled(draw: st.DrawFn, scans: list[CaseScan]) -> list[CaseScan]:
    """The deliveries with some of them once more at any later time, word for word or with other content."""
    again = draw(st.lists(st.tuples(st.sampled_from(scans), st.integers(0, 40), st.booleans()), max_size=8))
    copies = [
        msgspec.structs.replace(
            scan,
            received=scan.received + steps * STEP_MS,
            at=scan.at + STEP_MS if other else scan.at,
            place="p0" if other else scan.place,
        )
        for scan, steps, other in again
    ]
    return sorted([*scans, *copies], key=lambda scan: scan.received)


@given(case=worlds(), data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_traces_are_the_oracles_and_a_rebuild_agrees(
    case: WorkedCase, data: st.DataObject, valkey: "redis.Redis", store: Store
) -> None:
    valkey.flushall()
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}")
    batches = batched(data.draw(doubled(case.scans)) if case.scans else [])
    case = msgspec.structs.replace(case, scans=list(itertools.chain.from_iterable(batches)))
    pipeline = Pipeline(valkey, store, case, rows_max=data.draw(st.sampled_from([9, 1_000_000])))

    cuts = sorted(data.draw(st.lists(st.integers(0, len(batches)), max_size=4)))
    for first, end in itertools.pairwise([0, *cuts, len(batches)]):
        pipeline.post(batches[first:end])
        if data.draw(st.booleans()):
            pipeline.sink()
        if data.draw(st.booleans()):
            pipeline.project()
    pipeline.settle()

    moments = data.draw(st.lists(st.tuples(as_of_steps, as_of_in_step), min_size=1, max_size=2))
    tracer = pipeline.tracer()
    for as_of in {case.query.as_of, *(START_MS + step * STEP_MS + ms for step, ms in moments)}:
        asked = msgspec.structs.replace(case, query=msgspec.structs.replace(case.query, as_of=as_of))
        wanted = expected(asked)
        answer = tracer.trace(question_of(asked))
        assert contact_rows(answer) == wanted["contacts"]
        assert chain_rows(answer) == wanted["chain"]
        event(f"somebody met: {bool(answer.contacts)}")
        for subject, rows in wanted["stays"].items():
            stays = tracer.stays_of(pseudonym(subject), START_MS - HOURS_MAX, START_MS + 2 * HOURS_MAX, as_of)
            assert stay_rows(stays) == rows

    before = tracer.trace(question_of(case))
    status = pipeline.rebuild("again")
    assert [model.rows_live for model in status.models] == [len({(scan.device, scan.seq) for scan in case.scans})] * 2
    assert all(model.equal for model in status.models)
    assert tracer.trace(question_of(case)).fingerprint == before.fingerprint
