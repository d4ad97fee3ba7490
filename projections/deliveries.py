"""Which seqs of each device the log holds already, so that few scans must be looked up in it.

Of several deliveries of one (device, seq) the one received first counts. To ask the log about every fresh scan costs
more than to project it, and nearly always the answer is no: scanners count on. So the projector remembers, for each
device, which runs of seqs have passed, and looks up only the devices of which a batch touches one of them.
"""

import collections
from bisect import bisect_left
from typing import Final

import msgspec

from storage.clickhouse import Store

RUNS_MAX: Final = 256
"""A device with more runs is remembered more coarsely: the two nearest are taken for one. It may then be looked up
needlessly, never forgotten."""

DEVICES_MAX: Final = 50_000
"""So many devices are remembered, those that sent last; of the others the log is asked again."""
LOOKUPS_MAX: Final = 2_000
"""So many devices are named in one statement, which travels in a URL. Where a span has more that are unknown or
doubtful, all its scans are looked up."""

_BEFORE: Final = (
    "SELECT device, min(low), max(high) FROM ("
    " SELECT device, min(seq) AS low, max(seq) AS high FROM log"
    " WHERE received <= fromUnixTimestamp64Milli({upto:Int64}) AND device IN {devices:Array(UInt32)} GROUP BY device"
    " UNION ALL SELECT device, min(first), max(upto) FROM retired"
    " WHERE taken AND device IN {devices:Array(UInt32)} GROUP BY device"
    ") GROUP BY device"
)
# The sink gives deliveries that may hold the same scan different times: what one device sent in one ms is distinct.
_BATCHES: Final = (
    "SELECT device, groupArray(low), groupArray(high), sum(scans) FROM ("
    " SELECT device, min(seq) AS low, max(seq) AS high, count() AS scans FROM log"
    " WHERE received > fromUnixTimestamp64Milli({after:Int64}) AND received <= fromUnixTimestamp64Milli({upto:Int64})"
    " GROUP BY device, received"
    ") GROUP BY device"
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
    """What the log received in `(after, upto]` (ms): `rows` deliveries, in batches of `low` to `high` by device.

    Of `doubtful` devices some seqs may have been received before; `any_doubtful` says it of every device.
    """

    after: int
    upto: int
    rows: int
    batches: dict[int, list[tuple[int, int]]]
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
        answer = self._store.rows(_BATCHES, {"after": after, "upto": upto})
        batches = {device: list(zip(lows, highs, strict=True)) for device, lows, highs, _ in answer}
        rows = sum(scans for _, _, _, scans in answer)
        unknown = [device for device in batches if device not in self._seen]
        if len(unknown) > LOOKUPS_MAX:
            return Span(after, upto, rows, batches, [], True)
        self._look_up(unknown, after)
        doubtful = sorted(device for device, sent in batches.items() if self._doubtful(device, sent))
        if len(doubtful) > LOOKUPS_MAX:
            return Span(after, upto, rows, batches, [], True)
        return Span(after, upto, rows, batches, doubtful, False)

    def take(self, span: Span) -> None:
        """The span is projected: from now on its seqs have passed."""
        for device, sent in span.batches.items():
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
        for device in devices:
            self._seen[device] = Runs()
        for device, low, high in self._store.rows(_BEFORE, {"devices": devices, "upto": upto}):
            self._seen[device].add(low, high)

    def _doubtful(self, device: int, sent: list[tuple[int, int]]) -> bool:
        before, within = self._seen[device], Runs()
        for low, high in sent:
            if before.touches(low, high) or within.touches(low, high):
                return True
            within.add(low, high)
        return False
