"""A stolen key that was none: revoked and restored at random moments, and what that does to saved traces."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from events import problems
from events.access import Role
from events.control import DeviceKeyRestored, DeviceKeyRevoked, Recorded
from events.scans import Kind
from storage.clickhouse import Store
from tests import oracle
from tests.tracing.cases import CasePlace, CaseQuery, CaseScan, WorkedCase, counted, place_list
from tests.tracing.desk import AN, BINH, HOUR, PURPOSE, Desk, now_ms, visit
from tests.tracing.test_routes import is_problem
from tests.tracing.world import DEVICE_KEY, FOREVER, World, chain_rows, contact_rows, question_of
from tests.tracing.worlds import DEVICES, START_MS, oracle_places, oracle_query, oracle_scans, times, worlds
from tracing.bounds import AS_JOB
from tracing.impact import Effect, Supposition
from tracing.rule import Rule

Change = tuple[int, str, int | None]
"""When it is recorded (ms), of which device, and from when (ms) it is revoked, or that it is restored."""
changes = st.lists(st.tuples(times, st.sampled_from(DEVICES), st.none() | times), min_size=1, max_size=6)
CAFE_MS = 60_000
CHI = bytes(range(32, 48))
CASE = WorkedCase(
    name="lifted",
    why="",
    places={"hall": CasePlace(parent=None, dwell=None)},
    scans=[
        CaseScan("d-1", 1, START_MS, START_MS, Kind.IN, "hall", "f"),
        CaseScan("d-2", 1, START_MS, START_MS, Kind.IN, "hall", "a"),
    ],
    query=CaseQuery(
        index=("f",),
        from_=START_MS,
        to=START_MS + 9 * HOUR,
        lag_ms=0,
        min_ms=0,
        rule=Rule.TOTAL,
        as_of=START_MS + 90 * HOUR,
        depth=1,
        latency_ms=0,
    ),
    answer={},
)


def revoked_from(told: list[Change], device: str, as_of: int) -> int:
    """By the definition: the least of what was revoked since the last lifting, as known then."""
    said = [since for at, of, since in told if of == device and at <= as_of]
    lifted = max((position + 1 for position, since in enumerate(said) if since is None), default=0)
    return min((since for since in said[lifted:] if since is not None), default=FOREVER)


@given(case=worlds(), drawn=changes, moments=st.lists(times, min_size=1, max_size=3))
@settings(max_examples=15, deadline=None)
def test_traces_between_revoking_and_restoring_are_the_oracles(
    case: WorkedCase, drawn: list[Change], moments: list[int], read_models: Store
) -> None:
    told = list(
        {(at, device): (at, device, since) for at, device, since in sorted(drawn, key=lambda one: one[0])}.values()
    )
    world = World(read_models, place_list(case.places))
    world.deliver(case.scans)
    for at, device, since in told:
        restored = DeviceKeyRestored(device, DEVICE_KEY)
        event = restored if since is None else DeviceKeyRevoked(device, DEVICE_KEY, since)
        world.registry.apply(Recorded(at, event))
    first = counted(case.scans, FOREVER)
    for as_of in {*moments, case.query.as_of}:
        trusted = [scan for scan in first if scan.received < revoked_from(told, scan.device, as_of)]
        query = msgspec.structs.replace(case.query, as_of=as_of)
        asked = msgspec.structs.replace(case, scans=trusted, query=query)
        expected = oracle.answer(oracle_places(asked), oracle_scans(asked), oracle_query(asked))
        answer = world.tracer().trace(question_of(asked))
        assert {"contacts": contact_rows(answer), "chain": chain_rows(answer)} == {
            key: expected[key] for key in ("contacts", "chain")
        }


def test_a_lifted_revocation_leaves_the_same_answers(read_models: Store) -> None:
    case = CASE
    world = World(read_models, place_list(case.places))
    world.deliver(case.scans)
    later = START_MS + 100 * HOUR
    before = world.tracer().trace(question_of(case))
    for since, at in ((START_MS, later), (None, later + HOUR)):
        event = DeviceKeyRestored("d-1", DEVICE_KEY) if since is None else DeviceKeyRevoked("d-1", DEVICE_KEY, since)
        world.registry.apply(Recorded(at, event))
    moments = {
        moment: _as_of(world, case, moment).contacts for moment in (later - 1, later, later + HOUR - 1, later + HOUR)
    }
    assert before.contacts
    assert [moments[moment] == before.contacts for moment in sorted(moments)] == [True, False, False, True]


def _as_of(world: World, case: WorkedCase, moment: int) -> Any:
    query = msgspec.structs.replace(case.query, as_of=moment)
    return world.tracer().trace(question_of(msgspec.structs.replace(case, query=query)))


PLACES = {"hall": CasePlace(parent=None, dwell=None), "yard": CasePlace(parent=None, dwell=None)}
MOVED = [
    CaseScan("d-1", 1, START_MS + HOUR, START_MS, Kind.IN, "hall", "f"),
    CaseScan("d-1", 2, START_MS + 2 * HOUR, START_MS, Kind.OUT, "hall", "f"),
    CaseScan("d-2", 1, START_MS + HOUR, START_MS, Kind.IN, "yard", "g"),
    CaseScan("d-2", 2, START_MS + 2 * HOUR, START_MS, Kind.OUT, "yard", "g"),
    CaseScan("d-1", 3, START_MS + HOUR - 2_000, START_MS, Kind.IN, "hall", "a"),
    CaseScan("d-3", 1, START_MS + HOUR - 1_000, START_MS, Kind.IN, "yard", "a"),
]
"""Two F0, each at a place of their own for the same hour; the last scan says which of them was met."""


@pytest.mark.parametrize("evidence", [True, False])
def test_who_was_met_elsewhere_for_as_long_has_changed(
    read_models: Store, monkeypatch: pytest.MonkeyPatch, evidence: bool
) -> None:
    world = World(read_models, place_list(PLACES))
    world.deliver(MOVED)
    supposed = World(read_models, place_list(PLACES))
    supposed.deliver(MOVED)
    supposed.revoke("d-3", 0, 0)
    query = msgspec.structs.replace(CASE.query, index=("f", "g"))
    question = question_of(msgspec.structs.replace(CASE, query=query))
    saved = world.tracer().trace(msgspec.structs.replace(question, evidence=evidence))
    supposition = Supposition(
        store=read_models,
        registry=world.registry,
        supposed=supposed.registry,
        tracer=world.tracer(),
        watermarks=world.watermarks,
        clock=lambda: FOREVER,
        random=bytes,
    )
    effect, added, removed, changed = supposition.on(saved)
    assert (effect, added, removed) == (Effect.CHANGED, [], [])
    (contact,) = changed
    assert contact.changed == ("via", "encounters")
    assert [(scan.device, scan.seq, scan.before, scan.after) for scan in contact.scans] == [("d-3", 1, True, False)]
    monkeypatch.setattr("tracing.impact.AS_JOB", msgspec.structs.replace(AS_JOB, encounters=0))
    effect = Effect.TOO_LARGE if evidence else Effect.UNCHANGED
    assert supposition.on(saved) == (effect, [], [], []), "without evidence it is the same contact, met for as long"


@pytest.fixture
def desk(valkey: "redis.Redis", store: Store) -> Iterator[Desk]:
    with Desk(valkey, store).running() as desk:
        yield desk


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
class TestOverHttp:
    """The door's key is revoked and restored; saved traces are asked again."""

    def test_what_a_revocation_would_change_what_it_has_changed_and_what_lifting_restores(self, desk: Desk) -> None:
        at = now_ms() - 3 * HOUR
        desk.send(visit(desk, 1, at, AN), visit(desk, 2, at, BINH), visit(desk, 3, at, CHI))
        desk.settle()
        stolen = now_ms() + 1
        while now_ms() <= stolen:
            pass  # a millisecond
        # Somebody else moves Bình away after a quarter of an hour, with the stolen key.
        desk.send(visit(desk, 4, at + 10 * CAFE_MS, BINH, Kind.OUT))
        desk.settle()
        trace = self.ask(desk, at)
        assert [one["subject"] for one in trace["contacts"]] == [CHI.hex()]
        old = self.ask(desk, at, as_of=stolen - 1)
        assert [one["subject"] for one in old["contacts"]] == [BINH.hex(), CHI.hex()]

        dry = self.impact(desk, {"from": stolen})
        assert (dry["revoked"], dry["looked_at"], dry["next"]) == (False, 2, None)
        assert (dry["quarantined"]["scans"], dry["quarantined"]["subjects"]) == (1, 1)
        assert dry["quarantined"]["first_at"] == dry["quarantined"]["last_at"] == at + 10 * CAFE_MS
        (changed,) = dry["traces"]
        assert (changed["trace"], changed["effect"]) == (trace["id"], "changed")
        assert (changed["added"], changed["removed"], changed["changed"]) == (1, 0, 0)
        (contact,) = changed["contacts"]
        assert (contact["subject"], contact["before"], contact["after"]["seconds"]) == (BINH.hex(), None, 7_200.0)
        assert [(scan["device"], scan["seq"], scan["after"]) for scan in contact["scans"]] == [("door", 4, False)]
        bare = self.ask(desk, at, evidence=False)
        assert not any("encounters" in one for one in bare["contacts"])
        (of_bare,) = [one for one in self.impact(desk, {"from": stolen})["traces"] if one["trace"] == bare["id"]]
        assert of_bare == changed | {"trace": bare["id"], "asked_at": bare["asked_at"]}
        everything = self.impact(desk, {"from": 0})
        assert everything["quarantined"]["scans"] == 4
        assert [(one["trace"], one["removed"]) for one in everything["traces"]] == [
            (bare["id"], 1),
            (old["id"], 2),
            (trace["id"], 1),
        ]
        pages = self.impact(desk, {"from": 0, "limit": 1})
        rest = self.impact(desk, {"from": 0, "limit": 2, "cursor": pages["next"]})
        assert pages["traces"] + rest["traces"] == everything["traces"]

        revoke = desk.ask("POST", "/v1/devices/door/keys/1/revoke", role=Role.ADMIN, json={"from": stolen})
        assert revoke.status_code == 200
        while_revoked = now_ms()
        assert [one["subject"] for one in self.ask(desk, at)["contacts"]] == [BINH.hex(), CHI.hex()]
        done = self.impact(desk, {})
        assert done["revoked"]
        assert [one for one in done["traces"] if one["trace"] == trace["id"]] == [changed]

        for _ in range(2):
            body = {"reason": "found in the store room"}
            restore = desk.ask("POST", "/v1/devices/door/keys/1/restore", role=Role.ADMIN, json=body)
            (key,) = restore.json()["keys"]
            assert (restore.status_code, key["revoked_from"]) == (200, None)
            assert [one["revoked_from"] for one in key["revocations"]] == [stolen, None]
        later = self.ask(desk, at)
        assert later["contacts"] == trace["contacts"]
        # To revoke it once more would change what was answered since, too.
        once_more = self.impact(desk, {"from": stolen})
        assert later["id"] in [one["trace"] for one in once_more["traces"]]
        between = self.ask(desk, at, as_of=while_revoked)
        assert [one["subject"] for one in between["contacts"]] == [BINH.hex(), CHI.hex()]
        assert ("impact-asked", "door.1", PURPOSE) in desk.audited()
        # And it may sign again.
        desk.send(visit(desk, 5, now_ms(), AN))

    def test_wrong_questions(self, desk: Desk) -> None:
        for path in ("/v1/devices/none/keys/1", "/v1/devices/door/keys/2"):
            for verb, body in (("impact", {"purpose": PURPOSE, "from": 1}), ("restore", {})):
                found = desk.ask("POST", f"{path}/{verb}", role=Role.ADMIN, json=body)
                assert is_problem(found, problems.NOT_FOUND)
        path = "/v1/devices/door/keys/1/impact"
        not_revoked = desk.ask("POST", path, role=Role.ADMIN, json={"purpose": PURPOSE})
        assert is_problem(not_revoked, problems.REGISTRY_CONFLICT, "/from")
        assert is_problem(
            desk.ask("POST", path, role=Role.ADMIN, json={"from": 1}), problems.PURPOSE_MISSING, "/purpose"
        )
        refused = desk.ask("POST", path, role=Role.ANALYST, json={"from": 1, "purpose": PURPOSE})
        assert is_problem(refused, problems.ROLE_FORBIDDEN)

    def ask(self, desk: Desk, at: int, **more: int) -> Any:
        """A saved trace of An around `at`, as of now if nothing else is said."""
        window = {"from": at - HOUR, "to": at + 3 * HOUR, "as_of": now_ms()} | more
        body = {"index": {"subjects": [AN.hex()]}, "purpose": PURPOSE, **window}
        answer = desk.ask("POST", "/v1/traces", role=Role.ANALYST, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def impact(self, desk: Desk, body: dict[str, Any]) -> Any:
        """A page of the report."""
        path = "/v1/devices/door/keys/1/impact"
        answer = desk.ask("POST", path, role=Role.ADMIN, json={"purpose": PURPOSE, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()
