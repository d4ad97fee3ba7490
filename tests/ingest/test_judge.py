"""`ingest.judge`: no scan is lost, each refusal has its word, and no word repeats what was sent."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.control import CodesRevoked
from events.devices import Device
from events.places import PlaceTree
from events.scans import (
    BATCH_SCANS_MAX,
    HOW_NUMBER,
    KIND_NUMBER,
    LOG_ROW,
    REFUSAL_NUMBER,
    REFUSED_ROW,
    How,
    Kind,
    Refusal,
    Scan,
    ScanBatch,
)
from ingest.judge import DUPLICATE, Judged, duplicates, judge
from keys.codes import CodeOpener
from keys.pseudonyms import pseudonym_of_citizen
from keys.secrets import rotated
from tests.ingest.scene import (
    AN,
    CITIZEN,
    DAY,
    DEVICES,
    DOOR,
    HOUR,
    LIMITS,
    LOST,
    NOW,
    NOWHERE,
    PHONE,
    PLACES,
    POST,
    SECOND,
    SECRETS,
    STRANGER,
    Noise,
    Scene,
    device_key,
    good,
    person_code,
    place_code,
)

CODE = person_code()
WALL = place_code()
Row = tuple[int, int, int, int, int, int, bytes, int, int]


def rows(judged: Judged) -> list[Row]:
    return list(LOG_ROW.iter_unpack(judged.rows))


def only_row(scan: Scan, device: Device = DOOR, scene: Scene | None = None) -> Row:
    judged = (scene or Scene()).judge([scan], device)
    assert (judged.accepted, judged.verdicts, judged.refused) == (1, [], b"")
    (row,) = rows(judged)
    return row


def only_refusal(scan: Scan, device: Device = DOOR, scene: Scene | None = None) -> tuple[Refusal, str]:
    judged = (scene or Scene()).judge([scan], device)
    (verdict,) = judged.verdicts
    reason = Refusal(verdict.verdict)
    assert (judged.accepted, judged.rows, judged.refusals) == (0, b"", {reason: 1})
    expected = (device.number, 1, scan.seq, scan.at, 0, KIND_NUMBER[scan.kind], REFUSAL_NUMBER[reason])
    assert REFUSED_ROW.unpack(judged.refused) == expected
    assert verdict.seq == scan.seq
    for sent in (scan.code, scan.cccd, scan.subject, scan.place, scan.place_code):
        assert not sent or len(sent) < 8 or sent not in verdict.detail
    assert verdict.detail.endswith(".")
    return reason, verdict.detail


# Rows


@pytest.mark.parametrize("kind", list(Kind))
def test_a_code_at_the_device_s_own_place(kind: Kind) -> None:
    row = only_row(Scan(5, NOW - 7, kind, code=CODE))
    assert row == (DOOR.number, 1, 5, NOW - 7, 0, 1, AN, KIND_NUMBER[kind], HOW_NUMBER[How.CODE])


def test_a_code_without_its_signature() -> None:
    assert only_row(Scan(1, NOW, Kind.IN, code=CODE.rpartition(".")[0]))[6] == AN


def test_a_citizen_number_becomes_its_pseudonym() -> None:
    row = only_row(Scan(1, NOW, Kind.PASS, cccd=CITIZEN), POST)
    assert row[5:] == (4, pseudonym_of_citizen(CITIZEN, SECRETS.pseudonym_key), 3, HOW_NUMBER[How.CITIZEN])


def test_a_bare_subject() -> None:
    row = only_row(Scan(1, NOW, Kind.IN, subject=AN.hex()), POST)
    assert row[5:] == (4, AN, 1, HOW_NUMBER[How.SUBJECT])


def test_a_phone_attests_its_holder_at_the_place_on_the_wall() -> None:
    row = only_row(Scan(1, NOW, Kind.OUT, place_code=WALL), PHONE)
    assert row == (PHONE.number, 1, 1, NOW, 0, 2, AN, 2, HOW_NUMBER[How.PHONE])


@pytest.mark.parametrize(("place", "number"), [("mall", 1), ("floor", 2), ("stall", 3)])
def test_sub_places(place: str, number: int) -> None:
    assert only_row(good(place=place))[5] == number


def test_a_tree_of_places_answers_too() -> None:
    judged = judge(
        ScanBatch([good(place="stall")]),
        DOOR,
        device_key("door"),
        places=PlaceTree(PLACES),
        keyring=Scene().keyring,
        opener=CodeOpener(SECRETS),
        pseudonym_key=SECRETS.pseudonym_key,
        now_ms=NOW,
        limits=LIMITS,
    )
    assert judged.accepted == 1


# Refusals


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        (Scan(1, NOW, Kind.IN), Refusal.SUBJECT_MISSING),
        (Scan(1, NOW, Kind.IN, code=CODE, cccd=CITIZEN), Refusal.SUBJECT_AMBIGUOUS),
        (Scan(1, NOW, Kind.IN, code=CODE, subject=AN.hex()), Refusal.SUBJECT_AMBIGUOUS),
        (Scan(1, NOW, Kind.IN, cccd=CITIZEN, subject=AN.hex()), Refusal.SUBJECT_AMBIGUOUS),
        (Scan(1, NOW, Kind.IN, cccd=CITIZEN), Refusal.SUBJECT_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, subject=AN.hex()), Refusal.SUBJECT_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, code=""), Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, code="https://example.org/menu"), Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, code=CODE[:40] + ("A" if CODE[40] != "A" else "B") + CODE[41:]), Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, code=WALL), Refusal.WRONG_CODE),
        (Scan(1, NOW, Kind.IN, code=person_code(secrets=STRANGER)), Refusal.BAD_CODE),
        (
            Scan(1, NOW, Kind.IN, code=person_code(secrets=rotated(STRANGER, Noise("next"), NOW))),
            Refusal.UNKNOWN_ISSUER,
        ),
        (good(place="nowhere"), Refusal.UNKNOWN_PLACE),
        (good(place="post"), Refusal.PLACE_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, code=CODE, place_code=WALL), Refusal.PLACE_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, code=CODE, place="floor", place_code=WALL), Refusal.PLACE_NOT_ALLOWED),
    ],
)
def test_a_door_refuses(scan: Scan, reason: Refusal) -> None:
    assert only_refusal(scan)[0] == reason


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        (Scan(1, NOW, Kind.IN, cccd="00130100000"), Refusal.BAD_CITIZEN_NUMBER),
        (Scan(1, NOW, Kind.IN, cccd="003301000001"), Refusal.BAD_CITIZEN_NUMBER),
        (Scan(1, NOW, Kind.IN, cccd="００１３０１０００００１"), Refusal.BAD_CITIZEN_NUMBER),
        (Scan(1, NOW, Kind.IN, cccd="\u202e" + CITIZEN[:11]), Refusal.BAD_CITIZEN_NUMBER),
        (Scan(1, NOW, Kind.IN, cccd=CITIZEN + "\u200f"), Refusal.BAD_CITIZEN_NUMBER),
        (Scan(1, NOW, Kind.IN, cccd=CITIZEN + "\n"), Refusal.BAD_CITIZEN_NUMBER),
        (Scan(1, NOW, Kind.IN, subject="A" * 32), Refusal.BAD_SUBJECT),
        (Scan(1, NOW, Kind.IN, subject="a" * 31), Refusal.BAD_SUBJECT),
        (Scan(1, NOW, Kind.IN, subject="a" * 32 + "\n"), Refusal.BAD_SUBJECT),
        (Scan(1, NOW, Kind.IN, subject="１" * 32), Refusal.BAD_SUBJECT),
        (Scan(1, NOW, Kind.IN, subject="ab " * 16), Refusal.BAD_SUBJECT),
        (Scan(1, NOW, Kind.IN, code="\u202e" + CODE), Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, code=CODE.replace("TV1", "ＴＶ１")), Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, code=CODE[:79] + "１"), Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, code=CODE, place="mall\u202e"), Refusal.UNKNOWN_PLACE),
        (Scan(1, NOW, Kind.IN, code=CODE, place="ｐｏｓｔ"), Refusal.UNKNOWN_PLACE),
        (Scan(1, NOW, Kind.IN, code=CODE, place=""), Refusal.UNKNOWN_PLACE),
    ],
)
def test_a_post_refuses_what_only_looks_right(scan: Scan, reason: Refusal) -> None:
    assert only_refusal(scan, POST)[0] == reason


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        (Scan(1, NOW, Kind.IN), Refusal.PLACE_MISSING),
        (Scan(1, NOW, Kind.IN, place="mall"), Refusal.PLACE_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, place="floor", place_code=WALL), Refusal.PLACE_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, place_code=WALL, code=CODE), Refusal.SUBJECT_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, place_code=WALL, cccd=CITIZEN), Refusal.SUBJECT_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, place_code=WALL, subject=AN.hex()), Refusal.SUBJECT_NOT_ALLOWED),
        (Scan(1, NOW, Kind.IN, place_code=CODE), Refusal.WRONG_CODE),
        (Scan(1, NOW, Kind.IN, place_code="floor"), Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, place_code=place_code(secrets=STRANGER)), Refusal.BAD_CODE),
        (Scan(1, NOW, Kind.IN, place_code=place_code("burnt-down")), Refusal.UNKNOWN_PLACE),
        (Scan(1, NOW, Kind.IN, place_code=place_code(expires=NOW)), Refusal.EXPIRED_CODE),
        (Scan(1, NOW - 2 * HOUR, Kind.IN, place_code=WALL), Refusal.TIME_OUT_OF_RANGE),
    ],
)
def test_a_phone_refuses(scan: Scan, reason: Refusal) -> None:
    assert only_refusal(scan, PHONE)[0] == reason


@pytest.mark.parametrize(("device", "reason"), [(LOST, Refusal.UNKNOWN_PLACE), (NOWHERE, Refusal.PLACE_MISSING)])
def test_a_device_without_its_place(device: Device, reason: Refusal) -> None:
    assert only_refusal(good(), device)[0] == reason


# Times


def test_an_offline_scan_that_comes_late_is_judged_by_when_it_happened() -> None:
    code = person_code(issued=NOW - 20 * DAY, expires=NOW - 19 * DAY)
    assert only_row(Scan(1, NOW - 20 * DAY, Kind.IN, code=code))[3] == NOW - 20 * DAY
    assert only_row(Scan(1, NOW - 19 * DAY - 1, Kind.IN, code=code))
    assert only_refusal(Scan(1, NOW - 19 * DAY, Kind.IN, code=code))[0] == Refusal.EXPIRED_CODE


def test_a_code_cannot_be_scanned_before_it_was_issued() -> None:
    code = person_code(issued=NOW, expires=NOW + HOUR)
    assert only_row(Scan(1, NOW - 300 * SECOND, Kind.IN, code=code))
    assert only_refusal(Scan(1, NOW - 300 * SECOND - 1, Kind.IN, code=code))[0] == Refusal.TIME_OUT_OF_RANGE


def test_a_code_on_the_wall_is_judged_by_the_same_clocks() -> None:
    scan = Scan(1, NOW - 300 * SECOND, Kind.IN, place_code=place_code(issued=NOW, expires=NOW + HOUR))
    assert only_row(scan, PHONE)
    earlier = msgspec.structs.replace(scan, at=scan.at - 1)
    assert only_refusal(earlier, PHONE)[0] == Refusal.TIME_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("at", "taken"),
    [
        (NOW + 300 * SECOND, True),
        (NOW + 300 * SECOND + 1, False),
        (NOW - 28 * DAY, True),
        (NOW - 28 * DAY - 1, False),
        (0, False),
    ],
)
def test_the_range_of_times(at: int, taken: bool) -> None:
    scan = Scan(1, at, Kind.IN, subject=AN.hex())
    if taken:
        assert only_row(scan, POST)[3] == at
    else:
        reason, detail = only_refusal(scan, POST)
        assert reason == Refusal.TIME_OUT_OF_RANGE
        assert "clock" in detail


# Revocation


def test_a_revoked_code() -> None:
    scene, nonce = Scene(), bytes(12)
    scan = Scan(1, NOW, Kind.IN, code=person_code(nonce=nonce))
    assert only_row(scan, scene=scene)
    scene.revoke(nonce)
    assert only_refusal(scan, scene=scene)[0] == Refusal.REVOKED_CODE
    assert only_row(good(), scene=scene)


def test_all_codes_of_a_subject_revoked() -> None:
    scene = Scene()
    scene.record(CodesRevoked(AN.hex(), NOW))
    assert only_refusal(good(), scene=scene)[0] == Refusal.REVOKED_CODE
    assert only_row(Scan(1, NOW, Kind.IN, code=person_code(issued=NOW)), scene=scene)
    assert only_row(Scan(1, NOW, Kind.IN, code=person_code(bytes(16))), scene=scene)


# Batches


def test_of_a_repeated_seq_the_first_counts() -> None:
    judged = Scene().judge([good(3), Scan(3, NOW - 5, Kind.OUT, code=CODE), good(4), Scan(4, NOW, Kind.OUT)])
    assert [(row[2], row[3], row[7]) for row in rows(judged)] == [(3, NOW, 1), (4, NOW, 1)]
    assert [(one.seq, one.verdict) for one in judged.verdicts] == [(3, "seq_repeated"), (4, "seq_repeated")]
    assert judged.runs == [(3, 4)]


def test_a_refused_scan_holds_its_seq_too() -> None:
    judged = Scene().judge([Scan(3, NOW, Kind.IN), good(3)])
    assert [one.verdict for one in judged.verdicts] == ["subject_missing", "seq_repeated"]
    assert judged.accepted == 0


def test_runs_and_bounds() -> None:
    judged = Scene().judge([good(9), good(1), good(2), Scan(3, NOW, Kind.IN), good(11)])
    assert judged.runs == [(1, 3), (9, 9), (11, 11)]
    assert (judged.seq_min, judged.seq_max) == (1, 11)


def test_duplicates_are_the_accepted_scans_among_the_known() -> None:
    judged = Scene().judge([good(seq) for seq in (1, 2, 5, 6, 7, 10)] + [Scan(8, NOW, Kind.IN)])
    found = duplicates(judged, [(2, 5), (8, 9), (10, 10)])
    assert [(one.seq, one.verdict) for one in found] == [(2, DUPLICATE), (5, DUPLICATE), (10, DUPLICATE)]
    assert duplicates(judged, []) == []


TEXTS = st.sampled_from([None, None, CODE, WALL, CITIZEN, AN.hex(), "x", ""])
SCANS = st.builds(
    Scan,
    seq=st.integers(1, 40) | st.integers(1, 2**53 - 1),
    at=st.sampled_from([NOW, NOW - DAY, NOW - 29 * DAY, NOW + HOUR]),
    kind=st.sampled_from(Kind),
    code=TEXTS,
    cccd=TEXTS,
    subject=TEXTS,
    place=st.sampled_from([None, "mall", "stall", "post", "nowhere"]),
    place_code=TEXTS,
)
PLAIN_SCANS = st.builds(
    Scan,
    seq=st.integers(1, 40),
    at=st.integers(NOW - HOUR, NOW),
    kind=st.sampled_from(Kind),
    code=st.just(CODE),
    place=st.sampled_from([None, "stall"]),
)


@given(st.lists(SCANS | PLAIN_SCANS, min_size=1, max_size=30), st.sampled_from(DEVICES))
def test_no_scan_is_lost(scans: list[Scan], device: Device) -> None:
    judged = Scene().judge(scans, device)
    accepted = rows(judged)
    refused = list(REFUSED_ROW.iter_unpack(judged.refused))
    assert judged.accepted == len(accepted)
    assert sum(judged.refusals.values()) == len(refused) == len(judged.verdicts)
    assert len(accepted) + len(refused) == len(scans)
    # Rows and refusals together decode back to what was sent, each in the order sent.
    told = [(row[2], row[3], row[7]) for row in accepted] + [(row[2], row[3], row[5]) for row in refused]
    assert sorted(told) == sorted((scan.seq, scan.at, KIND_NUMBER[scan.kind]) for scan in scans)
    assert [one.seq for one in judged.verdicts] == [row[2] for row in refused]
    assert len({row[2] for row in accepted}) == len(accepted)
    covered = {seq for low, high in judged.runs if high - low < BATCH_SCANS_MAX for seq in range(low, high + 1)}
    assert covered == {scan.seq for scan in scans}
    assert all(high + 1 < low for (_, high), (low, _) in zip(judged.runs, judged.runs[1:], strict=False))


@given(st.lists(PLAIN_SCANS, min_size=1, max_size=30, unique_by=lambda scan: scan.seq))
def test_good_scans_are_rows_just_as_sent(scans: list[Scan]) -> None:
    places = {None: 1, "stall": 3}
    expected = [
        (DOOR.number, 1, scan.seq, scan.at, 0, places[scan.place], AN, KIND_NUMBER[scan.kind], HOW_NUMBER[How.CODE])
        for scan in scans
    ]
    assert rows(Scene().judge(scans)) == expected
