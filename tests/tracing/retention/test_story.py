"""A province's month: scans expire, a key is revoked and restored, somebody is erased; a rebuild agrees after each."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from events.access import Role
from events.scans import Kind, Scan
from keys.pseudonyms import pseudonym_of_citizen
from storage.clickhouse import Store
from storage.control import ControlLog
from storage.rebuilds import Rebuilds
from storage.retention_runs import RetentionRuns
from tests.tracing.deliveries import Came, lay
from tests.tracing.desk import HOUR, PURPOSE, Desk, now_ms
from tracing.retention.keeper import Keeper, KeeperLimits
from tracing.retention.terms import TERMS_DEFAULT

AN, BINH = "001099000001", "001099000002"
DAY = 24 * HOUR
REBUILD_SECONDS_MAX = 60.0
pytestmark = pytest.mark.parametrize("store", ["chdb"], indirect=True)


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    old = now_ms() - 40 * DAY
    lay(store, [Came(device=9, seq=seq, received=old + seq, at=old) for seq in range(1, 6)])
    with Desk(valkey, store).running() as desk:
        yield desk


def require_equal_rebuild(desk: Desk, name: str) -> list[int]:
    """The rebuilt models are the live ones; how many rows each has."""
    rebuilds = Rebuilds(desk.redis)
    rebuilds.request(name)
    deadline = time.monotonic() + REBUILD_SECONDS_MAX
    while time.monotonic() < deadline:
        status = rebuilds.status()
        if status is not None and (status.id, status.state) == (name, "done"):
            assert all(model.equal for model in status.models), status.models
            return [model.rows_rebuilt for model in status.models]
        time.sleep(0.05)
    raise AssertionError("the rebuild did not end")


def ask(desk: Desk, subject: str, at: int) -> Any:
    answer = desk.ask("POST", "/v1/traces", role=Role.ANALYST, json=_question(subject, at))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_rebuild_agrees_after_expiry_revocation_lifting_and_erasure(desk: Desk) -> None:
    at = now_ms() - 4 * HOUR
    an, binh = (pseudonym_of_citizen(number, desk.secrets.pseudonym_key).hex() for number in (AN, BINH))
    desk.send(Scan(1, at, Kind.IN, cccd=AN), Scan(2, at, Kind.IN, cccd=BINH))
    csv = f"name,citizen_number,phone\nTrần Thị Bình,{BINH},+84 24 3333 0000\n"
    names = desk.ask("POST", "/v1/people/import", role=Role.ANALYST, json={"csv": csv, "purpose": PURPOSE})
    assert names.status_code == 200, names.text
    desk.settle()
    first = ask(desk, an, at)
    assert [one["subject"] for one in first["contacts"]] == [binh]
    assert require_equal_rebuild(desk, "before") == [7, 7]

    keeper = Keeper(
        store=desk.store,
        control=ControlLog(desk.redis),
        runs=RetentionRuns(desk.redis),
        terms=TERMS_DEFAULT,
        clock=now_ms,
        limits=KeeperLimits(settle_seconds=0.0),
    )
    assert keeper.run_once(threading.Event(), "asked").state == "done"
    assert require_equal_rebuild(desk, "expired") == [2, 2]
    assert ask(desk, an, at)["contacts"] == first["contacts"]

    path = "/v1/devices/door/keys/1"
    assert desk.ask("POST", f"{path}/revoke", role=Role.ADMIN, json={"from": at}).status_code == 200
    unknown = desk.ask("POST", "/v1/traces", role=Role.ANALYST, json=_question(an, at))
    assert unknown.status_code != 200 or unknown.json()["contacts"] == []
    assert require_equal_rebuild(desk, "revoked") == [2, 2]
    assert desk.ask("POST", f"{path}/restore", role=Role.ADMIN, json={}).status_code == 200
    assert ask(desk, an, at)["contacts"] == first["contacts"]
    assert require_equal_rebuild(desk, "restored") == [2, 2]

    seen = _reveal(desk, first["id"], binh)
    assert "Trần Thị Bình" in seen
    body = {"subject": binh, "confirm": True, "purpose": PURPOSE}
    assert desk.ask("POST", "/v1/people/erase", role=Role.ADMIN, json=body).status_code == 200
    assert require_equal_rebuild(desk, "erased") == [2, 2]
    # The scans are there, under a pseudonym that nobody's name belongs to any more.
    assert ask(desk, an, at)["contacts"] == first["contacts"]
    assert "Trần Thị Bình" not in _reveal(desk, first["id"], binh)
    assert is_kept_nowhere(desk.store, "Trần Thị Bình")


def is_kept_nowhere(store: Store, name: str) -> bool:
    """No table has these bytes."""
    tables = [table for (table,) in store.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")]
    found = [
        store.rows(f"SELECT count() FROM {table} WHERE toString(tuple(*)) LIKE {{like:String}}", {"like": f"%{name}%"})
        for table in tables
    ]
    return all(rows == [(0,)] for rows in found)


def _question(subject: str, at: int) -> dict[str, Any]:
    return {"index": {"subjects": [subject]}, "from": at - HOUR, "to": at + 3 * HOUR, "purpose": PURPOSE}


def _reveal(desk: Desk, trace: str, subject: str) -> str:
    body = {"subjects": [subject], "purpose": PURPOSE}
    return desk.ask("POST", f"/v1/traces/{trace}/reveal", role=Role.ANALYST, json=body).text
