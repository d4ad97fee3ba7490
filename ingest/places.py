"""The places as they are now: what the edge asks of the registry, folded event by event."""

from collections.abc import Mapping
from typing import Final

from events.control import PlaceRegistered, Recorded
from events.places import PLACE_DEPTH_MAX, Place


class PlaceView:
    """A fold of `PlaceRegistered` in which one event costs one dictionary entry.

    `events.places.PlaceTree` precomputes every ancestor and so is built anew for each change. An edge that holds
    several 100,000 places and hears of one more must not stop for that: this view walks up when it is asked.
    """

    def __init__(self) -> None:
        self._by_id: Final[dict[str, Place]] = {}
        self.by_id: Final[Mapping[str, Place]] = self._by_id

    def apply(self, recorded: Recorded) -> None:
        """Take one event in; those that are not about places change nothing."""
        if isinstance(recorded.event, PlaceRegistered):
            self._by_id[recorded.event.place.id] = recorded.event.place

    def within(self, place_id: str, outer_id: str) -> bool:
        """Whether the place is `outer_id` or lies inside it; False where either is unknown."""
        current: str | None = place_id
        # The bound also ends the walk in a ring, which the registry refuses but a damaged stream could hold.
        for _ in range(PLACE_DEPTH_MAX + 1):
            if current is None or current not in self._by_id:
                return False
            if current == outer_id:
                return True
            current = self._by_id[current].parent
        return False

    def __len__(self) -> int:
        return len(self._by_id)
