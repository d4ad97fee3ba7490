"""The check of the demonstration sees every way in which an answer can differ from the truth."""

import msgspec
import pytest

from app.simulate.truth import Expected, Met
from app.simulate.verdict import agreement
from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.answer import AnsweredContact
from tracing.chain import Edge
from tracing.overlap import Encounter

A, B, F = "a" * 32, "b" * 32, "f" * 32
STAY = Stay("hall", 0, 5_000, EntryKnown.MEASURED, ExitKnown.MEASURED, (("gate", 1),))
EXPECTED = [Expected(A, 3_000, (Met("hall", 1_000, 4_000),)), Expected(B, 2_000, (Met("hall", 0, 2_000),))]


def answered(subject: str, start: int, end: int, place: str = "hall") -> AnsweredContact:
    return AnsweredContact(
        subject=subject,
        depth=1,
        seconds=(end - start) / 1000,
        ms=end - start,
        first=start,
        last=end,
        via=(Edge(F, start),),
        intervals=((start, end),),
        encounters=(Encounter(F, place, start, end, end - start, 0, STAY, STAY),),
    )


RIGHT = [answered(A, 1_000, 4_000), answered(B, 0, 2_000)]


def test_the_truth_is_whole() -> None:
    agreed = agreement(EXPECTED, RIGHT)
    assert (agreed.equal, agreed.expected, agreed.whole) == (2, 2, True)


@pytest.mark.parametrize(
    ("answer", "equal"),
    [
        pytest.param(RIGHT[:1], 1, id="one is missing"),
        pytest.param([*RIGHT, answered("c" * 32, 0, 1_000)], 2, id="one too many"),
        pytest.param([RIGHT[0], answered(B, 0, 2_001)], 1, id="a millisecond too long"),
        pytest.param([RIGHT[0], answered(B, 1, 2_001)], 1, id="a millisecond later"),
        pytest.param([RIGHT[0], answered(B, 0, 2_000, "park")], 1, id="another place"),
        pytest.param(RIGHT[::-1], 2, id="another order"),
    ],
)
def test_every_difference_is_seen(answer: list[AnsweredContact], equal: int) -> None:
    agreed = agreement(EXPECTED, answer)
    assert agreed.equal == equal
    assert not agreed.whole
    assert not any(A in line or B in line for line in agreed.differences), "pseudonyms are shortened"


def test_a_surplus_contact_is_named() -> None:
    differences = agreement(EXPECTED, [*RIGHT, answered("c" * 32, 0, 1_000)]).differences
    assert differences == ("cccccccc…: expected nothing, answered 1,000 ms in 1 encounters",)


def test_encounters_must_be_equal_too() -> None:
    twice = msgspec.structs.replace(RIGHT[0], encounters=RIGHT[0].encounters * 2)
    assert not agreement(EXPECTED, [twice, RIGHT[1]]).whole
