import random

import redis

from events.scans import Kind
from ingest.sink import Sink, SinkLimits
from projections.projector import READ_MODELS, Projector, ProjectorLimits
from storage.clickhouse import Store
from storage.rebuilds import Rebuilds, RebuildStatus
from storage.stream import SCANS, ScanStream
from storage.watermarks import Watermarks
from tests.builders import entry, log_row

AT = 1_700_000_000_000
PEOPLE = [bytes([number]) * 16 for number in range(8)]


def post(valkey: "redis.Redis", device: int, seqs: list[int], seed: int = 0) -> None:
    rng = random.Random(f"{device}-{seqs}-{seed}")
    rows = [
        log_row(
            device,
            seq,
            AT + rng.randrange(20 * 86_400_000),
            rng.randrange(4),
            rng.choice(PEOPLE),
            rng.choice(list(Kind)),
        )
        for seq in seqs
    ]
    valkey.xadd(SCANS, {"e": entry(device, rows)})


def drain(valkey: "redis.Redis", store: Store) -> None:
    sink = Sink(
        stream=ScanStream(valkey, owner="sink"),
        store=store,
        watermarks=Watermarks(valkey),
        limits=SinkLimits(idle_ms=1, entries_max=3, bytes_max=1),
    )
    while sink.step():
        pass
    sink.step()


def projector_of(valkey: "redis.Redis", store: Store, rows_max: int = 1_000_000) -> Projector:
    return Projector(store, Watermarks(valkey), Rebuilds(valkey), ProjectorLimits(rows_max=rows_max))


def first_deliveries(store: Store) -> list[tuple[int, int, bytes]]:
    """The oracle: one pass over the log in order of `received`, first come first kept."""
    kept: dict[tuple[int, int], bytes] = {}
    for device, seq, subject in store.rows("SELECT device, seq, hex(subject) FROM log ORDER BY received"):
        kept.setdefault((device, seq), subject)
    return sorted((device, seq, subject) for (device, seq), subject in kept.items())


def projected(store: Store, table: str) -> list[tuple[int, int, bytes]]:
    return sorted(
        (device, seq, subject)
        for device, seq, subject in store.rows(f"SELECT device, seq, hex(subject) FROM {table} FINAL")
    )


def rebuild(projector: Projector, valkey: "redis.Redis") -> RebuildStatus:
    rebuilds = Rebuilds(valkey)
    rebuilds.request("r1")
    while projector.rebuild_step():
        status = rebuilds.status()
        assert status is not None
        if status.state == "done":
            return status
    raise AssertionError("the rebuild was not taken up")


def test_only_first_deliveries_are_projected(valkey: "redis.Redis", store: Store) -> None:
    projector = projector_of(valkey, store)
    for round_ in range(4):
        post(valkey, 1, list(range(1, 20)), seed=round_)  # the same seqs with other content
        post(valkey, 2, list(range(round_ * 5 + 1, round_ * 5 + 9)))
        drain(valkey, store)
        while projector.step():
            pass
    expected = first_deliveries(store)
    assert len(expected) == 19 + 23
    for model in READ_MODELS:
        assert projected(store, model.table) == expected


def test_a_projection_done_twice_changes_nothing(valkey: "redis.Redis", store: Store) -> None:
    post(valkey, 1, list(range(1, 50)))
    drain(valkey, store)
    projector = projector_of(valkey, store)
    while projector.step():
        pass
    store.command("TRUNCATE TABLE progress")
    again = projector_of(valkey, store)
    while again.step():
        pass
    for model in READ_MODELS:
        assert projected(store, model.table) == first_deliveries(store)


def test_small_spans_end_in_the_same_rows_and_a_rebuild_agrees(valkey: "redis.Redis", store: Store) -> None:
    for batch in range(12):
        post(valkey, batch % 3, list(range(batch * 7 + 1, batch * 7 + 12)), seed=batch)
    drain(valkey, store)
    projector = projector_of(valkey, store, rows_max=10)
    steps = 0
    while projector.step():
        steps += 1
    assert steps > 5
    status = rebuild(projector, valkey)
    assert [model.equal for model in status.models] == [True, True]
    assert status.models[0].rows_live == len(first_deliveries(store))
    for model in READ_MODELS:
        assert projected(store, model.table) == first_deliveries(store)


def test_a_rebuild_notices_and_mends_a_damaged_read_model(valkey: "redis.Redis", store: Store) -> None:
    post(valkey, 1, list(range(1, 50)))
    drain(valkey, store)
    projector = projector_of(valkey, store)
    while projector.step():
        pass
    store.command("ALTER TABLE scans_by_subject DELETE WHERE seq = 7 SETTINGS mutations_sync = 2")
    status = rebuild(projector, valkey)
    assert [model.equal for model in status.models] == [False, True]
    assert projected(store, "scans_by_subject") == first_deliveries(store)


def test_traffic_goes_on_during_a_rebuild(valkey: "redis.Redis", store: Store) -> None:
    post(valkey, 1, list(range(1, 60)))
    drain(valkey, store)
    projector = projector_of(valkey, store, rows_max=25)
    while projector.step():
        pass
    Rebuilds(valkey).request("r2")
    projector.rebuild_step()
    post(valkey, 2, list(range(1, 30)))
    drain(valkey, store)
    while projector.step() or projector.rebuild_step():
        pass
    status = Rebuilds(valkey).status()
    assert status is not None
    assert status.state == "done"
    assert all(model.equal for model in status.models)
    assert status.models[0].rows_live == 59 + 29
    for model in READ_MODELS:
        assert projected(store, model.table) == first_deliveries(store)


def test_the_watermark_follows_the_log_when_nothing_comes_in(valkey: "redis.Redis", store: Store) -> None:
    drain(valkey, store)
    projector = projector_of(valkey, store)
    assert projector.step()
    watermarks = Watermarks(valkey)
    assert watermarks.read("read-models") == watermarks.read("log")
    assert not projector.step()
