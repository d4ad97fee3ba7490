"""Names over HTTP: who may see them, how many, with whose consent, and what is left of it in the audit log."""

import itertools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import msgspec
import pytest
import redis

from events import problems
from events.access import Role
from events.control import TokenIssued
from events.problems import Kind
from keys.audit_chain import person_tag
from keys.pseudonyms import pseudonym_of_citizen
from storage.clickhouse import Store, migrate
from storage.valkey import EmbeddedValkey
from tests.tracing.desk import FAR_AWAY, PURPOSE, Desk, now_ms
from tracing.access import new_token
from tracing.audit import Action
from tracing.directory.rules import RevealRules
from tracing.saved import SavedTrace, saving

DAY_MS: Final = 86_400_000
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def desk(valkey_server: EmbeddedValkey, chdb_url: str) -> Iterator[Desk]:
    """One service for the whole file: every test has people of its own."""
    store = Store(chdb_url, database="test_names")
    migrate(store)
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
        with Desk(client, store).running() as desk:
            yield desk
    store.command("DROP DATABASE test_names SYNC")
    store.close()


@pytest.fixture(autouse=True)
def as_before(desk: Desk) -> None:
    """Nobody has seen a name today."""
    for key in desk.redis.scan_iter("*reveal*"):
        desk.redis.delete(key)


