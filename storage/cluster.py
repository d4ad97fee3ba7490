"""The tables over many machines: rewrites a plain statement into what a ClickHouse cluster runs. Pure.

Every table becomes two: `NAME_local`, replicated within a shard, holds rows; `NAME`, distributed, is what everybody
asks and fills, and sends each row to the shard that its key names. docs/adr/0017 argues all of it.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from storage.errors import StoreDown

LOCAL_SUFFIX: Final = "_local"

BY_DEVICE: Final = "cityHash64(device)"
"""All deliveries of a scan meet on one shard, and so do those of its device: first deliveries, gaps, proofs."""
BY_SUBJECT: Final = "cityHash64(subject)"
"""A subject's scans are read together; equal rows must meet to collapse."""
BY_PLACE_HOUR: Final = "cityHash64(place_hour)"
"""A busy place's hours spread out; a question names places and hours one by one. Equal rows meet to collapse."""
FIRST_SHARD: Final = "0"
"""Small tables that are read whole or looked up: they lie in one place and are complete there."""

SHARDING: Final = {
    "log": BY_DEVICE,
    "refused": BY_DEVICE,
    "evidence": BY_DEVICE,
    "retired": BY_DEVICE,
    "scans_by_subject": BY_SUBJECT,
    "scans_by_place_hour": BY_PLACE_HOUR,
    "stays_by_place_hour": BY_PLACE_HOUR,
    "poison": FIRST_SHARD,
    "progress": FIRST_SHARD,
    "settled": FIRST_SHARD,
    "migrations": FIRST_SHARD,
    "traces": FIRST_SHARD,
    "audit": FIRST_SHARD,
    "audit_chain": FIRST_SHARD,
    "trace_subjects": FIRST_SHARD,
    "trace_pieces": FIRST_SHARD,
    "directory": BY_SUBJECT,
    "control": FIRST_SHARD,
    "clusters": FIRST_SHARD,
    "people_states": FIRST_SHARD,
    "health_records": FIRST_SHARD,
}
"""Table → the expression over its row whose remainder picks the shard."""

QUERY_SETTINGS: Final[dict[str, Any]] = {
    "distributed_foreground_insert": 1,  # an insert returns once every shard has its rows on disk, not in a queue
    "insert_quorum": "auto",  # … and on most of the shard's replicas: with two, on both
    "parallel_distributed_insert_select": 0,  # 2, the default, would leave a projected row on its device's shard
    "distributed_product_mode": "local",  # IN (SELECT …) over tables of one key asks the shard's own rows
    "optimize_skip_unused_shards": 1,  # a question about one device asks one shard
}
"""What every statement of every process must carry."""

_REPLICATED: Final = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'"
"""{uuid} and not the name: a rebuild's table takes the name of the one that it replaces, while both exist."""

_WINDOW: Final = re.compile(r"non_replicated_deduplication_window = (\d+)")
_WINDOW_SECONDS: Final = 2_592_000
"""A token is kept for 30 days: a range that was begun before a long outage is repeated after it. Default: an hour."""
_FSYNC: Final = "fsync_after_insert = 1"
_FSYNC_FETCHED: Final = f"{_FSYNC}, min_compressed_bytes_to_fsync_after_fetch = 1"

_CREATE: Final = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<table>\w+) (?P<columns>\(.*\))\s+"
    r"ENGINE = (?P<engine>\w*MergeTree)(?:\((?P<version>\w+)\))?\s+(?P<rest>.*)",
    re.DOTALL,
)
_CREATE_LIKE: Final = re.compile(r"CREATE TABLE (?P<table>\w+) AS (?P<like>\w+)")
_EXCHANGE: Final = re.compile(r"EXCHANGE TABLES (?P<one>\w+) AND (?P<other>\w+)")
_DROP: Final = re.compile(r"DROP TABLE (?P<if_exists>IF EXISTS )?(?P<table>\w+) SYNC")
_CODEC: Final = r"MODIFY COLUMN \w+ CODEC\([\w, ]+\)"
"""A column's codec alone: its type would have to change in the distributed table as well."""
_MODIFY: Final = re.compile(
    rf"ALTER TABLE (?P<table>\w+)\s+(?P<change>MODIFY SETTING .*|{_CODEC}(?:,\s+{_CODEC})*|ADD INDEX IF NOT EXISTS .*)",
    re.DOTALL,
)
_ADD: Final = re.compile(r"ALTER TABLE (?P<table>\w+)\s+(?P<change>ADD COLUMN IF NOT EXISTS .*)", re.DOTALL)
_ROWS: Final = re.compile(r"ALTER TABLE (?P<table>\w+) (?P<change>DROP PARTITION ID '\w+'|DELETE WHERE .*)", re.DOTALL)
"""Rows go where they lie; the distributed table has none."""


