"""Closing a case and opening it again: its saved traces are kept as long as it is open, and a while longer."""

from typing import Final

import msgspec
from litestar import Response, post
from litestar.params import FromPath, RawBody

from events import problems
from events.control import CaseClosed, CaseReopened
from events.problems import ProblemError
from events.scans import AtMs
from tracing.access import Permission
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN, Action, purpose_of
from tracing.decoding import decode_body
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.retention.terms import DAY_MS

_PURPOSE: Final = f"`purpose`: {PURPOSE_CHARACTERS_MIN} to {PURPOSE_CHARACTERS_MAX} characters."


class ClosingRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Since when (Unix ms) nobody works on the case any more, by default now."""

    at: AtMs | None = None
    purpose: str = ""


class ReopeningRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the case is worked on again."""

    purpose: str = ""


class CaseState(msgspec.Struct, frozen=True, kw_only=True):
    """Since when (Unix ms) a case is closed, null while it is open; and when its saved traces go, null: they stay.

    A trace that names an open case as well, or was asked later, stays longer.
    """

    case: str
    closed_at: int | None
    traces_go_at: int | None


CLOSE: Final = Operation(
    name="close_case",
    tag="Cases",
    summary="Close a case",
    text=(
        "Its saved traces go when their time is over, see `GET /v1/retention`. The case itself stays. Closed again at"
        f" another time, the last one counts. {_PURPOSE}"
    ),
    permission=Permission.CASES_WRITE,
    person=True,
    body=ClosingRequest,
    example=ClosingRequest(purpose="The outbreak at the Đồng Xuân market is over"),
    successes=(Success(200, "The case is closed", CaseState),),
    problems=(problems.NOT_FOUND, problems.STREAM_DOWN),
)
REOPEN: Final = Operation(
    name="reopen_case",
    tag="Cases",
    summary="Open a closed case again",
    text=f"Its saved traces that are still there stay. {_PURPOSE}",
    permission=Permission.CASES_WRITE,
    person=True,
    body=ReopeningRequest,
    example=ReopeningRequest(purpose="A late test links another cluster to it"),
    successes=(Success(200, "The case is open", CaseState),),
    problems=(problems.NOT_FOUND, problems.STREAM_DOWN),
)


@post("/v1/cases/{case_id:str}/close", opt={OPERATION: CLOSE}, status_code=200, sync_to_thread=True)
def close_case(request: Asked, case_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """Append the closing, after it is recorded who did."""
    asked = decode_body(body, request.headers.get("content-type", ""), ClosingRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    subject = _known(parts, case_id)
    at = parts.clock() if asked.at is None else asked.at
    parts.audit.write(parts.clock(), request.auth, Action.CASE_CLOSED, case_id, purpose, people=[subject])
    parts.registrar.record(CaseClosed(case_id, at))
    return reply(_state(parts, case_id))


@post("/v1/cases/{case_id:str}/reopen", opt={OPERATION: REOPEN}, status_code=200, sync_to_thread=True)
def reopen_case(request: Asked, case_id: FromPath[str], body: RawBody, parts: Given) -> Response[bytes]:
    """Append the reopening, where there is something to reopen."""
    asked = decode_body(body, request.headers.get("content-type", ""), ReopeningRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    subject = _known(parts, case_id)
    parts.audit.write(parts.clock(), request.auth, Action.CASE_REOPENED, case_id, purpose, people=[subject])
    if parts.registry.closings.closed_at(case_id) is not None:
        parts.registrar.record(CaseReopened(case_id))
    return reply(_state(parts, case_id))


def _known(parts: Parts, case_id: str) -> str:
    """The subject of a case, were it confirmed a moment ago through another process.

    Raises NOT_FOUND as `ProblemError`, and `StreamDown`.
    """
    parts.registrar.catch_up()
    case = parts.registry.case(case_id)
    if case is None:
        raise ProblemError(problems.NOT_FOUND.problem("No case has this id."))
    return case.subject


def _state(parts: Parts, case_id: str) -> CaseState:
    closed_at, days = parts.registry.closings.closed_at(case_id), parts.terms.trace_days
    goes_at = closed_at + days * DAY_MS if closed_at is not None and days else None
    return CaseState(case=case_id, closed_at=closed_at, traces_go_at=goes_at)


ROUTES: Final = (close_case, reopen_case)
