"""Backward: where, and by whom, several F0 may have been infected."""

from typing import Final

from litestar import Response, post
from litestar.params import RawBody

from events import codec, problems
from tracing.absence import require_somebody
from tracing.access import Permission
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN, Action, purpose_of
from tracing.decoding import decode_body
from tracing.operation import OPERATION, Operation, Success
from tracing.outbreak.exposed import Exposed, SourcesQuestion
from tracing.outbreak.sources import SourcesAnswer
from tracing.parts import Asked, Given


class SourcesRequest(SourcesQuestion, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The question with the purpose that it is asked for, which the audit log keeps."""

    purpose: str = ""


ASK: Final = Operation(
    name="ask_sources",
    tag="Outbreaks",
    summary="Where may these F0 have been infected?",
    text=(
        "Ranks the places that several of them were at, and the people whom several of them met, while they may have"
        " been infected: by default the 12 days before each one's infectious window. The most surprising come first,"
        " with the numbers that say so and the stays and scans that prove it. Recorded in the audit log with its"
        f" purpose ({PURPOSE_CHARACTERS_MIN} to {PURPOSE_CHARACTERS_MAX} characters)."
    ),
    permission=Permission.TRACES,
    person=True,
    body=SourcesRequest,
    example=SourcesRequest(
        exposed=(
            Exposed(case="hn-2021-0417"),
            Exposed(case="hn-2021-0421"),
            Exposed(subject="5f0c2a9be1d34c7788aa01b2c3d4e5f6", from_=1_633_737_600_000, to=1_634_774_400_000),
        ),
        purpose="Where the cluster of October began",
    ),
    successes=(Success(200, "The answer", SourcesAnswer),),
    problems=(
        problems.QUESTION_INVALID,
        problems.WINDOW_REVERSED,
        problems.WINDOW_TOO_LONG,
        problems.WINDOW_EXPIRED,
        problems.AS_OF_IN_FUTURE,
        problems.SUBJECT_UNKNOWN,
        problems.INDEX_WITHOUT_SCANS,
        problems.TRACE_TOO_LARGE,
        problems.BEHIND,
        problems.STREAM_DOWN,
    ),
)


@post("/v1/sources", opt={OPERATION: ASK}, status_code=200, sync_to_thread=True)
def ask_sources(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Answer, record who asked, and only then hand the answer out."""
    asked = decode_body(body, request.headers.get("content-type", ""), SourcesRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    answer = parts.outbreak.sources.ask(asked)
    people = sorted({each.subject for each in answer.exposed} | {each.subject for each in answer.people})
    parts.audit.write(parts.clock(), request.auth, Action.SOURCES_ASKED, answer.id, purpose, people=people)
    require_somebody(answer.exposed, parts.registry, pointer="/exposed", subjects_pointer="/exposed")
    return Response(codec.to_json(answer), media_type="application/json")


ROUTES: Final = (ask_sources,)
"""Its routes."""
