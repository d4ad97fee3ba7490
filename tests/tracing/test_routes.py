import base64
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.ports import free_port
from events import problems
from events.access import Role
from events.problems import PROBLEM_MEDIA_TYPE, Kind
from events.scans import Kind as ScanKind
from storage.clickhouse import Store
from storage.control import ControlLog
from storage.errors import StreamDown
from tests.tracing.desk import AN, BINH, HOUR, PURPOSE, Desk, now_ms, visit
from tracing.cursor import PAGE_ITEMS_MAX
from tracing.registrar import Registrar
from tracing.routes.cases import DAY_MS
from tracing.service import REQUEST_BODY_BYTES_MAX

in_process = pytest.mark.parametrize("store", ["chdb"], indirect=True)
"""For routes that hardly touch the store; the others are tested over HTTP as well."""

CONFIRMED = 1_635_000_000_000
ITEMS_MAX = 50
"""More than any list here holds."""
CASE = {"id": "f0-1", "subject": AN.hex(), "confirmed_at": CONFIRMED, "purpose": PURPOSE}


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    with Desk(valkey, store).running() as desk:
        yield desk


def is_problem(answer: httpx.Response, kind: Kind, pointer: str = "") -> bool:
    """Whether the answer is that problem, whole, and without anybody's pseudonym."""
    body = answer.json()
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert AN.hex() not in answer.text
    assert (answer.headers.get("Retry-After") == str(kind.retry_after_seconds)) == bool(kind.retry_after_seconds)
    return (answer.status_code, body["type"], body.get("pointer", "")) == (kind.status, kind.problem().type, pointer)


def pages(desk: Desk, path: str, limit: int, **more: Any) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    items: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": limit} | more.pop("params", {})
    while True:
        answer = desk.ask("GET", path, params=params, **more)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) == limit or page["next"] is None
        items += page["items"]
        assert len(items) <= ITEMS_MAX, "the pages repeat themselves"
        if page["next"] is None:
            return items
        params["cursor"] = page["next"]


def three_visits(desk: Desk) -> int:
    """AN and BINH share the mall for about two hours; returns when the first of them came."""
    start = now_ms() - 4 * HOUR
    desk.send(
        visit(desk, 1, start, AN),
        visit(desk, 2, start + 1_000, BINH),
        visit(desk, 3, start + 2 * HOUR, AN, ScanKind.OUT),
    )
    return start


class TestCases:
    def test_the_window_defaults_to_the_two_days_before_the_confirmation(self, desk: Desk) -> None:
        answer = desk.ask("POST", "/v1/cases", json=CASE)
        assert answer.status_code == 201
        assert answer.json() == {
            "id": "f0-1",
            "subject": AN.hex(),
            "confirmed_at": CONFIRMED,
            "infectious_from": CONFIRMED - 2 * DAY_MS,
            "infectious_to": CONFIRMED,
        }

    def test_without_an_id_one_is_made_and_the_case_is_there_at_once(self, desk: Desk) -> None:
        case = desk.ask("POST", "/v1/cases", json={**CASE, "id": None}).json()
        assert desk.ask("GET", f"/v1/cases/{case['id']}", purpose=PURPOSE).json() == case

    def test_the_same_again_changes_nothing(self, desk: Desk) -> None:
        assert desk.ask("POST", "/v1/cases", json=CASE).status_code == 201
        before = len(desk.control.replay())
        assert desk.ask("POST", "/v1/cases", json=CASE).status_code == 200
        assert len(desk.control.replay()) == before

    def test_a_contradiction_is_refused_unless_it_is_a_correction(self, desk: Desk) -> None:
        desk.ask("POST", "/v1/cases", json=CASE)
        other = CASE | {"infectious_to": CONFIRMED + 5}
        assert is_problem(desk.ask("POST", "/v1/cases", json=other), problems.REGISTRY_CONFLICT, "/id")
        read = desk.ask("GET", "/v1/cases/f0-1", purpose=PURPOSE).json()
        assert read["infectious_to"] == CONFIRMED
        assert desk.ask("POST", "/v1/cases", json=other | {"correct": True}).status_code == 200
        assert desk.ask("GET", "/v1/cases/f0-1", purpose=PURPOSE).json()["infectious_to"] == CONFIRMED + 5
        assert [action for action, _, _ in desk.audited()] == [
            "case-created",
            "case-read",
            "case-corrected",
            "case-read",
        ]

    def test_a_wrong_case_is_pointed_at(self, desk: Desk) -> None:
        for change, pointer in (
            ({"infectious_from": CONFIRMED}, "/infectious_from"),
            ({"infectious_to": CONFIRMED - 3 * DAY_MS}, "/infectious_to"),
            ({"subject": AN.hex().upper()}, "/subject"),
            ({"confirmed_at": "yesterday"}, "/confirmed_at"),
            ({"id": "../x"}, "/id"),
            ({"name": "somebody"}, ""),
        ):
            assert is_problem(desk.ask("POST", "/v1/cases", json=CASE | change), problems.BODY_INVALID, pointer)
            assert desk.audited() == []

    def test_the_list_says_nothing_of_whom(self, desk: Desk) -> None:
        for number in range(5):
            desk.ask("POST", "/v1/cases", json=CASE | {"id": f"f0-{number}"})
        listed = pages(desk, "/v1/cases", 2, role=Role.OFFICER)
        assert [case["id"] for case in listed] == [f"f0-{number}" for number in range(5)]
        assert AN.hex() not in str(listed)


