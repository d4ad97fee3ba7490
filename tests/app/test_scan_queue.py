import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.scan_queue import KEPT_SECONDS_MAX, SEGMENT_SECONDS, QueueBroken, QueueTaken, ScanQueue
from events.scans import Kind, Scan

WRITER = """
import sys
from pathlib import Path
import app.scan_queue as module
from app.scan_queue import ScanQueue
from events.scans import Kind, Scan

module.SEGMENT_BYTES_MAX = 2_000
with ScanQueue(Path(sys.argv[1])) as queue:
    at = queue.next_seq
    while True:
        kept = queue.append(Scan(1, at + n, Kind.IN, code="x") for n in range(3))
        at += 3
        print(kept[-1].seq, flush=True)
        if kept[-1].seq % 2:
            queue.attempt(kept[0].seq)
            queue.acknowledge(kept[0].seq - 5)
"""


def scans(*times: int) -> list[Scan]:
    return [Scan(1, at, Kind.IN, code="TV1.x") for at in times]


class Clock:
    """Stands still until it is moved; begins with a day (UTC)."""

    def __init__(self) -> None:
        self.now = 20_000.0 * SEGMENT_SECONDS

    def __call__(self) -> float:
        return self.now


def on_disk(directory: Path) -> bytes:
    """All that the queue's segments hold."""
    return b"".join(segment.read_bytes() for segment in sorted(directory.glob("scans-*")))


def test_numbers_rise_from_one(tmp_path: Path) -> None:
    with ScanQueue(tmp_path) as queue:
        assert [one.seq for one in queue.append(scans(5, 6))] == [1, 2]
        assert [one.seq for one in queue.append(scans(4))] == [3]
        assert [one.at for one in queue.head(10)] == [5, 6, 4]


def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    with ScanQueue(tmp_path) as queue:
        kept = queue.append(scans(1, 2, 3))
        queue.acknowledge(1)
    with ScanQueue(tmp_path) as queue:
        assert queue.head(10) == kept[1:]
        assert queue.next_seq == 4


def test_the_counter_outlives_an_empty_queue(tmp_path: Path) -> None:
    for round_ in range(3):
        with ScanQueue(tmp_path) as queue:
            assert [one.seq for one in queue.append(scans(1))] == [round_ + 1]
            queue.acknowledge(round_ + 1)


def test_the_counter_outlives_dropped_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.scan_queue.SEGMENT_BYTES_MAX", 1)
    monkeypatch.setattr("app.scan_queue.KEPT_BYTES_MAX", 0)
    with ScanQueue(tmp_path) as queue:
        for at in range(5):
            queue.append(scans(at))
        queue.acknowledge(5)
    assert len(list(tmp_path.glob("scans-*"))) == 1
    with ScanQueue(tmp_path) as queue:
        assert len(queue) == 0
        assert queue.next_seq == 6


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    with ScanQueue(tmp_path) as queue:
        kept = queue.append(scans(1, 2))
    (segment,) = tmp_path.glob("scans-*")
    whole = segment.read_bytes()
    for cut in range(1, len(whole.splitlines()[1]) + 1):
        segment.write_bytes(whole[:-cut])
        with ScanQueue(tmp_path) as queue:
            assert queue.head(10) == kept[:1]
            (new,) = queue.append(scans(9))
        with ScanQueue(tmp_path) as queue:
            assert queue.head(10) == [*kept[:1], new]
            assert new.seq == 2


def test_damage_in_the_middle_is_not_skipped(tmp_path: Path) -> None:
    with ScanQueue(tmp_path) as queue:
        queue.append(scans(1, 2, 3))
    (segment,) = tmp_path.glob("scans-*")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(QueueBroken, match="line 2"):
        ScanQueue(tmp_path)
    assert segment.read_bytes() == bytes(data)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with ScanQueue(tmp_path), pytest.raises(QueueTaken):
        ScanQueue(tmp_path)
    ScanQueue(tmp_path).close()


def test_a_full_disk_loses_and_promises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScanQueue(tmp_path) as queue:
        kept = queue.append(scans(1))

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("app.scan_queue.os.fsync", full)
            with pytest.raises(OSError, match="No space"):
                queue.append(scans(2))
        assert queue.head(10) == kept
        assert queue.append(scans(3))[0].seq == 2
    with ScanQueue(tmp_path) as queue:
        assert [one.at for one in queue.head(10)] == [1, 3]


def test_kill_9_loses_and_reorders_nothing(tmp_path: Path) -> None:
    """A process appends, acknowledges and changes segments as fast as it can, and is killed again and again."""
    promised = 0
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(25):
            promised = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        promised = max([promised, *(int(line) for line in rest[:-1])])
        writer.wait()
        with ScanQueue(tmp_path) as queue:
            waiting = queue.head(1_000_000)
            assert [one.seq for one in waiting] == list(range(queue.acknowledged + 1, queue.next_seq))
            assert all(one.at == one.seq for one in waiting)
            assert queue.next_seq > promised


