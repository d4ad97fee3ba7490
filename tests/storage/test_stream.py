import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import StreamDown, StreamFull
from storage.partitions import ONLY
from storage.publish import Published, Publisher
from storage.runs import Run, parse_runs
from storage.stream import FrozenRange, NotTheOwner, Promised, ScanStream
from storage.valkey import EmbeddedValkey

T = TypeVar("T")

SCRIPT_CPU_SECONDS_MAX = 0.3
"""How much work one batch may be to the server, which nobody else gets an answer of meanwhile."""


def with_publisher(url: str, use: Callable[[Publisher], Awaitable[T]], *, bytes_max: int = 1_000_000) -> T:
    async def scenario() -> T:
        async with redis.asyncio.Redis.from_url(url) as client:
            return await use(Publisher([client], bytes_max=bytes_max))

    return asyncio.run(scenario())


def runs_of(seqs: set[int]) -> list[Run]:
    runs: list[Run] = []
    for seq in sorted(seqs):
        if runs and seq == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs


def expand(runs: list[Run]) -> set[int]:
    return {seq for low, high in runs for seq in range(low, high + 1)}


def test_a_fresh_batch_is_appended_and_the_next_seq_told(redis_url: str, valkey: "redis.Redis") -> None:
    published = with_publisher(
        redis_url, lambda publisher: publisher.publish(b"payload", device=1, runs=[(1, 3)], replay_key=b"a" * 16)
    )
    assert published == Published(published.entry, False, [], 4, 3)
    assert valkey.xrange(ONLY.scans) == [(published.entry.encode(), {b"e": b"payload"})]


def test_an_exact_replay_is_not_appended_again(redis_url: str, valkey: "redis.Redis") -> None:
    async def twice(publisher: Publisher) -> Published:
        await publisher.publish(b"payload", device=1, runs=[(1, 3)], replay_key=b"a" * 16)
        return await publisher.publish(b"payload", device=1, runs=[(1, 3)], replay_key=b"a" * 16)

    assert with_publisher(redis_url, twice) == Published("", True, [], 4, 3)
    assert valkey.xlen(ONLY.scans) == 1


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(batches=st.lists(st.sets(st.integers(1, 60), min_size=1), min_size=1, max_size=8))
def test_the_account_of_seen_seqs_is_a_set(redis_url: str, batches: list[set[int]]) -> None:
    async def publish_all(publisher: Publisher) -> list[Published]:
        return [
            await publisher.publish(b"x", device=5, runs=runs_of(batch), replay_key=number.to_bytes(16))
            for number, batch in enumerate(batches)
        ]

    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    seen: set[int] = set()
    for batch, published in zip(batches, with_publisher(redis_url, publish_all), strict=True):
        assert expand(published.known) == batch & seen
        seen |= batch
        assert published.next_seq == min(set(range(1, 62)) - seen)
        assert published.seen_to == max(seen)


def test_concurrent_batches_each_get_their_own_answer(redis_url: str, valkey: "redis.Redis") -> None:
    async def many(publisher: Publisher) -> list[Published]:
        return await asyncio.gather(
            *(
                publisher.publish(b"x", device=device, runs=[(1, device)], replay_key=device.to_bytes(16))
                for device in range(1, 600)
            )
        )

    answers = with_publisher(redis_url, many)
    assert [answer.next_seq for answer in answers] == [device + 1 for device in range(1, 600)]
    assert valkey.xlen(ONLY.scans) == 599


def test_a_full_stream_takes_nothing_until_the_sink_has_committed(redis_url: str, valkey: "redis.Redis") -> None:
    sink = ScanStream(valkey, owner="me")
    assert sink.claim(10)

    async def fill(publisher: Publisher) -> None:
        first = await publisher.publish(b"x" * 60, device=1, runs=[(1, 1)], replay_key=bytes(16))
        await publisher.publish(b"x" * 60, device=1, runs=[(2, 2)], replay_key=b"b" * 16)
        with pytest.raises(StreamFull):
            await publisher.publish(b"x", device=1, runs=[(3, 3)], replay_key=b"c" * 16)
        assert sink.backlog() == (2, 120)
        frozen = FrozenRange(first.entry, first.entry, 0, 1)
        sink.freeze(frozen)
        sink.commit(frozen, rows=1, size=60)
        await publisher.publish(b"x", device=1, runs=[(3, 3)], replay_key=b"c" * 16)

    with_publisher(redis_url, fill, bytes_max=100)


