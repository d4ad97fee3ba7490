import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
import redis

from events import codec, problems
from events.access import Role
from events.audit import START, AuditEvent, Head, SavedAnswer
from events.problems import ProblemError
from ingest.audit_archive import AuditArchive
from keys.audit_chain import Break, Damage, Row, person_tag, walked
from keys.secrets import new_secrets
from storage.audit_stream import AUDIT_HEAD, AUDIT_STREAM, AuditStream
from storage.clickhouse import Store, migrate
from storage.errors import StoreDown, StreamDown
from tests.keys.samples import OTHER_SUBJECT, SECRETS, SUBJECT, counting
from tests.tracing.audit_process import draft, writer
from tracing.access import new_token
from tracing.audit import PEOPLE_PER_ENTRY_MAX, SAVED_STREAM_BYTES_MAX, Action, AuditItem, AuditLog, purpose_of
from tracing.audit_verify import Verified
from tracing.audit_writer import AuditWriter, Wanted
from tracing.saved import SavedTrace, SavedTraces, saving

AT = 1_635_000_000_123
_, TOKEN = new_token("Bác sĩ Hà", Role.ANALYST, AT + 1, bytes)
EXIT_SECONDS_MAX: Final = 120
in_process = pytest.mark.parametrize("made", ["chdb"], indirect=True)


class Book:
    """An audit log with its archive and its saved traces."""

    def __init__(self, client: "redis.Redis", store: Store) -> None:
        self.redis = client
        self.store = store
        self.stream = AuditStream(client)
        self.audit = self.reopened()
        self.saved = SavedTraces(store, self.stream)
        self.archive = AuditArchive(self.stream, store)

    def reopened(self) -> AuditLog:
        """What another process has."""
        return AuditLog(self.store, self.stream, SECRETS, lambda: AT)

    def write(self, name: str = "f0-1", at: int = AT, **more: object) -> None:
        self.audit.write(at, TOKEN, Action.CASE_READ, name, "a good purpose", **more)  # type: ignore[arg-type]

    def fill(self, count: int, *, archived: int) -> None:
        """`count` entries, of which the first so many are in the store."""
        for number in range(1, count + 1):
            self.write(f"f0-{number}", people=[SUBJECT.hex()])
            if number == archived:
                self.archived()

    def archived(self) -> None:
        while self.archive.step():
            pass

    def items(self, limit: int = 100) -> list[AuditItem]:
        """Every entry, newest first, page by page."""
        found: list[AuditItem] = []
        cursor: str | None = None
        while True:
            page = self.audit.page(limit, cursor)
            found += page.items
            assert len(found) < 10_000, "the pages repeat themselves"
            if page.next is None:
                return found
            assert len(page.items) == limit
            cursor = page.next

    def verified(self, *, answers: bool = False) -> Verified:
        """The last step of a whole walk."""
        head = START
        while True:
            step = self.audit.verify(head, None, answers=answers)
            if step.done or step.broken is not None:
                return step
            assert step.number > head.number
            head = Head(step.number, bytes.fromhex(step.hash))


