"""CCM of many messages at once: equal to the library's, one by one, and nothing changed passes."""

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from keys.ccm import AAD_BYTES_MAX, NONCE_BYTES, TAG_BYTES, OneBlockCcm

KEY = bytes(range(32))


def table(rows: list[bytes], width: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)


@st.composite
def seals(draw: st.DrawFn) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Nonces, associated data of one length, and messages."""
    count, aad_bytes = draw(st.integers(1, 8)), draw(st.integers(1, AAD_BYTES_MAX))
    columns = (NONCE_BYTES, aad_bytes, 16)
    nonces, aads, messages = (
        draw(st.lists(st.binary(min_size=width, max_size=width), min_size=count, max_size=count)) for width in columns
    )
    return nonces, aads, messages


@given(seals())
def test_opens_what_the_library_sealed(given: tuple[list[bytes], list[bytes], list[bytes]]) -> None:
    nonces, aads, messages = given
    sealed = [AESCCM(KEY).encrypt(*one) for one in zip(nonces, messages, aads, strict=True)]
    opened, authentic = OneBlockCcm(KEY).open(
        table(nonces, NONCE_BYTES), table(aads, len(aads[0])), table(sealed, 16 + TAG_BYTES)
    )
    assert authentic.all()
    assert [row.tobytes() for row in opened] == messages


def test_every_bit_counts() -> None:
    nonce, aad, message = b"n" * NONCE_BYTES, b"a" * 13, b"m" * 16
    whole = nonce + aad + AESCCM(KEY).encrypt(nonce, message, aad)
    changed = []
    for bit in range(len(whole) * 8):
        one = bytearray(whole)
        one[bit // 8] ^= 1 << bit % 8
        changed.append(bytes(one))
    rows = table([whole, *changed], len(whole))
    _, authentic = OneBlockCcm(KEY).open(rows[:, :12], rows[:, 12:25], rows[:, 25:])
    assert np.flatnonzero(authentic).tolist() == [0]
    _, authentic = OneBlockCcm(bytes(32)).open(rows[:1, :12], rows[:1, 12:25], rows[:1, 25:])
    assert not authentic.any()
