"""Sealing: bytes that only the server can read again, named by the generation that sealed them."""

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keys.secrets import Generation, ServerSecrets

SEAL_NONCE_BYTES: Final = 12
SEAL_TAG_BYTES: Final = 16
_KID: Final = struct.Struct(">H")
SEAL_OVERHEAD_BYTES: Final = _KID.size + SEAL_NONCE_BYTES + SEAL_TAG_BYTES


class SealBroken(ValueError):
    """Sealed bytes were changed, cut, sealed for another purpose, or by a generation that is gone."""


def seal(sealer: ServerSecrets | Generation, plaintext: bytes, nonce: bytes, aad: bytes = b"") -> bytes:
    """kid (u16, big-endian) ‖ nonce (12 bytes) ‖ AES-256-GCM of the plaintext under `evidence_key`.

    `ServerSecrets` seal under their current generation. `nonce` must never repeat within a generation: take
    it from the system's randomness. `aad` is authenticated, not kept: `unseal` needs the same.
    """
    if len(nonce) != SEAL_NONCE_BYTES:
        raise ValueError(f"a nonce has {SEAL_NONCE_BYTES} bytes, not {len(nonce)}")
    generation = sealer.current if isinstance(sealer, ServerSecrets) else sealer
    return _KID.pack(generation.kid) + nonce + AESGCM(generation.evidence_key).encrypt(nonce, plaintext, aad)


def unseal(secrets: ServerSecrets, sealed: bytes, aad: bytes = b"") -> bytes:
    """The plaintext. Raises `SealBroken`."""
    if len(sealed) < SEAL_OVERHEAD_BYTES:
        raise SealBroken("the sealed bytes are cut short")
    (kid,) = _KID.unpack_from(sealed)
    generation = secrets.generation(kid)
    if generation is None:
        raise SealBroken(f"no generation {kid} in the key file")
    body = _KID.size + SEAL_NONCE_BYTES
    try:
        return AESGCM(generation.evidence_key).decrypt(sealed[_KID.size : body], sealed[body:], aad)
    except InvalidTag:
        raise SealBroken("the seal does not fit: the bytes were changed or sealed for another purpose") from None
