"""The stand-in must be as good a ClickHouse as the tests that rely on it need."""

import os
import signal
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.support.clickhouse_http import ClickHouseHttp

ROW = struct.Struct("<IQ16s")
DURABLE = "non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1"
CREATE = f"CREATE TABLE t (a UInt32, b UInt64, s FixedString(16)) ENGINE = MergeTree ORDER BY a SETTINGS {DURABLE}"


def connect(server: ClickHouseHttp, database: str = "d", **options: object) -> Client:
    return clickhouse_connect.get_client(
        host="127.0.0.1",
        port=server.port,
        username=server.user,
        password=server.password,
        database=database,
        **options,  # type: ignore[arg-type]
    )


def rows(count: int, first: int = 0) -> bytes:
    return b"".join(ROW.pack(number, number * 2, os.urandom(16)) for number in range(first, first + count))


def insert(client: Client, data: bytes, token: str) -> None:
    client.raw_insert(
        "t", insert_block=data, fmt="RowBinary", settings={"async_insert": 0, "insert_deduplication_token": token}
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouseHttp]:
    with ClickHouseHttp(tmp_path / "ch", user="truyvet", password="pa:ss wörd") as running:
        connect(running, "default").command("CREATE DATABASE d")
        connect(running).command(CREATE)
        yield running


def test_a_token_is_inserted_once(server: ClickHouseHttp) -> None:
    client = connect(server)
    insert(client, rows(1000), "one")
    insert(client, rows(1000), "one")
    assert client.command("SELECT count() FROM t") == 1000
    insert(client, rows(1000, 1000), "two")
    assert client.command("SELECT count(), max(b) FROM t") == ["2000", "3998"]


def test_binary_data_arrives_untouched(server: ClickHouseHttp) -> None:
    tricky = [b"\x00" * 16, b"; SELECT 1;\n    ", b"'`\"\\{x:UInt8}\t--", b"FORMAT CSV\n1,2;\n"]
    connect(server).raw_insert(
        "t", insert_block=b"".join(ROW.pack(i, 0, s) for i, s in enumerate(tricky)), fmt="RowBinary"
    )
    found = connect(server).query("SELECT hex(s) FROM t ORDER BY a").result_rows
    assert [bytes.fromhex(row[0]) for row in found] == tricky


def test_parameters_are_the_servers(server: ClickHouseHttp) -> None:
    client = connect(server)
    names = ["a'b", "c\\d", "ế", "line\nbreak", "tab\t"]
    sql = "SELECT x FROM (SELECT arrayJoin({x:Array(String)}) AS x) WHERE x != {not:String}"
    assert client.query(sql, parameters={"x": names, "not": "c\\d"}).result_rows == [
        (name,) for name in names if name != "c\\d"
    ]
    many = list(range(20_000))
    assert client.query("SELECT sum(arrayJoin({n:Array(UInt64)}))", parameters={"n": many}).result_rows == [
        (sum(many),)
    ]


def test_results_and_their_absence(server: ClickHouseHttp) -> None:
    client = connect(server)
    assert client.command("SELECT version()").split(".")[0].isdigit()  # type: ignore[union-attr]
    assert client.command("SELECT 'a\tb', 2") == ["a\\tb", "2"]
    assert client.query("SELECT a, s FROM t").result_rows == []
    assert client.query("SELECT a FROM t LIMIT 0").column_names == ("a",)
    assert client.raw_query("SELECT 1 AS x FORMAT JSONEachRow") == b'{"x":1}\n'
    assert client.insert("t", [[1, 2, b"x" * 16]], column_names=["a", "b", "s"]).written_rows == 1
    assert client.query("SELECT a, b, s FROM t").result_rows == [(1, 2, b"x" * 16)]
    client.command("INSERT INTO t SELECT number, 0, '' FROM numbers(3)")
    assert client.command("SELECT count() FROM t") == 4


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_compressed_inserts(server: ClickHouseHttp, compress: str | bool) -> None:
    client = connect(server, compress=compress)
    rows = 300_000  # several blocks
    client.insert("t", [[n, n, b"y" * 16] for n in range(rows)], column_names=["a", "b", "s"])
    assert client.command("SELECT sum(a) FROM t") == sum(range(rows))


def test_settings_end_with_their_request(server: ClickHouseHttp) -> None:
    client = connect(server)
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 3}) == 3
    client.command("SET max_threads = 5")
    assert client.command("SELECT getSetting('max_threads')") not in (3, 5)
    assert client.command("SELECT currentDatabase()") == "d"
    assert connect(server, "default").command("SELECT currentDatabase()") == "default"


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM nothing_here", 60, "UNKNOWN_TABLE"),
        ("SELEC 1", 62, "SYNTAX_ERROR"),
        ("SELECT throwIf(1)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT {x:UInt8}", 456, "UNKNOWN_QUERY_PARAMETER"),
    ],
)
def test_errors_keep_their_code(server: ClickHouseHttp, sql: str, code: int, name: str) -> None:
    with pytest.raises(DatabaseError, match=name) as error:
        connect(server).query(sql)
    assert error.value.code == code


def test_a_torn_insert_is_refused_whole(server: ClickHouseHttp) -> None:
    client = connect(server)
    with pytest.raises(DatabaseError) as error:
        insert(client, rows(10)[:-1], "torn")
    assert error.value.code == 33
    assert client.command("SELECT count() FROM t") == 0


@pytest.mark.parametrize(("user", "password"), [("truyvet", "wrong"), ("somebody", "pa:ss wörd"), ("", "")])
def test_strangers_are_refused(server: ClickHouseHttp, user: str, password: str) -> None:
    with pytest.raises(DatabaseError) as error:
        clickhouse_connect.get_client(host="127.0.0.1", port=server.port, username=user, password=password)
    assert error.value.code == 516


def test_ping_asks_for_no_password(server: ClickHouseHttp) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/ping", timeout=10) as answer:
        assert answer.read() == b"Ok.\n"


def test_many_clients_at_once(server: ClickHouseHttp) -> None:
    def work(number: int) -> int:
        client = connect(server)
        for part in range(5):
            insert(client, rows(100, number * 1000 + part * 100), f"{number}-{part}")
        count = client.command("SELECT count() FROM t WHERE intDiv(a, 1000) = {n:UInt32}", parameters={"n": number})
        assert isinstance(count, int)
        return count

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [500] * 8
    assert connect(server).command("SELECT count() FROM t") == 4000


def test_what_was_acknowledged_survives_a_kill(server: ClickHouseHttp) -> None:
    port = server.port
    for number in range(3):
        insert(connect(server), rows(100, number * 100), f"kept-{number}")
        server.kill()
        server.start()
        insert(connect(server), rows(100, number * 100), f"kept-{number}")
    assert server.port == port
    assert connect(server).command("SELECT count() FROM t") == 300


def test_it_never_outlives_its_starter(server: ClickHouseHttp) -> None:
    assert server._process
    assert server._process.stdin
    server._process.stdin.close()
    assert server._process.wait(30) == 0


def test_sigterm_ends_it_in_good_order(server: ClickHouseHttp) -> None:
    assert server._process
    os.kill(server.pid, signal.SIGTERM)
    assert server._process.wait(30) == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/ping", timeout=10)
