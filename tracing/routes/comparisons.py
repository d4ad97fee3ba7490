"""What if, and what since: the difference between two answers, and a question over a grid of parameters."""

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
from tracing.audit import Action, purpose_of
from tracing.decoding import decode_body
from tracing.difference import Difference, difference
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.question import Change, Index, Question, ResolvedQuestion, changed
from tracing.recall import recall_of
from tracing.sweep import Grid, Sweep, checked, sweep


class ComparedSide(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer to compare: a saved trace by its id, or a question that is asked now and saved. One of the two."""

    trace: str | None = None
    question: Question | None = None


class CompareRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two answers to compare, and the purpose, which the audit log keeps.

    Without `after`, the question of `before` is asked again about the same people in the same windows: as of now, and
    otherwise as `change` says.
    """

    before: ComparedSide
    after: ComparedSide | None = None
    change: Change | None = None
    purpose: str = ""


class SweepRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question, whose own threshold and lag do not count, and the grid of those to try instead. With a purpose."""

    question: Question
    grid: Grid
    purpose: str = ""


COMPARE: Final = Operation(
    name="compare_traces",
    tag="Traces",
    summary="Who was added, removed, changed, and by which scans?",
    text=(
        "Between two saved traces, a saved trace and now, two moments (`as_of`) or two sets of parameters of one"
        " question. Each contact that differs comes with how it stands on both sides, the causes, and the scans that"
        " count, or prove, on one side only. Both answers are saved; `before.trace` and `after.trace` name them. The"
        " same two answers always differ in the same way: see `fingerprint`. Both must have been asked with evidence."
    ),
    permission=Permission.TRACES,
    person=True,
    body=CompareRequest,
    example=CompareRequest(
        before=ComparedSide(trace="8b6f1c0a5d2e4f73a1b09c8d7e6f5a4b"),
        change=Change(lag_seconds=1_800),
        purpose="What came in late on the cluster at the market",
    ),
    successes=(Success(200, "The difference", Difference),),
    problems=(problems.NOT_FOUND, *QUESTION_PROBLEMS),
)
SWEEP: Final = Operation(
    name="sweep_traces",
    tag="Traces",
    summary="How many contacts at each of many thresholds and lags?",
    text=(
        "Counts contacts at every point of the grid, by depth, and how much of each list rests on ends that no scan"
        " says (`assumed`: an entry that was missed, an exit that only the place's dwell or the moment of asking"
        " gives): how many would be no contacts without those encounters, and how much exposure would go. Read once;"
        " each point is what a trace with these parameters finds. Nothing is saved. About somebody who was scanned"
        " nowhere in the window it is refused, as a trace is."
    ),
    permission=Permission.TRACES,
    person=True,
    body=SweepRequest,
    example=SweepRequest(
        question=Question(index=Index(cases=("hn-2021-0417",))),
        grid=Grid(min_seconds=(300, 600, 900, 1_800), lag_seconds=(0, 900, 1_800)),
        purpose="How much the list depends on the rule",
    ),
    successes=(Success(200, "Every point of the grid", Sweep),),
    problems=(problems.GRID_TOO_LARGE, *QUESTION_PROBLEMS),
)


@post("/v1/traces/compare", opt={OPERATION: COMPARE}, status_code=200, sync_to_thread=True)
def compare_traces(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Have both answers, each recorded by itself, then say how they differ."""
    asked = decode_body(body, request.headers.get("content-type", ""), CompareRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    if asked.after is not None and asked.change is not None:
        problem = problems.QUESTION_INVALID.problem("Give after or change, not both.", pointer="/change")
        raise ProblemError(problem)
    before = _answer(request, parts, asked.before, purpose, "/before")
    if asked.after is not None:
        after = _answer(request, parts, asked.after, purpose, "/after")
    else:
        question = changed(before.question, asked.change or Change(), parts.clock())
        after = parts.asker.ask(request.auth, question, purpose).answer
    return reply(
        difference(before, after, recall_of(parts.store, parts.registry, parts.tracer, before.question, after.question))
    )


@post("/v1/traces/sweep", opt={OPERATION: SWEEP}, status_code=200, sync_to_thread=True)
def sweep_traces(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Read once, evaluate the grid, and record who asked before it is answered."""
    asked = decode_body(body, request.headers.get("content-type", ""), SweepRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    grid = checked(asked.grid)
    widest = msgspec.structs.replace(asked.question, min_seconds=grid.min_seconds[0], lag_seconds=grid.lag_seconds[-1])
    search = parts.tracer.search(widest)
    found = sweep(search, grid)
    people = [each.subject for each in search.question.index]
    parts.audit.write(parts.clock(), request.auth, Action.TRACE_SWEPT, found.fingerprint, purpose, people=people)
    stays = [len(search.presences([source])) for source in search.sources()]
    require_somebody(search.index(stays), parts.registry)
    return reply(found)


def _answer(request: Asked, parts: Parts, side: ComparedSide, purpose: str, pointer: str) -> Answer:
    """One side's answer, the look at it recorded."""
    if side.question is not None and side.trace is None:
        _require_evidence(side.question, f"{pointer}/question/evidence")
        return parts.asker.ask(request.auth, side.question, purpose).answer
    if side.trace is None or side.question is not None:
        raise ProblemError(problems.QUESTION_INVALID.problem("Give a trace or a question.", pointer=pointer))
    text = parts.saved.answer(side.trace)
    if text is None:
        raise ProblemError(problems.NOT_FOUND.problem("No saved trace has this id.", pointer=f"{pointer}/trace"))
    answer = codec.from_json(text, Answer)
    _require_evidence(answer.question, f"{pointer}/trace")
    parts.audit.write(parts.clock(), request.auth, Action.TRACE_READ, side.trace, purpose)
    return answer


def _require_evidence(question: Question | ResolvedQuestion, pointer: str) -> None:
    """Without evidence nothing says why a contact differs; and beside one with it, every contact would."""
    if not question.evidence:
        detail = "An answer without evidence cannot be compared; ask it with evidence."
        raise ProblemError(problems.QUESTION_INVALID.problem(detail, pointer=pointer))


ROUTES: Final = (compare_traces, sweep_traces)
