"""postgres.*: the same stays in PostgreSQL, asked the same in the same run, its answers held against the same truth.

It is given what it need not derive: finished stays, without the scans that prove them. Twice, with one index each: a
B-tree on (place, start), which needs to know how long the longest stay at each place is, and GiST on (place, range).
"""

import datetime
import functools
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from loadtests.bench.figures import Times
from loadtests.bench.report import Result
from loadtests.bench.trace.many import ASKED, asked_together
from loadtests.bench.trace.on_disk import left
from loadtests.bench.trace.one import asked
from loadtests.bench.trace.postgres import Postgres, packaged
from loadtests.bench.trace.session import Session
from loadtests.bench.trace.truth import MIN_MS, Contact, Window, differences
from loadtests.bench.trace.walk import Stays, Walk
from loadtests.bench.trace.world import DAYS, PROVINCES
from projections.projector import READ_MODELS
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR

ROWS_A_PIECE: Final = 1_000_000
POSTGRES_EPOCH_MS: Final = 946_684_800_000
COMPARED: Final = "a comparison"
WARM_UP: Final = "SELECT count(*), max(ended) FROM stays"
COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END: Final = b"\xff\xff"
COPY_ROW: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("person_bytes", ">i4"),
        ("person", "V16"),
        ("place_bytes", ">i4"),
        ("place", ">i4"),
        ("started_bytes", ">i4"),
        ("started", ">i8"),
        ("ended_bytes", ">i4"),
        ("ended", ">i8"),
    ]
)

TABLE: Final = (
    "CREATE TABLE stays"
    " (person uuid NOT NULL, place integer NOT NULL, started timestamptz NOT NULL, ended timestamptz NOT NULL)"
)
BY_PERSON: Final = "CREATE INDEX stays_by_person ON stays (person, started)"


class Way(msgspec.Struct, frozen=True):
    """An index on places, by name, and what makes it; `near` says which stays (`other`) may touch a span of `own`."""

    name: str
    statements: tuple[str, ...]
    relations: tuple[str, ...]
    near: str


BTREE: Final = Way(
    "btree",
    (
        "CREATE INDEX stays_by_place ON stays (place, started)",
        "CREATE TABLE places AS SELECT place, max(ended - started) AS longest FROM stays GROUP BY place",
        "ALTER TABLE places ADD PRIMARY KEY (place)",
        "ANALYZE places",
    ),
    ("stays_by_place", "places", "places_pkey"),
    "other.started > own.started - (SELECT longest FROM places WHERE places.place = own.place)"
    " AND other.started < own.ended AND other.ended > own.started",
)
GIST: Final = Way(
    "gist",
    ("CREATE INDEX stays_by_place ON stays USING gist (place, tstzrange(started, ended))", "ANALYZE stays"),
    ("stays_by_place",),
    "tstzrange(other.started, other.ended) && tstzrange(own.started, own.ended)",
)

# The contacts by the service's default rule, longest first: what is asked of both systems. {whom} is the index.
QUESTION: Final = """
WITH own AS MATERIALIZED (
    SELECT place, greatest(started, {from_}) AS started, least(ended, {to}) AS ended FROM stays
    WHERE person IN ({whom}) AND started < {to} AND ended > {from_}
), met AS (
    SELECT other.person, range_agg(
        tstzrange(greatest(own.started, other.started), least(own.ended, other.ended))) AS exposed
    FROM own JOIN stays AS other ON other.place = own.place AND {near}
    WHERE other.person NOT IN ({whom}) GROUP BY other.person
), lasting AS MATERIALIZED (
    SELECT person, exposed, (
        SELECT round(1000 * sum(extract(epoch FROM upper(span) - lower(span))))::bigint FROM unnest(exposed) AS span
    ) AS ms FROM met
)
SELECT replace(person::text, '-', ''), ms, round(1000 * extract(epoch FROM lower(exposed)))::bigint,
    round(1000 * extract(epoch FROM upper(exposed)))::bigint
FROM lasting WHERE ms >= {min_ms} ORDER BY ms DESC, person"""
OF_ONE: Final = "SELECT $1"
OF_MANY: Final = "SELECT person FROM index_subjects"


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one way to index."""

    index_seconds: float
    index_bytes: int
    one: Times
    many: Times
    failures: list[str]


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The same stays in PostgreSQL, times in seconds. `others_bytes`: the table and the index by person."""

    version: str
    stays: int
    copy_seconds: float
    by_person_seconds: float
    vacuum_seconds: float
    table_bytes: int
    by_person_bytes: int
    ways: dict[str, Indexed]

    def seconds(self, way: Indexed) -> float:
        """Until it could be asked."""
        return self.copy_seconds + self.by_person_seconds + self.vacuum_seconds + way.index_seconds

    def bytes(self, way: Indexed) -> int:
        """On disk, with what this way needs."""
        return self.table_bytes + self.by_person_bytes + way.index_bytes


