"""Pseudonyms: genuine numbers pass, look-alikes do not, and one person has one pseudonym."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.pseudonyms import (
    PROVINCE_CODES,
    NotPseudonymous,
    citizen_number_error,
    normal_plate,
    pseudonym_of_citizen,
    pseudonym_of_vehicle,
)

KEY = bytes(range(32))
NUMBER = "079201000001"


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104 by hand, to hold the library's against."""
    key = hashlib.sha256(key).digest() if len(key) > 64 else key
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    return hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).digest()


@pytest.mark.parametrize(
    ("key", "message", "digest"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ],
    ids=["case-1", "case-2", "case-3", "case-6"],
)
def test_the_reference_gives_the_known_answers(key: bytes, message: bytes, digest: str) -> None:
    """RFC 4231, section 4."""
    assert hmac_sha256(key, message).hex() == digest


def test_a_pseudonym_is_the_keyed_truncated_hash() -> None:
    assert pseudonym_of_citizen(NUMBER, KEY) == hmac_sha256(KEY, b"truyvet/citizen-number/v1\0" + b"079201000001")[:16]
    assert pseudonym_of_vehicle("51F-123.45", KEY) == hmac_sha256(KEY, b"truyvet/vehicle-plate/v1\0" + b"51F12345")[:16]


def test_pseudonyms_never_drift() -> None:
    assert pseudonym_of_citizen(NUMBER, KEY).hex() == "3da33cbb4b98fed4d8942a689ca11d12"
    assert pseudonym_of_vehicle("51F-123.45", KEY).hex() == "699110e5272f3fc907792bd823aa34dd"


def test_other_keys_and_other_numbers_give_other_pseudonyms() -> None:
    assert pseudonym_of_citizen(NUMBER, KEY) != pseudonym_of_citizen(NUMBER, bytes(32))
    assert pseudonym_of_citizen(NUMBER, KEY) != pseudonym_of_citizen("079201000002", KEY)


def test_a_vehicle_is_no_person() -> None:
    assert pseudonym_of_vehicle(NUMBER, KEY) != pseudonym_of_citizen(NUMBER, KEY)


@pytest.mark.parametrize("code", sorted(PROVINCE_CODES))
def test_every_province_passes(code: str) -> None:
    assert citizen_number_error(f"{code}099123456") is None


def test_there_are_63_provinces() -> None:
    assert len(PROVINCE_CODES) == 63


@pytest.mark.parametrize("code", ["000", "100", "101", "234", "999"])
def test_whatever_may_be_a_country_passes(code: str) -> None:
    assert citizen_number_error(f"{code}099123456") is None


@pytest.mark.parametrize("digit", "0123456789")
def test_every_century_and_sex_passes(digit: str) -> None:
    assert citizen_number_error(f"001{digit}99123456") is None


@pytest.mark.parametrize("code", ["003", "005", "007", "009", "013", "097", "098", "099"])
def test_what_no_province_has_is_refused(code: str) -> None:
    assert (
        citizen_number_error(f"{code}099123456") == "a citizen number begins with the code of a province or a country"
    )


@pytest.mark.parametrize(
    "number",
    [
        "",
        "07920100000",
        "0792010000012",
        "079201000001\n",
        " 079201000001",
        "07920100001 ",
        "079 20100001",
        "-79201000001",
        "+79201000001",
        "0792_1000001",
        "07920100000a",
        "07920100000²",
        "07920100000①",
        "٠٧٩٢٠١٠٠٠٠٠١",
        "０７９２０１０００００１",
        "079201000００1",
        "07920100000\u200b",
        "079201000\x0001",
        "07920100000\ud800",
        "123456789",
    ],
)
def test_look_alikes_are_refused_and_never_quoted(number: str) -> None:
    error = citizen_number_error(number)
    assert error in {"a citizen number has 12 digits", "a citizen number has the digits 0 to 9 alone"}
    with pytest.raises(NotPseudonymous) as raised:
        pseudonym_of_citizen(number, KEY)
    assert str(raised.value) == error


@given(st.text(max_size=14) | st.text("0123456789０٠", min_size=12, max_size=12))
@settings(deadline=None)
def test_only_12_ascii_digits_pass(number: str) -> None:
    if citizen_number_error(number) is None:
        assert len(number) == 12
        assert set(number) <= set("0123456789")


@pytest.mark.parametrize(
    ("plate", "normal"),
    [
        ("30A-123.45", "30A12345"),
        ("30a 12345", "30A12345"),
        ("  30A\t123 45 ", "30A12345"),
        ("３０Ａ－１２３４５", "30A12345"),
        ("29MĐ1-123.45", "29MD112345"),
        ("29md1 12345", "29MD112345"),
        ("29mđ112345", "29MD112345"),
        ("51LD-000.12", "51LD00012"),
        ("80-NG-123-45", "80NG12345"),
        ("TM1234", "TM1234"),
    ],
)
def test_a_plate_has_one_spelling(plate: str, normal: str) -> None:
    assert normal_plate(plate) == normal
    assert pseudonym_of_vehicle(plate, KEY) == pseudonym_of_vehicle(normal, KEY)


@pytest.mark.parametrize("plate", ["", "---", "30A", "A" * 17, "A" * 100_000, "30A-1234" + " " * 100, "\ufdfa" * 60])
def test_what_is_no_plate_is_refused(plate: str) -> None:
    with pytest.raises(NotPseudonymous, match="4 to 16 letters and digits"):
        pseudonym_of_vehicle(plate, KEY)


@given(st.text(max_size=80))
@settings(deadline=None)
def test_normalising_a_plate_is_idempotent(plate: str) -> None:
    try:
        normal = normal_plate(plate)
    except NotPseudonymous:
        return
    assert normal_plate(normal) == normal
