"""Pseudonyms: what the log knows people and vehicles by. Citizen numbers and plates go in, and are never kept.

A citizen number (CCCD, *số định danh cá nhân*) has 12 digits: 3 of the province, city or country where the
birth was registered, 1 of century and sex, 2 of the birth year, 6 at random (Decree 137/2015/NĐ-CP,
article 13; Circular 07/2016/TT-BCA, article 7 and its appendices 1 and 2). There is no check digit.

Refusing a genuine number loses a contact, taking a mistyped one hardly harms: only what cannot be genuine is
refused. Provinces are held to appendix 1, whose numbers stay in use when provinces merge. The countries of appendix 2
have three digits and are not listed here: every number from 100 on may be one, and so may 000.
"""

import hmac
import unicodedata
from typing import Final

PSEUDONYM_BYTES: Final = 16
CITIZEN_NUMBER_DIGITS: Final = 12
PLATE_CHARS_MIN: Final = 4
PLATE_CHARS_MAX: Final = 16

_CITIZEN_DOMAIN: Final = b"truyvet/citizen-number/v1\0"
_VEHICLE_DOMAIN: Final = b"truyvet/vehicle-plate/v1\0"

PROVINCE_CODES: Final = frozenset(
    """
    001 002 004 006 008 010 011 012 014 015 017 019 020 022 024 025 026 027 030 031 033 034 035 036 037 038
    040 042 044 045 046 048 049 051 052 054 056 058 060 062 064 066 067 068 070 072 074 075 077 079 080 082
    083 084 086 087 089 091 092 093 094 095 096
    """.split()  # noqa: SIM905 — quoted, 63 codes would fill a page
)
"""The 63 provinces and cities of appendix 1."""
_BIRTHPLACES_FROM_0: Final = PROVINCE_CODES | {"000"}


class NotPseudonymous(ValueError):
    """No pseudonym can be made of this. The message never quotes the input."""


def citizen_number_error(number: str) -> str | None:
    """What is wrong with the structure of a citizen number; None where it could be genuine. Never quotes it."""
    if len(number) != CITIZEN_NUMBER_DIGITS:
        return "a citizen number has 12 digits"
    # isdecimal alone would let other scripts' digits pass, each a second pseudonym of the same person.
    if not (number.isascii() and number.isdecimal()):
        return "a citizen number has the digits 0 to 9 alone"
    if number[0] == "0" and number[:3] not in _BIRTHPLACES_FROM_0:
        return "a citizen number begins with the code of a province or a country"
    return None


def pseudonym_of_citizen(number: str, key: bytes) -> bytes:
    """The 16-byte pseudonym of a citizen number: HMAC-SHA-256 under the pseudonym key, truncated.

    Raises `NotPseudonymous` where `citizen_number_error` names a fault.
    """
    error = citizen_number_error(number)
    if error is not None:
        raise NotPseudonymous(error)
    return hmac.digest(key, _CITIZEN_DOMAIN + number.encode("ascii"), "sha256")[:PSEUDONYM_BYTES]


def normal_plate(plate: str) -> str:
    """One spelling for every way of writing a plate: `30a-123.45`, `30A 12345` → `30A12345`.

    Letters in upper case, Đ as D (officers type either), separators dropped. Raises `NotPseudonymous`.
    """
    spelled = unicodedata.normalize("NFKC", plate[: 4 * PLATE_CHARS_MAX]).upper().replace("Đ", "D")
    normal = "".join(char for char in spelled if char.isalnum())
    if len(plate) > 4 * PLATE_CHARS_MAX or not PLATE_CHARS_MIN <= len(normal) <= PLATE_CHARS_MAX:
        raise NotPseudonymous(f"a plate has {PLATE_CHARS_MIN} to {PLATE_CHARS_MAX} letters and digits")
    return normal


def pseudonym_of_vehicle(plate: str, key: bytes) -> bytes:
    """The 16-byte pseudonym of a vehicle by its plate, in any spelling. Raises `NotPseudonymous`."""
    return hmac.digest(key, _VEHICLE_DOMAIN + normal_plate(plate).encode(), "sha256")[:PSEUDONYM_BYTES]