def one_by_btree(session: Session) -> Result | None:
    """One index subject, B-tree."""
    return _one(session, BTREE)


def one_by_gist(session: Session) -> Result | None:
    """One index subject, GiST."""
    return _one(session, GIST)


def many_by_btree(session: Session) -> Result | None:
    """Many index subjects in one question, B-tree."""
    return _many(session, BTREE)


def many_by_gist(session: Session) -> Result | None:
    """Many index subjects in one question, GiST."""
    return _many(session, GIST)


def load(session: Session) -> Result | None:
    """Stays a second from COPY until they can be asked about, by B-tree, beside ours from the log on."""
    loaded = in_postgres(session)
    if loaded is None:
        return None
    filled, caught_up = session.whole.filled, session.whole.caught_up
    assert filled is not None
    assert caught_up is not None
    rates = {name: loaded.stays / loaded.seconds(way) for name, way in loaded.ways.items()}
    return Result(
        bench="postgres.load",
        value=rates[BTREE.name],
        unit="stays/s, from COPY to B-tree and VACUUM",
        baseline="stays/s, ours, from scans laid into the log to settled stays",
        baseline_value=loaded.stays / (filled.seconds + caught_up.settled_seconds),
        target=COMPARED,
        met=None,
        figures={
            "stays": loaded.stays,
            "postgres": loaded.version,
            "gist_stays_per_second": rates[GIST.name],
            "copy_seconds": loaded.copy_seconds,
            "by_person_seconds": loaded.by_person_seconds,
            "vacuum_seconds": loaded.vacuum_seconds,
            "index_seconds": {name: way.index_seconds for name, way in loaded.ways.items()},
        },
        failures=[failure for way in loaded.ways.values() for failure in way.failures],
    )


def disk(session: Session) -> Result | None:
    """Bytes a stay on disk, by B-tree, beside ours with the log that proves them."""
    loaded = in_postgres(session)
    if loaded is None:
        return None
    tables = left(session.whole.settings)
    models = sum(
        tables[table].bytes_on_disk for table in (*(model.table for model in READ_MODELS), STAYS_BY_PLACE_HOUR)
    )
    ours = models + tables["log"].bytes_on_disk
    return Result(
        bench="postgres.disk",
        value=loaded.bytes(loaded.ways[BTREE.name]) / loaded.stays,
        unit="bytes/stay, table and B-trees",
        baseline="bytes/stay, ours: the log and all read models",
        baseline_value=ours / loaded.stays,
        target=COMPARED,
        met=None,
        figures={
            "gist_bytes_per_stay": loaded.bytes(loaded.ways[GIST.name]) / loaded.stays,
            "table_bytes": loaded.table_bytes,
            "by_person_bytes": loaded.by_person_bytes,
            "index_bytes": {name: way.index_bytes for name, way in loaded.ways.items()},
            "our_read_models_bytes_per_stay": models / loaded.stays,
            "our_tables": tables,
        },
    )


@functools.cache
def in_postgres(session: Session) -> Loaded | None:
    """Load everything and ask, once a session. None where PostgreSQL is not installed, which is said."""
    binaries = packaged()
    if binaries is None:
        session.say("PostgreSQL is not installed (Debian: apt-get install postgresql): not compared")
        return None
    asked(session)
    asked_together(session)
    session.whole.down()
    with Postgres(binaries, session.directory("postgres")) as postgres:
        postgres.asked("CREATE EXTENSION btree_gist", TABLE)
        session.say(f"copying the stays into PostgreSQL {postgres.version}")
        stays, copy_seconds = 0, 0.0
        for rows in _pieces(session):
            copy_seconds += postgres.copied("stays", COPY_HEAD + rows + COPY_END)
            stays += len(rows) // COPY_ROW.itemsize
        session.say(f"{stays:,} stays in {copy_seconds:.1f} s; indexing by person")
        by_person_seconds = postgres.ran(BY_PERSON)
        vacuum_seconds = postgres.ran("VACUUM ANALYZE stays")
        return Loaded(
            version=postgres.version,
            stays=stays,
            copy_seconds=copy_seconds,
            by_person_seconds=by_person_seconds,
            vacuum_seconds=vacuum_seconds,
            table_bytes=int(postgres.asked("SELECT pg_table_size('stays')")),
            by_person_bytes=int(postgres.asked("SELECT pg_relation_size('stays_by_person')")),
            ways={way.name: _indexed(session, postgres, way) for way in (BTREE, GIST)},
        )


def _one(session: Session, way: Way) -> Result | None:
    loaded = in_postgres(session)
    return None if loaded is None else _result(f"postgres.{way.name}.one", loaded.ways[way.name], "one", session)


