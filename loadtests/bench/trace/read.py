"""trace.read: how many rows the engine reads for a trace, as its own log of queries has it.

The service is started anew with that log on, asked, and stopped; then another process reads the log. A stay can be a
candidate that is the index subject's own, or that began where they were, at most the place's dwell before they came and
before they left: that is what is known of it before anything is read. How many truly met them stands beside.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from app.open_files import allow_open_files
from loadtests.bench.report import Result
from loadtests.bench.trace.asking import Asker
from loadtests.bench.trace.session import Session
from storage.clickhouse import Store

RATIO_MAX: Final = 3.0
READ_SECONDS_MAX: Final = 120
FLUSH_MS: Final = 200
CONFIG: Final = """<clickhouse><query_log>
<database>system</database><table>query_log</table><flush_interval_milliseconds>{flush_ms}</flush_interval_milliseconds>
</query_log></clickhouse>
"""
# A part of the log may lie beside the one that it was merged into.
_READ: Final = """
SELECT touched, sum(read_rows), count(), sum(ProfileEvents['SelectedMarks']) FROM (
    SELECT arrayStringConcat(
            arraySort(arrayFilter(name -> startsWith(name, concat({database:String}, '.')), tables)), ' ') AS touched,
        query_id, read_rows, ProfileEvents
    FROM past
    WHERE type = 'QueryFinish' AND query_kind = 'Select' AND event_time_microseconds >= {since:DateTime64(6)}
        AND event_time_microseconds < {until:DateTime64(6)}
    LIMIT 1 BY query_id
) WHERE touched != '' GROUP BY touched ORDER BY touched"""


class Reads(msgspec.Struct, frozen=True):
    """What SELECTs over the same tables read together."""

    tables: str
    rows: int
    queries: int
    granules: int


def run(session: Session) -> Result:
    """Rows read for one trace, beside the rows that can be candidates."""
    window, people = session.window, session.index[: session.sizes.read_index]
    whole, truth = session.whole, session.truth
    whole.up()
    settings, directory = whole.settings, session.directory("query-log")
    store, config = Path(settings.store_url.removeprefix("chdb://")), directory / "query-log.xml"
    logged = store / "data" / "system" / "query_log"
    session.say("starting the service anew, with the engine's log of queries")
    with Asker(whole.restarted(TRUYVET_CLICKHOUSE_URL=_logged(store, config))) as asker:
        asker.trace(session.subjects(people[:1]), window)
        since = time.time()
        for subject in session.subjects(people):
            asker.trace([subject], window)
        until = time.time()
        while not _flushed(logged, until):
            asker.trace(session.subjects(people[:1]), window)  # there is always something to log
    whole.down()
    reads = _reads(_logged(directory / "store", config), logged, settings.clickhouse_database, since, until)
    shutil.rmtree(logged)
    own = sum(len(truth.stays_of(person)) for person in people)
    candidates = own + sum(truth.begun_near(person, window) for person in people)
    met = own + sum(truth.touching(person, window) for person in people)
    rows = sum(each.rows for each in reads)
    ratio = rows / candidates
    return Result(
        bench="trace.read",
        value=rows / len(people),
        unit="rows read for a trace",
        baseline="rows that can be candidates",
        baseline_value=candidates / len(people),
        target=f"≤ {RATIO_MAX:.0f} × the rows that can be candidates",
        met=ratio <= RATIO_MAX,
        progress=RATIO_MAX / ratio if ratio else 0.0,
        figures={
            "index_subjects": len(people),
            "rows_met": met / len(people),
            "ratio_to_rows_met": rows / met,
            "reads": reads,
        },
        failures=[] if reads else ["the engine logged no query"],
    )


def _logged(store: Path, config: Path) -> str:
    """The URL of a store in this directory with the engine's log of queries on."""
    config.write_text(CONFIG.format(flush_ms=FLUSH_MS))
    return f"chdb://?{urlencode({'path': f'file:{store}?config-file={quote(str(config))}'})}"


def _flushed(logged: Path, moment: float) -> bool:
    """Whether all that was logged by a moment (Unix seconds) is in the log's files.

    The log is written piece by piece, by one thread: what it wrote second after the moment, it began to after it.
    """
    return sum(part.stat().st_mtime > moment for part in logged.glob("*_*_0")) >= 2


def _reads(url: str, logged: Path, database: str, since: float, until: float) -> list[Reads]:
    """What was read between two moments (Unix seconds) by the log in a directory, told by a process of its own.

    `url`: an empty store with that log on.
    """
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.trace.read", url, str(logged), database, str(since), str(until)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=READ_SECONDS_MAX,
    )
    return msgspec.json.decode(done.stdout, type=list[Reads])


def main() -> None:
    """Print what the queries between two moments have read; the arguments are those of `_reads`.

    chDB forgets the tables of its own database, not their files: they are attached to a table like it.
    """
    url, logged, database, since, until = sys.argv[1:]
    allow_open_files()
    store = Store(url)
    store.rows("SELECT 1")
    store.command("SYSTEM FLUSH LOGS")
    store.command("CREATE TABLE past AS system.query_log")
    ((directory,),) = store.rows("SELECT data_paths[1] FROM system.tables WHERE name = 'past'")
    for part in Path(logged).glob("*_*_*"):
        shutil.copytree(part, Path(directory) / "detached" / part.name)
        store.command(f"ALTER TABLE past ATTACH PART '{part.name}'")
    rows = store.rows(_READ, {"database": database, "since": float(since), "until": float(until)})
    sys.stdout.buffer.write(msgspec.json.encode([Reads(*row) for row in rows]))
    store.close()


if __name__ == "__main__":
    main()
