"""The people's keys: kept, erased so that not a byte is left, never brought back."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from storage.person_keys import PersonKeys, PersonKeysDown, WrappedKey

AN, BINH, CHI = (bytes([number]) * 16 for number in range(3))


def key(subject: bytes, text: str = "a wrapped key that is easily recognised", kid: int = 1) -> WrappedKey:
    return WrappedKey(subject, kid, text.encode() + subject)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people" / "keys.sqlite"


@pytest.fixture
def keys(path: Path) -> Iterator[PersonKeys]:
    keys = PersonKeys(path)
    yield keys
    keys.close()


def test_keys_come_back_also_in_another_process(keys: PersonKeys, path: Path) -> None:
    assert keys.add([key(AN), key(BINH)]) == {AN: key(AN), BINH: key(BINH)}
    other = PersonKeys(path)
    assert other.of([AN, CHI]) == {AN: key(AN)}
    other.close()


def test_only_the_services_user_reads_the_file(keys: PersonKeys, path: Path) -> None:
    keys.add([key(AN)])
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_who_has_a_key_keeps_it(keys: PersonKeys) -> None:
    keys.add([key(AN)])
    assert keys.add([key(AN, "another"), key(BINH)]) == {AN: key(AN), BINH: key(BINH)}


def test_more_people_than_fit_into_a_question(keys: PersonKeys) -> None:
    many = [key(number.to_bytes(16)) for number in range(1_201)]
    assert len(keys.add(many)) == 1_201
    assert keys.of([one.subject for one in many]) == {one.subject: one for one in many}


def test_an_erased_key_leaves_no_byte_behind(keys: PersonKeys, path: Path) -> None:
    keys.add([key(number.to_bytes(16), f"key number {number:04}") for number in range(100, 150)])
    keys.add([key(AN)])
    assert key(AN).wrapped in b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert keys.erase(AN, 7)
    assert key(AN).wrapped not in b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert keys.of([AN]) == {}
    assert keys.erased([AN, BINH]) == {AN: 7}


def test_whoever_is_erased_stays_so_until_they_are_readmitted(keys: PersonKeys) -> None:
    assert not keys.erase(AN, 7)
    assert keys.add([key(AN)]) == {}
    assert not keys.erase(AN, 9)
    assert keys.erased([AN]) == {AN: 7}
    assert keys.readmit(AN)
    assert not keys.readmit(AN)
    assert keys.add([key(AN)]) == {AN: key(AN)}


def test_keys_are_wrapped_anew_unless_they_are_gone(keys: PersonKeys, path: Path) -> None:
    keys.add([key(AN), key(BINH), key(CHI, kid=2)])
    old = keys.wrapped_by_others(2, 10)
    assert {one.subject for one in old} == {AN, BINH}
    assert [one.subject for one in keys.wrapped_by_others(2, 1)] == [min(AN, BINH)]
    assert [one.subject for one in keys.wrapped_by_others(2, 10, min(AN, BINH))] == [max(AN, BINH)]
    keys.erase(BINH, 7)
    keys.rewrap([(one, key(one.subject, "anew", 2)) for one in old])
    assert keys.wrapped_by_others(2, 10) == []
    assert keys.of([AN, BINH, CHI]) == {AN: key(AN, "anew", 2), CHI: key(CHI, kid=2)}
    assert keys.counts() == {2: 2}
    assert key(AN).wrapped not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_many_threads_at_once(keys: PersonKeys) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: keys.add([key((number % 40).to_bytes(16))]), range(200)))
    assert keys.counts() == {1: 40}


def test_whoever_is_faster_names_the_key(path: Path) -> None:
    both = threading.Barrier(2)

    def enter(text: str) -> bytes:
        mine = PersonKeys(path)
        both.wait()
        found = mine.add([key(AN, text)])[AN].wrapped
        mine.close()
        return found

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(enter, ("one", "other"))
    assert one == other


def test_a_file_that_cannot_be_used_is_a_store_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite").write_bytes(b"no database at all, but long enough to be read as one" * 20)
    with pytest.raises(PersonKeysDown):
        PersonKeys(tmp_path / "keys.sqlite").of([AN])
    with pytest.raises(PersonKeysDown):
        PersonKeys(tmp_path / "keys.sqlite" / "below").of([AN])


def test_what_could_not_be_overwritten_does_not_count_as_erased(
    keys: PersonKeys, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.person_keys.BUSY_SECONDS_MAX", 0.1)
    keys.add([key(AN)])
    with closing(sqlite3.connect(path, isolation_level=None)) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT count(*) FROM person_keys").fetchall()
        with pytest.raises(PersonKeysDown, match="another program reads"):
            keys.erase(AN, 1)
        backup.execute("COMMIT")
    keys.erase(AN, 2)
    assert (keys.of([AN]), keys.erased([AN])) == ({}, {AN: 1})
    assert key(AN).wrapped not in b"".join(file.read_bytes() for file in path.parent.iterdir())
