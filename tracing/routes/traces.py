"""Traces: ask, list, read again."""

import time
from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from events import codec, problems
from events.problems import ProblemError
from tracing.access import Permission
from tracing.answer import Answer
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN, Action, purpose_of
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit
from tracing.decoding import PURPOSE_HEADER, decode_body, decode_query, purpose_text
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply
from tracing.question import Index, Question
from tracing.saved import SavedTrace, SavedTracesPage


class TraceRequest(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question with the purpose that it is asked for, which the audit log keeps.

    `from`, `to` and `as_of` are Unix ms. The window defaults to each case's infectious one, `as_of` to the
    service's clock; the answer names every parameter that decided it.
    """

    purpose: str = ""


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
        " all that was received by `as_of` is in the read models. Recorded in the audit log with its purpose"
        f" ({PURPOSE_CHARACTERS_MIN} to {PURPOSE_CHARACTERS_MAX} characters)."
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
    successes=(Success(200, "The answer", Answer),),
    problems=(
        problems.QUESTION_INVALID,
        problems.SUBJECT_UNKNOWN,
        problems.BEHIND,
        problems.STORE_DOWN,
        problems.STREAM_DOWN,
    ),
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


@post("/v1/traces", opt={OPERATION: ASK}, status_code=200, sync_to_thread=True)
def ask_trace(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Answer, record who asked, save, and only then hand the answer out."""
    asked = decode_body(body, request.headers.get("content-type", ""), TraceRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    began = time.perf_counter()
    answer = parts.tracer.trace(asked)
    answered = time.perf_counter()
    parts.metrics.trace_seconds.observe(answered - began)
    text = codec.to_json(answer)
    parts.audit.write(parts.clock(), request.auth, Action.TRACE_ASKED, answer.id, purpose)
    trace = SavedTrace(id=answer.id, asked_at=answer.asked_at, actor=request.auth.name, fingerprint=answer.fingerprint)
    parts.saved.save(trace, question=codec.to_json(answer.question), answer=text)
    parts.metrics.on_step("record", time.perf_counter() - answered)
    return Response(text, media_type="application/json")


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


ROUTES: Final = (ask_trace, list_traces, read_trace)
