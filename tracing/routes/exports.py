"""Exports: saved traces as files for other tools, and a case's days as a calendar."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Final

import msgspec
from litestar import get, post
from litestar.params import FromPath, RawBody
from litestar.response import Stream
from msgspec import Meta

from events import problems
from events.places import Place
from events.problems import ProblemError
from events.scans import AtMs
from tracing.access import Permission
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN, Action, purpose_of
from tracing.decoding import PURPOSE_HEADER, decode_body, decode_query, purpose_text
from tracing.exports.archive import Content, archive_pieces
from tracing.exports.files import File
from tracing.exports.formats import CALENDAR_TYPE, Format, content_of
from tracing.exports.slices import Unreadable
from tracing.exports.source import Known, Source, saved_source
from tracing.exports.timeline import Visit, calendar_pieces
from tracing.exports.turns import Turn
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts
from tracing.question import check_window

ZIP_TYPE: Final = "application/zip"
TRACES_AT_ONCE_MAX: Final = 20
TIMELINE_BEFORE_MS: Final = 14 * 86_400_000
"""A case's timeline begins so long before the confirmation: the days in which they may have been infected."""

TraceId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several saved traces in one archive, a folder for each. The purpose is kept in the audit log for each of them."""

    traces: Annotated[tuple[TraceId, ...], Meta(min_length=1, max_length=TRACES_AT_ONCE_MAX)]
    format: Format
    purpose: str = ""


class TimelineQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window `[from, to)` and as of when, all in Unix ms.

    By default from 14 days before the confirmation to the end of the infectious window, as of the service's clock.
    """

    from_: AtMs | None = msgspec.field(default=None, name="from")
    to: AtMs | None = None
    as_of: AtMs | None = None


FORMATS: Final = ", ".join(f"`{each}`" for each in Format)
EXPORTED: Final = "A ZIP archive: the files, and manifest.json with their rows and SHA-256 at its end"
EXPORT: Final = Operation(
    name="export_trace",
    tag="Exports",
    summary="A saved trace as files for other tools",
    text=(
        f"`format_name` is one of {FORMATS}. The archive is sent while it is written, whatever its size; without its"
        " last part it is no archive. Pseudonyms only, no names. Recorded in the audit log with its"
        " purpose."
    ),
    permission=Permission.EXPORTS,
    person=True,
    successes=(Success(200, EXPORTED, None, ZIP_TYPE),),
    problems=(
        problems.NOT_FOUND,
        problems.EXPORT_FORMAT_UNKNOWN,
        problems.EXPORT_UNAVAILABLE,
        problems.EXPORTS_FULL,
    ),
)
EXPORT_SEVERAL: Final = Operation(
    name="export_traces",
    tag="Exports",
    summary="Several saved traces as files, in one archive",
    text=(
        f"Up to {TRACES_AT_ONCE_MAX} traces, each in a folder of its own name: their parameters differ, so their lists"
        f" are not mixed. `purpose`: {PURPOSE_CHARACTERS_MIN} to {PURPOSE_CHARACTERS_MAX} characters."
    ),
    permission=Permission.EXPORTS,
    person=True,
    body=ExportRequest,
    example=ExportRequest(
        traces=("9f0c2a9be1d34c7788aa01b2c3d4e5f6", "1d0c2a9be1d34c7788aa01b2c3d4e5f7"),
        format=Format.EPICONTACTS,
        purpose="Weekly report on the cluster at the Đồng Xuân market",
    ),
    successes=(Success(200, EXPORTED, None, ZIP_TYPE),),
    problems=(problems.NOT_FOUND, problems.EXPORT_UNAVAILABLE, problems.EXPORTS_FULL),
)
TIMELINE: Final = Operation(
    name="export_case_timeline",
    tag="Exports",
    summary="Where a case was, as a calendar (RFC 5545)",
    text=(
        "Every stay within the window, with how its ends are known and the scans that prove it. A look at a person:"
        " recorded in the audit log with its purpose."
    ),
    permission=Permission.EXPORTS,
    person=True,
    query=TimelineQuery,
    successes=(Success(200, EXPORTED, None, ZIP_TYPE),),
    problems=(
        problems.NOT_FOUND,
        problems.WINDOW_REVERSED,
        problems.BEHIND,
        problems.STREAM_DOWN,
        problems.EXPORTS_FULL,
    ),
)


