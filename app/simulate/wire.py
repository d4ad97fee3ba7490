"""A taken scan as its device puts it on the wire, and as the truth remembers it."""

from collections.abc import Iterator
from typing import Final

from app.simulate.delivery import Parcel, Taken
from app.simulate.people import Shows
from app.simulate.truth import Grounds, Seen
from app.simulate.wallet import Wallet
from app.simulate.world import World
from events.places import Category, PlaceTree
from events.scans import Scan, ScanBatch

CARD_READERS: Final = frozenset({Category.CHECKPOINT, Category.AGENCY, Category.HEALTH_FACILITY, Category.SCHOOL})
"""Where an officer may type in a citizen card's number; elsewhere whoever has no phone shows a paper code."""


class Wire:
    """Turns one world's scans into batches."""

    def __init__(self, world: World, wallet: Wallet) -> None:
        self._wallet: Final = wallet
        self._place_of: Final = {door.device: door.place for door in world.premises.doors}
        category = {place.id: place.category for place in world.premises.places}
        self._reads_cards: Final = {
            device for device, place in self._place_of.items() if category[place] in CARD_READERS
        }

    def batch(self, parcel: Parcel) -> ScanBatch:
        """The body of one request."""
        return ScanBatch([self._scan(parcel.device, taken) for taken in parcel.taken])

    def _scan(self, device: str, taken: Taken) -> Scan:
        attempt, seq = taken.attempt, taken.seq
        own = self._place_of.get(device)
        if own is None:
            return Scan(seq=seq, at=attempt.at, kind=attempt.kind, place_code=self._wallet.wall(attempt.place))
        room = None if attempt.place == own else attempt.place
        if isinstance(attempt.who, int) and device in self._reads_cards:
            person = self._wallet.person(attempt.who)
            if person.shows is Shows.CARD:
                return Scan(seq=seq, at=attempt.at, kind=attempt.kind, cccd=person.citizen_number, place=room)
        code = self._wallet.code(attempt.who, attempt.at, stale=attempt.stale)
        return Scan(seq=seq, at=attempt.at, kind=attempt.kind, code=code, place=room)


def seen(world: World, wallet: Wallet) -> Iterator[Seen]:
    """Every scan that the server must accept, once."""
    for device, taken in world.taken.items():
        for one in taken:
            attempt = one.attempt
            if not attempt.stale:
                yield Seen(wallet.pseudonym(attempt.who), attempt.at, attempt.kind, attempt.place, device, one.seq)


def grounds(world: World) -> Grounds:
    """The places, as the truth needs them."""
    tree = PlaceTree(world.premises.places)
    return Grounds(
        dwell={place.id: place.dwell_ms for place in world.premises.places},
        around={place_id: frozenset((place_id, *tree.ancestors(place_id))) for place_id in tree.by_id},
    )