def test_a_dead_server_is_told_and_a_restarted_one_is_used_again(valkey_server: EmbeddedValkey) -> None:
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()

    async def scenario(publisher: Publisher) -> Published:
        await publisher.publish(b"x", device=1, runs=[(1, 1)], replay_key=bytes(16))
        valkey_server.kill()
        with pytest.raises(StreamDown):
            await publisher.publish(b"y", device=1, runs=[(2, 2)], replay_key=b"b" * 16)
        valkey_server.start()
        return await publisher.publish(b"z", device=1, runs=[(2, 2)], replay_key=b"c" * 16)

    # The batch acknowledged before the crash is still known: it was on disk.
    assert with_publisher(valkey_server.url, scenario).next_seq == 3


def put_entries(valkey: "redis.Redis", *ids: str) -> None:
    for id in ids:
        valkey.xadd(ONLY.scans, {"e": b""}, id=id)


def test_only_the_owner_may_move_the_cursor(valkey: "redis.Redis") -> None:
    put_entries(valkey, "1-0", "2-0")
    first, second = ScanStream(valkey, owner="first"), ScanStream(valkey, owner="second")
    assert first.claim(60)
    assert not second.claim(60)
    frozen = FrozenRange("1-0", "2-0", 0, 5)
    with pytest.raises(NotTheOwner):
        second.freeze(frozen)
    first.freeze(frozen)
    assert second.state().frozen == frozen
    first.release()
    assert second.claim(60)
    with pytest.raises(NotTheOwner):
        first.commit(frozen, rows=1, size=1)
    complete = second.commit(frozen, rows=3, size=10)
    state = second.state()
    assert (state.cursor, state.received, state.rows, state.frozen) == ("2-0", complete, 3, None)


def test_a_commit_says_up_to_when_the_log_is_complete(valkey: "redis.Redis") -> None:
    put_entries(valkey, "100-0", "300-0", "300-1")
    sink = ScanStream(valkey, owner="me")
    sink.claim(60)
    parts = [FrozenRange("100-0", "100-0", 0, 100), FrozenRange("300-0", "300-0", 299, 300)]
    for part, complete in zip(parts, (299, 300), strict=True):
        sink.freeze(part)
        # The next entry is received later than all that came before it, and never before what was laid.
        assert sink.commit(part, rows=1, size=1) == complete
        assert sink.commit(part, rows=1, size=1) == complete
    last = FrozenRange("300-1", "300-1", 300, 301)
    sink.freeze(last)
    seconds, _ = valkey.time()
    assert sink.commit(last, rows=1, size=1) >= seconds * 1_000 - 1


def test_no_promise_while_an_entry_waits(valkey: "redis.Redis") -> None:
    sink = ScanStream(valkey, owner="me")
    sink.claim(60)
    entry = valkey.xadd(ONLY.scans, {"e": b"x"})
    assert isinstance(entry, bytes)
    assert sink.promise("0-0") == 0
    promised = sink.promise(entry.decode())
    assert promised >= int(entry.split(b"-")[0]) - 1
    assert sink.state().received == promised


def test_runs_parse() -> None:
    assert parse_runs("") == []
    assert parse_runs("1-3,5-5") == [(1, 3), (5, 5)]


def test_an_account_in_wild_disorder_forgets_but_never_lies(redis_url: str) -> None:
    async def scattered(publisher: Publisher) -> list[Published]:
        odd = [(seq, seq) for seq in range(1, 1401, 2)]
        first = await publisher.publish(b"x", device=1, runs=odd, replay_key=b"a" * 16)
        even = [(seq, seq) for seq in range(2, 1401, 2)]
        second = await publisher.publish(b"y", device=1, runs=even, replay_key=b"b" * 16)
        return [first, second]

    first, second = with_publisher(redis_url, scattered)
    assert (first.known, first.seen_to) == ([], 1399)
    assert (second.known, second.seen_to) == ([], 1400)


def test_an_account_is_pruned_without_holding_the_server_up(redis_url: str, valkey: "redis.Redis") -> None:
    async def scattered(publisher: Publisher) -> Published:
        runs = [(seq, seq) for seq in range(1, 10_001, 2)]
        return await publisher.publish(b"x", device=1, runs=runs, replay_key=b"a" * 16)

    before = cpu_seconds(valkey)
    assert with_publisher(redis_url, scattered).seen_to == 9_999
    assert cpu_seconds(valkey) - before < SCRIPT_CPU_SECONDS_MAX


def cpu_seconds(valkey: "redis.Redis") -> float:
    """What the server's one thread of commands has worked so far; waiting for a busy machine is no work."""
    spent = valkey.info("cpu")
    return float(spent["used_cpu_user_main_thread"] + spent["used_cpu_sys_main_thread"])


