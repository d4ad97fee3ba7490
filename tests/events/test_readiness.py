"""`events.readiness`: what follows from a process's checks."""

import pytest

from events import codec, problems
from events.readiness import PROBLEMS, Check, CheckName, status_of, unready

GOOD = Check(name=CheckName.STREAM, ok=True, vital=True)
WARNS = Check(name=CheckName.DISK, ok=False, vital=False, detail="0.1 GB are free.", since=5)
FULL = Check(name=CheckName.STREAM_ROOM, ok=False, vital=True, detail="All of it waits.", since=7)


def test_status() -> None:
    assert status_of([GOOD]) == "ready"
    assert status_of([GOOD, WARNS]) == "degraded"
    assert status_of([WARNS, GOOD, FULL]) == "unready"


def test_a_process_that_can_work_has_no_problem() -> None:
    assert unready([GOOD, WARNS]) is None


def test_the_first_vital_check_that_fails_names_the_problem() -> None:
    store = Check(name=CheckName.STORE, ok=False, vital=True)
    found = unready([GOOD, WARNS, FULL, store])
    assert found is not None
    answer = codec.from_json(found.body(), dict)
    assert answer["type"] == problems.STREAM_FULL.problem().type
    assert (answer["status"], answer["detail"], answer["retry_after_seconds"]) == (503, "All of it waits.", 30)
    assert answer["checks"][1] == {
        "name": "disk",
        "ok": False,
        "vital": False,
        "detail": "0.1 GB are free.",
        "since": 5,
    }
    assert [check["name"] for check in answer["checks"]] == ["stream", "disk", "stream-room", "store"]


@pytest.mark.parametrize("name", [name for name in CheckName if name not in {CheckName.KEYS, CheckName.DISK}])
def test_every_check_that_may_be_vital_has_a_problem(name: CheckName) -> None:
    assert PROBLEMS[name].status == 503
    assert PROBLEMS[name].retry_after_seconds > 0
