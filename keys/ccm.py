"""AES-256-CCM (NIST SP 800-38C) of many short messages at once.

Opening a thousand seals one by one costs a library call each. CCM is made of nothing but AES blocks and exclusive
ors, so the same steps of all seals can be done together: three calls of AES and a few array operations for a whole
batch. `cryptography`'s `AESCCM` is the reference, for sealing and for a seal that comes alone.
"""

from typing import Any, Final

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
_BLOCK: Final = np.dtype(
    [("flags", "u1"), ("nonce", "V", NONCE_BYTES), ("zeros", "V", _LENGTH_BYTES - 1), ("last", "u1")]
)
_TAG_MASK, _MESSAGE_MASK, _FIRST = range(3)

Bytes2 = NDArray[np.uint8]
"""Shape (n, bytes): one row a message."""
Words = NDArray[np.uint64]
"""Blocks as two words each: what is said of a block is said of eight bytes at a time."""


class OneBlockCcm:
    """Opens seals of 16-byte messages with 12-byte nonces, 16-byte tags and at most 14 bytes of associated data."""

    def __init__(self, key: bytes) -> None:
        # In this mode a block's outcome depends on the block alone: one context serves for good.
        self._aes: Final = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - CCM is built on it

    def open(self, nonces: Bytes2, aad: Bytes2, sealed: Bytes2) -> tuple[Bytes2, NDArray[np.bool_]]:
        """The messages, and which of them are authentic: the others' rows mean nothing.

        Shapes (n, 12), (n, up to 14), (n, 32: message and tag) to (n, 16) and (n,). The bytes of a row are contiguous.
        """
        count, aad_bytes = aad.shape
        blocks = np.zeros((3, count), _BLOCK)
        blocks["nonce"] = _whole(nonces)
        blocks["flags"][:_FIRST] = _COUNTER_FLAGS
        blocks["flags"][_FIRST] = _FIRST_FLAGS
        blocks["last"][_MESSAGE_MASK] = 1
        blocks["last"][_FIRST] = BLOCK_BYTES
        tag_mask, message_mask, mac = self._encrypted(blocks).reshape(3, count, 2)

        second = np.zeros((count, BLOCK_BYTES), np.uint8)
        second[:, 1] = aad_bytes
        _whole(second[:, 2 : 2 + aad_bytes])[:] = _whole(aad)
        words = sealed.view(np.uint64)
        messages = words[:, :2] ^ message_mask
        mac = self._encrypted(self._encrypted(second.view(np.uint64) ^ mac) ^ messages)
        wrong = mac ^ tag_mask ^ words[:, 2:]
        return messages.view(np.uint8), (wrong[:, 0] | wrong[:, 1]) == 0

    def _encrypted(self, blocks: NDArray[Any]) -> Words:
        return np.frombuffer(self._aes.update(blocks.tobytes()), np.uint64).reshape(-1, 2)


def _whole(rows: Bytes2) -> NDArray[np.void]:
    """Each row as one value, so that it is copied as one."""
    return rows.view(f"V{rows.shape[1]}")[:, 0]
