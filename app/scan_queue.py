"""A scanner's queue on disk: a scan has its number and is on disk before anything else happens to it.

A directory of segments `scans-<first seq>.log`. A line is the CRC-32 of the scan's JSON, a space, the JSON. The
scan's own `seq` is in it, so the counter survives with the scans, and a segment's name carries it on when the
segment is empty. `acknowledged` and `attempted` each hold one number, replaced atomically. One process at a time
has the queue (a lock on the directory).

What the server has answered for stays on disk for a while all the same: a server that has lost its stream may ask for
it again. It names people, so it goes: whole segments, once everything in them was answered for, `KEPT_SECONDS_MAX`
after the last of those answers, and sooner where they pass `KEPT_BYTES_MAX`. A segment holds the scans of one
`SEGMENT_SECONDS` alone. Its file's time says when it was last written or answered for.

What a death leaves: after a line was begun, a torn last line, which nobody was promised and which is cut off;
after it was written, the scan, to be sent; after it was sent, the scan, to be sent again, which the server knows
as a duplicate.
"""

import fcntl
import os
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from app.errors import Explained
from events import codec
from events.runs import Run
from events.scans import SEQ_MAX, Scan

SEGMENT_PREFIX: Final = "scans-"
SEGMENT_SUFFIX: Final = ".log"
SEGMENT_BYTES_MAX: Final = 4_000_000
SEGMENT_SECONDS: Final = 86_400
"""A segment holds scans of one UTC day: few scans must not keep others on disk by filling it slowly."""
KEPT_BYTES_MAX: Final = 16_000_000
"""Some 100,000 scans; whatever the queue's last segment holds comes on top."""
KEPT_SECONDS_MAX: Final = 3 * 86_400
"""Since the server answered for the last scan of a segment: a weekend, to see that the stream was lost and mend it."""
SEQ_DIGITS: Final = 16
"""Enough for `SEQ_MAX`, so that names sort as their numbers do."""
ACKNOWLEDGED: Final = "acknowledged"
ATTEMPTED: Final = "attempted"


class QueueBroken(Explained):
    """A file of the queue cannot be read or was changed by something else; the message names it."""


class QueueTaken(Explained):
    """Another process has the queue open."""


