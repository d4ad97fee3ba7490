"""The same over HTTP: roles, purposes, pages, and the audit log."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis

from events import codec, problems
from events.access import Role
from events.cases import Case
from events.clusters import Announced, Announcement, Change
from events.control import CaseConfirmed, TokenRevoked
from events.problems import Kind
from events.scans import Kind as ScanKind
from storage.clickhouse import Store
from tests.tracing.desk import AN, BINH, HOUR, PURPOSE, Desk, now_ms, visit
from tests.tracing.test_routes import is_problem, pages
from tracing.outbreak.sources import SourcesAnswer
from tracing.routes.clusters import may_listen

DAY = 24 * HOUR


@pytest.fixture
def desk(valkey: "redis.Redis", read_models: Store) -> Iterator[Desk]:
    for table in ("log", "scans_by_subject", "scans_by_place_hour", "progress"):
        read_models.command(f"TRUNCATE TABLE {table}")
    with Desk(valkey, read_models).running() as desk:
        yield desk


def together(desk: Desk) -> int:
    """Two people in the café for the better part of an hour; when the hour began (Unix ms)."""
    hour = (now_ms() - 3 * HOUR) // HOUR * HOUR
    desk.send(
        visit(desk, 1, hour + 60_000, AN, place="cafe"),
        visit(desk, 2, hour + 120_000, BINH, place="cafe"),
        visit(desk, 3, hour + 1_920_000, AN, ScanKind.OUT, "cafe"),
        visit(desk, 4, hour + 1_980_000, BINH, ScanKind.OUT, "cafe"),
    )
    desk.settle()
    return hour


def confirm(desk: Desk, case_id: str, subject: bytes, infectious_from: int) -> None:
    case = Case(
        id=case_id,
        subject=subject.hex(),
        confirmed_at=infectious_from + HOUR,
        infectious_from=infectious_from,
        infectious_to=infectious_from + HOUR,
    )
    desk.record(CaseConfirmed(case))


def test_occupancy_is_exact_for_some_and_protected_for_others(desk: Desk) -> None:
    hour = together(desk)
    path, params = "/v1/places/mall/occupancy", {"from": hour, "to": hour + 2 * HOUR}
    exact = desk.ask("GET", path, params=params).json()
    assert (exact["people_min"], exact["places"], exact["people"], exact["peak"]) == (1, 2, 2, 2)
    assert [each["people"] for each in exact["hours"]] == [2, 0]
    assert exact["person_seconds"] == exact["hours"][0]["person_seconds"] == 2 * 1_860
    for role in (Role.OFFICER, Role.VIEWER):
        told = desk.ask("GET", path, role=role, params=params).json()
        assert (told["people_min"], told["people"], told["entries"]) == (5, None, 0)
        assert [each["people"] for each in told["hours"]] == [None, 0]
    assert desk.audited() == [], "it names nobody"
    for wrong, pointer in (({"from": hour + 1}, "/from"), ({"to": "soon"}, "/to"), ({"other": "1"}, "")):
        assert is_problem(desk.ask("GET", path, params=params | wrong), problems.QUESTION_INVALID, pointer)
    nowhere = desk.ask("GET", "/v1/places/nowhere/occupancy", params=params)
    assert is_problem(nowhere, problems.NOT_FOUND)
    ahead = desk.ask("GET", path, params=params | {"as_of": now_ms() + DAY})
    assert is_problem(ahead, problems.AS_OF_IN_FUTURE, "/as_of")


def test_sources_and_exposures_are_asked_with_a_purpose(desk: Desk) -> None:
    hour = together(desk)
    confirm(desk, "f0-an", AN, hour + 2 * HOUR)
    confirm(desk, "f0-binh", BINH, hour + 2 * HOUR)
    asked = {"exposed": [{"case": "f0-an"}, {"case": "f0-binh"}], "purpose": PURPOSE}
    answer = desk.ask("POST", "/v1/sources", json=asked)
    found = codec.from_json(answer.content, SourcesAnswer)
    assert [place.place for place in found.places] == ["cafe"]
    assert found.places[0].chance.explained == found.population == 2
    question = {"index": {"subjects": [AN.hex()]}, "from": hour, "to": hour + HOUR}
    ranked = desk.ask("POST", "/v1/exposures", json={"question": question, "purpose": PURPOSE}).json()
    assert [(each["place"], each["people"], each["peak"]) for each in ranked["places"]] == [("cafe", 1, 2)]
    trace = desk.ask("POST", "/v1/traces", json=question | {"purpose": PURPOSE}).json()["id"]
    again = desk.ask("POST", "/v1/exposures", json={"trace": trace, "purpose": PURPOSE}).json()
    assert (again["trace"], again["places"]) == (trace, ranked["places"])
    assert [action for action, _, _ in desk.audited()] == [
        "sources-asked", "exposures-asked", "trace-asked", "exposures-asked",
    ]  # fmt: skip
    assert desk.audited()[0] == ("sources-asked", found.id, PURPOSE)
    long_ago = question | {"from": hour - 9 * DAY, "to": hour - 8 * DAY}
    nobody = desk.ask("POST", "/v1/exposures", json={"question": long_ago, "purpose": PURPOSE})
    assert is_problem(nobody, problems.INDEX_WITHOUT_SCANS, "/question/index")
    refused_trace = desk.ask("POST", "/v1/traces", json=long_ago | {"purpose": PURPOSE})
    assert nobody.json()["detail"] == refused_trace.json()["detail"]
    assert "Last scan before the window: none by as_of; first after it: 2" in nobody.json()["detail"]
    nowhere = {"exposed": [{"case": case, "from": hour - 9 * DAY, "to": hour} for case in ("f0-an", "f0-binh")]}
    nobody = desk.ask("POST", "/v1/sources", json=nowhere | {"purpose": PURPOSE})
    assert is_problem(nobody, problems.INDEX_WITHOUT_SCANS, "/exposed")
    unheard = [{"subject": f"{number:032x}", "from": hour, "to": hour + HOUR} for number in (1, 2)]
    nobody = desk.ask("POST", "/v1/sources", json={"exposed": unheard, "purpose": PURPOSE})
    assert is_problem(nobody, problems.SUBJECT_UNKNOWN, "/exposed")
    stranger = question | {"index": {"subjects": [unheard[0]["subject"]]}}
    nobody = desk.ask("POST", "/v1/exposures", json={"question": stranger, "purpose": PURPOSE})
    assert is_problem(nobody, problems.SUBJECT_UNKNOWN, "/question/index/subjects")

    def refused(path: str, body: dict[str, Any], kind: Kind, pointer: str = "", role: Role = Role.ANALYST) -> None:
        assert is_problem(desk.ask("POST", path, json=body, role=role), kind, pointer)

    refused("/v1/sources", asked | {"purpose": ""}, problems.PURPOSE_MISSING, "/purpose")
    refused("/v1/sources", asked | {"exposed": [{"case": "f0-an"}]}, problems.BODY_INVALID, "/exposed")
    refused("/v1/sources", asked, problems.ROLE_FORBIDDEN, role=Role.OFFICER)
    refused("/v1/exposures", {"purpose": PURPOSE}, problems.QUESTION_INVALID, "/question")
    refused(
        "/v1/exposures", {"trace": "x", "question": question, "purpose": PURPOSE}, problems.QUESTION_INVALID, "/trace"
    )
    refused("/v1/exposures", {"trace": "0" * 32, "purpose": PURPOSE}, problems.NOT_FOUND, "/trace")
    refused("/v1/exposures", {"question": question, "purpose": PURPOSE}, problems.ROLE_FORBIDDEN, role=Role.VIEWER)


def announcement(number: int, change: Change = Change.NEW) -> Announcement:
    return Announcement(
        cluster=f"c-{number}", change=change, place="cafe" if number % 2 else "mall", from_=1, to=2,
        cases=("f0-an", "f0-binh"), added=(), first=number, at=number, cases_min=2, window_hours=6,
    )  # fmt: skip


def events(answer: httpx.Response) -> list[Announced]:
    """What a stream told that was ended by the service."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["X-Accel-Buffering"] == "no"
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [codec.from_json(line, Announced) for line in lines]


