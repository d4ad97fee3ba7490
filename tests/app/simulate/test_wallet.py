"""Codes name their holders, the daily ones for their day alone; keys come from the server's secrets."""

import msgspec

from app.simulate.people import Person, Shows
from app.simulate.plan import DAY_MS, local_midnight
from app.simulate.wallet import Wallet
from app.simulate.wire import Wire, seen
from app.simulate.world import World
from events.scans import Scan
from keys.codes import CodeOpener, PersonCode, PlaceCode
from keys.secrets import ServerSecrets


def holder(world: World, shows: Shows) -> Person:
    return next(person for person in world.people if person.shows is shows)


def opened(secrets: ServerSecrets, text: str) -> PersonCode:
    code = CodeOpener(secrets).open_person(text)
    assert isinstance(code, PersonCode)
    return code


def test_paper_code_names_its_holder_throughout(world: World, wallet: Wallet, secrets: ServerSecrets) -> None:
    person = holder(world, Shows.PAPER)
    first, last = world.plan.midnights[0], world.plan.end
    assert wallet.code(person.number, first, stale=False) == wallet.code(person.number, last, stale=False)
    code = opened(secrets, wallet.code(person.number, first, stale=False))
    assert code.subject.hex() == wallet.pseudonym(person.number)
    assert code.issued < first
    assert last < code.expires
    assert wallet.who(code.subject.hex()) == person.number


def test_daily_code_is_valid_on_its_day_and_stale_the_day_after(
    world: World, wallet: Wallet, secrets: ServerSecrets
) -> None:
    person = holder(world, Shows.DAILY)
    at = world.plan.end - 1
    fresh = opened(secrets, wallet.code(person.number, at, stale=False))
    stale = opened(secrets, wallet.code(person.number, at, stale=True))
    assert (fresh.issued, fresh.expires) == (local_midnight(at), local_midnight(at) + DAY_MS)
    assert stale.expires == local_midnight(at)
    assert fresh.code != stale.code
    assert fresh.subject == stale.subject


def test_another_server_has_other_keys_and_pseudonyms(world: World, wallet: Wallet, secrets: ServerSecrets) -> None:
    other = Wallet(world, ServerSecrets(pseudonym_key=b"\xaa" * 32, generations=secrets.generations))
    assert other.pseudonym(0) != wallet.pseudonym(0)
    device = next(iter(world.taken))
    assert other.device_key(device).private_bytes_raw() != wallet.device_key(device).private_bytes_raw()
    assert wallet.device_key(device).private_bytes_raw() == wallet.device_key(device).private_bytes_raw()


def test_every_scan_names_its_subject_in_exactly_one_way(busy_world: World, secrets: ServerSecrets) -> None:
    wallet = Wallet(busy_world, secrets)
    wire = Wire(busy_world, wallet)
    opener = CodeOpener(secrets)
    ways: set[str] = set()
    for parcel in busy_world.parcels[::5]:
        for taken, scan in zip(parcel.taken, wire.batch(parcel).scans, strict=True):
            named = [way for way in ("code", "cccd", "place_code") if getattr(scan, way) is not None]
            assert len(named) == 1
            ways.update(named)
            if scan.code is not None:
                code = opener.open_person(scan.code)
                assert isinstance(code, PersonCode)
                assert code.subject.hex() == wallet.pseudonym(taken.attempt.who)
                assert code.vehicle == isinstance(taken.attempt.who, str)
                assert (code.issued <= scan.at < code.expires) is not taken.attempt.stale
            if scan.place_code is not None:
                wall = opener.open_place(scan.place_code)
                assert isinstance(wall, PlaceCode)
                assert wall.place == taken.attempt.place
            msgspec.convert(msgspec.to_builtins(scan), Scan)
    assert ways == {"code", "cccd", "place_code"}


def test_the_truth_counts_every_scan_that_is_not_stale(busy_world: World, secrets: ServerSecrets) -> None:
    stale = sum(taken.attempt.stale for scans in busy_world.taken.values() for taken in scans)
    counted = {(one.device, one.seq) for one in seen(busy_world, Wallet(busy_world, secrets))}
    assert stale > 0
    assert len(counted) == busy_world.scans - stale
