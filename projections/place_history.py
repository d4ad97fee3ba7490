"""Every version of every place that the control stream has told of, and the tree of them at any moment."""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from events.places import PLACE_DEPTH_MAX, Place, PlaceTree

PLACE_TREES_KEPT: Final = 4
"""Trees of past moments stay in memory this many at a time; a tree of a whole country takes about a second to build."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class PlaceHistory:
    """Every version of every place in the order of the control stream; a tree is named by how many it has seen."""

    def __init__(self) -> None:
        self._recorded: Final[list[int]] = []
        self._versions: Final[list[Place]] = []
        self._current: Final[dict[str, Place]] = {}
        self._earliest: Final[dict[int, Place]] = {}
        self._earliest_by_id: Final[dict[str, Place]] = {}
        self._trees: Final[dict[int, PlaceTree]] = {}
        self._redrawn: Final[list[tuple[int, str]]] = []

    def __len__(self) -> int:
        return len(self._versions)

    def add(self, at: int, place: Place) -> None:
        """Take in a version. One that breaks the tree (two writers at once) is left out, here and on every replay."""
        if not self._fits(place):
            log.warning("place %s (number %d) does not fit into the tree and is left out", place.id, place.number)
            return
        known = self._current.get(place.id)
        if known is not None and (known.dwell_ms, known.parent, known.number) != (
            place.dwell_ms,
            place.parent,
            place.number,
        ):
            self._redrawn.append((at, place.id))
        self._recorded.append(at)
        self._versions.append(place)
        self._current[place.id] = place
        self._earliest.setdefault(place.number, place)
        self._earliest_by_id.setdefault(place.id, place)

    def count_at(self, ms: int) -> int:
        """How many versions were recorded at `ms` or before."""
        return bisect_right(self._recorded, ms)

    def tree(self, count: int, naming: Iterable[int] = ()) -> PlaceTree:
        """The tree after the first `count` versions, with the earliest version of the others that are named."""
        tree = self._tree(count)
        later = [number for number in naming if number not in tree.by_number and number in self._earliest]
        if not later:
            return tree
        return PlaceTree([*tree.by_id.values(), *self._joining(tree, later).values()])

    def redrawn(self, after: int, upto: int) -> bool:
        """Whether a place that was known got another dwell or parent in `(after, upto]` (ms)."""
        return bool(_within(self._redrawn, after, upto))

    def affected(self, after: int, upto: int) -> set[int]:
        """The numbers of the places that got another dwell or other places around them in `(after, upto]` (ms)."""
        redrawn = {place_id for _, place_id in _within(self._redrawn, after, upto)}
        if not redrawn:
            return set()
        trees = [self.tree(self.count_at(ms), self._earliest) for ms in (after, upto)]
        return {
            place.number
            for tree in trees
            for place in tree.by_id.values()
            if place.id in redrawn or not redrawn.isdisjoint(tree.ancestors(place.id))
        }

    def known(self, number: int) -> bool:
        """Whether anybody ever registered a place of this number."""
        return number in self._earliest

    def around(self, ms: int, numbers: Iterable[int]) -> PlaceTree:
        """The places of these numbers and those that they lie in, as `tree(count_at(ms), numbers)` has them.

        It has no others, so it costs as much as it names. A number that was never registered is not in it.
        """
        count = self.count_at(ms)
        known = self._current if count == len(self) else {place.id: place for place in self._versions[:count]}
        found: dict[str, Place] = {}
        for number in numbers:
            earliest = self._earliest.get(number)
            place = None if earliest is None else known.get(earliest.id, earliest)
            while place is not None and place.id not in found:
                found[place.id] = place
                parent = place.parent
                place = None if parent is None else known.get(parent) or self._earliest_by_id[parent]
        return PlaceTree(found.values())

    def _tree(self, count: int) -> PlaceTree:
        tree = self._trees.pop(count, None)
        if tree is None:
            tree = PlaceTree({place.id: place for place in self._versions[:count]}.values())
        while len(self._trees) >= PLACE_TREES_KEPT:
            del self._trees[next(iter(self._trees))]
        self._trees[count] = tree
        return tree

    def _joining(self, tree: PlaceTree, numbers: Iterable[int]) -> dict[str, Place]:
        """The named places and those around them that the tree lacks, each in its earliest version.

        An earliest version can only name a parent that was registered before it: no ring can come of it.
        """
        joining: dict[str, Place] = {}
        for number in numbers:
            place: Place | None = self._earliest[number]
            while place is not None and place.id not in tree.by_id and place.id not in joining:
                joining[place.id] = place
                place = self._earliest_by_id[place.parent] if place.parent is not None else None
        return joining

    def _fits(self, place: Place) -> bool:
        known = self._current.get(place.id)
        if known is None:
            parent_known = place.parent is None or place.parent in self._current
            return parent_known and sum(1 for _ in self._upward(place)) <= PLACE_DEPTH_MAX
        if known.parent == place.parent:
            return True
        # Moving a place moves all that lies within it: rare, so simply try the whole tree.
        try:
            PlaceTree((self._current | {place.id: place}).values())
        except ValueError:
            return False
        return True

    def _upward(self, place: Place) -> Iterator[Place]:
        parent = place.parent
        while parent is not None:
            yield self._current[parent]
            parent = self._current[parent].parent


def _within(changes: list[tuple[int, T]], after: int, upto: int) -> list[tuple[int, T]]:
    """Those recorded in `(after, upto]` (ms); they are in that order."""
    first = bisect_right(changes, after, key=lambda change: change[0])
    return changes[first : bisect_right(changes, upto, key=lambda change: change[0])]
