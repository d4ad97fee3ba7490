"""Questions: defaults, limits, and where a problem points."""

from typing import Any, Final

import msgspec
import pytest

from events import codec, problems
from events.cases import Case
from events.places import DWELL_SECONDS_MAX, DWELL_SECONDS_MIN, Category
from events.problems import ProblemError
from tracing.presets import PRESETS, Preset
from tracing.question import (
    DAY_SECONDS,
    DEPTH_MAX,
    INDEX_SUBJECTS_MAX,
    LAG_SECONDS_MAX,
    LATENCY_SECONDS_MAX,
    WINDOW_DAYS_MAX,
    Change,
    Index,
    Question,
    ResolvedQuestion,
    changed,
    resolve,
)
from tracing.rule import Rule

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
        "preset": None,
        "dwell_seconds": {},
        "evidence": True,
    }


def test_a_preset_fills_in_what_is_left_open_and_the_answer_names_it() -> None:
    resolved = asked(index={"cases": ["c1"]}, preset="corona-warn-app")
    assert (resolved.preset, resolved.lag_seconds, resolved.min_seconds, resolved.rule, resolved.depth) == (
        "corona-warn-app",
        1800,
        600,
        Rule.ENCOUNTER,
        1,
    )


def test_what_the_question_says_itself_beats_the_preset() -> None:
    resolved = asked(
        index={"cases": ["c1"]}, preset="pc-covid", lag_seconds=0, min_seconds=0, dwell_seconds={"market": 600}
    )
    assert (resolved.min_seconds, resolved.rule) == (0, Rule.ENCOUNTER)
    assert resolved.dwell_seconds == dict.fromkeys(Category, 3600) | {Category.MARKET: 600}


def test_what_is_asked_otherwise_keeps_the_people_their_windows_and_the_rest() -> None:
    before = asked(index={"cases": ["c2", "c1"]}, lag_seconds=60, depth=2, dwell_seconds={"market": 600}, as_of=NOW - 9)
    assert changed(before, Change(), NOW) == msgspec.structs.replace(before, as_of=NOW)
    assert changed(before, Change(min_seconds=5, as_of=NOW - 9), NOW) == msgspec.structs.replace(before, min_seconds=5)
    preset = changed(before, Change(preset="corona-warn-app", lag_seconds=0, as_of=NOW - 9), NOW)
    assert preset == msgspec.structs.replace(
        before, preset="corona-warn-app", lag_seconds=0, min_seconds=600, rule=Rule.ENCOUNTER, dwell_seconds={}
    )
    for change, kind in (
        (Change(depth=DEPTH_MAX + 1), problems.DEPTH_EXCEEDED),
        (Change(as_of=NOW + 1), problems.AS_OF_IN_FUTURE),
        (Change(preset="none"), problems.PRESET_UNKNOWN),
    ):
        with pytest.raises(ProblemError) as caught:
            changed(before, change, NOW)
        assert caught.value.problem.type == kind.problem().type


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_is_a_question_that_can_be_asked(preset: Preset) -> None:
    resolved = asked(index={"cases": ["c1"]}, preset=preset.name)
    for field in ("lag_seconds", "min_seconds", "rule", "dwell_seconds"):
        said = getattr(preset.parameters, field)
        assert said is None or getattr(resolved, field) == said
    assert all(DWELL_SECONDS_MIN <= seconds <= DWELL_SECONDS_MAX for seconds in resolved.dwell_seconds.values())
    assert preset.words
    assert preset.near
    assert preset.source.url is None or preset.source.url.startswith("https://")


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
    ("parameters", "kind", "pointer"),
    [
        ({"index": {}}, problems.QUESTION_INVALID, "/index"),
        ({"index": {"cases": ["c1"] * (INDEX_SUBJECTS_MAX + 1)}}, problems.QUESTION_INVALID, "/index"),
        ({"index": {"subjects": [A]}}, problems.QUESTION_INVALID, "/from"),
        ({"index": {"subjects": [A]}, "from": NOW}, problems.QUESTION_INVALID, "/to"),
        ({"index": C1, "from": NOW, "to": NOW}, problems.WINDOW_REVERSED, "/to"),
        ({"index": C1, "from": NOW + 1}, problems.WINDOW_REVERSED, "/from"),
        ({"index": C1, "from": NOW - WINDOW_DAYS_MAX * DAY_MS - 1, "to": NOW}, problems.WINDOW_TOO_LONG, "/to"),
        ({"index": {"cases": ["c1", "long"]}}, problems.WINDOW_TOO_LONG, "/index/cases/1"),
        ({"index": C1, "as_of": NOW + 1}, problems.AS_OF_IN_FUTURE, "/as_of"),
        ({"index": C1, "depth": 0}, problems.DEPTH_EXCEEDED, "/depth"),
        ({"index": C1, "depth": DEPTH_MAX + 1}, problems.DEPTH_EXCEEDED, "/depth"),
        ({"index": C1, "preset": "none"}, problems.PRESET_UNKNOWN, "/preset"),
        ({"index": C1, "lag_seconds": -1}, problems.QUESTION_INVALID, "/lag_seconds"),
        ({"index": C1, "lag_seconds": LAG_SECONDS_MAX + 1}, problems.QUESTION_INVALID, "/lag_seconds"),
        ({"index": C1, "latency_seconds": LATENCY_SECONDS_MAX + 1}, problems.QUESTION_INVALID, "/latency_seconds"),
        ({"index": C1, "min_seconds": -0.001}, problems.QUESTION_INVALID, "/min_seconds"),
        ({"index": C1, "min_seconds": 0.0005}, problems.QUESTION_INVALID, "/min_seconds"),
        ({"index": C1, "min_seconds": 1e12}, problems.QUESTION_INVALID, "/min_seconds"),
    ],
)
def test_what_cannot_be_answered_points_at_why(parameters: dict[str, Any], kind: problems.Kind, pointer: str) -> None:
    with pytest.raises(ProblemError) as caught:
        asked(**parameters)
    problem = caught.value.problem
    assert (problem.type, problem.pointer) == (kind.problem().type, pointer)
    assert problem.action
    assert A not in problem.detail


def test_the_longest_window_is_allowed() -> None:
    asked(index=C1, **{"from": NOW - WINDOW_DAYS_MAX * DAY_MS, "to": NOW})


def test_an_unknown_case_is_not_found() -> None:
    with pytest.raises(ProblemError) as caught:
        asked(index={"cases": ["c1", "c9"]})
    assert (caught.value.problem.status, caught.value.problem.pointer) == (404, "/index/cases/1")


@pytest.mark.parametrize(
    "body",
    [
        {"index": C1, "dwell_seconds": {"market": 59}},
        {"index": C1, "dwell_seconds": {"moon": 60}},
        {"index": {"subjects": ["x"]}},
        {"index": C1, "depht": 2},
        {},
        {"index": C1, "to": -1},
    ],
)
def test_what_has_another_form_is_no_question(body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        asked(**body)
