"""Asking over HTTP: presets, differences, sweeps, jobs, and each bad question's own problem."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import pytest
import redis

from events import problems
from events.access import Role
from events.problems import ProblemError
from events.scans import Kind
from storage.clickhouse import Store, migrate
from storage.errors import StreamDown
from storage.jobs import OVER, JobBoard, JobRecord
from storage.valkey import EmbeddedValkey
from tests.app.conftest import until
from tests.tracing.desk import AN, BINH, HOUR, PURPOSE, Desk, now_ms, visit
from tests.tracing.test_routes import is_problem
from tracing import jobs as jobs_module
from tracing.answer import Answer, Tracer
from tracing.bounds import ELSE_AS_JOB
from tracing.jobs import Jobs
from tracing.presets import PRESETS
from tracing.question import Index, Question
from tracing.routes import traces

CHI: Final = bytes(range(32, 48))
STRANGER: Final = "f" * 32


class World(NamedTuple):
    """When AN came (Unix ms), and a moment when nothing of CHI was known."""

    start: int
    as_of: int


@pytest.fixture(scope="module")
def desk(valkey_server: EmbeddedValkey, chdb_url: str) -> Iterator[Desk]:
    """One service for all: what a test asks is as of a moment of its own."""
    store = Store(chdb_url, database="test_asking")
    migrate(store)
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
        with Desk(client, store).running() as desk:
            yield desk
    store.command(f"DROP DATABASE {store.database} SYNC")
    store.close()


@pytest.fixture(scope="module")
def world(desk: Desk) -> World:
    """AN and BINH share the mall for an hour and a half; the case is AN's. CHI was there as well, but comes late."""
    start = now_ms() - 4 * HOUR
    desk.send(
        visit(desk, 1, start, AN),
        visit(desk, 2, start + 1_000, BINH),
        visit(desk, 3, start + 3 * HOUR // 2, AN, Kind.OUT),
    )
    case = {"id": "f0-1", "subject": AN.hex(), "confirmed_at": now_ms(), "purpose": PURPOSE}
    assert desk.ask("POST", "/v1/cases", json=case).status_code == 201
    desk.settle()
    as_of = now_ms()
    until(lambda: now_ms() > as_of)
    desk.send(visit(desk, 4, start + HOUR, CHI))
    desk.settle()
    return World(start, as_of)


def question(world: World, **more: Any) -> dict[str, Any]:
    """About the case, as of then."""
    return {"index": {"cases": ["f0-1"]}, "as_of": world.as_of} | more


def ask(desk: Desk, path: str, **body: Any) -> httpx.Response:
    return desk.ask("POST", path, json=body | {"purpose": PURPOSE})


def saved(desk: Desk) -> list[str]:
    """The ids of all traces."""
    return [item["id"] for item in desk.ask("GET", "/v1/traces").json()["items"]]


def traced(desk: Desk, world: World, **more: Any) -> dict[str, Any]:
    answer = ask(desk, "/v1/traces", **question(world, **more))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


class TestPresets:
    def test_they_are_listed_with_their_sources_and_the_answer_names_the_one_asked(
        self, desk: Desk, world: World
    ) -> None:
        items = desk.ask("GET", "/v1/presets").json()["items"]
        assert [item["name"] for item in items] == list(PRESETS)
        assert items[0]["source"]["url"].startswith("https://")
        asked = traced(desk, world, preset="corona-warn-app", lag_seconds=60)["question"]
        assert (asked["preset"], asked["lag_seconds"], asked["min_seconds"], asked["rule"]) == (
            "corona-warn-app",
            60,
            600,
            "encounter",
        )
        assert is_problem(ask(desk, "/v1/traces", **question(world, preset="x")), problems.PRESET_UNKNOWN, "/preset")

    def test_a_dwell_by_category_is_for_this_question_alone(self, desk: Desk, world: World) -> None:
        assert traced(desk, world, dwell_seconds={"other": 3_600})["contacts"][0]["ms"] == HOUR
        assert traced(desk, world)["contacts"][0]["ms"] == 3 * HOUR // 2 - 1_000
        answer = ask(desk, "/v1/traces", **question(world, dwell_seconds={"other": 59}))
        assert answer.json()["type"] == problems.BODY_INVALID.problem().type


class TestCompare:
    def test_a_saved_trace_against_now(self, desk: Desk, world: World) -> None:
        saved = traced(desk, world)
        answer = ask(desk, "/v1/traces/compare", before={"trace": saved["id"]})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["parameters"] == ["as_of"]
        (added,) = found["added"]
        assert (added["subject"], added["causes"]) == (CHI.hex(), ["late"])
        assert [(scan["device"], scan["seq"], scan["before"], scan["after"]) for scan in added["scans"]] == [
            ("door", 4, False, True)
        ]
        assert found["before"]["trace"] == saved["id"]
        assert found["before"]["cut_off"]["as_of"] < added["scans"][0]["received"] <= found["after"]["cut_off"]["as_of"]
        again = ask(
            desk, "/v1/traces/compare", before={"trace": saved["id"]}, after={"trace": found["after"]["trace"]}
        ).json()
        assert again == found
        read = [(action, name) for action, name, _ in desk.audited()]
        assert ("trace-read", saved["id"]) in read
        assert ("trace-asked", found["after"]["trace"]) in read

    def test_two_sets_of_parameters_of_one_question(self, desk: Desk, world: World) -> None:
        found = ask(
            desk,
            "/v1/traces/compare",
            before={"question": question(world)},
            change={"min_seconds": 10 * 3_600, "as_of": world.as_of},
        ).json()
        assert found["parameters"] == ["min_seconds"]
        (removed,) = found["removed"]
        assert (removed["causes"], removed["after"]) == (["parameters"], None)
        two = ask(
            desk,
            "/v1/traces/compare",
            before={"question": question(world)},
            after={"question": question(world, preset="pc-covid")},
        ).json()
        assert two["parameters"] == ["min_seconds", "rule", "preset", "dwell_seconds"]
        assert two["changed"][0]["causes"] == ["parameters"]

    def test_what_cannot_be_compared_is_pointed_at(self, desk: Desk, world: World) -> None:
        path = "/v1/traces/compare"
        known = {"trace": traced(desk, world)["id"]}
        assert is_problem(ask(desk, path, before={"trace": "none"}), problems.NOT_FOUND, "/before/trace")
        assert is_problem(ask(desk, path, before={}), problems.QUESTION_INVALID, "/before")
        both = known | {"question": question(world)}
        assert is_problem(ask(desk, path, before=known, after=both), problems.QUESTION_INVALID, "/after")
        answer = ask(desk, path, before=known, after=known, change={"depth": 2})
        assert is_problem(answer, problems.QUESTION_INVALID, "/change")
        assert is_problem(ask(desk, path, before=known, change={"depth": 9}), problems.DEPTH_EXCEEDED, "/depth")
        without = desk.ask("POST", path, json={"before": known})
        assert is_problem(without, problems.PURPOSE_MISSING, "/purpose")

    def test_an_answer_without_evidence_is_not_compared(self, desk: Desk, world: World) -> None:
        path, bare = "/v1/traces/compare", question(world, evidence=False)
        before = saved(desk)
        answer = ask(desk, path, before={"question": bare})
        assert is_problem(answer, problems.QUESTION_INVALID, "/before/question/evidence")
        assert saved(desk) == before
        side = {"trace": traced(desk, world, evidence=False)["id"]}
        for body in ({"before": side}, {"before": {"question": question(world)}, "after": side}):
            pointer = f"/{'after' if 'after' in body else 'before'}/trace"
            assert is_problem(ask(desk, path, **body), problems.QUESTION_INVALID, pointer)


class TestSweep:
    def test_each_point_is_a_trace(self, desk: Desk, world: World) -> None:
        grid = {"min_seconds": [900, 10_000], "lag_seconds": [0]}
        answer = ask(desk, "/v1/traces/sweep", question=question(world), grid=grid)
        assert answer.status_code == 200, answer.text
        points = answer.json()["points"]
        assert [(one["min_seconds"], one["contacts"]) for one in points] == [(900, 1), (10_000, 0)]
        assert points[0]["assumed"]["dwell"]["contacts"] == 1
        assert ("trace-swept", answer.json()["fingerprint"], PURPOSE) in desk.audited()

    def test_about_nobody_it_is_refused_as_a_trace_is(self, desk: Desk, world: World) -> None:
        grid = {"min_seconds": [0], "lag_seconds": [0]}
        early = {"from": world.start - 10 * HOUR, "to": world.start - 8 * HOUR}
        answer = ask(desk, "/v1/traces/sweep", question=question(world, **early), grid=grid)
        assert is_problem(answer, problems.INDEX_WITHOUT_SCANS, "/index")
        assert "first after it: 20" in answer.json()["detail"]
        assert desk.audited()[-1][0] == "trace-swept", "it says when somebody was scanned: a look at a person"
        stranger = {"index": {"subjects": [STRANGER]}} | early
        answer = ask(desk, "/v1/traces/sweep", question=stranger, grid=grid)
        assert is_problem(answer, problems.SUBJECT_UNKNOWN, "/index/subjects")

    def test_a_grid_beyond_the_limit_is_refused(self, desk: Desk, world: World) -> None:
        grid = {"min_seconds": list(range(30)), "lag_seconds": list(range(30))}
        assert is_problem(
            ask(desk, "/v1/traces/sweep", question=question(world), grid=grid), problems.GRID_TOO_LARGE, "/grid"
        )


class TestBadQuestions:
    def test_each_has_its_own_problem(self, desk: Desk, world: World) -> None:
        later = now_ms() + HOUR
        window = {"from": world.start, "to": now_ms()}
        for body, kind, pointer in (
            (question(world, **{"from": world.start, "to": world.start}), problems.WINDOW_REVERSED, "/to"),
            (
                question(world, **{"from": world.start - 40 * 24 * HOUR, "to": world.start}),
                problems.WINDOW_TOO_LONG,
                "/to",
            ),
            (question(world, as_of=later), problems.AS_OF_IN_FUTURE, "/as_of"),
            (question(world, depth=4), problems.DEPTH_EXCEEDED, "/depth"),
            ({"index": {"cases": ["f0-9"]}}, problems.SUBJECT_UNKNOWN, "/index/cases/0"),
            ({"index": {"subjects": [STRANGER]}} | window, problems.SUBJECT_UNKNOWN, "/index/subjects"),
        ):
            answer = ask(desk, "/v1/traces", **body)
            assert is_problem(answer, kind, pointer), answer.text
            assert answer.json()["action"]
            assert STRANGER not in answer.text

    def test_an_f0_without_scans_is_said_with_the_nearest_that_is_known(self, desk: Desk, world: World) -> None:
        before = saved(desk)
        asked = question(world, **{"from": world.start - 10 * HOUR, "to": world.start - 8 * HOUR})
        answer = ask(desk, "/v1/traces", **asked)
        assert is_problem(answer, problems.INDEX_WITHOUT_SCANS, "/index")
        detail = answer.json()["detail"]
        assert "before the window: none by as_of" in detail
        assert "first after it: 20" in detail
        assert "mall" not in detail
        assert desk.audited()[-1][0] == "trace-asked", "it says when somebody was scanned: a look at a person"
        assert saved(desk) == before

    def test_of_several_the_one_without_scans_is_named_in_the_answer(self, desk: Desk, world: World) -> None:
        window = {"from": world.start - HOUR, "to": now_ms()}
        index = {"cases": ["f0-1"], "subjects": [STRANGER]}
        answer = ask(desk, "/v1/traces", index=index, as_of=world.as_of, **window).json()
        assert answer["index_without_scans"] == [STRANGER]
        assert [each["stays"] for each in answer["index"]] == [1, 0]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Traces that do not begin until the event is set."""
    go = threading.Event()
    trace = Tracer.trace

    def waiting(tracer: Tracer, *arguments: Any, on_read: Callable[[int, int], None], **more: Any) -> Answer:
        while not go.wait(0.01):
            on_read(0, 0)
        return trace(tracer, *arguments, on_read=on_read, **more)

    monkeypatch.setattr(Tracer, "trace", waiting)
    yield go
    go.set()


def begin(desk: Desk, world: World, role: Role = Role.ANALYST) -> dict[str, Any]:
    answer = desk.ask(
        "POST",
        "/v1/traces",
        role=role,
        json=question(world) | {"purpose": PURPOSE},
        headers={"Prefer": "wait=5, respond-async"},
    )
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    return dict(answer.json())


def stands(desk: Desk, job: dict[str, Any], *states: str) -> Callable[[], dict[str, Any] | None]:
    """Whether the job stands in one of these states; then the job."""

    def look() -> dict[str, Any] | None:
        found = dict(desk.ask("GET", f"/v1/jobs/{job['id']}").json())
        return found if found["state"] in states else None

    return look


class TestJobs:
    def test_what_is_asked_as_a_job_ends_in_a_saved_trace(self, desk: Desk, world: World) -> None:
        job = begin(desk, world)
        assert (job["state"], job["result"], job["actor"]) == ("waiting", None, "Somebody of analyst")
        done = until(stands(desk, job, "done", "failed"))
        assert (done["state"], done["contacts"], done["problem"]) == ("done", 1, None)
        assert (done["read"], done["known"]) == (2, 2)
        answer = desk.ask("GET", done["result"], purpose=PURPOSE).json()
        assert answer["contacts"][0]["subject"] == BINH.hex()
        assert desk.ask("GET", "/v1/jobs").json()["items"][0]["id"] == job["id"]
        assert is_problem(desk.ask("DELETE", f"/v1/jobs/{job['id']}"), problems.JOB_OVER)
        assert BINH.hex() not in desk.ask("GET", "/v1/jobs").text

    def test_a_job_can_be_cancelled_while_it_waits_and_while_it_works(
        self, desk: Desk, world: World, held: threading.Event
    ) -> None:
        before, looked = saved(desk), len(desk.audited())
        working = begin(desk, world)
        until(stands(desk, working, "running"))
        waiting = begin(desk, world)
        assert desk.ask("DELETE", f"/v1/jobs/{waiting['id']}").json()["state"] == "cancelled"
        refused = desk.ask("DELETE", f"/v1/jobs/{working['id']}", role=Role.ANALYST)
        assert refused.status_code == 202
        until(stands(desk, working, "cancelled"))
        assert saved(desk) == before
        assert len(desk.audited()) == looked

    def test_only_who_asked_and_administrators_may_cancel(
        self, desk: Desk, world: World, held: threading.Event
    ) -> None:
        job = begin(desk, world, Role.ADMIN)
        assert is_problem(desk.ask("DELETE", f"/v1/jobs/{job['id']}"), problems.ROLE_FORBIDDEN)
        other = begin(desk, world)
        assert desk.ask("DELETE", f"/v1/jobs/{other['id']}", role=Role.ADMIN).status_code == 202
        held.set()
        until(stands(desk, job, "done"))
        until(stands(desk, other, "cancelled"))
        assert is_problem(desk.ask("DELETE", "/v1/jobs/none"), problems.NOT_FOUND)
        assert is_problem(desk.ask("GET", "/v1/jobs/none"), problems.NOT_FOUND)

    def test_more_jobs_than_may_wait_are_refused(
        self, desk: Desk, world: World, held: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs_module, "JOBS_WAITING_MAX", 1)
        working = begin(desk, world)
        until(stands(desk, working, "running"))
        waiting = begin(desk, world)
        headers = {"Prefer": "respond-async"}
        answer = desk.ask("POST", "/v1/traces", json=question(world) | {"purpose": PURPOSE}, headers=headers)
        assert is_problem(answer, problems.JOBS_FULL)
        held.set()
        for job in (working, waiting):
            until(stands(desk, job, "done"))

    def test_a_bad_question_becomes_no_job(self, desk: Desk, world: World) -> None:
        before = desk.ask("GET", "/v1/jobs").json()["items"]
        body = question(world, depth=9) | {"purpose": PURPOSE}
        answer = desk.ask("POST", "/v1/traces", json=body, headers={"Prefer": "respond-async"})
        assert is_problem(answer, problems.DEPTH_EXCEEDED, "/depth")
        answer = desk.ask("POST", "/v1/traces", json=question(world), headers={"Prefer": "respond-async"})
        assert is_problem(answer, problems.PURPOSE_MISSING, "/purpose")
        assert desk.ask("GET", "/v1/jobs").json()["items"] == before

    def test_a_job_that_fails_says_why(self, desk: Desk, world: World) -> None:
        body = question(world, **{"from": world.start - 10 * HOUR, "to": world.start - 8 * HOUR}) | {"purpose": PURPOSE}
        answer = desk.ask("POST", "/v1/traces", json=body, headers={"Prefer": "respond-async"})
        failed = until(stands(desk, answer.json(), "failed", "done"))
        assert failed["problem"]["type"] == problems.INDEX_WITHOUT_SCANS.problem().type

    def test_what_is_too_large_for_an_answer_becomes_a_job_by_itself(
        self, desk: Desk, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(traces, "ELSE_AS_JOB", msgspec.structs.replace(ELSE_AS_JOB, subjects=1))
        answer = ask(desk, "/v1/traces", **question(world))
        assert answer.status_code == 202, answer.text
        assert "Preference-Applied" not in answer.headers
        assert until(stands(desk, answer.json(), "done", "failed"))["state"] == "done"

    def test_what_is_about_so_many_is_a_job_from_the_start(
        self, desk: Desk, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(traces, "INDEX_SUBJECTS_AT_ONCE", 1)
        assert ask(desk, "/v1/traces", **question(world)).status_code == 200
        two = question(world, index={"cases": ["f0-1"], "subjects": [os.urandom(16).hex()]})
        two |= {"from": world.start, "to": world.as_of}
        assert is_problem(ask(desk, "/v1/traces", **two | {"depth": 9}), problems.DEPTH_EXCEEDED, "/depth")
        answer = ask(desk, "/v1/traces", **two)
        assert answer.status_code == 202, answer.text
        assert "Preference-Applied" not in answer.headers
        assert until(stands(desk, answer.json(), "done", "failed"))["state"] == "done"

    def test_the_end_of_the_service_interrupts_it_and_says_so(
        self, desk: Desk, world: World, held: threading.Event
    ) -> None:
        jobs = Jobs(JobBoard(desk.redis), desk.parts.asker, clock=now_ms, random=os.urandom)
        asked = Question(index=Index(cases=("f0-1",)), as_of=world.as_of)
        working, waiting = (jobs.begin(desk.token(Role.ANALYST), asked, PURPOSE) for _ in range(2))
        until(stands(desk, {"id": working.id}, "running"))
        jobs.stop()
        for each in (working, waiting):
            interrupted = until(stands(desk, {"id": each.id}, "interrupted"))
            assert interrupted["problem"]["type"] == problems.JOB_INTERRUPTED.problem().type
        with pytest.raises(ProblemError):
            jobs.begin(desk.token(Role.ANALYST), asked, PURPOSE)

    def test_an_end_that_nobody_could_be_told_of_is_told_later(self, desk: Desk, world: World) -> None:
        class Deaf(JobBoard):
            """The stream is away at the very end of a job."""

            refused = False

            def post(self, record: JobRecord) -> None:
                if record.state in OVER and not self.refused:
                    self.refused = True
                    raise StreamDown("away")
                super().post(record)

        board = Deaf(desk.redis)
        jobs = Jobs(board, desk.parts.asker, clock=now_ms, random=os.urandom, beat_seconds=0.05)
        asked = Question(index=Index(cases=("f0-1",)), as_of=world.as_of)
        job = jobs.begin(desk.token(Role.ANALYST), asked, PURPOSE)
        done = until(stands(desk, {"id": job.id}, "done", "interrupted"))
        assert board.refused
        assert (done["state"], done["contacts"]) == ("done", 1)
        jobs.stop()

    def test_contacts_come_in_pages(self, desk: Desk, world: World) -> None:
        trace = traced(desk, world, as_of=now_ms())
        path = f"/v1/traces/{trace['id']}/contacts"
        first = desk.ask("GET", path, params={"limit": 1}, purpose=PURPOSE).json()
        assert (first["contacts"], first["fingerprint"]) == (2, trace["fingerprint"])
        second = desk.ask("GET", path, params={"limit": 1, "cursor": first["next"]}, purpose=PURPOSE).json()
        assert first["items"] + second["items"] == trace["contacts"]
        assert second["next"] is None
        assert is_problem(desk.ask("GET", path), problems.PURPOSE_MISSING)
        assert is_problem(desk.ask("GET", "/v1/traces/none/contacts", purpose=PURPOSE), problems.NOT_FOUND)