class TestTraces:
    def test_from_scans_to_contacts_and_the_same_bytes_again(self, desk: Desk) -> None:
        start = three_visits(desk)
        case = CASE | {"confirmed_at": now_ms()}
        desk.ask("POST", "/v1/cases", json=case)
        asked = {"index": {"cases": ["f0-1"]}, "purpose": PURPOSE}
        answer = desk.ask("POST", "/v1/traces", json=asked)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert [(contact["subject"], contact["first"]) for contact in body["contacts"]] == [(BINH.hex(), start + 1_000)]
        again = desk.ask("GET", f"/v1/traces/{body['id']}", purpose="Looking at it again")
        assert again.content == answer.content
        assert again.headers["Content-Type"] == "application/json"
        (listed,) = pages(desk, "/v1/traces", 10)
        assert listed == {
            "id": body["id"],
            "asked_at": body["asked_at"],
            "actor": "Somebody of analyst",
            "fingerprint": body["fingerprint"],
        }
        assert desk.audited()[1:] == [
            ("trace-asked", body["id"], PURPOSE),
            ("trace-read", body["id"], "Looking at it again"),
        ]

    def test_traces_come_in_pages(self, desk: Desk) -> None:
        three_visits(desk)
        desk.ask("POST", "/v1/cases", json=CASE | {"confirmed_at": now_ms()})
        asked = {"index": {"cases": ["f0-1"]}, "as_of": now_ms(), "purpose": PURPOSE}
        ids = [desk.ask("POST", "/v1/traces", json=asked).json()["id"] for _ in range(3)]
        listed = pages(desk, "/v1/traces", 1)
        assert sorted(trace["id"] for trace in listed) == sorted(ids)
        assert len({trace["fingerprint"] for trace in listed}) == 1

    def test_an_unknown_case_and_an_unknown_trace(self, desk: Desk) -> None:
        asked = {"index": {"cases": ["f0-9"]}, "purpose": PURPOSE}
        assert is_problem(desk.ask("POST", "/v1/traces", json=asked), problems.SUBJECT_UNKNOWN, "/index/cases/0")
        assert is_problem(desk.ask("GET", "/v1/traces/none", purpose=PURPOSE), problems.NOT_FOUND)
        assert desk.audited() == []

    def test_a_question_that_passes_a_limit_is_pointed_at(self, desk: Desk) -> None:
        asked = {"index": {"cases": ["f0-9"]}, "depth": 99, "purpose": PURPOSE}
        assert is_problem(desk.ask("POST", "/v1/traces", json=asked), problems.DEPTH_EXCEEDED, "/depth")


