"""`app.readiness`: parts that answer, change, and hang."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.clock import now_ms
from app.key_file import load_or_create
from app.readiness import Part, Watch, disk_check, key_check
from events.readiness import Check, CheckName
from tests.app.conftest import until

WELL = Check(name=CheckName.STORE, ok=True, vital=True)
ILL = Check(name=CheckName.STORE, ok=False, vital=True, detail="It is away.")
OTHER = Check(name=CheckName.STREAM, ok=True, vital=True)


class Patient:
    """A part whose answer the test sets, and which it may let hang."""

    def __init__(self, *checks: Check) -> None:
        self.checks: Sequence[Check] = checks
        self.fault: Exception | None = None
        self.questions = 0
        self._answers = threading.Event()
        self._answers.set()

    def ask(self) -> Sequence[Check]:
        """What the part says."""
        self.questions += 1
        self._answers.wait()
        if self.fault is not None:
            raise self.fault
        return self.checks

    def hang(self) -> None:
        """Answer nothing any more."""
        self._answers.clear()

    def recover(self) -> None:
        """Answer again."""
        self._answers.set()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.readiness.ANSWER_SECONDS_MAX", 1.0)


def watch(*patients: Patient) -> Watch:
    """Started; each part is called by its first check."""
    watching = Watch([Part(patient.checks[0].name, patient.ask, vital=True) for patient in patients])
    watching.start()
    return watching


def test_every_look_asks_anew_and_says_since_when() -> None:
    store, stream = Patient(WELL), Patient(OTHER)
    watching = watch(store, stream)
    first = {check.name: check for check in watching.look()}
    assert first.keys() == {CheckName.STORE, CheckName.STREAM}
    assert first[CheckName.STORE].since > 0
    store.checks = [ILL]
    second = {check.name: check for check in watching.look()}
    assert not second[CheckName.STORE].ok
    assert second[CheckName.STORE].detail == ILL.detail
    assert second[CheckName.STREAM].since == first[CheckName.STREAM].since
    third = {check.name: check for check in watching.look()}
    assert third[CheckName.STORE].since == second[CheckName.STORE].since
    watching.stop()


def test_a_part_that_hangs_fails_alone_and_is_asked_once() -> None:
    store, stream = Patient(WELL), Patient(OTHER)
    watching = watch(store, stream)
    watching.look()
    store.hang()
    asked = store.questions
    for _ in range(5):
        found = {check.name: check.ok for check in watching.look()}
        assert found == {CheckName.STORE: False, CheckName.STREAM: True}
    assert store.questions == asked + 1
    store.recover()
    until(lambda: all(check.ok for check in watching.look()))
    watching.stop()


def test_a_question_that_fails_is_told_without_its_words_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    store, stream = Patient(WELL), Patient(OTHER)
    watching = watch(store, stream)
    watching.look()
    store.fault = RuntimeError("of somebody")
    for _ in range(3):
        found = {check.name: check for check in watching.look()}
        assert not found[CheckName.STORE].ok
        assert found[CheckName.STREAM].ok
    (line,) = [record.getMessage() for record in caplog.records if record.name == "truyvet.readiness"]
    assert "RuntimeError" in line
    assert "somebody" not in line + found[CheckName.STORE].detail
    store.fault = None
    assert all(check.ok for check in watching.look())
    watching.stop()


def test_it_looks_by_itself_and_so_knows_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.readiness.LOOK_SECONDS", 0.01)
    patient = Patient(WELL)
    watching = watch(patient)
    until(lambda: patient.questions > 2)
    patient.checks = [ILL]
    seen = patient.questions + 2
    until(lambda: patient.questions > seen)
    known = now_ms()
    assert watching.look()[0].since <= known
    watching.stop()


def test_the_key_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    load_or_create(path, data_exists=False, now_ms=1)
    assert key_check(path).ok
    path.chmod(0o644)
    assert not key_check(path).ok
    path.unlink()
    assert not key_check(path).ok
    assert not key_check(path).vital


def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.readiness.DISK_BYTES_BAD", 1)
    assert disk_check([tmp_path, tmp_path / "not made yet"]).ok
    monkeypatch.setattr("app.readiness.DISK_BYTES_BAD", 1 << 62)
    assert not disk_check([tmp_path]).ok
