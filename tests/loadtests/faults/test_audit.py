"""The audit finds what it is for: each way in which a system could break its word, done to one that has not."""

import contextlib
from collections.abc import Iterator

import msgspec
import pytest

from loadtests.faults.audit import Audit, Violation, What
from loadtests.faults.ledger import Acknowledged, Ledger
from loadtests.faults.links import LoopThread
from loadtests.faults.system import System
from loadtests.faults.traffic import Scanner, enrolled_scanners
from storage.clickhouse import Store

BATCHES = 10
TABLES = ("log", "refused", "evidence", "scans_by_subject", "scans_by_place_hour")
ONE_SCAN = "(device, seq) = (SELECT min((device, seq)) FROM log_kept)"
ONE_REFUSED = "(device, seq) = (SELECT min((device, seq)) FROM refused_kept)"
ONE_ENTRY = "(device, seq_min) = (1, 1)"
AS_GIVEN = "SETTINGS insert_deduplicate = 0"
INVENTED = f"INSERT INTO {{table}} {AS_GIVEN} SELECT * REPLACE (999 AS seq) FROM {{table}}_kept LIMIT 1"


class Scene:
    """A running system with some batches delivered, audited, and a copy of all tables."""

    def __init__(self, system: System, ledger: Ledger, store: Store) -> None:
        self.system = system
        self.ledger = ledger
        self.store = store
        self._spoilt: set[str] = set()

    def audit(self) -> None:
        with contextlib.closing(Audit(self.system, self.ledger)) as audit:
            audit.check()

    def keep(self) -> None:
        for table in TABLES:
            self.store.command(f"CREATE TABLE {table}_kept AS {table}")
            self._copy(table, f"{table}_kept")

    def spoil(self, table: str, statement: str) -> None:
        self._spoilt.add(table)
        ending = " SETTINGS mutations_sync = 1" if statement.startswith("ALTER") else ""
        self.store.command(statement.format(table=table) + ending)

    def restore(self) -> None:
        while self._spoilt:
            table = self._spoilt.pop()
            self.store.command(f"TRUNCATE TABLE {table}")
            self._copy(f"{table}_kept", table)

    def _copy(self, source: str, target: str) -> None:
        self.store.command(f"INSERT INTO {target} {AS_GIVEN} SELECT * FROM {source}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    ledger = Ledger()
    directory = tmp_path_factory.mktemp("audited")
    with LoopThread() as loop, System(directory, "server", loop).running() as system:
        scanners = enrolled_scanners(system, ledger, "audited")
        loop.run(deliver(scanners))
        reads = system.reads()
        assert isinstance(reads, Store)
        scene = Scene(system, ledger, reads)
        scene.audit()
        scene.keep()
        yield scene
        reads.close()


async def deliver(scanners: list[Scanner]) -> None:
    for _ in range(BATCHES):
        for scanner in scanners:
            await scanner.deliver_next()
    for scanner in scanners:
        scanner.close()


@pytest.fixture
def scene(running: Scene) -> Iterator[Scene]:
    yield running
    running.restore()


def test_a_system_that_keeps_its_word_passes_again_and_again(scene: Scene) -> None:
    scene.audit()
    with contextlib.closing(Audit(scene.system, scene.ledger)) as audit:
        seen = audit.check()
        assert audit.check() == seen
    assert seen.scans == sum(scan.refusal is None for scan in scene.ledger.scans.values())
    assert seen.entries == len(scene.ledger.batches)


@pytest.mark.parametrize(
    ("what", "table", "statement"),
    [
        ("missing", "log", f"ALTER TABLE {{table}} DELETE WHERE {ONE_SCAN}"),
        ("missing", "refused", f"ALTER TABLE {{table}} DELETE WHERE {ONE_REFUSED}"),
        ("missing", "evidence", f"ALTER TABLE {{table}} DELETE WHERE {ONE_ENTRY}"),
        ("missing", "scans_by_subject", f"ALTER TABLE {{table}} DELETE WHERE {ONE_SCAN}"),
        ("missing", "scans_by_place_hour", f"ALTER TABLE {{table}} DELETE WHERE {ONE_SCAN}"),
        ("doubled", "log", f"INSERT INTO {{table}} {AS_GIVEN} SELECT * FROM log_kept WHERE {ONE_SCAN}"),
        ("doubled", "evidence", f"INSERT INTO {{table}} {AS_GIVEN} SELECT * FROM evidence_kept WHERE {ONE_ENTRY}"),
        ("invented", "log", INVENTED),
        ("invented", "scans_by_subject", INVENTED),
        ("altered", "log", f"ALTER TABLE {{table}} UPDATE at = at + 1 WHERE {ONE_SCAN}"),
        ("altered", "log", f"ALTER TABLE {{table}} UPDATE subject = unhex('{'00' * 16}') WHERE {ONE_SCAN}"),
        ("altered", "log", f"ALTER TABLE {{table}} UPDATE kind = if(kind = 'in', 'out', 'in') WHERE {ONE_SCAN}"),
        ("altered", "evidence", f"ALTER TABLE {{table}} UPDATE sealed = concat(sealed, 'x') WHERE {ONE_ENTRY}"),
        ("altered", "refused", "ALTER TABLE {table} UPDATE reason = 'bad_code' WHERE 1"),
        ("diverged", "scans_by_subject", f"ALTER TABLE {{table}} UPDATE place = 99 WHERE {ONE_SCAN}"),
    ],
)  # fmt: skip
def test_what_is_done_to_a_table_is_found(scene: Scene, what: What, table: str, statement: str) -> None:
    scene.spoil(table, statement)
    with pytest.raises(Violation) as caught:
        scene.audit()
    assert caught.value.what == what


@pytest.mark.parametrize(
    ("what", "table", "statement"),
    [
        ("missing", "log", f"ALTER TABLE {{table}} DELETE WHERE {ONE_SCAN}"),
        ("doubled", "log", f"INSERT INTO {{table}} {AS_GIVEN} SELECT * FROM log_kept WHERE {ONE_SCAN}"),
        ("altered", "evidence", f"ALTER TABLE {{table}} UPDATE sealed = concat(sealed, 'x') WHERE {ONE_ENTRY}"),
    ],
)
def test_it_is_found_too_where_an_audit_has_passed(scene: Scene, what: What, table: str, statement: str) -> None:
    with contextlib.closing(Audit(scene.system, scene.ledger)) as audit:
        audit.check()
        scene.spoil(table, statement)
        with pytest.raises(Violation) as caught:
            audit.check()
    assert caught.value.what == what


def test_an_acknowledged_entry_that_never_arrived_is_missing(scene: Scene) -> None:
    known = next(iter(scene.ledger.batches.values()))
    lost = msgspec.structs.replace(known, first=known.first + 10**6, last=known.last + 10**6)
    for batch, entry in ((known, "1-1"), (lost, "")):
        with_lost = Ledger()
        with_lost.scans, with_lost.batches = scene.ledger.scans, scene.ledger.batches
        with_lost.acknowledged = [*scene.ledger.acknowledged, Acknowledged(batch, entry)]
        with contextlib.closing(Audit(scene.system, with_lost)) as audit, pytest.raises(Violation, match="missing"):
            audit.check()


def test_an_entry_that_nobody_sent_is_invented(scene: Scene) -> None:
    without = Ledger()
    without.scans, without.acknowledged = scene.ledger.scans, scene.ledger.acknowledged
    without.batches = dict(list(scene.ledger.batches.items())[1:])
    with contextlib.closing(Audit(scene.system, without)) as audit, pytest.raises(Violation, match="invented"):
        audit.check()
