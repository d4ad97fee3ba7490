"""AES-256-CCM (NIST SP 800-38C) of many short messages at once.

Opening a thousand seals one by one costs a library call each. CCM is made of nothing but AES blocks and exclusive
ors, so the same steps of all seals can be done together: three calls of AES and a few array operations for a whole
batch. `cryptography`'s `AESCCM` is the reference, for sealing and for a seal that comes alone.
"""

from typing import Final, cast

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

BLOCK_BYTES: Final = 16
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
AAD_BYTES_MAX: Final = 14
"""One block holds the length of the associated data (2 bytes) and the data."""

_LENGTH_BYTES: Final = 15 - NONCE_BYTES
_COUNTER_FLAGS: Final = _LENGTH_BYTES - 1
_FIRST_FLAGS: Final = 64 + 8 * ((TAG_BYTES - 2) // 2) + _COUNTER_FLAGS

Bytes2 = NDArray[np.uint8]
"""Shape (n, bytes): one row a message."""


class OneBlockCcm:
    """Opens seals of 16-byte messages with 12-byte nonces, 16-byte tags and at most 14 bytes of associated data."""

    def __init__(self, key: bytes) -> None:
        # In this mode a block's outcome depends on the block alone: one context serves for good.
        self._aes: Final = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - CCM is built on it

    def open(self, nonces: Bytes2, aad: Bytes2, sealed: Bytes2) -> tuple[Bytes2, NDArray[np.bool_]]:
        """The messages, and which of them are authentic: the others' rows mean nothing.

        Shapes (n, 12), (n, up to 14), (n, 32: message and tag) to (n, 16) and (n,).
        """
        count, aad_bytes = aad.shape
        blocks = np.zeros((3, count, BLOCK_BYTES), np.uint8)
        tag_mask, message_mask, first = blocks
        blocks[:, :, 1 : 1 + NONCE_BYTES] = nonces
        blocks[:2, :, 0] = _COUNTER_FLAGS
        message_mask[:, -1] = 1
        first[:, 0] = _FIRST_FLAGS
        first[:, -1] = BLOCK_BYTES
        tag_mask, message_mask, mac = self._encrypted(blocks)

        second = np.zeros((count, BLOCK_BYTES), np.uint8)
        second[:, 1] = aad_bytes
        second[:, 2 : 2 + aad_bytes] = aad
        messages = sealed[:, :BLOCK_BYTES] ^ message_mask
        mac = self._encrypted(_xor(self._encrypted(_xor(second, mac)), messages))
        authentic = (_xor(mac, tag_mask) == sealed[:, BLOCK_BYTES:]).all(axis=1)
        return messages, authentic

    def _encrypted(self, blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.frombuffer(self._aes.update(blocks.tobytes()), np.uint8).reshape(blocks.shape)


def _xor(one: Bytes2, other: Bytes2) -> Bytes2:
    """Of contiguous rows of whole blocks, eight bytes at a time."""
    return cast(Bytes2, (one.view(np.uint64) ^ other.view(np.uint64)).view(np.uint8))
