"""The issuer's public keys on a scanner: with them it refuses a bad code at the door, offline."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from app.errors import Explained
from events import codec
from events.scans import Refusal
from keys.codes import BadCode, verify_code

PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]


class IssuersUnusable(Explained):
    """The file holds no public keys; the message names it."""


class Issuers:
    """Checks codes offline."""

    def __init__(self, public_keys: dict[int, bytes]) -> None:
        """`public_keys`: generation → 32 bytes."""
        self._public_keys: Final = public_keys

    def refusal(self, code: str, now_ms: int) -> Refusal | None:
        """Why a code cannot be taken now; None where nothing speaks against it offline."""
        try:
            head = verify_code(code, self._public_keys)
        except BadCode as error:
            return error.refusal
        return Refusal.EXPIRED_CODE if head.expires is not None and head.expires <= now_ms else None


def load_issuers(path: Path) -> Issuers:
    """The keys of a file as `truyvet keys public` prints it. Raises `IssuersUnusable`."""
    try:
        return Issuers(dict(codec.from_json(path.read_bytes(), dict[int, PublicKey])))
    except (OSError, msgspec.MsgspecError):
        raise IssuersUnusable(f"{path} holds no public keys. `truyvet keys public > {path}` makes it.") from None
