"""Spans of the log hold neither too little nor too much, however unevenly it came in, and lose nothing."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from projections import spans
from projections.spans import span_end
from storage.clickhouse import Store

UPTO = 2_000_000_000_000


class Log(Store):
    """A store whose log came in at these moments; counts what it is asked."""

    def __init__(self, received: list[int]) -> None:
        self.received = sorted(received)
        self.questions = 0

    def rows(self, sql: str, parameters: object = None) -> list[tuple[int]]:
        assert isinstance(parameters, dict)
        self.questions += 1
        found = [ms for ms in self.received if parameters["after"] < ms <= parameters["upto"]]
        return [(len(found) if "count()" in sql else min(found, default=0),)]


moments = st.lists(
    st.one_of(st.integers(1, 300), st.integers(1, UPTO), st.integers(0, 50).map(lambda late: UPTO - late)), max_size=60
)


@given(received=moments, rows_max=st.integers(1, 12), upto=st.one_of(st.just(UPTO), st.integers(1, UPTO)))
@example(received=[UPTO] * 30, rows_max=4, upto=UPTO)
@settings(deadline=None)
def test_spans_follow_each_other_and_hold_as_much_as_they_should(received: list[int], rows_max: int, upto: int) -> None:
    log, ends = Log(received), [0]
    while ends[-1] < upto:
        ends.append(span_end(log, ends[-1], upto, rows_max))
        assert ends[-1] > ends[-2], "it never ends"
    assert ends[-1] == upto
    for after, end in pairwise(ends):
        inside = [ms for ms in log.received if after < ms <= end]
        assert len(inside) <= rows_max or set(inside) == {end}, "more than one ms has"
        too_few = end < upto and len(inside) < max(rows_max // 2, 1)
        assert not too_few or len(inside) + log.received.count(end + 1) > rows_max, "more would have fitted"


@pytest.mark.parametrize("rows_max", [1_000, 10_000])
def test_an_end_is_found_with_few_questions(rows_max: int) -> None:
    day = 86_400_000
    log = Log([UPTO - 3 * day + number * 2_000 for number in range(3 * 43_200)])
    ends = [0]
    while ends[-1] < UPTO:
        ends.append(span_end(log, ends[-1], UPTO, rows_max))
    steps = len(ends) - 1
    assert steps <= 3 * 43_200 / (rows_max / 2) + 1
    assert log.questions / steps < spans.GUESSES_MAX
