import itertools

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from events import codec
from events.scans import LOG_ROW, RECEIVED_OFFSET, REFUSED_ROW, Entry
from ingest.sink import Sink, SinkLimits, gather, readable, received_times, row_string, stamped
from storage.clickhouse import Store
from storage.errors import StoreDown, StreamDown
from storage.partitions import ONLY, Partition, partitions_of
from storage.quiet import quiet
from storage.stream import READ_ENTRIES, NotTheOwner, ScanStream
from storage.watermarks import Watermarks
from tests.builders import entry, log_row

AT = 1_700_000_000_000
WHO = bytes(range(16))
STEPS = ["chosen", "frozen", "inserted", "committed", "announced", "trimmed"]


class Died(Exception):
    """The process ended here."""


def sink_of(
    valkey: "redis.Redis", store: Store, *, owner: str = "sink", dies_after: str = "", partition: Partition = ONLY
) -> Sink:
    def on_step(name: str) -> None:
        if name == dies_after:
            raise Died

    return Sink(
        stream=ScanStream(valkey, owner=owner, partition=partition),
        store=store,
        watermarks=Watermarks(valkey, [valkey] * partition.of),
        limits=SinkLimits(idle_ms=1),
        on_step=on_step,
    )


def post(valkey: "redis.Redis", payload: bytes, id: str = "*", partition: Partition = ONLY) -> None:
    valkey.xadd(partition.scans, {"e": payload}, id=id)
    valkey.hincrby(partition.sink, "bytes_in", len(payload))


def logged(store: Store) -> list[tuple[int, int, int]]:
    return [
        (int(device), int(seq), int(count))
        for device, seq, count in store.rows(
            "SELECT device, seq, count() FROM log GROUP BY device, seq ORDER BY device, seq"
        )
    ]


def test_batches_land_in_the_log_with_their_evidence_and_refusals(valkey: "redis.Redis", store: Store) -> None:
    refused = REFUSED_ROW.pack(1, 1, 3, AT, 0, 1, 4)
    post(
        valkey,
        entry(1, [log_row(1, 1, AT, 5, WHO), log_row(1, 2, AT + 1, 5, WHO)], refused=[refused]),
        "1700000000500-0",
    )
    post(valkey, entry(2, [log_row(2, 1, AT, 6, WHO)]), "1700000000700-0")

    assert sink_of(valkey, store).step() == 3

    assert logged(store) == [(1, 1, 1), (1, 2, 1), (2, 1, 1)]
    assert store.rows("SELECT device, toUnixTimestamp64Milli(received) FROM log ORDER BY device, seq") == [
        (1, 1_700_000_000_500),
        (1, 1_700_000_000_500),
        (2, 1_700_000_000_700),
    ]
    assert store.rows("SELECT device, seq, reason, toUnixTimestamp64Milli(received) FROM refused") == [
        (1, 3, "expired_code", 1_700_000_000_500)
    ]
    assert store.rows("SELECT device, seq_min, seq_max, entry, sealed FROM evidence ORDER BY device") == [
        (1, 1, 3, "1700000000500-0", "sealed"),
        (2, 1, 1, "1700000000700-0", "sealed"),
    ]
    assert valkey.xlen(ONLY.scans) == 0
    assert valkey.hget("truyvet:{0}:sink", "bytes_in") == valkey.hget("truyvet:{0}:sink", "bytes_out")
    watermark, now = Watermarks(valkey).read("log"), valkey.time()[0] * 1_000
    assert watermark is not None
    assert watermark.rows == 3
    assert now - 60_000 < watermark.received < now + 1_000


@pytest.mark.parametrize("step", STEPS)
def test_a_death_after_any_step_neither_loses_nor_doubles(valkey: "redis.Redis", store: Store, step: str) -> None:
    for seq in range(1, 6):
        post(valkey, entry(1, [log_row(1, seq, AT, 5, WHO)]))
    with pytest.raises(Died):
        sink_of(valkey, store, dies_after=step).step()
    # More arrives before the next sink starts: the frozen range must not grow by it.
    post(valkey, entry(1, [log_row(1, 6, AT, 5, WHO)]))
    successor = sink_of(valkey, store)
    for _ in range(3):
        successor.step()
    assert logged(store) == [(1, seq, 1) for seq in range(1, 7)]
    assert store.rows("SELECT count(), uniqExact(entry) FROM evidence") == [(6, 6)]
    assert valkey.xlen(ONLY.scans) == 0