def test_the_longest_runs_and_the_newest_are_remembered(redis_url: str) -> None:
    async def publish(publisher: Publisher) -> Published:
        singles = [(seq, seq) for seq in range(10, 1_400, 2)]
        await publisher.publish(b"x", device=1, runs=[(1, 5), *singles], replay_key=b"a" * 16)
        return await publisher.publish(b"y", device=1, runs=[(1, 1_398)], replay_key=b"b" * 16)

    known = with_publisher(redis_url, publish).known
    assert (known[0], known[-1], len(known)) == ((1, 5), (1_398, 1_398), 512)


def test_who_has_stopped_waiting_is_not_published_late(redis_url: str, valkey: "redis.Redis") -> None:
    async def impatient(publisher: Publisher) -> Published:
        gone = asyncio.create_task(publisher.publish(b"late", device=1, runs=[(1, 1)], replay_key=b"a" * 16))
        await asyncio.sleep(0)
        gone.cancel()
        return await publisher.publish(b"x", device=1, runs=[(2, 2)], replay_key=b"b" * 16)

    assert with_publisher(redis_url, impatient).seen_to == 2
    assert [fields for _, fields in valkey.xrange(ONLY.scans) or []] == [{b"e": b"x"}]


def test_what_waits_for_a_server_that_hangs_is_bounded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.publish.WAITING_BYTES_MAX", 100)

    async def crowd(publisher: Publisher) -> list[Published | BaseException]:
        calls = [
            publisher.publish(b"x" * 40, device=device, runs=[(1, 1)], replay_key=device.to_bytes(16))
            for device in range(1, 5)
        ]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        answers.append(await publisher.publish(b"x" * 40, device=9, runs=[(1, 1)], replay_key=bytes(16)))
        return answers

    answers = with_publisher(redis_url, crowd)
    assert [type(answer) for answer in answers] == [Published, Published, StreamFull, StreamFull, Published]


def test_batches_that_share_a_call_see_each_other(redis_url: str, valkey: "redis.Redis") -> None:
    async def at_once(publisher: Publisher) -> list[Published]:
        batches = [
            (b"x", 1, [(1, 3)], b"a"),
            (b"y", 1, [(3, 5)], b"b"),
            (b"z", 2, [(1, 1)], b"c"),
            (b"x", 1, [(1, 3)], b"a"),
        ]
        calls = [
            publisher.publish(entry, device=device, runs=runs, replay_key=key * 16)
            for entry, device, runs, key in batches
        ]
        return await asyncio.gather(*calls)

    first, second, other, again = with_publisher(redis_url, at_once)
    assert (first.known, second.known, other.known) == ([], [(3, 3)], [])
    assert (again.replayed, again.entry, again.next_seq, again.seen_to) == (True, "", 6, 5)
    entries = [fields for _, fields in valkey.xrange(ONLY.scans) or []]
    assert entries == [{b"e": b"x"}, {b"e": b"y"}, {b"e": b"z"}]
    assert valkey.hget(ONLY.sink, "bytes_in") == b"3"


