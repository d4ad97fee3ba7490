"""Scans travel late, twice and out of order, but all arrive."""

from collections import Counter

from app.simulate.delivery import BATCH_SCANS_MAX, OVERLAP_SCANS_MAX, UPLOAD_EVERY_MS
from app.simulate.plan import HOUR_MS
from app.simulate.world import World
from events.scans import BATCH_SCANS_MAX as EDGE_SCANS_MAX


def test_each_device_counts_from_one_in_order_of_time(busy_world: World) -> None:
    for scans in busy_world.taken.values():
        assert [taken.seq for taken in scans] == list(range(1, len(scans) + 1))
        times = [taken.attempt.at for taken in scans]
        assert times == sorted(times)


def test_every_scan_is_delivered_and_repeats_are_declared(busy_world: World) -> None:
    delivered = Counter((parcel.device, taken.seq) for parcel in busy_world.parcels for taken in parcel.taken)
    assert delivered.keys() == {(device, taken.seq) for device, scans in busy_world.taken.items() for taken in scans}
    repeats = sum(parcel.repeats for parcel in busy_world.parcels)
    assert 0 < repeats == delivered.total() - len(delivered)


def test_parcels_fit_the_edge_and_are_sent_after_they_happened(busy_world: World) -> None:
    sent = [parcel.sent for parcel in busy_world.parcels]
    assert sent == sorted(sent)
    for parcel in busy_world.parcels:
        assert len(parcel.taken) <= BATCH_SCANS_MAX + OVERLAP_SCANS_MAX <= EDGE_SCANS_MAX
        assert [taken.seq for taken in parcel.taken] == sorted({taken.seq for taken in parcel.taken})
        assert parcel.taken[-1].attempt.at < parcel.sent


def test_some_come_hours_late_and_some_newest_first(busy_world: World) -> None:
    late = [parcel for parcel in busy_world.parcels if parcel.sent - parcel.taken[0].attempt.at > 12 * HOUR_MS]
    assert late
    seen_to: dict[str, int] = {}
    backwards = 0
    for parcel in busy_world.parcels:
        if not parcel.repeats and parcel.taken[0].seq < seen_to.get(parcel.device, 0):
            backwards += 1
        seen_to[parcel.device] = max(seen_to.get(parcel.device, 0), parcel.taken[-1].seq)
    assert backwards


def test_most_are_sent_in_time(busy_world: World) -> None:
    in_time = sum(parcel.sent - parcel.taken[-1].attempt.at <= UPLOAD_EVERY_MS for parcel in busy_world.parcels)
    assert in_time > 0.8 * len(busy_world.parcels)
