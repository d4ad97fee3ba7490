"""Retention over HTTP, and questions that reach behind what is kept."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from events import problems
from events.access import Role
from events.cases import Case
from events.control import CaseConfirmed, RetentionAdvanced
from events.scans import Kind, Scan
from keys.pseudonyms import pseudonym_of_citizen
from storage.clickhouse import Store
from storage.control import ControlLog
from storage.retention_runs import RetentionRuns
from tests.tracing.deliveries import Came, lay
from tests.tracing.desk import AN, HOUR, PURPOSE, Desk, now_ms
from tests.tracing.test_routes import is_problem
from tracing.retention.keeper import Keeper, KeeperLimits
from tracing.retention.terms import TERMS_DEFAULT, kept_from

DAY = 24 * HOUR
CITIZENS = ("001099000001", "001099000002")
pytestmark = pytest.mark.parametrize("store", ["chdb"], indirect=True)


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    with Desk(valkey, store).running() as desk:
        yield desk


def answer(desk: Desk, method: str, path: str, status: int = 200, **more: Any) -> Any:
    found = desk.ask(method, path, role=Role.ADMIN, **more)
    assert found.status_code == status, found.text
    return found.json()


def test_what_is_kept_what_would_go_and_letting_it_go(desk: Desk) -> None:
    now = now_ms()
    # Refused ones, which nobody projects while this looks.
    lay(desk.store, [Came(seq=1, received=now - 40 * DAY, refused=True), Came(seq=2, received=now, refused=True)])
    view = answer(desk, "GET", "/v1/retention")
    assert (view["terms"], view["kept_from"]) == ({"scan_days": 28, "trace_days": 28}, 0)
    rows = {one["table"]: (one["partitions"], one["rows"]) for one in view["tables"]}
    assert (rows["log"], rows["refused"]) == ((0, 0), (2, 2))
    old, young = view["partitions"]
    assert old["goes_at"] < now < young["goes_at"]
    assert old["to"] - old["from"] == DAY
    preview = answer(desk, "POST", "/v1/retention/runs", json={"dry_run": True})
    assert (preview["partitions"], preview["rows"], preview["traces"]) == ([old], 1, 0)
    assert preview["kept_from"] == kept_from(TERMS_DEFAULT, now)
    assert is_problem(desk.ask("GET", "/v1/retention/runs/latest", role=Role.ADMIN), problems.NOT_FOUND)
    asked = answer(desk, "POST", "/v1/retention/runs", 202, json={"dry_run": False})
    assert (asked["state"], asked["step"]) == ("running", "asked")
    keeper = Keeper(
        store=desk.store,
        control=ControlLog(desk.redis),
        runs=RetentionRuns(desk.redis),
        terms=TERMS_DEFAULT,
        clock=now_ms,
        limits=KeeperLimits(settle_seconds=0.0),
    )
    assert keeper.look(threading.Event())
    done = answer(desk, "GET", "/v1/retention/runs/latest")
    assert (done["id"], done["state"], done["partitions"], done["rows"]) == (asked["id"], "done", 1, 1)
    view = answer(desk, "GET", "/v1/retention")
    assert (view["kept_from"], view["partitions"], view["latest"]) == (preview["kept_from"], [young], done)
    assert desk.audited() == [("retention-run", asked["id"], "retention")]


def test_who_may(desk: Desk) -> None:
    assert desk.ask("GET", "/v1/retention", role=Role.ANALYST).status_code == 200
    for role in (Role.OFFICER, Role.VIEWER):
        assert is_problem(desk.ask("GET", "/v1/retention", role=role), problems.ROLE_FORBIDDEN)
    run = desk.ask("POST", "/v1/retention/runs", role=Role.ANALYST, json={})
    assert is_problem(run, problems.ROLE_FORBIDDEN)


def test_questions_that_reach_behind_what_is_kept(desk: Desk) -> None:
    now = now_ms()
    an, binh = (pseudonym_of_citizen(number, desk.secrets.pseudonym_key).hex() for number in CITIZENS)
    for seq, hours in ((1, 60), (3, 10)):
        at = now - hours * HOUR
        desk.send(*(Scan(seq + which, at, Kind.IN, cccd=number) for which, number in enumerate(CITIZENS)))
    desk.settle()
    as_of = now_ms()

    def contacts(from_hours: int, to_hours: int) -> Any:
        window = {"from": now - from_hours * HOUR, "to": now - to_hours * HOUR, "as_of": as_of}
        question = {"index": {"subjects": [an]}, "purpose": PURPOSE, **window}
        return desk.ask("POST", "/v1/traces", role=Role.ANALYST, json=question)

    whole = contacts(70, 0).json()
    assert [one["subject"] for one in whole["contacts"]] == [binh]
    assert ([one["ms"] for one in whole["contacts"]], "kept_from" in whole["cut_off"]) == ([4 * HOUR], False)
    near = contacts(12, 0).json()
    moment = now - 50 * HOUR
    desk.record(RetentionAdvanced(moment))
    left = contacts(70, 0).json()
    # What is left of it is answered, and that it is not all is said.
    assert ([one["ms"] for one in left["contacts"]], left["cut_off"]["kept_from"]) == ([2 * HOUR], moment)
    same = contacts(12, 0).json()
    assert (same["fingerprint"], same["cut_off"]) == (near["fingerprint"], near["cut_off"])
    assert is_problem(contacts(70, 50), problems.WINDOW_EXPIRED, "/to")
    window = {"from": now - 70 * HOUR, "to": now - 55 * HOUR}
    stays = desk.ask("GET", f"/v1/subjects/{an}/stays", role=Role.ANALYST, purpose=PURPOSE, params=window)
    assert is_problem(stays, problems.WINDOW_EXPIRED, "/to")


def test_a_case_is_closed_and_opened_again(desk: Desk) -> None:
    now = now_ms()
    case = Case(id="f0", subject=AN.hex(), confirmed_at=now, infectious_from=now - DAY, infectious_to=now)
    desk.record(CaseConfirmed(case))
    closed = answer(desk, "POST", "/v1/cases/f0/close", json={"at": now - DAY, "purpose": PURPOSE})
    assert closed == {"case": "f0", "closed_at": now - DAY, "traces_go_at": now + 27 * DAY}
    closed = answer(desk, "POST", "/v1/cases/f0/close", json={"purpose": PURPOSE})
    assert now <= closed["closed_at"] <= now_ms()
    for _ in range(2):
        opened = answer(desk, "POST", "/v1/cases/f0/reopen", json={"purpose": PURPOSE})
        assert opened == {"case": "f0", "closed_at": None, "traces_go_at": None}
    assert [action for action, _, _ in desk.audited()] == ["case-closed"] * 2 + ["case-reopened"] * 2
    for verb in ("close", "reopen"):
        unknown = desk.ask("POST", f"/v1/cases/none/{verb}", role=Role.ADMIN, json={"purpose": PURPOSE})
        assert is_problem(unknown, problems.NOT_FOUND)
        silent = desk.ask("POST", f"/v1/cases/f0/{verb}", role=Role.ADMIN, json={})
        assert is_problem(silent, problems.PURPOSE_MISSING, "/purpose")
        officer = desk.ask("POST", f"/v1/cases/f0/{verb}", role=Role.OFFICER, json={"purpose": PURPOSE})
        assert is_problem(officer, problems.ROLE_FORBIDDEN)
