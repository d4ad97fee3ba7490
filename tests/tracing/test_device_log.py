"""The device log endpoint: every delivery, whole and in order, to those who may see it."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from events import problems
from events.access import Role
from events.scans import HOW_NUMBER, KIND_NUMBER, LOG_ROW, How, Kind
from storage.clickhouse import Store
from tests.tracing.desk import AN, BINH, PURPOSE, Desk, now_ms, visit
from tests.tracing.test_routes import is_problem
from tracing import device_log
from tracing.device_log import SEQ_DELIVERIES_MAX
from tracing.routes.device_log import DELIVERIES_DEFAULT, DELIVERIES_MAX

PATH = "/v1/devices/door/scans"
DOOR = 1


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    with Desk(valkey, store).running() as desk:
        yield desk


def lay(store: Store, *deliveries: tuple[int, int], device: int = DOOR, place: int = 1) -> None:
    """Deliveries (seq, received) straight into the log, in one insert."""
    rows = [
        LOG_ROW.pack(device, 1, seq, 1_000 + seq, received, place, AN, KIND_NUMBER[Kind.OUT], HOW_NUMBER[How.CITIZEN])
        for seq, received in deliveries
    ]
    store.insert_rowbinary("log", b"".join(rows), token=f"{device} {deliveries}")


def page(desk: Desk, **params: int) -> Any:
    answer = desk.ask("GET", PATH, role=Role.ADMIN, purpose=PURPOSE, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_scan_is_given_as_the_log_has_it(desk: Desk) -> None:
    at = now_ms() - 5_000
    desk.send(visit(desk, 3, at, AN), visit(desk, 1, at + 1, BINH, Kind.PASS, "cafe"))
    desk.settle()
    body = page(desk)
    assert (body["device"], body["next"]) == ("door", None)
    received = [scan.pop("received") for scan in body["scans"]]
    assert at < received[0] == received[1] <= now_ms()
    assert body["scans"] == [
        {"seq": 1, "at": at + 1, "kind": "pass", "how": "code", "place": "cafe", "subject": BINH.hex()},
        {"seq": 3, "at": at, "kind": "in", "how": "code", "place": "mall", "subject": AN.hex()},
    ]
    assert desk.audited() == [("device-log-read", "door", PURPOSE)]


def test_every_delivery_is_there_in_order_and_no_other_devices(desk: Desk) -> None:
    lay(desk.store, (2, 500), (1, 400), (2, 100))
    lay(desk.store, (2, 86_400_000 * 3), (7, 50))
    lay(desk.store, (3, 10), device=2)
    deliveries = [(scan["seq"], scan["received"]) for scan in page(desk)["scans"]]
    assert deliveries == [(1, 400), (2, 100), (2, 500), (2, 86_400_000 * 3), (7, 50)]


def test_a_place_that_nobody_registered_goes_by_its_number(desk: Desk) -> None:
    lay(desk.store, (1, 5), place=77)
    assert page(desk)["scans"][0]["place"] == "#77"


@pytest.mark.parametrize("limit", range(1, 9))
def test_pages_split_no_seq_and_hold_all(desk: Desk, limit: int) -> None:
    laid = [(1, 1), (2, 2), (2, 3), (5, 4), (6, 5), (6, 6), (6, 7)]
    lay(desk.store, *laid)
    found: list[tuple[int, int]] = []
    after, lengths = 0, []
    while True:
        body = page(desk, after_seq=after, limit=limit)
        rows = [(scan["seq"], scan["received"]) for scan in body["scans"]]
        assert not {seq for seq, _ in rows} & {seq for seq, _ in found}
        lengths.append((len(rows), len({seq for seq, _ in rows})))
        found += rows
        if body["next"] is None:
            break
        assert body["next"] == rows[-1][0] > after
        after = body["next"]
    assert found == laid
    assert all(length <= limit or seqs == 1 for length, seqs in lengths)


def test_a_seq_that_came_too_often_is_cut_and_the_answer_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(desk.store, (1, 1), *((4, received) for received in range(100, 0, -1)), (6, 1))
    sql = device_log._OF_SEQ.replace(str(SEQ_DELIVERIES_MAX), "30")
    assert sql != device_log._OF_SEQ
    monkeypatch.setattr("tracing.device_log._OF_SEQ", sql)
    first, cut, last = page(desk, limit=9), page(desk, limit=9, after_seq=1), page(desk, limit=9, after_seq=4)
    assert [(scan["seq"], scan["received"]) for scan in cut["scans"]] == [(4, received) for received in range(1, 31)]
    assert (cut["left_out"], cut["next"]) == (70, 4)
    for body, seq in ((first, 1), (last, 6)):
        assert ([scan["seq"] for scan in body["scans"]], body["left_out"]) == ([seq], 0)


def test_a_page_takes_no_more_than_it_may_of_what_the_log_holds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.store.command(
        "INSERT INTO log SELECT 1, 1, 5, toDateTime64(1, 3, 'UTC'), toDateTime64(number / 1000, 3, 'UTC'), 1,"
        f" '0123456789abcdef', 'in', 'code' FROM numbers({4 * SEQ_DELIVERIES_MAX})"
    )
    taken: list[int] = []
    rows = Store.rows

    def counted(store: Store, sql: str, parameters: Any = None) -> Any:
        found = rows(store, sql, parameters)
        taken.append(len(found))
        return found

    monkeypatch.setattr(Store, "rows", counted)
    body = page(desk, limit=10)
    assert (len(body["scans"]), body["left_out"]) == (SEQ_DELIVERIES_MAX, 3 * SEQ_DELIVERIES_MAX)
    assert max(taken) == SEQ_DELIVERIES_MAX


def test_who_may_not_and_who_does_not_say_why(desk: Desk) -> None:
    for role in (Role.ANALYST, Role.OFFICER, Role.VIEWER):
        assert is_problem(desk.ask("GET", PATH, role=role, purpose=PURPOSE), problems.ROLE_FORBIDDEN)
    assert is_problem(desk.ask("GET", PATH, role=Role.ADMIN), problems.PURPOSE_MISSING)
    assert desk.audited() == []


def test_wrong_questions(desk: Desk) -> None:
    def ask(path: str, **params: Any) -> Any:
        return desk.ask("GET", path, role=Role.ADMIN, purpose=PURPOSE, params=params)

    assert is_problem(ask("/v1/devices/none/scans"), problems.NOT_FOUND)
    for name, value in (("limit", 0), ("limit", DELIVERIES_MAX + 1), ("after_seq", -1), ("after_seq", "x")):
        assert is_problem(ask(PATH, **{name: value}), problems.QUESTION_INVALID, f"/{name}")
    assert desk.audited() == []
    assert DELIVERIES_DEFAULT == 10_000


def test_what_cannot_be_recorded_is_not_given(desk: Desk) -> None:
    lay(desk.store, (1, 5))
    desk.spoil_audit()
    answer = desk.ask("GET", PATH, role=Role.ADMIN, purpose=PURPOSE)
    assert is_problem(answer, problems.AUDIT_DOWN)