def _many(session: Session, way: Way) -> Result | None:
    loaded = in_postgres(session)
    return None if loaded is None else _result(f"postgres.{way.name}.many", loaded.ways[way.name], "many", session)


def _result(bench: str, indexed: Indexed, question: str, session: Session) -> Result:
    theirs = indexed.one if question == "one" else indexed.many
    ours = asked(session).warm if question == "one" else asked_together(session).times
    return Result(
        bench=bench,
        value=theirs.p50,
        unit="ms (p50)",
        baseline=f"ms (p50), trace.{question}",
        baseline_value=ours.p50 if ours is not None else 0.0,
        target=COMPARED,
        met=None,
        figures={
            "p95": theirs.p95,
            "asked": len(theirs.ms),
            "index_subjects": 1 if question == "one" else len(session.many),
            "index_seconds": indexed.index_seconds,
            "index_bytes": indexed.index_bytes,
        },
        failures=indexed.failures,
    )


def _indexed(session: Session, postgres: Postgres, way: Way) -> Indexed:
    """Index, ask, hold the answers against the truth, and take the index away."""
    session.say(f"indexing by place ({way.name})")
    index_seconds = sum(postgres.ran(statement) for statement in way.statements)
    index_bytes = sum(int(postgres.asked(f"SELECT pg_relation_size('{name}')")) for name in way.relations)
    session.say(f"indexed in {index_seconds:.1f} s; asking")
    ask_one = [f"PREPARE ask(uuid) AS {_question(OF_ONE, way.near, session.window)}"]
    ask_many = [
        "CREATE TEMPORARY TABLE index_subjects (person uuid PRIMARY KEY)",
        f"INSERT INTO index_subjects VALUES {', '.join(f'({_quoted(one)})' for one in session.subjects(session.many))}",
        "ANALYZE index_subjects",
    ]
    many = _question(OF_MANY, way.near, session.window)
    each = [f"EXECUTE ask({_quoted(subject)})" for subject in session.subjects(session.index)]
    postgres.asked(WARM_UP)
    failures = []
    for person, execute in zip(session.index, each, strict=True):
        failures += _wrong(session, [person], postgres.asked(*ask_one, execute), f"{way.name}, index subject {person}")
    failures += _wrong(session, session.many, postgres.asked(*ask_many, many), f"{way.name}, many")
    one_ms = postgres.timed_ms(ask_one, [*each, *(each * session.sizes.compared_rounds)])[len(each) :]
    many_ms = postgres.timed_ms(ask_many, [many] * ASKED)
    postgres.asked("DROP INDEX stays_by_place")
    return Indexed(
        index_seconds=index_seconds,
        index_bytes=index_bytes,
        one=Times(one_ms),
        many=Times(many_ms),
        failures=failures,
    )


def _wrong(session: Session, people: Sequence[int], printed: str, name: str) -> list[str]:
    rows = (line.split("|") for line in printed.splitlines())
    found = [Contact(1, subject, int(ms), int(first), int(last)) for subject, ms, first, last in rows]
    return differences(session.truth.contacts(people, session.window), found, f"PostgreSQL, {name}")


def _question(whom: str, near: str, window: Window) -> str:
    from_, to = (_timestamp(ms) for ms in window)
    return QUESTION.format(whom=whom, near=near, from_=from_, to=to, min_ms=MIN_MS)


def _timestamp(ms: int) -> str:
    return f"timestamptz '{datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).isoformat()}'"


def _quoted(subject: str) -> str:
    return f"'{subject}'"


def _pieces(session: Session) -> Iterator[bytes]:
    """The stays of the whole country as rows of COPY, about `ROWS_A_PIECE` at a time, in the order of their days."""
    country = session.country
    walks = [Walk(country.people, country.parents(), country.dwells()) for _ in range(PROVINCES)]
    waiting: list[bytes] = []
    for day in range(DAYS + 1):
        for province, walk in enumerate(walks):
            stays = walk.ended(country.end_ms) if day == DAYS else walk.through(country.day(province, day))
            waiting.append(_rows(session, province, stays))
            if sum(map(len, waiting)) >= ROWS_A_PIECE * COPY_ROW.itemsize:
                yield b"".join(waiting)
                waiting = []
    if waiting:
        yield b"".join(waiting)


def _rows(session: Session, province: int, stays: Stays) -> bytes:
    country = session.country
    rows = np.empty(len(stays), COPY_ROW)
    rows["fields"] = 4
    rows["person_bytes"], rows["place_bytes"], rows["started_bytes"], rows["ended_bytes"] = 16, 4, 8, 8
    rows["person"] = country.subjects(province)[stays.person].view("V16")[:, 0]
    rows["place"] = country.numbers(province)[stays.place]
    rows["started"] = (stays.start - POSTGRES_EPOCH_MS) * 1000
    rows["ended"] = (stays.end - POSTGRES_EPOCH_MS) * 1000
    return rows.tobytes()
