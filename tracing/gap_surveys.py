"""Which devices have holes or conflicts: read from the whole log, so one at a time, and once for all pages."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from events import problems
from events.problems import ProblemError
from storage.clickhouse import Store
from tracing.gaps import RivalCounts, Tallies, Tally


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """All devices with holes or conflicts as of a moment (Unix ms), by number: `worst` names them, worst first.

    `tallies` are those with holes, `conflicts` the numbers of seqs that came with other content.
    """

    as_of: int
    worst: list[int]
    tallies: dict[int, Tally]
    conflicts: dict[int, int]

    @property
    def missing(self) -> int:
        """How many seqs of all devices are missing."""
        return sum(tally.missing for tally in self.tallies.values())


class GapSurveys:
    """Safe to use from several threads. Holds the last survey, whose pages are asked for one after the other."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store
        self._asking: Final = threading.Lock()
        self._last: Survey | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While a question is answered, from the log or from what was kept. Raises `ProblemError`: server-busy."""
        if not self._asking.acquire(blocking=False):
            raise ProblemError(
                problems.SERVER_BUSY.problem("The gaps of all devices are being read for somebody else.")
            )
        try:
            yield
        finally:
            self._asking.release()

    def of(self, as_of: int) -> Survey:
        """The survey as of this moment; to be called in one's turn. Raises `StoreDown`."""
        if self._last is None or self._last.as_of != as_of:
            self._last = _read(self._store, as_of)
        return self._last


def _read(store: Store, as_of: int) -> Survey:
    tallies = {tally.device: tally for tally in Tallies(as_of=as_of).read(store)}
    conflicts = RivalCounts(as_of=as_of).read(store)

    def worst_first(number: int) -> tuple[int, int, int]:
        missing = tallies[number].missing if number in tallies else 0
        return -missing, -conflicts.get(number, 0), number

    worst = sorted(tallies.keys() | conflicts.keys(), key=worst_first)
    return Survey(as_of=as_of, worst=worst, tallies=tallies, conflicts=conflicts)
