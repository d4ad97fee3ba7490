"""What a cluster is given for each migration, and which key shards which table."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.ports import free_ports
from projections.projector import READ_MODELS
from storage.clickhouse import MIGRATIONS_TABLE, Store, migrations, statements
from storage.cluster import QUERY_SETTINGS, SHARDING, Cluster, NoClusterForm
from storage.errors import StoreDown
from tests.support.clickhouse_http import ClickHouseHttp

CLUSTER = Cluster("country", "truyvet")
SHARDS_SECONDS_MAX = 180
"""Two engines start in it."""
PLAIN = [MIGRATIONS_TABLE, *(statement for _, sql in migrations() for statement in statements(sql))]
TABLES = [name for sql in PLAIN for name in re.findall(r"^CREATE TABLE IF NOT EXISTS (\w+)", sql)]
REBUILD = [
    "DROP TABLE IF EXISTS scans_by_subject_rebuild SYNC",
    "CREATE TABLE scans_by_subject_rebuild AS scans_by_subject",
    "EXCHANGE TABLES scans_by_subject AND scans_by_subject_rebuild",
    "DROP TABLE scans_by_subject_rebuild SYNC",
]
EXPECTED = Path(__file__).with_name("cluster.sql")
"""Written out, so that whoever changes a migration sees what a cluster will run: nobody edits it by hand.