@get("/v1/traces/{trace_id:str}/export/{format_name:str}", opt={OPERATION: EXPORT}, sync_to_thread=True)
def export_trace(request: Asked, trace_id: FromPath[str], format_name: FromPath[str], parts: Given) -> Stream:
    """One saved trace, after the look at it is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    format = _format(format_name)
    turn = parts.export_turns.take()
    source = _source(parts, trace_id)
    content = content_of(format, source)
    parts.audit.write(parts.clock(), request.auth, Action.TRACE_EXPORTED, trace_id, purpose)
    pieces = archive_pieces(format, [content], source.head.asked_at)
    return _download(pieces, turn, f"truyvet-{trace_id}-{format}.zip")


@post("/v1/exports", opt={OPERATION: EXPORT_SEVERAL}, status_code=200, sync_to_thread=True)
def export_traces(request: Asked, body: RawBody, parts: Given) -> Stream:
    """Several saved traces, after the look at each of them is recorded."""
    asked = decode_body(body, request.headers.get("content-type", ""), ExportRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    turn = parts.export_turns.take()
    sources = [_source(parts, trace_id) for trace_id in dict.fromkeys(asked.traces)]
    contents = [content_of(asked.format, source, f"{source.head.id}/") for source in sources]
    for source in sources:
        parts.audit.write(parts.clock(), request.auth, Action.TRACE_EXPORTED, source.head.id, purpose)
    made_at = max(source.head.asked_at for source in sources)
    return _download(archive_pieces(asked.format, contents, made_at), turn, f"truyvet-{asked.format}.zip")


@get("/v1/cases/{case_id:str}/timeline", opt={OPERATION: TIMELINE}, sync_to_thread=True)
def export_case_timeline(request: Asked, case_id: FromPath[str], parts: Given) -> Stream:
    """A case's stays, after the look at them is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    query = decode_query(request.query_params.multi_items(), TimelineQuery)
    as_of = parts.clock() if query.as_of is None else query.as_of
    case = parts.registry.case(case_id)
    if case is None:
        raise ProblemError(problems.NOT_FOUND.problem("No case has this id."))
    from_ms = max(case.confirmed_at - TIMELINE_BEFORE_MS, 0) if query.from_ is None else query.from_
    to_ms = max(case.infectious_to, case.confirmed_at) if query.to is None else query.to
    check_window(from_ms, to_ms, "/to")
    turn = parts.export_turns.take()
    stays = parts.tracer.stays_of(case.subject, from_ms, to_ms, as_of)
    visits = [Visit(who=case.subject, stay=stay, contacts=None) for stay in stays]
    known = _known(parts, as_of)

    def write(counts: Counter[str]) -> Iterator[bytes]:
        return calendar_pieces(f"Case {case.id}", visits, known.place, as_of, counts)

    look = (request.auth, Action.TIMELINE_EXPORTED, case.id, purpose)
    parts.audit.write(parts.clock(), *look, people=[case.subject])
    file = File(name="timeline.ics", media_type=CALENDAR_TYPE, write=write)
    content = Content(folder="", files=(file,), source=None)
    return _download(archive_pieces(Format.ICS, [content], as_of, case.id), turn, f"truyvet-case-{case.id}.zip")


def _format(name: str) -> Format:
    try:
        return Format(name)
    except ValueError:
        detail = f"There are {', '.join(Format)}."
        raise ProblemError(problems.EXPORT_FORMAT_UNKNOWN.problem(detail)) from None


def _source(parts: Parts, trace_id: str) -> Source:
    """A saved trace to be exported. Raises NOT_FOUND as `ProblemError`."""
    if parts.saved.pieces(trace_id) is None:
        raise ProblemError(problems.NOT_FOUND.problem("No saved trace has this id."))

    def pieces() -> Iterator[bytes]:
        found = parts.saved.pieces(trace_id)
        if found is None:
            raise Unreadable("an answer that was removed while it was exported")
        return found

    as_of = saved_source(pieces, _NOTHING_KNOWN).head.cut_off.as_of
    return saved_source(pieces, _known(parts, as_of))


_NOTHING_KNOWN: Final = Known(place=lambda _: None, confirmed_at=lambda _: None)


def _known(parts: Parts, as_of: int) -> Known:
    """What the registries knew at a moment (Unix ms)."""
    then, now = parts.registry.places_as_of(as_of).by_id, parts.registry.places().by_id

    def place(place_id: str) -> Place | None:
        return then.get(place_id) or now.get(place_id)

    def confirmed_at(case_id: str) -> int | None:
        case = parts.registry.case_as_of(case_id, as_of)
        return case.confirmed_at if case is not None else None

    return Known(place=place, confirmed_at=confirmed_at)


def _download(pieces: Iterator[bytes], turn: Turn, name: str) -> Stream:
    """The archive as it is written. Names hold ids of this service alone, which need no quoting."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Stream(_sent(pieces, turn), media_type=ZIP_TYPE, headers=headers)


async def _sent(pieces: Iterator[bytes], turn: Turn) -> AsyncIterator[bytes]:
    """Each piece from a thread of the service's own; the next one is made when this one is on its way."""
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    finally:
        turn.end()


ROUTES: Final = (export_trace, export_traces, export_case_timeline)
