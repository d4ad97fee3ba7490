"""Whose scans came in after the stays were settled, and where: told for each question, and each scan read once."""

import threading
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from projections.place_hours import HOUR_MS, place_hour
from projections.places_together import Bools, Ints
from storage.clickhouse import Store
from tracing.queries import Surroundings
from tracing.visits import NOBODY, Kinds, Subjects, among, distinct

PIECE_MS_MAX: Final = 500
"""What came in within so long is looked through together, and forgotten together once it is settled."""
KEPT_MS: Final = 5_000
"""What is settled is forgotten so much later: others may still ask by the mark of before."""
LATE_ROWS_MAX: Final = 3_000_000
"""So many scans may have come in since: more are not looked through, and everybody is walked."""

# Parts of the log know their span of `received`: only those that hold something new are read.
_FROM: Final = (
    " FROM log WHERE received > fromUnixTimestamp64Milli({after:Int64}, 'UTC')"
    " AND received <= fromUnixTimestamp64Milli({upto:Int64}, 'UTC')"
)

Halves = NDArray[np.uint64]
"""The first eight bytes of pseudonyms, in order. Two people may have the same; then both are taken to be late."""


class Late(NamedTuple):
    """Of whom scans came in lately, and of a few others."""

    pieces: "tuple[_Piece, ...]"

    def who(self, people: Subjects) -> Bools:
        """Which of these people may be among them."""
        return _of(people, (piece.halves for piece in self.pieces))

    def who_since(self, received: int, people: Subjects) -> Bools:
        """Which of these people may be among those of whom scans came in after that moment (Unix ms)."""
        pieces = (piece for piece in self.pieces if piece.upto > received)
        return _of(
            people, (distinct(_halves(piece.scans.subject[piece.scans.received > received])) for piece in pieces)
        )

    def near(self, surroundings: Surroundings) -> Subjects:
        """Of whom such a scan lies in these surroundings. In no order, and some may come twice."""
        return np.concatenate([NOBODY, *(piece.near(surroundings) for piece in self.pieces)])


NOBODY_LATE: Final = Late(())


class LateScans:
    """Reads the log from where it was read last. Thread-safe."""

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
            while self._pieces and self._pieces[0].upto <= after - KEPT_MS:
                del self._pieces[0]
            if self._pieces and after < self._pieces[0].after:
                self._pieces.clear()
            begin = self._pieces[-1].upto if self._pieces else after
            if begin < upto:
                self._add(begin, upto, self._read(begin, upto))
            return Late(tuple(piece for piece in self._pieces if piece.upto > after))

    def _read(self, after: int, upto: int) -> "_Scans":
        sql = f"SELECT subject, place, at, kind != 'out' AS enters, received{_FROM}"
        rows = self._store.columns(sql, {"after": after, "upto": upto})
        return _Scans(*(rows[name] for name in _Scans._fields)) if len(rows) else NO_SCANS

    def _add(self, after: int, upto: int, scans: "_Scans") -> None:
        if self._pieces and upto - self._pieces[-1].after <= PIECE_MS_MAX:
            before = self._pieces.pop()
            after = before.after
            scans = _Scans._make(map(np.concatenate, zip(before.scans, scans, strict=True)))
        self._pieces.append(_piece(after, upto, scans))


def late_by_name(store: Store, after: int, upto: int) -> Late:
    """Whose scans the log took in in `(after, upto]` (Unix ms), but not where: they may be many. Raises `StoreDown`."""
    rows = store.columns(f"SELECT DISTINCT subject{_FROM}", {"after": after, "upto": upto})
    halves = distinct(_halves(rows["subject"] if len(rows) else NOBODY))
    return Late((_Piece(after, upto, NO_SCANS, halves, NO_SCANS.at),))


class _Scans(NamedTuple):
    """Scans as columns, in no order."""

    subject: Subjects
    place: Ints
    at: Ints
    enters: Kinds
    received: Ints


NO_SCANS: Final = _Scans(NOBODY, *(np.empty(0, dtype=kind) for kind in ("<u4", "<i8", "<u1", "<i8")))


class _Piece(NamedTuple):
    """What the log took in in `(after, upto]` (Unix ms): of whom, and at which places and hours, each once in order."""

    after: int
    upto: int
    scans: _Scans
    halves: Halves
    place_hours: Ints

    def near(self, surroundings: Surroundings) -> Subjects:
        """As `Late.near`."""
        hours = surroundings.scan_hours[among(surroundings.scan_hours, self.place_hours)]
        if not len(hours):
            return NOBODY
        place_hours = _place_hours(self.scans)
        rows = np.flatnonzero(among(place_hours, hours))
        enters = self.scans.enters[rows].astype(np.bool_)
        return self.scans.subject[rows[surroundings.matters(place_hours[rows], self.scans.at[rows], enters)]]


def _piece(after: int, upto: int, scans: _Scans) -> _Piece:
    return _Piece(after, upto, scans, distinct(_halves(scans.subject)), distinct(_place_hours(scans)))


def _place_hours(scans: _Scans) -> Ints:
    return place_hour(scans.place.astype(np.int64), scans.at // HOUR_MS)


def _of(people: Subjects, pieces: Iterable[Halves]) -> Bools:
    halves, found = _halves(people), np.zeros(len(people), dtype=np.bool_)
    for piece in pieces:
        found |= among(halves, piece)
    return found


def _halves(subjects: Subjects) -> Halves:
    halves: Halves = np.ascontiguousarray(subjects).view("<u8")[::2]
    return halves
