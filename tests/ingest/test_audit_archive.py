"""The audit stream's copy in the store: every entry once, whatever dies in between."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest
import redis

from events import codec
from events.audit import START, AuditEvent, Head, SavedAnswer, linked, packed
from ingest import audit_archive
from ingest.audit_archive import AuditArchive
from storage.audit_stream import AUDIT_HEAD, AUDIT_STREAM, AuditStream, Link
from storage.clickhouse import Store
from tests.support.clickhouse_http import ClickHouseHttp

EXIT_SECONDS_MAX: Final = 120
STEPS: Final = ("frozen", "saved", "inserted", "committed")
AN: Final = bytes(range(16))


def answer(number: int) -> SavedAnswer:
    return SavedAnswer(
        id=f"trace-{number}",
        asked_at=1_635_000_000_000 + number,
        actor="A",
        fingerprint="0a" * 32,
        question=b"{}",
        answer=f'{{"n":{number},"subject":"{AN.hex()}"}}'.encode(),
    )


def append(stream: AuditStream, count: int, purpose: str = "a good purpose") -> None:
    """Entries behind the head; every second one carries an answer."""
    head = stream.head() or stream.advance(START)[0]
    links: list[Link] = []
    for number in range(head.number + 1, head.number + count + 1):
        event = AuditEvent(
            number=number,
            at=1_635_000_000_000 + number,
            actor="Bác sĩ Hà",
            token="0a",
            role="analyst",
            action="trace-asked",
            object=f"trace-{number}",
            purpose=purpose,
            people=(AN.hex(),),
        )
        links.append(
            Link(
                number,
                linked(links[-1].hash if links else head.hash, event),
                codec.to_json(event),
                packed(answer(number)) if number % 2 else b"",
            )
        )
    assert stream.append(head, links) is None


def numbers(store: Store) -> list[int]:
    return [row[0] for row in store.rows("SELECT number FROM audit_chain ORDER BY number")]


def traces(store: Store) -> list[str]:
    return [row[0] for row in store.rows("SELECT id FROM traces ORDER BY asked_at")]


def wanted_traces(count: int) -> list[str]:
    return [f"trace-{number}" for number in range(1, count + 1) if number % 2]


@pytest.fixture
def stream(valkey: "redis.Redis") -> AuditStream:
    return AuditStream(valkey)


def test_what_was_appended_lies_in_the_store_as_it_was(stream: AuditStream, store: Store) -> None:
    append(stream, 3)
    assert AuditArchive(stream, store).step() == 3
    assert AuditArchive(stream, store).step() == 0
    assert stream.waits() == (0, 0)
    assert numbers(store) == [1, 2, 3]
    [row] = store.rows(
        "SELECT hash, toUnixTimestamp64Milli(at), actor, token, role, action, object, purpose, people FROM audit_chain"
        " WHERE number = 3"
    )
    head = stream.head()
    assert head is not None
    assert row == (
        head.hash,
        1_635_000_000_003,
        "Bác sĩ Hà",
        "0a",
        "analyst",
        "trace-asked",
        "trace-3",
        "a good purpose",
        [AN],
    )
    assert traces(store) == ["trace-1", "trace-3"]
    assert store.rows("SELECT answer FROM traces WHERE id = 'trace-3'") == [(answer(3).answer.decode(),)]
    assert sorted(store.rows("SELECT subject, trace FROM trace_subjects")) == [(AN, "trace-1"), (AN, "trace-3")]


def test_more_than_a_range_goes_in_several(stream: AuditStream, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.audit_archive.RANGE_ENTRIES_MAX", 4)
    append(stream, 10)
    archive = AuditArchive(stream, store)
    assert [archive.step() for _ in range(4)] == [4, 4, 2, 0]
    assert numbers(store) == list(range(1, 11))


def test_two_archives_at_once_copy_every_entry_once(stream: AuditStream, store: Store) -> None:
    """The second finds the range frozen, and lays it again under the same token."""
    append(stream, 5)
    second = AuditArchive(stream, store)

    def forestall(step: str) -> None:
        if step == "inserted":
            second.step()

    first = AuditArchive(stream, store, forestall)
    first.step()
    append(stream, 2)
    assert [second.step(), first.step()] == [2, 0]
    assert numbers(store) == list(range(1, 8))
    assert traces(store) == wanted_traces(7)


@pytest.mark.parametrize("lost", ["number IN (2, 4)", "1"])
def test_what_a_token_hid_is_laid_all_the_same(stream: AuditStream, store: Store, lost: str) -> None:
    """A kill in the midst of an insert may leave the token and not the rows; so may one in the midst of a repair."""
    append(stream, 5)

    class Died(Exception):
        pass

    def die(step: str) -> None:
        if step == "inserted":
            raise Died

    for _ in range(3):
        with pytest.raises(Died):
            AuditArchive(stream, store, die).step()
        store.command(f"ALTER TABLE audit_chain DELETE WHERE {lost} SETTINGS mutations_sync = 2")
    AuditArchive(stream, store).step()
    assert numbers(store) == [1, 2, 3, 4, 5]


def test_a_stream_that_came_back_from_an_older_copy_is_copied_no_second_time(
    stream: AuditStream, store: Store, valkey: "redis.Redis"
) -> None:
    append(stream, 2)
    AuditArchive(stream, store).step()
    append(stream, 3)
    older = {key: valkey.dump(key) or b"" for key in (AUDIT_STREAM, AUDIT_HEAD)}
    append(stream, 1)
    AuditArchive(stream, store).step()
    for key, value in older.items():
        valkey.restore(key, 0, value, replace=True)
    append(stream, 2, "another purpose")
    AuditArchive(stream, store).step()
    assert stream.waits() == (0, 0)
    # Two entries are called 6 now: both are kept, and `audit verify` says so.
    assert numbers(store) == [1, 2, 3, 4, 5, 6, 6, 7]


def test_it_waits_out_a_store_that_is_down_and_stops_empty(stream: AuditStream, store: Store) -> None:
    append(stream, 3)
    away = AuditArchive(stream, Store("http://127.0.0.1:1"))
    stop = threading.Event()
    stop.set()
    away.run(stop)
    assert stream.waits()[0] == 3
    AuditArchive(stream, store).run(stop)
    assert stream.waits()[0] == 0
    assert numbers(store) == [1, 2, 3]


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_killed_after_any_step_it_doubles_and_loses_nothing(
    stream: AuditStream, store: Store, redis_url: str, clickhouse_http: ClickHouseHttp
) -> None:
    """What is appended is durable before anything is copied; each of these processes dies at another step of it."""
    for count, step in enumerate(STEPS, 1):
        append(stream, 4)
        command = [sys.executable, "-m", "tests.ingest.audit_archive_process"]
        command += [redis_url, clickhouse_http.url, store.database, step]
        ended = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=EXIT_SECONDS_MAX)
        assert ended.returncode == -signal.SIGKILL
        while AuditArchive(stream, store).step():
            pass
        assert numbers(store) == list(range(1, 4 * count + 1)), step
        assert traces(store) == wanted_traces(4 * count), step
    assert stream.head() == Head(len(STEPS) * 4, last_hash(store))


def test_while_questions_keep_coming_it_rests_between_ranges(stream: AuditStream, store: Store) -> None:
    """Each copied alone cost a core and a half."""
    copied, at_first_rest = list[str](), list[int]()

    def ask_again(step: str) -> None:
        copied.extend([step] if step == "committed" else [])
        if step == "committed" and len(copied) < 3:
            append(stream, 1)

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            at_first_rest.append(len(copied))
            if stream.waits()[0] == 0:
                self.set()
            return self.is_set()

    append(stream, 1)
    AuditArchive(stream, store, ask_again).run(Stop())
    assert at_first_rest == [1, 2, 3, 3]
    assert numbers(store) == [1, 2, 3]


def test_where_a_whole_range_waits_it_goes_on(
    stream: AuditStream, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_archive, "RANGE_ENTRIES_MAX", 2)
    rests = list[int]()

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(stream.waits()[0])
            self.set()
            return True

    append(stream, 5)
    AuditArchive(stream, store).run(Stop())
    assert rests[0] == 1
    assert numbers(store) == [1, 2, 3, 4, 5]


def last_hash(store: Store) -> bytes:
    [(found,)] = store.rows("SELECT hash FROM audit_chain ORDER BY number DESC LIMIT 1")
    return bytes(found)