def test_a_stream_that_fills_within_a_call_refuses_the_rest(redis_url: str, valkey: "redis.Redis") -> None:
    async def at_once(publisher: Publisher) -> list[Published | BaseException]:
        calls = [
            publisher.publish(b"x" * 400_000, device=device, runs=[(1, 1)], replay_key=device.to_bytes(16))
            for device in range(1, 5)
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = with_publisher(redis_url, at_once)
    assert [type(answer) for answer in answers] == [Published, Published, Published, StreamFull]
    assert valkey.xlen(ONLY.scans) == 3
    assert not valkey.hexists(ONLY.seen, "4")


def test_a_server_without_the_script_is_given_it(redis_url: str, valkey: "redis.Redis") -> None:
    async def twice(publisher: Publisher) -> Published:
        await publisher.publish(b"x", device=1, runs=[(1, 1)], replay_key=b"a" * 16)
        valkey.script_flush()
        return await publisher.publish(b"y", device=1, runs=[(2, 2)], replay_key=b"b" * 16)

    assert with_publisher(redis_url, twice).next_seq == 3


def test_what_the_server_does_not_have_is_not_frozen(valkey: "redis.Redis") -> None:
    # Read from a server that has since been replaced by its replica, which never got the last entry.
    sink = ScanStream(valkey, owner="me")
    sink.claim(60)
    put_entries(valkey, "1-0")
    with pytest.raises(StreamDown):
        sink.freeze(FrozenRange("1-0", "2-0", 0, 5))
    assert sink.state().frozen is None


def test_a_commit_that_arrives_twice_counts_once(valkey: "redis.Redis") -> None:
    put_entries(valkey, "1-0", "2-0")
    sink = ScanStream(valkey, owner="me")
    sink.claim(60)
    frozen = FrozenRange("1-0", "2-0", 0, 5)
    sink.freeze(frozen)
    sink.commit(frozen, rows=3, size=10)
    sink.commit(frozen, rows=3, size=10)
    assert sink.state().rows == 3
    assert sink.backlog() == (2, -10)


def test_a_commit_that_another_sink_has_overtaken_is_refused(valkey: "redis.Redis") -> None:
    put_entries(valkey, "1-0", "2-0", "3-0", "4-0")
    slow, other = ScanStream(valkey, owner="slow"), ScanStream(valkey, owner="other")
    frozen, later = FrozenRange("1-0", "2-0", 0, 5), FrozenRange("3-0", "4-0", 5, 9)
    slow.claim(60)
    slow.freeze(frozen)
    slow.release()
    other.claim(60)
    other.commit(frozen, rows=3, size=10)
    other.freeze(later)
    other.commit(later, rows=2, size=10)
    other.release()
    slow.claim(60)
    with pytest.raises(NotTheOwner):
        slow.commit(frozen, rows=3, size=10)
    assert (slow.state().cursor, slow.state().rows) == ("4-0", 5)


def test_a_damaged_account_spoils_nobody_else_s_batch(redis_url: str, valkey: "redis.Redis") -> None:
    valkey.hset(ONLY.seen, "1", "rubbish")

    async def at_once(publisher: Publisher) -> list[Published]:
        calls = [
            publisher.publish(b"x", device=device, runs=[(1, 1)], replay_key=device.to_bytes(16)) for device in (1, 2)
        ]
        return await asyncio.gather(*calls)

    assert [one.next_seq for one in with_publisher(redis_url, at_once)] == [2, 2]


def test_a_freeze_that_arrives_late_changes_nothing(valkey: "redis.Redis") -> None:
    put_entries(valkey, "1-0", "2-0")
    sink = ScanStream(valkey, owner="me")
    sink.claim(60)
    late, laid = FrozenRange("1-0", "1-0", 0, 5), FrozenRange("1-0", "2-0", 0, 6)
    sink.freeze(laid)
    sink.commit(laid, rows=1, size=1)
    with pytest.raises(Promised):
        sink.freeze(late)
    assert sink.state().frozen is None


def test_a_fault_of_one_thread_leaves_the_others_connections_alone(redis_url: str) -> None:
    # Another thread that shares the client is in the middle of a blocking read.
    with redis.Redis.from_url(redis_url, socket_timeout=5) as client:
        told: list[object] = []

        def read() -> None:
            try:
                told.append(client.xread({"truyvet:elsewhere": "$"}, block=400))
            except Exception as error:
                told.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.1)
        faulty = ScanStream(client, owner="me")
        with pytest.raises(StreamDown):
            faulty._call(_fails)
        reader.join()
    assert not isinstance(told[0], Exception)


def _fails() -> None:
    raise redis.ConnectionError


def test_a_server_out_of_memory_lets_the_sink_work_it_off(valkey: "redis.Redis") -> None:
    sink = ScanStream(valkey, owner="me")
    entry = valkey.xadd(ONLY.scans, {"e": b"x" * 1_000})
    assert isinstance(entry, bytes)
    frozen = FrozenRange(entry.decode(), entry.decode(), 0, 5)
    valkey.config_set("maxmemory", 1)
    try:
        assert sink.claim(60)
        sink.freeze(frozen)
        sink.commit(frozen, rows=1, size=1_000)
        sink.promise(frozen.last)
        sink.trim(frozen.last)
    finally:
        valkey.config_set("maxmemory", 0)
    assert valkey.xlen(ONLY.scans) == 0


def test_of_several_nudges_the_newest_is_seen_and_the_others_are_answered_with_it(valkey: "redis.Redis") -> None:
    """Each would else have the sink lay a small range of its own."""
    sink = ScanStream(valkey, owner="me")
    for number in range(3):
        valkey.xadd(ONLY.nudge, {"laid": number}, id=f"{number + 1}-0")
    newest = "3-0"
    assert sink.await_nudge("0-0", 1_000) == newest
    assert sink.wait("0-0", "0-0", 1_000) == newest
    assert sink.await_nudge(newest, 1) == newest