@pytest.fixture
def rules(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Other rules than the usual ones."""

    def change(**rules: Any) -> None:
        monkeypatch.setattr(desk.parts.reveals, "rules", RevealRules(**rules))

    return change


@pytest.fixture
def clock(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The reveals' clock runs ahead by so many ms."""

    def ahead(milliseconds: int) -> None:
        monkeypatch.setattr(desk.parts.reveals, "_clock", lambda: now_ms() + milliseconds)

    return ahead


def citizen() -> str:
    return f"001201{next(_numbers):06}"


def subject_of(desk: Desk, number: str) -> str:
    return pseudonym_of_citizen(number, desk.secrets.pseudonym_key).hex()


def import_names(desk: Desk, csv: str, **more: object) -> dict[str, Any]:
    answer = desk.ask("POST", "/v1/people/import", json={"csv": csv, "purpose": PURPOSE, **more})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def somebody(desk: Desk, name: str = "Nguyễn Văn An") -> str:
    """Somebody who is in the directory, by pseudonym."""
    number = citizen()
    assert import_names(desk, f"name,citizen_number,phone\n{name},{number},+84 24 3333 0000\n")["new"] == 1
    return subject_of(desk, number)


def trace_of(desk: Desk, *subjects: str) -> str:
    """A saved trace that names these people."""
    trace_id = os.urandom(16).hex()
    contacts = ",".join(f'{{"subject":"{subject}"}}' for subject in subjects)
    trace = SavedTrace(id=trace_id, asked_at=now_ms(), actor="A", fingerprint="0a" * 32)
    kept = saving(trace, question=b"{}", answer=f'{{"id":"{trace_id}","contacts":[{contacts}]}}'.encode())
    token = desk.token(Role.ANALYST)
    desk.parts.audit.write(now_ms(), token, Action.TRACE_ASKED, trace_id, PURPOSE, saving=kept)
    return trace_id


def reveal(desk: Desk, trace: str, *subjects: str, **more: Any) -> httpx.Response:
    return desk.ask("POST", f"/v1/traces/{trace}/reveal", json={"subjects": subjects, "purpose": PURPOSE}, **more)


def other_analyst(desk: Desk, name: str, role: Role = Role.ANALYST) -> dict[str, str]:
    """The header of somebody else's token."""
    text, token = new_token(name, role, FAR_AWAY, os.urandom)
    desk.record(TokenIssued(token))
    assert desk.follower.catch_up(20.0)
    return {"Authorization": f"Bearer {text}"}


def last_entries(desk: Desk, count: int) -> list[tuple[str, str, int]]:
    """Action, object and how many people of the newest entries, oldest first."""
    items = desk.parts.audit.page(count, None).items
    return [(item.action, item.object, len(item.people)) for item in reversed(items)]


def is_problem(answer: httpx.Response, kind: Kind, pointer: str = "") -> bool:
    body = answer.json()
    return (answer.status_code, body["type"], body.get("pointer", "")) == (kind.status, kind.problem().type, pointer)


class TestImport:
    def test_people_are_entered_once_however_often_the_list_comes(self, desk: Desk) -> None:
        csv = f"name,citizen_number\nAn,{citizen()}\nBình,{citizen()}\nChi,12\n"
        tried = import_names(desk, csv, dry_run=True)
        assert (tried["new"], tried["wrong"]) == (2, 1)
        assert last_entries(desk, 1) == [("names-imported", "0 people (dry run)", 2)]
        assert tried["errors"] == [{"line": 4, "column": "citizen_number", "reason": "a citizen number has 12 digits"}]
        assert (import_names(desk, csv)["new"], import_names(desk, csv)["unchanged"]) == (2, 2)
        assert last_entries(desk, 2) == [("names-imported", "2 people", 2), ("names-imported", "0 people", 2)]

    def test_what_is_no_list_is_refused(self, desk: Desk) -> None:
        answer = desk.ask("POST", "/v1/people/import", json={"csv": "shoe size\n42\n", "purpose": PURPOSE})
        assert is_problem(answer, problems.IMPORT_UNREADABLE, "/csv")

    def test_the_dictionary_is_told(self, desk: Desk) -> None:
        columns = desk.ask("GET", "/v1/people/columns").json()["columns"]
        assert [column["name"] for column in columns if column["required"]] == ["name"]


class TestReveal:
    def test_names_of_a_traces_people_are_seen_and_each_look_is_kept(self, desk: Desk) -> None:
        one, other, stranger = somebody(desk, "Nguyễn Văn An"), somebody(desk, "Trần Thị Bình"), "f" * 32
        trace = trace_of(desk, one, other, stranger)
        answer = reveal(desk, trace, other, one, stranger, other)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        people = answer.json()["people"]
        assert [each["subject"] for each in people] == [other, one, stranger]
        names = [each["person"] and each["person"]["name"] for each in people]
        assert names == ["Trần Thị Bình", "Nguyễn Văn An", None]
        assert last_entries(desk, 3) == [("person-revealed", trace, 1)] * 3
        tags = [item.people for item in desk.parts.audit.page(3, None).items]
        assert tags == [(person_tag(each, desk.secrets),) for each in (stranger, one, other)]

    def test_nobody_outside_the_trace(self, desk: Desk) -> None:
        one, other = somebody(desk), somebody(desk)
        trace = trace_of(desk, one)
        assert is_problem(reveal(desk, trace, one, other), problems.NOT_IN_TRACE, "/subjects/1")
        assert is_problem(reveal(desk, "none", one), problems.NOT_FOUND)
        assert is_problem(reveal(desk, trace), problems.BODY_INVALID, "/subjects")

    def test_without_a_purpose_or_the_permission_nothing_is_seen(self, desk: Desk) -> None:
        trace = trace_of(desk, one := somebody(desk))
        before = desk.parts.audit.head().number
        path = f"/v1/traces/{trace}/reveal"
        answer = desk.ask("POST", path, json={"subjects": [one], "purpose": "short"})
        assert is_problem(answer, problems.PURPOSE_MISSING, "/purpose")
        for role in (Role.OFFICER, Role.VIEWER):
            assert is_problem(reveal(desk, trace, one, role=role), problems.ROLE_FORBIDDEN)
        assert desk.parts.audit.head().number == before

    def test_what_cannot_be_recorded_is_not_shown(self, desk: Desk) -> None:
        trace = trace_of(desk, one := somebody(desk))
        desk.spoil_audit()
        answer = reveal(desk, trace, one)
        desk.mend_audit()
        assert is_problem(answer, problems.AUDIT_DOWN)
        assert "Nguy" not in answer.text

    def test_so_many_a_day_and_analyst(
        self, desk: Desk, rules: Callable[..., None], clock: Callable[[int], None]
    ) -> None:
        rules(per_day=3)
        trace = trace_of(desk, *(people := [somebody(desk) for _ in range(4)]))
        assert reveal(desk, trace, *people[:2]).status_code == 200
        before = desk.parts.audit.head().number
        refused = reveal(desk, trace, *people[2:])
        assert is_problem(refused, problems.REVEAL_LIMIT)
        assert 0 < int(refused.headers["Retry-After"]) <= DAY_MS // 1000
        assert desk.parts.audit.head().number == before
        assert reveal(desk, trace, people[2]).status_code == 200
        assert is_problem(reveal(desk, trace, people[3]), problems.REVEAL_LIMIT)
        somebody_else = other_analyst(desk, "Somebody who has seen nobody yet")
        assert reveal(desk, trace, people[3], role=None, headers=somebody_else).status_code == 200
        same_person = other_analyst(desk, "Somebody of analyst")
        assert is_problem(reveal(desk, trace, people[3], role=None, headers=same_person), problems.REVEAL_LIMIT)
        clock(DAY_MS)
        assert reveal(desk, trace, people[3]).status_code == 200

    def test_no_name_and_no_number_reaches_a_log_or_a_metric(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        number = citizen()
        import_names(desk, f"name,citizen_number\nPhạm Thị Lan,{number}\nx,{number}\n")
        one = subject_of(desk, number)
        reveal(desk, trace_of(desk, one), one)
        desk.ask("POST", "/v1/people/access-log", role=Role.ADMIN, json={"citizen_number": number, "purpose": PURPOSE})
        desk.ask("POST", "/v1/people/erase", role=Role.ADMIN, json={"citizen_number": number, "purpose": PURPOSE})
        own = [record.getMessage() for record in caplog.records if not record.name.startswith(("http", "asyncio"))]
        for secret in ("Lan", number, one):
            assert not [message for message in own if secret in message]
            assert secret not in desk.ask("GET", "/metrics").text


@pytest.fixture
def four_eyes(rules: Callable[..., None]) -> None:
    rules(four_eyes=True, wait_seconds=3600.0, per_day=5)


@pytest.mark.usefixtures("four_eyes")
class TestFourEyes:
    def test_a_second_person_agrees_and_the_first_one_sees(self, desk: Desk) -> None:
        trace = trace_of(desk, one := somebody(desk, "Lê Văn Chi"))
        asked = reveal(desk, trace, one)
        assert asked.status_code == 202
        assert asked.json()["people"] == []
        ticket = asked.json()["request"]
        assert (ticket["state"], ticket["people"], ticket["trace"]) == ("pending", 1, trace)
        assert one not in asked.text
        colleague = other_analyst(desk, "A colleague")
        path = f"/v1/reveals/{ticket['id']}"
        assert is_problem(desk.ask("POST", f"{path}/open", json={}), problems.REVEAL_UNDECIDED)
        approved = desk.ask("POST", f"{path}/approve", role=None, headers=colleague, json={"reason": "confirmed"})
        assert (approved.json()["state"], approved.json()["decided_by"]) == ("approved", "A colleague")
        for _ in range(2):
            opened = desk.ask("POST", f"{path}/open", json={})
            assert [each["person"]["name"] for each in opened.json()["people"]] == ["Lê Văn Chi"]
        assert last_entries(desk, 4) == [
            ("reveal-asked", trace, 1),
            ("reveal-approved", trace, 1),
            ("person-revealed", trace, 1),
            ("person-revealed", trace, 1),
        ]

    @pytest.mark.parametrize("verb", ["approve", "refuse"])
    def test_nobody_decides_their_own(self, desk: Desk, verb: str) -> None:
        ticket = reveal(desk, trace_of(desk, one := somebody(desk)), one).json()["request"]["id"]
        path = f"/v1/reveals/{ticket}/{verb}"
        assert is_problem(desk.ask("POST", path, json={}), problems.FOUR_EYES_OWN)
        second_token = other_analyst(desk, "Somebody of analyst")
        assert is_problem(desk.ask("POST", path, role=None, headers=second_token, json={}), problems.FOUR_EYES_OWN)
        for role in (Role.OFFICER, Role.VIEWER):
            assert is_problem(desk.ask("POST", path, role=role, json={}), problems.ROLE_FORBIDDEN)
        assert desk.ask("POST", path, role=Role.ADMIN, json={}).status_code == 200

    def test_what_is_refused_stays_so(self, desk: Desk) -> None:
        ticket = reveal(desk, trace_of(desk, one := somebody(desk)), one).json()["request"]["id"]
        path = f"/v1/reveals/{ticket}"
        refused = desk.ask("POST", f"{path}/refuse", role=Role.ADMIN, json={"reason": "not needed"}).json()
        assert (refused["state"], refused["reason"]) == ("refused", "not needed")
        assert is_problem(desk.ask("POST", f"{path}/open", json={}), problems.REVEAL_OVER)
        assert is_problem(desk.ask("POST", f"{path}/approve", role=Role.ADMIN, json={}), problems.REVEAL_OVER)

    def test_only_who_asked_opens(self, desk: Desk) -> None:
        ticket = reveal(desk, trace_of(desk, one := somebody(desk)), one).json()["request"]["id"]
        path = f"/v1/reveals/{ticket}"
        desk.ask("POST", f"{path}/approve", role=Role.ADMIN, json={})
        assert is_problem(desk.ask("POST", f"{path}/open", role=Role.ADMIN, json={}), problems.NOT_FOUND)
        assert desk.ask("POST", f"{path}/open", json={}).status_code == 200

    def test_requests_and_approvals_expire(self, desk: Desk, clock: Callable[[int], None]) -> None:
        trace = trace_of(desk, one := somebody(desk))
        undecided, approved = (reveal(desk, trace, one).json()["request"]["id"] for _ in range(2))
        clock(3_500_000)
        assert desk.ask("POST", f"/v1/reveals/{approved}/approve", role=Role.ADMIN, json={}).status_code == 200
        clock(3_700_000)
        late = desk.ask("POST", f"/v1/reveals/{undecided}/approve", role=Role.ADMIN, json={})
        assert is_problem(late, problems.REVEAL_OVER)
        assert desk.ask("POST", f"/v1/reveals/{approved}/open", json={}).status_code == 200
        clock(3_500_000 + 3_700_000)
        assert is_problem(desk.ask("POST", f"/v1/reveals/{approved}/open", json={}), problems.REVEAL_OVER)
        states = {one["id"]: one["state"] for one in desk.ask("GET", "/v1/reveals").json()["items"]}
        assert states == {undecided: "expired", approved: "expired"}
        clock(8 * DAY_MS)
        assert desk.ask("GET", "/v1/reveals").json()["items"] == []
        assert desk.redis.keys("*reveal-requests*") == []

    def test_openings_count_and_requests_do_not(self, desk: Desk) -> None:
        trace = trace_of(desk, *(people := [somebody(desk) for _ in range(3)]))
        tickets = [reveal(desk, trace, *people).json()["request"]["id"] for _ in range(2)]
        for ticket in tickets:
            desk.ask("POST", f"/v1/reveals/{ticket}/approve", role=Role.ADMIN, json={})
        assert desk.ask("POST", f"/v1/reveals/{tickets[0]}/open", json={}).status_code == 200
        assert is_problem(desk.ask("POST", f"/v1/reveals/{tickets[1]}/open", json={}), problems.REVEAL_LIMIT)

    def test_of_two_decisions_one_counts(self, desk: Desk) -> None:
        ticket = reveal(desk, trace_of(desk, one := somebody(desk)), one).json()["request"]["id"]
        admin, analyst = desk.token(Role.ADMIN), desk.token(Role.VIEWER)
        pending = desk.parts.reveals.pending(ticket, admin)
        desk.parts.reveals.decide(pending, admin, "", approved=False)
        with pytest.raises(problems.ProblemError) as error:
            desk.parts.reveals.decide(pending, analyst, "", approved=True)
        assert error.value.problem.type == problems.REVEAL_OVER.problem().type

    def test_requests_are_listed_in_pages_without_whose(self, desk: Desk) -> None:
        trace = trace_of(desk, one := somebody(desk))
        ids = [reveal(desk, trace, one).json()["request"]["id"] for _ in range(5)]
        desk.ask("POST", f"/v1/reveals/{ids[0]}/refuse", role=Role.ADMIN, json={"reason": "no"})
        found: list[str] = []
        params: dict[str, Any] = {"limit": 2, "state": "pending"}
        while True:
            page = desk.ask("GET", "/v1/reveals", params=params)
            assert one not in page.text
            found += [each["id"] for each in page.json()["items"]]
            if page.json()["next"] is None:
                break
            params["cursor"] = page.json()["next"]
        assert sorted(found) == sorted(ids[1:])

    def test_what_nobody_knows_is_not_found(self, desk: Desk) -> None:
        for verb in ("approve", "refuse", "open"):
            answer = desk.ask("POST", f"/v1/reveals/none/{verb}", role=Role.ADMIN, json={})
            assert is_problem(answer, problems.NOT_FOUND)


class TestErasure:
    def test_a_name_that_is_erased_is_gone_and_stays_gone(self, desk: Desk) -> None:
        number = citizen()
        csv = f"name,citizen_number\nNguyễn Văn An,{number}\n"
        import_names(desk, csv)
        one = subject_of(desk, number)
        trace = trace_of(desk, one)
        asked = {"subject": one, "purpose": PURPOSE}
        answer = desk.ask("POST", "/v1/people/erase", role=Role.ADMIN, json=asked)
        assert is_problem(answer, problems.ERASURE_UNCONFIRMED, "/confirm")
        assert reveal(desk, trace, one).json()["people"][0]["person"] is not None
        assert is_problem(desk.ask("POST", "/v1/people/erase", json=asked), problems.ROLE_FORBIDDEN)
        for erased in (True, False):
            answer = desk.ask("POST", "/v1/people/erase", role=Role.ADMIN, json=asked | {"confirm": True})
            assert answer.json() == {"erased": erased}
        assert last_entries(desk, 1) == [("person-erased", "", 1)]
        assert reveal(desk, trace, one).json()["people"] == [{"subject": one, "person": None}]
        again = import_names(desk, csv)
        assert (again["new"], again["wrong"], again["errors"][0]["line"]) == (0, 1, 2)
        assert desk.ask("POST", "/v1/people/readmit", role=Role.ADMIN, json=asked).json() == {"readmitted": True}
        assert import_names(desk, csv)["new"] == 1
        assert reveal(desk, trace, one).json()["people"][0]["person"]["name"] == "Nguyễn Văn An"

    @pytest.mark.parametrize(
        ("who", "pointer"),
        [
            ({}, "/subject"),
            ({"subject": "0" * 32, "citizen_number": "001201000001"}, "/subject"),
            ({"citizen_number": "12"}, "/citizen_number"),
            ({"subject": "x"}, "/subject"),
        ],
    )
    def test_it_must_be_clear_who_is_meant(self, desk: Desk, who: dict[str, str], pointer: str) -> None:
        for path in ("erase", "readmit", "access-log"):
            answer = desk.ask("POST", f"/v1/people/{path}", role=Role.ADMIN, json={**who, "purpose": PURPOSE})
            assert is_problem(answer, problems.BODY_INVALID, pointer)

    def test_how_far_a_rotation_has_come_is_told(self, desk: Desk) -> None:
        somebody(desk)
        answer = desk.ask("GET", "/v1/directory/keys", role=Role.ADMIN).json()
        assert answer["current"] == 1
        assert [each["kid"] for each in answer["keys"]] == [1]


class TestAccessLog:
    def test_a_person_is_told_who_looked_wherever_they_were_named(self, desk: Desk) -> None:
        number = citizen()
        import_names(desk, f"name,citizen_number\nNguyễn Văn An,{number}\n")
        one, other = subject_of(desk, number), somebody(desk)
        trace, foreign = trace_of(desk, one, other), trace_of(desk, other)
        reveal(desk, trace, one)
        reveal(desk, trace, other)
        desk.ask("GET", f"/v1/traces/{trace}", purpose="Looking at it again")
        desk.ask("GET", f"/v1/traces/{foreign}", purpose="Looking at it again")
        desk.ask("GET", f"/v1/subjects/{one}/stays?from=0&to=1", purpose=PURPOSE)
        asked: dict[str, Any] = {"citizen_number": number, "purpose": "The person's own request", "limit": 2}
        found: list[dict[str, Any]] = []
        while True:
            answer = desk.ask("POST", "/v1/people/access-log", role=Role.OFFICER, json=asked)
            assert answer.status_code == 200, answer.text
            assert one not in answer.text
            found += answer.json()["items"]
            if answer.json()["next"] is None:
                break
            asked["cursor"] = answer.json()["next"]
        assert [(each["action"], each["object"]) for each in found] == [
            ("stays-read", ""),
            ("trace-read", trace),
            ("person-revealed", trace),
            ("trace-asked", trace),
            ("names-imported", "1 people"),
        ]
        assert {(each["actor"], each["role"]) for each in found} == {("Somebody of analyst", "analyst")}
        assert last_entries(desk, 1) == [("access-log-read", "", 1)]

    def test_analysts_do_not_serve_such_requests(self, desk: Desk) -> None:
        asked = {"subject": "0" * 32, "purpose": PURPOSE}
        assert is_problem(desk.ask("POST", "/v1/people/access-log", json=asked), problems.ROLE_FORBIDDEN)
        assert is_problem(
            desk.ask("POST", "/v1/people/access-log", role=Role.OFFICER, json={**asked, "cursor": "WzFd x"}),
            problems.QUESTION_INVALID,
            "/cursor",
        )


class TestAuditOverHttp:
    def test_the_chain_is_followed_step_by_step_to_a_checkpoint(self, desk: Desk) -> None:
        trace_of(desk, "a" * 32)
        kept = desk.ask("GET", "/v1/audit/head", role=Role.ADMIN).json()
        trace_of(desk, "b" * 32)
        asked: dict[str, Any] = {"checkpoint": kept, "answers": True}
        while True:
            step = desk.ask("POST", "/v1/audit/verify", role=Role.ADMIN, json=asked).json()
            if step["done"]:
                break
            assert step["broken"] is None
            asked |= {"after": step["number"], "hash": step["hash"]}
        assert step["number"] == step["end"] > kept["number"]
        assert desk.ask("POST", "/v1/audit/verify", json={}).status_code == 403
        forged = kept | {"hash": "0" * 64}
        answer = desk.ask("POST", "/v1/audit/verify", role=Role.ADMIN, json={"checkpoint": forged})
        assert is_problem(answer, problems.CHECKPOINT_FOREIGN, "/checkpoint")

    def test_the_list_names_nobody(self, desk: Desk) -> None:
        one = somebody(desk)
        reveal(desk, trace_of(desk, one), one)
        text = desk.ask("GET", "/v1/audit", role=Role.ADMIN).text
        assert one not in text
        assert person_tag(one, desk.secrets) in text
        assert msgspec.json.decode(text)["items"][0]["action"] == "person-revealed"
