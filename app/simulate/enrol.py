"""The registry learns of the world: places, then devices, then their keys. What it knows already is left alone."""

from typing import Final

import msgspec

from app.errors import Explained
from app.registries import Registries
from app.simulate.attendance import phone_of
from app.simulate.people import Shows
from app.simulate.wallet import Wallet
from app.simulate.wire import CARD_READERS
from app.simulate.world import World
from events.control import ControlEvent, PlaceRegistered
from events.devices import Device
from keys.enrolment import FIRST_KEY, enrolled

UNNUMBERED: Final = 0


class OtherKeys(Explained):
    """The registry knows this world's devices under keys that the key file does not give."""

    def __init__(self) -> None:
        super().__init__(
            "This province was simulated with another key file than the one in use. Put that one back, or simulate"
            " another province: --seed 2."
        )


def enrol(registries: Registries, world: World, wallet: Wallet, now_ms: int) -> int:
    """Record what is new, in one order that followers can rely on: a key comes after its device and all places.

    Returns how many events that took; 0 the second time. Raises `OtherKeys`, `StreamDown`.
    """
    events = [*_places(registries, world), *_devices(registries, world, wallet, now_ms)]
    registries.record(events)
    return len(events)


def _places(registries: Registries, world: World) -> list[ControlEvent]:
    known = registries.registry.places().by_id
    return [
        PlaceRegistered(msgspec.structs.replace(place, number=registries.control.next_number("place")))
        for place in world.premises.places
        if place.id not in known
    ]


def _devices(registries: Registries, world: World, wallet: Wallet, now_ms: int) -> list[ControlEvent]:
    keyring = registries.registry.keyring
    events: list[ControlEvent] = []
    for device in _wanted(world, wallet):
        public = wallet.device_key(device.id).public_key().public_bytes_raw()
        key = keyring.key(keyid(device.id))
        if key is None:
            known = keyring.device(device.id)
            number = known.number if known is not None else registries.control.next_number("device")
            events.extend(enrolled(msgspec.structs.replace(device, number=number), public, now_ms))
        elif key.public != public:
            raise OtherKeys
    return events


def _wanted(world: World, wallet: Wallet) -> list[Device]:
    """Scanners at doors, and the phones of those who scan the codes on walls."""
    place = {place.id: place for place in world.premises.places}
    doors = [
        Device(
            id=door.device,
            number=UNNUMBERED,
            label=place[door.place].name,
            place=door.place,
            may_citizen_number=place[door.place].category in CARD_READERS,
        )
        for door in world.premises.doors
    ]
    phones = [
        Device(
            id=phone_of(world.plan, person),
            number=UNNUMBERED,
            label="simulated phone",
            subject=wallet.pseudonym(person.number),
        )
        for person in world.people
        if person.shows is Shows.PHONE
    ]
    return doors + phones


def keyid(device: str) -> str:
    """The keyid under which a simulated device signs."""
    return f"{device}.{FIRST_KEY}"
