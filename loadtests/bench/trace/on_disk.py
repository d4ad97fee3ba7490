"""What a stopped service's tables take on disk as they are, read by a process of its own: chDB has one owner a path."""

import subprocess
import sys
from typing import Final

import msgspec

from app.open_files import allow_open_files
from app.settings import Settings
from loadtests.bench.at_rest import TableBytes, Tables
from storage.clickhouse import Store

READ_SECONDS_MAX: Final = 120

_TABLES: Final = (
    "SELECT table, count(), sum(bytes_on_disk) FROM system.parts"
    " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"
)


def left(settings: Settings) -> Tables:
    """The tables that hold anything."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.trace.on_disk", settings.store_url, settings.clickhouse_database],
        stdout=subprocess.PIPE,
        check=True,
        timeout=READ_SECONDS_MAX,
    )
    return msgspec.json.decode(done.stdout, type=Tables)


def main() -> None:
    """Print what the tables of the store that the arguments name take."""
    url, database = sys.argv[1:]
    allow_open_files()
    store = Store(url, database=database)
    tables = {table: TableBytes(parts, size) for table, parts, size in store.rows(_TABLES)}
    sys.stdout.buffer.write(msgspec.json.encode(tables))
    store.close()


if __name__ == "__main__":
    main()
