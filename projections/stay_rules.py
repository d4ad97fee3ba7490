"""What decides stays beside the scans: the places and the revocations of keys, as the control stream tells of them."""

from bisect import bisect_right
from typing import Final

from events.control import DeviceKeyAdded, DeviceKeyRestored, DeviceKeyRevoked, PlaceRegistered, Recorded
from keys.keyring import Keyring
from projections.place_history import PlaceHistory


class StayRules:
    """A fold of the control stream. One thread applies; whoever else reads keeps it from doing so meanwhile."""

    def __init__(self) -> None:
        self.keyring: Final = Keyring()
        self.places: Final = PlaceHistory()
        self._trust_changed: Final[list[int]] = []

    def apply(self, recorded: Recorded) -> None:
        """Take in the next event of the control stream, in its order."""
        self.keyring.apply(recorded)
        match recorded.event:
            case PlaceRegistered(place=place):
                self.places.add(recorded.at, place)
            case DeviceKeyRevoked() | DeviceKeyRestored():
                self._trust_changed.append(recorded.at)
            case DeviceKeyAdded(key=key) if key.revoked_from is not None:
                self._trust_changed.append(recorded.at)
            case _:
                pass

    def changed(self, after: int, upto: int) -> bool:
        """Whether what was recorded in `(after, upto]` (ms) may make the same scans other stays.

        A place's first registration does not: scans that named it before count as if it had been there (see
        `places.tree`), and where nobody had registered it, the mark of the settled stays says so.
        """
        return self.trust_changed(after, upto) or self.places.redrawn(after, upto)

    def trust_changed(self, after: int, upto: int) -> bool:
        """Whether a key was revoked or restored in `(after, upto]` (ms)."""
        return bisect_right(self._trust_changed, after) < bisect_right(self._trust_changed, upto)

    def device_id(self, number: int) -> str:
        """The id of a device by the registry's number; `#<number>` where nobody enrolled it."""
        device = self.keyring.device_by_number(number)
        return f"#{number}" if device is None else device.id
