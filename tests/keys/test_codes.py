"""Codes: the exact format, what opens them, and that nothing changed or foreign does."""

import base64
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from events.scans import Refusal, Scan
from keys.codes import (
    PERSON_HEAD_CHARS,
    PLACE_CODES_CACHED_MAX,
    BadCode,
    CodeHead,
    CodeOpener,
    PersonCode,
    PlaceCode,
    issue_person_code,
    issue_place_code,
    person_heads,
    verify_code,
)
from keys.secrets import ServerSecrets
from tests.keys.samples import DAY_MS, NOW, OTHER_SUBJECT, ROTATED, SECRETS, STRANGER, SUBJECT

NONCE = bytes(range(100, 112))
OPENER = CodeOpener(SECRETS)
PUBLIC = SECRETS.issuer_public_keys()


def person(
    secrets: ServerSecrets = SECRETS,
    subject: bytes = SUBJECT,
    *,
    vehicle: bool = False,
    issued: int = NOW,
    nonce: bytes = NONCE,
) -> str:
    return issue_person_code(secrets, subject, vehicle=vehicle, issued=issued, expires=issued + DAY_MS, nonce=nonce)


def place(place_id: str = "cho-ben-thanh", secrets: ServerSecrets = SECRETS, *, expires: int | None = None) -> str:
    return issue_place_code(secrets, place_id, issued=NOW, expires=expires)


