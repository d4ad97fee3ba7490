"""Which seqs of each device the log holds already, so that few scans must be looked up in it.

Of several deliveries of one (device, seq) the one received first counts. To ask the log about every fresh scan costs
more than to project it, and nearly always the answer is no: scanners count on. So the projector remembers, for each
device, which runs of seqs have passed, and looks up only the devices of which a batch touches one of them.
"""

from bisect import bisect_left
from typing import Final

import msgspec

from storage.clickhouse import Store

RUNS_MAX: Final = 256
"""A device with more runs is remembered more coarsely: the two nearest are taken for one. It may then be looked up
needlessly, never forgotten."""

_BEFORE: Final = (
    "SELECT device, min(seq), max(seq) FROM log"
    " WHERE received <= fromUnixTimestamp64Milli({upto:Int64})"
    " GROUP BY device"
)
# The sink gives deliveries that may hold the same scan different times: what one device sent in one ms is distinct.
_BATCHES: Final = (
    "SELECT device, min(seq), max(seq), count() FROM log"
    " WHERE received > fromUnixTimestamp64Milli({after:Int64}) AND received <= fromUnixTimestamp64Milli({upto:Int64})"
    " GROUP BY device, received"
)


class Batch(msgspec.Struct, frozen=True):
    """What one device sent in one ms: all its seqs lie between `low` and `high`."""

    device: int
    low: int
    high: int
    rows: int


class Runs:
    """Disjoint inclusive runs of seqs, sorted."""

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
    """What the log received in `(after, upto]` (ms); of `doubtful` devices some seqs may have been received before."""

    after: int
    upto: int
    batches: list[Batch]
    doubtful: list[int]

    @property
    def rows(self) -> int:
        """How many deliveries."""
        return sum(batch.rows for batch in self.batches)


class Deliveries:
    """What has passed, by device. Spans are asked for in their order, each once the one before was taken in."""

    def __init__(self, store: Store, *, upto: int) -> None:
        """Starts with what the log received at or before `upto` (ms), coarsely: one run a device."""
        self._store: Final = store
        self._seen: Final[dict[int, Runs]] = {}
        for device, low, high in store.rows(_BEFORE, {"upto": upto}):
            self._runs(device).add(low, high)

    def span(self, after: int, upto: int) -> Span:
        """Read which batches the log received in `(after, upto]` (ms), and which devices are doubtful."""
        batches = [Batch(*row) for row in self._store.rows(_BATCHES, {"after": after, "upto": upto})]
        fresh: dict[int, Runs] = {}
        doubtful = set()
        for batch in batches:
            device, low, high = batch.device, batch.low, batch.high
            within = fresh.setdefault(device, Runs())
            if within.touches(low, high) or (device in self._seen and self._seen[device].touches(low, high)):
                doubtful.add(device)
            within.add(low, high)
        return Span(after, upto, batches, sorted(doubtful))

    def take(self, span: Span) -> None:
        """The span is projected: from now on its seqs have passed."""
        for batch in span.batches:
            self._runs(batch.device).add(batch.low, batch.high)

    def _runs(self, device: int) -> Runs:
        return self._seen.setdefault(device, Runs())
