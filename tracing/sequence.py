"""Where a device's count stands: the log, and what the edge has answered for that the log does not have yet.

The log is the truth, but it follows the stream. Once it holds all that was received by the question (*settled*), what
it lacks is lost, also what the edge has acknowledged. Until then what the edge has acknowledged counts as come: it
waits in the stream, and to ask for it again would double the load in the very outage that keeps it there.
"""

from typing import Final

import msgspec

from events import problems
from events.problems import ProblemError
from events.runs import Run, without
from storage.accounts import DeviceAccounts
from storage.clickhouse import Store
from storage.watermarks import Watermarks
from tracing.gaps import Gap, GapsOf, Tally, TallyOf

LOG_WAIT_SECONDS: Final = 2.0
"""How long a question waits for the log to hold all that was received before it; then it is answered as of earlier."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one device's count. `as_of`: all that was received by then (Unix ms) is in the log.

    `acknowledged` are the runs of seqs that the edge had answered for when the question came.
    """

    as_of: int
    settled: bool
    acknowledged: list[Run]
    tally: Tally

    @property
    def seen_to(self) -> int:
        """The highest seq that the log has or that was acknowledged."""
        return max(self.tally.seen_to, self.acknowledged[-1][1] if self.acknowledged else 0)

    @property
    def lost_at_end(self) -> int:
        """How many seqs were acknowledged above all that the log has, and lost."""
        return self.seen_to - self.tally.seen_to if self.settled else 0


def standing_of(device: int, *, store: Store, watermarks: Watermarks, accounts: DeviceAccounts) -> Standing:
    """Where the device of this number stands. Raises `StoreDown`, `StreamDown`, BEHIND as `ProblemError`."""
    # In this order: what was acknowledged before `now` is in the log once that has passed `now`.
    acknowledged = accounts.seen(device)
    now = accounts.now_ms(device)
    as_of = log_as_of(watermarks, now)
    tally = TallyOf(device=device, as_of=as_of).read(store)
    return Standing(as_of=as_of, settled=as_of >= now, acknowledged=acknowledged, tally=tally)


def log_as_of(watermarks: Watermarks, now_ms: int) -> int:
    """Up to when the log is complete (Unix ms): `now_ms` or later where it gets there in time, else an earlier moment.

    Raises `StreamDown`, BEHIND as `ProblemError` where no sink has said anything yet.
    """
    watermark = watermarks.wait("log", now_ms, LOG_WAIT_SECONDS) or watermarks.read("log")
    if watermark is None:
        raise ProblemError(problems.BEHIND.problem("The sink has not said yet up to when the log is complete."))
    return watermark.received


def gaps_of(standing: Standing, store: Store, *, after: int, limit: int) -> list[Gap]:
    """The lowest `limit` runs that the log lacks and that end above `after`. Raises `StoreDown`."""
    tally = standing.tally
    found = GapsOf(device=tally.device, as_of=standing.as_of, after=after, limit=limit).read(store)
    if len(found) < limit and standing.lost_at_end:
        found.append(Gap(first=tally.seen_to + 1, last=standing.seen_to, since=None))
    return found


def runs_to_resend(standing: Standing, gaps: list[Gap], *, last_page: bool) -> list[Run]:
    """What of these gaps the device itself should send (again).

    `last_page`: no gaps come after these.
    """
    runs = [(gap.first, gap.last) for gap in gaps]
    if standing.settled:
        return runs
    if last_page and standing.seen_to > standing.tally.seen_to:
        runs.append((standing.tally.seen_to + 1, standing.seen_to))
    return without(runs, standing.acknowledged)
