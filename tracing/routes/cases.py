"""Confirmed cases: register, correct, list, read."""

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from events import problems
from events.cases import Case, CaseId
from events.control import CaseConfirmed
from events.devices import Pseudonym
from events.problems import ProblemError
from events.scans import AtMs
from tracing.access import Permission
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN, Action, purpose_of
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit, cursor_of, position_of
from tracing.decoding import PURPOSE_HEADER, decode_body, decode_query, purpose_text
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply

DAY_MS: Final = 86_400_000
INFECTIOUS_BEFORE_MS: Final = 2 * DAY_MS
"""By default somebody is taken to infect others from this long before the confirmation …"""
INFECTIOUS_AFTER_MS: Final = 0
"""… to this long after it: a confirmed case is isolated at once."""
CASE_ID_BYTES: Final = 6


class CaseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case to register. Without an id the service makes one.

    The infectious window `[infectious_from, infectious_to)` defaults to the 2 days before the confirmation. `correct`
    allows an id that is already registered to be given other values. The purpose is kept in the audit log.
    """

    id: CaseId | None = None
    subject: Pseudonym
    confirmed_at: AtMs
    infectious_from: AtMs | None = None
    infectious_to: AtMs | None = None
    correct: bool = False
    purpose: str = ""


class CaseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the list says of a case: nothing about whom it is. Times in Unix ms."""

    id: str
    confirmed_at: int
    infectious_from: int
    infectious_to: int


class CasesPage(msgspec.Struct, frozen=True):
    """Cases by id; `next` is the cursor of the page after, null on the last."""

    items: list[CaseSummary]
    next: str | None


class CasesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which cases to list."""

    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    after: str


CONFIRM: Final = Operation(
    name="confirm_case",
    tag="Cases",
    summary="Register or correct a confirmed case (F0)",
    text=(
        "The infectious window `[infectious_from, infectious_to)` defaults to the 2 days before `confirmed_at`, up to"
        " `confirmed_at` itself. The same id with the same content again changes nothing (200); with other content it"
        f" is refused (409) unless `correct` is true. `purpose`: {PURPOSE_CHARACTERS_MIN} to {PURPOSE_CHARACTERS_MAX}"
        " characters."
    ),
    permission=Permission.CASES_WRITE,
    person=True,
    body=CaseRequest,
    example=CaseRequest(
        id="hn-2021-0417",
        subject="5f0c2a9be1d34c7788aa01b2c3d4e5f6",
        confirmed_at=1_635_000_000_000,
        infectious_from=1_634_827_200_000,
        infectious_to=1_635_000_000_000,
        purpose="Tracing the cluster at the Đồng Xuân market",
    ),
    successes=(
        Success(201, "The case is registered", Case),
        Success(200, "The case was registered already, or is corrected", Case),
    ),
    problems=(problems.REGISTRY_CONFLICT, problems.STREAM_DOWN),
)
LIST: Final = Operation(
    name="list_cases",
    tag="Cases",
    summary="List the cases, without whom they are",
    permission=Permission.CASES_READ,
    query=CasesQuery,
    successes=(Success(200, "A page of cases", CasesPage),),
)
READ: Final = Operation(
    name="read_case",
    tag="Cases",
    summary="Read a case with its subject",
    text="A look at a person: recorded in the audit log with its purpose.",
    permission=Permission.CASES_READ,
    person=True,
    successes=(Success(200, "The case", Case),),
    problems=(problems.NOT_FOUND,),
)


@post("/v1/cases", opt={OPERATION: CONFIRM}, sync_to_thread=True)
def confirm_case(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Append `CaseConfirmed` unless the registry says the same already."""
    asked = decode_body(body, request.headers.get("content-type", ""), CaseRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    case = _case(asked, asked.id or f"f0-{parts.random(CASE_ID_BYTES).hex()}")
    with parts.registrar.lock:
        known = parts.registry.case(case.id)
        if known is not None and known != case and not asked.correct:
            detail = 'A case of this id has other values; send "correct": true to change them.'
            raise ProblemError(problems.REGISTRY_CONFLICT.problem(detail, pointer="/id"))
        # Recorded first: when the store is down nothing is changed, and nothing is changed that nobody can look up.
        action, people = _action(known, case), [case.subject]
        parts.audit.write(parts.clock(), request.auth, action, case.id, purpose, people=people)
        if known != case:
            parts.registrar.record(CaseConfirmed(case))
    return reply(case, 201 if known is None else 200)


@get("/v1/cases", opt={OPERATION: LIST}, sync_to_thread=True)
def list_cases(request: Asked, parts: Given) -> Response[bytes]:
    """A page of the registry's cases, by id."""
    query = decode_query(request.query_params.multi_items(), CasesQuery)
    after = position_of(query.cursor, _Position).after if query.cursor is not None else ""
    cases = [case for case in parts.registry.cases() if case.id > after]
    items = [_summary(case) for case in cases[: query.limit]]
    more = cursor_of(_Position(items[-1].id)) if len(cases) > query.limit else None
    return reply(CasesPage(items, more))


@get("/v1/cases/{case_id:str}", opt={OPERATION: READ}, sync_to_thread=True)
def read_case(request: Asked, case_id: FromPath[str], parts: Given) -> Response[bytes]:
    """One case, after the look at it is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    case = parts.registry.case(case_id)
    if case is None:
        raise ProblemError(problems.NOT_FOUND.problem("No case has this id."))
    parts.audit.write(parts.clock(), request.auth, Action.CASE_READ, case.id, purpose, people=[case.subject])
    return reply(case)


def _case(asked: CaseRequest, case_id: str) -> Case:
    """The case with its defaults filled in. Raises BODY_INVALID as `ProblemError` for an empty window."""
    start = asked.infectious_from
    end = asked.infectious_to
    if start is None:
        start = max(asked.confirmed_at - INFECTIOUS_BEFORE_MS, 0)
    if end is None:
        end = asked.confirmed_at + INFECTIOUS_AFTER_MS
    if start >= end:
        pointer = "/infectious_to" if asked.infectious_to is not None else "/infectious_from"
        detail = "The infectious window ends before it begins, or is empty."
        raise ProblemError(problems.BODY_INVALID.problem(detail, pointer=pointer))
    return Case(
        id=case_id,
        subject=asked.subject,
        confirmed_at=asked.confirmed_at,
        infectious_from=start,
        infectious_to=end,
    )


def _action(known: Case | None, case: Case) -> Action:
    if known is None:
        return Action.CASE_CREATED
    return Action.CASE_READ if known == case else Action.CASE_CORRECTED


def _summary(case: Case) -> CaseSummary:
    return CaseSummary(
        id=case.id,
        confirmed_at=case.confirmed_at,
        infectious_from=case.infectious_from,
        infectious_to=case.infectious_to,
    )


ROUTES: Final = (confirm_case, list_cases, read_case)
