"""Enrolment: the life of a device's keys, told through the keyring that follows it."""

import pytest

from events.control import (
    ControlEvent,
    DeviceEnrolled,
    DeviceKeyAdded,
    DeviceKeyRestored,
    DeviceKeyRetired,
    DeviceKeyRevoked,
    Recorded,
)
from events.devices import Device, DeviceKey
from keys.enrolment import KEY_NUMBER_MAX, EnrolmentRefused, enrolled, public_key_error, restored, revoked, rotated
from keys.keyring import Keyring
from tests.keys.samples import NOW

GATE = Device(id="cong-chinh", number=7, place="cho-ben-thanh")
FIRST = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
SECOND = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
THIRD = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
FIELD = 2**255 - 19


def followed(ring: Keyring, events: list[ControlEvent], at: int) -> Keyring:
    for event in events:
        ring.apply(Recorded(at, event))
    return ring


def usable(ring: Keyring, now: int) -> list[int]:
    return [key.key for key in ring.keys_of("cong-chinh") if ring.usable(key, now)]


def test_a_new_device_has_one_key_in_force_from_now() -> None:
    key = DeviceKey(device="cong-chinh", key=1, public=FIRST, valid_from=NOW)
    assert enrolled(GATE, FIRST, NOW) == [DeviceEnrolled(GATE), DeviceKeyAdded(key)]


def test_a_rotation_adds_first_and_then_ends_the_old_key_after_the_overlap() -> None:
    ring = followed(Keyring(), enrolled(GATE, FIRST, NOW), NOW)
    events = rotated(ring.keys_of("cong-chinh"), SECOND, NOW + 5_000, overlap_seconds=60)
    assert events == [
        DeviceKeyAdded(DeviceKey(device="cong-chinh", key=2, public=SECOND, valid_from=NOW + 5_000)),
        DeviceKeyRetired("cong-chinh", 1, NOW + 65_000),
    ]
    followed(ring, events, NOW + 5_000)
    seen = [usable(ring, now) for now in (NOW, NOW + 4_999, NOW + 5_000, NOW + 64_999, NOW + 65_000)]
    assert seen == [[1], [1], [1, 2], [1, 2], [2]]


def test_stopping_within_a_rotation_leaves_a_key_that_works() -> None:
    ring = followed(Keyring(), enrolled(GATE, FIRST, NOW), NOW)
    events = rotated(ring.keys_of("cong-chinh"), SECOND, NOW, overlap_seconds=0)
    for event in events:
        followed(ring, [event], NOW)
        assert usable(ring, NOW)


def test_a_second_rotation_leaves_what_ends_sooner_alone() -> None:
    ring = followed(Keyring(), enrolled(GATE, FIRST, NOW), NOW)
    followed(ring, rotated(ring.keys_of("cong-chinh"), SECOND, NOW, overlap_seconds=60), NOW)
    events = rotated(ring.keys_of("cong-chinh"), THIRD, NOW + 1_000, overlap_seconds=60)
    assert [type(event) for event in events] == [DeviceKeyAdded, DeviceKeyRetired]
    assert events[1] == DeviceKeyRetired("cong-chinh", 2, NOW + 61_000)
    shorter = rotated(ring.keys_of("cong-chinh"), THIRD, NOW + 1_000, overlap_seconds=0)
    assert shorter[1:] == [
        DeviceKeyRetired("cong-chinh", 1, NOW + 1_000),
        DeviceKeyRetired("cong-chinh", 2, NOW + 1_000),
    ]


def test_a_revocation_counts_from_its_time() -> None:
    ring = followed(Keyring(), enrolled(GATE, FIRST, NOW), NOW)
    key = ring.keys_of("cong-chinh")[0]
    events = revoked(key, NOW + 100, "stolen")
    assert events == [DeviceKeyRevoked("cong-chinh", 1, NOW + 100, "stolen")]
    followed(ring, events, NOW + 9_000)
    assert ring.revocations_as_of(NOW + 9_000) == {(7, 1): NOW + 100}
    assert usable(ring, NOW + 9_000) == []


