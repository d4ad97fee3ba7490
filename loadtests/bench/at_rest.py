"""What a stopped service's tables take on disk, read by a process of its own, because chDB opens one path a process."""

import subprocess
import sys
import time
from typing import Final

import msgspec

from app.open_files import allow_open_files
from app.settings import Settings
from projections.projector import READ_MODELS
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR
from storage.clickhouse import Store

TABLES: Final = ("log", *(model.table for model in READ_MODELS), STAYS_BY_PLACE_HOUR, "evidence")
SETTLED_SECONDS: Final = 3.0
"""Settled: no merge runs, and no part has come or gone for so long."""
SETTLE_SECONDS_MAX: Final = 180.0
POLL_SECONDS: Final = 0.25
MEASURE_SECONDS_MAX: Final = 900

_PARTS: Final = (
    "SELECT table, count(), sum(bytes_on_disk) FROM system.parts"
    " WHERE active AND database = currentDatabase() AND table IN {tables:Array(String)} GROUP BY table"
)
_MERGES: Final = "SELECT count() FROM system.merges WHERE database = currentDatabase()"


class TableBytes(msgspec.Struct, frozen=True):
    """A table's active parts and their bytes."""

    parts: int
    bytes_on_disk: int


Tables = dict[str, TableBytes]


class AtRest(msgspec.Struct, frozen=True):
    """The tables as the engine's own merges leave them after `settle_seconds`, and merged into one part a partition."""

    settled: Tables
    merged: Tables
    settle_seconds: float


def measured(settings: Settings) -> AtRest:
    """What a stopped service's tables take."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.at_rest", settings.store_url, settings.clickhouse_database],
        stdout=subprocess.PIPE,
        check=True,
        timeout=MEASURE_SECONDS_MAX,
    )
    return msgspec.json.decode(done.stdout, type=AtRest)


def measure(store: Store) -> AtRest:
    """Wait for the engine's own merges, measure, merge everything, measure again."""
    began = time.monotonic()
    _settle(store, began + SETTLE_SECONDS_MAX)
    took, settled = time.monotonic() - began, _tables(store)
    for table in TABLES:
        store.command(f"OPTIMIZE TABLE {table} FINAL")
    return AtRest(settled, _tables(store), took)


def _settle(store: Store, deadline: float) -> None:
    before, since = _tables(store), time.monotonic()
    while time.monotonic() < min(since + SETTLED_SECONDS, deadline):
        time.sleep(POLL_SECONDS)
        now = _tables(store)
        ((merges,),) = store.rows(_MERGES)
        if merges or now != before:
            before, since = now, time.monotonic()


def _tables(store: Store) -> Tables:
    rows = store.rows(_PARTS, {"tables": list(TABLES)})
    return {table: TableBytes(parts, bytes_on_disk) for table, parts, bytes_on_disk in rows}


def main() -> None:
    """Print what the tables of the store that the arguments name take."""
    url, database = sys.argv[1:]
    allow_open_files()
    store = Store(url, database=database)
    sys.stdout.buffer.write(msgspec.json.encode(measure(store)))
    store.close()


if __name__ == "__main__":
    main()
