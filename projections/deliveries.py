"""Which seqs of each device the log holds already, so that few scans must be looked up in it.

Of several deliveries of one (device, seq) the one received first counts. To ask the log about every fresh scan costs
more than to project it, and nearly always the answer is no: scanners count on. So the projector remembers, for each
device, which runs of seqs have passed, and looks up only the devices of which a batch touches one of them.
"""

import collections
from bisect import bisect_left
from typing import Final

import msgspec
import numpy as np

from storage.clickhouse import Store
from storage.native import Columns

RUNS_MAX: Final = 256
"""A device with more runs is remembered more coarsely: the two nearest are taken for one. It may then be looked up
needlessly, never forgotten."""

DEVICES_MAX: Final = 200_000
"""So many devices are remembered, those that sent last; of the others the log is asked again."""
LOOKUPS_MAX: Final = 2_000
"""So many devices are named in one statement, which travels in a URL. Of more that are unknown the log is asked as of
all; where a span has more that are doubtful, all its scans are looked up."""

_BEFORE: Final = (
    "SELECT device, min(low), max(high) FROM ("
    " SELECT device, min(seq) AS low, max(seq) AS high FROM log"
    " WHERE received <= fromUnixTimestamp64Milli({{upto:Int64}}){named} GROUP BY device"
    " UNION ALL SELECT device, min(first), max(upto) FROM retired WHERE taken{named} GROUP BY device"
    ") GROUP BY device"
)
_BEFORE_OF_ALL: Final = _BEFORE.format(named="")
_BEFORE_OF_SOME: Final = _BEFORE.format(named=" AND device IN {devices:Array(UInt32)}")
# The sink gives deliveries that may hold the same scan different times: what one device sent in one ms is distinct.
_BATCHES: Final = (
    "SELECT device, min(seq) AS low, max(seq) AS high, count() AS scans FROM log"
    " WHERE received > fromUnixTimestamp64Milli({after:Int64}) AND received <= fromUnixTimestamp64Milli({upto:Int64})"
    " GROUP BY device, received ORDER BY device, low"
)


class Runs:
    """Disjoint inclusive runs of seqs, sorted."""

    __slots__ = ("_highs", "_lows")

    def __init__(self) -> None:
        self._lows: Final[list[int]] = []
        self._highs: Final[list[int]] = []

    def __len__(self) -> int:
        return len(self._lows)

    def touches(self, low: int, high: int) -> bool:
        """Whether any of `low` to `high` lies in a run."""
        after = bisect_left(self._highs, low)
        return after < len(self._lows) and self._lows[after] <= high

    def add(self, low: int, high: int) -> None:
        """Take `low` to `high` in, joined with the runs that it touches or continues."""
        first = bisect_left(self._highs, low - 1)
        last = first
        while last < len(self._lows) and self._lows[last] <= high + 1:
            last += 1
        if first < last:
            low, high = min(low, self._lows[first]), max(high, self._highs[last - 1])
        self._lows[first:last], self._highs[first:last] = [low], [high]
        if len(self._lows) > RUNS_MAX:
            self._close_smallest_hole()

    def _close_smallest_hole(self) -> None:
        holes = [low - high for low, high in zip(self._lows[1:], self._highs, strict=False)]
        smallest = holes.index(min(holes))
        del self._lows[smallest + 1]
        del self._highs[smallest]


class Span(msgspec.Struct, frozen=True):
    """What the log received in `(after, upto]` (ms): `rows` deliveries, in runs of seqs (first and last) by device.

    Of `doubtful` devices some seqs may have been received before; `any_doubtful` says it of every device.
    """

    after: int
    upto: int
    rows: int
    runs: dict[int, list[tuple[int, int]]]
    doubtful: list[int]
    any_doubtful: bool


class Deliveries:
    """What has passed, by device. Spans are asked for in their order, each once the one before was taken in."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store
        self._seen: Final[collections.OrderedDict[int, Runs]] = collections.OrderedDict()
        """The one that sent longest ago first."""

    def span(self, after: int, upto: int) -> Span:
        """Read which batches the log received in `(after, upto]` (ms), and which devices are doubtful."""
        batches = self._store.columns(_BATCHES, {"after": after, "upto": upto})
        if not len(batches):
            return Span(after, upto, 0, {}, [], False)
        rows, (runs, overlapping) = int(batches["scans"].sum()), _runs(batches)
        unknown = [device for device in runs if device not in self._seen]
        if len(unknown) > DEVICES_MAX:
            return Span(after, upto, rows, runs, [], True)
        self._look_up(unknown, after)
        doubtful = sorted(
            device
            for device, sent in runs.items()
            if device in overlapping or any(self._seen[device].touches(low, high) for low, high in sent)
        )
        if len(doubtful) > LOOKUPS_MAX:
            return Span(after, upto, rows, runs, [], True)
        return Span(after, upto, rows, runs, doubtful, False)

    def take(self, span: Span) -> None:
        """The span is projected: from now on its seqs have passed."""
        for device, sent in span.runs.items():
            runs = self._seen.get(device)
            if runs is not None:
                self._seen.move_to_end(device)
                for low, high in sent:
                    runs.add(low, high)
        while len(self._seen) > DEVICES_MAX:
            self._seen.popitem(last=False)

    def _look_up(self, devices: list[int], upto: int) -> None:
        """Begin to remember devices, coarsely: one run from the lowest seq that the log has or had to the highest."""
        if not devices:
            return
        fresh = {device: Runs() for device in devices}
        if len(devices) > LOOKUPS_MAX:
            before = self._store.rows(_BEFORE_OF_ALL, {"upto": upto})
        else:
            before = self._store.rows(_BEFORE_OF_SOME, {"devices": devices, "upto": upto})
        for device, low, high in before:
            if device in fresh:
                fresh[device].add(low, high)
        self._seen.update(fresh)


def _runs(batches: Columns) -> tuple[dict[int, list[tuple[int, int]]], set[int]]:
    """Batches by device, joined where one continues or overlaps another; and the devices of which any overlap.

    They are in order of device and lowest seq: where any two of a device overlap, two neighbours do.
    """
    device, low, high = batches["device"], batches["low"], batches["high"]
    same = device[1:] == device[:-1]
    overlapping = set(device[1:][same & (low[1:] <= high[:-1])].tolist())
    begins = np.flatnonzero(np.append(True, ~same | (low[1:] > high[:-1] + np.uint64(1))))
    runs: dict[int, list[tuple[int, int]]] = {}
    lasts = np.maximum.reduceat(high, begins)
    for sender, first, last in zip(device[begins].tolist(), low[begins].tolist(), lasts.tolist(), strict=True):
        runs.setdefault(sender, []).append((first, last))
    return runs, overlapping
