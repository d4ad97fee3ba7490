"""Places in places: whoever is in a room is in its building as well. Pure over a tree."""

from collections.abc import Iterable, Mapping
from typing import Final

from events.places import Place, PlaceTree
from projections.stays import Stay
from tracing.overlap import Presence
from tracing.registry import Registry


class Premises:
    """A tree of places that is also asked downward: what lies inside. One question's, so that it is built once."""

    def __init__(self, tree: PlaceTree) -> None:
        self.tree: Final = tree
        self._children: dict[str, list[str]] | None = None

    def around(self, place: str) -> tuple[str, ...]:
        """The place and those that it lies in, nearest first."""
        return (place, *self.tree.ancestors(place)) if place in self.tree.by_id else (place,)

    def related(self, one: str, other: str) -> bool:
        """Whether they are the same place, or one lies inside the other."""
        return one in self.around(other) or other in self.around(one)

    def inside(self, place: str) -> list[Place]:
        """The place and all that lies inside it; empty where it is not registered."""
        if place not in self.tree.by_id:
            return []
        if self._children is None:
            self._children = {}
            for each in self.tree.by_id.values():
                if each.parent is not None:
                    self._children.setdefault(each.parent, []).append(each.id)
        found = [place]
        for outer in found:  # grows while it is walked
            found += self._children.get(outer, ())
        return [self.tree.by_id[each] for each in found]


def premises_of(registry: Registry, as_of: int, stays: Iterable[Stay]) -> Premises:
    """The places as registered at `as_of` (Unix ms), with those of these stays that were registered only later."""
    now = registry.places().by_id
    numbers = {now[place].number for place in {stay.place for stay in stays} if place in now}
    return Premises(registry.places_as_of(as_of, numbers))


def by_place(presences: Iterable[Presence], premises: Premises) -> Mapping[str, list[Presence]]:
    """Who was where, places around a place included; by start at each."""
    found: dict[str, list[Presence]] = {}
    for presence in presences:
        for place in premises.around(presence.stay.place):
            found.setdefault(place, []).append(presence)
    for each in found.values():
        each.sort(key=presence_order)
    return found


def presence_order(presence: Presence) -> tuple[int, int, str, str]:
    """By start, and the same whenever it is asked."""
    return presence.start, presence.end, presence.subject, presence.stay.place
