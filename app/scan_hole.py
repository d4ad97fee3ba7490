"""What the server lacks of scans that it has answered for: when a scanner asks, and what it owes then.

Pure but for the question itself. A receipt shows a hole where `next_seq` is not above all that was answered for. The
hole may be one that never closes (numbers without a scan, scans no longer kept), so it is asked about once, and then
left alone for a while.
"""

from collections.abc import Callable, Iterable
from typing import Final

from events.runs import Run, without
from events.scans import DeviceSequence, Receipt, Scan

ASK_AGAIN_SECONDS: Final = 3_600.0
"""How long a hole is left alone that asking did not close."""
ASK_SOONER_SECONDS: Final = 60.0
"""The same where nobody answered, or the log had not caught up with the stream."""

Ask = Callable[[int], DeviceSequence | None]
"""One page of the device's own count, after a seq; None where it cannot be had now."""


class ScanHole:
    """The hole in one device's scans, as far as its scanner knows. For one thread."""

    def __init__(self, ask: Ask, clock: Callable[[], float], never: Iterable[int]) -> None:
        """`clock`: Unix seconds. `never`: seqs that the server does not take and that are not sent again."""
        self._ask: Final = ask
        self._clock: Final = clock
        self._never: Final = set(never)
        self._asked_about = 0
        self._ask_at = 0.0
        self._page: int | None = None
        self._runs: list[Run] = []
        self._owed = 0

    @property
    def open(self) -> bool:
        """Whether there is something to ask, to send again or to tell."""
        return self._page is not None or self._owed > 0

    def look(self, receipt: Receipt, acknowledged: int) -> None:
        """A receipt has come for scans up to `acknowledged`: does it show a hole to ask about?"""
        hole = receipt.next_seq
        if hole <= acknowledged and (hole != self._asked_about or self._clock() >= self._ask_at):
            self._asked_about = hole
            self._page = 0

    def runs(self, acknowledged: int) -> list[Run]:
        """What to send again of the scans up to `acknowledged`. Asks the server where that is not known yet."""
        if not self._owed and self._page is not None:
            sequence = self._ask(self._page)
            settled = sequence is not None and sequence.settled
            self._ask_at = self._clock() + (ASK_AGAIN_SECONDS if settled else ASK_SOONER_SECONDS)
            self._page = _page_after(self._page, sequence, acknowledged)
            missing = [(run.first, run.last) for run in sequence.missing] if sequence is not None else []
            answered = [(first, min(last, acknowledged)) for first, last in missing if first <= acknowledged]
            self._runs = without(answered, [(seq, seq) for seq in sorted(self._never)])
            self._owed = sum(last - first + 1 for first, last in self._runs)
        return self._runs

    def sent(self, scans: list[Scan]) -> None:
        """The server has these again: the lowest of the runs that are still kept."""
        self._owed -= len(scans)
        self._pass(scans[-1].seq)

    def skip(self, seq: int) -> None:
        """The server does not take this one: the lowest of the runs that is still kept."""
        self.give_up(seq)
        self._pass(seq)

    def give_up(self, seq: int) -> None:
        """The server will never take the scan under this number."""
        self._never.add(seq)

    def close(self) -> int:
        """Nothing of the runs is kept (any more). Returns how many seqs of them could not be sent."""
        owed, self._owed, self._runs = self._owed, 0, []
        return owed

    def _pass(self, seq: int) -> None:
        self._runs = without(self._runs, [(1, seq)])


def _page_after(page: int, sequence: DeviceSequence | None, acknowledged: int) -> int | None:
    """Where the page after this one begins; None where there is none of use.

    It must lie further on: a server that names the same page again would otherwise be asked for ever.
    """
    if sequence is None or sequence.next is None:
        return None
    return sequence.next if page < sequence.next < acknowledged else None