def test_a_revoked_device_gets_a_new_key_by_rotation() -> None:
    ring = followed(Keyring(), enrolled(GATE, FIRST, NOW), NOW)
    followed(ring, revoked(ring.keys_of("cong-chinh")[0], NOW), NOW)
    followed(ring, rotated(ring.keys_of("cong-chinh"), SECOND, NOW), NOW)
    assert usable(ring, NOW) == [2]


def test_a_key_is_never_given_twice() -> None:
    keys = [DeviceKey(device="cong-chinh", key=1, public=FIRST, valid_from=NOW)]
    with pytest.raises(EnrolmentRefused, match="this key already"):
        rotated(keys, FIRST, NOW)


@pytest.mark.parametrize(
    ("keys", "overlap_seconds", "message"),
    [
        ([], 0, "no key yet"),
        ([DeviceKey(device="cong-chinh", key=1, public=FIRST, valid_from=NOW)], -1, "0 seconds or longer"),
        (
            [DeviceKey(device="cong-chinh", key=KEY_NUMBER_MAX, public=FIRST, valid_from=NOW)],
            0,
            "65535 keys at most",
        ),
    ],
)
def test_what_cannot_be_rotated_is_refused(keys: list[DeviceKey], overlap_seconds: int, message: str) -> None:
    with pytest.raises(EnrolmentRefused, match=message):
        rotated(keys, SECOND, NOW, overlap_seconds=overlap_seconds)


# Keys under which anybody can sign. The curve's own arithmetic (RFC 8032, section 5.1) says which those are.

D = -121665 * pow(121666, -1, FIELD) % FIELD
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def doubled(point: Point) -> Point:
    x, y = point
    product = D * x * x * y * y
    return (
        2 * x * y * pow(1 + product, -1, FIELD) % FIELD,
        (y * y + x * x) * pow(1 - product, -1, FIELD) % FIELD,
    )


def decoded(public: bytes) -> Point | None:
    y = int.from_bytes(public, "little") % 2**255 % FIELD
    square = (y * y - 1) * pow(D * y * y + 1, -1, FIELD) % FIELD
    x = pow(square, (FIELD + 3) // 8, FIELD)
    if (x * x - square) % FIELD:
        x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    return (x, y) if (x * x - square) % FIELD == 0 else None


def has_small_order(public: bytes) -> bool:
    point = decoded(public)
    return point is not None and doubled(doubled(doubled(point))) == NEUTRAL


SMALL_ORDER = [
    (0).to_bytes(32, "little"),
    (1).to_bytes(32, "little"),
    (FIELD - 1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


@pytest.mark.parametrize("public", SMALL_ORDER)
@pytest.mark.parametrize("sign_bit", [0, 0x80])
def test_a_key_of_small_order_is_refused(public: bytes, sign_bit: int) -> None:
    assert has_small_order(public)
    public = public[:31] + bytes([public[31] | sign_bit])
    assert "small order" in (public_key_error(public) or "")
    with pytest.raises(EnrolmentRefused, match="small order"):
        enrolled(GATE, public, NOW)


@pytest.mark.parametrize("y", range(FIELD, 2**255))
def test_a_key_that_is_not_canonical_is_refused(y: int) -> None:
    assert "not canonical" in (public_key_error(y.to_bytes(32, "little")) or "")


@pytest.mark.parametrize("public", [b"", FIRST[:31], FIRST + b"\0"])
def test_a_key_of_another_length_is_refused(public: bytes) -> None:
    assert "32 bytes" in (public_key_error(public) or "")


@pytest.mark.parametrize("public", [FIRST, SECOND, THIRD])
def test_an_ordinary_key_passes(public: bytes) -> None:
    assert not has_small_order(public)
    assert public_key_error(public) is None


def test_restoring_lifts_what_is_in_force() -> None:
    ring = followed(Keyring(), enrolled(GATE, FIRST, NOW), NOW)
    key = ring.keys_of("cong-chinh")[0]
    assert restored(key, "found") == []
    followed(ring, revoked(key, NOW + 100), NOW + 9_000)
    events = restored(ring.keys_of("cong-chinh")[0], "found")
    assert events == [DeviceKeyRestored("cong-chinh", 1, "found")]
    followed(ring, events, NOW + 10_000)
    assert ring.keys_of("cong-chinh") == [key]
    assert usable(ring, NOW + 10_000) == [1]
