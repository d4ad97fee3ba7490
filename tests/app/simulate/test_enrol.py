"""The registry learns of a world once."""

import pytest
import redis

from app.registries import Registries
from app.simulate.enrol import OtherKeys, enrol, keyid
from app.simulate.people import Shows
from app.simulate.wallet import Wallet
from app.simulate.world import World
from events.places import Category
from keys.secrets import ServerSecrets
from storage.control import CONTROL_STREAM, ControlLog
from tests.app.simulate.conftest import NOON


def registries(valkey: "redis.Redis") -> Registries:
    return Registries(ControlLog(valkey))


def test_second_time_nothing_is_new(valkey: "redis.Redis", world: World, wallet: Wallet) -> None:
    phones = sum(person.shows is Shows.PHONE for person in world.people)
    devices = len(world.premises.doors) + phones
    assert enrol(registries(valkey), world, wallet, NOON) == len(world.premises.places) + 2 * devices
    assert enrol(registries(valkey), world, wallet, NOON) == 0


def test_every_device_that_scans_has_its_key_and_numbers_are_the_registrys_own(
    valkey: "redis.Redis", world: World, wallet: Wallet
) -> None:
    enrol(registries(valkey), world, wallet, NOON)
    registry = registries(valkey).registry
    for device in world.taken:
        key = registry.keyring.key(keyid(device))
        assert key is not None
        assert key.public == wallet.device_key(device).public_key().public_bytes_raw()
    numbers = [device.number for device in registry.keyring.devices()]
    assert len(set(numbers)) == len(numbers)
    tree = registry.places()
    assert len(tree.by_number) == len(tree.by_id) == len(world.premises.places)
    readers = {device.place for device in registry.keyring.devices() if device.may_citizen_number}
    assert Category.CHECKPOINT in {tree.by_id[place].category for place in readers if place is not None}
    assert Category.SHOP not in {tree.by_id[place].category for place in readers if place is not None}


def test_registration_that_was_broken_off_is_completed(valkey: "redis.Redis", world: World, wallet: Wallet) -> None:
    whole = enrol(registries(valkey), world, wallet, NOON)
    entries = [entry for entry, _ in ControlLog(valkey).replay()]
    valkey.xdel(CONTROL_STREAM, *entries[-3:])
    before = {device.id: device.number for device in registries(valkey).registry.keyring.devices()}
    assert 0 < enrol(registries(valkey), world, wallet, NOON) < whole
    assert enrol(registries(valkey), world, wallet, NOON) == 0
    devices = registries(valkey).registry.keyring.devices()
    assert len({device.number for device in devices}) == len(devices)
    assert before.items() < {device.id: device.number for device in devices}.items(), "a device keeps its number"


def test_another_key_file_is_refused(
    valkey: "redis.Redis", world: World, wallet: Wallet, secrets: ServerSecrets
) -> None:
    enrol(registries(valkey), world, wallet, NOON)
    other = ServerSecrets(pseudonym_key=b"\xaa" * 32, generations=secrets.generations)
    with pytest.raises(OtherKeys, match="--seed"):
        enrol(registries(valkey), world, Wallet(world, other), NOON)