def raw(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def text(head: bytes, secrets: ServerSecrets = SECRETS) -> str:
    """A code with any head, signed by the issuer all the same."""
    start = "TV1." + base64.urlsafe_b64encode(head).rstrip(b"=").decode()
    signature = Ed25519PrivateKey.from_private_bytes(secrets.current.issuer_seed).sign(start.encode())
    return start + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def verify_error(code: str) -> Refusal | None:
    try:
        verify_code(code, PUBLIC)
    except BadCode as bad:
        return bad.refusal
    return None


# The format


def test_a_person_code_has_the_documented_layout() -> None:
    prefix, head_text, signature = person(vehicle=True).split(".")
    head = raw(head_text)
    assert (prefix, len(head_text), len(head), len(raw(signature))) == ("TV1", 76, 57, 64)
    assert struct.unpack(">BBBHII", head[:13]) == (1, 1, 1, 1, NOW // 1000, (NOW + DAY_MS) // 1000)
    assert head[13:25] == NONCE
    assert AESCCM(SECRETS.current.seal_key).decrypt(NONCE, head[25:], head[:13]) == SUBJECT
    public = Ed25519PublicKey.from_public_bytes(PUBLIC[1])
    public.verify(raw(signature), f"TV1.{head_text}".encode("ascii"))


def test_a_place_code_has_the_documented_layout() -> None:
    prefix, head_text, signature = place(expires=NOW + DAY_MS).split(".")
    head = raw(head_text)
    assert struct.unpack(">BBBHII", head[:13]) == (1, 2, 0, 1, NOW // 1000, (NOW + DAY_MS) // 1000)
    assert head[13:] == b"cho-ben-thanh"
    public = Ed25519PublicKey.from_public_bytes(PUBLIC[1])
    public.verify(raw(signature), f"{prefix}.{head_text}".encode("ascii"))


def test_the_format_never_drifts() -> None:
    assert person() == (
        "TV1.AQEAAAFhZNyAYWYuAGRlZmdoaWprbG1ubyorSAAREQ1gS9yxpslpDI5V3qIuQgH27vuu3KTMCh_l"
        ".upZDpaCAimttQ7EJ53Aq8PBrQwcz4p0ybm56GZt7OlpXAnLagul9B44uD6ng2JfJVeu1scJaxZFgY2sWR06jCQ"
    )
    assert place() == (
        "TV1.AQIAAAFhZNyAAAAAAGNoby1iZW4tdGhhbmg.Mzq96ChSFbVA6gTKPv1Z1IQBz6SdKSsi3FVlUnaJ"
        "2ApGJ6RkUPxwGSYT_ALg_QtXUaAIXRropgvt8UVV9Q0xDw"
    )


def test_every_code_fits_into_a_scan() -> None:
    Scan(seq=1, at=NOW, kind="in", code=person())  # type: ignore[arg-type]
    assert len(person()) == 167
    assert len(place("a" * 48)) <= 512


# Opening


def test_a_person_code_opens_with_and_without_its_signature() -> None:
    code = person()
    opened = PersonCode(SUBJECT, False, NOW, NOW + DAY_MS, NONCE)
    assert OPENER.open_person(code) == opened
    assert OPENER.open_person(code[:80]) == opened


def test_a_vehicle_code_says_so() -> None:
    opened = OPENER.open_person(person(vehicle=True))
    assert isinstance(opened, PersonCode)
    assert opened.vehicle


def test_the_signature_part_is_not_read_by_the_server() -> None:
    code = person()
    assert OPENER.open_person(code[:81] + "A" * 86) == OPENER.open_person(code)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "TV1.",
        "TV2." + person()[4:],
        "tv1." + person()[4:],
        person()[:-1],
        person() + "A",
        person()[:79],
        person()[:81],
        person()[:80] + "A" + person()[81:],
        " " + person()[:79],
        person()[:80] + "\n",
        "https://example.com/" + "a" * 60,
        person()[:70] + "\ud800" * 10,
        person()[:78] + "==",
        "TV1." + "+" * 76,
        "TV1." + "/" * 76,
        "TV1." + "A" * 76,
        "TV1." + "é" * 76,
        "x" * 100_000,
        person()[:80].replace("A", "\N{FULLWIDTH LATIN CAPITAL LETTER A}"),
    ],
)
def test_what_is_no_code_of_ours_is_refused(code: str) -> None:
    assert OPENER.open_person(code) is Refusal.BAD_CODE
    assert OPENER.open_place(code) is Refusal.BAD_CODE
    assert verify_error(code) is Refusal.BAD_CODE


def test_standard_base64_is_refused() -> None:
    code = next(code for n in range(100) if "-" in (code := person(nonce=n.to_bytes(12, "big"))[:80]) or "_" in code)
    assert isinstance(OPENER.open_person(code), PersonCode)
    assert OPENER.open_person(code.replace("-", "+").replace("_", "/")) is Refusal.BAD_CODE


def test_a_code_of_the_other_sort_is_named_as_such() -> None:
    assert OPENER.open_person(place()) is Refusal.WRONG_CODE
    assert OPENER.open_place(person()) is Refusal.WRONG_CODE


@pytest.mark.parametrize("length", range(1, 49))
def test_a_place_code_of_any_length_opens_and_is_no_persons(length: int) -> None:
    # 44 characters make a head as long as a person's.
    code = place("a" * length)
    assert OPENER.open_place(code) == PlaceCode("a" * length, NOW, None)
    assert OPENER.open_person(code) is Refusal.WRONG_CODE
    assert OPENER.open_person(code.rpartition(".")[0]) is Refusal.WRONG_CODE


def test_a_place_code_without_its_signature_is_refused() -> None:
    assert OPENER.open_place(place().rpartition(".")[0]) is Refusal.BAD_CODE


def test_a_place_code_keeps_its_expiry() -> None:
    assert OPENER.open_place(place(expires=NOW + DAY_MS)) == PlaceCode("cho-ben-thanh", NOW, NOW + DAY_MS)


def test_a_generation_that_the_server_lacks_is_an_unknown_issuer() -> None:
    assert OPENER.open_person(person(ROTATED)) is Refusal.UNKNOWN_ISSUER
    assert OPENER.open_place(place(secrets=ROTATED)) is Refusal.UNKNOWN_ISSUER
    assert verify_error(person(ROTATED)) is Refusal.UNKNOWN_ISSUER


def test_codes_of_older_generations_still_open() -> None:
    opener = CodeOpener(ROTATED)
    assert opener.open_person(person(SECRETS)) == opener.open_person(person(ROTATED))
    assert opener.open_place(place(secrets=SECRETS)) == opener.open_place(place(secrets=ROTATED))
    assert verify_code(person(ROTATED), ROTATED.issuer_public_keys()).kid == 2


def test_a_code_of_another_deployment_is_refused() -> None:
    assert OPENER.open_person(person(STRANGER)) is Refusal.BAD_CODE
    assert OPENER.open_place(place(secrets=STRANGER)) is Refusal.BAD_CODE
    assert verify_error(person(STRANGER)) is Refusal.BAD_CODE


@pytest.mark.parametrize(
    "head",
    [
        struct.pack(">BBBHII", 2, 2, 0, 1, 1, 0) + b"cho",
        struct.pack(">BBBHII", 1, 3, 0, 1, 1, 0) + b"cho",
        struct.pack(">BBBHII", 1, 2, 1, 1, 1, 0) + b"cho",
        struct.pack(">BBBHII", 1, 2, 0, 1, 1, 0),
        struct.pack(">BBBHII", 1, 2, 0, 1, 1, 0) + b"Cho",
        struct.pack(">BBBHII", 1, 2, 0, 1, 1, 0) + b"cho\n",
        struct.pack(">BBBHII", 1, 2, 0, 1, 1, 0) + b"a" * 49,
        struct.pack(">BBBHII", 1, 2, 0, 1, 1, 0) + "chợ".encode(),
        struct.pack(">BBBHII", 1, 1, 2, 1, 1, 1) + bytes(44),
        struct.pack(">BBBHII", 1, 1, 0, 1, 1, 1) + bytes(43),
        b"\1\2\0\0",
        b"",
    ],
)
def test_a_signed_head_of_no_known_form_is_refused(head: bytes) -> None:
    code = text(head)
    assert OPENER.open_place(code) is Refusal.BAD_CODE
    assert OPENER.open_person(code) is Refusal.BAD_CODE
    assert verify_error(code) is Refusal.BAD_CODE


@pytest.mark.parametrize(("version", "kind"), [(2, 0), (1, 2), (1, 255)])
def test_a_sealed_head_of_a_later_form_is_refused(version: int, kind: int) -> None:
    start = struct.pack(">BBBHII", version, 1, kind, 1, 1, 2)
    code = text(start + NONCE + AESCCM(SECRETS.current.seal_key).encrypt(NONCE, SUBJECT, start))
    assert OPENER.open_person(code) is Refusal.BAD_CODE
    assert verify_error(code) is Refusal.BAD_CODE


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    signature = base64.urlsafe_b64encode(bytes(length)).rstrip(b"=").decode()
    assert OPENER.open_place(f"{place().rpartition('.')[0]}.{signature}") is Refusal.BAD_CODE


def test_a_refused_place_code_is_not_remembered_and_a_verified_one_is() -> None:
    opener = CodeOpener(SECRETS)
    good, bad = place(), place(secrets=STRANGER)
    for _ in range(3):
        opener.open_place(good)
        opener.open_place(bad)
    cache = opener._verified_place.cache_info()
    assert (cache.hits, cache.currsize, cache.maxsize) == (2, 1, PLACE_CODES_CACHED_MAX)


# Offline


def test_a_scanner_reads_a_person_code_offline_but_not_the_person() -> None:
    head = verify_code(person(), PUBLIC)
    assert head == CodeHead(kid=1, issued=NOW, expires=NOW + DAY_MS, place=None, code=NONCE, vehicle=False)


def test_a_scanner_reads_a_place_code_offline() -> None:
    head = verify_code(place(), PUBLIC)
    assert head == CodeHead(kid=1, issued=NOW, expires=None, place="cho-ben-thanh", code=None, vehicle=False)


def test_offline_a_code_without_its_signature_proves_nothing() -> None:
    assert verify_error(person()[:80]) is Refusal.BAD_CODE


# Unlinkability


def test_two_codes_of_one_person_share_only_what_all_codes_share() -> None:
    """Byte for byte, two codes of one person have no more in common than codes of two people."""
    lifetime_seconds = DAY_MS // 1000
    first, second, somebody = (
        raw(person(subject=subject, issued=issued, nonce=nonce).split(".")[1])
        for subject, issued, nonce in [
            (SUBJECT, NOW, bytes(12)),
            (SUBJECT, NOW + 61_000, bytes(range(1, 13))),
            (OTHER_SUBJECT, NOW + 61_000, bytes(range(1, 13))),
        ]
    )
    assert first[:5] == second[:5] == somebody[:5]
    assert second[5:25] == somebody[5:25]
    assert not any(a == b for a, b in zip(first[13:25], second[13:25], strict=True))
    assert first[25:] != second[25:]
    for head in (first, second, somebody):
        issued, expires = struct.unpack(">II", head[5:13])
        assert expires - issued == lifetime_seconds


def test_times_are_cut_to_the_second() -> None:
    code = issue_person_code(SECRETS, SUBJECT, vehicle=False, issued=NOW + 999, expires=NOW + 5_999, nonce=NONCE)
    opened = OPENER.open_person(code)
    assert isinstance(opened, PersonCode)
    assert (opened.issued, opened.expires) == (NOW, NOW + 5_000)


# Issuing refuses what would not open


@pytest.mark.parametrize(
    ("subject", "issued", "expires", "nonce"),
    [
        (SUBJECT[:-1], NOW, NOW + 1_000, NONCE),
        (SUBJECT + b"\0", NOW, NOW + 1_000, NONCE),
        (SUBJECT, NOW, NOW + 1_000, NONCE[:-1]),
        (SUBJECT, NOW, NOW + 1_000, NONCE + b"\0"),
        (SUBJECT, NOW, NOW, NONCE),
        (SUBJECT, NOW, NOW - 1, NONCE),
        (SUBJECT, -1, NOW, NONCE),
        (SUBJECT, NOW, 2**32 * 1000, NONCE),
    ],
)
def test_no_person_code_is_issued_that_would_not_fit(subject: bytes, issued: int, expires: int, nonce: bytes) -> None:
    with pytest.raises(ValueError, match=r"pseudonym has|nonce has|expire after|does not fit"):
        issue_person_code(SECRETS, subject, vehicle=False, issued=issued, expires=expires, nonce=nonce)


@pytest.mark.parametrize(
    ("place_id", "expires"),
    [("Cho", None), ("cho\n", None), ("", None), ("a" * 49, None), ("cho", NOW), ("cho", 2**32 * 1000)],
)
def test_no_place_code_is_issued_that_would_not_open(place_id: str, expires: int | None) -> None:
    with pytest.raises(ValueError, match=r"Expected|line feed|expire after|does not fit"):
        issue_place_code(SECRETS, place_id, issued=NOW, expires=expires)


# Properties


@given(
    subject=st.binary(min_size=16, max_size=16),
    nonce=st.binary(min_size=12, max_size=12),
    vehicle=st.booleans(),
    issued=st.integers(1, 2**32 - 2),
    lifetime=st.integers(1, 10**9),
)
@settings(deadline=None, max_examples=100)
def test_what_is_issued_opens(subject: bytes, nonce: bytes, vehicle: bool, issued: int, lifetime: int) -> None:
    expires = min(issued + lifetime, 2**32 - 1)
    code = issue_person_code(
        SECRETS, subject, vehicle=vehicle, issued=issued * 1000, expires=expires * 1000, nonce=nonce
    )
    assert OPENER.open_person(code) == PersonCode(subject, vehicle, issued * 1000, expires * 1000, nonce)
    assert verify_code(code, PUBLIC).code == nonce


def test_every_bit_of_a_head_counts() -> None:
    head = raw(person()[4:80])
    for bit in range(len(head) * 8):
        changed = bytearray(head)
        changed[bit // 8] ^= 1 << bit % 8
        code = "TV1." + base64.urlsafe_b64encode(changed).decode()
        assert isinstance(OPENER.open_person(code), Refusal), f"bit {bit} was not authenticated"


@pytest.mark.parametrize("code", [person(), place(), place("a" * 44)], ids=["person", "place", "place-44"])
def test_every_character_counts_offline(code: str) -> None:
    """Each of the eight bits of each character flipped: nothing verifies, the spare bits of base64 included."""
    for index in range(len(code)):
        for bit in range(8):
            changed = code[:index] + chr(ord(code[index]) ^ 1 << bit) + code[index + 1 :]
            assert verify_error(changed) is not None, f"character {index}, bit {bit}"


@given(st.text(max_size=600) | st.text("TV1.AaBb-_=+/", max_size=200))
@settings(deadline=None, max_examples=300)
def test_no_text_makes_the_opener_raise(code: str) -> None:
    for candidate in (code, "TV1." + code, person()[:4] + code):
        assert isinstance(OPENER.open_person(candidate), Refusal)
        assert isinstance(OPENER.open_place(candidate), Refusal)
        assert verify_error(candidate) is Refusal.BAD_CODE


GOOD_HEADS = [
    person(secrets, subject, vehicle=vehicle, nonce=bytes([number]) * 12)[:PERSON_HEAD_CHARS]
    for number, (secrets, subject, vehicle) in enumerate(
        [
            (SECRETS, SUBJECT, False),
            (SECRETS, OTHER_SUBJECT, True),
            (ROTATED, SUBJECT, False),
            (STRANGER, SUBJECT, False),
        ]
    )
]
FOREIGN = "https://example.com/menu?table=7&lang=vi".ljust(PERSON_HEAD_CHARS, "%")
SPOILT = st.builds(
    lambda code, index, character: code[:index] + character + code[index + 1 :],
    st.sampled_from(GOOD_HEADS),
    st.integers(0, PERSON_HEAD_CHARS - 1),
    st.characters(max_codepoint=0x7F) | st.sampled_from("+/=-_"),
)
ANY_HEAD = st.text(st.characters(max_codepoint=0x7F), min_size=PERSON_HEAD_CHARS, max_size=PERSON_HEAD_CHARS)


def opened_together(opener: CodeOpener, texts: list[str]) -> list[PersonCode | None] | None:
    """What `open_people` says of each text; who is a vehicle it does not say."""
    heads = person_heads(texts)
    assert heads is not None
    opened = opener.open_people(heads)
    if opened is None:
        return None
    return [
        PersonCode(subject.tobytes(), False, int(issued), int(expires), code.tobytes()) if good else None
        for good, subject, issued, expires, code in zip(
            opened.good, opened.subjects, opened.issued, opened.expires, opened.codes, strict=True
        )
    ]


def opened_alone(opener: CodeOpener, texts: list[str]) -> list[PersonCode | None]:
    one_by_one = [opener.open_person(code) for code in texts]
    return [replace(code, vehicle=False) if isinstance(code, PersonCode) else None for code in one_by_one]


@given(
    st.lists(st.sampled_from(GOOD_HEADS) | st.just(FOREIGN) | SPOILT | ANY_HEAD, min_size=1, max_size=12),
    st.sampled_from([OPENER, CodeOpener(ROTATED)]),
)
@settings(deadline=None, max_examples=300)
def test_opened_together_is_opened_alone(texts: list[str], opener: CodeOpener) -> None:
    together = opened_together(opener, texts)
    assert opened_alone(opener, texts) == (together if together is not None else [None] * len(texts))


@pytest.mark.parametrize("character", ["+", "/", "=", "%", ".", " ", "\n", "\0", "\x7f"])
@pytest.mark.parametrize("index", [4, 40, PERSON_HEAD_CHARS - 1])
def test_what_no_code_holds_spoils_its_own_code_alone(character: str, index: int) -> None:
    good = GOOD_HEADS[0]
    spoilt = good[:index] + character + good[index + 1 :]
    for texts in ([spoilt, good, good], [good, good, spoilt], [good, FOREIGN, spoilt]):
        assert opened_together(OPENER, texts) == opened_alone(OPENER, texts)
    assert opened_together(OPENER, [spoilt, FOREIGN]) is None


def test_a_refusal_never_quotes_the_code() -> None:
    code = person(STRANGER)
    with pytest.raises(BadCode) as raised:
        verify_code(code, PUBLIC)
    assert str(raised.value) == "bad_code"
