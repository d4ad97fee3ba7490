"""Whose scans came in after the stays were settled: told for one question after the other, and each scan read once."""

import threading
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from projections.places_together import Bools
from storage.clickhouse import Store
from tracing.visits import NOBODY, Subjects, among, distinct

PIECE_MS_MAX: Final = 2_000
"""What came in within so long is looked through together, and forgotten together once it is settled."""

Halves = NDArray[np.uint64]
"""The first eight bytes of pseudonyms, in order. Two people may have the same; then both are taken to be late."""


class Late(NamedTuple):
    """Of whom scans came in lately, and of a few others."""

    pieces: tuple[Halves, ...]

    def who(self, people: Subjects) -> Bools:
        """Which of these people may be among them."""
        halves, found = _halves(people), np.zeros(len(people), dtype=np.bool_)
        for piece in self.pieces:
            found |= among(halves, piece)
        return found


class LateScans:
    """Reads the log from where it was read last. Thread-safe."""

    # Parts of the log know their span of `received`: only those that hold something new are read.
    SQL: Final = (
        "SELECT DISTINCT subject FROM log"
        " WHERE received > fromUnixTimestamp64Milli({after:Int64}, 'UTC')"
        " AND received <= fromUnixTimestamp64Milli({upto:Int64}, 'UTC')"
    )

    def __init__(self, store: Store) -> None:
        self._store: Final = store
        self._pieces: Final[list[_Piece]] = []
        """One after the other, without a hole in between."""
        self._lock: Final = threading.Lock()

    def between(self, after: int, upto: int) -> Late:
        """Whose scans the log took in in `(after, upto]` (Unix ms), and maybe somewhat before and after it.

        Everything received by `upto` must be in the log. Raises `StoreDown`.
        """
        with self._lock:
            while self._pieces and self._pieces[0].upto <= after:
                del self._pieces[0]
            if self._pieces and after < self._pieces[0].after:
                self._pieces.clear()
            begin = self._pieces[-1].upto if self._pieces else after
            if begin < upto:
                rows = self._store.columns(self.SQL, {"after": begin, "upto": upto})
                self._add(_Piece(begin, upto, distinct(_halves(rows["subject"] if len(rows) else NOBODY))))
            return Late(tuple(piece.halves for piece in self._pieces))

    def _add(self, piece: "_Piece") -> None:
        if self._pieces and piece.upto - self._pieces[-1].after <= PIECE_MS_MAX:
            before = self._pieces.pop()
            halves = distinct(np.concatenate((before.halves, piece.halves)))
            piece = _Piece(before.after, piece.upto, halves)
        self._pieces.append(piece)


class _Piece(NamedTuple):
    """Of whom the log took in scans in `(after, upto]` (Unix ms)."""

    after: int
    upto: int
    halves: Halves


def _halves(subjects: Subjects) -> Halves:
    halves: Halves = np.ascontiguousarray(subjects).view("<u8")[::2]
    return halves
