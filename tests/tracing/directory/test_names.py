"""The directory over a real store and a real file of keys: safe to repeat, erased for good, rotated without a trace."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from keys.secrets import new_secrets, with_new_directory_key, without_old_directory_keys
from storage.clickhouse import Store, migrate
from storage.person_keys import PersonKeys, PersonKeysDown
from tests.keys.samples import NOW
from tracing.directory.line_list import Entry, Person
from tracing.directory.names import Directory

WAIT_SECONDS_MAX = 60.0
AN, BINH, CHI = (bytes([number]) * 16 for number in range(1, 4))


class Book:
    """A directory with its file of keys and a clock that goes on with every reading."""

    def __init__(self, store: Store, path: Path) -> None:
        self.store = store
        self.keys = PersonKeys(path)
        self.secrets = new_secrets(os.urandom, NOW)
        self._now = NOW

    def directory(self) -> Directory:
        return Directory(self.store, self.keys, self.secrets, clock=self.clock, random=os.urandom)

    def clock(self) -> int:
        self._now += 1
        return self._now

    def enter(self, *entries: Entry) -> tuple[int, int, int, int]:
        """How many are new, changed, unchanged, refused."""
        directory = self.directory()
        found = directory.examined(entries)
        directory.enter([*found.new, *found.changed])
        return len(found.new), len(found.changed), found.unchanged, len(found.errors)

    def names(self, *subjects: bytes) -> dict[bytes, str]:
        return {subject: person.name for subject, person in self.directory().opened(subjects).items()}

    def rows(self) -> list[bytes]:
        return [bytes.fromhex(row[0]) for row in self.store.rows("SELECT hex(sealed) FROM directory ORDER BY entered")]


def entry(subject: bytes, name: str, line: int = 2) -> Entry:
    return Entry(line, subject, Person(name=name, phone="+84 24 3333 0000", birth_year=1985))


@pytest.fixture(scope="module", params=["chdb", "http"])
def made(request: pytest.FixtureRequest) -> Iterator[Store]:
    http = request.param == "http"
    url = request.getfixturevalue("clickhouse_http").url if http else request.getfixturevalue("chdb_url")
    store = Store(url, database="test_directory")
    migrate(store)
    yield store
    store.command("DROP DATABASE test_directory SYNC")
    store.close()


@pytest.fixture
def book(made: Store, tmp_path: Path) -> Iterator[Book]:
    made.command("TRUNCATE TABLE directory")
    book = Book(made, tmp_path / "keys.sqlite")
    yield book
    book.keys.close()


def test_what_is_entered_is_opened_and_lies_sealed(book: Book) -> None:
    assert book.enter(entry(AN, "Nguyễn Văn An"), entry(BINH, "Trần Thị Bình")) == (2, 0, 0, 0)
    assert book.directory().opened([AN, CHI]) == {AN: entry(AN, "Nguyễn Văn An").person}
    assert not any(b"Nguy" in row or b"3333" in row for row in book.rows())
    one, other = book.rows()
    assert len(one) == len(other)


def test_the_same_list_again_changes_nothing_and_another_one_counts(book: Book) -> None:
    book.enter(entry(AN, "Nguyễn Văn An"), entry(BINH, "Trần Thị Bình"))
    assert book.enter(entry(AN, "Nguyễn Văn An"), entry(BINH, "Trần Thị Bình")) == (0, 0, 2, 0)
    assert len(book.rows()) == 2
    assert book.enter(entry(AN, "Nguyễn Văn Anh"), entry(BINH, "Trần Thị Bình")) == (0, 1, 1, 0)
    assert book.names(AN, BINH) == {AN: "Nguyễn Văn Anh", BINH: "Trần Thị Bình"}


def test_looking_what_a_list_would_do_does_nothing(book: Book) -> None:
    assert len(book.directory().examined([entry(AN, "A")]).new) == 1
    assert book.rows() == []
    assert book.directory().key_counts() == {}


def test_nobodys_record_passes_for_another_persons(book: Book) -> None:
    book.enter(entry(AN, "Nguyễn Văn An"), entry(BINH, "Trần Thị Bình"))
    book.store.command(
        "INSERT INTO directory SELECT unhex({other:String}), entered + 100, sealed FROM directory"
        " WHERE hex(subject) = upper({one:String})",
        {"one": AN.hex(), "other": BINH.hex()},
    )
    assert book.names(AN, BINH) == {AN: "Nguyễn Văn An"}


def test_erasing_somebody_takes_the_name_from_everywhere(book: Book) -> None:
    """The rows that a backup or a rebuild brings back are the sealed ones, and nothing opens them any more."""
    book.enter(entry(AN, "Nguyễn Văn An"), entry(BINH, "Trần Thị Bình"))
    backup = book.store.rows("SELECT hex(subject), entered, hex(sealed) FROM directory")
    assert book.directory().erase(AN)
    assert not book.directory().erase(AN)
    book.store.command("TRUNCATE TABLE directory")
    rows = [(bytes.fromhex(subject), entered, bytes.fromhex(sealed)) for subject, entered, sealed in backup]
    book.store.insert("directory", ("subject", "entered", "sealed"), rows)
    assert len(book.rows()) == 2
    assert book.names(AN, BINH) == {BINH: "Trần Thị Bình"}


def test_no_list_brings_somebody_back_unless_they_are_readmitted(book: Book) -> None:
    book.enter(entry(AN, "Nguyễn Văn An"))
    old = book.rows()
    book.directory().erase(AN)
    found = book.directory().examined([entry(AN, "Nguyễn Văn An", line=7), entry(BINH, "B")])
    assert ([error.line for error in found.errors], len(found.new)) == ([7], 1)
    book.directory().enter([entry(AN, "Nguyễn Văn An")])  # as one would that was on its way already
    assert book.names(AN) == {}
    assert book.rows() == old
    assert book.directory().readmit(AN)
    assert book.enter(entry(AN, "Nguyễn An")) == (1, 0, 0, 0)
    assert book.names(AN) == {AN: "Nguyễn An"}


def test_a_rotation_wraps_the_keys_anew_and_touches_no_record(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracing.directory.names.REWRAP_KEYS", 3)
    people = [entry(bytes([number]) * 16, f"Person {number}") for number in range(10)]
    book.enter(*people)
    sealed = book.rows()
    before = {key.subject: key.wrapped for key in book.keys.of([one.subject for one in people]).values()}
    book.secrets = with_new_directory_key(book.secrets, os.urandom, NOW)
    assert len(book.names(*before)) == 10
    stop = threading.Event()
    worker = threading.Thread(target=book.directory().run, args=(stop,))
    worker.start()
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while book.directory().key_counts() != {2: 10} and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    worker.join()
    assert book.directory().key_counts() == {2: 10}
    assert book.rows() == sealed
    after = {key.subject: key.wrapped for key in book.keys.of([one.subject for one in people]).values()}
    assert not set(before.values()) & set(after.values())
    book.secrets = without_old_directory_keys(book.secrets)
    assert len(book.names(*before)) == 10


def test_a_key_that_cannot_be_unwrapped_is_counted_and_keeps_no_other_from_being_wrapped_anew(
    book: Book, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tracing.directory.names.REWRAP_KEYS", 3)
    people = [entry(bytes([number]) * 16, f"Person {number}") for number in range(10)]
    book.enter(*people)
    known = book.keys.of([one.subject for one in people])
    broken = [known[people[number].subject] for number in (0, 1, 2, 7)]  # a whole step of them, and one in another
    spoiled = [msgspec.structs.replace(key, wrapped=key.wrapped[:-1] + bytes([key.wrapped[-1] ^ 1])) for key in broken]
    book.keys.rewrap(list(zip(broken, spoiled, strict=True)))
    book.secrets = with_new_directory_key(book.secrets, os.urandom, NOW)
    directory, stop = book.directory(), threading.Event()
    worker = threading.Thread(target=directory.run, args=(stop,))
    worker.start()
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not (directory.broken and "cannot be unwrapped" in caplog.text) and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    worker.join()
    assert (directory.broken, directory.key_counts()) == (4, {1: 4, 2: 6})
    assert "older directory key: 4" in caplog.text
    assert not any(one.subject.hex() in caplog.text for one in people)
    assert book.names(*known).keys() == known.keys() - {key.subject for key in spoiled}


def test_a_copy_of_the_keys_from_before_opens_nothing_once_the_old_master_is_destroyed(book: Book) -> None:
    """So whoever was erased in between is erased in that copy, too."""
    book.enter(entry(AN, "Nguyễn Văn An"))
    copy = list(book.keys.of([AN]).values())
    book.secrets = without_old_directory_keys(with_new_directory_key(book.secrets, os.urandom, NOW))
    book.directory().erase(AN)
    book.directory().readmit(AN)
    book.keys.add(copy)
    assert book.names(AN) == {}


def test_a_key_file_of_an_earlier_build_says_what_to_do(book: Book) -> None:
    book.secrets = msgspec.structs.replace(book.secrets, directory_keys=())
    with pytest.raises(PersonKeysDown, match="truyvet migrate"):
        book.enter(entry(AN, "A"))
