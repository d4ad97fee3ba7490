"""Tables of places as of the moments between which stays are told apart, filled with the places that scans name."""

from typing import Final

import numpy as np

from projections.places_together import UNPLACED, Ints, PlaceTable
from projections.stay_rules import StayRules

TABLES_KEPT: Final = 2
"""As of the old mark and as of the new one."""


class PlaceTables:
    """One table serves all moments between which no place was redrawn. Not thread-safe."""

    def __init__(self, rules: StayRules) -> None:
        self._rules: Final = rules
        self._tables: Final[list[tuple[int, PlaceTable]]] = []
        """The latest used last, each with a moment that it holds for."""
        self.unplaced: Final[set[int]] = set()
        """Numbers that were asked for and that nobody had registered."""

    def as_of(self, ms: int, numbers: Ints | None = None) -> PlaceTable:
        """The places as registered at `ms`, among them those of these numbers, if anybody ever registered them.

        The same moments have the same table, and so have moments between which nothing was redrawn.
        """
        table = self._table(ms)
        if numbers is not None:
            missing = set(np.unique(numbers[table.rows(numbers) == UNPLACED]).tolist())
            if missing:
                tree = self._rules.places.around(ms, missing)
                table.add(tree)
                self.unplaced.update(missing - tree.by_number.keys())
        return table

    def _table(self, ms: int) -> PlaceTable:
        for position, (moment, table) in enumerate(self._tables):
            if not self._rules.places.redrawn(min(moment, ms), max(moment, ms)):
                self._tables.append(self._tables.pop(position))
                return table
        table = PlaceTable(self._rules.places.around(ms, ()))
        self._tables.append((ms, table))
        del self._tables[:-TABLES_KEPT]
        return table
