"""Places ranked by how much they exposed people."""

from typing import Final

import msgspec
from litestar import Response, post
from litestar.params import RawBody

from events import codec, problems
from events.problems import ProblemError
from tracing.absence import require_somebody
from tracing.access import Permission
from tracing.answer import Answer
from tracing.asker import QUESTION_PROBLEMS
from tracing.audit import PURPOSE_CHARACTERS_MAX, PURPOSE_CHARACTERS_MIN, Action, purpose_of
from tracing.decoding import decode_body
from tracing.operation import OPERATION, Operation, Success
from tracing.outbreak.exposures import PLACES_DEFAULT, Exposures, Order, Shown, exposures_of
from tracing.parts import Asked, Given, Parts, reply
from tracing.question import Index, Question, refuse


class ExposuresRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose contacts' places: those of a saved `trace`, by its id, or of a `question` asked for this alone."""

    trace: str | None = None
    question: Question | None = None
    order: Order = Order.PERSON_SECONDS
    places_max: Shown = PLACES_DEFAULT
    purpose: str = ""


ASK: Final = Operation(
    name="rank_exposures",
    tag="Outbreaks",
    summary="Which places exposed most people?",
    text=(
        "Ranks the places where the contacts (depth 1) of a saved trace, or of a question as `POST /v1/traces` takes"
        " it, were exposed: by people × time, by people, or by how full they were at most while an F0 was there,"
        f" against their capacity. Recorded in the audit log with its purpose ({PURPOSE_CHARACTERS_MIN} to"
        f" {PURPOSE_CHARACTERS_MAX} characters)."
    ),
    permission=Permission.TRACES,
    person=True,
    body=ExposuresRequest,
    example=ExposuresRequest(
        question=Question(index=Index(cases=("hn-2021-0417",)), lag_seconds=900),
        purpose="Where to disinfect first",
    ),
    successes=(Success(200, "The places", Exposures),),
    problems=(problems.NOT_FOUND, *QUESTION_PROBLEMS),
)


@post("/v1/exposures", opt={OPERATION: ASK}, status_code=200, sync_to_thread=True)
def rank_exposures(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Rank, record who asked, and only then hand the answer out."""
    asked = decode_body(body, request.headers.get("content-type", ""), ExposuresRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    answer = _answer(asked, parts)
    people = sorted({each.subject for each in answer.index})
    parts.audit.write(parts.clock(), request.auth, Action.EXPOSURES_ASKED, answer.id, purpose, people=people)
    index = "/question/index"
    require_somebody(answer.index, parts.registry, pointer=index, subjects_pointer=f"{index}/subjects")
    ranked = exposures_of(
        answer,
        trace=asked.trace,
        order=asked.order,
        places_max=asked.places_max,
        store=parts.store,
        registry=parts.registry,
    )
    return reply(ranked)


def _answer(asked: ExposuresRequest, parts: Parts) -> Answer:
    """The saved trace, or a fresh one. Raises `ProblemError`."""
    if asked.trace is not None and asked.question is None:
        text = parts.saved.answer(asked.trace)
        if text is None:
            raise ProblemError(problems.NOT_FOUND.problem("No saved trace has this id.", pointer="/trace"))
        return codec.from_json(text, Answer)
    if asked.question is None or asked.trace is not None:
        refuse("give a trace or a question, one of the two", "/trace" if asked.trace is not None else "/question")
    return parts.tracer.trace(asked.question)


ROUTES: Final = (rank_exposures,)
"""Its routes."""
