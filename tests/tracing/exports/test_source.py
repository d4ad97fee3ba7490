import msgspec
import pytest
from hypothesis import given

from events import codec
from tests.tracing.exports.samples import (
    F0,
    START,
    answer,
    answers,
    contact,
    known,
    met,
    pseudonym,
    small,
    source_of,
    spoiled,
)
from tracing.answer import Answer
from tracing.exports.lists import linelist
from tracing.exports.slices import Unreadable
from tracing.exports.source import PROBLEMS_KEPT, TIME_MS_MAX, Pair

HOUR = 3_600_000


@given(answers())
def test_a_saved_answer_comes_back_whole(saved: Answer) -> None:
    source = source_of(saved)
    assert tuple(source.contacts()) == saved.contacts
    assert (source.head.id, source.head.question, source.head.index) == (saved.id, saved.question, saved.index)
    assert not source.problems


@given(answers())
def test_every_end_of_an_edge_is_in_the_line_list_and_nobody_is_in_it_twice(saved: Answer) -> None:
    source = source_of(saved)
    people = [person.subject for person in source.people()]
    assert len(people) == len(set(people))
    assert {end for pair in source.pairs() for end in (pair.source, pair.target)} <= set(people)
    assert set(people) == {each.subject for each in saved.index} | {each.subject for each in saved.contacts}


@given(answers())
def test_pairs_share_out_a_contact_s_encounters(saved: Answer) -> None:
    def of(subject: str) -> list[Pair]:
        return [pair for pair in source_of(saved).pairs() if pair.target == subject]

    for one in saved.contacts[:3]:
        pairs = of(one.subject)
        assert {pair.source for pair in pairs} == {edge.subject for edge in one.via}
        assert sorted(met.start for pair in pairs for met in pair.encounters) == sorted(m.start for m in one.encounters)
        assert sum(pair.ms or 0 for pair in pairs) >= one.ms


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subject": "A" * 32}, "the subject is no pseudonym"),
        ({"subject": "Nguyễn Văn A"}, "the subject is no pseudonym"),
        ({"subject": F0}, "the subject is an index subject"),
        ({"depth": 3}, "the depth is not one of the question's"),
        ({"first": START + 90 * HOUR}, "the times contradict each other"),
        ({"last": TIME_MS_MAX + 1}, "the times contradict each other"),
        ({"ms": -1}, "the length is negative"),
        ({"via": [], "encounters": []}, "nothing leads to the contact"),
        ({"via": [{"subject": "x", "first": START}]}, "an edge's source is no pseudonym"),
        ({"via": [{"subject": "b" * 32, "first": START}]}, "an edge's source is no index subject"),
        ({"ms": "long"}, "the record is not of the form of a contact"),
        ({"encounters": 5}, "the record is not of the form of a contact"),
    ],
)
def test_a_bad_record_is_reported_once_and_leaves_the_others(change: dict[str, object], reason: str) -> None:
    saved = answer(*(contact(pseudonym(n), 1, met(F0, "market", START, START + HOUR)) for n in range(3)))
    source = source_of(spoiled(saved, 1, **change))
    for _ in range(3):
        assert [one.subject for one in source.contacts()] == [pseudonym(0), pseudonym(2)]
    (problem,) = source.problems
    assert (problem.contact, problem.reason, problem.trace) == (2, reason, saved.id)


def test_who_led_to_somebody_is_listed_though_their_own_record_is_bad() -> None:
    source = source_of(spoiled(small(), 0, ms=-5))
    people = {person.subject: person.role for person in source.people()}
    assert people[pseudonym(1)] == ""
    assert {end for pair in source.pairs() for end in (pair.source, pair.target)} <= people.keys()


def test_an_answer_saved_without_its_evidence_still_says_who_and_when() -> None:
    text = codec.to_json(small())
    for position in range(3):
        text = spoiled(codec.from_json(text, Answer), position, encounters=[])
    pairs = list(source_of(text).pairs())
    assert len(pairs) == 4
    assert {(pair.last, pair.ms, pair.encounters) for pair in pairs} == {(None, None, ())}


def test_bad_records_beyond_the_limit_are_counted() -> None:
    saved = answer(*(contact("Z" * 32, 1, met(F0, "p", START, START + 1)) for _ in range(PROBLEMS_KEPT + 7)))
    source = source_of(saved, piece=1_000_000)
    assert list(source.contacts()) == list(source.contacts()) == []
    assert (len(source.problems), source.problems_left_out) == (PROBLEMS_KEPT, 7)


@pytest.mark.parametrize("text", [b"{}", b'{"id":5,"contacts":[]}', b'{"contacts":[]}'])
def test_what_is_no_answer_is_said_before_anything_is_sent(text: bytes) -> None:
    with pytest.raises(Unreadable):
        source_of(text)


def test_names_take_the_place_of_pseudonyms_where_somebody_reveals_them() -> None:
    assert source_of(small()).label(F0) == F0
    source = source_of(small(), msgspec.structs.replace(known(), name_of={F0: "Nguyễn Văn A"}.get))
    assert (source.label(F0), source.label(pseudonym(1))) == ("Nguyễn Văn A", pseudonym(1))
    assert [row[-1] for row in linelist(source).rows()] == ["Nguyễn Văn A", None, None, None]
