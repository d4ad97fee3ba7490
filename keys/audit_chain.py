"""The audit chain checked: whether every entry fits the one before it, and what was done where one does not.

Pure: rows of the store go in, a verdict comes out. A checkpoint is the chain's head, signed, for an auditor to keep
elsewhere: whoever can write to the store could cut the chain's end off, or compute all of it anew, but not so that it
still agrees with a checkpoint that somebody else holds.
"""

import enum
import hmac
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from events.audit import NUMBER_MAX, AuditEvent, Head, linked
from keys.secrets import Generation, ServerSecrets

LOOK_AHEAD: Final = 64
"""So many entries behind a break are looked at to tell what was done there."""
PERSON_TAG_BYTES: Final = 16

_CHECKPOINT_KEY_DOMAIN: Final = b"truyvet/audit-checkpoint/v1"
_PERSON_DOMAIN: Final = b"truyvet/audit-person/v1\0"

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="A SHA-256 in hex")]


class Row(msgspec.Struct, frozen=True):
    """An entry as it was found, with the hash that lies beside it."""

    event: AuditEvent
    hash: bytes


class Damage(enum.StrEnum):
    """What was done to the chain, as far as the entries around tell."""

    ALTERED = "altered"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    ANSWER_ALTERED = "answer-altered"


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """The first entry that does not fit. `number` is where it should stand."""

    number: int
    kind: Damage
    text: str


def person_tag(pseudonym: str, secrets: ServerSecrets) -> str:
    """What the audit log calls somebody: HMAC-SHA-256 of the pseudonym (hex) under the pseudonym key, 16 bytes in hex.

    Whoever reads the log cannot tell whom it means, and the server can find what was done about a person.
    """
    message = _PERSON_DOMAIN + bytes.fromhex(pseudonym)
    return hmac.digest(secrets.pseudonym_key, message, "sha256")[:PERSON_TAG_BYTES].hex()


def walked(head: Head, rows: Sequence[Row], *, upto: int) -> tuple[Head, Break | None]:
    """Follow the chain from `head` over `rows`, sorted by number, up to that number.

    Rows beyond it only help to tell what was done. Returns how far it holds, and the first break.
    """
    for index, row in enumerate(rows):
        if row.event.number > upto:
            break
        expected = head.number + 1
        if row.event.number != expected or not _fits(row, head.hash, expected):
            return head, _told(head, rows[index:])
        head = Head(expected, row.hash)
    if head.number < upto:
        return head, _removed(head.number + 1, upto)
    return head, None


def _fits(row: Row, previous: bytes, number: int) -> bool:
    """Whether the entry was written as that number behind that hash."""
    return linked(previous, msgspec.structs.replace(row.event, number=number)) == row.hash


def _told(head: Head, rows: Sequence[Row]) -> Break:
    """What was done at the first of the rows, which does not follow the head."""
    number, expected = rows[0].event.number, head.number + 1
    if number > expected:
        return _removed(expected, number - 1)
    same = [row for row in rows[1:LOOK_AHEAD] if row.event.number == expected]
    if number < expected or any(_fits(row, head.hash, expected) for row in same):
        return _broken(number, Damage.INSERTED, "a number is there twice")
    near = rows[:LOOK_AHEAD]
    place = next((index for index, row in enumerate(near) if _fits(row, head.hash, expected)), None)
    if place is not None:
        return _displaced(expected, near, place)
    if len(near) > 1 and (gone := _renumbered_by(near[0].hash, near[1])):
        return _broken(expected, Damage.REMOVED, f"{gone} before it are gone, and those behind were numbered anew")
    return _broken(expected, Damage.ALTERED, "the entry, its hash, or the hash before it is not what was written")


def _displaced(expected: int, near: Sequence[Row], place: int) -> Break:
    """What was done where the entry that belongs first stands at `place`."""
    after = near[place].hash
    follows = len(near) == place + 1 or _fits(near[place + 1], after, expected + 1)
    if place == 1 and follows and not _fits(near[0], after, expected + 1):
        return _broken(expected, Damage.INSERTED, "the entry that belongs here stands behind another one")
    found = near[place].event.number
    return _broken(expected, Damage.REORDERED, f"the entry that belongs here stands as number {found}")


def _renumbered_by(previous: bytes, row: Row) -> int:
    """By how much the row's number is too low for what was written; 0 where that is not what was done."""
    return next((gone for gone in range(1, LOOK_AHEAD) if _fits(row, previous, row.event.number + gone)), 0)


def _removed(first: int, last: int) -> Break:
    which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
    return _broken(first, Damage.REMOVED, f"{which} missing")


def _broken(number: int, kind: Damage, text: str) -> Break:
    return Break(number=number, kind=kind, text=text)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The chain's head at a moment (`at`, Unix ms), signed with Ed25519 by the server.

    The signature covers the text `truyvet audit checkpoint v1`, number, hash and `at`, each followed by a line feed.
    `public` is the key that checks it, of the server's generation `kid`; both are base64.
    """

    number: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
    hash: Hash
    at: Annotated[int, Meta(ge=0)]
    kid: Annotated[int, Meta(ge=1)]
    public: Annotated[bytes, Meta(min_length=32, max_length=32)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


def checkpoint(head: Head, at: int, generation: Generation) -> Checkpoint:
    """Sign a head."""
    key = _checkpoint_key(generation)
    text = _checkpoint_text(head.number, head.hash.hex(), at)
    return Checkpoint(
        number=head.number,
        hash=head.hash.hex(),
        at=at,
        kid=generation.kid,
        public=key.public_key().public_bytes_raw(),
        signature=key.sign(text),
    )


def genuine(kept: Checkpoint, secrets: ServerSecrets) -> bool:
    """Whether this server signed the checkpoint, with one of its generations."""
    generation = secrets.generation(kept.kid)
    if generation is None or _checkpoint_key(generation).public_key().public_bytes_raw() != kept.public:
        return False
    try:
        text = _checkpoint_text(kept.number, kept.hash, kept.at)
        Ed25519PublicKey.from_public_bytes(kept.public).verify(kept.signature, text)
    except InvalidSignature:
        return False
    return True


def against(kept: Head, found: bytes | None) -> Break | None:
    """What a head that was kept says of the chain as it is: `found` is the hash under its number now, if any."""
    if found == kept.hash:
        return None
    if found is None:
        return _broken(kept.number, Damage.TRUNCATED, f"the chain reached entry {kept.number} and ends before it")
    return _broken(kept.number, Damage.REWRITTEN, "the chain is whole, and another one than it was")


def _checkpoint_key(generation: Generation) -> Ed25519PrivateKey:
    """A key of its own, made from the issuer's seed: no signature of a code can be taken for one of a checkpoint."""
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(generation.issuer_seed, _CHECKPOINT_KEY_DOMAIN, "sha256"))


def _checkpoint_text(number: int, hash_hex: str, at: int) -> bytes:
    return f"truyvet audit checkpoint v1\n{number}\n{hash_hex}\n{at}\n".encode()
