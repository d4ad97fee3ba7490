"""`ingest.judge_together`: judged together or one by one, a batch ends the same, to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.control import CodesRevoked
from events.devices import Device
from events.scans import LOG_ROW, Kind, Refusal, Scan
from ingest import judge
from ingest.columns import ScanColumns
from ingest.judge import Judged
from ingest.judge_together import TOGETHER_SCANS_MIN
from keys.codes import PERSON_HEAD_CHARS, CodeOpener, PersonCode
from keys.secrets import rotated
from tests.ingest.scene import (
    AN,
    CITIZEN,
    DEVICES,
    DOOR,
    HOUR,
    NOW,
    POST,
    SECOND,
    SECRETS,
    STRANGER,
    Noise,
    Scene,
    person_code,
    place_code,
)

BINH = bytes(range(16, 32))
LOST_NONCE, FINE_NONCE = b"lost nonce..", b"fine nonce.."
CODE = person_code()
OTHER = person_code(BINH)
FUTURE = person_code(issued=NOW + 10 * SECOND, expires=NOW + HOUR)
LOST = person_code(nonce=LOST_NONCE)
HALF_CHANGED = CODE[:60] + ("A" if CODE[60] != "A" else "B") + CODE[61:]
CODES = [
    *[CODE, OTHER, CODE[:80], OTHER[:80]] * 3,
    FUTURE,
    LOST,
    LOST[:80],
    HALF_CHANGED,
    HALF_CHANGED[:80],
    person_code(expires=NOW - 10 * SECOND)[:80],
    person_code(secrets=STRANGER)[:80],
    person_code(secrets=rotated(STRANGER, Noise("next"), NOW))[:80],
    place_code(),
    place_code()[:80],
    CODE[:79],
    CODE[:80] + "!",
    CODE[:80] + "_" + CODE[81:],
    "tv1." + CODE[4:80],
    "TV1A" + CODE[4:80],
    "TV1." + "." + CODE[5:80],
    "TV1." + "A" * 76,
    "TV2." + CODE[4:80],
    "TV1." + CODE[4:79] + "=",
    "TV1." + CODE[4:79] + "+",
    "ế" * 80,
    "",
    None,
]
AT = st.sampled_from([NOW, NOW - 1, NOW - 5 * SECOND, NOW - 20 * SECOND, NOW - 2 * HOUR, NOW + HOUR, NOW + 2 * SECOND])


def scans_of(codes: st.SearchStrategy[str | None]) -> st.SearchStrategy[list[Scan]]:
    scan = st.builds(
        Scan,
        seq=st.integers(1, 60) | st.integers(1, 2**53 - 1),
        at=AT,
        kind=st.sampled_from(Kind),
        code=codes,
        cccd=st.sampled_from([None] * 9 + [CITIZEN]),
        subject=st.sampled_from([None] * 9 + [AN.hex()]),
        place=st.sampled_from([None, None, "mall", "stall", "post", "nowhere"]),
        place_code=st.sampled_from([None] * 9 + [place_code()]),
    )
    return st.lists(scan, min_size=1, max_size=12) | st.lists(
        scan, min_size=1, max_size=40, unique_by=lambda scan: scan.seq
    )


def judged_with(scene: Scene, scans: list[Scan] | ScanColumns, device: Device, together_min: int) -> Judged:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "TOGETHER_SCANS_MIN", together_min)
        return scene.judge(scans, device)


# Where every code holds base64url alone the batch is judged as columns; one strange letter spoils that.
@given(
    scans_of(st.sampled_from([code for code in CODES if code is None or code.isascii()]))
    | scans_of(st.sampled_from(CODES))
    | scans_of(st.sampled_from(CODES[:14])),
    st.sampled_from([*DEVICES, DOOR, DOOR]),
    st.booleans(),
)
def test_together_is_one_by_one(scans: list[Scan], device: Device, some_are_void: bool) -> None:
    scene = Scene()
    if some_are_void:
        scene.revoke(LOST_NONCE)
        scene.record(CodesRevoked(BINH.hex(), NOW))
    assert judged_with(scene, scans, device, 1) == judged_with(scene, scans, device, len(scans) + 1)


HEADS = [code for code in CODES if code is not None and len(code) == PERSON_HEAD_CHARS and code.isascii()]


@given(
    st.lists(
        st.builds(
            Scan,
            st.integers(1, 60) | st.integers(1, 2**53 - 1),
            AT,
            st.sampled_from(Kind),
            st.sampled_from(HEADS) | st.sampled_from(HEADS[:6]),
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([*DEVICES, DOOR, DOOR]),
    st.booleans(),
    st.sampled_from([1, TOGETHER_SCANS_MIN]),
)
def test_columns_are_judged_as_their_scans(scans: list[Scan], device: Device, lost: bool, together_min: int) -> None:
    scene = Scene()
    if lost:
        scene.revoke(LOST_NONCE)
    columns = ScanColumns.of(scans)
    assert columns is not None
    assert [columns.scan(index) for index in range(len(columns))] == scans
    alone = judged_with(scene, scans, device, len(scans) + 1)
    assert judged_with(scene, columns, device, together_min) == alone


def test_a_large_good_batch_is_judged_together(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = [Scan(seq, NOW, Kind.OUT, code=CODE[:80], place="stall") for seq in range(7, 7 + TOGETHER_SCANS_MIN)]
    expected = judged_with(Scene(), scans, DOOR, len(scans) + 1)
    monkeypatch.setattr(judge, "_scanner", lambda *args, **kwargs: None)  # nobody to decide one alone
    judged = Scene().judge(scans)
    assert judged == expected
    assert (judged.accepted, judged.runs) == (len(scans), [(7, 6 + TOGETHER_SCANS_MIN)])


def test_what_is_judged_alone_keeps_its_place() -> None:
    scans = [Scan(seq, NOW, Kind.IN, code=CODE[:80]) for seq in range(1, 31)]
    scans[3] = Scan(4, NOW, Kind.OUT, cccd=CITIZEN)
    scans[9] = Scan(10, NOW, Kind.OUT)
    scans[20] = Scan(21, NOW, Kind.PASS, subject=BINH.hex())
    judged = judged_with(Scene(), scans, POST, 1)
    assert judged == judged_with(Scene(), scans, POST, len(scans) + 1)
    assert [row[2] for row in LOG_ROW.iter_unpack(judged.rows)] == [seq for seq in range(1, 31) if seq != 10]


def test_codes_cut_at_the_wrong_place_are_not_read_across() -> None:
    """Two texts that are codes only when joined: 79 characters and 81."""
    scans = [Scan(1, NOW, Kind.IN, code=CODE[:79]), Scan(2, NOW, Kind.IN, code=CODE[79] + OTHER[:80])]
    assert judged_with(Scene(), scans, DOOR, 1).accepted == 0


@pytest.mark.parametrize(("ours", "other"), [("-", "+"), ("_", "/")])
def test_another_spelling_of_base64_is_no_code(ours: str, other: str) -> None:
    codes = (person_code(nonce=bytes([number]) * 12)[:PERSON_HEAD_CHARS] for number in range(256))
    holding = [code for code in codes if ours in code][:TOGETHER_SCANS_MIN]
    good = [Scan(seq, NOW, Kind.IN, code) for seq, code in enumerate(holding, 1)]
    respelt = [Scan(seq, NOW, Kind.IN, code.replace(ours, other)) for seq, code in enumerate(holding, 1)]
    assert Scene().judge(good).accepted == len(holding) == TOGETHER_SCANS_MIN
    for batch in (respelt, ScanColumns.of(respelt)):
        assert batch is not None
        assert Scene().judge(batch).refusals == {Refusal.BAD_CODE: TOGETHER_SCANS_MIN}


def test_one_foreign_text_leaves_the_others_together(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, open_person = list[str](), CodeOpener.open_person

    def noted(opener: CodeOpener, text: str) -> PersonCode | Refusal:
        opened.append(text)
        return open_person(opener, text)

    monkeypatch.setattr(CodeOpener, "open_person", noted)
    foreign = "https://example.com/menu?table=7".ljust(PERSON_HEAD_CHARS, "%")
    scans = [Scan(seq, NOW, Kind.IN, code=CODE[:PERSON_HEAD_CHARS]) for seq in range(1, 2 + TOGETHER_SCANS_MIN)]
    scans[5] = Scan(6, NOW, Kind.IN, code=foreign)
    judged = Scene().judge(scans)
    assert (judged.accepted, judged.refusals) == (TOGETHER_SCANS_MIN, {Refusal.BAD_CODE: 1})
    assert opened == [foreign]


def test_codes_of_several_generations_in_one_batch() -> None:
    newer = rotated(SECRETS, Noise("newer"), NOW)
    scene = Scene()
    scans = [
        Scan(seq, NOW, Kind.IN, code=person_code(AN if seq % 2 else BINH, secrets=SECRETS if seq % 3 else newer)[:80])
        for seq in range(1, 31)
    ]
    judged = scene.judge(scans, secrets=newer)
    assert [row[6] for row in LOG_ROW.iter_unpack(judged.rows)] == [AN if seq % 2 else BINH for seq in range(1, 31)]
