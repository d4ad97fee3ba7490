"""Reads a stopped system's store from a process of its own, because chDB opens one path a process."""

import subprocess
import sys
from typing import Any, Final

import msgspec

from app.settings import Settings
from storage.clickhouse import Store

READ_SECONDS_MAX: Final = 120


def rows_of(settings: Settings, sql: str) -> list[list[Any]]:
    """The rows of a query; values as JSON has them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.journey.store_reader", settings.store_url, settings.clickhouse_database, sql],
        capture_output=True,
        check=True,
        timeout=READ_SECONDS_MAX,
    )
    rows: list[list[Any]] = msgspec.json.decode(done.stdout)
    return rows


def main() -> None:
    """Print the rows of one query."""
    url, database, sql = sys.argv[1:]
    store = Store(url, database=database)
    sys.stdout.buffer.write(msgspec.json.encode(store.rows(sql)))
    store.close()


if __name__ == "__main__":
    main()
