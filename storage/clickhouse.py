"""ClickHouse through clickhouse-connect: a server over HTTP, or the same engine in this process (chDB).

One client per thread: a client is one session, and one that streams answers nobody else. Queries carry their
values as server-side parameters (`{name:Type}`), never in their text.
"""

import functools
import re
import threading
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, cast

import clickhouse_connect
import numpy as np
import orjson
from clickhouse_connect.driver import httputil
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from numpy.typing import NDArray

from storage.cluster import QUERY_SETTINGS, Cluster
from storage.errors import StoreDown
from storage.native import Columns, columns_of

CONNECT_SECONDS_MAX: Final = 5
QUERY_SECONDS_MAX: Final = 300
CONNECTIONS_KEPT: Final = 32
"""So many threads keep their connection to a plain server; by default 8, and the others connect anew each time."""
INSERT_SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    "optimize_on_insert": 0,
    "max_partitions_per_insert_block": 0,
}
"""Version 26 inserts asynchronously by default, and would answer before the rows are on disk. No rows of one insert
replace each other, and to look for such costs half as much as the insert. Where few scan, one insert holds years."""

MIGRATIONS_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS migrations (name String, applied DateTime64(3, 'UTC') DEFAULT now64(3))"
    " ENGINE = MergeTree ORDER BY name SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
)

ERROR_CHARS_MAX: Final = 300
_QUERY_ID: Final = re.compile(r"query_id=[0-9a-f-]+")

Row = tuple[Any, ...]
"""One row of an answer; each query's caller turns it into a struct at once."""


class Listed:
    """An array of numbers, or of words of letters and digits alone, as a parameter in the engine's own form.

    The client looks at every value, and every character of a word, which costs more than to find them in a table.
    """

    def __init__(self, values: NDArray[np.int64] | Sequence[str]) -> None:
        if isinstance(values, np.ndarray):
            self._text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        else:
            self._text = "['" + "','".join(values) + "']" if values else "[]"

    def __str__(self) -> str:
        return self._text


