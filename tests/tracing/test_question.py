"""Questions: defaults, limits, and where a problem points."""

from typing import Any, Final

import msgspec
import pytest

from events import codec, problems
from events.cases import Case
from events.problems import ProblemError
from tracing.question import (
    DAY_SECONDS,
    DEPTH_MAX,
    INDEX_SUBJECTS_MAX,
    LAG_SECONDS_MAX,
    LATENCY_SECONDS_MAX,
    WINDOW_DAYS_MAX,
    Index,
    Question,
    ResolvedQuestion,
    Rule,
    resolve,
)

NOW: Final = 1_634_947_200_000
DAY_MS: Final = DAY_SECONDS * 1000
A, B = "a" * 32, "b" * 32


def case(case_id: str, subject: str = A, days: tuple[int, int] = (-10, 0)) -> Case:
    return Case(
        id=case_id,
        subject=subject,
        confirmed_at=NOW,
        infectious_from=NOW + days[0] * DAY_MS,
        infectious_to=NOW + days[1] * DAY_MS,
    )


CASES: Final = {each.id: each for each in (case("c1"), case("c2", B, (-5, 2)), case("long", A, (-40, 0)))}


def asked(**parameters: Any) -> ResolvedQuestion:
    """The question as it comes over HTTP, resolved."""
    question = codec.from_json(codec.to_json(parameters), Question)
    return resolve(question, lambda case_id, as_of: CASES.get(case_id), NOW)


def test_a_case_alone_is_a_question() -> None:
    resolved = asked(index={"cases": ["c1"]})
    assert codec.from_json(codec.to_json(resolved), dict[str, Any]) == {
        "index": [{"subject": A, "cases": ["c1"], "from": NOW - 10 * DAY_MS, "to": NOW}],
        "lag_seconds": 0,
        "min_seconds": 900,
        "rule": "total",
        "as_of": NOW,
        "depth": 1,
        "latency_seconds": 0,
    }


def test_each_case_has_its_own_window_unless_one_is_given() -> None:
    resolved = asked(index={"cases": ["c2", "c1"]})
    assert [(each.subject, each.from_, each.to) for each in resolved.index] == [
        (A, NOW - 10 * DAY_MS, NOW),
        (B, NOW - 5 * DAY_MS, NOW + 2 * DAY_MS),
    ]
    resolved = asked(index={"cases": ["c2", "c1"]}, **{"from": NOW - DAY_MS, "to": NOW})
    assert {(each.from_, each.to) for each in resolved.index} == {(NOW - DAY_MS, NOW)}


def test_whoever_is_named_twice_counts_once() -> None:
    window = {"from": NOW - DAY_MS, "to": NOW}
    (one,) = asked(index={"cases": ["c1"], "subjects": [A, A]}, **window).index
    assert (one.subject, one.cases, one.from_) == (A, ("c1",), NOW - DAY_MS)


def test_windows_of_one_subject_unite_only_where_they_meet() -> None:
    windows = {"x": (-10, -8), "y": (-8, -5), "z": (-4, -3), "in-y": (-7, -6)}
    known = {case_id: case(case_id, A, days) for case_id, days in windows.items()}
    question = Question(index=Index(cases=("z", "y", "in-y", "x")))
    first, second = resolve(question, lambda case_id, as_of: known[case_id], NOW).index
    assert (first.cases, first.from_, first.to) == (("in-y", "x", "y"), NOW - 10 * DAY_MS, NOW - 5 * DAY_MS)
    assert second.cases == ("z",)


def test_the_case_is_asked_for_as_of_then() -> None:
    moments: list[int] = []

    def case_as_of(case_id: str, as_of: int) -> Case | None:
        moments.append(as_of)
        return CASES[case_id]

    resolve(Question(index=Index(cases=("c1",)), as_of=NOW - 5), case_as_of, NOW)
    assert moments == [NOW - 5]


@pytest.mark.parametrize(
    ("given", "ms", "said"), [(0.001, 1, 0.001), (1.0, 1000, 1), (0, 0, 0), (899.5, 899_500, 899.5)]
)
def test_min_seconds_goes_down_to_the_millisecond(given: float, ms: int, said: float) -> None:
    resolved = asked(index={"cases": ["c1"]}, min_seconds=given)
    assert resolved.min_ms == ms
    assert codec.to_json(resolved.min_seconds) == codec.to_json(said)


def test_durations_are_kept_in_ms_inside() -> None:
    resolved = asked(index={"cases": ["c1"]}, lag_seconds=90, latency_seconds=7200, rule="encounter", depth=3)
    assert (resolved.lag_ms, resolved.latency_ms, resolved.rule, resolved.depth) == (
        90_000,
        7_200_000,
        Rule.ENCOUNTER,
        3,
    )


C1: Final = {"cases": ["c1"]}


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"index": {}}, "/index"),
        ({"index": {"cases": ["c1"] * (INDEX_SUBJECTS_MAX + 1)}}, "/index"),
        ({"index": {"subjects": [A]}}, "/from"),
        ({"index": {"subjects": [A]}, "from": NOW}, "/to"),
        ({"index": C1, "from": NOW, "to": NOW}, "/to"),
        ({"index": C1, "from": NOW + 1}, "/from"),
        ({"index": C1, "from": NOW - WINDOW_DAYS_MAX * DAY_MS - 1, "to": NOW}, "/to"),
        ({"index": {"cases": ["c1", "long"]}}, "/index/cases/1"),
        ({"index": C1, "as_of": NOW + 1}, "/as_of"),
        ({"index": C1, "depth": 0}, "/depth"),
        ({"index": C1, "depth": DEPTH_MAX + 1}, "/depth"),
        ({"index": C1, "lag_seconds": -1}, "/lag_seconds"),
        ({"index": C1, "lag_seconds": LAG_SECONDS_MAX + 1}, "/lag_seconds"),
        ({"index": C1, "latency_seconds": LATENCY_SECONDS_MAX + 1}, "/latency_seconds"),
        ({"index": C1, "min_seconds": -0.001}, "/min_seconds"),
        ({"index": C1, "min_seconds": 0.0005}, "/min_seconds"),
        ({"index": C1, "min_seconds": 1e12}, "/min_seconds"),
    ],
)
def test_what_cannot_be_answered_points_at_why(parameters: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ProblemError) as caught:
        asked(**parameters)
    problem = caught.value.problem
    assert (problem.type, problem.pointer) == (problems.QUESTION_INVALID.problem().type, pointer)
    assert A not in problem.detail


def test_the_longest_window_is_allowed() -> None:
    asked(index=C1, **{"from": NOW - WINDOW_DAYS_MAX * DAY_MS, "to": NOW})


def test_an_unknown_case_is_not_found() -> None:
    with pytest.raises(ProblemError) as caught:
        asked(index={"cases": ["c1", "c9"]})
    assert (caught.value.problem.status, caught.value.problem.pointer) == (404, "/index/cases/1")


@pytest.mark.parametrize(
    "body", [{"index": {"subjects": ["x"]}}, {"index": C1, "depht": 2}, {}, {"index": C1, "to": -1}]
)
def test_what_has_another_form_is_no_question(body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        asked(**body)
