"""What is kept no longer goes; what is kept answers as before, at whatever step a run dies."""

import threading

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.clock import now_ms
from events.control import CaseClosed, RetentionAdvanced
from storage import expiry
from storage.clickhouse import Store
from storage.errors import StoreDown
from tests.tracing.retention.checks import HOUR, NOW, require_whole
from tests.tracing.retention.scene import DAY, DAYS, FIRST_DAY, TERMS, Died, Scene, Sent, dying_after, story
from tracing.retention.terms import RUN_HOUR, Terms

pytestmark = pytest.mark.parametrize("store", ["chdb"], indirect=True)


def test_a_run_that_dies_at_any_step_is_gone_on_with(valkey: "redis.Redis", store: Store) -> None:
    deliveries = story(1)
    scene = Scene(valkey, store)
    scene.deliver(deliveries)
    require_whole(scene, deliveries)
    before, deaths = scene.gaps(), 0
    while True:
        try:
            # Each run dies one step later than the one before, which had some of its work done already.
            status = scene.keep(NOW, on_step=dying_after(deaths + 1))
            break
        except Died:
            deaths += 1
            scene.restart()
            require_whole(scene, deliveries)
    assert deaths >= 8
    assert (status.state, status.kept_from) == ("done", FIRST_DAY + 12 * DAY)
    require_whole(scene, deliveries)
    # Day 12's midnight is the moment; what was taken in on day 10 happened before, as far as clocks can be ahead.
    assert scene.days("log")[0] == scene.days("evidence")[0] == "2021-10-29"
    assert scene.days("scans_by_subject")[0] == scene.days("scans_by_place_hour")[0] == "2021-10-25"
    assert {device: gaps[-1] for device, gaps in before.items()} == {
        device: gaps[-1] for device, gaps in scene.gaps().items()
    }
    again = scene.keep(NOW)
    assert (again.state, again.partitions, again.rows, again.traces) == ("done", 0, 0, 0)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), moments=st.lists(st.integers(20, DAYS), min_size=1, max_size=2, unique=True))
def test_scans_that_come_between_runs(valkey: "redis.Redis", store: Store, seed: int, moments: list[int]) -> None:
    valkey.flushall()
    for table in ("log", "refused", "evidence", "retired", "progress", "scans_by_subject", "scans_by_place_hour"):
        store.command(f"TRUNCATE TABLE {table}")
    deliveries, scene, come = story(seed), Scene(valkey, store), 0
    for day in sorted(moments):
        until = FIRST_DAY + day * DAY
        more = [one for one in deliveries[come:] if one.received < until]
        scene.deliver(more)
        come += len(more)
        scene.keep(until, terms=Terms(scan_days=14, trace_days=0))
        scene.restart()
    scene.deliver(deliveries[come:])
    require_whole(scene, deliveries)


def test_a_seq_that_comes_again_after_its_first_delivery_is_gone_is_no_new_scan(
    valkey: "redis.Redis", store: Store
) -> None:
    at = FIRST_DAY + 1_000
    first = [Sent(1, seq, at + seq, at + seq, 0, 1) for seq in (1, 2, 5)]
    refused = Sent(1, 3, at + 3, at + 6, 0, 0)
    scene = Scene(valkey, store)
    scene.deliver([*first, refused])
    scene.keep(NOW)
    assert (scene.sightings(), store.rows("SELECT count() FROM log")) == (set(), [(0,)])
    late = NOW + DAY
    # 2 came before and 3 was refused, 4 never came, 6 is new.
    again = [Sent(1, seq, late + seq, late + seq, 1, 2) for seq in (2, 3, 4, 6)]
    scene.deliver(again)
    assert {seq for _, _, _, seq, _ in scene.sightings()} == {3, 4, 6}
    assert scene.gaps()[1] == []
    assert all(model.equal for model in scene.rebuild())
    scene.restart()
    scene.deliver([Sent(1, 5, late + 9, late + 9, 1, 2)])
    assert {seq for _, _, _, seq, _ in scene.sightings()} == {3, 4, 6}
    assert all(model.equal for model in scene.rebuild())


def test_what_claims_to_have_happened_later_keeps_its_day(valkey: "redis.Redis", store: Store) -> None:
    scene = Scene(valkey, store)
    scene.deliver([Sent(1, 1, NOW, FIRST_DAY, 0, 1), Sent(1, 2, FIRST_DAY, FIRST_DAY + DAY, 0, 1)])
    status = scene.keep(NOW)
    assert status.held == ("20211018",)
    assert scene.days("log") == scene.days("evidence") == ["2021-10-18"]
    assert len(scene.sightings()) == 1
    assert all(model.equal for model in scene.rebuild())


