"""Traces: ask, list, read again."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, RawBody
from msgspec import Meta

from events import problems
from events.problems import ProblemError
from tracing.access import Permission
from tracing.answer import Answer
from tracing.asker import QUESTION_PROBLEMS
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN, Action, purpose_of
from tracing.bounds import ELSE_AS_JOB, INDEX_SUBJECTS_AT_ONCE
from tracing.contact_pages import ContactsPage, contacts_page
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit
from tracing.decoding import PURPOSE_HEADER, decode_body, decode_query, purpose_text
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.question import Index, Question
from tracing.routes.jobs import Job, shown_job
from tracing.saved import SavedTracesPage

ASYNC: Final = "respond-async"
"""A preference by RFC 7240: do not wait for the answer."""
CONTACTS_A_PAGE_MAX: Final = 10_000
CONTACTS_A_PAGE_DEFAULT: Final = 1_000


class TraceRequest(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question with the purpose that it is asked for, which the audit log keeps.

    `from`, `to` and `as_of` are Unix ms. The window defaults to each case's infectious one, `as_of` to the
    service's clock; the answer names every parameter that decided it.
    """

    purpose: str = ""


class ContactsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which contacts of a saved trace to give."""

    limit: Annotated[int, Meta(ge=1, le=CONTACTS_A_PAGE_MAX, description="How many contacts a page holds at most")] = (
        CONTACTS_A_PAGE_DEFAULT
    )
    cursor: Cursor | None = None


class TracesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which saved traces to list."""

    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


ASK: Final = Operation(
    name="ask_trace",
    tag="Traces",
    summary="Who was with these people?",
    text=(
        "Answers with the contacts and the scans that prove each of them, and saves the answer. A trace waits until"
        " all that was received by `as_of` can be read. Recorded in the audit log with its purpose"
        f" ({PURPOSE_CHARACTERS_MIN} to {PURPOSE_CHARACTERS_MAX} characters). With `Prefer: respond-async`, and where"
        " too many people would have to be looked at for one answer, it becomes a job: 202, and its address in"
        f" `Location`. With more than {INDEX_SUBJECTS_AT_ONCE:,} index subjects it is one from the start."
    ),
    permission=Permission.TRACES,
    person=True,
    body=TraceRequest,
    example=TraceRequest(
        index=Index(cases=("hn-2021-0417",)),
        lag_seconds=900,
        depth=2,
        purpose="Tracing the cluster at the Đồng Xuân market",
    ),
    successes=(Success(200, "The answer", Answer), Success(202, "It became a job", Job)),
    problems=(*QUESTION_PROBLEMS, problems.JOBS_FULL),
)
LIST: Final = Operation(
    name="list_traces",
    tag="Traces",
    summary="List the saved traces, without their content",
    text="Newest first.",
    permission=Permission.TRACES,
    query=TracesQuery,
    successes=(Success(200, "A page of saved traces", SavedTracesPage),),
    problems=(problems.STORE_DOWN,),
)
READ: Final = Operation(
    name="read_trace",
    tag="Traces",
    summary="Read a saved trace again",
    text="The answer to the byte as it was given. A look at people: recorded in the audit log with its purpose.",
    permission=Permission.TRACES,
    person=True,
    successes=(Success(200, "The saved answer", Answer),),
    problems=(problems.NOT_FOUND,),
)
CONTACTS: Final = Operation(
    name="list_contacts",
    tag="Traces",
    summary="Read a saved trace's contacts page by page",
    text="For answers too large to read at once. Every page is a look at people: recorded with its purpose.",
    permission=Permission.TRACES,
    person=True,
    query=ContactsQuery,
    successes=(Success(200, "A page of contacts", ContactsPage),),
    problems=(problems.NOT_FOUND,),
)


@post("/v1/traces", opt={OPERATION: ASK}, status_code=200, sync_to_thread=True)
def ask_trace(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Answer, record who asked, save, and only then hand the answer out."""
    asked = decode_body(body, request.headers.get("content-type", ""), TraceRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    preferred = _prefers_async(request.headers.getall("prefer", []))
    if preferred or len(asked.index.subjects) + len(asked.index.cases) > INDEX_SUBJECTS_AT_ONCE:
        parts.tracer.check(asked)
        response = _job(request, parts, asked, purpose)
        if preferred:
            response.headers["Preference-Applied"] = ASYNC
        return response
    try:
        given = parts.asker.ask(request.auth, asked, purpose, bounds=ELSE_AS_JOB)
    except ProblemError as error:
        if error.problem.name != problems.TRACE_TOO_LARGE.name:
            raise
        return _job(request, parts, asked, purpose)
    return Response(given.text, media_type="application/json")


@get("/v1/traces", opt={OPERATION: LIST}, sync_to_thread=True)
def list_traces(request: Asked, parts: Given) -> Response[bytes]:
    """A page of the saved traces, newest first."""
    query = decode_query(request.query_params.multi_items(), TracesQuery)
    return reply(parts.saved.page(query.limit, query.cursor))


@get("/v1/traces/{trace_id:str}", opt={OPERATION: READ}, sync_to_thread=True)
def read_trace(request: Asked, trace_id: FromPath[str], parts: Given) -> Response[bytes]:
    """A saved answer, after the look at it is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    text = parts.saved.answer(trace_id)
    if text is None:
        raise ProblemError(problems.NOT_FOUND.problem("No saved trace has this id."))
    parts.audit.write(parts.clock(), request.auth, Action.TRACE_READ, trace_id, purpose)
    return Response(text, media_type="application/json")


@get("/v1/traces/{trace_id:str}/contacts", opt={OPERATION: CONTACTS}, sync_to_thread=True)
def list_contacts(request: Asked, trace_id: FromPath[str], parts: Given) -> Response[bytes]:
    """A page of a saved answer's contacts, after the look at them is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    query = decode_query(request.query_params.multi_items(), ContactsQuery)

    def pieces(begin: int) -> Iterator[bytes]:
        found = parts.saved.pieces(trace_id, begin)
        if found is None:
            raise ProblemError(problems.NOT_FOUND.problem("No saved trace has this id."))
        return found

    page = contacts_page(pieces, query.limit, query.cursor)
    parts.audit.write(parts.clock(), request.auth, Action.TRACE_READ, trace_id, purpose)
    return reply(page)


def _prefers_async(prefer: Sequence[str]) -> bool:
    preferences = (preference for field in prefer for preference in field.split(","))
    return any(preference.partition(";")[0].strip().lower() == ASYNC for preference in preferences)


def _job(request: Asked, parts: Parts, asked: Question, purpose: str) -> Response[bytes]:
    record = parts.jobs.begin(request.auth, asked, purpose)
    response = reply(shown_job(record), 202)
    response.headers["Location"] = f"/v1/jobs/{record.id}"
    return response


ROUTES: Final = (ask_trace, list_traces, read_trace, list_contacts)
