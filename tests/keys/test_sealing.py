"""Sealing: known answers of AES-256-GCM, and nothing changed opens."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.sealing import SEAL_OVERHEAD_BYTES, SealBroken, seal, unseal
from keys.secrets import ServerSecrets
from tests.keys.samples import ROTATED, SECRETS, STRANGER

NONCE = bytes(range(12))


@pytest.mark.parametrize(
    ("key", "nonce", "plaintext", "aad", "ciphertext", "tag"),
    [
        ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        (
            "00" * 32,
            "00" * 12,
            "00" * 16,
            "",
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ],
    ids=["test-case-13", "test-case-14", "test-case-16"],
)
def test_known_answers(key: str, nonce: str, plaintext: str, aad: str, ciphertext: str, tag: str) -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation, appendix B."""
    generation = msgspec.structs.replace(SECRETS.current, kid=0x0102, evidence_key=bytes.fromhex(key))
    secrets = ServerSecrets(SECRETS.pseudonym_key, (generation,))
    sealed = seal(generation, bytes.fromhex(plaintext), bytes.fromhex(nonce), bytes.fromhex(aad))
    assert sealed.hex() == "0102" + nonce + ciphertext + tag
    assert unseal(secrets, sealed, bytes.fromhex(aad)).hex() == plaintext


def test_secrets_seal_under_their_current_generation() -> None:
    sealed = seal(ROTATED, b"evidence", NONCE)
    assert sealed == seal(ROTATED.current, b"evidence", NONCE)
    assert sealed[:2] == b"\0\2"


def test_older_generations_still_open_and_newer_do_not_without_their_keys() -> None:
    assert unseal(ROTATED, seal(SECRETS, b"evidence", NONCE)) == b"evidence"
    with pytest.raises(SealBroken, match="no generation 2"):
        unseal(SECRETS, seal(ROTATED, b"evidence", NONCE))


@pytest.mark.parametrize("aad", [b"", b"truyvet", b"another purpos"])
def test_another_purpose_does_not_open(aad: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(SECRETS, seal(SECRETS, b"evidence", NONCE, b"another purpose"), aad)


def test_another_deployments_seal_does_not_open() -> None:
    with pytest.raises(SealBroken):
        unseal(SECRETS, seal(STRANGER, b"evidence", NONCE))


def test_every_bit_counts() -> None:
    sealed = seal(ROTATED, b"evidence", NONCE)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            unseal(ROTATED, bytes(changed))


def test_every_cut_is_noticed() -> None:
    sealed = seal(SECRETS, b"evidence", NONCE)
    assert len(sealed) == SEAL_OVERHEAD_BYTES + len(b"evidence")
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            unseal(SECRETS, sealed[:length])


@pytest.mark.parametrize("length", [0, 11, 13])
def test_a_nonce_has_12_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        seal(SECRETS, b"", bytes(length))


@given(st.binary(max_size=2_000), st.binary(max_size=40), st.binary(min_size=12, max_size=12))
@settings(deadline=None, max_examples=50)
def test_what_is_sealed_opens(plaintext: bytes, aad: bytes, nonce: bytes) -> None:
    assert unseal(SECRETS, seal(SECRETS, plaintext, nonce, aad), aad) == plaintext


@given(st.binary(max_size=100))
@settings(deadline=None)
def test_no_bytes_raise_anything_else(sealed: bytes) -> None:
    for candidate in (sealed, b"\0\1" + sealed):
        with pytest.raises(SealBroken):
            unseal(SECRETS, candidate)