def test_a_store_that_dies_between_two_tables_ends_exactly_once(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]))
    whole = Store.insert_rowbinary

    def failing(self: Store, table: str, data: bytes, *, token: str) -> None:
        if table == "evidence":
            raise StoreDown("gone")
        whole(self, table, data, token=token)

    monkeypatch.setattr(Store, "insert_rowbinary", failing)
    with pytest.raises(StoreDown):
        sink_of(valkey, store).step()
    monkeypatch.undo()
    sink_of(valkey, store).step()
    assert logged(store) == [(1, 1, 1)]
    assert store.rows("SELECT count() FROM evidence") == [(1,)]


def test_poison_goes_aside_and_blocks_nothing(valkey: "redis.Redis", store: Store) -> None:
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]))
    post(valkey, b"\xc1 not msgpack")
    valkey.xadd(ONLY.scans, {"other": b"field"})
    post(valkey, codec.to_msgpack(Entry(1, 1, 1, 1, b"short", b"", b"")))
    post(valkey, codec.to_msgpack(Entry(1, 1, 1, 1, LOG_ROW.pack(1, 1, 1, AT, 0, 1, WHO, 9, 1), b"", b"")))
    post(valkey, entry(1, [log_row(1, 2, AT, 5, WHO)]))
    sink_of(valkey, store).step()
    assert logged(store) == [(1, 1, 1), (1, 2, 1)]
    reasons = [reason for (reason,) in store.rows("SELECT reason FROM poison ORDER BY entry")]
    assert len(reasons) == 4
    assert reasons[2] == "rows are not of the row's size"
    assert reasons[3] == "a kind, way or reason that the tables do not know"


def test_a_second_sink_waits_until_the_first_gives_up(valkey: "redis.Redis", store: Store) -> None:
    first, second = sink_of(valkey, store, owner="first"), sink_of(valkey, store, owner="second")
    first.step()
    with pytest.raises(NotTheOwner):
        second.step()
    ScanStream(valkey, owner="first").release()
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]))
    second.step()
    # The first still believes in its lease, but none of its writes is taken.
    post(valkey, entry(1, [log_row(1, 2, AT, 5, WHO)]))
    with pytest.raises(NotTheOwner):
        first.step()


def test_a_promise_made_to_a_reader_while_a_range_is_chosen_is_kept(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, promised = sink_of(valkey, store), list[int]()
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]))
    sink.step()
    after = ScanStream.after

    def after_a_promise(self: ScanStream, cursor: str, *, entries_max: int, bytes_max: int) -> list[tuple[str, bytes]]:
        if found := quiet(valkey, ONLY):
            promised.append(found.upto)
            post(valkey, entry(1, [log_row(1, 2, AT, 5, WHO)]))
        return after(self, cursor, entries_max=entries_max, bytes_max=bytes_max)

    monkeypatch.setattr(ScanStream, "after", after_a_promise)
    assert [sink.step(), sink.step()] == [0, 1]
    received = store.rows("SELECT toUnixTimestamp64Milli(max(received)) FROM log")[0][0]
    assert [received > moment for moment in promised] == [True]


def test_an_idle_sink_promises_that_time_has_passed(valkey: "redis.Redis", store: Store) -> None:
    sink = sink_of(valkey, store)
    sink.step()
    promised = Watermarks(valkey).read("log")
    assert promised is not None
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]))
    sink.step()
    received = store.rows("SELECT toUnixTimestamp64Milli(received) FROM log")[0][0]
    assert received > promised.received


