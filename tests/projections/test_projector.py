import random
import threading

import pytest
import redis

from events.scans import Kind
from ingest.sink import Sink, SinkLimits
from projections import deliveries
from projections.deliveries import Deliveries
from projections.projector import READ_MODELS, Projector, ProjectorLimits
from storage.clickhouse import Store
from storage.errors import StoreDown, StreamDown
from storage.partitions import ONLY
from storage.rebuilds import Rebuilds, RebuildStatus
from storage.stream import ScanStream
from storage.watermarks import Watermarks
from tests.builders import entry, log_row

AT = 1_700_000_000_000
PEOPLE = [bytes([number]) * 16 for number in range(8)]


def post(valkey: "redis.Redis", device: int, seqs: list[int], seed: int = 0, id: str = "*") -> None:
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
    valkey.xadd(ONLY.scans, {"e": entry(device, rows)}, id=id)


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


def rebuilt(projector: Projector) -> None:
    while projector.rebuild_step():
        pass


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


@pytest.mark.parametrize(("devices_max", "lookups_max"), [(50_000, 2_000), (1, 2_000), (2, 1), (50_000, 0)])
def test_how_much_is_remembered_changes_nothing(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch, devices_max: int, lookups_max: int
) -> None:
    monkeypatch.setattr(deliveries, "DEVICES_MAX", devices_max)
    monkeypatch.setattr(deliveries, "LOOKUPS_MAX", lookups_max)
    monkeypatch.setattr(deliveries, "RUNS_MAX", 2)
    rng = random.Random(devices_max + lookups_max)
    projector = projector_of(valkey, store, rows_max=25)
    for round_ in range(6):
        for device in rng.sample(range(1, 6), 3):
            start = rng.randrange(1, 60)
            post(valkey, device, sorted(rng.sample(range(start, start + 20), 8)), seed=round_)
        drain(valkey, store)
        while projector.step():
            pass
    for model in READ_MODELS:
        assert projected(store, model.table) == first_deliveries(store)
    digests = rebuild(projector, valkey).models
    assert [one.digest_live for one in digests] == [one.digest_rebuilt for one in digests]
    assert len(digests) == len(READ_MODELS)


def test_scans_that_count_on_are_not_looked_up(valkey: "redis.Redis", store: Store) -> None:
    remembered = Deliveries(store)
    after = 0
    for first in (1, 21, 41):
        post(valkey, 1, list(range(first, first + 20)))
        post(valkey, 2, list(range(first, first + 20, 2)))
        drain(valkey, store)
        mark = Watermarks(valkey).read("log")
        assert mark is not None
        span = remembered.span(after, mark.received)
        assert (span.rows, span.doubtful, span.any_doubtful) == (30, [], False)
        remembered.take(span)
        after = mark.received
    post(valkey, 1, [60])
    post(valkey, 2, [60])  # between two that it has sent, but not one of them
    drain(valkey, store)
    mark = Watermarks(valkey).read("log")
    assert mark is not None
    assert remembered.span(after, mark.received).doubtful == [1]
    assert Deliveries(store).span(after, mark.received).doubtful == [1]


def test_thousands_of_devices_that_repeat_themselves_are_projected(valkey: "redis.Redis", store: Store) -> None:
    devices = range(100_000, 100_000 + 3 * deliveries.LOOKUPS_MAX)
    projector = projector_of(valkey, store)
    for _ in range(2):
        for device in devices:
            valkey.xadd(ONLY.scans, {"e": entry(device, [log_row(device, 1, AT, 1, PEOPLE[0], Kind.IN)])})
        sink = Sink(stream=ScanStream(valkey, owner="sink"), store=store, watermarks=Watermarks(valkey))
        while sink.step():
            pass
        while projector.step():
            pass
    for model in READ_MODELS:
        assert len(projected(store, model.table)) == len(devices)


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
    ((twice,),) = store.rows("SELECT count() FROM scans_by_subject")
    compared = rebuild(again, valkey).models
    assert [(one.equal, one.rows_live) for one in compared] == [(True, 49), (True, 49)]
    assert twice == 98, "or nothing was there twice"