class Store:
    """Thread-safe access to one database. Every failure of the engine or the way to it is `StoreDown`."""

    def __init__(self, url: str, *, database: str = "truyvet", cluster: str = "") -> None:
        """Opens nothing yet. `url`: `chdb:///path` or `http(s)://user:password@host:port`, of any server of a cluster.

        `cluster`: the name that the servers know it by; empty for a server of its own.
        """
        self._url: Final = url
        self.database: Final = database
        self.cluster: Final = Cluster(cluster, database) if cluster else None
        self._clients: Final = threading.local()
        self._open: Final[list[Client]] = []
        self._lock: Final = threading.Lock()

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """All rows of a SELECT."""
        try:
            return cast(Sequence[Row], self._client().query(sql, parameters=dict(parameters or {})).result_rows)
        except (ClickHouseError, OSError, RuntimeError) as error:
            raise self._down(error) from error

    def columns(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Columns:
        """All rows of a SELECT as NumPy columns. Settings of its own stand in the statement."""
        try:
            answer = self._client().raw_query(sql, parameters=dict(parameters or {}), fmt="Native")
        except (ClickHouseError, OSError, RuntimeError) as error:
            raise self._down(error) from error
        return columns_of(answer)

    def value(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """The one text of a SELECT as the bytes that it is, which need be no UTF-8; empty where there is no row."""
        try:
            return self._client().raw_query(sql, parameters=dict(parameters or {}), fmt="RawBLOB")
        except (ClickHouseError, OSError, RuntimeError) as error:
            raise self._down(error) from error

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """A statement whose answer is not wanted, such as DDL or INSERT … SELECT; with settings of its own in it."""
        try:
            self._client().command(sql, parameters=dict(parameters or {}))
        except (ClickHouseError, OSError, RuntimeError) as error:
            raise self._down(error) from error

    def define(self, sql: str) -> None:
        """Run a plain statement that makes, changes, exchanges or drops tables, on every server of a cluster."""
        for statement in self.cluster.statements(sql) if self.cluster else [sql]:
            self.command(statement)

    def insert_rowbinary(self, table: str, data: bytes, *, token: str = "") -> None:
        """Append rows packed as RowBinary; a second insert under the same token, if there is one, changes nothing."""
        try:
            self._client().raw_insert(
                table,
                insert_block=data,
                fmt="RowBinary",
                settings=_insert_settings(token),
            )
        except (ClickHouseError, OSError, RuntimeError) as error:
            raise self._down(error) from error

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, token: str = "") -> None:
        """Append a few rows given as Python values."""
        try:
            self._client().insert(table, rows, column_names=list(columns), settings=_insert_settings(token))
        except (ClickHouseError, OSError, RuntimeError) as error:
            raise self._down(error) from error

    def ping(self) -> bool:
        """Whether the engine answers."""
        try:
            return self.rows("SELECT 1") == [(1,)]
        except StoreDown:
            return False

    def close(self) -> None:
        """Close the clients of every thread."""
        with self._lock:
            for client in self._open:
                client.close()
            self._open.clear()
        self._clients.__dict__.clear()

    def _client(self) -> Client:
        client: Client | None = getattr(self._clients, "client", None)
        if client is None:
            client = _connect(self._url, self.database, QUERY_SETTINGS if self.cluster else {})
            self._clients.client = client
            with self._lock:
                self._open.append(client)
        return client

    def _down(self, error: Exception) -> StoreDown:
        """Drop this thread's client, so that the next call connects anew, and wrap the error."""
        client: Client | None = getattr(self._clients, "client", None)
        if client is not None and not self._url.startswith("chdb:") and not isinstance(error, ClickHouseError):
            del self._clients.client
        if "UNKNOWN_TABLE" in str(error):
            return StoreDown("a table is missing: run truyvet migrate")
        return StoreDown(f"{type(error).__name__}: {_first_words(str(error))}")


def _insert_settings(token: str) -> dict[str, Any]:
    return INSERT_SETTINGS | ({"insert_deduplication_token": token} if token else {})


def _first_words(message: str) -> str:
    """The part of an engine's message that says what is wrong, without the statement and its values."""
    return _QUERY_ID.sub("", message.splitlines()[0])[:ERROR_CHARS_MAX] if message else ""


def _connect(url: str, database: str, settings: Mapping[str, Any]) -> Client:
    """A client whose database exists and whose every statement carries the settings."""
    first = _open(url, None, {})
    first.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    first.close()
    return _open(url, database, settings)


def _open(url: str, database: str | None, settings: Mapping[str, Any]) -> Client:
    if url.startswith("chdb:"):
        return clickhouse_connect.get_client(dsn=url, database=database)
    return clickhouse_connect.get_client(
        dsn=url,
        database=database,
        settings=dict(settings),
        connect_timeout=CONNECT_SECONDS_MAX,
        send_receive_timeout=QUERY_SECONDS_MAX,
        autogenerate_session_id=False,
        pool_mgr=_plain_connections() if url.startswith("http:") else None,  # TLS comes with options of its own
        form_encode_query_params=True,  # lists of people travel in the body: a URL is short, and ends up in logs
    )


@functools.cache
def _plain_connections() -> Any:
    return httputil.get_pool_manager(maxsize=CONNECTIONS_KEPT)


def migrations() -> list[tuple[str, str]]:
    """The numbered migrations as (name, SQL), in order."""
    files = sorted(resources.files("storage.migrations").iterdir(), key=lambda file: file.name)
    return [(file.name, file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".sql")]


def migrate(store: Store) -> list[str]:
    """Apply what is not applied yet and return its names. Each statement may safely run twice."""
    if store.cluster:
        store.command(store.cluster.create_database)
    store.define(MIGRATIONS_TABLE)
    applied = {row[0] for row in store.rows("SELECT name FROM migrations")}
    fresh = [(name, sql) for name, sql in migrations() if name not in applied]
    for name, sql in fresh:
        for statement in statements(sql):
            store.define(statement)
        store.insert("migrations", ["name"], [[name]])
    return [name for name, _ in fresh]


def statements(sql: str) -> list[str]:
    """The statements of a migration, without comments."""
    lines = [line for line in sql.splitlines() if not line.lstrip().startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]
