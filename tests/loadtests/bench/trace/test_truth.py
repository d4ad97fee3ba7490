"""The truth that answers are held against is that of the tests' own slow reading of the semantics."""

from typing import Any

import msgspec
import numpy as np
import pytest

from loadtests.bench.trace.truth import Contact, Truth, Window, differences, united
from loadtests.bench.trace.walk import walked
from loadtests.bench.trace.world import DAY_MS
from tests.loadtests.bench.trace.countries import SMALL, places_of, scans_of
from tests.oracle import OracleQuery, OracleStay, chain_of, contacts_of, length_of_union, stays_of

WHOLE = (SMALL.start_ms, SMALL.end_ms)
PART = (SMALL.start_ms + 3 * DAY_MS + 7_000, SMALL.start_ms + 9 * DAY_MS + 13_000)
CONTACTS = [Contact(1, "a" * 32, 1_000_000, 5, 9), Contact(1, "b" * 32, 900_000, 5, 9)]


@pytest.fixture(scope="module")
def truth() -> Truth:
    """About the first province of a small country."""
    return Truth(SMALL, 0, walked(SMALL, 0, SMALL.end_ms))


@pytest.fixture(scope="module")
def stays() -> dict[str, list[OracleStay]]:
    """Its stays by the slow reading."""
    scans, places = scans_of(SMALL, 0), places_of(SMALL, 0)
    return {
        subject: sorted(stays_of([scan for scan in scans if scan.subject == subject], places, SMALL.end_ms))
        for subject in {scan.subject for scan in scans}
    }


def query(truth: Truth, people: list[int], window: Window, depth: int) -> OracleQuery:
    """The question in the slow reading's form."""
    windows = tuple((truth.subject(person), *window) for person in people)
    return OracleQuery(windows, lag=0, least=900_000, rule="total", as_of=SMALL.end_ms, depth=depth, latency=0)


@pytest.mark.parametrize("window", [WHOLE, PART], ids=["whole", "part"])
@pytest.mark.parametrize("people", [[0], [5], [1, 6, 9]], ids=str)
def test_contacts_at_depth_1(
    truth: Truth, stays: dict[str, list[OracleStay]], people: list[int], window: Window
) -> None:
    asked = query(truth, people, window, 1)
    wanted = contacts_of(list(asked.windows), stays, asked, {subject for subject, _, _ in asked.windows})
    found = truth.contacts(people, window)
    assert wanted
    assert found == [Contact(1, one["subject"], one["ms"], one["first"], one["last"]) for one in wanted]


@pytest.mark.parametrize("people", [[1], [10, 3]], ids=str)
def test_contacts_of_contacts(truth: Truth, stays: dict[str, list[OracleStay]], people: list[int]) -> None:
    asked = query(truth, people, WHOLE, 2)
    layers = chain_of(stays, asked)
    found = truth.contacts(people, WHOLE, depth=2)
    for depth, layer in enumerate(layers, 1):
        firsts = {contact.subject: contact.first for contact in found if contact.depth == depth}
        assert firsts == {subject: min(first for _, first in edges) for subject, edges in layer.items()}
    assert all(layers)
    known = {subject for subject, _, _ in asked.windows} | layers[0].keys()
    met: dict[str, list[dict[str, Any]]] = {}
    for source, edges in layers[0].items():
        for contact in contacts_of([(source, min(first for _, first in edges), WHOLE[1])], stays, asked, known):
            met.setdefault(contact["subject"], []).extend(contact["encounters"])
    assert {contact.subject: contact.ms for contact in found if contact.depth == 2} == {
        subject: length_of_union(encounters) for subject, encounters in met.items()
    }


@pytest.mark.parametrize("window", [WHOLE, PART], ids=["whole", "part"])
def test_rows_that_can_be_candidates_and_those_met(truth: Truth, window: Window) -> None:
    dwells, own = truth.country.dwells(), truth.stays_of(0)
    begun, met = set(), set()
    for place, start, end in zip(own.place.tolist(), own.start.tolist(), own.end.tolist(), strict=True):
        low, high = max(start, window[0]), min(end, window[1])
        for row in range(len(truth.stays)) if low < high else ():
            if truth.stays.person[row] == 0 or truth.stays.place[row] != place or truth.stays.start[row] >= high:
                continue
            if truth.stays.start[row] >= low - dwells[place]:
                begun.add(row)
            if truth.stays.end[row] > low:
                met.add(row)
    assert (truth.begun_near(0, window), truth.touching(0, window)) == (len(begun), len(met))
    assert 0 < len(met) < len(begun) < len(truth.stays)


def test_unions_are_counted_once_and_by_group() -> None:
    group = np.array([7, 2, 7, 7, 2])
    found = united(group, np.array([10, 0, 30, 15, 100]), np.array([20, 10, 40, 32, 130]))
    assert found.group.tolist() == [2, 7]
    assert found.ms.tolist() == [40, 30]
    assert found.first.tolist() == [0, 10]
    assert found.last.tolist() == [130, 40]


def test_a_right_answer_has_no_differences() -> None:
    assert differences(CONTACTS, list(CONTACTS), "asked") == []


@pytest.mark.parametrize(
    "found",
    [
        CONTACTS[:1],
        [*CONTACTS, Contact(1, "c" * 32, 900_000, 5, 9)],
        [*CONTACTS, CONTACTS[1]],
        CONTACTS[::-1],
        [CONTACTS[0], msgspec.structs.replace(CONTACTS[1], ms=900_001)],
        [CONTACTS[0], msgspec.structs.replace(CONTACTS[1], depth=2)],
        [CONTACTS[0], msgspec.structs.replace(CONTACTS[1], first=4)],
        [CONTACTS[0], msgspec.structs.replace(CONTACTS[1], last=8)],
        [CONTACTS[0], msgspec.structs.replace(CONTACTS[1], subject="c" * 32)],
    ],
    ids=["lacking", "strange", "twice", "order", "ms", "depth", "first", "last", "subject"],
)
def test_a_wrong_answer_is_found_and_names_nobody(found: list[Contact]) -> None:
    (text,) = differences(CONTACTS, found, "asked")
    assert text.startswith("asked: ")
    assert not any(contact.subject in text for contact in [*CONTACTS, *found])
