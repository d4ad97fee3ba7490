"""A country's scans laid into the log in bulk, by a process of its own, because chDB opens one path a process.

What the sink would have laid, without stream and sink: the projector finds it by `received` as it finds everything.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.open_files import allow_open_files
from app.settings import Settings
from loadtests.bench.trace.world import DAYS, Country
from storage.clickhouse import Store, migrate

ROWS_A_PIECE: Final = 1_000_000
FILL_SECONDS_MAX: Final = 3_600


class Fill(msgspec.Struct, frozen=True):
    """What to lay: the scans of the country's first `provinces`."""

    url: str
    database: str
    country: Country
    provinces: int


class Filled(msgspec.Struct, frozen=True):
    """How many scans lie in the log now, and how long it took to make and to lay them."""

    scans: int
    seconds: float


def filled(settings: Settings, country: Country, provinces: int) -> Filled:
    """Fill the log of a service that does not run yet."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    order = Fill(settings.store_url, settings.clickhouse_database, country, provinces)
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.trace.fill"],
        input=msgspec.json.encode(order),
        stdout=subprocess.PIPE,
        check=True,
        timeout=FILL_SECONDS_MAX,
    )
    return msgspec.json.decode(done.stdout, type=Filled)


def fill(store: Store, order: Fill) -> Filled:
    """Make the tables, and lay the scans."""
    migrate(store)
    began, scans = time.perf_counter(), 0
    made = pieces(order.country, order.provinces)
    with ThreadPoolExecutor(1) as maker:
        ahead = maker.submit(next, made, None)
        while (rows := ahead.result()) is not None:
            ahead = maker.submit(next, made, None)
            store.insert_rowbinary("log", rows.tobytes(), token=f"bench:{scans}")
            scans += len(rows)
    return Filled(scans, time.perf_counter() - began)


def pieces(country: Country, provinces: int) -> Iterator[NDArray[np.void]]:
    """All scans, day by day, about `ROWS_A_PIECE` at a time."""
    seqs = [np.zeros(country.premises, np.int64) for _ in range(provinces)]
    subjects = [np.ascontiguousarray(country.subjects(province)).view("V16")[:, 0] for province in range(provinces)]
    waiting: list[NDArray[np.void]] = []
    for day in range(DAYS):
        for province in range(provinces):
            waiting.append(country.rows(province, day, seqs[province], subjects[province]))
            if sum(map(len, waiting)) >= ROWS_A_PIECE:
                yield np.concatenate(waiting)
                waiting = []
    if waiting:
        yield np.concatenate(waiting)


def main() -> None:
    """Read what to lay from standard input; print how much it was."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Fill)
    allow_open_files()
    store = Store(order.url, database=order.database)
    sys.stdout.buffer.write(msgspec.json.encode(fill(store, order)))
    store.close()


if __name__ == "__main__":
    main()
