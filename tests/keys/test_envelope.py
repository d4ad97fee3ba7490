"""Envelopes against AES-256-GCM worked out by hand, from the block cipher up (NIST SP 800-38D)."""

import json
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from keys.envelope import PADDED_BYTES, WRAPPED_BYTES, open_record, seal_record, unwrap, wrap
from keys.sealing import SealBroken
from keys.secrets import with_new_directory_key, without_old_directory_keys
from tests.keys.samples import NOW, OTHER_SUBJECT, SECRETS, SUBJECT, counting

MASTER = SECRETS.directory_keys[-1]
ROTATED = with_new_directory_key(SECRETS, counting("more"), NOW + 1)
KEY, NONCE = counting("data")(32), counting("nonce")(12)
RECORD = b'{"name":"Nguyen Van An"}'


def gcm(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Ciphertext ‖ tag by algorithm 4 of SP 800-38D; nothing but the block cipher is borrowed."""

    def block(data: bytes) -> bytes:
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        return encryptor.update(data)

    def times(one: int, other: int) -> int:
        product = 0
        for bit in range(128):
            if other >> (127 - bit) & 1:
                product ^= one
            one = one >> 1 ^ (0xE1 << 120 if one & 1 else 0)
        return product

    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % 16)

    subkey = int.from_bytes(block(bytes(16)))
    text = b""
    for number in range(-(-len(plaintext) // 16)):
        stream = block(nonce + (number + 2).to_bytes(4))
        piece = plaintext[16 * number : 16 * number + 16]
        text += bytes(one ^ other for one, other in zip(piece, stream, strict=False))
    hashed = 0
    data = padded(aad) + padded(text) + (8 * len(aad)).to_bytes(8) + (8 * len(text)).to_bytes(8)
    for start in range(0, len(data), 16):
        hashed = times(hashed ^ int.from_bytes(data[start : start + 16]), subkey)
    return text + (hashed ^ int.from_bytes(block(nonce + (1).to_bytes(4)))).to_bytes(16)


def test_the_hand_made_cipher_answers_the_published_case() -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation, test case 16 (AES-256)."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    plaintext = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    aad = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    expected = (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    assert gcm(key, bytes.fromhex("cafebabefacedbaddecaf888"), plaintext, aad).hex() == expected


def test_a_key_is_wrapped_as_the_record_of_the_decision_says() -> None:
    wrapped = wrap(MASTER, KEY, SUBJECT, NONCE)
    assert len(wrapped) == WRAPPED_BYTES
    assert wrapped == b"\x00\x01" + NONCE + gcm(MASTER.key, NONCE, KEY, b"truyvet/person-key/v1\0" + SUBJECT)
    assert unwrap(SECRETS, wrapped, SUBJECT) == KEY


def test_a_record_is_sealed_as_the_record_of_the_decision_says() -> None:
    sealed = seal_record(KEY, RECORD, SUBJECT, NONCE)
    padded = RECORD + b" " * (PADDED_BYTES - len(RECORD))
    assert sealed == NONCE + gcm(KEY, NONCE, padded, b"truyvet/person/v1\0" + SUBJECT)
    assert json.loads(open_record(KEY, sealed, SUBJECT)) == json.loads(RECORD)


@given(st.binary(min_size=1, max_size=3 * PADDED_BYTES))
def test_a_length_tells_little(text: bytes) -> None:
    sealed = seal_record(KEY, text, SUBJECT, NONCE)
    assert (len(sealed) - 12 - 16) % PADDED_BYTES == 0
    assert open_record(KEY, sealed, SUBJECT).rstrip(b" ") == text.rstrip(b" ")


@given(st.data())
def test_whatever_is_changed_opens_nothing(data: st.DataObject) -> None:
    ways: list[tuple[bytes, Callable[[bytes], bytes]]] = [
        (wrap(MASTER, KEY, SUBJECT, NONCE), lambda changed: unwrap(SECRETS, changed, SUBJECT)),
        (seal_record(KEY, RECORD, SUBJECT, NONCE), lambda changed: open_record(KEY, changed, SUBJECT)),
    ]
    for sealed, opened in ways:
        place = data.draw(st.integers(0, len(sealed) - 1))
        changed = bytearray(sealed)
        changed[place] ^= data.draw(st.integers(1, 255))
        with pytest.raises(SealBroken):
            opened(bytes(changed))
        with pytest.raises(SealBroken):
            opened(sealed[:place])


def test_nobodys_key_and_nobodys_record_pass_for_another_persons() -> None:
    with pytest.raises(SealBroken):
        unwrap(SECRETS, wrap(MASTER, KEY, SUBJECT, NONCE), OTHER_SUBJECT)
    with pytest.raises(SealBroken):
        open_record(KEY, seal_record(KEY, RECORD, SUBJECT, NONCE), OTHER_SUBJECT)
    with pytest.raises(SealBroken):
        open_record(MASTER.key, wrap(MASTER, KEY, SUBJECT, NONCE)[2:], SUBJECT)


def test_a_rotation_still_opens_and_a_destroyed_key_never() -> None:
    old, fresh = wrap(MASTER, KEY, SUBJECT, NONCE), wrap(ROTATED.directory_keys[-1], KEY, SUBJECT, NONCE)
    assert unwrap(ROTATED, old, SUBJECT) == unwrap(ROTATED, fresh, SUBJECT) == KEY
    retired = without_old_directory_keys(ROTATED)
    assert [one.kid for one in retired.directory_keys] == [2]
    assert unwrap(retired, fresh, SUBJECT) == KEY
    with pytest.raises(SealBroken):
        unwrap(retired, old, SUBJECT)


def test_a_directory_key_shows_itself_nowhere() -> None:
    assert str(MASTER.key) not in repr(MASTER) + repr(SECRETS)
    assert MASTER.key not in msgspec.structs.astuple(SECRETS)