def test_received_follows_the_entries_and_tells_deliveries_apart() -> None:
    one, other = Entry(1, 1, 1, 10, b"", b"", b""), Entry(1, 1, 11, 20, b"", b"", b"")
    again, elsewhere = Entry(1, 1, 10, 10, b"", b"", b""), Entry(2, 1, 1, 10, b"", b"", b"")
    entries = [("100-0", one), ("100-1", other), ("100-2", again), ("100-3", elsewhere), ("150-0", again)]
    assert received_times(entries, 50) == [100, 100, 101, 101, 150]
    assert received_times(entries[:1], 120) == [121]


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 2), st.integers(1, 4), st.integers(0, 3)), max_size=30))
def test_received_never_decreases_and_shared_scans_differ(raw: list[tuple[int, int, int, int]]) -> None:
    entries = [
        (f"{at}-{number}", Entry(device, 1, low, low + width, b"", b"", b""))
        for number, (at, device, low, width) in enumerate(sorted(raw, key=lambda item: item[0]))
    ]
    times = received_times(entries, 5)
    assert times == sorted(times)
    assert all(time > 5 for time in times)
    for (left_time, (_, left)), (right_time, (_, right)) in itertools.combinations(zip(times, entries, strict=True), 2):
        if left.device == right.device and left.seq_min <= right.seq_max and right.seq_min <= left.seq_max:
            assert left_time < right_time


@given(st.integers(0, 5), st.integers(0, 2**62))
def test_stamping_writes_received_and_nothing_else(count: int, received: int) -> None:
    rows = b"".join(log_row(1, seq, AT + seq, 5, WHO) for seq in range(1, count + 1))
    done = stamped(rows, LOG_ROW.size, received)
    assert len(done) == len(rows)
    for before, after in zip(LOG_ROW.iter_unpack(rows), LOG_ROW.iter_unpack(done), strict=True):
        assert after == (*before[:4], received, *before[5:])
    assert RECEIVED_OFFSET == 22


def test_a_range_is_cut_by_size_but_never_empty(valkey: "redis.Redis") -> None:
    for _ in range(200):
        valkey.xadd(ONLY.scans, {"e": bytes(1000)})
    stream = ScanStream(valkey, owner="sink")
    assert len(stream.after("0-0", entries_max=10_000, bytes_max=1)) == READ_ENTRIES
    assert len(stream.after("0-0", entries_max=10_000, bytes_max=100_000)) == 2 * READ_ENTRIES
    whole = stream.after("0-0", entries_max=10_000, bytes_max=10_000_000)
    assert len(whole) == len({name for name, _ in whole}) == 200


def test_row_strings_carry_their_length() -> None:
    assert row_string(b"ab") == b"\x02ab"
    assert row_string(bytes(300))[:2] == b"\xac\x02"


def test_gathering_twice_gives_the_same_load() -> None:
    entries = [("5-0", entry(1, [log_row(1, 1, AT, 5, WHO)])), ("5-1", b"?")]
    assert gather(entries, 3) == gather(entries, 3)
    assert isinstance(readable(b"?"), str)


def taken_but_not_kept(store: Store, table: str, where: str = "1") -> None:
    """Leave what a death between ClickHouse's note of the token and its move of the part into place leaves behind."""
    store.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2")


@pytest.mark.parametrize("table", ["log", "refused", "evidence", "poison"])
def test_a_token_that_was_taken_without_its_rows_loses_nothing(valkey: "redis.Redis", store: Store, table: str) -> None:
    refused = REFUSED_ROW.pack(1, 1, 2, AT, 0, 1, 4)
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)], refused=[refused]))
    post(valkey, b"\xc1 not msgpack")
    with pytest.raises(Died):
        sink_of(valkey, store, dies_after="inserted").step()
    taken_but_not_kept(store, table)
    assert store.rows(f"SELECT count() FROM {table}") == [(0,)]
    sink_of(valkey, store).step()
    for each in ("log", "refused", "evidence", "poison"):
        assert store.rows(f"SELECT count() FROM {each}") == [(1,)], each


@pytest.mark.parametrize("table", ["log", "refused", "evidence", "poison"])
def test_partitions_do_not_take_each_other_s_rows_for_theirs(valkey: "redis.Redis", store: Store, table: str) -> None:
    """Both have entries of the same ids, received at the same ms; the second's token was taken without its rows."""
    first, second = partitions_of(2)
    for partition, device in ((first, 2), (second, 1)):
        refused = REFUSED_ROW.pack(device, 1, 2, AT, 0, 1, 4)
        good = entry(device, [log_row(device, 1, AT, 5, WHO)], refused=[refused])
        post(valkey, good, "1700000000500-0", partition)
        post(valkey, b"\xc1 not msgpack", "1700000000500-1", partition)
    with pytest.raises(Died):
        sink_of(valkey, store, partition=second, dies_after="inserted").step()
    taken_but_not_kept(store, table)
    for partition in (first, second):
        sink_of(valkey, store, partition=partition).step()
    for each in ("log", "refused", "evidence", "poison"):
        assert store.rows(f"SELECT count() FROM {each}") == [(2,)], each


