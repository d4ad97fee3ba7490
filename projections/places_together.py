"""Places as columns: what the walk of stays asks of them, for many scans at once. Pure."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from events.places import PlaceTree

UNPLACED: Final = -1
SPARSE: Final = 4
"""A table has a slot for every number if at least one in so many is taken, or it is small anyway."""
SMALL: Final = 1 << 16

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class PlaceTable:
    """Places, each a row: its number, its dwell, and the rows of the places around it."""

    def __init__(self, tree: PlaceTree) -> None:
        """Costs about 3 µs a place."""
        self.numbers: Ints = np.empty(0, dtype=np.int64)
        self.dwell_ms: Ints = np.empty(0, dtype=np.int64)
        self._depth: Ints = np.empty(0, dtype=np.int64)
        self._path: NDArray[np.int32] = np.empty((0, 1), dtype=np.int32)
        """By row and depth: the row of the place at that depth that it lies in; its own at its own depth."""
        self._rows: Final[dict[str, int]] = {}
        self._slots: Ints | None = None
        self._sorted: tuple[Ints, Ints] = (self.numbers, self.numbers)
        self.add(tree)

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, tree: PlaceTree) -> None:
        """Take in the places of a tree that are not there yet; those that are stay as they are."""
        places = [place for place in tree.by_number.values() if place.id not in self._rows]
        self._rows.update((place.id, row) for row, place in enumerate(places, len(self._rows)))
        chains = [[self._rows[outer] for outer in (*reversed(tree.ancestors(p.id)), p.id)] for p in places]
        path = np.full((len(self._rows), max([self._path.shape[1], *map(len, chains)])), UNPLACED, dtype=np.int32)
        path[: len(self), : self._path.shape[1]] = self._path
        for row, chain in enumerate(chains, len(self)):
            path[row, : len(chain)] = chain
        self._path = path
        self._depth = np.append(self._depth, np.array([len(chain) - 1 for chain in chains], dtype=np.int64))
        self.dwell_ms = np.append(self.dwell_ms, np.array([place.dwell_ms for place in places], dtype=np.int64))
        self.numbers = np.append(self.numbers, np.array([place.number for place in places], dtype=np.int64))
        self._index()

    def rows(self, numbers: Ints) -> Ints:
        """The row of each place by its number; `UNPLACED` where there is none."""
        if self._slots is not None:
            return self._slots[np.minimum(numbers, len(self._slots) - 1)]
        known, row = self._sorted
        found = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        return np.where(known[found] == numbers, row[found], UNPLACED)

    def dwell_of(self, numbers: Ints) -> Ints:
        """The dwell of each place by its number, in ms; all of them must be there."""
        dwell: Ints = self.dwell_ms[self.rows(numbers)]
        return dwell

    def within(self, rows: Ints, outer: Ints) -> Bools:
        """Whether each place is the outer one or lies inside it."""
        inside: Bools = self._path[rows, self._depth[outer]] == outer
        return inside

    def roots_of(self, numbers: Ints) -> Ints:
        """The row of the outermost place around each, by its number."""
        outermost: Ints = self._path[self.rows(numbers), 0].astype(np.int64)
        return outermost

    def _index(self) -> None:
        """Make numbers findable: by a slot for every number and one for all above, or by search."""
        self._slots = None
        if not len(self) or self.numbers.max() <= max(SMALL, SPARSE * len(self)):
            self._slots = np.full(int(self.numbers.max(initial=0)) + 2, UNPLACED, dtype=np.int64)
            self._slots[self.numbers] = np.arange(len(self))
        else:
            order = np.argsort(self.numbers)
            self._sorted = self.numbers[order], order