class TestStays:
    def test_stays_come_in_pages_that_are_all_as_of_one_moment(self, desk: Desk) -> None:
        start = now_ms() - 4 * HOUR
        kinds = [ScanKind.IN, ScanKind.OUT] * 3
        desk.send(*(visit(desk, 1 + n, start + n * HOUR // 2, AN, kind) for n, kind in enumerate(kinds)))
        path = f"/v1/subjects/{AN.hex()}/stays"
        window = {"from": start, "to": now_ms()}
        first = desk.ask("GET", path, params=window | {"limit": 1}, purpose=PURPOSE).json()
        assert len(first["items"]) == 1
        assert first["next"] is not None
        desk.send(visit(desk, 50, now_ms() - 1_000, AN, ScanKind.OUT))
        whole = pages(desk, path, 1, params=window | {"cursor": first["next"]}, purpose=PURPOSE)
        expected = desk.parts.tracer.stays_of(AN.hex(), start, window["to"], first["as_of"])
        assert [stay["start"] for stay in first["items"] + whole] == [stay.start for stay in expected]
        assert [stay.start for stay in expected] == [start + n * HOUR for n in range(3)]
        assert {action for action, _, _ in desk.audited()} == {"stays-read"}
        assert {name for _, name, _ in desk.audited()} == {""}

    def test_what_is_no_pseudonym_is_not_found(self, desk: Desk) -> None:
        for subject in ("x", "0" * 31, "A" * 32, "0" * 33):
            answer = desk.ask("GET", f"/v1/subjects/{subject}/stays", params={"from": 0, "to": 1}, purpose=PURPOSE)
            assert is_problem(answer, problems.NOT_FOUND)

    def test_a_wrong_window_is_pointed_at(self, desk: Desk) -> None:
        for params, kind, pointer in (
            ({"from": 1}, problems.QUESTION_INVALID, ""),
            ({"from": 2, "to": 1}, problems.WINDOW_REVERSED, "/to"),
            ({"from": 0, "to": 40 * DAY_MS}, problems.WINDOW_TOO_LONG, "/to"),
            ({"from": 0, "to": 1, "as_of": 4_000_000_000_000}, problems.AS_OF_IN_FUTURE, "/as_of"),
            ({"from": 0, "to": 1, "limit": PAGE_ITEMS_MAX + 1}, problems.QUESTION_INVALID, "/limit"),
            ({"from": 0, "to": 1, "cursor": "WzFd"}, problems.QUESTION_INVALID, "/cursor"),
            ({"from": 0, "to": 1, "purpose": PURPOSE}, problems.QUESTION_INVALID, ""),
        ):
            answer = desk.ask("GET", f"/v1/subjects/{AN.hex()}/stays", params=params, purpose=PURPOSE)
            assert is_problem(answer, kind, pointer)
            assert desk.audited() == []


class TestPurposeAndAudit:
    LOOKS = (
        ("GET", "/v1/cases/f0-1"),
        ("GET", "/v1/traces/none"),
        ("GET", f"/v1/subjects/{AN.hex()}/stays?from=0&to=1"),
        ("GET", "/v1/proofs/door/1"),
    )

    def test_no_look_at_a_person_without_a_purpose(self, desk: Desk) -> None:
        desk.ask("POST", "/v1/cases", json=CASE)
        for purpose in (None, "too short", "x" * 501):
            for method, path in self.LOOKS:
                assert is_problem(desk.ask(method, path, purpose=purpose), problems.PURPOSE_MISSING)
            asked = {"index": {"cases": ["f0-1"]}, "purpose": purpose or ""}
            assert is_problem(desk.ask("POST", "/v1/traces", json=asked), problems.PURPOSE_MISSING, "/purpose")
            unsaid = CASE | {"id": "f0-2", "purpose": purpose or ""}
            assert is_problem(desk.ask("POST", "/v1/cases", json=unsaid), problems.PURPOSE_MISSING, "/purpose")
            assert [action for action, _, _ in desk.audited()] == ["case-created"]

    def test_what_cannot_be_recorded_is_not_answered(self, desk: Desk) -> None:
        start = three_visits(desk)
        desk.ask("POST", "/v1/cases", json=CASE | {"confirmed_at": now_ms()})
        asked = {"index": {"cases": ["f0-1"]}, "purpose": PURPOSE}
        trace = desk.ask("POST", "/v1/traces", json=asked).json()["id"]
        desk.settle()
        desk.spoil_audit()
        looks = [
            desk.ask("GET", "/v1/cases/f0-1", purpose=PURPOSE),
            desk.ask("GET", f"/v1/traces/{trace}", purpose=PURPOSE),
            desk.ask("GET", f"/v1/subjects/{AN.hex()}/stays?from={start}&to={now_ms()}", purpose=PURPOSE),
            desk.ask("GET", "/v1/proofs/door/1", purpose=PURPOSE),
            desk.ask("POST", "/v1/traces", json=asked),
            desk.ask("POST", "/v1/cases", json=CASE | {"id": "f0-2"}),
        ]
        assert all(is_problem(look, problems.AUDIT_DOWN) for look in looks)
        assert desk.registry.case("f0-2") is None
        desk.mend_audit()
        assert [saved["id"] for saved in pages(desk, "/v1/traces", 10)] == [trace]

    def test_administrators_read_the_log_in_pages(self, desk: Desk) -> None:
        for number in range(5):
            desk.ask("POST", "/v1/cases", json=CASE | {"id": f"f0-{number}"})
        read = pages(desk, "/v1/audit", 2, role=Role.ADMIN)
        assert [event["object"] for event in read] == [f"f0-{number}" for number in (4, 3, 2, 1, 0)]
        assert {(event["actor"], event["role"], event["purpose"]) for event in read} == {
            ("Somebody of analyst", "analyst", PURPOSE)
        }
        assert {event["token"] for event in read} == {desk.token(Role.ANALYST).id}

    def test_nothing_that_names_a_person_is_logged(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        desk.ask("POST", "/v1/cases", json=CASE)
        desk.ask("GET", f"/v1/subjects/{AN.hex()}/stays?from=0&to=1", purpose=PURPOSE)
        desk.ask("GET", "/v1/cases/f0-1", purpose=PURPOSE)
        own = [record.getMessage() for record in caplog.records if not record.name.startswith(("http", "asyncio"))]
        assert not [message for message in own if AN.hex() in message or PURPOSE in message]
        metrics = desk.ask("GET", "/metrics").text
        assert 'truyvet_trace_requests_total{operation="list_stays",status="200"} 1.0' in metrics
        assert AN.hex() not in metrics


@in_process
class TestPlaces:
    def test_a_place_is_registered_changed_and_read(self, desk: Desk) -> None:
        asked = {"id": "stall", "name": "Quầy 7", "parent": "mall", "category": "shop"}
        made = desk.ask("POST", "/v1/places", role=Role.ADMIN, json=asked)
        assert made.status_code == 201
        assert desk.ask("POST", "/v1/places", role=Role.ADMIN, json=asked).status_code == 200
        changed = desk.ask("POST", "/v1/places", role=Role.ADMIN, json=asked | {"name": "Quầy 8"})
        assert (changed.status_code, changed.json()["number"]) == (200, made.json()["number"])
        assert desk.ask("GET", "/v1/places/stall", role=Role.VIEWER).json() == made.json() | {"name": "Quầy 8"}

    def test_numbers_are_never_given_twice(self, desk: Desk) -> None:
        numbers = [
            desk.ask("POST", "/v1/places", role=Role.ADMIN, json={"id": f"p{n}", "name": "P"}).json()["number"]
            for n in range(3)
        ]
        assert len(set(numbers)) == 3

    def test_the_tree_stays_a_tree(self, desk: Desk) -> None:
        for asked, pointer in (
            ({"id": "x", "name": "X", "parent": "nowhere"}, "/parent"),
            ({"id": "x", "name": "X", "parent": "x"}, "/parent"),
            ({"id": "mall", "name": "X", "parent": "mall"}, "/parent"),
            ({"id": "mall", "name": "X", "parent": "cafe"}, "/parent"),
        ):
            answer = desk.ask("POST", "/v1/places", role=Role.ADMIN, json=asked)
            assert is_problem(answer, problems.REGISTRY_CONFLICT, pointer)

    def test_places_do_not_nest_for_ever(self, desk: Desk) -> None:
        statuses = []
        for depth in range(1, 18):
            place = {"id": f"d{depth}", "name": "D", "parent": f"d{depth - 1}" if depth > 1 else "mall"}
            statuses.append(desk.ask("POST", "/v1/places", role=Role.ADMIN, json=place).status_code)
        assert statuses == [201] * 16 + [409]
        # Moving a tower of 16 under one more floor would be as deep.
        desk.ask("POST", "/v1/places", role=Role.ADMIN, json={"id": "ground", "name": "G"})
        moved = {"id": "mall", "name": "Trung tâm Đống Đa", "province": "1", "parent": "ground"}
        answer = desk.ask("POST", "/v1/places", role=Role.ADMIN, json=moved)
        assert is_problem(answer, problems.REGISTRY_CONFLICT, "/parent")

    def test_filters_and_pages(self, desk: Desk) -> None:
        for number in range(5):
            place = {"id": f"cho-{number}", "name": f"Chợ Đồng Xuân {number}", "category": "market", "province": "1"}
            assert desk.ask("POST", "/v1/places", role=Role.ADMIN, json=place).status_code == 201

        def ids(**params: str) -> list[str]:
            return [place["id"] for place in pages(desk, "/v1/places", 2, params=params)]

        markets = [f"cho-{number}" for number in range(5)]
        assert ids() == ["cafe", *markets, "mall"]
        assert ids(category="market") == markets
        assert ids(parent="mall") == ["cafe"]
        assert ids(province="1") == [*markets, "mall"]
        assert ids(name="dong xuan 3") == ["cho-3"]
        assert ids(name="ĐỐNG", category="other") == ["mall"]
        assert ids(name="nothing of the kind") == []

    def test_an_unknown_filter_is_refused_rather_than_passed_over(self, desk: Desk) -> None:
        assert is_problem(desk.ask("GET", "/v1/places?colour=red"), problems.QUESTION_INVALID)
        assert is_problem(desk.ask("GET", "/v1/places?limit=0"), problems.QUESTION_INVALID, "/limit")
        assert is_problem(desk.ask("GET", "/v1/places?limit=2&limit=3"), problems.QUESTION_INVALID, "/limit")
        assert is_problem(desk.ask("GET", "/v1/places/none"), problems.NOT_FOUND)


def public() -> str:
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    return base64.b64encode(key).decode()


@in_process
class TestDevices:
    def test_a_device_is_enrolled_rotated_and_revoked(self, desk: Desk) -> None:
        first, second = public(), public()
        asked = {"id": "gate", "label": "Cổng 1", "place": "mall", "public": first}
        made = desk.ask("POST", "/v1/devices", role=Role.ADMIN, json=asked)
        assert made.status_code == 201
        assert made.json()["device"]["place"] == "mall"
        assert [(key["number"], key["keyid"], key["public"]) for key in made.json()["keys"]] == [(1, "gate.1", first)]
        assert desk.ask("POST", "/v1/devices", role=Role.ADMIN, json=asked).status_code == 200

        rotated = desk.ask(
            "POST", "/v1/devices/gate/keys", role=Role.ADMIN, json={"public": second, "overlap_seconds": 60}
        )
        assert rotated.status_code == 201
        old, new = rotated.json()["keys"]
        assert (new["number"], new["public"], new["valid_to"]) == (2, second, None)
        assert old["valid_to"] == new["valid_from"] + 60_000

        revoked = desk.ask(
            "POST", "/v1/devices/gate/keys/1/revoke", role=Role.ADMIN, json={"from": 5, "reason": "stolen"}
        )
        assert revoked.status_code == 200
        assert [key["revoked_from"] for key in revoked.json()["keys"]] == [5, None]
        assert desk.ask("GET", "/v1/devices/gate", role=Role.VIEWER).json() == revoked.json()

    def test_a_wrong_enrolment_is_refused(self, desk: Desk) -> None:
        for change, kind, pointer in (
            ({"place": "nowhere"}, problems.REGISTRY_CONFLICT, "/place"),
            ({"place": None}, problems.BODY_INVALID, "/place"),
            ({"subject": AN.hex()}, problems.BODY_INVALID, "/place"),
            ({"public": base64.b64encode(bytes(31)).decode()}, problems.BODY_INVALID, "/public"),
            ({"public": base64.b64encode(bytes(32)).decode()}, problems.BODY_INVALID, "/public"),
            ({"id": "door"}, problems.REGISTRY_CONFLICT, "/id"),
        ):
            before = len(desk.control.replay())
            asked = {"id": "gate", "place": "mall", "public": public()} | change
            assert is_problem(desk.ask("POST", "/v1/devices", role=Role.ADMIN, json=asked), kind, pointer)
            assert len(desk.control.replay()) == before

    def test_a_key_is_given_once(self, desk: Desk) -> None:
        used = base64.b64encode(desk.door_key.public_key().public_bytes_raw()).decode()
        shared = desk.ask("POST", "/v1/devices", role=Role.ADMIN, json={"id": "copy", "place": "mall", "public": used})
        assert is_problem(shared, problems.REGISTRY_CONFLICT, "/public")
        answer = desk.ask("POST", "/v1/devices/door/keys", role=Role.ADMIN, json={"public": used})
        assert is_problem(answer, problems.REGISTRY_CONFLICT, "/public")

    def test_unknown_devices_and_keys_are_not_found(self, desk: Desk) -> None:
        body = {"from": 5}
        for method, path, json in (
            ("GET", "/v1/devices/none", None),
            ("POST", "/v1/devices/none/keys", {"public": public()}),
            ("POST", "/v1/devices/none/keys/1/revoke", body),
            ("POST", "/v1/devices/door/keys/2/revoke", body),
            ("POST", "/v1/devices/door/keys/x/revoke", body),
        ):
            assert is_problem(desk.ask(method, path, role=Role.ADMIN, json=json), problems.NOT_FOUND), path

    def test_a_phone_is_listed_without_whose_it_is(self, desk: Desk) -> None:
        asked = {"id": "phone-1", "subject": AN.hex(), "public": public()}
        made = desk.ask("POST", "/v1/devices", role=Role.ADMIN, json=asked)
        assert made.status_code == 201
        assert made.json()["device"]["phone"] is True
        seen = made.text + desk.ask("GET", "/v1/devices").text + desk.ask("GET", "/v1/devices/phone-1").text
        assert AN.hex() not in seen

    def test_filters_and_pages(self, desk: Desk) -> None:
        for number in range(3):
            asked = {"id": f"gate-{number}", "label": f"Cổng {number}", "place": "cafe", "public": public()}
            desk.ask("POST", "/v1/devices", role=Role.ADMIN, json=asked)

        def ids(**params: str) -> list[str]:
            return [device["id"] for device in pages(desk, "/v1/devices", 1, params=params)]

        assert ids() == ["door", "gate-0", "gate-1", "gate-2"]
        assert ids(place="mall") == ["door"]
        assert ids(name="cong 1") == ["gate-1"]
        assert ids(name="GATE") == ["gate-0", "gate-1", "gate-2"]


class TestProofs:
    def test_a_proof_is_given_and_recorded(self, desk: Desk) -> None:
        three_visits(desk)
        desk.settle()
        answer = desk.ask("GET", "/v1/proofs/door/1", purpose=PURPOSE)
        assert answer.json()["verdict"] == "proven"
        assert desk.audited() == [("proof-read", "door/1", PURPOSE)]
        assert is_problem(desk.ask("GET", "/v1/proofs/door/9", purpose=PURPOSE), problems.NOT_FOUND)
        assert is_problem(desk.ask("GET", "/v1/proofs/door/-1", purpose=PURPOSE), problems.NOT_FOUND)
        assert is_problem(desk.ask("GET", f"/v1/proofs/door/{2**70}", purpose=PURPOSE), problems.NOT_FOUND)


@in_process
class TestFaults:
    def test_what_is_not_served_is_a_problem_with_its_headers(self, desk: Desk) -> None:
        assert is_problem(desk.ask("GET", "/v2/anything"), problems.NOT_FOUND)
        put = desk.ask("PUT", "/v1/places")
        assert is_problem(put, problems.METHOD_NOT_ALLOWED)
        assert {"GET", "POST"} <= set(put.headers["Allow"].split(", "))
        assert is_problem(desk.ask("OPTIONS", "/v1/places"), problems.METHOD_NOT_ALLOWED)

    def test_bodies_are_bounded_and_must_be_json(self, desk: Desk) -> None:
        big = b'"' + b"x" * REQUEST_BODY_BYTES_MAX + b'"'
        json = {"Content-Type": "application/json"}
        assert is_problem(desk.ask("POST", "/v1/cases", content=big, headers=json), problems.BODY_TOO_LARGE)
        assert is_problem(desk.ask("POST", "/v1/cases", content=b"{", headers=json), problems.BODY_MALFORMED)
        assert is_problem(desk.ask("POST", "/v1/cases", content=b"{}"), problems.CONTENT_TYPE_UNKNOWN)

    def test_a_fault_that_nobody_foresaw_says_nothing_of_anybody(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(case_id: str) -> None:
            raise ValueError(f"{case_id} is of {AN.hex()}")

        monkeypatch.setattr(desk.registry, "case", broken)
        assert is_problem(desk.ask("GET", "/v1/cases/f0-1", purpose=PURPOSE), problems.INTERNAL)
        (record,) = [record for record in caplog.records if record.name == "truyvet.trace"]
        assert "ValueError" in record.getMessage()
        assert AN.hex() not in caplog.text

    @pytest.mark.parametrize("name", ["Ch\u1ee3\u202ecotton", "a\nb", "a\u200bb"])
    def test_a_name_that_is_not_what_it_looks_like_is_refused(self, desk: Desk, name: str) -> None:
        answer = desk.ask("POST", "/v1/places", role=Role.ADMIN, json={"id": "odd", "name": name})
        assert is_problem(answer, problems.BODY_INVALID, "/name")

    def test_a_control_stream_that_is_down_changes_nothing(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        nobody = redis.Redis(port=free_port(), socket_connect_timeout=1)
        monkeypatch.setattr(desk.parts, "registrar", Registrar(ControlLog(nobody), desk.follower.catch_up))
        place = {"id": "new", "name": "New"}
        answer = desk.ask("POST", "/v1/places", role=Role.ADMIN, json=place)
        assert is_problem(answer, problems.STREAM_DOWN)
        assert is_problem(desk.ask("POST", "/v1/cases", json=CASE), problems.STREAM_DOWN)
        assert desk.ask("GET", "/v1/places/new").status_code == 404
        assert desk.ask("GET", "/v1/cases").json()["items"] == []

    def test_what_was_recorded_is_not_said_to_have_failed(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """The control stream has the event already when the wait for it meets a Redis that is down."""

        def down(seconds: float) -> bool:
            raise StreamDown("gone")

        monkeypatch.setattr(desk.parts, "registrar", Registrar(desk.control, down))
        answer = desk.ask("POST", "/v1/places", role=Role.ADMIN, json={"id": "new", "name": "New"})
        assert answer.status_code == 201
        assert desk.follower.catch_up(5.0)
        assert desk.ask("GET", "/v1/places/new").json() == answer.json()

    def test_a_cursor_that_counts_too_far_is_refused(self, desk: Desk) -> None:
        for given in (2**32, 2**63, 2**70):
            cursor = base64.urlsafe_b64encode(f"[1,{given}]".encode()).decode()
            answer = desk.ask("GET", "/v1/audit", role=Role.ADMIN, params={"cursor": cursor})
            assert is_problem(answer, problems.QUESTION_INVALID, "/cursor"), given


@in_process
class TestHealth:
    def test_ready_once_sink_and_projector_have_spoken(self, desk: Desk) -> None:
        three_visits(desk)
        desk.settle()
        answer = desk.ask("GET", "/readyz", role=None)
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["lag_rows"], answer.json()["lag_seconds"]) == ("ready", 0, 0.0)
        assert desk.ask("GET", "/healthz", role=None).json() == {"status": "alive"}

    def test_not_ready_without_store_or_stream(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        desk.settle()

        def down(name: str) -> None:
            raise StreamDown(name)

        with monkeypatch.context() as patch:
            patch.setattr(desk.store, "ping", lambda: False)
            answer = desk.ask("GET", "/readyz", role=None)
            assert is_problem(answer, problems.STORE_DOWN)
            assert [check["name"] for check in answer.json()["checks"] if not check["ok"]] == ["store"]
        monkeypatch.setattr(desk.watermarks, "read", down)
        assert is_problem(desk.ask("GET", "/readyz", role=None), problems.STREAM_DOWN)
        assert desk.ask("GET", "/healthz", role=None).status_code == 200

    def test_every_answer_carries_the_security_headers(self, desk: Desk) -> None:
        for path in ("/healthz", "/docs", "/openapi.json", "/v1/places", "/nowhere", "/v1/audit"):
            headers = desk.ask("GET", path).headers
            assert headers["Content-Security-Policy"].startswith("default-src 'none'"), path
            assert "http" not in headers["Content-Security-Policy"]
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"