class ScanQueue:
    """Scans in order, numbered without a gap from the last one, kept until the server has answered for them.

    One thread may append while another one sends.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Opens or makes the queue. `clock`: Unix seconds. Raises `QueueTaken`, `QueueBroken`."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory: Final = directory
        self._clock: Final = clock
        self._guard: Final = threading.RLock()
        self._lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise QueueTaken(
                f"Another process has the queue {directory} open. One device is one queue: end the other one."
            ) from None
        try:
            self.acknowledged = self._number(ACKNOWLEDGED)
            self.attempted = self._number(ATTEMPTED)
            self._waiting: Final[deque[Scan]] = deque()
            self._next = 1
            self._segments: Final = self._read_segments()
            self._file = self._segments[-1].open("ab", buffering=0)
            self.tidy()
        except BaseException:
            os.close(self._lock)
            raise

    def __len__(self) -> int:
        """How many scans the server has not answered for."""
        return len(self._waiting)

    @property
    def next_seq(self) -> int:
        """The number that the next scan gets."""
        return self._next

    def append(self, scans: Iterable[Scan]) -> list[Scan]:
        """Number the scans (their own `seq` is ignored) and return them once they are on disk."""
        with self._guard:
            return self._append(scans)

    def _append(self, scans: Iterable[Scan]) -> list[Scan]:
        numbered = [msgspec.structs.replace(scan, seq=seq) for seq, scan in enumerate(scans, self._next)]
        if not numbered:
            return []
        if numbered[-1].seq > SEQ_MAX:
            raise QueueBroken(f"The queue {self._directory} has used up its numbers. Enrol the device anew.")
        self._begin_segment_where_due()
        start = self._file.tell()
        try:
            self._write(b"".join(map(_line, numbered)))
            self._stamp(self._file.fileno())
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(start)  # a full disk must leave no half line for the next scan to be glued to
            raise
        self._next = numbered[-1].seq + 1
        self._waiting.extend(numbered)
        return numbered

    def head(self, count: int) -> list[Scan]:
        """The oldest scans not answered for, at most `count`."""
        with self._guard:
            return list(islice(self._waiting, count))

    def kept(self, runs: Iterable[Run], count: int) -> list[Scan]:
        """Scans of these runs that the server has answered for and that are still on disk: the lowest, at most `count`.

        `runs` are inclusive, sorted and disjoint. One segment is in memory at a time.
        """
        found: list[Scan] = []
        wanted = deque(runs)
        with self._guard:
            for segment, last in self._spans():
                if not wanted or len(found) >= count:
                    break
                if _first_seq(segment) <= wanted[-1][1] and wanted[0][0] <= last:
                    scans, _ = _whole_lines(segment.read_bytes())
                    found += _of_runs((scan for scan in scans if scan.seq <= self.acknowledged), wanted)
        return found[:count]

    def attempt(self, seq: int) -> None:
        """Note on disk that scans up to `seq` are about to be sent."""
        if seq > self.attempted:
            self._replace_number(ATTEMPTED, seq)
            self.attempted = seq

    def take_back(self, seq: int) -> None:
        """The last attempt certainly brought nothing to the server: `seq` is what was attempted before it."""
        if seq < self.attempted:
            self._replace_number(ATTEMPTED, seq)
            self.attempted = seq

    def acknowledge(self, seq: int) -> None:
        """The server has answered for every scan up to `seq`."""
        with self._guard:
            self._replace_number(ACKNOWLEDGED, seq)
            before, self.acknowledged = self.acknowledged, seq
            while self._waiting and self._waiting[0].seq <= seq:
                self._waiting.popleft()
            self._begin_segment_where_due()
            for segment, last in self._spans():
                if _first_seq(segment) <= seq and before < last:
                    self._stamp(segment)
            self._drop_segments()

    def tidy(self) -> None:
        """Remove what was answered for and kept for its time. Cheap: call it again and again while time passes."""
        with self._guard:
            self._begin_segment_where_due()
            self._drop_segments()

    def skip_to(self, seq: int) -> None:
        """Number the next scan `seq` or higher: the server has seen the numbers below from this device."""
        with self._guard:
            if seq > self._next:
                self._next = seq
                self._begin_segment()

    def close(self) -> None:
        """Give the queue up; everything is on disk."""
        self._file.close()
        os.close(self._lock)

    def __enter__(self) -> "ScanQueue":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_segments(self) -> list[Path]:
        segments = sorted(self._directory.glob(f"{SEGMENT_PREFIX}*{SEGMENT_SUFFIX}"))
        last = max(self.acknowledged, self.attempted)
        previous = 0
        # Those before are kept in case that the server asks again; nothing that waits hangs on their being whole.
        for segment in segments[_answered(segments, self.acknowledged) :]:
            last = max(last, _first_seq(segment) - 1)
            for scan in _read(segment, last=segment == segments[-1]):
                if scan.seq <= previous:
                    raise QueueBroken(f"{segment}: the numbers do not rise. Keep the directory and ask for help.")
                previous = scan.seq
                if scan.seq > self.acknowledged:
                    self._waiting.append(scan)
        self._next = max(last, previous) + 1
        if not segments:
            segments = [self._make_segment()]
        return segments

    def _spans(self) -> Iterator[tuple[Path, int]]:
        """Every segment with the highest seq that may be in it."""
        following = [*map(_first_seq, self._segments[1:]), self._next]
        return zip(self._segments, (first - 1 for first in following), strict=True)

    def _begin_segment_where_due(self) -> None:
        """Begin one where the present one is full or of another day. An empty one serves any day."""
        status = os.fstat(self._file.fileno())
        if status.st_size and (
            status.st_size >= SEGMENT_BYTES_MAX
            or status.st_mtime // SEGMENT_SECONDS != self._clock() // SEGMENT_SECONDS
        ):
            self._begin_segment()

    def _stamp(self, segment: Path | int) -> None:
        """Give a segment's file the present time, by the queue's own clock."""
        now = self._clock()
        os.utime(segment, (now, now))

    def _begin_segment(self) -> None:
        segment = self._make_segment()
        self._file.close()
        self._file = segment.open("ab", buffering=0)
        self._segments.append(segment)

    def _make_segment(self) -> Path:
        segment = self._directory / f"{SEGMENT_PREFIX}{self._next:0{SEQ_DIGITS}d}{SEGMENT_SUFFIX}"
        os.close(os.open(segment, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.fsync(self._lock)
        return segment

    def _drop_segments(self) -> None:
        """Remove segments that hold nothing to send, beyond those to keep; the last one stays, for the counter."""
        now = self._clock()
        done = [segment.stat() for segment in self._segments[: _answered(self._segments, self.acknowledged)]]
        while done and (
            sum(status.st_size for status in done) > KEPT_BYTES_MAX
            or abs(now - done[0].st_mtime) > KEPT_SECONDS_MAX  # a clock that was far ahead must not keep it for years
        ):
            self._segments.pop(0).unlink()
            done.pop(0)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _number(self, name: str) -> int:
        path = self._directory / name
        try:
            return int(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except ValueError:
            raise QueueBroken(f"{path} holds no number. Keep the directory and ask for help.") from None

    def _replace_number(self, name: str, number: int) -> None:
        temporary = self._directory / f".{name}"
        with temporary.open("wb") as file:
            file.write(b"%d" % number)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._directory / name)
        os.fsync(self._lock)


def _line(scan: Scan) -> bytes:
    data = codec.to_json(scan)
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _first_seq(segment: Path) -> int:
    try:
        return int(segment.name.removeprefix(SEGMENT_PREFIX).removesuffix(SEGMENT_SUFFIX))
    except ValueError:
        raise QueueBroken(f"{segment} is no file of the queue. Move it away.") from None


def _answered(segments: list[Path], acknowledged: int) -> int:
    """How many of the oldest segments hold nothing to send; the last one does not count."""
    return sum(_first_seq(following) <= acknowledged + 1 for following in segments[1:])


def _read(segment: Path, *, last: bool) -> list[Scan]:
    """The scans of a segment. A torn end of the last one is cut off: its append never returned."""
    data = segment.read_bytes()
    scans, good = _whole_lines(data)
    if good == len(data):
        return scans
    if not last or b"\n" in data[good:-1]:
        raise QueueBroken(f"{segment}: line {len(scans) + 1} is damaged. Keep the directory and ask for help.")
    with segment.open("r+b") as file:
        file.truncate(good)
        os.fsync(file.fileno())
    return scans


def _whole_lines(data: bytes) -> tuple[list[Scan], int]:
    """The scans up to the first line that is torn or damaged, and how many bytes those lines are."""
    scans: list[Scan] = []
    good = 0
    for line in data.splitlines(keepends=True):
        scan = _scan(line)
        if scan is None:
            break
        scans.append(scan)
        good += len(line)
    return scans, good


def _of_runs(scans: Iterable[Scan], runs: deque[Run]) -> list[Scan]:
    """Those scans, by seq, that lie in a run. Takes the runs away that end below the last of the scans."""
    found: list[Scan] = []
    for scan in scans:
        while runs and runs[0][1] < scan.seq:
            runs.popleft()
        if runs and runs[0][0] <= scan.seq:
            found.append(scan)
    return found


def _scan(line: bytes) -> Scan | None:
    checksum, _, data = line.partition(b" ")
    if not data.endswith(b"\n"):
        return None
    data = data[:-1]
    if checksum != b"%08x" % zlib.crc32(data):
        return None
    try:
        return codec.from_json(data, Scan)
    except msgspec.MsgspecError:
        return None