def test_whoever_waits_ends_the_pauses_of_sink_and_projector(valkey: "redis.Redis", store: Store) -> None:
    hour = 3_600
    sink = Sink(
        stream=ScanStream(valkey, owner="sink"),
        store=store,
        watermarks=Watermarks(valkey),
        limits=SinkLimits(pace_ms=hour * 1_000),
    )
    projector = Projector(store, Watermarks(valkey), Rebuilds(valkey), ProjectorLimits(pace_seconds=hour))
    stop, asker = threading.Event(), Watermarks(valkey)
    threads = [threading.Thread(target=each.run, args=[stop]) for each in (sink, projector)]
    for thread in threads:
        thread.start()
    for device in (1, 2, 3):
        post(valkey, device, [1, 2, 3])
        seconds, microseconds = valkey.time()
        mark = asker.wait("read-models", seconds * 1_000 + microseconds // 1_000, 60)
        assert mark is not None
        assert mark.rows == 3 * device
    stop.set()
    while any(thread.is_alive() for thread in threads):
        asker.nudge(0)
        threads[0].join(0.1)


def test_small_spans_end_in_the_same_rows_and_a_rebuild_agrees(valkey: "redis.Redis", store: Store) -> None:
    for batch in range(12):
        # Each at a moment of its own: a span is never cut within one.
        post(valkey, batch % 3, list(range(batch * 7 + 1, batch * 7 + 12)), seed=batch, id=f"{AT + batch}-0")
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


def test_a_span_of_many_weeks_is_folded_in_like_any_other(valkey: "redis.Redis", store: Store) -> None:
    """Where few scan, a span of the log holds years: a rebuild must not fail on the number of partitions."""
    weeks = 130
    for first in range(0, weeks, 65):
        rows = [
            log_row(1, week + 1, AT + week * 7 * 86_400_000, 1, PEOPLE[0], Kind.IN) for week in range(first, first + 65)
        ]
        valkey.xadd(ONLY.scans, {"e": entry(1, rows)})
    drain(valkey, store)
    projector = projector_of(valkey, store)
    while projector.step():
        pass
    status = rebuild(projector, valkey)
    assert [(model.equal, model.rows_rebuilt) for model in status.models] == [(True, weeks), (True, weeks)]


def test_a_rebuild_goes_on_however_much_comes_in(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(valkey, 1, list(range(1, 30)))
    drain(valkey, store)
    projector, stop = projector_of(valkey, store), threading.Event()
    while projector.step():
        pass
    Rebuilds(valkey).request("r3")
    left = iter(range(20))

    def always_busy() -> bool:
        if next(left, None) is None:
            stop.set()
        return True

    monkeypatch.setattr(projector, "step", always_busy)
    projector.run(stop)
    status = Rebuilds(valkey).status()
    assert status is not None
    assert (status.id, status.state) == ("r3", "done")


@pytest.mark.parametrize("statement", ["EXCHANGE", "DROP TABLE scans"])
@pytest.mark.parametrize("table", ["scans_by_subject", "scans_by_place_hour"])
def test_a_rebuild_that_a_fault_cuts_short_at_its_end_is_begun_again(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch, statement: str, table: str
) -> None:
    post(valkey, 1, list(range(1, 50)))
    drain(valkey, store)
    projector = projector_of(valkey, store)
    while projector.step():
        pass
    store.command("ALTER TABLE scans_by_subject DELETE WHERE seq = 7 SETTINGS mutations_sync = 2")
    whole, faults = Store.command, iter([True])

    def failing(self: Store, sql: str, *more: object) -> None:
        if sql.startswith(statement) and table in sql and next(faults, False):
            raise StoreDown("gone")
        whole(self, sql, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "command", failing)
    Rebuilds(valkey).request("r4")
    with pytest.raises(StoreDown):
        rebuilt(projector)
    while projector.step() or projector.rebuild_step():
        pass
    status = Rebuilds(valkey).status()
    assert status is not None
    assert (status.id, status.state) == ("r4", "done")
    for model in READ_MODELS:
        assert projected(store, model.table) == first_deliveries(store)


def test_a_rebuild_that_could_not_say_that_it_is_done_is_begun_again(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(valkey, 1, list(range(1, 50)))
    drain(valkey, store)
    projector = projector_of(valkey, store)
    while projector.step():
        pass

    def unheard(self: Rebuilds, status: RebuildStatus) -> None:
        raise StreamDown("gone")

    Rebuilds(valkey).request("r5")
    with monkeypatch.context() as patch:
        patch.setattr(Rebuilds, "tell", unheard)
        with pytest.raises(StreamDown):
            projector.rebuild_step()
    while projector.rebuild_step():
        pass
    status = Rebuilds(valkey).status()
    assert status is not None
    assert (status.id, status.state) == ("r5", "done")


def test_two_rebuilds_at_once_never_put_a_half_filled_table_in_place(valkey: "redis.Redis", store: Store) -> None:
    post(valkey, 1, list(range(1, 60)))
    drain(valkey, store)
    one, other = (projector_of(valkey, store, rows_max=20) for _ in range(2))
    while one.step():
        pass
    Rebuilds(valkey).request("r6")
    while True:
        one.rebuild_step()
        status = Rebuilds(valkey).status()
        assert status is not None
        if status.rows_done >= 40:
            break
    other.rebuild_step()  # begins anew: what the first had filled is gone
    with pytest.raises(StoreDown):
        rebuilt(one)
    for model in READ_MODELS:
        assert projected(store, model.table) == first_deliveries(store)


def test_the_watermark_follows_the_log_when_nothing_comes_in(valkey: "redis.Redis", store: Store) -> None:
    drain(valkey, store)
    projector = projector_of(valkey, store)
    assert projector.step()
    watermarks = Watermarks(valkey)
    assert watermarks.read("read-models") == watermarks.read("log")
    assert not projector.step()