@pytest.fixture(scope="module", params=["chdb", "http"])
def made(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A migrated database, in process and over HTTP: made once, since making it takes longest."""
    http = request.param == "http"
    url = request.getfixturevalue("clickhouse_http").url if http else request.getfixturevalue("chdb_url")
    store = Store(url, database="test_audit")
    migrate(store)
    yield store
    store.command("DROP DATABASE test_audit SYNC")
    store.close()


@pytest.fixture
def book(valkey: "redis.Redis", made: Store) -> Book:
    for table in ("audit_chain", "traces", "trace_subjects", "trace_pieces"):
        made.command(f"TRUNCATE TABLE {table}")
    return Book(valkey, made)


def test_what_is_written_is_read_to_the_millisecond(book: Book) -> None:
    book.audit.write(AT, TOKEN, Action.CASE_READ, "f0-1", "điều tra ca F0", people=[SUBJECT.hex()])
    for _ in range(2):  # from the stream, then from the store
        (item,) = book.items()
        assert (item.number, item.at, item.actor, item.token) == (1, AT, "Bác sĩ Hà", TOKEN.id)
        assert (item.role, item.action, item.object, item.purpose) == ("analyst", "case-read", "f0-1", "điều tra ca F0")
        assert item.people == (person_tag(SUBJECT.hex(), SECRETS),)
        assert book.verified().done
        book.archived()


def test_no_pseudonym_lies_in_the_log(book: Book) -> None:
    book.write(people=[SUBJECT.hex()])
    book.archived()
    [row] = book.store.rows("SELECT * FROM audit_chain")
    assert SUBJECT not in b"".join(row[9])
    assert SUBJECT.hex() not in str(row)


def test_every_millisecond_survives_the_way_into_the_store(book: Book) -> None:
    times = [AT + 997 * step for step in range(40)]
    for at in times:
        book.write(at=at)
    book.archived()
    assert [item.at for item in book.items()] == times[::-1]


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("archived", [0, 4, 11])
def test_pages_give_each_entry_once_newest_first_wherever_it_lies(book: Book, limit: int, archived: int) -> None:
    book.fill(11, archived=archived)
    assert [item.number for item in book.items(limit)] == list(range(11, 0, -1))
    assert book.stream.waits()[0] == 11 - archived
    assert book.verified().done


@pytest.mark.parametrize("cursor", ["", "x", "!!", "WzFd", "e30", "WzEsMF0", "WzBd", "ă"])
@in_process
def test_a_foreign_cursor_is_refused(book: Book, cursor: str) -> None:
    if cursor == "WzFd":  # [1]: before the first there is nothing
        assert book.audit.page(10, cursor).items == []
        return
    with pytest.raises(ProblemError) as error:
        book.audit.page(10, cursor)
    assert (error.value.problem.status, error.value.problem.pointer) == (422, "/cursor")


@in_process
class TestWriting:
    def test_what_cannot_be_appended_raises_and_keeps_nothing(self, book: Book) -> None:
        book.write()
        book.redis.rename(AUDIT_STREAM, "aside")
        book.redis.set(AUDIT_STREAM, "no stream")
        with pytest.raises(ProblemError) as error:
            book.write()
        assert error.value.problem == problems.AUDIT_DOWN.problem()
        book.redis.rename("aside", AUDIT_STREAM)
        book.write()
        assert [item.number for item in book.items()] == [2, 1]
        assert book.verified().done

    def test_a_stream_that_is_full_says_so(self, book: Book) -> None:
        book.audit = AuditLog(book.store, AuditStream(book.redis, waiting_bytes_max=100), SECRETS, lambda: AT)
        book.write()
        with pytest.raises(ProblemError) as error:
            book.write()
        assert error.value.problem == problems.AUDIT_FULL.problem()
        book.archived()
        book.write()
        assert [item.number for item in book.items()] == [2, 1]

    def test_a_log_of_another_process_goes_on_where_this_one_stands(self, book: Book) -> None:
        other = book.reopened()
        for number in range(4):
            (book.audit, other)[number % 2].write(AT, TOKEN, Action.CASE_READ, str(number), "a good purpose")
        assert [item.object for item in book.items()] == ["3", "2", "1", "0"]
        assert book.verified().done

    def test_a_look_at_many_people_leaves_several_entries(self, book: Book) -> None:
        people = [f"{number:032x}" for number in range(2 * PEOPLE_PER_ENTRY_MAX + 1)]
        book.write(people=[*people, people[0]])
        items = book.items()
        assert [len(item.people) for item in items] == [1, PEOPLE_PER_ENTRY_MAX, PEOPLE_PER_ENTRY_MAX]
        assert {tag for item in items for tag in item.people} == {person_tag(one, SECRETS) for one in people}
        assert book.verified().done

    def test_an_opening_leaves_an_entry_for_each_person(self, book: Book) -> None:
        people = [SUBJECT.hex(), OTHER_SUBJECT.hex(), SUBJECT.hex()]
        book.audit.write_each(AT, TOKEN, Action.CASE_READ, "x", "a good purpose", people=people)
        assert [item.people for item in reversed(book.items())] == [(person_tag(one, SECRETS),) for one in people[:2]]

    def test_many_threads_write_one_chain(self, book: Book) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: book.write(str(number)), range(200)))
        assert sorted(int(item.object) for item in book.items()) == list(range(200))
        assert book.verified().done

    def test_a_thread_hears_of_its_own_fault_and_nobody_waits_for_ever(self, book: Book) -> None:
        book.redis.set(AUDIT_STREAM, "no stream")
        faults: list[ProblemError] = []

        def look() -> None:
            try:
                book.write()
            except ProblemError as error:
                faults.append(error)

        threads = [threading.Thread(target=look) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(faults) == 6

    def test_how_long_an_entry_was_waited_for_is_told_of_each(self, book: Book) -> None:
        waits: list[float] = []
        audit = AuditLog(book.store, book.stream, SECRETS, lambda: AT, on_waited=waits.append)
        audit.write(AT, TOKEN, Action.CASE_READ, "1", "a good purpose")
        audit.write_each(AT, TOKEN, Action.CASE_READ, "2", "a good purpose", people=[SUBJECT.hex()])
        assert len(waits) == 2
        book.redis.set(AUDIT_STREAM, "no stream")
        with pytest.raises(ProblemError):
            audit.write(AT, TOKEN, Action.CASE_READ, "3", "a good purpose")
        assert len(waits) == 3
        assert all(seconds > 0 for seconds in waits)

    def test_nobody_takes_an_append_that_was_stopped_for_done(
        self, book: Book, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One thread appends for all; where it is stopped the others hear of it."""

        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(book.stream, "append", stopped)
        writer = AuditWriter(book.stream, lambda: START, lambda _: draft("resumed", 1))
        other = Wanted([draft("other", 1)])
        monkeypatch.setattr(writer, "_wanted", [other])
        with pytest.raises(KeyboardInterrupt):
            writer.append([draft("own", 1)])
        assert other.done
        assert isinstance(other.fault, StreamDown)


@in_process
class TestAStreamThatForgets:
    def test_the_chain_goes_on_behind_what_the_store_has_and_says_so(self, book: Book) -> None:
        book.fill(5, archived=3)
        book.redis.flushall()
        book.write("after the loss")
        items = book.items()
        assert [(item.number, item.action, item.object) for item in items[:2]] == [
            (5, "case-read", "after the loss"),
            (4, "audit-resumed", "3"),
        ]
        assert book.verified().done

    def test_a_stream_that_came_back_from_a_backup_is_led_forward(self, book: Book) -> None:
        book.fill(4, archived=4)
        book.redis.hset(AUDIT_HEAD, mapping={"number": 2, "hash": bytes.fromhex(book.items()[2].hash)})
        book.audit = book.reopened()
        book.write("later")
        assert [item.number for item in book.items()] == [6, 5, 4, 3, 2, 1]
        book.archived()
        assert book.verified().done

    def test_a_writer_that_was_there_sees_that_the_stream_went_back(self, book: Book) -> None:
        """The stream's server came back as it was earlier, and the connection was mended unseen."""
        book.fill(2, archived=0)
        older = {key: book.redis.dump(key) or b"" for key in (AUDIT_STREAM, AUDIT_HEAD)}
        book.fill(2, archived=2)
        for key, value in older.items():
            book.redis.restore(key, 0, value, replace=True)
        book.write("f0-5")
        book.archived()
        actions = [(item.number, item.action) for item in book.items()]
        assert actions == [(6, "case-read"), (5, "audit-resumed"), *((number, "case-read") for number in (4, 3, 2, 1))]
        assert book.verified().broken is None

    def test_the_first_entry_of_all_needs_no_such_word(self, book: Book) -> None:
        book.write()
        assert [item.action for item in book.items()] == ["case-read"]

    def test_a_head_that_is_lost_alone_is_found_again(self, book: Book) -> None:
        book.fill(5, archived=3)
        book.redis.delete(AUDIT_HEAD)
        with pytest.raises(ProblemError):
            book.write()  # entries wait whose numbers would be given twice
        book.archived()
        book.write()
        assert [item.number for item in book.items()] == [7, 6, 5, 4, 3, 2, 1]
        assert book.verified().done


def test_writers_of_several_processes_keep_one_chain(redis_url: str, valkey: "redis.Redis") -> None:
    names, count = ("one", "two", "three"), 60
    writer(redis_url).append([draft("first", 0)])
    command = [sys.executable, "-m", "tests.tracing.audit_process", redis_url]
    processes = [
        subprocess.Popen(
            [*command, name, str(count)], cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in names
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=EXIT_SECONDS_MAX)
    assert [process.returncode for process in processes] == [0, 0, 0]
    links = AuditStream(valkey).waiting()
    rows = [Row(codec.from_json(link.entry, AuditEvent), link.hash) for link in links]
    head, broken = walked(START, rows, upto=1 + len(names) * count)
    assert broken is None
    assert head == AuditStream(valkey).head()
    written = sorted((row.event.actor, int(row.event.object)) for row in rows)
    assert written == sorted([("first", 0), *((name, number) for name in names for number in range(count))])


LAST: Final = 12
AT_ONCE: Final = "SETTINGS mutations_sync = 2"
SPOILT: Final[list[tuple[str, str, int, Damage]]] = [
    ("altered", "ALTER TABLE audit_chain UPDATE purpose = 'harmless' WHERE number = 5", 5, Damage.ALTERED),
    ("who", "ALTER TABLE audit_chain UPDATE actor = 'nobody', token = '' WHERE number = 5", 5, Damage.ALTERED),
    ("whom", "ALTER TABLE audit_chain UPDATE people = arrayPopBack(people) WHERE number = 5", 5, Damage.ALTERED),
    ("removed", "ALTER TABLE audit_chain DELETE WHERE number IN (5, 6)", 5, Damage.REMOVED),
    ("the first", "ALTER TABLE audit_chain DELETE WHERE number = 1", 1, Damage.REMOVED),
    ("truncated", "ALTER TABLE audit_chain DELETE WHERE number >= 11", LAST, Damage.TRUNCATED),
    ("all", "ALTER TABLE audit_chain DELETE WHERE 1", LAST, Damage.TRUNCATED),
    ("twice", "INSERT INTO audit_chain SELECT * FROM audit_chain WHERE number = 5", 5, Damage.INSERTED),
    (
        "inserted",
        "INSERT INTO audit_chain SELECT * REPLACE(toFixedString(repeat('x', 32), 32) AS hash) FROM audit_chain"
        " WHERE number = 5",
        5,
        Damage.INSERTED,
    ),
]


@in_process
class TestVerifying:
    @pytest.mark.parametrize(("_name", "statement", "number", "kind"), SPOILT, ids=[each[0] for each in SPOILT])
    def test_whatever_is_done_to_the_store_is_found(
        self, book: Book, _name: str, statement: str, number: int, kind: Damage
    ) -> None:
        book.fill(LAST, archived=LAST)
        assert book.verified().done
        book.store.command(statement if statement.startswith("INSERT") else f"{statement} {AT_ONCE}")
        broken = book.verified().broken
        assert broken is not None
        assert (broken.number, broken.kind) == (number, kind)

    def test_entries_that_changed_places_are_found(self, book: Book) -> None:
        book.fill(LAST, archived=LAST)
        book.store.command("CREATE TABLE aside AS audit_chain")
        book.store.command(
            "INSERT INTO aside SELECT * REPLACE(transform(number, [5, 7], [7, 5], number) AS number) FROM audit_chain"
        )
        book.store.command("EXCHANGE TABLES aside AND audit_chain")
        broken = book.verified().broken
        book.store.command("DROP TABLE aside SYNC")
        assert broken is not None
        assert (broken.number, broken.kind) == (5, Damage.REORDERED)

    def test_an_entry_that_waits_is_followed_too(self, book: Book) -> None:
        book.fill(LAST, archived=9)
        waiting = book.stream.waiting()
        book.redis.delete(AUDIT_STREAM)
        for number, link in ((10, waiting[1]), (12, waiting[2])):
            book.redis.xadd(AUDIT_STREAM, {"h": link.hash, "e": link.entry}, id=f"{number}-0")
        broken = book.verified().broken
        assert broken is not None
        assert broken.number == 10

    def test_a_checkpoint_that_was_kept_tells_of_an_end_cut_off_everywhere(self, book: Book) -> None:
        book.fill(LAST, archived=LAST)
        kept = book.audit.head()
        assert (kept.number, kept.hash) == (LAST, book.items()[0].hash)
        assert book.audit.verify(START, kept, answers=False).done
        book.store.command(f"ALTER TABLE audit_chain DELETE WHERE number > 7 {AT_ONCE}")
        [(last,)] = book.store.rows("SELECT hash FROM audit_chain WHERE number = 7")
        book.redis.hset(AUDIT_HEAD, mapping={"number": 7, "hash": last})
        assert book.verified().done
        broken = book.audit.verify(START, kept, answers=False).broken
        assert broken is not None
        assert (broken.number, broken.kind) == (LAST, Damage.TRUNCATED)

    def test_a_checkpoint_that_was_kept_tells_of_another_history(self, book: Book) -> None:
        book.fill(5, archived=5)
        kept = book.audit.head()
        book.store.command("TRUNCATE TABLE audit_chain")
        book.redis.flushall()
        book.audit = book.reopened()
        book.fill(8, archived=8)
        other = AuditLog(book.store, book.stream, SECRETS, lambda: AT)
        book.write("f0-9")
        assert book.verified().done
        assert other.verify(START, kept, answers=False).broken is None  # to the byte what was there before
        book.store.command("TRUNCATE TABLE audit_chain")
        book.redis.flushall()
        book.audit = book.reopened()
        for number in range(8):
            book.write(f"other-{number}")
        broken = book.audit.verify(START, kept, answers=False).broken
        assert broken is not None
        assert (broken.number, broken.kind) == (5, Damage.REWRITTEN)

    def test_a_strangers_checkpoint_is_refused(self, book: Book) -> None:
        stranger = AuditLog(book.store, book.stream, new_secrets(counting("x"), AT), lambda: AT)
        book.write()
        with pytest.raises(ProblemError) as error:
            book.audit.verify(START, stranger.head(), answers=False)
        assert error.value.problem == problems.CHECKPOINT_FOREIGN.problem(pointer="/checkpoint")

    def test_a_walk_goes_on_step_by_step(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tracing.audit_verify.STEP_ENTRIES", 4)
        monkeypatch.setattr("tracing.audit_verify.BEHIND_ENTRIES", 2)
        book.fill(10, archived=6)
        kept = book.audit.head()
        steps, head = [], START
        while True:
            step = book.audit.verify(head, kept, answers=False)
            steps.append((step.after, step.number, step.end, step.done))
            head = Head(step.number, bytes.fromhex(step.hash))
            if step.done or step.broken is not None:
                break
        assert steps == [(0, 4, 10, False), (4, 8, 10, False), (8, 10, 10, True)]

    def test_an_empty_log_is_whole(self, book: Book) -> None:
        assert book.verified().done
        assert book.audit.head().number == 0


def answer_of(number: int, *people: bytes, size: int = 0) -> SavedAnswer:
    contacts = ",".join(f'{{"subject":"{one.hex()}"}}' for one in people)
    body = f'{{"n":{number},"t":"Chợ \\u0000 \\" \\\\","contacts":[{contacts}],"x":"{"x" * size}"}}'.encode()
    trace = SavedTrace(id=f"trace-{number}", asked_at=AT + number // 2, actor="A", fingerprint="0a" * 32)
    return saving(trace, question=b"{}", answer=body)


def ask(book: Book, saved: SavedAnswer) -> None:
    book.audit.write(AT, TOKEN, Action.TRACE_ASKED, saved.id, "a good purpose", saving=saved)


class TestSaved:
    @pytest.mark.parametrize("limit", [1, 2, 5])
    @pytest.mark.parametrize("archived", [0, 2, 5])
    def test_saved_traces_are_listed_newest_first_and_read_to_the_byte(
        self, book: Book, limit: int, archived: int
    ) -> None:
        answers = [answer_of(number) for number in range(5)]
        for number, saved in enumerate(answers):
            if number == archived:
                book.archived()
            ask(book, saved)
        read: list[SavedTrace] = []
        page = book.saved.page(limit, None)
        while True:
            read += page.items
            assert len(read) <= len(answers), "the pages repeat themselves"
            if page.next is None:
                break
            page = book.saved.page(limit, page.next)
        assert [trace.id for trace in read] == [f"trace-{number}" for number in (4, 3, 2, 1, 0)]
        assert {trace.fingerprint for trace in read} == {"0a" * 32}
        assert [book.saved.answer(saved.id) for saved in answers] == [saved.answer for saved in answers]
        assert book.saved.answer("trace-9") is None

    def test_a_large_answer_is_in_the_store_before_it_is_given(self, book: Book) -> None:
        large, small = answer_of(0, SUBJECT, size=SAVED_STREAM_BYTES_MAX), answer_of(1, SUBJECT)
        ask(book, large)
        ask(book, small)
        assert book.store.rows("SELECT id FROM traces") == [("trace-0",)]
        assert book.saved.answer("trace-0") == large.answer
        book.archived()
        assert sorted(book.store.rows("SELECT id FROM traces")) == [("trace-0",), ("trace-1",)]
        assert book.verified(answers=True).answers == 2

    def test_traces_are_found_by_whom_they_name(self, book: Book) -> None:
        ask(book, answer_of(0, SUBJECT))
        ask(book, answer_of(1, SUBJECT, OTHER_SUBJECT))
        book.archived()
        ask(book, answer_of(2, OTHER_SUBJECT))
        assert book.saved.naming(SUBJECT.hex()) == ["trace-0", "trace-1"]
        assert book.saved.naming(OTHER_SUBJECT.hex()) == ["trace-1", "trace-2"]

    def test_whoever_is_asked_about_finds_what_names_them(self, book: Book) -> None:
        ask(book, answer_of(0, SUBJECT))
        book.write("f0-1", people=[OTHER_SUBJECT.hex()])
        shown = [OTHER_SUBJECT.hex()]
        book.audit.write_each(AT, TOKEN, Action.PERSON_REVEALED, "trace-0", "a good purpose", people=shown)
        book.archived()
        ask(book, answer_of(1, SUBJECT, OTHER_SUBJECT))
        book.audit.write(AT, TOKEN, Action.TRACE_READ, "trace-0", "looking again")
        book.write("f0-2", people=[SUBJECT.hex()])

        def about(subject: bytes, limit: int) -> list[str]:
            found, cursor = [], None
            while True:
                page = book.audit.about(subject.hex(), book.saved.naming(subject.hex()), limit, cursor)
                found += [f"{item.action} {item.object}" for item in page.items]
                if page.next is None:
                    return found
                cursor = page.next

        for limit in (1, 2, 100):
            assert about(SUBJECT, limit) == [
                "case-read f0-2",
                "trace-read trace-0",
                "trace-asked trace-1",
                "trace-asked trace-0",
            ]
            assert about(OTHER_SUBJECT, limit) == [
                "trace-asked trace-1",
                "person-revealed trace-0",
                "case-read f0-1",
            ]

    def test_a_saved_answer_that_was_changed_is_found(self, book: Book) -> None:
        for number in range(3):
            ask(book, answer_of(number, SUBJECT))
        book.archived()
        assert book.verified(answers=True).answers == 3
        altered = "answer = replace(answer, 'x', 'y')"
        book.store.command(f"ALTER TABLE traces UPDATE {altered} WHERE id = 'trace-1' {AT_ONCE}")
        assert book.verified().done
        assert book.verified(answers=True).broken == Break(
            number=2, kind=Damage.ANSWER_ALTERED, text="the saved answer is not the one that was given"
        )

    def test_a_long_answer_that_was_changed_is_found_and_one_that_goes_is_not_taken_for_it(self, book: Book) -> None:
        ask(book, answer_of(0, SUBJECT, size=3 * SAVED_STREAM_BYTES_MAX))
        book.archived()
        assert book.verified(answers=True).answers == 1
        book.store.command(f"ALTER TABLE trace_pieces UPDATE piece = reverse(piece) WHERE number = 0 {AT_ONCE}")
        broken = book.verified(answers=True).broken
        assert broken is not None
        assert (broken.number, broken.kind) == (1, Damage.ANSWER_ALTERED)
        book.store.command(f"ALTER TABLE trace_pieces DELETE WHERE trace = 'trace-0' {AT_ONCE}")
        found = book.verified(answers=True)
        assert (found.done, found.answers, found.answers_gone) == (True, 0, 1)

    def test_an_answer_that_is_kept_no_longer_breaks_nothing(self, book: Book) -> None:
        for number in range(3):
            ask(book, answer_of(number, SUBJECT))
        book.archived()
        book.store.command(f"ALTER TABLE traces DELETE WHERE id = 'trace-1' {AT_ONCE}")
        found = book.verified(answers=True)
        assert (found.done, found.answers, found.answers_gone) == (True, 2, 1)


@in_process
def test_a_store_that_is_down_is_told_at_the_first_entry(book: Book) -> None:
    """Where the chain ended is not known yet."""
    book.store.command("RENAME TABLE audit_chain TO elsewhere")
    with pytest.raises(StoreDown):
        book.write()
    book.store.command("RENAME TABLE elsewhere TO audit_chain")
    book.write()


@pytest.mark.parametrize("text", [None, "", " " * 50, "too short", "  123456789  ", "x" * 501])
def test_a_purpose_is_required(text: str | None) -> None:
    with pytest.raises(ProblemError) as error:
        purpose_of(text, pointer="/purpose")
    assert (error.value.problem.status, error.value.problem.pointer) == (422, "/purpose")
    assert error.value.problem.type.endswith("/purpose-missing")


@pytest.mark.parametrize("text", ["x" * 10, "x" * 500, "Điều tra ca"])
def test_a_purpose_is_taken_without_the_space_around_it(text: str) -> None:
    assert purpose_of(f" \n{text}\t") == text
