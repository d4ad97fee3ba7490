"""Envelope encryption of the directory of names: a record under its person's own key, that key under a master key.

Destroying a person's key erases the record wherever copies of it lie. Rotating the master wraps the people's keys
anew and touches no record. AES-256-GCM both times; whose it is, is authenticated, so that no record and no key can be
passed off as another person's.
"""

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keys.sealing import SEAL_NONCE_BYTES, SEAL_TAG_BYTES, SealBroken
from keys.secrets import KEY_BYTES, DirectoryKey, ServerSecrets

PADDED_BYTES: Final = 256
"""A record's length is hidden up to this: it would tell how long a name is, and whether there is an address."""

_KID: Final = struct.Struct(">H")
_RECORD_DOMAIN: Final = b"truyvet/person/v1\0"
_KEY_DOMAIN: Final = b"truyvet/person-key/v1\0"
WRAPPED_BYTES: Final = _KID.size + SEAL_NONCE_BYTES + KEY_BYTES + SEAL_TAG_BYTES


def wrap(master: DirectoryKey, data_key: bytes, subject: bytes, nonce: bytes) -> bytes:
    """kid (u16, big-endian) ‖ nonce (12 bytes) ‖ AES-256-GCM of the person's key under the master. 62 bytes."""
    return _KID.pack(master.kid) + nonce + AESGCM(master.key).encrypt(nonce, data_key, _KEY_DOMAIN + subject)


def unwrap(secrets: ServerSecrets, wrapped: bytes, subject: bytes) -> bytes:
    """The person's key. Raises `SealBroken`, also where its master key is destroyed."""
    if len(wrapped) != WRAPPED_BYTES:
        raise SealBroken("a wrapped key has another length")
    (kid,) = _KID.unpack_from(wrapped)
    master = next((one for one in secrets.directory_keys if one.kid == kid), None)
    if master is None:
        raise SealBroken(f"no directory key {kid} in the key file")
    return _opened(master.key, wrapped[_KID.size :], _KEY_DOMAIN + subject)


def seal_record(data_key: bytes, plaintext: bytes, subject: bytes, nonce: bytes) -> bytes:
    """nonce (12 bytes) ‖ AES-256-GCM of the JSON text, padded with spaces, which JSON allows behind it."""
    padded = plaintext.ljust(-(-len(plaintext) // PADDED_BYTES) * PADDED_BYTES)
    return nonce + AESGCM(data_key).encrypt(nonce, padded, _RECORD_DOMAIN + subject)


def open_record(data_key: bytes, sealed: bytes, subject: bytes) -> bytes:
    """The JSON text, with its padding. Raises `SealBroken`."""
    return _opened(data_key, sealed, _RECORD_DOMAIN + subject)


def _opened(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    if len(sealed) < SEAL_NONCE_BYTES + SEAL_TAG_BYTES:
        raise SealBroken("the sealed bytes are cut short")
    try:
        return AESGCM(key).decrypt(sealed[:SEAL_NONCE_BYTES], sealed[SEAL_NONCE_BYTES:], aad)
    except InvalidTag:
        raise SealBroken("the seal does not fit: the bytes were changed, or are another person's") from None