class NoClusterForm(StoreDown):
    """A statement of a kind, or about a table, that nobody has said how to run on a cluster."""


class Cluster(msgspec.Struct, frozen=True):
    """`name` as in the servers' `remote_servers`; `database` is the same on all of them."""

    name: str
    database: str

    @property
    def create_database(self) -> str:
        """The statement that makes the database on every server."""
        return f"CREATE DATABASE IF NOT EXISTS {self.database} ON CLUSTER {self.name}"

    def statements(self, sql: str) -> list[str]:
        """What to run, in this order, in place of a plain statement that defines tables. Raises `NoClusterForm`."""
        on = f"ON CLUSTER {self.name}"
        if found := _CREATE.fullmatch(sql):
            table, local = found["table"], found["table"] + LOCAL_SUFFIX
            place = ", ".join(filter(None, (_REPLICATED, found["version"])))
            return [
                f"CREATE TABLE IF NOT EXISTS {local} {on} {found['columns']}\n"
                f"ENGINE = Replicated{found['engine']}({place})\n{_replicated_settings(found['rest'])}",
                f"CREATE TABLE IF NOT EXISTS {table} {on} AS {local}\n{self._distributed(table, local)}",
            ]
        if found := _CREATE_LIKE.fullmatch(sql):
            table, like, local = found["table"], found["like"], found["table"] + LOCAL_SUFFIX
            return [
                f"CREATE TABLE {local} {on} AS {like}{LOCAL_SUFFIX}",
                f"CREATE TABLE {table} {on} AS {local}\n{self._distributed(like, local)}",
            ]
        if found := _EXCHANGE.fullmatch(sql):
            return [f"EXCHANGE TABLES {found['one']}{LOCAL_SUFFIX} AND {found['other']}{LOCAL_SUFFIX} {on}"]
        if found := _DROP.fullmatch(sql):
            names = found["table"], found["table"] + LOCAL_SUFFIX
            return [f"DROP TABLE {found['if_exists'] or ''}{name} {on} SYNC" for name in names]
        if found := _MODIFY.fullmatch(sql) or _ROWS.fullmatch(sql):
            return [f"ALTER TABLE {found['table']}{LOCAL_SUFFIX} {on} {found['change']}"]
        if found := _ADD.fullmatch(sql):
            names = found["table"] + LOCAL_SUFFIX, found["table"]  # a column that is asked for must be there
            return [f"ALTER TABLE {name} {on} {found['change']}" for name in names]
        raise NoClusterForm(f"storage/cluster.py cannot say how a cluster runs: {sql.partition('(')[0].strip()}")

    def parts_of(self, tables: Iterable[str]) -> tuple[str, list[str]]:
        """The source of `system.parts` of one replica of every shard, and what the tables are called there."""
        return f"cluster('{self.name}', system.parts)", [table + LOCAL_SUFFIX for table in tables]

    def _distributed(self, sharded_like: str, local: str) -> str:
        if sharded_like not in SHARDING:
            raise NoClusterForm(f"storage/cluster.py does not say which key shards table {sharded_like}")
        return f"ENGINE = Distributed('{self.name}', '{self.database}', '{local}', {SHARDING[sharded_like]})"


def _replicated_settings(clauses: str) -> str:
    """The clauses after the engine, with those settings replaced that mean nothing on a replicated table.

    Where the plain table remembers no inserts, this one must not either: by default it drops an insert that equals
    an earlier one, and two events of the audit log may be equal.
    """
    found = _WINDOW.search(clauses)
    window = "replicated_deduplication_window = 0"
    if found:
        window = (
            f"replicated_deduplication_window = {found[1]}, replicated_deduplication_window_seconds = {_WINDOW_SECONDS}"
        )
        clauses = clauses.replace(found[0], window)
    else:
        clauses = clauses.replace("SETTINGS ", f"SETTINGS {window}, ")
    return clauses.replace(_FSYNC, _FSYNC_FETCHED)
