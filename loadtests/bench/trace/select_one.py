"""The baseline of a trace: `SELECT 1` through the client that the trace service asks its store with.

That is `storage.clickhouse.Store` on clickhouse-connect's chDB client, in a process of its own with an empty store,
since chDB has one owner a path and the figure does not depend on the data.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from app.open_files import allow_open_files
from loadtests.bench.figures import percentiles
from storage.clickhouse import Store

BASELINE: Final = "ms, SELECT 1 (p50) by the store's own client (clickhouse-connect on chDB)"
WARM_UP: Final = 100
QUERIES: Final = 1_000
SECONDS_MAX: Final = 120


def select_one_ms(directory: Path) -> float:
    """The p50 in ms, measured in an empty directory."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.trace.select_one", f"chdb://{directory}"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=SECONDS_MAX,
    )
    return msgspec.json.decode(done.stdout, type=float)


def main() -> None:
    """Print the p50 of the store that the argument names."""
    allow_open_files()
    store = Store(sys.argv[1])
    took = []
    for _ in range(WARM_UP + QUERIES):
        began = time.perf_counter()
        store.rows("SELECT 1")
        took.append((time.perf_counter() - began) * 1000)
    (p50,) = percentiles(took[WARM_UP:], 50)
    sys.stdout.buffer.write(msgspec.json.encode(p50))
    store.close()


if __name__ == "__main__":
    main()
