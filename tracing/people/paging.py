"""The cursor of a list of people: sealed, because it names somebody and travels in a URL."""

from typing import Final, TypeVar

import msgspec

from events import codec, problems
from events.problems import ProblemError
from keys.sealing import SealBroken, seal, unseal
from keys.secrets import ServerSecrets
from tracing.cursor import cursor_of, position_of

DOMAIN: Final = b"truyvet people cursor"

Position = TypeVar("Position", bound=msgspec.Struct)


class _Sealed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A position that only the server can read."""

    sealed: bytes


def sealed_cursor(position: msgspec.Struct, secrets: ServerSecrets, nonce: bytes) -> str:
    """The cursor's text for a position; `nonce` as `keys.sealing.seal` wants it."""
    return cursor_of(_Sealed(seal(secrets, codec.to_json(position), nonce, DOMAIN)))


def opened_cursor(cursor: str, kind: type[Position], secrets: ServerSecrets) -> Position:
    """The position in a cursor. Raises QUESTION_INVALID as `ProblemError` where it is none that this server gave."""
    sealed = position_of(cursor, _Sealed).sealed
    try:
        return codec.from_json(unseal(secrets, sealed, DOMAIN), kind)
    except (SealBroken, msgspec.MsgspecError):
        detail = "This cursor is not one that this list gave; begin at the first page."
        raise ProblemError(problems.QUESTION_INVALID.problem(detail, pointer="/cursor")) from None
