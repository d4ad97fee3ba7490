"""For supervisors and load balancers: alive, ready, and the counters."""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Response, get

from events import problems
from events.problems import ProblemError
from events.readiness import Check, Readiness, status_of, unready
from storage.watermarks import lag
from tracing.metrics import MEDIA_TYPE
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Given, Parts, reply


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "alive"


class Ready(Readiness, frozen=True, kw_only=True):
    """Traces can be asked. The read models lack `lag_rows` scans of the log, which is `lag_seconds` ahead of them.

    `log_age_seconds`: how long ago the sink last said up to when the log is complete.
    """

    lag_rows: int
    lag_seconds: float
    log_age_seconds: float


ALIVE: Final = Operation(
    name="alive",
    tag="Service",
    summary="Does the process answer?",
    permission=None,
    successes=(Success(200, "It does", Alive),),
)
READY: Final = Operation(
    name="ready",
    tag="Service",
    summary="Can traces be asked?",
    permission=None,
    successes=(Success(200, "They can", Ready),),
    problems=(problems.STORE_DOWN, problems.STREAM_DOWN, problems.BEHIND),
)
COUNTERS: Final = Operation(
    name="counters",
    tag="Service",
    summary="The service's counters, for Prometheus",
    permission=None,
    successes=(Success(200, "Prometheus text", None, "text/plain"),),
)


@get("/healthz", opt={OPERATION: ALIVE}, sync_to_thread=False)
def alive() -> Response[bytes]:
    """Needs nothing: neither stream nor store nor a free thread."""
    return reply(Alive())


@get("/readyz", opt={OPERATION: READY}, sync_to_thread=True)
def ready(parts: Given) -> Response[bytes]:
    """Ask all that the service needs for itself."""
    checks = parts.checks()
    problem = unready(checks)
    if problem is not None:
        raise ProblemError(problem)
    return reply(readiness(parts, checks))


@get("/metrics", opt={OPERATION: COUNTERS}, sync_to_thread=True)
def counters(parts: Given) -> Response[bytes]:
    """The counters of this process, or of all that share its directory."""
    return Response(parts.metrics.exposition(), headers={"Content-Type": MEDIA_TYPE})


def readiness(parts: Parts, checks: Sequence[Check]) -> Ready:
    """How far the read models are behind.

    Raises `StreamDown`, or BEHIND as `ProblemError` where sink or projector have said nothing yet.
    """
    log = parts.watermarks.read("log")
    models = parts.watermarks.read("read-models")
    if log is None or models is None:
        waiting = "sink" if log is None else "projector"
        raise ProblemError(problems.BEHIND.problem(f"The {waiting} has not said yet up to when it has read."))
    behind = lag(models, log)
    return Ready(
        status=status_of(checks),
        checks=checks,
        lag_rows=behind.rows,
        lag_seconds=behind.seconds,
        log_age_seconds=max(parts.clock() - log.received, 0) / 1000,
    )


ROUTES: Final = (alive, ready, counters)
