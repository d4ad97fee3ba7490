"""Who may use the service."""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from events.text import Name


class Role(enum.StrEnum):
    """What a token's holder may do; `app.access` holds the table of permissions."""

    ADMIN = "admin"
    ANALYST = "analyst"
    OFFICER = "officer"
    VIEWER = "viewer"


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bearer token, known by the SHA-256 of its text alone."""

    id: str
    name: Name
    role: Role
    sha256: Annotated[bytes, Meta(min_length=32, max_length=32)]
    expires: int
    revoked: bool = False
