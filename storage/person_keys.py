"""The people's own keys, wrapped: a file apart from log, store and stream, so that no backup of those has it.

Whoever is erased leaves this file for good; a tombstone stays, so that no later import brings them back unnoticed. One
machine has the file; several processes there may use it. SQLite overwrites what it deletes (`secure_delete`), and its
write-ahead log is emptied after an erasure.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from storage.errors import StoreDown

BUSY_SECONDS_MAX: Final = 10.0
BUSY_POLL_SECONDS: Final = 0.01
VALUES_A_QUERY: Final = 500
DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600

T = TypeVar("T")

_CODE: Final = 0xFF
"""The part of SQLite's extended error codes that says what kind of error it is."""

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS person_keys"
    " (subject BLOB PRIMARY KEY, kid INTEGER NOT NULL, wrapped BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS by_kid ON person_keys (kid)",
    "CREATE TABLE IF NOT EXISTS erased (subject BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
)


class PersonKeysDown(StoreDown):
    """The file of the people's keys cannot be opened or written."""


class WrappedKey(msgspec.Struct, frozen=True):
    """Somebody's key: pseudonym (16 bytes), the master key's number, and the key under that."""

    subject: bytes
    kid: int
    wrapped: bytes


class PersonKeys:
    """The file; opened when it is first used. Thread-safe. Every method raises `PersonKeysDown`."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._local: Final = threading.local()
        self._open: Final[list[sqlite3.Connection]] = []
        self._lock: Final = threading.Lock()

    def of(self, subjects: Sequence[bytes]) -> dict[bytes, WrappedKey]:
        """The keys of those who have one."""
        return {key.subject: key for key in self._read(subjects, "SELECT subject, kid, wrapped FROM person_keys", _key)}

    def erased(self, subjects: Sequence[bytes]) -> dict[bytes, int]:
        """When (Unix ms) those of them were erased who were."""
        return dict(self._read(subjects, "SELECT subject, at FROM erased", lambda row: (row[0], row[1])))

    def add(self, keys: Sequence[WrappedKey]) -> dict[bytes, WrappedKey]:
        """Keep keys of people who have none and are not erased. Returns those in force: others may have been faster."""
        with self._changing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO person_keys SELECT ?1, ?2, ?3"
                " WHERE NOT EXISTS (SELECT 1 FROM erased WHERE subject = ?1)",
                [(key.subject, key.kid, key.wrapped) for key in keys],
            )
        return self.of([key.subject for key in keys])

    def erase(self, subject: bytes, at: int) -> bool:
        """Destroy somebody's key for good; `at` in Unix ms. False where there was none; they count as erased, too."""
        with self._changing() as connection:
            gone = connection.execute("DELETE FROM person_keys WHERE subject = ?", (subject,)).rowcount
            connection.execute("INSERT OR IGNORE INTO erased VALUES (?, ?)", (subject, at))
        self._emptied()
        return bool(gone)

    def readmit(self, subject: bytes) -> bool:
        """Let somebody who was erased be entered anew; what was erased stays so. False where they were not."""
        with self._changing() as connection:
            return bool(connection.execute("DELETE FROM erased WHERE subject = ?", (subject,)).rowcount)

    def wrapped_by_others(self, kid: int, limit: int, after: bytes = b"") -> list[WrappedKey]:
        """Keys that another master than `kid` wraps, of those by pseudonym who come after one of them."""
        sql = "SELECT subject, kid, wrapped FROM person_keys WHERE kid <> ? AND subject > ? ORDER BY subject LIMIT ?"
        with self._asking() as connection:
            return [_key(row) for row in connection.execute(sql, (kid, after, limit))]

    def rewrap(self, keys: Sequence[tuple[WrappedKey, WrappedKey]]) -> None:
        """Put each second key in the first one's place, where that is there still."""
        with self._changing() as connection:
            connection.executemany(
                "UPDATE person_keys SET kid = ?, wrapped = ? WHERE subject = ? AND wrapped = ?",
                [(fresh.kid, fresh.wrapped, old.subject, old.wrapped) for old, fresh in keys],
            )
        self._emptied()

    def counts(self) -> dict[int, int]:
        """How many keys each master wraps, by its number."""
        with self._asking() as connection:
            return dict(connection.execute("SELECT kid, count(*) FROM person_keys GROUP BY kid ORDER BY kid"))

    def close(self) -> None:
        """Close the file in every thread."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._local.__dict__.clear()

    def _read(self, subjects: Sequence[bytes], sql: str, made: Callable[[tuple[bytes, int, bytes]], T]) -> Iterator[T]:
        with self._asking() as connection:
            for start in range(0, len(subjects), VALUES_A_QUERY):
                piece = subjects[start : start + VALUES_A_QUERY]
                marks = ",".join("?" * len(piece))
                for row in connection.execute(f"{sql} WHERE subject IN ({marks})", piece):
                    yield made(row)

    def _emptied(self) -> None:
        """Bring the write-ahead log into the file and cut it off: both may hold what was there before.

        Somebody who reads all the while, such as a backup, keeps it from that: then nothing counts as destroyed yet.
        """
        with self._asking() as connection:
            [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise PersonKeysDown("the people's keys: another program reads the file, so what was erased is still there")

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._asking() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection()
        except (sqlite3.Error, OSError) as error:
            raise PersonKeysDown(f"the people's keys: {type(error).__name__}") from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._opened()
            with self._lock:
                self._open.append(connection)
        return connection

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        self._path.touch(mode=FILE_MODE)
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS_MAX, isolation_level=None, check_same_thread=False
        )
        try:
            _log_ahead(connection)
            for pragma in ("synchronous = FULL", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            for table in _TABLES:
                connection.execute(table)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on. SQLite refuses, and does not wait, where others open a new file at the same time."""
    until = time.monotonic() + BUSY_SECONDS_MAX
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _CODE != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(BUSY_POLL_SECONDS)


def _key(row: tuple[bytes, int, bytes]) -> WrappedKey:
    return WrappedKey(*row)