`python -m tests.storage.test_cluster` writes it anew; its diff is what to read."""


def statements_of(sent: Path) -> list[str]:
    return [json.loads(line)["sql"].strip() for line in sent.read_text(encoding="utf-8").splitlines()]


def rendered(*plain: str) -> list[str]:
    return [statement for sql in plain for statement in CLUSTER.statements(sql)]


def written_out() -> str:
    """What a cluster is given for all migrations, as `cluster.sql` has it."""
    return "\n\n".join(f"{statement};" for statement in rendered(*PLAIN)) + "\n"


def test_the_exact_statements_of_every_migration() -> None:
    assert EXPECTED.read_text(encoding="utf-8").split("\n\n") == written_out().split("\n\n")


def test_the_exact_statements_of_a_rebuild() -> None:
    assert rendered(*REBUILD) == [
        "DROP TABLE IF EXISTS scans_by_subject_rebuild ON CLUSTER country SYNC",
        "DROP TABLE IF EXISTS scans_by_subject_rebuild_local ON CLUSTER country SYNC",
        "CREATE TABLE scans_by_subject_rebuild_local ON CLUSTER country AS scans_by_subject_local",
        "CREATE TABLE scans_by_subject_rebuild ON CLUSTER country AS scans_by_subject_rebuild_local\n"
        "ENGINE = Distributed('country', 'truyvet', 'scans_by_subject_rebuild_local', cityHash64(subject))",
        "EXCHANGE TABLES scans_by_subject_local AND scans_by_subject_rebuild_local ON CLUSTER country",
        "DROP TABLE scans_by_subject_rebuild ON CLUSTER country SYNC",
        "DROP TABLE scans_by_subject_rebuild_local ON CLUSTER country SYNC",
    ]


def test_every_table_says_what_shards_it() -> None:
    assert sorted(SHARDING) == sorted(set(TABLES))


def test_what_a_device_sent_lies_on_one_shard() -> None:
    # First deliveries, gaps and proofs look at these together, by device and seq; each shard must do so alone.
    keys = {table: SHARDING[table] for table in ("log", "refused", "evidence", "retired")}
    assert set(keys.values()) == {"cityHash64(device)"}


def test_rows_that_must_collapse_meet_on_one_shard() -> None:
    # Equal by the sorting key must mean the same shard, or FINAL would leave both.
    for sql in (sql for sql in PLAIN if "ReplacingMergeTree" in sql):
        table = re.findall(r"^CREATE TABLE IF NOT EXISTS (\w+)", sql)[0]
        sorting_key = re.findall(r"ORDER BY \(?([\w, ]+)\)?", sql)[0].split(", ")
        assert set(re.findall(r"\((\w+)\)", SHARDING[table])) <= set(sorting_key), table


def test_the_read_models_are_sharded_by_what_they_are_asked_for() -> None:
    for model in READ_MODELS:
        asked_by = next(iter(model.columns))
        assert SHARDING[model.table] == f"cityHash64({asked_by})"


def test_the_keys_are_numbers_of_the_row(store: Store) -> None:
    for table, key in SHARDING.items():
        [(_, kind, *_)] = store.rows(f"DESCRIBE TABLE (SELECT {key} AS key FROM {table})")
        assert kind.startswith("UInt"), table


def test_the_engine_reads_every_statement(store: Store) -> None:
    for statement in [CLUSTER.create_database, *rendered(*PLAIN, *REBUILD)]:
        [(formatted,)] = store.rows("SELECT formatQuery({sql:String})", {"sql": statement})
        assert "ON CLUSTER country" in formatted


def test_the_engine_knows_every_setting(store: Store) -> None:
    of_tables = {name for sql in rendered(*PLAIN) for name in re.findall(r"(\w+) = ", sql.partition("SETTING")[2])}
    known = {name for (name,) in store.rows("SELECT name FROM system.replicated_merge_tree_settings")}
    of_queries = {name for (name,) in store.rows("SELECT name FROM system.settings")}
    assert {"fsync_after_insert", "merge_selector_base", "auto_statistics_types"} <= of_tables <= known
    assert QUERY_SETTINGS.keys() <= of_queries


def test_the_engine_asks_the_shards_that_the_keys_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.storage.two_shards", str(tmp_path), *map(str, free_ports(2))]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.PIPE, timeout=SHARDS_SECONDS_MAX
    )
    asked = json.loads(ended.stdout)
    devices = [asked.pop(question) for question in list(asked) if question.startswith("device ")]
    assert {tuple(shards) for shards in devices} == {(1,), (2,)}
    # Sub-queries over tables of one key are planned and sent; by default the engine refuses them. Of the shards that it
    # asks at once, either may be the first to be missed.
    assert {question: set(shards) <= {1, 2} for question, shards in asked.items()} == {
        "projection": True,
        "tallies": True,
        "rivals": True,
        "progress": True,
    }


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE IF NOT EXISTS forgotten (a UInt8)\nENGINE = MergeTree\nORDER BY a",
        "CREATE TABLE forgotten_rebuild AS forgotten",
        "ALTER TABLE log ADD COLUMN note String",
        "ALTER TABLE log MODIFY COLUMN seq String",
        "ALTER TABLE log MODIFY COLUMN at CODEC(LZ4), MODIFY COLUMN seq String CODEC(LZ4)",
        "INSERT INTO log SELECT * FROM log",
        "CREATE VIEW v AS SELECT 1",
    ],
)
def test_what_nobody_has_thought_about_is_refused(sql: str) -> None:
    with pytest.raises(NoClusterForm):
        CLUSTER.statements(sql)


def test_without_a_cluster_the_migrations_run_as_they_are_written(tmp_path: Path) -> None:
    sent = tmp_path / "statements"
    with ClickHouseHttp(tmp_path / "engine", statements=sent) as server:
        store = Store(server.url)
        for statement in PLAIN:
            store.define(statement)
        store.close()
    assert [sql for sql in statements_of(sent) if sql.startswith(("CREATE TABLE", "ALTER", "DROP TABLE"))] == PLAIN
    assert not any("CLUSTER" in sql for sql in statements_of(sent))


def test_with_a_cluster_every_statement_carries_its_settings(clickhouse_http: ClickHouseHttp) -> None:
    store = Store(clickhouse_http.url, database="test_cluster_settings", cluster="country")
    names = {"names": list(QUERY_SETTINGS)}
    asked = store.rows("SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}", names)
    assert dict(asked) == {name: str(value) for name, value in QUERY_SETTINGS.items()}
    store.command("DROP DATABASE test_cluster_settings SYNC")
    store.close()


def test_with_a_cluster_definitions_go_to_every_server(tmp_path: Path) -> None:
    sent = tmp_path / "statements"
    with ClickHouseHttp(tmp_path / "engine", statements=sent) as server:
        store = Store(server.url, cluster="country")
        with pytest.raises(StoreDown):  # this engine knows no cluster; what it was asked is enough
            store.define(MIGRATIONS_TABLE)
        store.close()
    assert statements_of(sent)[-1] == rendered(MIGRATIONS_TABLE)[0]


if __name__ == "__main__":
    EXPECTED.write_text(written_out(), encoding="utf-8")
