"""Retention: what is kept since when, what goes next, and a run now instead of tonight."""

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.params import RawBody

from events import problems
from events.problems import ProblemError
from storage.expiry import Partition, partitions
from storage.retention_runs import RetentionStatus
from tracing.access import Permission
from tracing.audit import Action
from tracing.decoding import decode_body
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.retention.plan import EXPIRING, Going, due, going
from tracing.retention.terms import Terms, kept_from
from tracing.retention.traces import traces_over

RUN_ID_BYTES: Final = 8
PURPOSE: Final = "retention"


class TableTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What a table holds in all."""

    table: str
    partitions: int
    rows: int
    bytes: int


class RetentionView(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept since when, and what goes when. Times in Unix ms.

    Scans are kept from `kept_from` on (0: all are), the next one first among `partitions`. `traces_over` saved traces
    have nobody who needs them any more. `latest` is the latest run.
    """

    terms: Terms
    kept_from: int
    tables: list[TableTotal]
    partitions: list[Going]
    traces_over: int
    latest: RetentionStatus | None


class RunRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run now; with `dry_run` it is only said what it would let go."""

    dry_run: bool = True


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would let go now: it would keep scans from `kept_from` (Unix ms) on."""

    kept_from: int
    partitions: list[Going]
    rows: int
    bytes: int
    traces: int


VIEW: Final = Operation(
    name="read_retention",
    tag="Retention",
    summary="Read what is kept since when, and what goes when",
    text=(
        "A scan's time is when it happened. What happened before `kept_from` counts for no answer any more, from the"
        " moment that this was recorded. Rows go with their partition of the store, once all of it is over: read models"
        " by the week, log, refusals and evidence by the day that they were taken in."
    ),
    permission=Permission.RETENTION_READ,
    successes=(Success(200, "What is kept", RetentionView),),
    problems=(problems.STORE_DOWN, problems.STREAM_DOWN),
)
RUN: Final = Operation(
    name="run_retention",
    tag="Retention",
    summary="Let go now what is kept no longer, or say what would go",
    text=(
        "Without `dry_run` the process that keeps the read models is asked for a run, which otherwise begins by itself"
        " once a day; read how far it is at `/v1/retention/runs/latest`. What is gone cannot be had back."
    ),
    permission=Permission.RETENTION_RUN,
    body=RunRequest,
    example=RunRequest(dry_run=True),
    successes=(
        Success(200, "What a run would let go", Preview),
        Success(202, "The run is asked for", RetentionStatus),
    ),
    problems=(problems.STORE_DOWN, problems.STREAM_DOWN, problems.AUDIT_DOWN, problems.AUDIT_FULL),
)
LATEST: Final = Operation(
    name="read_retention_run",
    tag="Retention",
    summary="Read how far the latest run is",
    permission=Permission.RETENTION_READ,
    successes=(Success(200, "The latest run", RetentionStatus),),
    problems=(problems.NOT_FOUND, problems.STREAM_DOWN),
)


@get("/v1/retention", opt={OPERATION: VIEW}, sync_to_thread=True)
def read_retention(request: Asked, parts: Given) -> Response[bytes]:
    """What lies in the store, by partition, with when it goes."""
    found = partitions(parts.store, list(EXPIRING))
    return reply(
        RetentionView(
            terms=parts.terms,
            kept_from=parts.registry.kept.kept_from,
            tables=[_total(table, found) for table in EXPIRING],
            partitions=going(found, parts.terms),
            traces_over=_traces_over(parts),
            latest=parts.retention_runs.status(),
        )
    )


@post("/v1/retention/runs", opt={OPERATION: RUN}, sync_to_thread=True)
def run_retention(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Ask for a run, after it is recorded who did; or preview one."""
    asked = decode_body(body, request.headers.get("content-type", ""), RunRequest)
    if asked.dry_run:
        return reply(_preview(parts))
    id = parts.random(RUN_ID_BYTES).hex()
    parts.audit.write(parts.clock(), request.auth, Action.RETENTION_RUN, id, PURPOSE)
    parts.retention_runs.request(id)
    return reply(RetentionStatus(id=id, state="running", step="asked", began=parts.clock()), 202)


@get("/v1/retention/runs/latest", opt={OPERATION: LATEST}, sync_to_thread=True)
def read_retention_run(request: Asked, parts: Given) -> Response[bytes]:
    """What the running process last said."""
    status = parts.retention_runs.status()
    if status is None:
        raise ProblemError(problems.NOT_FOUND.problem("There was no run yet."))
    return reply(status)


def _preview(parts: Parts) -> Preview:
    moment = max(kept_from(parts.terms, parts.clock()) or 0, parts.registry.kept.kept_from)
    over = due(partitions(parts.store, list(EXPIRING)), moment)
    return Preview(
        kept_from=moment,
        partitions=going(over, parts.terms),
        rows=sum(one.rows for one in over),
        bytes=sum(one.bytes for one in over),
        traces=_traces_over(parts),
    )


def _traces_over(parts: Parts) -> int:
    return len(traces_over(parts.store, parts.terms, parts.registry.closings.closed_at, parts.clock()))


def _total(table: str, found: list[Partition]) -> TableTotal:
    own = [one for one in found if one.table == table]
    return TableTotal(
        table=table,
        partitions=len(own),
        rows=sum(one.rows for one in own),
        bytes=sum(one.bytes for one in own),
    )


ROUTES: Final = (read_retention, run_retention, read_retention_run)