def test_a_partition_s_clock_is_held_against_its_own_devices_alone(valkey: "redis.Redis", store: Store) -> None:
    first, second = partitions_of(2)
    post(valkey, entry(2, [log_row(2, 1, AT, 5, WHO)]), "1700000009000-0", first)
    sink_of(valkey, store, partition=first).step()
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]), "1700000000500-0", second)
    sink_of(valkey, store, partition=second).step()
    assert store.rows("SELECT toUnixTimestamp64Milli(received) FROM log WHERE device = 1") == [(1_700_000_000_500,)]


def test_nothing_is_laid_that_a_failover_could_take_back(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.confirm.CONFIRM_MS_MAX", 5)
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]))
    alone = Sink(
        stream=ScanStream(valkey, owner="sink", replicas=1),
        store=store,
        watermarks=Watermarks(valkey),
        limits=SinkLimits(idle_ms=1),
    )
    for _ in range(3):  # it freezes, finds frozen what it froze, and finds it again
        with pytest.raises(StreamDown):
            alone.step()
        assert logged(store) == []
    assert valkey.hexists(ONLY.sink, "range")
    sink_of(valkey, store).step()
    assert logged(store) == [(1, 1, 1)]


def test_nothing_is_promised_that_a_failover_could_take_back(
    valkey: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.confirm.CONFIRM_MS_MAX", 5)
    stream = ScanStream(valkey, owner="sink", replicas=1)
    stream.claim(60)
    future = 9_000_000_000_000
    valkey.hset(ONLY.sink, "received", future)
    for _ in range(2):  # a promise made before is none either, until it is confirmed
        with pytest.raises(StreamDown):
            stream.promise("0-0")


def test_only_what_is_missing_is_laid_again(valkey: "redis.Redis", store: Store) -> None:
    # A range over midnight is two parts, and a death may come between them.
    midnight = 1_700_006_400_000
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]), f"{midnight - 1}-0")
    post(valkey, entry(1, [log_row(1, 2, AT, 5, WHO)]), f"{midnight}-0")
    for _ in range(3):
        with pytest.raises(Died):
            sink_of(valkey, store, dies_after="inserted").step()
        taken_but_not_kept(store, "log", "seq = 2")
    sink_of(valkey, store).step()
    assert logged(store) == [(1, 1, 1), (1, 2, 1)]
    assert store.rows("SELECT count() FROM evidence") == [(2,)]


def test_received_never_falls_behind_the_log_though_the_stream_lost_its_memory(
    valkey: "redis.Redis", store: Store
) -> None:
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]), "1700000000500-0")
    sink = sink_of(valkey, store)
    sink.step()
    for successor in (sink, sink_of(valkey, store)):
        # Another server in its place, whose clock is behind.
        valkey.delete(ONLY.scans, "truyvet:{0}:sink")
        post(valkey, entry(1, [log_row(1, 2, AT, 5, WHO)]), "1700000000400-0")
        successor.step()
    received = store.rows("SELECT toUnixTimestamp64Milli(received) FROM log ORDER BY received")
    assert received == [(1_700_000_000_500,), (1_700_000_000_501,), (1_700_000_000_502,)]


def test_a_stream_out_of_memory_is_worked_off(valkey: "redis.Redis", store: Store) -> None:
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]))
    sink = sink_of(valkey, store)
    valkey.config_set("maxmemory", 1)
    try:
        with pytest.raises(StreamDown):  # only the announcement has to wait
            sink.step()
        assert valkey.xlen(ONLY.scans) == 0
    finally:
        valkey.config_set("maxmemory", 0)
    assert logged(store) == [(1, 1, 1)]


@pytest.mark.parametrize(
    "payload", [b"\x98\xa8entry.\xff1", b"\x99\xa8entry.v1\x01\x01\x01\x01\xc4\x00\xc4\x00\xc4\x00" + b"\x91" * 100_000]
)
def test_whatever_cannot_be_decoded_is_poison(payload: bytes) -> None:
    assert isinstance(readable(payload), str)
