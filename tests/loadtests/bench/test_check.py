"""The check of the log finds whatever a fault could do to it."""

from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from events.scans import LOG_ROW
from ingest.sink import Poison, poison_row
from loadtests.bench.check import BY_CODE, Expected, Sent, Verdict, verdict
from loadtests.bench.world import World, new_world, seqs
from projections.projector import READ_MODELS
from storage.clickhouse import Store, migrate
from storage.stream import FrozenRange

NOW = 1_634_800_000_000
WORLD = new_world(seed=5, devices=3, people=20, scans=300, now_ms=NOW)
SUBJECTS = WORLD.subjects()
SENT = [Sent(device, [(1, 40), (41, 40)], []) for device in range(3)]
EXPECTED = Expected(WORLD, SENT, batches=0, projected=False)


def rows(world: World, device: int, first: int, count: int) -> bytes:
    """Rows of the log as the edge packs them and the sink stamps them."""
    scans = world.scans(device, seqs(first, count))
    return b"".join(
        LOG_ROW.pack(device + 1, 1, seq, at, NOW, device + 1, SUBJECTS[person].tobytes(), kind, BY_CODE)
        for seq, at, kind, person in zip(scans.seq, scans.at, scans.kind, scans.person, strict=True)
    )


@pytest.fixture
def store(chdb_url: str) -> Iterator[Store]:
    """A log that holds what was sent."""
    store = Store(chdb_url, database="bench_check")
    migrate(store)
    for device in range(3):
        store.insert_rowbinary("log", rows(WORLD, device, 1, 80), token=str(device))
    yield store
    store.command("DROP DATABASE bench_check SYNC")
    store.close()


@pytest.fixture
def client(chdb_url: str, store: Store) -> Iterator[Client]:
    """What the check reads with."""
    with clickhouse_connect.get_client(dsn=chdb_url, database=store.database) as client:
        yield client


def tamper(store: Store, change: str) -> None:
    """Change rows of the log, and wait until they are."""
    store.command(f"ALTER TABLE log {change} SETTINGS mutations_sync = 2")


def wrong(found: Verdict) -> dict[str, int]:
    """The counts that should be zero and are not."""
    return {
        name: getattr(found, name)
        for name in found.__struct_fields__
        if name not in ("rows", "findings") and getattr(found, name)
    }


def test_a_whole_log_passes(client: Client) -> None:
    found = verdict(client, EXPECTED)
    assert found.rows == 240
    assert found.failures() == []


def test_read_models_must_hold_every_scan_once_they_have_caught_up(store: Store, client: Client) -> None:
    projected = Expected(WORLD, SENT, batches=0, projected=True)
    assert wrong(verdict(client, projected)) == {"unprojected": 2 * 240}
    for model in READ_MODELS:
        names, expressions = ", ".join(model.columns), ", ".join(model.columns.values())
        store.command(f"INSERT INTO {model.table} ({names}) SELECT {expressions} FROM log")
    assert verdict(client, projected).failures() == []
    store.command("DELETE FROM scans_by_subject WHERE device = 2 AND seq < 11")
    assert wrong(verdict(client, projected)) == {"unprojected": 10}


def test_a_dropped_row_is_lost(store: Store, client: Client) -> None:
    tamper(store, "DELETE WHERE device = 2 AND seq = 17")
    found = verdict(client, EXPECTED)
    assert wrong(found) == {"lost": 1}
    assert found.failures() == ["1 lost", "lost: device 2, seq 17 (1 in all)"]


def test_a_device_that_is_gone_is_lost(store: Store, client: Client) -> None:
    tamper(store, "DELETE WHERE device = 3")
    assert wrong(verdict(client, EXPECTED)) == {"lost": 80}


def test_a_row_laid_twice_is_doubled(store: Store, client: Client) -> None:
    store.insert_rowbinary("log", rows(WORLD, 0, 5, 1), token="again")
    assert wrong(verdict(client, EXPECTED)) == {"doubled": 1}


@pytest.mark.parametrize(
    "change",
    [
        "at = at + toIntervalMillisecond(1)",
        "place = 2",
        "subject = unhex('00000000000000000000000000000000')",
        "kind = if(kind = 'in', 'out', 'in')",
        "how = 'citizen'",
        "key = 2",
    ],
    ids=lambda change: change.split()[0],
)
def test_a_changed_column_is_altered(store: Store, client: Client, change: str) -> None:
    # The kind, too, must differ from before: `in` and `out` are exchanged, a passage becomes an entry.
    tamper(store, f"UPDATE {change} WHERE device = 1 AND seq = 33")
    assert wrong(verdict(client, EXPECTED)) == {"altered": 1}


def test_a_row_that_nobody_sent_is_strange(store: Store, client: Client) -> None:
    store.insert_rowbinary("log", rows(WORLD, 0, 81, 2), token="more")
    other = LOG_ROW.pack(99, 1, 1, NOW, NOW, 1, bytes(16), 1, BY_CODE)
    store.insert_rowbinary("log", other, token="other")
    found = verdict(client, EXPECTED)
    assert wrong(found) == {"strange": 3}
    assert found.rows == 243


def test_what_was_never_acknowledged_may_be_there_or_not(store: Store, client: Client) -> None:
    store.insert_rowbinary("log", rows(WORLD, 0, 81, 20), token="cut off")
    sent = [Sent(0, SENT[0].acknowledged, [(81, 20), (101, 20)]), *SENT[1:]]
    assert verdict(client, Expected(WORLD, sent, batches=0, projected=False)).failures() == []


def test_acknowledged_batches_need_evidence_and_no_poison(store: Store, client: Client) -> None:
    store.insert_rowbinary(
        "poison",
        poison_row(Poison("1-1", "not an entry", b""), FrozenRange("1-1", "1-1", NOW - 1, NOW)),
        token="poison",
    )
    assert wrong(verdict(client, Expected(WORLD, SENT, batches=6, projected=False))) == {
        "evidence_missing": 6,
        "poison": 1,
    }