def test_what_was_answered_for_is_kept_and_found_by_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.scan_queue.SEGMENT_BYTES_MAX", 150)
    with ScanQueue(tmp_path) as queue:
        made = [scan for at in range(20) for scan in queue.append(scans(at))]
        queue.acknowledge(15)
        assert len(list(tmp_path.glob("scans-*"))) > 4
        for runs in ([(1, 15)], [(2, 2), (4, 6), (9, 9), (15, 15)], [(3, 100)], [(14, 14)], [(16, 20)], []):
            wanted = [scan for scan in made[:15] if any(first <= scan.seq <= last for first, last in runs)]
            assert queue.kept(runs, 100) == wanted
            assert queue.kept(runs, 2) == wanted[:2]
        assert queue.head(100) == made[15:]
    with ScanQueue(tmp_path) as queue:
        assert queue.kept([(1, 15)], 100) == made[:15]
        assert queue.head(100) == made[15:]
        assert queue.next_seq == 21


def test_only_so_many_bytes_are_kept_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.scan_queue.SEGMENT_BYTES_MAX", 1)
    with ScanQueue(tmp_path) as queue:
        queue.append(scans(0))
        size = next(tmp_path.glob("scans-*")).stat().st_size
        monkeypatch.setattr("app.scan_queue.KEPT_BYTES_MAX", 3 * size)
        for at in range(1, 9):
            queue.append(scans(at))
        queue.acknowledge(9)
        assert [scan.seq for scan in queue.kept([(1, 9)], 100)] == [7, 8, 9]


def test_nothing_is_kept_for_too_long_however_few_scans_there_are(tmp_path: Path) -> None:
    """A few scans a day for weeks, too few to fill a segment."""
    clock = Clock()
    with ScanQueue(tmp_path, clock=clock) as queue:
        for day in range(20):
            for _ in range(8):
                (kept,) = queue.append([Scan(1, int(clock.now), Kind.IN, cccd="001099000001")])
                queue.acknowledge(kept.seq)
                clock.now += SEGMENT_SECONDS / 8
            oldest = min(scan.at for scan in queue.kept([(1, kept.seq)], 10_000))
            assert min(KEPT_SECONDS_MAX, day * SEGMENT_SECONDS) <= clock.now - oldest
            assert clock.now - oldest <= KEPT_SECONDS_MAX + SEGMENT_SECONDS
            assert on_disk(tmp_path).count(b"001099000001") <= 8 * (KEPT_SECONDS_MAX // SEGMENT_SECONDS + 1)
        clock.now += KEPT_SECONDS_MAX
        queue.tidy()
        assert on_disk(tmp_path) == b""
        assert queue.append(scans(9))[0].seq == kept.seq + 1


def test_a_quiet_queue_is_emptied_when_it_is_opened_again(tmp_path: Path) -> None:
    clock = Clock()
    with ScanQueue(tmp_path, clock=clock) as queue:
        made = queue.append(scans(1, 2))
        queue.acknowledge(2)
    clock.now += KEPT_SECONDS_MAX
    with ScanQueue(tmp_path, clock=clock) as queue:
        assert queue.kept([(1, 2)], 10) == made
    clock.now += 1
    with ScanQueue(tmp_path, clock=clock) as queue:
        assert on_disk(tmp_path) == b""
        assert (queue.next_seq, queue.kept([(1, 2)], 10)) == (3, [])


def test_the_time_to_keep_begins_with_the_answer(tmp_path: Path) -> None:
    """A scan that waited for a month may be lost by the server right after it was answered for, like any other."""
    clock = Clock()
    with ScanQueue(tmp_path, clock=clock) as queue:
        made = queue.append(scans(1, 2))
        queue.acknowledge(1)
        clock.now += 10 * KEPT_SECONDS_MAX
        queue.tidy()
        assert queue.head(10) == made[1:]
        queue.acknowledge(2)
        clock.now += KEPT_SECONDS_MAX
    with ScanQueue(tmp_path, clock=clock) as queue:
        assert queue.kept([(1, 2)], 10) == made
        clock.now += 1
        queue.tidy()
        assert on_disk(tmp_path) == b""


def test_a_clock_that_was_years_ahead_keeps_nothing_for_years(tmp_path: Path) -> None:
    clock = Clock()
    clock.now += 1_000 * SEGMENT_SECONDS
    with ScanQueue(tmp_path, clock=clock) as queue:
        queue.append(scans(1))
        queue.acknowledge(1)
        clock.now -= 1_000 * SEGMENT_SECONDS
        queue.tidy()
        assert on_disk(tmp_path) == b""


def test_what_waits_is_never_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.scan_queue.SEGMENT_BYTES_MAX", 1)
    monkeypatch.setattr("app.scan_queue.KEPT_BYTES_MAX", 0)
    with ScanQueue(tmp_path, clock=lambda: 4e9) as queue:
        for at in range(4):
            queue.append(scans(at))
        queue.acknowledge(2)
    with ScanQueue(tmp_path, clock=lambda: 4e9) as queue:
        assert [scan.seq for scan in queue.head(10)] == [3, 4]
        assert queue.kept([(1, 4)], 10) == []


def test_damage_in_what_was_answered_for_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.scan_queue.SEGMENT_BYTES_MAX", 1)
    with ScanQueue(tmp_path) as queue:
        for at in range(3):
            queue.append(scans(at))
        queue.acknowledge(2)
    segments = sorted(tmp_path.glob("scans-*"))
    segments[0].write_bytes(b"nonsense\n")
    with ScanQueue(tmp_path) as queue:
        assert [scan.seq for scan in queue.head(10)] == [3]
        assert [scan.seq for scan in queue.kept([(1, 3)], 10)] == [2]
    assert segments[0].read_bytes() == b"nonsense\n"
