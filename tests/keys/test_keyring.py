"""The keyring: a fold of control events, with revocations as they were known at any moment."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.control import (
    CodeRevoked,
    CodesRevoked,
    ControlEvent,
    DeviceEnrolled,
    DeviceKeyAdded,
    DeviceKeyRestored,
    DeviceKeyRetired,
    DeviceKeyRevoked,
    PlaceRegistered,
    Recorded,
)
from events.devices import Device, DeviceKey
from events.places import Place
from keys.codes import PersonCode
from keys.keyring import Keyring
from tests.keys.samples import DAY_MS, NOW, OTHER_SUBJECT, SUBJECT

GATE = Device(id="cong-chinh", number=7, place="cho-ben-thanh")
POST = Device(id="chot-1", number=3, place="chot-1", may_citizen_number=True)
KEY = DeviceKey(device="cong-chinh", key=1, public=bytes(32), valid_from=NOW)
SECOND = DeviceKey(device="cong-chinh", key=2, public=bytes(31) + b"\1", valid_from=NOW + DAY_MS)

LATER = NOW + DAY_MS


def keyring(*events: ControlEvent) -> Keyring:
    """The fold of the events, recorded one second after another from NOW on."""
    ring = Keyring()
    for second, event in enumerate(events):
        ring.apply(Recorded(NOW + second * 1000, event))
    return ring


def code(subject: bytes = SUBJECT, *, issued: int = NOW, nonce: bytes = bytes(12)) -> PersonCode:
    return PersonCode(subject, False, issued, issued + DAY_MS, nonce)


def test_an_empty_keyring_knows_nothing() -> None:
    ring = Keyring()
    assert (ring.key("cong-chinh.1"), ring.device("cong-chinh"), ring.device_by_number(7)) == (None, None, None)
    assert (ring.devices(), ring.keys_of("cong-chinh"), ring.revocations_as_of(NOW)) == ([], [], {})
    assert not ring.code_revoked(code(), LATER)
    assert not ring.quarantined(7, 1, NOW, NOW)


def test_devices_and_keys_are_found() -> None:
    ring = keyring(DeviceEnrolled(GATE), DeviceEnrolled(POST), DeviceKeyAdded(SECOND), DeviceKeyAdded(KEY))
    assert ring.device("cong-chinh") == GATE
    assert ring.device_by_number(3) == POST
    assert ring.devices() == [POST, GATE]
    assert ring.key("cong-chinh.1") == KEY
    assert ring.key("cong-chinh.3") is None
    assert ring.keys_of("cong-chinh") == [KEY, SECOND]
    assert ring.keys_of("chot-1") == []


def test_the_last_enrolment_of_a_device_counts() -> None:
    moved = Device(id="cong-chinh", number=7, place="cho-lon")
    ring = keyring(DeviceEnrolled(GATE), DeviceEnrolled(moved))
    assert ring.device("cong-chinh") == moved
    assert ring.device_by_number(7) == moved
    assert ring.devices() == [moved]


def test_what_does_not_concern_it_is_passed_over() -> None:
    ring = keyring(PlaceRegistered(Place(id="cho", number=1, name="Chợ")))
    assert ring.devices() == []


@pytest.mark.parametrize(("now", "usable"), [(NOW - 1, False), (NOW, True), (NOW + 999, True), (NOW + 1_000, False)])
def test_a_key_is_usable_from_and_to(now: int, usable: bool) -> None:
    ring = keyring(DeviceKeyAdded(KEY), DeviceKeyRetired("cong-chinh", 1, NOW + 1_000))
    key = ring.key("cong-chinh.1")
    assert key is not None
    assert key.valid_to == NOW + 1_000
    assert ring.usable(key, now) is usable


def test_a_key_without_an_end_stays_usable() -> None:
    assert keyring().usable(KEY, NOW + 10_000 * DAY_MS)


@pytest.mark.parametrize(("now", "usable"), [(NOW + 499, True), (NOW + 500, False), (NOW + DAY_MS, False)])
def test_a_key_is_not_usable_once_revoked(now: int, usable: bool) -> None:
    ring = keyring(DeviceKeyAdded(KEY), DeviceKeyRevoked("cong-chinh", 1, NOW + 500))
    key = ring.key("cong-chinh.1")
    assert key is not None
    assert ring.usable(key, now) is usable


def test_the_last_retirement_counts() -> None:
    ring = keyring(
        DeviceKeyAdded(KEY),
        DeviceKeyRetired("cong-chinh", 1, NOW + DAY_MS),
        DeviceKeyRetired("cong-chinh", 1, NOW + 2 * DAY_MS),
        DeviceKeyRetired("unknown", 1, NOW),
    )
    key = ring.key("cong-chinh.1")
    assert key is not None
    assert key.valid_to == NOW + 2 * DAY_MS


def test_a_key_number_is_given_once() -> None:
    """Neither another key nor the same one again may undo what was said of the first."""
    impostor = DeviceKey(device="cong-chinh", key=1, public=b"\1" * 32, valid_from=NOW)
    ring = keyring(
        DeviceKeyAdded(KEY),
        DeviceKeyRevoked("cong-chinh", 1, NOW),
        DeviceKeyAdded(impostor),
        DeviceKeyAdded(KEY),
    )
    key = ring.key("cong-chinh.1")
    assert key is not None
    assert (key.public, key.revoked_from) == (KEY.public, NOW)
    assert len(ring.keys_of("cong-chinh")) == 1


def test_a_revocation_is_known_from_when_it_was_recorded() -> None:
    ring = keyring(DeviceEnrolled(GATE), DeviceKeyAdded(KEY), DeviceKeyRevoked("cong-chinh", 1, NOW - DAY_MS))
    recorded = NOW + 2_000
    assert ring.revocations_as_of(recorded - 1) == {}
    assert ring.revocations_as_of(recorded) == {(7, 1): NOW - DAY_MS}
    assert not ring.quarantined(7, 1, NOW, as_of=recorded - 1)
    assert ring.quarantined(7, 1, NOW, as_of=recorded)
    assert ring.quarantined(7, 1, NOW - DAY_MS, as_of=recorded)
    assert not ring.quarantined(7, 1, NOW - DAY_MS - 1, as_of=recorded)


def test_a_revocation_concerns_its_key_alone() -> None:
    ring = keyring(
        DeviceEnrolled(GATE),
        DeviceEnrolled(POST),
        DeviceKeyAdded(KEY),
        DeviceKeyAdded(SECOND),
        DeviceKeyRevoked("cong-chinh", 1, NOW),
    )
    later = NOW + DAY_MS
    assert ring.quarantined(7, 1, later, later)
    assert not ring.quarantined(7, 2, later, later)
    assert not ring.quarantined(3, 1, later, later)
    assert not ring.quarantined(99, 1, later, later)


def test_of_several_revocations_the_earliest_known_counts() -> None:
    ring = keyring(
        DeviceEnrolled(GATE),
        DeviceKeyAdded(KEY),
        DeviceKeyRevoked("cong-chinh", 1, NOW + 500),
        DeviceKeyRevoked("cong-chinh", 1, NOW + 100),
        DeviceKeyRevoked("cong-chinh", 1, NOW + 900),
    )
    known = [ring.revocations_as_of(NOW + second * 1000).get((7, 1)) for second in range(1, 6)]
    assert known == [None, NOW + 500, NOW + 100, NOW + 100, NOW + 100]
    assert not ring.quarantined(7, 1, NOW + 300, as_of=NOW + 2_000)
    assert ring.quarantined(7, 1, NOW + 300, as_of=NOW + 3_000)
    key = ring.key("cong-chinh.1")
    assert key is not None
    assert key.revoked_from == NOW + 100


def test_a_key_may_arrive_revoked() -> None:
    ring = Keyring()
    ring.apply(Recorded(NOW, DeviceEnrolled(GATE)))
    arrived = DeviceKey(device="cong-chinh", key=1, public=bytes(32), valid_from=NOW, revoked_from=NOW + 5)
    ring.apply(Recorded(NOW + 1, DeviceKeyAdded(arrived)))
    assert ring.key("cong-chinh.1") == arrived
    assert ring.revocations_as_of(NOW) == {}
    assert ring.revocations_as_of(NOW + 1) == {(7, 1): NOW + 5}


def test_the_order_of_device_key_and_revocation_does_not_matter() -> None:
    events = [
        Recorded(NOW, DeviceEnrolled(GATE)),
        Recorded(NOW, DeviceKeyAdded(KEY)),
        Recorded(NOW, DeviceKeyRevoked("cong-chinh", 1, NOW + 500)),
    ]
    for order in itertools.permutations(events):
        ring = Keyring()
        for recorded in order:
            ring.apply(recorded)
        key = ring.key("cong-chinh.1")
        assert key is not None
        assert key.revoked_from == NOW + 500
        assert ring.revocations_as_of(NOW) == {(7, 1): NOW + 500}


def test_replaying_changes_nothing() -> None:
    events = [
        Recorded(NOW, DeviceEnrolled(GATE)),
        Recorded(NOW + 1, DeviceKeyAdded(KEY)),
        Recorded(NOW + 2, DeviceKeyRevoked("cong-chinh", 1, NOW)),
        Recorded(NOW + 3, CodesRevoked(SUBJECT.hex(), NOW)),
    ]
    ring = Keyring()
    for recorded in events + events:
        ring.apply(recorded)
    assert [key.keyid for key in ring.keys_of("cong-chinh")] == ["cong-chinh.1"]
    assert ring.devices() == [GATE]
    assert ring.revocations_as_of(NOW + 1) == {}
    assert ring.revocations_as_of(NOW + 2) == {(7, 1): NOW}


def test_a_lifted_revocation_counts_for_the_moments_before_the_lifting() -> None:
    ring = keyring(
        DeviceEnrolled(GATE),
        DeviceKeyAdded(KEY),
        DeviceKeyRevoked("cong-chinh", 1, NOW + 500),
        DeviceKeyRevoked("cong-chinh", 1, NOW + 100),
        DeviceKeyRestored("cong-chinh", 1),
        DeviceKeyRevoked("cong-chinh", 1, NOW + 900),
    )
    known = [ring.revocations_as_of(NOW + second * 1000).get((7, 1)) for second in range(7)]
    assert known == [None, None, NOW + 500, NOW + 100, None, NOW + 900, NOW + 900]
    quarantined = [ring.quarantined(7, 1, NOW + 500, as_of=NOW + second * 1000) for second in range(7)]
    assert quarantined == [False, False, True, True, False, False, False]
    assert [each.revoked_from for each in ring.revocations_of("cong-chinh", 1)] == [
        NOW + 500,
        NOW + 100,
        None,
        NOW + 900,
    ]


def test_a_restored_key_may_sign_again() -> None:
    events = DeviceKeyAdded(KEY), DeviceKeyRevoked("cong-chinh", 1, NOW), DeviceKeyRestored("cong-chinh", 1)
    key = keyring(*events).key("cong-chinh.1")
    assert key == KEY
    assert keyring().usable(key, LATER)


def test_restoring_concerns_its_key_alone() -> None:
    ring = keyring(
        DeviceEnrolled(GATE),
        DeviceKeyAdded(KEY),
        DeviceKeyAdded(SECOND),
        DeviceKeyRevoked("cong-chinh", 1, NOW),
        DeviceKeyRevoked("cong-chinh", 2, NOW),
        DeviceKeyRestored("cong-chinh", 2),
        DeviceKeyRestored("nobody", 1),
    )
    assert ring.revocations_as_of(LATER) == {(7, 1): NOW}


def test_within_one_millisecond_the_order_of_the_stream_counts() -> None:
    revoked, restored = DeviceKeyRevoked("cong-chinh", 1, NOW), DeviceKeyRestored("cong-chinh", 1)
    for events, in_force in ((revoked, restored), {}), ((restored, revoked), {(7, 1): NOW}):
        ring = Keyring()
        for event in (DeviceEnrolled(GATE), DeviceKeyAdded(KEY), *events):
            ring.apply(Recorded(NOW, event))
        assert ring.revocations_as_of(NOW) == in_force


_changes = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([1, 2]), st.none() | st.integers(NOW - 5, NOW + 5)), max_size=8
)


@given(_changes, st.integers(0, 2))
def test_revoking_and_restoring_at_random_moments(changes: list[tuple[int, int, int | None]], repetitions: int) -> None:
    """Against the definition: at a moment, the least of what was revoked since the last lifting before it."""
    told: list[tuple[int, int, int | None]] = []
    moment = NOW
    for later, key, revoked_from in changes:
        moment += later
        # One and the same event twice in one millisecond could not be told from a replay.
        if (moment, key, revoked_from) not in told:
            told.append((moment, key, revoked_from))
    ring = Keyring()
    for recorded in [
        Recorded(NOW - 1, DeviceEnrolled(GATE)),
        *(
            Recorded(
                moment,
                DeviceKeyRestored("cong-chinh", key)
                if revoked_from is None
                else DeviceKeyRevoked("cong-chinh", key, revoked_from),
            )
            for moment, key, revoked_from in told
        ),
    ] * (1 + repetitions):
        ring.apply(recorded)
    for as_of in range(NOW - 1, moment + 2):
        expected = {}
        for key in (1, 2):
            said = [revoked_from for at, of, revoked_from in told if of == key and at <= as_of]
            lifted = max((position + 1 for position, each in enumerate(said) if each is None), default=0)
            in_force = [each for each in said[lifted:] if each is not None]
            if in_force:
                expected[(7, key)] = min(in_force)
        assert ring.revocations_as_of(as_of) == expected
        for received in range(NOW - 6, NOW + 7):
            assert ring.quarantined(7, 1, received, as_of) == (expected.get((7, 1), received + 1) <= received)


def test_a_key_has_one_holder_even_when_it_is_used_no_more() -> None:
    first = DeviceKey(device="cong-chinh", key=1, public=bytes(32), valid_from=NOW, valid_to=NOW + 1)
    again = DeviceKey(device="cong-phu", key=1, public=bytes(32), valid_from=NOW)
    ring = keyring(DeviceKeyAdded(first), DeviceKeyAdded(again))
    assert ring.holder_of(bytes(32)) == "cong-chinh"
    assert ring.holder_of(bytes([1]) * 32) is None


def test_one_code_is_revoked_by_its_nonce() -> None:
    lost = bytes.fromhex("0a" * 12)
    ring = keyring(CodeRevoked("0a" * 12))
    assert ring.code_revoked(code(nonce=lost), LATER)
    assert ring.code_revoked(code(OTHER_SUBJECT, nonce=lost), LATER)
    assert not ring.code_revoked(code(nonce=bytes(12)), LATER)


def test_all_codes_of_a_subject_are_revoked_that_were_issued_before() -> None:
    ring = keyring(CodesRevoked(SUBJECT.hex(), NOW))
    assert ring.code_revoked(code(issued=NOW - 1_000), LATER)
    assert not ring.code_revoked(code(issued=NOW), LATER)
    assert not ring.code_revoked(code(OTHER_SUBJECT, issued=NOW - 1_000), LATER)


def test_a_scan_from_before_the_revocation_is_good_however_late_it_arrives() -> None:
    ring = keyring(CodeRevoked("0a" * 12), CodesRevoked(OTHER_SUBJECT.hex(), NOW))
    lost = code(nonce=bytes.fromhex("0a" * 12))
    assert not ring.code_revoked(lost, NOW - 1)
    assert ring.code_revoked(lost, NOW)
    old = code(OTHER_SUBJECT, issued=NOW - 1_000)
    assert not ring.code_revoked(old, NOW + 999)
    assert ring.code_revoked(old, NOW + 1_000)


def test_a_later_revocation_of_codes_never_takes_back_an_earlier_one() -> None:
    ring = keyring(CodesRevoked(SUBJECT.hex(), NOW), CodesRevoked(SUBJECT.hex(), NOW - DAY_MS))
    assert ring.code_revoked(code(issued=NOW - 1_000), LATER)
