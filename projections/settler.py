"""Keeps the settled stays behind the read models; one process at a time does this, beside the projector.

Settling goes from mark to mark: the difference that came in since is written, then the mark is written down, then
readers are told of it. A death in between leaves rows that are newer than the mark. Readers walk the scans of whoever
they meet in such a row, and the next start takes what it finds of them into the difference. So nothing is lost whenever
it happens, and no step needs to know whether it was done before.

Everything is settled anew, into a table of its own that is then exchanged, where there is no mark yet, where more came
in than is settled, and where scans have expired. A rebuild asks for the same from its own scans.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from projections.kept import Kept
from projections.model import REBUILD_SUFFIX
from projections.scans_by_subject import SCANS_BY_SUBJECT
from projections.settlement import Change, Leftovers, Portion, Settlement, SettlementLimits
from projections.spans import span_end, span_rows
from projections.stay_rules import StayRules
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR
from storage.clickhouse import Store
from storage.control import FIRST, ControlLog
from storage.errors import StoreDown, StreamDown
from storage.patience import Patience
from storage.settled import FORM, SettledMark, SettledMarks
from storage.watermarks import Watermark, Watermarks

log: Final = logging.getLogger("truyvet.settler")

NEW_STAYS: Final = STAYS_BY_PLACE_HOUR + REBUILD_SUFFIX
MARK_NAME: Final = f"{STAYS_BY_PLACE_HOUR}, form {FORM}"


class SettlerLimits(msgspec.Struct, frozen=True):
    """How often and how much is settled, and how much rest the machine gets meanwhile.

    `pace_seconds` lie at least between the beginnings of two settlings, which take in about `rows_max` deliveries each;
    after a portion nothing is done for `rest` times as long as it took. Nothing is begun while the read models are
    `behind_rows_max` behind the log: they go first. Where more than `leftovers_max` rows were left behind by a death,
    all is settled anew.
    """

    pace_seconds: float = 5.0
    rest: float = 1.0
    rows_max: int = 250_000
    behind_rows_max: int = 1_000_000
    leftovers_max: int = 500_000
    poll_seconds: float = 0.5
    retry_seconds: float = 0.5
    settlement: SettlementLimits = SettlementLimits()


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """The stays are settled up to `upto` (received, ms): `scans` were read and `rows` written for it in `seconds`."""

    upto: int
    scans: int
    rows: int
    seconds: float


class Settler:
    """`step` does one portion of what is to settle; `run` repeats it until stopped.

    A rebuild asks for stays from the projector's thread with `rebuild`, and ends with `resume`; the mark stands still
    in between.
    """

    def __init__(
        self,
        store: Store,
        watermarks: Watermarks,
        marks: SettledMarks,
        control: ControlLog,
        limits: SettlerLimits | None = None,
        *,
        on_step: Callable[[str], None] = lambda name: None,
        on_settled: Callable[[Settled], None] = lambda settled: None,
    ) -> None:
        """`on_step` is called with a step's name right after it: settled (each portion), exchanged, marked, told."""
        self._store: Final = store
        self._watermarks: Final = watermarks
        self._marks: Final = marks
        self._control: Final = control
        self._limits: Final = limits or SettlerLimits()
        self._on_step: Final = on_step
        self._on_settled: Final = on_settled
        self._rules: Final = StayRules()
        self._kept: Final = Kept()
        self._position = FIRST
        self._standing: _Standing | None = None
        """Read from the store after a start or a fault."""
        self._work: Iterator[Portion] | None = None
        self._ahead: Final = ThreadPoolExecutor(1, "settler-ahead")
        self._settlement: Final = self._settlement_of(SCANS_BY_SUBJECT.table, STAYS_BY_PLACE_HOUR)
        self._order: RebuildOrder | None = None

    def run(self, stop: threading.Event) -> None:
        """Until stopped; waits out a store or stream that is down."""
        patience = Patience(log, self._limits.retry_seconds)
        began = time.monotonic()
        while not stop.is_set():
            try:
                portion = time.monotonic()
                if self.step():
                    rest = self._limits.rest if self._order is None else 0.0
                    stop.wait(rest * (time.monotonic() - portion))
                else:
                    stop.wait(max(self._limits.poll_seconds, began + self._limits.pace_seconds - time.monotonic()))
                    began = time.monotonic()
                patience.over()
            except (StoreDown, StreamDown) as error:
                patience.wait(stop, error)
        self._ahead.shutdown()

    def step(self) -> bool:
        """Do the next portion. False where nothing is left to do for now. Raises `StoreDown` and `StreamDown`.

        Whatever it raises, what was begun is begun again.
        """
        try:
            if self._work is None:
                self._work = self._next_work()
            if self._work is None:
                return False
            if next(self._work, None) is None:
                self._work = None
                return False
        except BaseException:
            self._work = self._standing = None
            raise
        return True

    def rebuild(self, scans: str) -> "RebuildOrder":
        """Ask that stays be settled anew from this table of scans, as of the mark, which stands still from then on."""
        self._order = RebuildOrder(scans)
        return self._order

    def resume(self) -> None:
        """The rebuild is over, one way or the other."""
        self._order = None

    def _next_work(self) -> Iterator[Portion] | None:
        models, ahead = self._watermarks.read("read-models"), self._watermarks.read("log")
        self._follow_control()  # after the watermark: what was recorded by then is known
        standing, order, kept_from = self._stand(), self._order, self._kept.kept_from
        mark = standing.mark
        # What somebody left behind is not the mark's, and would be taken for a difference: it is taken in first.
        if order is not None and mark is not None and mark.kept_from == kept_from and not standing.leftovers:
            return None if order.done.is_set() else self._rebuilding(order, mark)
        if models is None or ahead is None or ahead.rows - models.rows > self._limits.behind_rows_max:
            return None
        if mark is None:
            return self._anew(models, kept_from)
        return self._following(standing, mark, models)

    def _following(self, standing: "_Standing", mark: SettledMark, models: Watermark) -> Iterator[Portion] | None:
        """What is to do after a mark; None where the read models say nothing new."""
        if models.received <= max(mark.received, standing.newest):
            return None
        came, kept_from = models.rows - mark.rows, self._kept.kept_from
        if kept_from != mark.kept_from or came > max(mark.rows, self._limits.rows_max):
            return self._anew(models, kept_from)
        if not came and not standing.leftovers and not self._redrawn(mark, models.received):
            self._marks.publish(mark)  # the stream's server may have lost it
            return None
        return self._onward(standing, mark, models)

    def _redrawn(self, mark: SettledMark, upto: int) -> bool:
        """Whether the same scans make other stays now."""
        return self._rules.changed(mark.received, upto) or any(map(self._rules.places.known, mark.unplaced))

    def _onward(self, standing: "_Standing", mark: SettledMark, models: Watermark) -> Iterator[Portion]:
        """Bring the stays from the mark as far as the read models are, or as many scans as one settling may hold."""
        began, done = time.monotonic(), Portion(0, 0)
        upto = max(span_end(self._store, mark.received, models.received, self._limits.rows_max), standing.newest)
        rows = models.rows - mark.rows if upto == models.received else span_rows(self._store, mark.received, upto)
        for portion in self._settlement.advance(Change(mark, upto, standing.leftovers), rows):
            done = Portion(done.scans + portion.scans, done.rows + portion.rows)
            yield portion
        self._record(SettledMark(upto, mark.rows + rows, mark.kept_from, self._settlement.unplaced()))
        self._on_settled(Settled(upto=upto, scans=done.scans, rows=done.rows, seconds=time.monotonic() - began))

    def _anew(self, models: Watermark, kept_from: int) -> Iterator[Portion]:
        """Settle everything as of the read models, beside the old table, and put it in its place."""
        began, done = time.monotonic(), Portion(0, 0)
        settlement = self._new_table(SCANS_BY_SUBJECT.table)
        for portion in settlement.fill(models.received, kept_from):
            done = Portion(done.scans + portion.scans, done.rows + portion.rows)
            yield portion
        self._store.define(f"EXCHANGE TABLES {STAYS_BY_PLACE_HOUR} AND {NEW_STAYS}")
        self._on_step("exchanged")
        self._record(SettledMark(models.received, models.rows, kept_from, settlement.unplaced()))
        self._store.define(f"DROP TABLE {NEW_STAYS} SYNC")
        self._on_settled(
            Settled(upto=models.received, scans=done.scans, rows=done.rows, seconds=time.monotonic() - began)
        )

    def _rebuilding(self, order: "RebuildOrder", mark: SettledMark) -> Iterator[Portion]:
        """Settle everything as of the mark from the scans that a rebuild has derived, for it to compare."""
        for portion in self._new_table(order.scans).fill(mark.received, mark.kept_from):
            if order is not self._order:
                return
            order.scans_done += portion.scans
            yield portion
        order.mark = mark
        order.done.set()

    def _new_table(self, scans: str) -> Settlement:
        self._store.define(f"DROP TABLE IF EXISTS {NEW_STAYS} SYNC")
        self._store.define(f"CREATE TABLE {NEW_STAYS} AS {STAYS_BY_PLACE_HOUR}")
        return self._settlement_of(scans, NEW_STAYS)

    def _settlement_of(self, scans: str, stays: str) -> Settlement:
        limits, on_step = self._limits.settlement, self._on_step
        return Settlement(
            self._store, self._rules, limits, scans=scans, stays=stays, ahead=self._ahead, on_step=on_step
        )

    def _follow_control(self) -> None:
        """Take in what the control stream has more: all that was recorded before this call."""
        for entry, recorded in self._control.replay(self._position):
            self._rules.apply(recorded)
            self._kept.apply(recorded)
            self._position = entry

    def _record(self, mark: SettledMark) -> None:
        self._store.insert(
            "settled",
            ["name", "received", "rows", "kept_from", "unplaced"],
            [[MARK_NAME, mark.received, mark.rows, mark.kept_from, list(mark.unplaced)]],
        )
        self._on_step("marked")
        self._marks.publish(mark)
        self._standing = _Standing(mark, 0, {})
        self._on_step("told")

    def _stand(self) -> "_Standing":
        """Where the stays stand; what somebody left behind who died, where it is little: else all is settled anew."""
        if self._standing is None:
            mark = self._recorded()
            newest, rows = self._left_behind(mark.received) if mark else (0, 0)
            if rows > self._limits.leftovers_max:
                mark = None
            # Whoever wrote the mark down may have died before telling.
            self._marks.publish(mark)
            self._standing = _Standing(mark, newest, self._leftovers(mark.received) if mark and rows else {})
        return self._standing

    def _recorded(self) -> SettledMark | None:
        rows = self._store.rows(
            "SELECT received, rows, kept_from, unplaced FROM settled WHERE name = {name:String}"
            " ORDER BY received DESC LIMIT 1",
            {"name": MARK_NAME},
        )
        for received, deliveries, kept_from, unplaced in rows:
            return SettledMark(int(received), int(deliveries), int(kept_from), tuple(unplaced))
        return None

    def _left_behind(self, after: int) -> tuple[int, int]:
        """The newest mark for which rows were written after the recorded one, 0 without any, and how many they are."""
        sql = f"SELECT max(settled_for), count() FROM {STAYS_BY_PLACE_HOUR} WHERE settled_for > {{after:Int64}}"
        newest, rows = self._store.rows(sql, {"after": after})[0]
        return int(newest), int(rows)

    def _leftovers(self, after: int) -> Leftovers:
        found: dict[bytes, list[tuple[int, int, int]]] = {}
        answer = self._store.columns(
            f"SELECT subject, place_hour, start, entry FROM {STAYS_BY_PLACE_HOUR} WHERE settled_for > {{after:Int64}}",
            {"after": after},
        )
        columns = ("place_hour", "start", "entry")
        rows = zip(*(answer[name].astype("int64").tolist() for name in columns), strict=True)
        for subject, row in zip(answer["subject"].tolist(), rows, strict=True):
            found.setdefault(subject, []).append(row)
        return found


class RebuildOrder:
    """A rebuild's order for stays: `done` once they lie in `NEW_STAYS`, as of `mark`; `scans_done` were walked."""

    def __init__(self, scans: str) -> None:
        self.scans: Final = scans
        self.scans_done = 0
        self.mark: SettledMark | None = None
        self.done: Final = threading.Event()


class _Standing(NamedTuple):
    """The recorded mark, and the rows that are newer, with the newest mark that they were written for (ms)."""

    mark: SettledMark | None
    newest: int
    leftovers: Leftovers