def test_the_moment_never_goes_back(valkey: "redis.Redis", store: Store) -> None:
    scene = Scene(valkey, store)
    scene.keep(NOW)
    kept_from = scene.kept_from
    scene.keep(NOW - 3 * DAY)
    scene.keep(NOW, terms=Terms(scan_days=300, trace_days=0))
    scene.keep(NOW, terms=Terms(scan_days=0, trace_days=0))
    assert scene.kept_from == kept_from
    events = [recorded.event for _, recorded in scene.control.replay()]
    assert events == [RetentionAdvanced(kept_from)]


def test_without_terms_nothing_goes(valkey: "redis.Redis", store: Store) -> None:
    deliveries = story(2)
    scene = Scene(valkey, store)
    scene.deliver(deliveries)
    status = scene.keep(NOW, terms=Terms(scan_days=0, trace_days=0))
    assert (status.kept_from, status.partitions) == (0, 0)
    assert store.rows("SELECT count() FROM log") == [(len(deliveries),)]


def saved(store: Store, id: str, asked_at: int, *cases: list[str]) -> None:
    index = ",".join(
        f'{{"subject":"x","cases":[{",".join(f"{chr(34)}{case}{chr(34)}" for case in of)}]}}' for of in cases
    )
    row = (id, asked_at, "a", b"\0" * 32, f'{{"index":[{index}]}}', "{}")
    store.insert("traces", ["id", "asked_at", "actor", "fingerprint", "question", "answer"], [row])
    store.insert("trace_subjects", ["subject", "trace"], [[b"\1" * 16, id]])
    store.insert("trace_pieces", ["trace", "number", "piece"], [[id, 0, "{}"]])


def test_a_trace_goes_when_nobody_needs_it(valkey: "redis.Redis", store: Store) -> None:
    scene, old, young = Scene(valkey, store), NOW - 29 * DAY, NOW - 27 * DAY
    scene.control.append_all([CaseClosed("closed", old), CaseClosed("lately", young)])
    saved(store, "0a", old, [])
    saved(store, "0b", young, [])
    saved(store, "1a", old, ["closed"])
    saved(store, "1b", young, ["closed"])
    saved(store, "2a", old, ["open"])
    saved(store, "3a", old, ["closed"], ["lately"])
    saved(store, "4a", old, ["closed", "open"], [])
    assert scene.keep(NOW).traces == 2
    for table, column in (("traces", "id"), ("trace_subjects", "trace"), ("trace_pieces", "trace")):
        left = sorted(id for (id,) in store.rows(f"SELECT {column} FROM {table}"))
        assert left == ["0b", "1b", "2a", "3a", "4a"]
    assert scene.keep(NOW + 2 * DAY).traces == 3
    assert store.rows("SELECT id FROM traces ORDER BY id") == [("2a",), ("4a",)]


def test_it_runs_by_itself_once_a_day_and_whenever_it_is_asked(valkey: "redis.Redis", store: Store) -> None:
    scene, stop = Scene(valkey, store), threading.Event()
    midnight = now_ms() // DAY * DAY
    scene.now = midnight + DAY
    # The tables were made within a day: whoever brought the service to this release may still want other terms.
    assert not scene.keeper().look(stop)
    scene.now = midnight + 3 * DAY + RUN_HOUR * HOUR - 1
    keeper = scene.keeper()
    assert [keeper.look(stop), keeper.look(stop)] == [True, False]
    assert scene.kept_from == midnight + (2 - TERMS.scan_days) * DAY
    scene.now += 1
    assert [keeper.look(stop), keeper.look(stop)] == [True, False]
    assert scene.kept_from == midnight + (3 - TERMS.scan_days) * DAY
    scene.now += 5 * HOUR
    assert not keeper.look(stop)
    scene.runs.request("by-hand")
    assert [keeper.look(stop), keeper.look(stop)] == [True, False]
    assert scene.kept_from == midnight + (4 - TERMS.scan_days) * DAY
    status = scene.runs.status()
    assert status is not None
    assert (status.id, status.state, status.ended) == ("by-hand", "done", scene.now)


def test_a_store_that_is_down_is_waited_out(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, stop, downs = Scene(valkey, store), threading.Event(), iter([True, True, False])
    drop_nothing = expiry.compact

    def down(store: Store) -> bool:
        if next(downs, False):
            raise StoreDown("gone")
        stop.set()
        return drop_nothing(store)

    monkeypatch.setattr(expiry, "compact", down)
    scene.now = now_ms() + 3 * DAY
    scene.keeper().run(stop)
    status = scene.runs.status()
    assert status is not None
    assert (status.state, status.step, status.id) == ("running", "compact", "")


def test_whoever_asked_is_told_that_it_failed(
    valkey: "redis.Redis", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(store: Store) -> bool:
        raise StoreDown("gone")

    monkeypatch.setattr(expiry, "compact", down)
    scene = Scene(valkey, store)
    with pytest.raises(StoreDown):
        scene.keep(NOW)
    status = scene.runs.status()
    assert status is not None
    assert (status.state, status.detail) == ("failed", "The store is down: gone")
    assert scene.runs.requested() is None