def test_clusters_are_listed_as_they_stand_and_followed_from_there(desk: Desk) -> None:
    confirm(desk, "f0-an", AN, now_ms())
    feed = desk.parts.outbreak.feed
    for number in range(1, 6):
        assert feed.append(number, announcement(number))
    assert feed.append(6, announcement(2, Change.GROWN))
    assert feed.append(7, announcement(4, Change.WITHDRAWN))
    for limit in (1, 2, 10):
        listed = pages(desk, "/v1/clusters", limit, purpose=PURPOSE)
        assert [one["number"] for one in listed] == [6, 5, 3, 1]
    at_mall = desk.ask("GET", "/v1/clusters", params={"place": "mall"}, purpose=PURPOSE).json()
    assert [one["number"] for one in at_mall["items"]] == [6, 5, 3, 1], "the café lies in the mall"
    at_cafe = desk.ask("GET", "/v1/clusters", params={"place": "cafe"}, purpose=PURPOSE).json()
    assert ([one["number"] for one in at_cafe["items"]], at_cafe["number"]) == ([5, 3, 1], 7)
    desk.parts.outbreak.listeners.close()  # so that each stream ends where nothing more is to come
    path = "/v1/clusters/feed"
    assert [one.number for one in events(desk.ask("GET", path, params={"after": 4}, purpose=PURPOSE))] == [5, 6, 7]
    assert events(desk.ask("GET", path, purpose=PURPOSE)) == []
    resumed = desk.ask("GET", path, params={"after": 0}, purpose=PURPOSE, headers={"Last-Event-ID": "6"})
    assert events(resumed) == [Announced(number=7, announcement=announcement(4, Change.WITHDRAWN))]
    followed = [entry for entry in desk.audited() if entry == ("clusters-followed", "feed", PURPOSE)]
    assert len(followed) == 3 + 2, "each listening, and each time that something was told"
    assert ("clusters-read", "mall", PURPOSE) in desk.audited()
    bad = desk.ask("GET", path, purpose=PURPOSE, headers={"Last-Event-ID": "next"})
    assert is_problem(bad, problems.QUESTION_INVALID, "/after")
    for each in ("/v1/clusters", path):
        assert is_problem(desk.ask("GET", each), problems.PURPOSE_MISSING)
        assert is_problem(desk.ask("GET", each, role=Role.OFFICER, purpose=PURPOSE), problems.ROLE_FORBIDDEN)
    cursor = desk.ask("GET", "/v1/clusters", params={"cursor": "e30"}, purpose=PURPOSE)
    assert is_problem(cursor, problems.QUESTION_INVALID, "/cursor")


def test_a_revoked_token_hears_no_more(desk: Desk) -> None:
    token = desk.token(Role.ANALYST)
    assert may_listen(token, desk.parts)
    desk.record(TokenRevoked(token.id))
    assert desk.follower.catch_up(20.0)
    assert not may_listen(token, desk.parts)
