"""States, quarantine and health over HTTP, with who may, and what the audit log keeps."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from events import problems
from events.access import Role
from storage.clickhouse import Store
from tests.tracing.desk import AN, BINH, HOUR, PURPOSE, Desk, now_ms, visit
from tests.tracing.test_routes import is_problem

DAY_MS = 86_400_000
HEADER = "subject,kind,day,product,dose,result,source,record,withdrawn"


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    with Desk(valkey, store).running() as desk:
        yield desk


def declare(desk: Desk, **more: Any) -> Any:
    body: dict[str, Any] = {
        "subjects": [AN.hex()],
        "state": "f1",
        "at": 1_000,
        "source": {"kind": "order", "id": "QD-1"},
        "purpose": PURPOSE,
    }
    return desk.ask("POST", "/v1/people/states", json=body | more)


def status(desk: Desk, *subjects: bytes) -> Any:
    asked = {"subjects": [subject.hex() for subject in subjects], "purpose": PURPOSE}
    answer = desk.ask("POST", "/v1/people/status", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def quarantine(desk: Desk, **params: Any) -> list[Any]:
    answer = desk.ask("GET", "/v1/quarantine", purpose=PURPOSE, params=params)
    assert answer.status_code == 200, answer.text
    items: list[Any] = answer.json()["items"]
    return items


def test_the_contacts_of_a_trace_become_f1_until_they_are_released(desk: Desk) -> None:
    now = now_ms()
    desk.send(visit(desk, 1, now - 2 * HOUR, AN), visit(desk, 2, now - 2 * HOUR, BINH))
    case = {"id": "f0-1", "subject": AN.hex(), "confirmed_at": now - HOUR, "purpose": PURPOSE}
    assert desk.ask("POST", "/v1/cases", json=case).status_code == 201
    desk.settle()
    trace = desk.ask("POST", "/v1/traces", json={"index": {"cases": ["f0-1"]}, "purpose": PURPOSE}).json()
    path = f"/v1/traces/{trace['id']}/states"
    for _ in range(2):
        answer = desk.ask("POST", path, json={"days": 14, "purpose": PURPOSE})
        assert (answer.status_code, answer.json()) == (200, {"declared": {"f1": 1}, "left_out": 0})
    an, binh = status(desk, AN, BINH)
    assert (an["standing"]["state"], an["standing"]["source"]) == ("f0", {"kind": "case", "id": "f0-1"})
    standing = binh["standing"]
    assert (standing["state"], standing["since"]) == ("f1", trace["cut_off"]["as_of"])
    assert standing["until"] == trace["contacts"][0]["last"] + 14 * DAY_MS
    assert standing["source"] == {"kind": "trace", "id": trace["id"]}
    assert {one["subject"] for one in quarantine(desk)} == {AN.hex(), BINH.hex()}
    assert [one["subject"] for one in quarantine(desk, state="f1")] == [BINH.hex()]
    assert not quarantine(desk, state="f1", due_before=now)
    declared = declare(desk, subjects=[BINH.hex()], state="released", at=now_ms())
    assert declared.json() == {"declared": {"released": 1}, "left_out": 0}
    assert not quarantine(desk, state="f1")
    counts = desk.ask("GET", "/v1/people/counts", role=Role.OFFICER).json()["counts"]
    assert counts == {"f0": 1, "recovered": 0, "f1": 0, "f2": 0, "released": 1}
    actions = [action for action, _, purpose in desk.audited() if purpose == PURPOSE]
    assert {"states-declared", "status-read", "quarantine-read"} <= set(actions)
    assert BINH.hex() not in str(desk.audited())
    asked = {"subject": BINH.hex(), "purpose": PURPOSE}
    told = desk.ask("POST", "/v1/people/access-log", role=Role.OFFICER, json=asked).json()["items"]
    assert {"trace-asked", "states-declared", "status-read", "quarantine-read"} <= {one["action"] for one in told}
    of_a_stranger = asked | {"subject": "e" * 32}
    told = desk.ask("POST", "/v1/people/access-log", role=Role.OFFICER, json=of_a_stranger).json()["items"]
    assert not {"status-read", "quarantine-read"} & {one["action"] for one in told}


def test_a_page_of_the_quarantine_continues_where_it_ended(desk: Desk) -> None:
    subjects = [bytes([number]) * 16 for number in range(7)]
    assert declare(desk, subjects=[subject.hex() for subject in subjects]).status_code == 200
    read: list[str] = []
    cursor = None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = desk.ask("GET", "/v1/quarantine", purpose=PURPOSE, params=params).json()
        read += [one["subject"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert len(read) <= len(subjects)
        decoded = base64.urlsafe_b64decode(cursor + "==")
        inner = base64.b64decode(json.loads(decoded)[0])
        assert not any(subject.hex().encode() in shown for subject in subjects for shown in (decoded, inner))
        changed = cursor[:-4] + ("A" if cursor[-4] != "A" else "B") + cursor[-3:]
        answer = desk.ask("GET", "/v1/quarantine", purpose=PURPOSE, params={"cursor": changed})
        assert is_problem(answer, problems.QUESTION_INVALID, "/cursor")
    assert read == [subject.hex() for subject in subjects]


def test_wrong_declarations_are_refused(desk: Desk) -> None:
    assert is_problem(declare(desk, until=1_000), problems.BODY_INVALID, "/until")
    assert is_problem(declare(desk, subjects=[]), problems.BODY_INVALID, "/subjects")
    assert is_problem(declare(desk, purpose=" "), problems.PURPOSE_MISSING, "/purpose")
    nobody = desk.ask("POST", "/v1/traces/nothing/states", json={"purpose": PURPOSE})
    assert is_problem(nobody, problems.NOT_FOUND)
    assert not quarantine(desk)


def test_health_is_imported_and_stands_beside_a_person(desk: Desk) -> None:
    lines = [
        HEADER,
        f"{AN.hex()},vaccination,2021-09-14,AZD1222,2,,hn,1,",
        f"{AN.hex()},test,2021-09-20,RT-PCR,,negative,hn,2,",
        f"{AN.hex()},test,2021-09-21,RT-PCR,,perhaps,hn,3,",
    ]
    body = {"csv": "\n".join(lines), "purpose": PURPOSE}
    tried = desk.ask("POST", "/v1/health", json=body | {"dry_run": True}).json()
    assert (tried["taken"], tried["wrong"], status(desk, AN)[0]["records"]) == (2, 1, [])
    answer = desk.ask("POST", "/v1/health", json=body).json()
    assert [(error["line"], error["column"]) for error in answer["errors"]] == [(4, "result")]
    (one,) = status(desk, AN)
    assert (one["doses"], one["last_test"]["result"], len(one["records"])) == (2, "negative", 2)
    assert is_problem(desk.ask("POST", "/v1/health", json=body | {"csv": "a,b"}), problems.IMPORT_UNREADABLE, "/csv")
    columns = desk.ask("GET", "/v1/health/columns").json()["columns"]
    assert [column["name"] for column in columns if column["required"]] == [
        "subject",
        "kind",
        "day",
        "product",
        "source",
    ]
