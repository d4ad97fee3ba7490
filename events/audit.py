"""The audit log's entries, and the chain that holds them together: each carries a hash over the one before it.

An entry that is changed, taken out, put in or moved no longer fits its neighbours (`keys.audit_chain` finds where).
"""

import hashlib
import re
import sys
from typing import Final

import msgspec

from events import codec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GENESIS: Final = bytes(32)
"""What stands before the first entry, in place of a hash."""
NUMBER_MAX: Final = 2**53 - 1
"""Scripts of the stream's server count in doubles."""
PACKED_BYTES_MAX: Final = 1 << 28
ZSTD_LEVEL: Final = 1
SUBJECT_BYTES: Final = 16

_DOMAIN: Final = b"truyvet/audit/v1\0"
_SUBJECT: Final = re.compile(rb'"([0-9a-f]{32})"')


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody looked at a person, asked for a trace or changed what is known of somebody: who, when, why, what.

    `number` counts from 1 without a gap, `at` is Unix ms. `people` are tags of those who were looked at, which only
    the server can make of a pseudonym. `digest` is the SHA-256, in hex, of the answer that was saved with it, or empty.
    """

    number: int
    at: int
    actor: str
    token: str
    role: str
    action: str
    object: str
    purpose: str
    people: tuple[str, ...] = ()
    digest: str = ""


class Head(msgspec.Struct, frozen=True):
    """The last entry of the chain, or of a part of it: its number (0: there is none) and its hash."""

    number: int
    hash: bytes


START: Final = Head(0, GENESIS)


def linked(previous: bytes, event: AuditEvent) -> bytes:
    """The hash of an entry: SHA-256 over a name, the hash before it, and the entry as JSON, its fields in order."""
    return hashlib.sha256(_DOMAIN + previous + codec.to_json(event)).digest()


class SavedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A question and its answer, UTF-8 JSON to the byte. `asked_at` in Unix ms, fingerprint in hex."""

    id: str
    asked_at: int
    actor: str
    fingerprint: str
    question: bytes
    answer: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of the answer, in hex."""
        return hashlib.sha256(self.answer).hexdigest()


def packed(saved: SavedAnswer) -> bytes:
    """A saved answer as it travels in the stream: MessagePack, compressed."""
    return zstd.compress(codec.to_msgpack(saved), level=ZSTD_LEVEL)


def unpacked(data: bytes) -> SavedAnswer:
    """Reads what `packed` made. Raises `ValueError` for anything else."""
    try:
        plain = zstd.ZstdDecompressor().decompress(data, PACKED_BYTES_MAX)
        return msgspec.msgpack.decode(plain, type=SavedAnswer)
    except (zstd.ZstdError, msgspec.MsgspecError, EOFError) as error:
        raise ValueError("no saved answer") from error


def subjects_in(answer: bytes) -> list[bytes]:
    """Whoever an answer names, as 16-byte pseudonyms, each once, in their order there.

    Every quoted text of 32 hex digits counts, whatever its field. The answer's own id does too, which harms nothing.
    """
    every = bytes.fromhex(b"".join(dict.fromkeys(_SUBJECT.findall(answer))).decode())
    return [every[at : at + SUBJECT_BYTES] for at in range(0, len(every), SUBJECT_BYTES)]
